"""Settings of all tests."""

import os
import signal

from utils.device import flush_denormals

# face-alignment compiles at its first use, which takes longer than the tests.  Set
# before anything imports it: partly compiled code fails.
os.environ["NUMBA_DISABLE_JIT"] = "1"

# A suite that was started behind an & or under nohup inherits that these are ignored, and tests
# send them.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Set as in every script, before other threads exist.
flush_denormals()
