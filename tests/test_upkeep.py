"""What is written in several places about versions and Pythons is the same everywhere."""

import re
import tomllib
from pathlib import Path

import pytest

import feyngd as fd

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PYTHONS = re.findall(r"Programming Language :: Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
OLDEST, NEWEST = PYTHONS[0], PYTHONS[-1]


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_supported_pythons_are_without_a_gap():
    assert [f"3.{minor}" for minor in range(int(OLDEST[2:]), int(NEWEST[2:]) + 1)] == PYTHONS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pyproject.toml", f'requires-python = ">={OLDEST}"'),
        ("pyproject.toml", f'target-version = "py{OLDEST.replace(".", "")}"'),
        ("pyproject.toml", f'python_version = "{OLDEST}"'),
        ("Makefile", f"({OLDEST} or newer)"),
        ("Makefile", f"sys.version_info < ({OLDEST.replace('.', ', ')})"),
        ("Makefile", f"PYTHON_OTHER ?= python{NEWEST}\n"),
        (".ci/run", f"oldest={OLDEST} newest={NEWEST} "),
        ("README.md", f"({OLDEST} or newer)"),
        ("docs/policy.md", f"| Python | {', '.join(PYTHONS)} |"),
    ],
)
def test_every_place_names_the_same_pythons(name, expected):
    assert expected in text(name)


def test_the_second_python_runs_tests_that_exist():
    (paths,) = re.findall(r"^TESTS_OTHER \?= (.*?)\n\n", text("Makefile"), flags=re.MULTILINE | re.DOTALL)
    for path in paths.replace("\\\n", " ").split():
        assert list(ROOT.glob(path)), path


def test_the_policy_names_the_limits_of_jax():
    (limits,) = (each.removeprefix("jax") for each in PROJECT["project"]["dependencies"] if re.match(r"jax\W", each))
    assert f"jaxlib{limits}" in PROJECT["project"]["dependencies"]
    (row,) = re.findall(r"^\| JAX \|([^|]*)\|", text("docs/policy.md"), flags=re.MULTILINE)
    assert re.findall(r"[\d.]*\d", row) == re.findall(r"[\d.]*\d", limits)


def test_one_version_everywhere():
    assert PROJECT["project"]["version"] == fd.__version__
    assert re.findall(r"^version: (.*)$", text("CITATION.cff"), flags=re.MULTILINE) == [fd.__version__]


def test_the_changelog_keeps_its_shape():
    """Newest first, below what is not released yet; every entry under a heading that says what kind of change it is."""
    changelog = text("CHANGELOG.md")
    headings = re.findall(r"^## \[(.*?)\]", changelog, flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
    releases = [re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", each) for each in headings[1:]]
    numbers = [tuple(map(int, each.groups())) for each in releases]
    assert numbers == sorted({*numbers}, reverse=True)
    assert fd.__version__ == ".".join(map(str, numbers[0]))
    for part in changelog.split("\n## ")[1:]:
        kinds = re.findall(r"^### (.*)$", part, flags=re.MULTILINE)
        order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
        assert kinds == [kind for kind in order if kind in kinds]
        assert not re.search(r"^- ", part.split("\n### ")[0], flags=re.MULTILINE)
