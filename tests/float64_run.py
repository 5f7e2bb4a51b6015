"""``tests.tiny_run`` in float64, so that rounding is too small to be mistaken for a difference."""

import logging
import sys
from pathlib import Path

import torch

from config import load_config
from tests.tiny_run import begin

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    begin(load_config(sys.argv[1], sys.argv[3:]), Path(sys.argv[2])).run()
