"""`feyngd shift`: numbers, JSON, a figure, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest

from feyngd import cli

OWN = """
import jax.numpy as jnp, numpy as np, feyngd as fd
from neighbour import test
landscape = fd.Landscape(
    lambda theta, x: jnp.sum((theta - x) ** 2 * jnp.array([1.0, 2.0])) / 2, np.array([[0.0, 1.0], [1.0, 0.0]]),
    test, reading="conditional"
)
params = jnp.array([0.2, 0.3])
"""
NEIGHBOUR = "import numpy as np; test = np.array([[1.0, 1.5], [0.0, 1.5], [2.0, 0.0]])"
FLAT = """
import jax.numpy as jnp, feyngd as fd
landscape = fd.Landscape(lambda t, x: t[0] ** 2 / 2 - x[0] * t[0] + x[1] * t[1],
    jnp.array([[1.0, 1.0], [0.0, -1.0]]), jnp.array([[1.0, 1.0], [1.0, -1.0]]), reading="conditional")
params = jnp.array([0.2, 0.1])
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "neighbour.py").write_text(NEIGHBOUR)
    return tmp_path


def test_numbers_of_an_own_landscape(own: Path, capsys) -> None:
    """Minima at the means: s = (1/2, 1/2), D = diag(1, 4)/4, and C = diag(1, 2)."""
    assert cli.main(["shift", "own.py", "--temperature", "0.1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((own / "shift" / "shift.json").read_text())
    assert found["shift"]["shift_curvature"] == pytest.approx(3 / 8)
    assert found["shift"]["rise"] == pytest.approx(3 / 8)
    assert found["test"]["expected"]["value"] == pytest.approx((1 / 2 + 1 / 3) / 2 * (1 / 4 + 1 / 2))
    assert found["local"]["train_excess"]["value"] == pytest.approx(0.1 / 4 * 5 / 4)
    assert found["local"]["test_loss"]["value"] == pytest.approx(found["shift"]["test"]["loss"] + 3 / 8 + 0.03125)
    assert len(found["line"]["r"]) == 101
    assert (own / "shift" / "shift.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_refused_at_a_flat_minimum_is_said_and_the_rest_reported(own: Path, capsys) -> None:
    (own / "flat.py").write_text(FLAT)
    assert cli.main(["shift", "flat.py", "--json", "numbers.json", "--out", "there"]) == 2
    out, err = capsys.readouterr()
    assert "shift-curvature ½sᵀCs    0.125" in out
    assert "strict train minimum: fails" in out
    assert "feyngd: no comparison with sampling: The train loss has the curvature 0" in err
    assert "give --penalty α, the weight decay" in err
    assert "curvature 0" in json.loads((own / "numbers.json").read_text())["refused"]["test"]


REFUSED = [
    (("none.py",), "There is no file 'none.py'"),
    (("broken.py",), "broken.py failed with ZeroDivisionError: division by zero"),
    (("leaves.py",), "leaves.py failed with SystemExit: 3"),
    (("neighbour.py",), "does not define `landscape`"),
    (("number.py",), "this one is of type int"),
    (("own.py", "--temperature", "0"), "finite number above 0; got 0.0"),
    (("own.py", "--penalty", "-1"), "--penalty is one finite number at least 0"),
    (("own.py", "--method", "exact"), "Unknown --method 'exact'"),
    (("own.py", "--num-samples", "1"), "--num-samples is an integer ≥ 2"),
    (("own.py", "--model", "mlp"), "--model is for digits"),
    (("own.py", "--json", "no/such.json"), "in a folder that is not there"),
    (("--limit", "1"), "--limit is at least 3"),
    (("--model", "perceptron"), "Unknown --model 'perceptron'"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_refused_in_one_line(own: Path, capsys, arguments: tuple[str, ...], message: str) -> None:
    for name, text in (("broken", "1 / 0"), ("leaves", "raise SystemExit(3)"), ("number", "landscape = params = 3")):
        (own / f"{name}.py").write_text(text)
    assert cli.main(["shift", *arguments]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("\n")) == ("", 1)
    shutil.rmtree(own / "shift", ignore_errors=True)


@pytest.mark.slow
def test_digits(own: Path, capsys) -> None:
    assert cli.main(["shift", "--limit", "90", "--model", "logistic", "--file-order", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["penalty"] == 0.01
    assert found["source"] == "digits, logistic"
    assert found["shift"]["rise"] > 0
    assert found["shift"]["train"]["gradient_norm"] < 1e-6
