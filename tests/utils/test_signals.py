"""Signals clean up, or are granted when the state can be saved."""

import logging
import os
import signal

import pytest

from utils.signals import Terminated, deferred_signals, raised_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_first_request_is_said_and_a_second_one_acts(number, caplog):
    caplog.set_level(logging.INFO)
    before = signal.getsignal(number)
    error = KeyboardInterrupt if number == signal.SIGINT else Terminated
    with raised_signals(), deferred_signals() as caught:
        os.kill(os.getpid(), number)
        assert caught == [number]
        assert caplog.messages == ["Stopping and saving after this step; again to stop at once."]
        with pytest.raises(error):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("handling", [raised_signals, deferred_signals])
def test_a_signal_that_is_ignored_stays_so(handling):
    """SIGHUP is ignored under nohup, and SIGINT behind an & of a script."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handling() as caught:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not caught
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
