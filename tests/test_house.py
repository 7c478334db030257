"""The house: which package imports which, as the table in CONTRIBUTING.md says, and no circles."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
GROUND = "ground"
WITHOUT_JAX = ("svg", "diagrams", "spacetimes", "drawing", "counting", "series", "testing")
WITHOUT_SYMPY = ("derivatives", "spectra")


def table() -> dict[str, set[str]]:
    """Read CONTRIBUTING.md: what each package may import; what that may import it may import too."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/?` \|[^|]*\|([^|]*)\|$", text, flags=re.MULTILINE)
    direct = {name: set(re.findall(r"`(\w+)/?`", allowed)) for name, allowed in rows}
    graph = nx.DiGraph([(name, other) for name, others in direct.items() for other in others])
    assert nx.is_directed_acyclic_graph(graph)
    return {name: {GROUND, name} | (nx.descendants(graph, name) if name in graph else set()) for name in direct}


def modules() -> dict[str, Path]:
    """Find all modules of the package by dotted name."""
    found = {}
    for path in sorted((ROOT / "feyngd").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def room(module: str) -> str:
    """Return the package at the top level that a module belongs to; what lies beside them is the ground."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (ROOT / "feyngd" / parts[1]).is_dir() else GROUND


@cache
def names_imported(text: str) -> tuple[tuple[int, str, str], ...]:
    """Return what a source imports anywhere: at the top, in a function or for types alone; as level, module, name."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(0, alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.level, node.module or "", alias.name) for alias in node.names]
    return tuple(found)


def imports(name: str, path: Path, text: str) -> Iterator[str]:
    """Iterate over the modules that a module imports."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for level, module, imported in names_imported(text):
        above = package[: len(package) - level + 1] if level else []
        base = ".".join([*above, *filter(None, [module])])
        yield f"{base}.{imported}" if f"{base}.{imported}" in MODULES else base


def arrows(changed: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Return every import from one module of the package to another, save those of the public table.

    Args:
        changed: the source of modules that are to be looked at instead of what stands in their files.
    """
    texts = {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()} | dict(changed or {})
    return [
        (name, other)
        for name, path in MODULES.items()
        if name != "feyngd"
        for other in dict.fromkeys(imports(name, path, texts[name]))
        if other.split(".")[0] == "feyngd"
    ]


def against_the_table(changed: Mapping[str, str] | None = None) -> list[str]:
    """Return the imports that the table forbids."""
    allowed = table()
    return [f"{one} imports {other}" for one, other in arrows(changed) if not is_allowed(one, other, allowed)]


def is_allowed(one: str, other: str, allowed: dict[str, set[str]]) -> bool:
    """Whether the table allows an import, and it goes through the other package's front door."""
    if other == "feyngd":
        return False
    here, there = room(one), room(other)
    if here == GROUND or there == GROUND:
        return there == GROUND
    is_private = any(part.startswith("_") for part in other.split("."))
    return here == there or (there in allowed.get(here, set()) and not is_private)


def circles(changed: Mapping[str, str] | None = None) -> list[list[str]]:
    """Return the groups of modules that import each other."""
    graph = nx.DiGraph(arrows(changed))
    return [sorted(group) for group in nx.strongly_connected_components(graph) if len(group) > 1]


def with_line(module: str, line: str, where: str) -> dict[str, str]:
    """Return the source of a module with one more import."""
    before = {"at the top": "", "in a function": "def late():\n    ", "for types": "if TYPE_CHECKING:\n    "}[where]
    return {module: f"{MODULES[module].read_text(encoding='utf-8')}\n\n{before}{line}\n"}


def test_every_package_is_in_the_table():
    assert {room(name) for name in MODULES} - {GROUND} == set(table())


def test_packages_import_what_the_table_allows():
    assert against_the_table() == []


def test_no_modules_import_each_other():
    assert circles() == []


def test_arrows_are_seen():
    found = arrows()
    assert len(found) > 500
    assert ("feyngd.diagrams._diagram", "feyngd.errors") in found


@pytest.mark.parametrize("where", ["at the top", "in a function", "for types"])
@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("feyngd.series._series", "from ..landscapes import Landscape"),
        ("feyngd.derivatives._chunks", "from ..evaluation import Values"),
        ("feyngd.simulation._sgd", "from feyngd.minima import near_minimum"),
        ("feyngd.minima._near_minimum", "from ..spectra._lanczos import Krylov"),
        ("feyngd.errors", "from .diagrams import Diagram"),
        ("feyngd.counting._count", "import feyngd"),
    ],
)
def test_an_arrow_that_points_the_wrong_way_is_found(module, line, where):
    found = {*against_the_table(with_line(module, line, where))} - {*against_the_table()}
    assert len(found) == 1
    assert found.pop().startswith(f"{module} imports feyngd")


@pytest.mark.parametrize("where", ["at the top", "in a function", "for types"])
def test_a_circle_is_found(where):
    changed = with_line("feyngd.diagrams._partitions", "from ._diagram import Diagram", where)
    assert against_the_table(changed) == against_the_table()
    assert any("feyngd.diagrams._partitions" in group for group in circles(changed))


@pytest.mark.parametrize(("packages", "library"), [(WITHOUT_JAX, "jax"), (WITHOUT_SYMPY, "sympy")])
def test_wings_keep_apart(packages, library):
    for name, path in MODULES.items():
        if room(name) in packages:
            others = imports(name, path, path.read_text(encoding="utf-8"))
            assert not [other for other in others if other.split(".")[0] == library], name


def private_imports(folder: str) -> list[tuple[Path, str]]:
    """Return the private modules that files of a folder import."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for other in dict.fromkeys(imports(path.stem, path, path.read_text(encoding="utf-8"))):
            if other.startswith("feyngd.") and any(part.startswith("_") for part in other.split(".")):
                found.append((path, other))
    return found


def is_at_home(path: Path, module: str) -> bool:
    """Whether a test stands in the folder that mirrors the one of a module, or above it."""
    home = TESTS.joinpath(*module.split(".")[1:-1])
    return home == path.parent or (home.is_relative_to(path.parent) and path.parent != TESTS)


@pytest.mark.parametrize("folder", ["tests", "benchmarks"])
def test_private_modules_are_imported_only_if_they_have_tests_of_their_own(folder):
    tested = {module for path, module in private_imports("tests") if is_at_home(path, module)}
    found = private_imports(folder)
    assert [f"{path.relative_to(ROOT)} imports {module}" for path, module in found if module not in tested] == []
