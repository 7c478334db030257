"""Figure 4's left half: its ratios by hand, and the experiment quickly on a few digits."""

import jax
import numpy as np
import pytest

from feyngd.drawing import drawn
from feyngd.experiments import Setting
from feyngd.experiments import _emulated_batches as emulated
from feyngd.landscapes import digits, logistic_regression


def start(from_gd, from_gdc):
    """Return a start with one learning rate and these differences on every training set, a little spread."""
    spread = 1 + np.linspace(-0.1, 0.1, 21)
    return emulated._Start("logistic", "zero", (0.1,), from_gd * spread[None], from_gdc * spread[None])


def test_distances_are_root_mean_squares_over_the_starts():
    ((ratio, low, high),) = emulated.ratios([start(3.0, -0.6), start(-4.0, 0.8)])
    assert ratio == pytest.approx(0.2)
    assert low == pytest.approx(0.2)
    assert high == pytest.approx(0.2)
    # A start where nothing differs changes nothing.
    assert emulated.ratios([start(3.0, -0.6), start(0.0, 0.0)])[0][0] == pytest.approx(0.2)
    assert [one.holds for one in emulated._findings("logistic", [start(1.0, 2.0)])] == [False]
    unsure = emulated._Start("logistic", "zero", (0.1,), np.array([[1.0, -1.2] * 9]), np.array([[-1.0, 1.1] * 9]))
    assert [one.holds for one in emulated._findings("logistic", [unsure])] == [None]


def test_all_run_on_the_same_training_sets():
    whole, alone = emulated._batches(50, Setting(jax.random.key(0), digits(50), quick=True))
    assert whole.shape == (30, 1, 10, 10)
    assert alone.shape == (30, 4, 10, 1)
    for sets, runs in zip(whole[:, 0], alone[..., 0], strict=True):
        assert all(np.array_equal(np.sort(run), np.sort(sets[0])) for run in runs)
        np.testing.assert_array_equal(runs[:2], runs[2:, ::-1])


@pytest.mark.slow
def test_gdc_is_closer_at_small_learning_rates(monkeypatch):
    monkeypatch.setitem(emulated._MODELS, "convnet", logistic_regression)  # for speed
    found = emulated.EXPERIMENT.run(Setting(jax.random.key(0), digits(40), quick=True))
    assert [finding.holds for finding in found.findings[:2]] == [True, True]
    assert drawn(found.figure, "png").startswith(b"\x89PNG")
    data = found.to_dict()["data"]
    assert [(one["model"], one["start"]) for one in data["starts"]] == [
        (model, name) for model in ("logistic", "convnet") for name in ("zero", "Glorot 1")
    ]
    for one in data["starts"]:
        gd, gdc = (np.array(one[f"SGD less {what}"]["mean"]) for what in ("gradient descent", "GDC"))
        assert abs(gdc[0]) < 0.2 * abs(gd[0])
