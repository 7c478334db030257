"""The site builds without a warning, its links lead somewhere, and it fetches nothing from outside."""

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import feyngd as fd

pytestmark = pytest.mark.slow
DOCS = Path(__file__).parents[2] / "docs"
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}


class Page(HTMLParser):
    """What a page links to, what it fetches, and the places in it that links can name."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev", "index", "search", "genindex"):
            self.fetched.append(given["href"])
        if tag in FETCHED and FETCHED[tag] in given:
            self.fetched.append(given[FETCHED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    command = ["-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(folder / "doctrees"), str(DOCS)]
    built = subprocess.run([sys.executable, *command, str(folder / "site")], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert not built.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}


def inside(pages: dict[Path, Page]) -> Iterator[tuple[Path, Path, str]]:
    """Yield every link between pages: where it stands, the file it leads to, the place there."""
    for path, page in pages.items():
        for link in page.links + page.fetched:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            yield path, target, unquote(parts.fragment)


def test_every_page_is_reached(pages: dict[Path, Page], site: Path) -> None:
    built = {path.relative_to(site).with_suffix("").as_posix() for path in pages}
    written = {page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md")}
    written |= {page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.rst")}
    written |= {f"notebooks/{page.stem}" for page in (DOCS / "notebooks").glob("*.ipynb")}
    assert written <= built


def test_links_lead_somewhere(pages: dict[Path, Page], site: Path) -> None:
    broken = []
    for path, target, place in inside(pages):
        if not target.exists() or (place and target in pages and place not in pages[target].places):
            broken.append(f"{path.relative_to(site)}: {target}#{place}")
    assert not broken, "\n".join(broken)


def test_nothing_is_fetched_from_outside(pages: dict[Path, Page], site: Path) -> None:
    for path, page in pages.items():
        outside = [
            target for target in page.fetched if urlsplit(target).scheme not in ("", "data") or "//" in target[:2]
        ]
        assert not outside, path
        inline = re.findall(r"url\(\s*['\"]?(?:https?:)?//[^)]*\)", path.read_text(encoding="utf-8"))
        assert not inline, path
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_mathematics_is_typeset_by_a_file_of_the_site(pages: dict[Path, Page], site: Path) -> None:
    assert (site / "_static" / "tex-svg.js").stat().st_size > 1e6
    for name in ("theory", "conventions", "counting", "resummation", "limits", "series"):
        page = pages[site / f"{name}.html"]
        assert any(target.startswith("_static/tex-svg.js") for target in page.fetched)
        assert "math notranslate" in (site / f"{name}.html").read_text(encoding="utf-8")


def test_every_public_name_has_a_place_and_a_source(pages: dict[Path, Page], site: Path) -> None:
    places = {place for path, page in pages.items() if path.parent.name == "reference" for place in page.places}
    for name in fd.__all__:
        if not inspect.ismodule(getattr(fd, name)):
            assert f"feyngd.{name}" in places
    for theory in (getattr(fd.companions, name) for name in fd.companions.__all__):
        for name in set(theory.__all__) - {"Assumption", "Assumptions"}:  # which all theories share
            if callable(getattr(theory, name)):
                assert f"{theory.__name__}.{name}" in places
    sources = [link for page in pages.values() for link in page.links if "_modules/feyngd/" in link]
    assert len({*sources}) > 100


def test_search_works_without_a_server(site: Path) -> None:
    """A page opened from the file system can load scripts, and cannot read other files."""
    page = (site / "search.html").read_text(encoding="utf-8")
    assert 'src="searchindex.js' in page
    assert (site / "searchindex.js").read_text(encoding="utf-8").startswith("Search.setIndex(")
    assert "DOCUMENTATION_OPTIONS" in (site / "_static" / "documentation_options.js").read_text(encoding="utf-8")
    assert "SHOW_SEARCH_SUMMARY: false" in (site / "_static" / "documentation_options.js").read_text(encoding="utf-8")
