"""Progress bars, for whoever watches."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress_bar(
    items: Iterable[Any] | None = None, *, hidden: bool = False, **options: Any
) -> tqdm[Any]:
    """A bar over ``items`` on a terminal; silent elsewhere, also where there is no stderr."""
    on_terminal = sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()
    return tqdm(items, disable=hidden or not on_terminal, **options)
