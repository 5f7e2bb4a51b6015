"""Progress bars and library messages on stderr, so that stdout holds results alone."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from tqdm import tqdm


def progress_bar(
    items: Iterable[Any] | None = None, *, hidden: bool = False, **options: Any
) -> tqdm[Any]:
    """Make a bar over ``items`` on a terminal; it is silent elsewhere, also without a stderr."""
    on_terminal = sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()
    return tqdm(items, disable=hidden or not on_terminal, **options)


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Redirect to stderr what libraries print on stdout, such as torch's notes on downloads."""
    with redirect_stdout(sys.stderr or io.StringIO()):
        yield
