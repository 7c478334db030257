"""`feyngd temperature`: a small sweep from a file, its answer by exit status, its help."""

from pathlib import Path

import pytest

import feyngd as fd
from feyngd import cli
from feyngd.companions import data_averaging

SMALL = """
model = "mean-estimation"
limit = 40
N = 10
B = [1]
learning_rates = [0.1]
datasets = 4
steps = 20
weight_decay = 0.2
"""


def test_a_sweep_from_a_file(capsys, monkeypatch, tmp_path: Path) -> None:
    config, out = tmp_path / "temperature.toml", tmp_path / "out"
    config.write_text(SMALL)
    given = ["temperature", str(config), "--out", str(out), "--quiet"]
    assert cli.main(given) == 0
    shown = capsys.readouterr()
    assert "1 cells: 1 done, 0 skipped" in shown.out
    assert "done       λ=0.1, B=1, SGD, split, seed 0, gap " in shown.err
    assert {"results.json", "results.txt", "results.png", "sweep.json"} <= {path.name for path in out.iterdir()}
    monkeypatch.setattr(data_averaging.TemperatureSweep, "passed", property(lambda _: False))
    assert cli.main(given) == 1
    assert "real runs contradict a prediction" in capsys.readouterr().err
    config.write_text(SMALL.replace("datasets = 4", "datasets = 5"))
    assert cli.main(given) == 2
    assert "datasets = 4; this one has 5" in capsys.readouterr().err


def test_help_shows_a_sound_file(capsys, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        cli.main(["temperature", "--help"])
    lines = [line.strip() for line in capsys.readouterr().out.split("$ cat temperature.toml\n")[1].splitlines()]
    end = lines.index("$ feyngd temperature temperature.toml --out results")
    (tmp_path / "temperature.toml").write_text("\n".join(lines[:end]))

    class Started(Exception):
        pass

    class Counting(fd.Progress):
        def task(self, total: int, label: str):
            raise Started(total, label)

    with pytest.raises(Started) as started:
        data_averaging.temperature_sweep(tmp_path / "temperature.toml", tmp_path / "out", progress=Counting())
    assert started.value.args == (5 * 2 * 4 * 2, "cells")
