import errno
import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import torch
import typer

from utils.command_line import options_from_dataclasses, run, writable_file, writable_folder
from utils.errors import InputError
from utils.progress import progress_bar


def make_app(error: BaseException | None = None, code: int | None = None) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def main(number: int = 0) -> int | None:
        if error is not None:
            raise error
        return code

    return app


def test_the_code_of_the_command_is_returned():
    assert run(make_app(), []) == 0
    assert run(make_app(code=1), ["--number", "3"]) == 1


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (InputError("This is not that."), "This is not that.\n"),
        (torch.cuda.OutOfMemoryError(), "The GPU is out of memory: lower train.batch_size"),
        (PermissionError(13, "Denied", "a.mp4"), "a.mp4 cannot be accessed: Denied.\n"),
        (OSError(errno.ENOSPC, "Full"), "A file cannot be written: Full.\n"),
        (OSError(errno.ENOSPC, "Full", "a.mp4"), "a.mp4 cannot be written: Full.\n"),
        (IsADirectoryError(21, "Is a directory", "a"), "a cannot be accessed: Is a directory.\n"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(capsys, error, sentence):
    assert run(make_app(error), []) == 2
    output = capsys.readouterr()
    assert output.err.startswith(sentence)
    assert output.err.count("\n") == 1
    assert not output.out


@pytest.mark.parametrize("argv", [["--number", "x"], ["--unknown"], ["more"]])
def test_a_wrong_option_is_one_sentence_and_code_2(capsys, argv):
    assert run(make_app(), argv) == 2
    message = capsys.readouterr().err
    assert message.endswith("See --help.\n")
    assert message.count("\n") == 1


def test_the_help_names_debug(capsys):
    assert run(make_app(None), ["--help"]) == 0
    assert "--debug" in capsys.readouterr().out


def test_debug_shows_the_traceback(caplog):
    with caplog.at_level(logging.ERROR):
        assert run(make_app(InputError("This is not that.")), ["--debug"]) == 2
    assert "Traceback" in caplog.text


def test_our_own_mistakes_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run(make_app(ZeroDivisionError()), [])


def test_an_interrupt_is_said_and_has_its_own_code(capsys):
    assert run(make_app(KeyboardInterrupt()), []) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_as_ctrl_c_does(capsys, number):
    cleaned = []
    app = typer.Typer()

    @app.command()
    def main() -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            cleaned.append(number)

    assert run(app, []) == 128 + number
    assert cleaned == [number]
    assert capsys.readouterr().err == "Terminated.\n"
    assert signal.getsignal(number) == signal.SIG_DFL


SILENT = """
import logging, sys, typer
from utils.command_line import run
from utils.progress import progress_bar
app = typer.Typer()
@app.command()
def main() -> int:
    with open(sys.argv[1], "wb", buffering=0) as file:
        logging.warning("said")
        print("said", file=sys.stderr)
        file.write(bytes(progress_bar([1, 2, 3])))
        import os
        os.system("echo said >&2")  # as libraries do, past Python
    return 7
sys.exit(run(app, []))
"""


@pytest.mark.parametrize("package", ["evaluation", "datasets", "benchmarks"])
def test_a_commands_help_waits_for_no_network(package):
    """Their imports take seconds."""
    script = (
        f"import sys; from {package}.__main__ import main; main(['--help'])\n"
        "sys.exit(not {'torch', 'av', 'pydantic'}.isdisjoint(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("callback", [writable_file, writable_folder])
def test_where_nothing_can_be_written_is_known_before_the_work(tmp_path, capsys, callback):
    app, worked = typer.Typer(), []

    @app.command()
    def main(output: Annotated[Path, typer.Option(callback=callback)]) -> None:
        worked.append(output)

    (tmp_path / "file").write_text("")
    absent = tmp_path / "file" / "absent"
    assert run(app, ["--output", str(absent)]) == 2
    assert capsys.readouterr().err.startswith(f"{absent} cannot be ")
    assert worked == []
    assert run(app, ["--output", str(tmp_path / "new")]) == 0
    assert worked == [tmp_path / "new"]


def test_without_a_stderr_nothing_is_said_and_nothing_goes_into_other_files(tmp_path):
    (tmp_path / "script.py").write_text(SILENT)
    shell = f"{sys.executable} {tmp_path}/script.py {tmp_path}/output 2>&-"
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(shell, shell=True, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (7, b"")
    assert (tmp_path / "output").read_bytes() == bytes([1, 2, 3])


def test_a_progress_bar_without_a_stderr_is_silent(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert list(progress_bar([1, 2])) == [1, 2]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Options of a command, as fields."""

    size: Annotated[int, typer.Option(min=1)] = 256
    part: Annotated[slice | None, typer.Option(parser=lambda text: slice(int(text)))] = None


def test_fields_of_dataclasses_are_options_of_a_command(capsys):
    app, found = typer.Typer(), []

    @app.command()
    @options_from_dataclasses
    def command(name: str, *, options: Part) -> int:
        found.append((name, options))
        return 3

    assert run(app, ["a"]) == run(app, ["b", "--size", "7", "--part", "5"]) == 3
    assert found == [("a", Part()), ("b", Part(size=7, part=slice(5)))]
    assert run(app, ["a", "--size", "0"]) == 2
    assert "--size" in capsys.readouterr().err
