"""The documentation says what the package does: examples run, pictures are current, public names are documented."""

import doctest
import importlib
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import feyngd as fd

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
TOUR = [
    *("diagrams", "counting", "series", "resummation", "limits", "prediction"),
    *("losses", "anchoring", "sweeps", "training", "criteria", "testing"),
]
REFERENCE = sorted((DOCS / "reference").glob("*.rst"))
DIRECTIVE = re.compile(r"^\.\. (?:auto)?(?:function|class|exception|data):: feyngd\.(\S+)$", re.MULTILINE)


@pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_give_what_the_page_shows(page: Path) -> None:
    results = doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert results.failed == 0
    assert results.attempted == page.read_text().count("\n>>> ")


def drawings() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert all((DOCS / "images" / name).exists() for name in module.figures())
    return module.pictures()


def test_pictures_are_current() -> None:
    for name, text in drawings().items():
        assert (DOCS / "images" / name).read_text(encoding="utf-8") == text


@pytest.mark.parametrize("page", TOUR)
def test_every_page_of_the_tour_has_a_picture(page: str) -> None:
    assert re.search(r"!\[[^]]+\S+.*\]\(images/\S+\)", (DOCS / f"{page}.md").read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        assert (page.parent / target).exists(), target


def test_every_public_name_is_documented() -> None:
    documented = [name for page in REFERENCE for name in DIRECTIVE.findall(page.read_text())]
    assert len(documented) == len({*documented})
    public = {name for name in fd.__all__ if not inspect.ismodule(getattr(fd, name))}
    assert {"Diagram", "diagrams", "expand", "predict", "Spacetime", "study"} <= public
    assert public == {name for name in documented if "." not in name}
    for name in documented:
        module, _, last = f"feyngd.{name}".rpartition(".")
        value = getattr(importlib.import_module(module), last)
        assert value.__doc__, name
        assert not any(part.startswith("_") for part in name.split(".")), name


@pytest.mark.parametrize("module", ["testing", "experiments"])
def test_every_public_name_of_a_module_is_documented(module: str) -> None:
    documented = {name for page in REFERENCE for name in DIRECTIVE.findall(page.read_text())}
    home = getattr(fd, module)
    for name, value in vars(home).items():
        if not name.startswith("_") and not inspect.ismodule(value):
            assert f"{module}.{name}" in documented, name


@pytest.mark.parametrize("page", REFERENCE, ids=lambda page: page.stem)
def test_overviews_list_what_the_page_documents(page: Path) -> None:
    text = page.read_text()
    overview = re.search(r"\.\. autosummary::\n   :nosignatures:\n\n((?:   \S+\n)+)", text)
    listed = overview[1].split()
    assert listed == re.findall(r"^\.\. auto(?:function|class|exception):: feyngd\.(\S+)$", text, re.MULTILINE)
