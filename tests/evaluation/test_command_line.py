"""Options of commands that are made from dataclasses."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from evaluation.command_line import MeasureOptions, known_metrics, with_options
from utils.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options(MeasureOptions):
    name: Annotated[str, typer.Option(help="A name.")]
    factor: Annotated[int, typer.Option(min=1)] = 2


def test_the_fields_of_a_dataclass_are_the_options_of_a_command():
    app, received = typer.Typer(), []

    @app.command()
    @with_options(Options)
    def command(context: typer.Context, *, options: Options) -> int:
        received.append((context.command.name, options))
        return 0

    def run(*arguments: str) -> int:
        return CliRunner().invoke(app, arguments).exit_code

    assert run("--name", "a", "--batch-size", "3", "--strict") == 0
    expected = Options(name="a", batch_size=3, strict=True)
    assert received == [("command", expected)]
    assert run() != 0  # a field without a default is required
    assert run("--name", "a", "--factor", "0") != 0
    shown = CliRunner().invoke(app, ["--help"]).output
    assert shown.index("--factor") < shown.index("--metrics")  # those of the command come first


def test_metrics_that_do_not_exist_are_refused_before_any_work():
    assert known_metrics("l1, fid") == "l1, fid"
    with pytest.raises(InputError, match="No metric is called 'beauty'"):
        known_metrics("l1,beauty")


def test_help_and_comparisons_load_no_network():
    slow = "{'torch', 'matplotlib', 'jinja2'}"
    code = (
        f"import sys, evaluation.__main__; assert not {{*{slow}, 'pandas'}} & sys.modules.keys(); "
        f"import evaluation.results.compare; assert not {slow} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
