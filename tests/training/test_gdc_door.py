"""What GDC takes and refuses, that it never sees an old loss, and leaves the caller's compiled functions alone."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.training import gdc, gdc_gradient, gdc_loss

BATCH = jnp.array([0.5, 1.0, 2.0])
THETA = jnp.array(0.7)


def by_optax(loss, params, batch, *, learning_rate):
    transformation = gdc(loss, learning_rate)
    zeros = jax.tree.map(jnp.zeros_like, params)
    return transformation.update(zeros, transformation.init(params), params, batch=batch)[0]


def gradient_of_loss(loss, params, batch, *, learning_rate):
    return jax.grad(lambda p: gdc_loss(loss, p, batch, learning_rate=learning_rate))(params)


ALL = [gdc_loss, gradient_of_loss, gdc_gradient, by_optax]


# --- one number per example, differentiable forwards, of floats ---------------------------------------------------


@jax.custom_vjp
def half_square(r):
    return 0.5 * r**2


half_square.defvjp(lambda r: (half_square(r), r), lambda r, g: (g * r,))


@jax.custom_jvp
def half_square_forwards(r):
    return 0.5 * r**2


half_square_forwards.defjvp(lambda primals, tangents: (half_square_forwards(*primals), primals[0] * tangents[0]))


def with_square(square):
    return lambda theta, x: square(jnp.tanh(theta * x) - 1)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("function", [gdc_gradient, by_optax])
def test_a_derivative_for_reverse_mode_alone_is_refused(function, compiled):
    call = functools.partial(function, with_square(half_square), learning_rate=0.1)
    with pytest.raises(fd.LandscapeError, match=r"custom_vjp.*forward mode.*jax\.custom_jvp.*plain formula"):
        (jax.jit(call) if compiled else call)(THETA, BATCH)


def test_other_derivatives_are_taken():
    plain = gdc_gradient(with_square(lambda r: 0.5 * r**2), THETA, BATCH, learning_rate=0.1)
    for square in (half_square_forwards, jax.jit(half_square_forwards)):
        found = gdc_gradient(with_square(square), THETA, BATCH, learning_rate=0.1)
        np.testing.assert_allclose(found, plain, rtol=1e-6)
    reverse = gradient_of_loss(with_square(half_square), THETA, BATCH, learning_rate=0.1)  # reverse over reverse
    np.testing.assert_allclose(reverse, plain, rtol=1e-6)
    same = gdc_gradient(with_square(half_square), THETA, BATCH, learning_rate=0.1, emulate_batch_size=3)
    np.testing.assert_allclose(same, jax.grad(lambda t: jnp.mean(with_square(half_square)(t, BATCH)))(THETA), rtol=1e-6)


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"w": THETA, "activation": jnp.tanh}, r"params\['activation'\] is .*not an array.*eqx\.partition"),
        ({"w": THETA, "name": "layer"}, r"params\['name'\] is str"),
        ({"w": THETA, "name": "float32"}, r"params\['name'\] is str"),
        ({"w": THETA, "depth": 3}, r"params\['depth'\] has dtype int"),
        ({"w": THETA, "mask": jnp.array([True])}, r"params\['mask'\] has dtype bool"),
        ({"w": THETA, "phase": jnp.array(1j)}, r"params\['phase'\] has dtype complex"),
        ({"w": THETA, "thing": object()}, r"params\['thing'\] is object"),
        ({}, "hold no numbers"),
    ],
)
def test_parameters_are_floats(params, found):
    for function in (gdc_loss, gdc_gradient):
        with pytest.raises(fd.LandscapeError, match=found):
            function(lambda p, x: p["w"] * x, params, BATCH, learning_rate=0.1)


def test_an_equinox_model_as_it_is():
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(2, "scalar", 4, 1, activation=jnp.tanh, key=jax.random.key(0))
    batch = jnp.ones((3, 2))
    for function in (gdc_loss, gdc_gradient):
        with pytest.raises(fd.LandscapeError, match=r"not an array.*eqx\.partition"):
            function(lambda m, x: m(x) ** 2, model, batch, learning_rate=0.1)


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (lambda p, x: jnp.dot(p, x["a"]), r"TypeError.*params of float32\[2\].*float32\[3\]"),
        (lambda p, x: p["w"] * x["a"], "on one example"),
        (lambda p, x, y: p * x, "loss\\(params, example\\)"),
        (lambda p, x: p[0] if p[0] > 0 else p[1], "TracerBoolConversionError"),
        (lambda p, x: float(p[0]), "ConcretizationTypeError|TracerError"),
    ],
)
def test_a_loss_that_fails_says_on_what(loss, found):
    for function in (gdc_loss, gdc_gradient, by_optax):
        with pytest.raises(fd.LandscapeError, match=found):
            function(loss, jnp.ones(2), {"a": jnp.ones((4, 3))}, learning_rate=0.1)


def test_an_error_of_ours_passes():
    def loss(params, example):
        raise fd.ArgumentError("mine")

    with pytest.raises(fd.ArgumentError, match="mine") as caught:
        gdc_loss(loss, THETA, BATCH, learning_rate=0.1)
    assert not isinstance(caught.value, fd.LandscapeError)


@pytest.mark.parametrize("dtypes", [(jnp.float32, jnp.float32), (jnp.bfloat16, jnp.float32)])
def test_strict_modes(dtypes):
    params = {"a": jnp.array([0.3, 0.1], dtypes[0]), "b": jnp.array(0.2, dtypes[1])}

    def loss(p, x):
        return (jnp.tanh(jnp.sum(p["a"]).astype(jnp.float32) * x) + p["b"].astype(jnp.float32)) ** 2

    expected = [function(loss, params, BATCH, learning_rate=0.1) for function in ALL]
    rate = jnp.array(0.1, jnp.float32)
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"), jax.debug_nans(True):
        found = [function(loss, params, BATCH, learning_rate=rate) for function in ALL]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(*map(np.float32, (a, b)), rtol=1e-2), found, expected)


# --- nothing is kept ----------------------------------------------------------------------------------------------

DECAY = [0.0]


class Trainer:
    def __init__(self):
        self.decay, self.weights, self.data = 0.0, np.ones(2), types.SimpleNamespace(decay=0.0)

    def loss(self, theta, x):
        return theta**2 * x * (1 + self.decay)

    def by_array(self, theta, x):
        return theta**2 * x * self.weights[0]

    def __call__(self, theta, x):
        return theta**2 * x * (1 + self.data.decay)


def by_global(theta, x):
    return theta**2 * x * (1 + DECAY[0])


def by_default(theta, x, scale=None):
    return theta**2 * x * (1.0 if scale is None else scale)


def scaled(theta, x, settings):
    return theta**2 * x * settings["scale"]


def changes():
    """Ways to change a loss without making a new one: the loss, and what makes it six times as large."""
    trainer, settings, one, two = Trainer(), {"scale": 1.0}, Trainer(), Trainer()
    box = [1.0]
    yield "method", trainer.loss, lambda: setattr(trainer, "decay", 5.0)
    yield "array", one.by_array, lambda: one.weights.__setitem__(0, 6.0)
    yield "callable object", two, lambda: setattr(two.data, "decay", 5.0)
    yield "global", by_global, lambda: DECAY.__setitem__(0, 5.0)
    yield "default", by_default, lambda: setattr(by_default, "__defaults__", (6.0,))
    yield "partial", functools.partial(scaled, settings=settings), lambda: settings.update(scale=6.0)
    yield "closure", lambda theta, x: theta**2 * x * box[0], lambda: box.__setitem__(0, 6.0)


@pytest.mark.parametrize("name", [name for name, *_ in changes()])
def test_a_changed_loss_is_seen(name):
    DECAY[0], by_default.__defaults__ = 0.0, (None,)
    _, loss, change = next(case for case in changes() if case[0] == name)
    optimizer = gdc(loss, 0.1)

    def results():
        yield gdc_loss(loss, THETA, BATCH, learning_rate=0.0)
        yield gdc_gradient(loss, THETA, BATCH, learning_rate=0.0)
        yield optimizer.update(jnp.zeros(()), optimizer.init(THETA), THETA, batch=BATCH)[0]

    before = np.array(list(results()))
    change()
    np.testing.assert_allclose(list(results()), before * [6, 6, 36], rtol=1e-5)
    DECAY[0], by_default.__defaults__ = 0.0, (None,)


@pytest.mark.parametrize("name", [name for name, *_ in changes()])
def test_the_callers_own_compiled_loss_is_not_touched(name):
    """JAX keeps traces by the function: one made here with the old settings would be the caller's from then on."""
    DECAY[0], by_default.__defaults__ = 0.0, (None,)
    _, loss, change = next(case for case in changes() if case[0] == name)
    jax.eval_shape(lambda theta: [function(loss, theta, BATCH, learning_rate=0.1) for function in ALL], THETA)
    gdc_gradient(loss, THETA, BATCH, learning_rate=0.1)
    change()
    assert float(jax.jit(loss)(THETA, BATCH[0])) == pytest.approx(6 * 0.49 * 0.5)
    DECAY[0], by_default.__defaults__ = 0.0, (None,)
