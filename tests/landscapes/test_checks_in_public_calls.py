"""Every public call that takes a landscape and parameters passes the same checks, before it computes anything."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd import training
from feyngd.errors import ArgumentError, LandscapeError

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = np.linspace(-1, 1, 12, dtype=np.float32)
SGD = fd.Spacetime.sgd(N=6, B=2)

CALLS = {
    "evaluate": lambda land, p: fd.evaluate(fd.diagrams(1), land, p, key=KEY),
    "predict": lambda land, p: fd.predict(land, p, SGD, 0.01, order=1, key=KEY),
    "simulate": lambda land, p: fd.simulate(land, p, SGD, 0.01, runs=4, key=KEY),
    "simulate with control": lambda land, p: fd.simulate(land, p, SGD, 0.01, runs=4, control=True, key=KEY),
    "simulate_sde": lambda land, p: fd.simulate_sde(land, p, SGD, 0.01, runs=4, key=KEY),
    "anchor": lambda land, p: fd.anchor(land, p, steps=4, learning_rate=0.1, epoch_lengths=[2], num_samples=4, key=KEY),
    "near_minimum": lambda land, p: fd.near_minimum(land, p, key=KEY),
    "entropic_drift": lambda land, p: fd.entropic_drift(land, p, SGD, 0.01),
    "aic": lambda land, p: training.aic(land, p),
    "tic": lambda land, p: training.tic(land, p),
    "stic": lambda land, p: training.stic(land, p, learning_rate=0.1, steps=3),
}
IN_REVERSE_MODE = {"simulate", "simulate_sde", "aic"}


@pytest.fixture(params=CALLS)
def call(request):
    return request.param


@jax.custom_vjp
def half_square(r):
    return 0.5 * r**2


half_square.defvjp(lambda r: (half_square(r), r), lambda r, g: (g * r,))


def squared_error(w, example):
    x, y = example
    return 0.5 * (x @ w - y) ** 2


def refused(call, landscape, params, message, error=LandscapeError):
    with pytest.raises(error, match=message):
        CALLS[call](landscape, params)


def test_what_is_no_landscape(call):
    refused(call, squared_error, jnp.ones(3), r"fd\.Landscape\(loss, data\)", ArgumentError)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (eqx.nn.MLP(3, "scalar", 4, 1, activation=jnp.tanh, key=KEY), r"params\.activation is a function.*partition"),
        ({"w": "text"}, r"params\['w'\] is str"),
        ({"w": jnp.ones(3), "none": jnp.zeros((0, 3))}, r"params\['none'\] has shape \(0, 3\)"),
        ({"w": np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0])}, "masked"),
        (jnp.array([1, 2, 3]), "int32"),
        (jnp.array([1.0, jnp.nan, 3.0]), "not finite"),
        (KEY, "random key"),
        (jnp.ones(4), r"raised TypeError.*params: float32\[4\]; example\[0\]: float32\[3\]"),
    ],
)
def test_what_are_no_parameters(call, params, message):
    refused(call, fd.Landscape(squared_error, (X, Y)), params, message)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda example, w: squared_error(w, example), r"arguments swapped: define loss\(params, example\)"),
        (lambda w, example: example[1] ** 2, "does not depend on the parameters"),
        (lambda w, example: squared_error(jax.lax.stop_gradient(w), example), "gradient of the loss is 0 everywhere"),
        (lambda w, example: squared_error(w * jax.random.bernoulli(KEY, 0.5, (3,)), example), "constant key"),
        (lambda w, example: jax.lax.while_loop(lambda c: c < 9.0, lambda c: 2 * c + 1, w[0] ** 2), "number of turns"),
        (lambda w, example: squared_error(w, example) if w[0] > 0 else 0.0, r"jnp\.where"),
        (lambda w, example: w * example[1], r"shape \(3,\)"),
    ],
)
def test_what_is_no_loss(call, loss, message):
    refused(call, fd.Landscape(loss, (X, Y)), jnp.ones(3), message)


@pytest.mark.parametrize("call", sorted(CALLS.keys() - IN_REVERSE_MODE))
def test_a_derivative_in_reverse_mode_only(call):
    landscape = fd.Landscape(lambda w, example: half_square(example[0] @ w - example[1]), (X, Y))
    refused(call, landscape, jnp.ones(3), "calls half_square.*jax.custom_jvp")


def test_gradients_alone_take_a_derivative_in_reverse_mode():
    landscape = fd.Landscape(lambda w, example: half_square(example[0] @ w - example[1]), (X, Y))
    plain = fd.Landscape(squared_error, (X, Y))
    runs, expected = (CALLS["simulate"](land, jnp.ones(3)).mean for land in (landscape, plain))
    np.testing.assert_allclose(runs, expected, rtol=1e-6)


def test_parameters_are_taken_as_they_are_now():
    landscape, params = fd.Landscape(squared_error, (X, Y)), np.ones(3, dtype=np.float32)
    values = CALLS["evaluate"](landscape, params)
    again = CALLS["evaluate"](landscape, params.astype(">f4"))
    for diagram in values:
        assert values[diagram] == again[diagram]
