"""Rules that hold the structure together: floors of imports, docstrings, shapes and units."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

# A package imports packages of lower floors only, and never its neighbours on the same floor.
FLOORS = [
    ["utils"],
    ["modules", "media"],
    ["faces", "inference"],
    ["datasets"],
    ["animation"],
    ["evaluation", "web"],
    ["training"],
    ["config"],
    ["train", "animate", "reconstruction", "export", "app"],
    ["run", "benchmarks"],
]
FLOOR = {package: number for number, packages in enumerate(FLOORS) for package in packages}
LIBRARIES_OF_MODULES = {"torch", "pydantic", "numpy", "safetensors", "modules", "utils"}

# Words with which a docstring leans on its neighbours instead of standing alone.
LEANING = r"What|Of|Those|The same|As"
OF_TITLES = (
    r"At|By|For|From|How|If|In|On|That|These|This|To|When|Where|Whether|Which|Who|Whose|With"
)
NAMED_SHAPES = ["animation", "evaluation.metrics", "modules", "training"]
# Axes in brackets: (B, K, 2), (..., 2), (K + 1, 2 c), (names,).
AXIS = r"(?:\.\.\.|[\w']+)(?: (?:[-+*/] )?[\w']+)*"
SHAPE = re.compile(rf"\(({AXIS}(?:, {AXIS})*,?)\)")
UNIT = re.compile(
    r"\[-?\d[\d.]*, \d[\d.]*[\])]|\d to \d|\bany shape"
    r"|\b(?:scalars?|pixels?|px|seconds?|dB|degrees|nats|bytes|8-bit|grey levels|per second)\b"
)


class Source(NamedTuple):
    """A source file that is no test."""

    name: str  # of the module: modules.mcnet
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]


@cache
def sources() -> list[Source]:
    """All source files, in the order of their names."""
    files = {file for package in FLOOR for file in (ROOT / package).rglob("*.py")}
    files |= {ROOT / f"{name}.py" for name in FLOOR if (ROOT / f"{name}.py").is_file()}
    found = []
    for file in sorted(files):
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = file.read_text()
        found.append(Source(name, text, ast.parse(text)))
    return found


@cache
def imports() -> dict[str, set[str]]:
    """The modules that each source file imports, those inside functions included."""
    names = {source.name for source in sources()}
    found: dict[str, set[str]] = {}
    for source in sources():
        imported: set[str] = set()
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{source.name} imports relative to itself"
                assert node.module is not None
                members = {f"{node.module}.{alias.name}" for alias in node.names}
                # A package that is only the way to its modules is not imported for itself.
                imported |= members & names or {node.module}
        found[source.name] = imported
    return found


def package_of(module: str) -> str:
    return module.partition(".")[0]


def test_every_package_has_a_floor():
    python = [path.parent.name for path in ROOT.glob("*/__init__.py")]
    python += [path.stem for path in ROOT.glob("*.py")]
    assert set(python) - {"tests", "conftest"} == set(FLOOR)


def test_imports_go_down():
    upwards = [
        f"{name} imports {module}"
        for name, modules in imports().items()
        for module in modules
        if package_of(module) in FLOOR
        and package_of(module) != package_of(name)
        and FLOOR[package_of(module)] >= FLOOR[package_of(name)]
    ]
    assert not upwards, "\n".join(upwards)


def test_imports_have_no_circle():
    graph, done = imports(), set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for module in sorted(graph.get(name, ())):
                visit(module, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_network_knows_no_other_libraries():
    foreign = [
        f"{name} imports {module}"
        for name, modules in imports().items()
        for module in modules
        if package_of(name) == "modules"
        and package_of(module) not in LIBRARIES_OF_MODULES | sys.stdlib_module_names
    ]
    assert not foreign, "\n".join(foreign)


def test_animating_loads_neither_rendered_heads_nor_losses():
    script = "import sys, animate; print(*sys.modules)"
    python = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    heavy = ("datasets.synthetic", "training")
    assert not [name for name in python.stdout.split() if name.startswith(heavy)]


def first_line(docstring: str | None) -> str:
    return (docstring or "").partition("\n")[0]


@pytest.mark.parametrize("package", FLOOR)
def test_every_file_opens_with_a_statement(package):
    lacking = [
        f"{source.name}: {line!r}"
        for source in sources()
        if source.package == package
        and not is_statement(line := first_line(ast.get_docstring(source.tree)))
    ]
    assert not lacking, "\n".join(lacking)


@pytest.mark.parametrize("package", FLOOR)
def test_every_docstring_can_be_read_alone(package):
    leaning = [
        f"{source.name}:{node.lineno}: {line!r}"
        for source in sources()
        if source.package == package
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and (docstring := ast.get_docstring(node)) is not None
        and re.match(rf"(?:{LEANING})\b", line := first_line(docstring))
    ]
    assert not leaning, "\n".join(leaning)


def is_statement(line: str) -> bool:
    """Whether the first line of a file is a sentence that begins with a verb or a noun."""
    return line.endswith(".") and not re.match(rf"(?:{LEANING}|{OF_TITLES})\b", line)


def test_statements_are_told_from_titles():
    assert is_statement("Crop the face as in training and paste the result back.")
    assert is_statement("Statistics of the frames of a clip.")
    assert not is_statement("What a step computes.")
    assert not is_statement("The same for pairs.")
    assert not is_statement("From raw videos to a training set.")
    assert not is_statement("")


def public_functions(source: Source) -> Iterator[tuple[ast.FunctionDef, str]]:
    """Public functions and methods, each with its signature (and comments) and docstrings.

    A method without a docstring has that of an earlier one of its name, which it implements.
    """
    lines, implemented = source.text.splitlines(), {}

    def of(body: list[ast.stmt], docstrings: str) -> Iterator[tuple[ast.FunctionDef, str]]:
        for node in body:
            if getattr(node, "name", "_").startswith("_"):
                continue
            if isinstance(node, ast.ClassDef):
                yield from of(node.body, docstrings + (ast.get_docstring(node) or ""))
            elif isinstance(node, ast.FunctionDef):
                if ast.get_docstring(node) is not None:
                    head = lines[node.lineno - 1 : node.body[0].end_lineno]
                    implemented.setdefault(node.name, "\n".join(head))
                    yield node, docstrings + "\n".join(head)
                else:
                    yield node, docstrings + implemented.get(node.name, "")

    yield from of(source.tree.body, "")


def annotations(function: ast.FunctionDef) -> str:
    """The annotations of the arguments and of the result, as text."""
    arguments = function.args
    nodes = [
        argument.annotation
        for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    ]
    text = " ".join(ast.unparse(node) for node in [*nodes, function.returns] if node is not None)
    return re.sub(r"(?:dict|Mapping)\[str, Tensor\]", "", text)  # tensors of all shapes, by name


@pytest.mark.parametrize("package", NAMED_SHAPES)
def test_public_functions_name_the_shapes_or_units_of_their_arrays(package):
    """A function with a Tensor or an array in its signature says what its axes or values are."""
    unnamed = [
        f"{source.name}:{function.lineno}: {function.name}"
        for source in sources()
        if f"{source.name}.".startswith(f"{package}.")
        for function, text in public_functions(source)
        if re.search(r"\b(?:Tensor|ndarray)\b", annotations(function))
        and not names_shape(text)
        and not UNIT.search(text)
    ]
    assert not unnamed, "\n".join(unnamed)


def names_shape(text: str) -> bool:
    """Whether a text has the axes of a tensor or an array in brackets.

    One of them is a capital letter, a number or "...", or there is a single one.
    """
    shapes = [match[1] for match in SHAPE.finditer(text)]
    return any(re.search(r"\b[A-Z]\b|\b\d{1,3}\b|\.\.\.|,$", shape) for shape in shapes)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Positions (B, K, 2) of keypoints.", True),
        ("The means of a step, (names,).", True),
        ("(..., 2, 2) matrices.", True),
        ("Motions, (B, K + 1, H, W, 2).", True),
        ("Rows of pixels, (B, H W, 2 c).", True),
        ("A function of (seed, step).", False),
        ("Of all layers (FOMM, Eq. 4).", False),
        ("Compute it (see below).", False),
    ],
)
def test_shapes_are_told_from_other_brackets(text, named):
    assert names_shape(text) == named
