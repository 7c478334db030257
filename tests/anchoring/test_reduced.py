"""The control variate of anchored draws: its mean is known, so that it changes errors and not means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.anchoring import _memory
from feyngd.anchoring._reduced import PILOTS, Reduced, compiled_moments
from feyngd.anchoring._runs import Runs
from feyngd.anchoring._ties import RUN, STEP, Ties
from feyngd.landscapes import cross_entropy, digits, logistic_regression

RATES = np.array([0.1, 0.2, 0.1, 0.15, 0.2, 0.1])
TIES = [STEP, RUN, Ties("epoch", 2), Ties("epoch", 3), Ties("place", 3)]
DRAWS = 4000
START = np.array([0.5, -0.75, 0.25])


def loss(theta, example):
    z = example @ theta
    return z**3 / 8 + z**2 / 2 + theta[0] * theta[1] * example[2] + theta @ theta / 2


def landscape(reading="population"):
    rng = np.random.default_rng(3)
    test = rng.normal(size=(4, 3)) if reading == "conditional" else None
    return fd.Landscape(loss, rng.normal(size=(6, 3)), test, reading=reading)


def runs(reading="population", noise=64):
    return Runs(landscape(reading), START, RATES, 64, noise, 3)


def arbitrary(noise):
    """Coordinates that have nothing to do with the noise, with the moments that were computed for them."""
    rng = np.random.default_rng(noise)
    directions, moves = jnp.asarray(rng.normal(size=(7, 2, 3))), jnp.asarray(rng.normal(size=(7, 2, 2)) / 2)
    path = [START]
    slope = jax.grad(landscape().mean_loss)
    for rate in RATES:
        path.append(path[-1] - rate * np.asarray(slope(path[-1])))
    labels = np.stack([one.labels(6) for one in TIES], axis=1)
    begins = jnp.asarray(np.diff(labels, axis=0, prepend=labels[:1]) != 0)
    moments = compiled_moments(loss)(
        START, landscape().data, jnp.asarray(path), directions, moves, jnp.asarray(RATES), begins
    )
    known = np.array(moments)
    known[-1] = np.nan
    curvature = rng.normal(size=(7, 2, 2))
    return Reduced(directions, moves, curvature, curvature, known)


@pytest.fixture(scope="module", params=[2, 64], ids=["noise of 2 examples", "noise of all"])
def drawn(request):
    """Draws beside coordinates found by pilots, and beside arbitrary ones."""
    with jax.enable_x64(True):
        made = runs(noise=request.param)
        found = made.reduced(TIES, 2, jax.random.key(0)), arbitrary(request.param)
        return [(one, made.second_order(TIES, jax.random.split(jax.random.key(1), DRAWS), one)) for one in found]


def test_second_moments_of_the_coordinates_are_known(drawn):
    for reduced, second in drawn:
        squares = np.einsum("rsti,rstj->rstij", second.coordinates, second.coordinates)
        stderr = squares.std(axis=0, ddof=1) / DRAWS**0.5
        off = np.abs(squares.mean(axis=0) - reduced.moments)[:-1]
        assert (off <= 4.5 * stderr[:-1] + 1e-12).all()
        assert (reduced.moments[:-1, -1].trace(axis1=1, axis2=2) > 0).all()


def test_steps_at_one_place_of_their_epochs_are_left_alone(drawn):
    for reduced, second in drawn:
        assert np.isnan(reduced.moments[-1]).all()
        controlled = reduced.controlled(second.train, second.coordinates, reduced.train)
        np.testing.assert_array_equal(controlled[:, -1], second.train[:, -1])


def test_means_stay_and_errors_do_not_grow(drawn):
    for reduced, second in drawn:
        controlled = reduced.controlled(second.train, second.coordinates, reduced.train)
        change = (second.train - controlled).mean(axis=0)
        stderr = (second.train - controlled).std(axis=0, ddof=1) / DRAWS**0.5
        assert (np.abs(change) <= 4.5 * stderr + 1e-12).all()
        shares = controlled[:, :-1, -1].var(axis=0) / second.train[:, :-1, -1].var(axis=0)
        assert (shares < 1.02).all()


def test_intervals_cover():
    """Every group of 128 draws fits its own factor: 92 to 98 % of 400 intervals of 95 % have the mean."""
    with jax.enable_x64(True):
        made = runs()
        reduced = made.reduced(TIES[:4], 2, jax.random.key(0))
        second = made.second_order(TIES[:4], jax.random.split(jax.random.key(2), 12_800), reduced)
    exact = reduced.controlled(second.train, second.coordinates, reduced.train).mean(axis=0)[:, -1]
    covered = []
    for start in range(0, 12_800, 128):
        own = slice(start, start + 128)
        rows = reduced.controlled(second.train[own], second.coordinates[own], reduced.train)[:, :, -1]
        covered.append(np.abs(rows.mean(axis=0) - exact) <= 1.98 * rows.std(axis=0, ddof=1) / 128**0.5)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_a_factor_is_that_of_the_other_half(drawn):
    reduced, second = drawn[0]
    rows, y = second.train[:128].copy(), second.coordinates[:128]
    before = rows - reduced.controlled(rows, y, reduced.train)
    rows[::2] *= 3
    after = rows - reduced.controlled(rows, y, reduced.train)
    np.testing.assert_allclose(after[::2, :4], before[::2, :4], atol=1e-9)
    assert not np.allclose(after[1::2, :4], before[1::2, :4])


def test_test_losses_have_a_curvature_of_their_own():
    with jax.enable_x64(True):
        made = runs("conditional")
        reduced = made.reduced([STEP], 3, jax.random.key(0))
        second = made.second_order([STEP], jax.random.split(jax.random.key(1), DRAWS), reduced)
    for draws, curvature in ((second.train, reduced.train), (second.test, reduced.test)):
        controlled = reduced.controlled(draws, second.coordinates, curvature)
        stderr = (draws - controlled).std(axis=0, ddof=1) / DRAWS**0.5
        assert (np.abs((draws - controlled).mean(axis=0)) <= 4.5 * stderr + 1e-12).all()
        assert controlled[:, 0, -1].var() < 1.02 * draws[:, 0, -1].var()
    assert not np.allclose(reduced.test, reduced.train)


def test_on_digits_most_of_the_spread_goes():
    images, labels = digits()
    model = logistic_regression((8, 8), 10)
    options = {"steps": 20, "learning_rate": 0.5, "truncation_samples": 0, "key": jax.random.key(1)}
    problem = fd.Landscape(cross_entropy(model), (images[:300], labels[:300])), model.init(jax.random.key(0))
    plain, controlled = (fd.anchor(*problem, control_directions=size, **options) for size in (0, 16))
    for ties, rows in controlled.second.items():
        assert rows[:, -1].var() < 0.4 * plain.second[ties][:, -1].var()
        stderr = np.hypot(rows[:, -1].std(), plain.second[ties][:, -1].std()) / len(rows) ** 0.5
        assert abs(rows[:, -1].mean() - plain.second[ties][:, -1].mean()) < 4 * stderr


def test_directions_are_no_more_than_half_of_what_pilots_span():
    """The lesser half is what happened to be drawn: with all of it the chain went astray, and errors grew."""
    problem = fd.Landscape(lambda theta, x: jnp.tanh(x @ theta) ** 2, np.random.default_rng(0).normal(size=(20, 40)))
    options = {"steps": 3, "learning_rate": 0.1, "num_samples": 4, "truncation_samples": 0, "key": jax.random.key(1)}
    half, all_of_them = (
        fd.anchor(problem, np.full(40, 0.1), control_directions=size, **options) for size in (PILOTS, 2 * PILOTS)
    )
    for ties, rows in half.second.items():
        np.testing.assert_array_equal(rows, all_of_them.second[ties])


def test_directions_are_as_many_as_the_memory_holds(monkeypatch):
    monkeypatch.setattr(_memory, "available_memory", lambda: 8 * 2**20)
    assert _memory.directions_kept(16, 1000, 4, 9) == 13
    assert _memory.directions_kept(8, 1000, 4, 9) == 8
    assert _memory.directions_kept(16, 5, 4, 9) == 5
    assert _memory.directions_kept(16, 10**6, 4, 9) == 0
