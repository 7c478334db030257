"""How much is drawn for a prediction: as much as it needs at its learning rates, and no more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.evaluation.estimators._twins import Twins
from feyngd.prediction import _values_needed

KEY = jax.random.key(0)
SPACETIME = fd.Spacetime.sgd(N=8, B=2, E=2)
RATES = [0.02, 0.1]
WIDTH = 40


def loss(theta, x):
    return jnp.logaddexp(0.0, x @ theta) + 0.3 * jnp.tanh(theta[0] * x[1]) ** 2 + 0.01 * jnp.sum(theta**4)


def made(reading="population", count=800):
    data = np.random.default_rng(0).normal(size=(count + 300, WIDTH))
    point = jnp.linspace(-0.1, 0.3, WIDTH)
    if reading == "conditional":
        return fd.Landscape(loss, data[:count], data[count:], reading=reading), point
    return fd.Landscape(loss, data[:count], reading=reading), point


def predicted(landscape, point, spacetime=SPACETIME, rates=RATES, **options):
    return fd.predict(landscape, point, spacetime, rates, check_dtype=False, **{"key": KEY, **options})


@pytest.fixture
def twins(monkeypatch):
    """The numbers of twins that are drawn."""
    counts = []

    def add(self, count, advance, numbers=None):
        counts.append(count)
        return plain(self, count, advance, numbers)

    plain = Twins.add
    monkeypatch.setattr(Twins, "add", add)
    return counts


@pytest.mark.parametrize("quantity", ["test_loss", "train_loss", "gap"])
@pytest.mark.parametrize("reading", ["population", "unbiased", "conditional"])
def test_the_error_is_a_hundredth_of_the_change_or_a_tenth_of_what_is_left_out(reading, quantity):
    landscape, point = made(reading)
    spacetime = fd.Spacetime.sgd(N=800, B=100) if reading == "conditional" else SPACETIME
    found = predicted(landscape, point, spacetime, quantity=quantity)
    enough = np.maximum(0.01 * np.abs(found.mean - found.start), 0.1 * found.truncation)
    assert np.all(found.stderr <= enough)
    assert np.all(found.stderr > 0)
    assert 12 <= len(found.coefficients) - 1 <= 31


def test_a_prediction_of_small_steps_needs_two_pairings(twins):
    predicted(*made(count=1600), rates=[1e-3])
    assert twins == [1]


def test_rtol_is_of_the_predicted_change(twins):
    landscape, point = made()
    for rtol in (0.01, 3e-4):
        found = predicted(landscape, point, rates=[0.02], rtol=rtol)
        assert np.all(found.stderr <= rtol * np.abs(found.mean - found.start))
        assert sum(twins) >= 2
        twins.clear()


def test_rtol_out_of_reach_warns():
    landscape, point = made()
    plan = fd.plan(fd.expand("test_loss", order=3, spacetime=SPACETIME), landscape, point)
    with pytest.warns(fd.PrecisionWarning, match="times what was asked for"):
        predicted(landscape, point, rtol=1e-6, budget=plan.exact_cost + 6 * plan.pass_cost)


def test_several_epochs_need_the_same_diagrams(monkeypatch):
    """So that they share their programs."""
    asked = []
    plain = _values_needed.evaluate_for

    def evaluate_for(aim, diagrams, *arguments, **options):
        asked.append(tuple(diagrams))
        return plain(aim, diagrams, *arguments, **options)

    monkeypatch.setattr(_values_needed, "evaluate_for", evaluate_for)
    landscape, point = made()
    for epochs in (2, 3, 4):
        predicted(landscape, point, fd.Spacetime.sgd(N=8, B=2, E=epochs))
    assert len(set(asked)) == 1
    predicted(landscape, point, fd.Spacetime.sgd(N=8, B=2))
    assert set(asked[-1]) < set(asked[0])


def test_replicates_are_drawn_as_they_are_asked_for():
    found = predicted(*made(), replicates=5)
    assert len(found.coefficients) == 5


@pytest.mark.slow
def test_intervals_cover():
    """Of 150 predictions: the mean of all of them is the truth, as far as one of them can tell."""
    landscape, point = made()
    found = [predicted(landscape, point, key=jax.random.key(seed)) for seed in range(150)]
    means, errors = (np.array([getattr(one, name) for one in found]) for name in ("mean", "stderr"))
    hits = np.abs(means - means.mean(axis=0)) < 2.05 * errors
    assert np.all(hits.mean(axis=0) > 0.89)
    assert np.all(hits.mean(axis=0) < 0.995)


def test_studies_draw_what_all_their_predictions_need(tmp_path, twins):
    landscape, point = made(count=1600)
    spacetimes = [SPACETIME, fd.Spacetime.sgd(N=4)]
    done = fd.study(landscape, point, spacetimes, [1e-3], tmp_path, runs=20, check_dtype=False, key=KEY)
    assert sum(twins) <= 4
    for one in done:
        found = one.prediction
        assert np.all(found.stderr <= np.maximum(0.01 * np.abs(found.mean - found.start), 0.1 * found.truncation))
