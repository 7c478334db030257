"""Predictions with optimizers and uneven epochs, learning curves, and their comparison with simulations."""

from dataclasses import replace
from fractions import Fraction as F

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.optimizers import cosine
from feyngd.testing import PolynomialLandscape, exact_series

KEY = jax.random.key(0)
DATA = np.array([-1.0, 0.5, 1.0, 2.0, -0.5])
PARAMS = {"a": jnp.array([1.0, -0.6]), "b": jnp.array(0.5)}


def loss(params, x):
    return jnp.log(jnp.cosh(params["a"][0] * x + params["a"][1] * x**2 + params["b"] - 0.3 * x))


LANDSCAPE = fd.Landscape(loss, DATA)
SPACETIME = fd.Spacetime.sgd(5, 2, T=5, drop_last=False)
OPTIMIZERS = {
    "momentum": fd.momentum(0.9),
    "Nesterov": fd.momentum(0.5, nesterov=True),
    "cosine": fd.schedule(cosine(5, warmup=2)),
    "average": fd.averaged(fd.momentum(0.5), ema=0.5),
    "metric": fd.preconditioned(fd.momentum(0.5), {"a": np.array([2.0, 0.0]), "b": 0.5}),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("quantity", ["test_loss", "gap"])
def test_predictions_are_those_of_simulations(kind: str, quantity: str) -> None:
    """The coefficient of η³ is that of the runs, and one twice as large is not."""
    optimizer = OPTIMIZERS[kind]
    with jax.enable_x64(True):
        options = {"optimizer": optimizer, "quantity": quantity, "key": KEY}
        first = fd.predict(LANDSCAPE, PARAMS, SPACETIME, [1e-3], check_dtype=False, **options)
        edge = min(first.valid_up_to, 0.5)
        rates = [edge * fraction for fraction in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)]
        predicted = fd.predict(LANDSCAPE, PARAMS, SPACETIME, rates, check_dtype=False, **options)
        simulated = fd.simulate(LANDSCAPE, PARAMS, SPACETIME, rates, runs=20_000, chunk_size=256, **options)
    assert fd.compare(predicted, simulated).agrees.all()
    assert np.all(np.abs(predicted.mean - simulated.mean)[:4] < 4 * simulated.stderr[:4] + 3 * predicted.truncation[:4])


def test_a_metric_of_equal_numbers_is_a_learning_rate() -> None:
    doubled = fd.preconditioned(fd.sgd(), {"a": 2.0, "b": 2.0})
    one = fd.predict(LANDSCAPE, PARAMS, SPACETIME, [0.01], optimizer=doubled, key=KEY)
    other = fd.predict(LANDSCAPE, PARAMS, SPACETIME, [0.02], key=KEY)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-6)
    wrong = fd.preconditioned(fd.sgd(), {"a": np.ones(3), "b": 1.0})
    with pytest.raises(fd.ArgumentError, match=r"params\['a'\] has shape \(3,\), and the parameter has \(2,\)"):
        fd.predict(LANDSCAPE, PARAMS, SPACETIME, [0.01], optimizer=wrong, key=KEY)


