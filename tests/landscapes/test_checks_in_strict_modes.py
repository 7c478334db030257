"""JAX's strict modes are about a user's own code: they hold while a loss is traced, and feyngd computes the same."""

from contextlib import ExitStack

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd import training
from feyngd.errors import LandscapeError

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(10, 2)).astype(np.float32)
Y = np.linspace(-1, 1, 10, dtype=np.float32)
PARAMS = {"w": np.array([0.3, -0.2], dtype=np.float32), "b": np.float32(0.1)}
SGD = fd.Spacetime.sgd(N=4, B=2)
MODES = {
    "strict": lambda: [jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict")],
    "debugging": lambda: [jax.debug_nans(True), jax.debug_infs(True)],
}


def loss(params, example):
    x, y = example
    return jnp.float32(0.5) * (jnp.sum(jnp.tanh(params["w"] * x)) + params["b"] - y) ** 2


def landscape():
    """A landscape of a new function, for which nothing has been compiled."""
    return fd.Landscape(lambda params, example: loss(params, example), (X, Y))


def in_mode(mode, call):
    with ExitStack() as stack:
        for context in MODES[mode]():
            stack.enter_context(context)
        return call(landscape())


CALLS = {
    "losses": lambda land: land.losses(PARAMS),
    "evaluate": lambda land: [v.value for v in fd.evaluate(fd.diagrams(2), land, PARAMS, key=KEY).values()],
    "predict": lambda land: fd.predict(land, PARAMS, SGD, [0.01, 0.02], order=2, key=KEY).mean,
    "simulate": lambda land: fd.simulate(land, PARAMS, SGD, [0.01], runs=8, control=True, key=KEY).mean,
    "near_minimum": lambda land: fd.near_minimum(land, PARAMS, key=KEY).predict(SGD, 0.05).mean,
    "stic": lambda land: training.stic(land, PARAMS, learning_rate=0.1, steps=3).value,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["losses", "evaluate", "simulate", "stic"])
def test_results_are_the_same_in_strict_modes(name, mode):
    expected = CALLS[name](landscape())
    np.testing.assert_allclose(in_mode(mode, CALLS[name]), expected, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["predict", "near_minimum"])
def test_results_of_long_calls_are_the_same_in_strict_modes(name, mode):
    expected = CALLS[name](landscape())
    np.testing.assert_allclose(in_mode(mode, CALLS[name]), expected, rtol=1e-6)


@pytest.mark.slow
def test_whole_runs_are_the_same_in_strict_modes():
    def final(land):
        anchored = fd.anchor(land, PARAMS, steps=4, learning_rate=0.1, epoch_lengths=[2], num_samples=4, key=KEY)
        return anchored.predict(fd.Spacetime.sgd(N=4, B=2, T=4)).mean

    np.testing.assert_allclose(in_mode("strict", final), final(landscape()), rtol=1e-6)


def test_a_strict_mode_holds_for_the_loss_itself():
    def sloppy(params, example):
        x, _ = example
        return jnp.sum(params["w"] * jnp.ones((3, 2)) * x)  # ranks 1 and 2

    land = fd.Landscape(sloppy, (X, Y))
    land.losses(PARAMS)
    with jax.numpy_rank_promotion("raise"), pytest.raises(LandscapeError, match="rank_promotion"):
        land.losses(PARAMS)
