"""docs/cli.md shows what the commands print, and names every command and exit status."""

import re
import shlex
from pathlib import Path

import pytest

from feyngd import cli
from feyngd.cli._ending import STATUSES
from feyngd.cli._main import _parser

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
EXAMPLES = [block.splitlines() for block in re.findall(r"(?ms)^```console\n\$ feyngd (.*?)^```$", PAGE)]
SHOWN = [example for example in EXAMPLES if len(example) > 1]


def test_every_command_has_an_example() -> None:
    assert [example[0].split()[0] for example in EXAMPLES] == list(_parser().commands)
    assert len(SHOWN) == 3


@pytest.mark.parametrize("example", SHOWN, ids=lambda example: example[0].split()[0])
def test_output_on_the_page_is_what_is_printed(capsys, example: list[str]) -> None:
    assert cli.main(shlex.split(example[0])) == 0
    assert capsys.readouterr().out.splitlines() == example[1:]


def test_commands_are_described_as_in_the_help() -> None:
    described = dict(re.findall(r"(?m)^\| `(\w+)` \| (.*) \|$", PAGE))
    assert described == {name: parser.description for name, parser in _parser().commands.items()}


def test_exit_statuses_are_those_of_the_help() -> None:
    in_help = re.findall(r"(?m)^  (\d+) +(.*)$", STATUSES)
    assert len(in_help) == 6
    assert re.findall(r"(?m)^\| (\d+) \| (.*) \|$", PAGE) == in_help


@pytest.mark.slow
@pytest.mark.parametrize("example", ["predict", "anchor", "advise"])
def test_examples_without_output_run(tmp_path: Path, monkeypatch, example: str) -> None:
    monkeypatch.chdir(tmp_path)
    (line,) = (one[0] for one in EXAMPLES if one[0].split()[0] == example)
    assert cli.main([*shlex.split(line), "--quiet"]) == 0