@pytest.mark.parametrize("optimizer", [fd.sgd(), fd.momentum(0.9)], ids=str)
@pytest.mark.parametrize("quantity", ["test_loss", "gap"])
def test_learning_curves_have_the_predictions_of_shorter_runs(optimizer: fd.Optimizer, quantity: str) -> None:
    options = {"optimizer": optimizer, "quantity": quantity, "replicates": 4, "key": KEY}
    curve = fd.predict(LANDSCAPE, PARAMS, SPACETIME, 0.02, times="all", **options)
    assert curve.times.tolist() == [0, 1, 2, 3, 4, 5]
    assert curve.truncation[0] == 0
    for t in (1, 3, 5):
        spacetime = fd.Spacetime.sgd(5, 2, T=t, drop_last=False)
        alone = fd.predict(LANDSCAPE, PARAMS, spacetime, 0.02, **options)
        at = curve.select(np.array([t])).predictions[0]
        assert at.spacetime == spacetime
        np.testing.assert_allclose(at.coefficients.mean(axis=0), alone.coefficients.mean(axis=0), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(at.truncation, alone.truncation, rtol=1e-3, atol=1e-7)


def test_learning_curves_are_compared_with_simulated_ones() -> None:
    optimizer, times = fd.momentum(0.5), [1, 2, 5]
    curve = fd.predict(LANDSCAPE, PARAMS, SPACETIME, 0.004, optimizer=optimizer, times=times, key=KEY)
    runs = fd.simulate(LANDSCAPE, PARAMS, SPACETIME, 0.004, optimizer=optimizer, times=times, runs=4000, key=KEY)
    found = fd.compare(curve, runs)
    assert found.passed
    assert "5" in str(found)
    wrong = fd.predict(LANDSCAPE, PARAMS, SPACETIME, 0.004, optimizer=fd.momentum(0.9), times=times, key=KEY)
    with pytest.raises(fd.ArgumentError, match=r"has the optimizer momentum β=0\.9, the simulation momentum β=0\.5"):
        fd.compare(wrong, runs)
    assert fd.compare(replace(wrong, optimizer=optimizer), runs).verdict == "DIFFERS"
    other = fd.simulate(LANDSCAPE, PARAMS, SPACETIME, 0.003, optimizer=optimizer, times=times, runs=10, key=KEY)
    with pytest.raises(fd.ArgumentError, match=r"learning rate 0\.004, the simulation \[0\.003\]"):
        fd.compare(curve, other)


def test_curves_that_do_not_converge_say_so() -> None:
    with pytest.warns(fd.TruncationWarning, match=r"not converged after \d+ steps and later"):
        curve = fd.predict(LANDSCAPE, PARAMS, SPACETIME, 5.0, times="all", key=KEY)
    assert curve.converged[0]
    assert not curve.converged[-1]
    ax = curve.plot()
    assert [line.get_label() for line in ax.lines][-1] == "not converged"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"times": [6]}, r"from 0 to T=5; got \[6\]"),
        ({"times": "some"}, r"or 'all'; got 'some'"),
        ({"times": []}, "from 0 to T=5"),
        ({"times": "all", "learning_rates": [0.1, 0.2]}, "one learning rate; got 2"),
        ({"times": "all", "optimizer": fd.averaged(fd.sgd(), ema=0.5)}, "measured at an average"),
        ({"optimizer": "adam"}, "An optimizer is made by"),
        ({"optimizer": fd.schedule([1.0])}, "1 multipliers, and the run has T=5"),
    ],
)
def test_bad_input(options, says: str) -> None:
    rates = options.pop("learning_rates", [0.01])
    with pytest.raises(fd.ArgumentError, match=says):
        fd.predict(LANDSCAPE, PARAMS, SPACETIME, rates, **{"key": KEY, **options})


@pytest.mark.parametrize("quantity", ["test_loss", "train_loss", "gap"])
@pytest.mark.parametrize("base", [fd.sgd(), fd.momentum(F(1, 2), nesterov=True)], ids=str)
def test_metrics_are_those_of_the_oracle(base: fd.Optimizer, quantity: str) -> None:
    """Exact values in double precision: coefficients to ten digits, a frozen coordinate among them."""
    losses = [{(2, 1, 0): 1, (1, 0, 1): F(1, 2)}, {(0, 2, 1): F(1, 3), (1, 0, 0): -1, (0, 1, 2): 1}]
    metric, theta = [F(2), F(1, 2), F(0)], [F(1, 2), F(-1, 2), F(1)]

    def one(params, which):
        x, y, z = params
        both = jnp.array([x**2 * y + x * z / 2, y**2 * z / 3 - x + y * z**2])
        return both[which]

    spacetime = fd.Spacetime.sgd(3, 2, T=3, drop_last=False)
    exact = exact_series(
        quantity, PolynomialLandscape(losses), theta, spacetime, 3, optimizer=fd.preconditioned(base, metric)
    )
    with jax.enable_x64(True):
        optimizer = fd.preconditioned(base, np.array([2.0, 0.5, 0.0]))
        landscape, start = fd.Landscape(one, np.array([0, 1])), jnp.array([0.5, -0.5, 1.0])
        found = fd.predict(landscape, start, spacetime, [1e-3], quantity=quantity, optimizer=optimizer, key=KEY)
    assert len(found.coefficients) == 1
    np.testing.assert_allclose(found.coefficients[0], np.array(exact, float), rtol=1e-10, atol=1e-12)
