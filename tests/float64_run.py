"""``tests.tiny_run`` in float64."""

import logging
import sys
from pathlib import Path

from config import load_config
from tests.tiny import float64
from tests.tiny_run import begin

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with float64():
        begin(load_config(sys.argv[1], sys.argv[3:]), Path(sys.argv[2])).run()
