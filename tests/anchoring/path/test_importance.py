"""Examples that are drawn more often count less: means are exact, and few large gradients no longer rule."""

from fractions import Fraction

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import feyngd as fd
from feyngd.anchoring._noise_weights import RUN, STEP
from feyngd.anchoring.path import _importance
from feyngd.anchoring.path._importance import ExampleSampler, survey
from feyngd.anchoring.path._noiseless_path import NoiselessPath
from feyngd.derivatives._loss_sums import Sums

RATES = np.array([0.1, 0.2, 0.1, 0.15])
START = np.array([0.5, -0.75, 0.25])
SIZES = arrays.arrays(float, st.integers(1, 12), elements=st.floats(0, 1e6))


def loss(theta, example):
    z = example @ theta
    return z**3 / 8 + z**2 / 2 + theta @ theta / 2


@given(SIZES)
@settings(deadline=None)
def test_weights_make_up_for_chances(sizes):
    """In fractions: p_x w_x = 1/M for every example, and all have a chance, a quarter of an equal one at the least."""
    sampler, count = ExampleSampler.of_sizes(sizes, float), len(sizes)
    tickets = np.bincount(np.asarray(sampler.tickets), minlength=count)
    assert tickets.sum() == 8 * count
    assert tickets.min() >= 2
    for held, weight in zip(tickets.tolist(), np.asarray(sampler.weights).tolist(), strict=True):
        assert weight == pytest.approx(float(Fraction(8, held)), rel=1e-6)
    if sizes.sum() > 0:
        shares = sizes / sizes.sum()
        assert (np.abs(tickets - 2 - 6 * count * shares) <= 1 + 1e-6).all()


@pytest.mark.parametrize("sizes", [np.zeros(3), np.full(3, np.nan), np.array([np.inf, 1, 1])], ids=str)
def test_sizes_without_information_count_the_same(sizes):
    np.testing.assert_array_equal(ExampleSampler.of_sizes(sizes, float).weights, np.ones(3))


def test_draws_have_the_mean_and_the_covariance_of_all():
    with jax.enable_x64(True):
        values = np.random.default_rng(0).normal(size=(5, 2)) ** 3
        sampler = ExampleSampler.of_sizes(np.array([0.0, 1, 2, 10, 40]), float)
        keys = jax.random.split(jax.random.key(0), 20_000)
        indices, weights = jax.vmap(lambda key: sampler.draw(key, 3))(keys)
        means = np.einsum("rx,rxi->ri", weights, values[np.asarray(indices)])
        indices, weights = jax.vmap(lambda key: sampler.signed(key, jnp.array(0), 3))(keys)
    noise = np.einsum("rx,rxi->ri", weights, values[np.asarray(indices)] - values.mean(axis=0))
    squares = np.einsum("ri,rj->rij", noise, noise)
    exact = values.mean(axis=0), np.zeros(2), np.cov(values.T, bias=True)
    for rows, wanted in zip((means, noise, squares), exact, strict=True):
        assert (np.abs(rows.mean(axis=0) - wanted) < 4.5 * rows.std(axis=0) / len(rows) ** 0.5).all()


def test_the_survey_has_the_sizes_of_centred_gradients_along_the_path(monkeypatch):
    monkeypatch.setattr(_importance, "_SURVEYED", 3)
    rng = np.random.default_rng(1)
    data, test = rng.normal(size=(6, 3)), rng.normal(size=(4, 3))
    gradient, point = jax.grad(loss), START
    with jax.enable_x64(True):
        found = survey(loss, jnp.asarray(START), data, test, jnp.asarray(RATES), 4)
        path = [point]
        for rate in RATES:
            path.append(path[-1] - rate * np.mean([gradient(jnp.asarray(path[-1]), x) for x in data], axis=0))
        np.testing.assert_allclose(found.losses, [np.mean([loss(point, x) for x in data]) for point in path])
        for examples, sizes in ((data, found.data), (test, found.test_data)):
            total = np.zeros(len(examples))
            for step in (0, 2, 4):
                gradients = np.array([gradient(jnp.asarray(path[step]), x) for x in examples])
                squares = ((gradients - gradients.mean(axis=0)) ** 2).sum(axis=1)
                total += squares / squares.mean() / 3
            np.testing.assert_allclose(sizes, total)


def test_few_large_gradients_do_not_dominate():
    """One example of forty has gradients ten times as large; drawn as often as it matters, it does not dominate.

    Noise that is drawn independently in every step is averaged over steps anyway, and gains less.
    """
    rng = np.random.default_rng(2)
    data = rng.normal(size=(40, 3)) * np.where(np.arange(40) == 0, 3.0, 0.3)[:, None]
    keys, ties = jax.random.split(jax.random.key(0), 2000), [STEP, RUN]

    def spreads(path):
        test = path.second_order(ties, keys, path.no_control_variates(ties)).draws.test[:, :, -1]
        return test.mean(axis=0), test.std(axis=0)

    with jax.enable_x64(True):
        landscape = fd.Landscape(loss, data)
        ours = NoiselessPath(landscape, jnp.asarray(START), RATES, 64, 4, 4)
        equal = NoiselessPath(landscape, jnp.asarray(START), RATES, 64, 4, 4)
        equal._samplers = _importance.ExampleSamplers(*[ExampleSampler.of_sizes(np.ones(40), float)] * 3)
        means, widths = spreads(ours)
        others, wider = spreads(equal)
    assert (np.abs(means - others) < 4 * np.hypot(widths, wider) / 2000**0.5).all()
    assert widths[0] < 0.85 * wider[0]
    assert widths[1] < 0.5 * wider[1]


def test_means_of_many_small_gradients_do_not_underflow():
    """In half precision a gradient of 1e-5 over 2,000 examples is as good as its digits."""
    data = np.random.default_rng(0).normal(size=(2000, 4)) * 1e-5 + 1e-5
    sums = Sums(lambda theta, x: x @ theta, jnp.ones(4, jnp.float16), 64)
    _, gradient = sums.mean_gradient(sums.start, jnp.asarray(data, jnp.float16))
    np.testing.assert_allclose(gradient, data.mean(axis=0), rtol=0.02, atol=1e-7)
