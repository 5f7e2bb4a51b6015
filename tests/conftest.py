"""What holds for all tests."""

import os
import signal

from utils.device import flush_denormals

# face-alignment compiles at its first use, which takes longer than what the tests ask of it.  Set
# before anything imports it: what is compiled in part fails.
os.environ["NUMBA_DISABLE_JIT"] = "1"

# A suite that was started behind an & or under nohup inherits that these are ignored, and tests
# send them.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# As in every script, before there are other threads: a run in this process must be one of its own.
flush_denormals()
