"""`feyngd demo`: three figures with their numbers, and the calls that make them."""

import json
from pathlib import Path

import pytest

from feyngd import cli


def test_what_cannot_be_done_is_said_before_anything_is_computed(tmp_path: Path, capsys) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert cli.main(["demo", "--out", str(file)]) == 2
    assert cli.main(["demo", "--out", str(tmp_path / "new"), "--seed", "-1"]) == 2
    assert "--seed -1" in capsys.readouterr().err
    assert cli.main(["demo", "--out", str(tmp_path / "new"), "--limit", "0"]) == 2
    assert not list(tmp_path.glob("new/*"))


@pytest.mark.slow
def test_figures_tables_and_numbers_of_the_demo(tmp_path: Path, capsys) -> None:
    assert cli.main(["demo", "--out", str(tmp_path), "--limit", "300", "--quiet"]) == 0
    said = capsys.readouterr().out
    for name, call in (("series", "fd.predict("), ("curves", "fd.anchor("), ("advice", "fd.advise(")):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"s: {tmp_path / f'{name}.png'}" in said
        assert call in said
    record = json.loads((tmp_path / "demo.json").read_text())
    assert record["complete"]
    assert [len(record[name]) for name in ("series", "curves")] == [2, 4]
    verdicts = [each["verdict"] for name in ("series", "curves") for each in record[name]]
    assert "DIFFERS" not in verdicts
    assert record["advice"]["unpredicted"] == {}
    effects = [change["effect"] for change in record["advice"]["changes"]]
    assert len(effects) == 6
    assert effects == sorted(effects)
