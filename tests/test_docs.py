"""Checks of the pages for people: links, paths, commands and settings that they name exist."""

import re
import shlex
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from config import Config
from utils.version import VERSION

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "weights" / "README.md"]
LINK = re.compile(r"\]\(([^):]+)\)")
SOURCE = re.compile(r"`((?:[a-z_]+/)+[a-z_]+\.py)\b")
CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md"]  # which names what is gone


def commands(page: Path) -> list[str]:
    """The commands in the code blocks of a page, continued lines joined."""
    # Every second part of a page stands between fences.
    parts = re.split(r"^```.*\n", page.read_text(), flags=re.M)[1::2]
    lines = "\n".join(parts).replace("\\\n", " ").splitlines()
    lines = [line.partition("&& ")[2] or line for line in lines]
    return [line.strip() for line in lines if re.match(r"\s*(python|torchrun) ", line)]


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that a line starts, and the words that follow its name."""
    words = words[1:]
    while not words[0].endswith(".py") and words[0] != "-m":  # options of torchrun
        words = words[1:]
    name = words[1] if words[0] == "-m" else words[0].removesuffix(".py")
    words = words[2 if words[0] == "-m" else 1 :]
    if name == "run":
        name = words[words.index("--mode") + 1] if "--mode" in words else "train"
    if name in {"datasets", "evaluation", "benchmarks"}:
        name = f"{name}.__main__"
    command = typer.main.get_command(import_module(name).app)
    if (subcommands := getattr(command, "commands", {})) and words and words[0] in subcommands:
        return subcommands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)
def test_commands_have_the_options_that_pages_name(page):
    for line in commands(page):
        if line.startswith("python -m venv"):
            continue
        words = list(takewhile(lambda word: word != "...", shlex.split(line.partition(" #")[0])))
        command, words = command_of(words)
        known = {name for each in command.params for name in [*each.opts, *each.secondary_opts]}
        named = {word.partition("=")[0] for word in words if word.startswith("--")} - {"--mode"}
        assert named <= known, line
        for setting in re.findall(r"--set '?([a-z_.]+)=", line):
            assert setting == "base" or has_setting(Config, setting.split(".")), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_lead_somewhere(page):
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)
def test_source_files_that_pages_name_exist(page):
    missing = [path for path in SOURCE.findall(page.read_text()) if not (ROOT / path).exists()]
    assert not missing


def test_settings_of_the_table_exist():
    table = (ROOT / "docs" / "training.md").read_text().partition("## Settings")[2]
    for row in re.findall(r"^\| (`.*?) \|", table, flags=re.M):
        first, *others = re.findall(r"`(.*?)`", row)
        section = first.rpartition(".")[0]
        for name in [first, *(section + other for other in others if other.startswith("."))]:
            assert has_setting(Config, name.split(".")), name


def has_setting(model: Any, names: list[str]) -> bool:
    """Whether a configuration has a setting; ``*`` stands for any name."""
    if not names:
        return True
    models = [model, *getattr(model, "__args__", ())]
    fields = {
        name: field.annotation
        for each in models
        if isinstance(each, type) and issubclass(each, BaseModel)
        for name, field in each.model_fields.items()
    }
    found = fields if names[0] == "*" else [names[0]]
    return any(name in fields and has_setting(fields[name], names[1:]) for name in found)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().split()) <= 1800


def test_requirements_that_pip_reads_for_the_project_include_no_other_files() -> None:
    names = re.findall(r'file = \["(.+?)"\]', (ROOT / "pyproject.toml").read_text())
    assert "requirements.txt" in names
    assert [name for name in names if re.search(r"^-r", (ROOT / name).read_text(), re.M)] == []


def test_the_citation_names_the_version() -> None:
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text()
