"""Files of weights that libraries download through torch.hub at their first use."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import torch

from evaluation.metrics.interface import Unavailable
from utils.progress import stdout_to_stderr


@contextmanager
def downloaded(url: str, network: str) -> Iterator[Path]:
    """Name the file that torch.hub keeps of ``url`` to the code that loads a network from it.

    Whatever fails there (download, file, keys) raises Unavailable with the file that is wanted.
    """
    file = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(url).path).name)
    try:
        with stdout_to_stderr():
            yield file
    except Exception as error:  # what a damaged file raises has no common base
        reason = (str(error).splitlines() or [""])[0].rstrip(":. ")
        raise Unavailable(
            f"the weights of {network} cannot be loaded ({type(error).__name__}: {reason}): "
            f"download {url} to {file}."
        ) from error
