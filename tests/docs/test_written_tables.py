"""Tables of measurements are written by commands: each stands between markers that name a script of the repository."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["benchmarks.md", "experiments.md"]
BLOCK = re.compile(r"(?ms)^<!-- python (\S+)( [^\n]*)? -->$(.*?)^<!-- end -->$")


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_table_lies_between_markers(page: str) -> None:
    text = text_of(page)
    outside = BLOCK.sub("", text)
    assert [line for line in outside.splitlines() if line.startswith("|")] == []
    assert "<!--" not in outside
    assert sum(line.startswith("|--") for line in text.splitlines()) > 5


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_above_its_table_once(page: str) -> None:
    text = text_of(page)
    commands = [f"python {script}{arguments}" for script, arguments, _ in BLOCK.findall(text)]
    assert len(set(commands)) == len(commands)
    for command in commands:
        script, *arguments = shlex.split(command)[1:]
        code = (ROOT / script).read_text(encoding="utf-8")
        assert all(argument in code or argument in EXPERIMENTS for argument in arguments), command


EXPERIMENTS = {path.stem[1:].replace("_", "-") for path in (ROOT / "feyngd" / "experiments").glob("_*.py")}


def test_writing_replaces_what_stands_between_its_markers_alone() -> None:
    spec = importlib.util.spec_from_file_location("writing", ROOT / "benchmarks" / "writing.py")
    writing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writing)
    table = writing.table(["a", "b"], [[1234, 0.00012345], ["x", 123.4]])
    assert table == "| a | b |\n|---|---|\n| 1,234 | 0.000123 |\n| x | 123 |"
    page = text_of("benchmarks.md")
    command = "evaluation.py 'batch sizes'"
    once = writing.replaced(page, command, table)
    assert once != page
    assert writing.replaced(once, command, table) == once
    assert writing.replaced(page, "evaluation.py batch sizes", table) == page
    assert BLOCK.sub("", once) == BLOCK.sub("", page)
    (kept,) = [body for script, arguments, body in BLOCK.findall(once) if "batch sizes" in arguments]
    assert kept.strip() == table
