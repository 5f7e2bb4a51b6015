"""Run a command: set up its log, and print errors as one line each."""

import errno
import inspect
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from utils.errors import InputError
from utils.files import require_folder, require_writable
from utils.malloc import keep_freed_memory
from utils.signals import Terminated, raised_signals

UsageError: Any = typer.BadParameter.__base__  # of typer's own click, or of the package
INTERRUPTED = 130  # exit code

DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
PrecisionOption = Annotated[str, typer.Option(help="auto, fp32, bf16, fp16.")]
AnimatorOption = Annotated[
    Path | None,
    typer.Option(
        help="Ours (a folder or .safetensors) or a published .pth.tar; the small network that "
        "comes with the project if left out."
    ),
]


def run(app: typer.Typer, argv: Sequence[str] | None = None) -> int:
    """Run a typer app on ``argv`` (None: the command line) and return its exit code.

    0: done, 1: done in part, 2: failed, with one sentence on stderr and, with ``--debug``, the
    traceback; 128 + the number of the signal that ended it, which is 130 for Ctrl-C.
    """
    open_missing_streams()
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
        with raised_signals():
            code = with_debug(app)(arguments, standalone_mode=False)
    except Exception as error:
        message = describe(error)
        if message is None:
            raise
        if debug:
            logging.exception("")
        print(message, file=sys.stderr)
        return 2
    except Terminated as signal:
        print("Terminated.", file=sys.stderr)
        return 128 + signal.number
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:  # newer versions of typer return it instead
        print("Interrupted.", file=sys.stderr)
    return code if isinstance(code, int) else 0


def with_debug(app: typer.Typer) -> Any:
    """Make the command of an app, in whose help, and its commands' help, ``--debug`` appears.

    ``run`` reads the option itself, wherever it stands.
    """
    command: Any = typer.main.get_command(app)
    for one in (command, *getattr(command, "commands", {}).values()):
        one.params.append(debug_option())
    return command


def debug_option() -> Any:
    """Make the option ``--debug``, of whichever click typer has, without a value for a command."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def command(
        debug: Annotated[
            bool, typer.Option("--debug", help="Print the traceback of an error as well.")
        ] = False,
    ) -> None: ...

    (option,) = typer.main.get_command(app).params
    option.expose_value = False
    return option


def open_missing_streams() -> None:
    """Open the null device as each missing standard stream: 2>&-, a daemon, pythonw on Windows.

    Otherwise the next file that is opened would become the standard output or error, and receive
    whatever libraries print.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)  # for child processes
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w"))


def writable_file(path: Path | None) -> Path | None:
    """Check an option before the work.  Raises OutputError where no file can be written."""
    if path is not None:
        require_writable(path)
    return path


def writable_folder(path: Path | None) -> Path | None:
    """Check an option before the work.  Raises OutputError where no folder can be made."""
    if path is not None:
        require_folder(path)
    return path


def describe(error: Exception) -> str | None:
    """Return the sentence for an error of the user or the machine; None for a bug of ours."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, UsageError):
        return f"{error.format_message().rstrip('.')}. See --help."
    torch = sys.modules.get("torch")  # importing it here would delay every message
    if torch is not None and isinstance(error, torch.cuda.OutOfMemoryError):
        return (
            "The GPU is out of memory: lower train.batch_size (training), or --batch-size or "
            "--size (animation)."
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        place = "A file" if error.filename is None else error.filename
        return f"{place} cannot be written: {error.strerror}."
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be accessed: {error.strerror}."
    return None


def options_from_dataclasses(command: Callable[..., int]) -> Callable[..., int]:
    """Replace each dataclass parameter of a typer command by options, one for each of its fields.

    A field is written as an option is: ``size: Annotated[int, typer.Option(help="...")] = 256``.
    """
    hints = get_type_hints(command, include_extras=True)
    signature, groups = inspect.signature(command), {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        if is_dataclass(hints[name]):
            groups[name] = hints[name]
            parameters += inspect.signature(hints[name]).parameters.values()
        else:
            parameters.append(parameter)

    def call(*args: Any, **values: Any) -> int:
        made = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        return command(*args, **values, **made)

    parameters = [_any_if_parsed(parameter) for parameter in parameters]
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    call.__name__, call.__doc__ = command.__name__, command.__doc__
    return call


def _any_if_parsed(parameter: inspect.Parameter) -> inspect.Parameter:
    """Hide the type of an option that has a parser, since typer knows only simple ones."""
    _, *metadata = get_args(parameter.annotation) or (None,)
    if not any(getattr(each, "parser", None) for each in metadata):
        return parameter
    return parameter.replace(annotation=Annotated[(Any, *metadata)])
