"""The documentation says what the package does: examples run, pictures are current, public names are documented."""

import doctest
import importlib.util
import re
from pathlib import Path

import pytest

import feyngd as fd

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_give_what_the_page_shows(page: Path) -> None:
    results = doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert results.failed == 0
    assert results.attempted == page.read_text().count("\n>>> ")


def test_pictures_are_current() -> None:
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, text in module.pictures().items():
        assert (ROOT / "docs" / "images" / name).read_text(encoding="utf-8") == text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        assert (page.parent / target).exists(), target


def test_every_public_name_is_documented() -> None:
    reference = (ROOT / "docs" / "reference.md").read_text()
    public = [name for name in dir(fd) if not name.startswith("_") and getattr(getattr(fd, name), "__module__", None)]
    assert {"Diagram", "diagrams", "expand", "predict", "Spacetime", "study"} <= {*public}
    for name in public:
        value = getattr(fd, name)
        if value.__module__.startswith("feyngd"):
            assert value.__doc__, name
            home = value.__module__.split(".")[1]
            assert name in reference or f"::: feyngd.{home}\n" in f"{reference}\n", name
