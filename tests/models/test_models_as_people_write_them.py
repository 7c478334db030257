"""Predictions for models as people write them: no false alarm, and the numbers of simulated runs."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from written_models import MODELS

import feyngd as fd
from feyngd.landscapes import find_kinks

KEY, RUNS = jax.random.key(5), jax.random.key(9)
QUICK = ("equinox MLP", "haiku MLP", "bfloat16 inside")
ANCHORED = ("nnx LayerNorm", "attention, -inf")
AT_MINIMA = ("linen LSTM", "nnx LayerNorm", "equinox MLP", "equinox transformer", "attention, -inf", "scanned layers")
# Layers that other libraries have in the tests too: their kinks are looked for, and no more.
TWICE = (
    "linen LayerNorm",
    "nnx GroupNorm",
    "linen GRU",
    "haiku attention",
    "attention, least float",
    "equinox RMSNorm",
)


# A model whose derivatives are looked at elsewhere is not predicted once more: compiling takes most of the time.
PREDICTED = [name for name in MODELS if name in QUICK or name not in {*ANCHORED, *AT_MINIMA, *TWICE}]


def named(names, quick=()):
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.fixture(autouse=True)
def alarms_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", fd.TruncationWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # of the libraries themselves
        yield


def held(loss, start):
    """A loss that holds parameters near their start, as in fine-tuning.

    Weight decay alone has no minimum where weights are normalised afterwards: they shrink, and curvatures grow.
    """

    def with_penalty(params, example):
        distances = jax.tree.map(lambda leaf, first: jnp.sum((leaf - first) ** 2), params, start)
        return loss(params, example) + 0.3 * sum(jax.tree.leaves(distances))

    return with_penalty


def trained(landscape, params):
    """The parameters after plain gradient descent on the mean loss."""

    @jax.jit
    def descend(params):
        slope = jax.grad(lambda p: jnp.mean(jax.vmap(landscape.loss, (None, 0))(p, landscape.data)))
        step = lambda _, p: jax.tree.map(lambda leaf, part: leaf - 0.05 * part, p, slope(p))  # noqa: E731
        return jax.lax.fori_loop(0, 20000, step, params)

    return descend(jax.tree.map(jnp.asarray, params))


@pytest.mark.parametrize("name", MODELS)
def test_no_kink_is_seen(name):
    assert find_kinks(*MODELS[name]()) == ()


@pytest.mark.parametrize("name", named(PREDICTED, QUICK))
def test_predict_agrees_with_simulation(name):
    loss, params, data = MODELS[name]()
    landscape, spacetime = fd.Landscape(loss, data), fd.Spacetime.sgd(8, 2, 1)
    values = fd.evaluate([D for k in range(3) for D in fd.diagrams(k)], landscape, params, key=KEY)
    edge = fd.predict(landscape, params, spacetime, 1e-3, order=2, values=values).valid_up_to
    rates = [0.4 * edge, 0.8 * edge]
    prediction = fd.predict(landscape, params, spacetime, rates, order=2, values=values)
    found = fd.compare(prediction, fd.simulate(landscape, params, spacetime, rates, runs=1500, control=True, key=RUNS))
    assert prediction.kinks == ()
    assert prediction.converged.all()
    assert found.resolves.all()  # the last order is seen, so that agreeing means something
    assert found.passed
    rounding = prediction.dtype_error / np.abs(prediction.mean)
    if name == "bfloat16 inside":
        assert (rounding > 1e-5).all()
    else:
        assert (rounding < 1e-5).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ANCHORED)
def test_anchor_agrees_with_simulation(name):
    loss, params, data = MODELS[name]()
    landscape, rate = fd.Landscape(loss, data), 0.05
    anchored = fd.anchor(landscape, params, steps=8, learning_rate=rate, epoch_lengths=[4], num_samples=60, key=KEY)
    curve = anchored.predict(N=8, B=2, E=2)
    runs = fd.simulate(landscape, params, fd.Spacetime.sgd(8, 2, 2), [rate], runs=1500, control=True, key=RUNS)
    error = np.hypot(curve.stderr[-1], runs.stderr[0])
    assert abs(curve.mean[-1] - runs.mean[0]) < 3 * error + curve.truncation[-1]
    assert curve.mean[-1] - curve.noiseless[-1] > 3 * error  # what noise adds is seen


@pytest.mark.slow
@pytest.mark.parametrize("name", AT_MINIMA)
def test_near_minimum_agrees_with_simulation(name):
    loss, params, data = MODELS[name]()
    landscape, spacetime = fd.Landscape(held(loss, params), data), fd.Spacetime.sgd(16, 4, 5)
    minimum = trained(landscape, params)
    prediction = fd.near_minimum(landscape, minimum, key=KEY).predict(spacetime, [0.004])
    found = fd.compare(
        prediction, fd.simulate(landscape, minimum, spacetime, [0.004], runs=1500, control=True, key=RUNS)
    )
    assert found.passed
    added = prediction.mean[0] - landscape.mean_loss(minimum)
    assert added > 3 * found.stderr[0]  # what noise adds is seen
