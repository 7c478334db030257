"""What the criteria take and refuse as pure functions and as estimates, and that they never see an old loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.training import aic, stic, stic_value, tic, tic_value

X = jnp.array([-1.0, 0.5, 1.5])
DESCENT = {"learning_rate": 0.1, "steps": 5}


def plain(theta, x):
    return (theta * x - 1) ** 2 / 2 + theta**2


def values(loss, params, data):
    yield lambda: stic_value(loss, params, data, **DESCENT)
    yield lambda: tic_value(loss, params, data)
    yield lambda: jax.jit(lambda p: stic_value(loss, p, data, **DESCENT))(params)


def estimates(loss, params, data):
    yield lambda: stic(fd.Landscape(loss, data), params, **DESCENT)
    yield lambda: tic(fd.Landscape(loss, data), params)


@jax.custom_vjp
def half_square(r):
    return 0.5 * r**2


half_square.defvjp(lambda r: (half_square(r), r), lambda r, g: (g * r,))


def reverse_only(theta, x):
    return half_square(theta * x - 1) + theta**2


@pytest.mark.parametrize("calls", [values, estimates])
def test_a_derivative_for_reverse_mode_alone_is_refused(calls):
    for call in calls(reverse_only, jnp.array(0.3), X):
        with pytest.raises(fd.LandscapeError, match=r"custom_vjp.*custom_jvp.*plain formula"):
            call()


@pytest.mark.parametrize(
    ("loss", "params", "found"),
    [
        (lambda p, x: p["w"] * x, {"w": jnp.array(1.0), "f": jnp.tanh}, r"params\['f'\]"),
        (lambda p, x: p["w"] * x, {"w": jnp.array(1.0), "f": "relu"}, r"params\['f'\]"),
        (lambda p, x: p["w"] * x, {"w": jnp.array(1)}, "dtype int"),
        (lambda p, x: jnp.dot(p, x), jnp.ones(2), r"one real number.*float32\[2\]"),
        (lambda p, x: jnp.dot(p, jnp.stack([x, x, x])), jnp.ones(2), "fails on one example, with TypeError"),
    ],
)
def test_parameters_and_losses_that_do_not_fit(loss, params, found):
    for function in (lambda *args: stic_value(*args, **DESCENT), tic_value):
        with pytest.raises(fd.LandscapeError, match=found):
            function(loss, params, X)


@pytest.mark.parametrize(
    ("rate", "fits"), [(jnp.array(0.1), True), (np.float32(0.1), True), (jnp.array(-0.1), False), (np.ones(2), False)]
)
def test_learning_rates_that_are_arrays(rate, fits):
    if fits:
        assert np.isfinite(stic_value(plain, jnp.array(0.3), X, learning_rate=rate, steps=5))
    else:
        with pytest.raises(fd.ArgumentError, match="learning rate is positive and finite"):
            stic_value(plain, jnp.array(0.3), X, learning_rate=rate, steps=5)


class Trainer:
    decay = 1.0

    def loss(self, theta, x):
        return (theta * x - 1) ** 2 / 2 + self.decay * theta**2


def test_a_changed_loss_is_seen_and_the_callers_jit_is_not_touched():
    trainer, theta = Trainer(), jnp.array(0.3)

    def results(loss):
        found = [call() for calls in (values, estimates) for call in calls(loss, theta, X)]
        return [float(getattr(one, "value", one)) for one in found] + [aic(fd.Landscape(loss, X), theta).value]

    results(trainer.loss)
    trainer.decay = 4.0
    assert float(jax.jit(trainer.loss)(theta, X[2])) == pytest.approx((0.3 * 1.5 - 1) ** 2 / 2 + 4 * 0.09)
    expected = results(lambda theta, x: (theta * x - 1) ** 2 / 2 + 4 * theta**2)
    np.testing.assert_allclose(results(trainer.loss), expected, rtol=1e-6)
