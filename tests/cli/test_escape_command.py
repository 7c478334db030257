"""`feyngd escape`: a path between two checkpoints, times, JSON, a figure, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from feyngd import cli

OWN = "from feyngd.landscapes import toys\nlandscape, params = toys.double_well()\n"


@pytest.fixture
def own(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    np.savez("a.npz", -1.0)
    np.savez("b.npz", 0.9)
    return tmp_path


def test_barrier_and_time_are_those_of_the_library(own: Path, capsys) -> None:
    given = ["escape", "a.npz", "b.npz", "--landscape", "own.py", "-B", "1", "--learning-rate", "0.06", "--quiet"]
    assert cli.main([*given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["path"]["barrier"] == pytest.approx(0.3574115894, abs=1e-9)
    assert found["times"][0]["log_time"] == pytest.approx([np.log(657039.185)], abs=1e-6)
    assert json.loads((own / "escape" / "escape.json").read_text()) == found
    assert (own / "escape" / "escape.png").stat().st_size > 1000


def test_measurements_of_the_file_are_followed(own: Path, capsys) -> None:
    (own / "own.py").write_text(
        OWN + "import feyngd as fd, jax.numpy as jnp\n"
        "measurements = [fd.measurement('accuracy', lambda theta, x: jnp.where(theta + x > -0.5, 1.0, 0.0))]\n"
    )
    assert cli.main(["escape", "a.npz", "b.npz", "--landscape", "own.py", "--quiet"]) == 0
    assert "accuracy: 0.3333 at the start, 0.9667 at the end" in capsys.readouterr().out
    found = json.loads((own / "escape" / "escape.json").read_text())
    assert found["measured"]["accuracy"][0] == pytest.approx(1 / 3)
    (own / "own.py").write_text(OWN + "measurements = ['accuracy']\n")
    assert cli.main(["escape", "a.npz", "b.npz", "--landscape", "own.py", "--quiet"]) == 2
    assert "is a list of what feyngd.measurement" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["a.npz", "c.npz"], "no NPZ file"),
        (["a.npz", "two.npz"], "shapes"),
        (["a.npz", "a.npz"], "same point"),
        (["a.npz", "b.npz", "-D", "-1"], "above 0"),
    ],
)
def test_bad_input_is_refused(own: Path, capsys, given: list[str], said: str) -> None:
    np.savez("two.npz", 1.0, 2.0)
    assert cli.main(["escape", *given, "--landscape", "own.py", "--quiet"]) == 2
    assert said in capsys.readouterr().err
