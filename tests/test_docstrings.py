"""The examples in docstrings run and print what they say, in every module of the package."""

import doctest
import pkgutil
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import pytest

import feyngd


def modules_in(folders: Sequence[str], package: str) -> Iterator[str]:
    """Return the names of all modules below a package, without importing any."""
    for found in pkgutil.iter_modules(folders):
        name = f"{package}.{found.name}"
        yield name
        if found.ispkg:
            yield from modules_in([str(Path(folder) / found.name) for folder in folders], name)


MODULES = ["feyngd", *modules_in(feyngd.__path__, "feyngd")]
WITH_EXAMPLES = (
    "anchoring",
    "counting",
    "diagrams",
    "drawing",
    "evaluation",
    "experiments",
    "landscapes",
    "minima",
    "prediction",
    "series",
    "simulation",
    "spacetimes",
    "testing",
    "training",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name: str) -> None:
    assert doctest.testmod(import_module(name)).failed == 0


@pytest.mark.parametrize("package", WITH_EXAMPLES)
def test_packages_have_examples(package: str) -> None:
    finder = doctest.DocTestFinder()
    prefix = f"feyngd.{package}"
    modules = [import_module(name) for name in MODULES if f"{name}.".startswith(f"{prefix}.")]
    assert sum(len(test.examples) for module in modules for test in finder.find(module)) > 0


def test_every_file_is_a_module_that_was_looked_into() -> None:
    root = Path(feyngd.__file__).parent
    files = {".".join(path.relative_to(root.parent).with_suffix("").parts) for path in root.rglob("*.py")}
    assert {name.removesuffix(".__init__") for name in files} == set(MODULES)
