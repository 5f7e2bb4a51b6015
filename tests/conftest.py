"""What holds for all tests."""

import os

# face-alignment compiles at its first use, which takes longer than what the tests ask of it.  Set
# before anything imports it: what is compiled in part fails.
os.environ["NUMBA_DISABLE_JIT"] = "1"
