"""Predictions and simulations name their optimizer; a learning curve's highest order is tested by runs."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

import feyngd as fd

KEY = jax.random.key(0)
S = fd.Spacetime.sgd(5, 2, T=8, drop_last=False)
MOMENTUM = fd.momentum(0.5)
RATE = 0.004
RATES = [0.002, 0.004, 0.006, 0.008, 0.010, 0.012]
TIMES = [0, 3, 5, 8]


@pytest.fixture(scope="module")
def problem():
    data = np.random.default_rng(0).normal(size=12)

    def loss(theta, x):
        return (theta - x) ** 2 / 2 + x * theta**3 / 6 + theta**4 / 24

    return fd.Landscape(loss, data), 1.0


@pytest.fixture(scope="module")
def curve(problem):
    return fd.predict(*problem, S, RATE, optimizer=MOMENTUM, times=TIMES, key=KEY)


@pytest.fixture(scope="module")
def runs(problem):
    given = {"optimizer": MOMENTUM, "times": TIMES, "runs": 2000, "chunk_size": 500, "key": KEY}
    return fd.simulate(*problem, S, RATES, **given)


def tampered(curve, factor, *, only=None):
    """Return the curve with its coefficient of η³ multiplied, after all numbers of steps or one of them."""
    changed = []
    for one in curve.predictions:
        coefficients = one.coefficients.copy()
        if only is None or int(one.spacetime.T) == only:
            coefficients[:, 3] *= factor
        changed.append(replace(one, coefficients=coefficients))
    return replace(curve, predictions=changed)


def test_a_sound_curve_agrees_order_by_order(curve, runs) -> None:
    found = fd.compare(curve, runs)
    assert found.simulation.points.tolist() == TIMES
    np.testing.assert_allclose(found.simulation.mean, runs.mean[RATES.index(RATE)])
    assert found.converged.all()
    assert [check.verdict for check in found.highest_orders.values()] == [True, True, True]
    assert list(found.highest_orders) == [3, 5, 8]
    assert found.verdict == "agrees"
    assert "t = 8: coefficient of order 3: predicted" in str(found)
    saved = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert saved["highest_orders"]["8"]["verdict"] is True
    assert saved["prediction"]["optimizer"] == saved["simulation"]["optimizer"] == "momentum β=0.5"


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0, -1.0])
@pytest.mark.parametrize("only", [None, 5])
def test_a_tampered_order_differs(curve, runs, factor, only) -> None:
    """The whole last order is allowed at the one learning rate of the curve; runs at others show that it is wrong."""
    wrong = tampered(curve, factor, only=only)
    found = fd.compare(wrong, runs)
    assert found.agrees.all()
    assert found.verdict == "DIFFERS"


def test_one_learning_rate_cannot_test_an_order(curve, runs) -> None:
    alone = [
        fd.Simulation(one.quantity, one.spacetime, one.learning_rates[1:2], one.samples[1:2], optimizer=MOMENTUM)
        for one in map(runs.after, TIMES)
    ]
    found = fd.compare(curve, alone)
    assert found.highest_orders == {}
    assert found.verdict == "agrees"
    assert fd.compare(curve, [runs.after(8)]).highest_orders[8].verdict is True


def test_other_optimizers_are_refused(problem, curve, runs) -> None:
    function = fd.schedule(lambda step: 1.0, MOMENTUM)
    assert fd.compare(replace(curve, optimizer=function.over_steps(8)), runs).passed
    with pytest.raises(fd.ArgumentError, match=r"optimizer SGD, the simulation momentum β=0\.5: compare like"):
        fd.compare(replace(curve, optimizer=fd.sgd()), runs)
    prediction = fd.predict(*problem, S, RATES, optimizer=MOMENTUM, key=KEY)
    assert "momentum β=0.5" in str(prediction)
    assert fd.compare(prediction, runs.after(8)).passed
    one, other = (fd.schedule([1, rate] * 4) for rate in (0.5, 0.4))
    with pytest.raises(fd.ArgumentError, match="schedule of 8 steps, with other numbers"):
        fd.compare(replace(prediction, optimizer=one), replace(runs.after(8), optimizer=other))
    nothing = {"minibatch noise": np.zeros((2, 9))}
    anchored = fd.AnchoredPrediction("test_loss", S, np.arange(9), np.zeros(9), nothing, np.zeros(9))
    with pytest.raises(fd.ArgumentError, match="has the optimizer SGD"):
        fd.compare(anchored, runs.curve(RATE).simulations)


def test_curves_of_other_rates_are_refused(curve, runs) -> None:
    others = replace(runs, learning_rates=runs.learning_rates + 0.001)
    with pytest.raises(fd.ArgumentError, match=r"has the learning rate 0\.004, the simulation"):
        fd.compare(curve, others)


def test_simulated_curves_are_drawn(runs) -> None:
    ax = runs.plot()
    assert [line.get_label() for line in ax.lines] == [f"η = {rate:.3g}" for rate in RATES]
    np.testing.assert_allclose(ax.lines[2].get_ydata(), runs.mean[2])
    assert "momentum β=0.5" in ax.get_title()
    assert runs.plot(ax) is ax
