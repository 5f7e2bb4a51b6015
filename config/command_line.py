"""What every script does alike: the log, and a user's mistake as one sentence."""

import logging
import sys
from collections.abc import Sequence
from typing import Any

import typer

from modules.allocator import keep_freed_memory
from modules.errors import InputError

UsageError: Any = (
    typer.BadParameter.__base__
)  # of the click that this typer uses: its own, or the package


INTERRUPTED = 130  # exit code


def run(app: typer.Typer, argv: Sequence[str] | None = None) -> int:
    """Run a typer app on ``argv`` (None: the command line) and return its exit code.

    0 done, 1 done in part, 2 cannot be done: one sentence on stderr, and with ``--debug`` the
    traceback too; 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO, format="%(message)s", stream=sys.stderr
    )
    for library in ("PIL", "matplotlib", "numba", "libav"):
        logging.getLogger(library).setLevel(logging.WARNING)
    keep_freed_memory()
    try:
        code = app(arguments, standalone_mode=False)
    except Exception as error:
        message = describe(error)
        if message is None:
            raise
        if debug:
            logging.exception("")
        print(message, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:  # as newer versions of typer return it
        print("Interrupted.", file=sys.stderr)
    return code if isinstance(code, int) else 0


def describe(error: Exception) -> str | None:
    """The sentence for a user's mistake; None for a mistake of ours."""
    import torch

    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, UsageError):
        return f"{error.format_message().rstrip('.')}. See --help."
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return (
            "The GPU is out of memory: lower train.batch_size (training), or --batch-size or "
            "--size (animation)."
        )
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be accessed: {error.strerror}."
    return None
