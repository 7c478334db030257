"""The exponential form of a prediction: the same coefficients, an honest error, and where there is none."""

import jax
import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

import feyngd as fd
from feyngd.landscapes import toys
from feyngd.prediction._exponential_form import exponential, jackknife

SPACETIME = fd.Spacetime.gd(4, 10)
size = st.floats(0.1, 10)


def written_out(eta, c0, c1, c2, c3):
    b = -3 * c3 / c2
    A = 2 * c2 / b**2
    return c0 + A * (sympy.exp(-b * eta) - 1) + (c1 + A * b) * eta


def prediction(coefficients) -> fd.Prediction:
    return fd.Prediction("test_loss", SPACETIME, np.array([0.01, 0.1]), np.atleast_2d(np.array(coefficients, float)))


def test_the_form_has_the_coefficients_of_the_series():
    eta, *c = sympy.symbols("eta c:4")
    form = written_out(eta, *c)
    for order in range(4):
        assert sympy.simplify(form.diff(eta, order).subs(eta, 0) / sympy.factorial(order) - c[order]) == 0


@given(st.floats(-5, 5), st.floats(-5, 5), size, size, st.booleans())
def test_the_form_is_what_is_computed(start, first, second, third, downward):
    sign = -1 if downward else 1
    coefficients = [start, first, sign * second, -sign * third]
    ours = exponential(np.array(coefficients), np.array([0.3]))[0]
    theirs = float(written_out(0.3, *coefficients))
    assert abs(ours - theirs) < 1e-9 * (1 + abs(theirs))


def test_it_follows_gradient_descent_far_beyond_the_series():
    N, T, offset = 1000, 30, 3.0
    with jax.enable_x64(True):
        landscape, start = toys.mean_estimation(1.0, 1.0)
        plain = fd.predict(landscape, start + offset, fd.Spacetime.gd(N, T), [1e-4], key=jax.random.key(0))
    rate = 4 * plain.valid_up_to
    left = (1 - rate) ** T
    truth = plain.at(0.0)[0] - offset**2 / 2 * (1 - left**2) + (1 - left) ** 2 / (2 * N)
    ours, _ = plain.accelerated([rate])
    assert abs(ours[0] - truth) < 0.2 * abs(plain.at(rate)[0] - truth)


def test_its_error_covers():
    rng = np.random.default_rng(0)
    exact = np.array([1.0, -5.0, 90.0, -700.0])
    spread = np.diag([0.0, 0.0, 5.0, 60.0])
    spread[3, 2] = -40.0
    rates = np.array([0.05, 0.1])
    truth = exponential(exact, rates)
    scores = []
    for _ in range(400):
        mean, stderr = jackknife(exact + rng.normal(size=(16, 4)) @ spread.T, rates)
        scores.append((mean - truth) / stderr)
    covered = np.mean(np.abs(scores) < 2.1314, axis=0)  # a 95 % Student-t interval with 15 degrees of freedom
    assert np.all((covered > 0.92) & (covered < 0.98)), covered


def test_exact_coefficients_have_no_error():
    mean, stderr = prediction([1.0, -5.0, 90.0, -700.0]).accelerated()
    assert mean.shape == stderr.shape == (2,)
    assert not stderr.any()


@pytest.mark.parametrize(
    "coefficients", [[1.0, -5.0, 90.0, 700.0], [1.0, -5.0, 90.0, 0.0], [1.0, -5.0, 90.0], [1.0, -5.0, 0.0, 7.0]]
)
def test_it_is_refused_where_there_is_no_decaying_exponential(coefficients):
    one = prediction(coefficients)
    assert not one.can_accelerate
    with pytest.raises(fd.ArgumentError, match="accelerated"):
        one.accelerated()


def test_learning_rates_are_checked():
    with pytest.raises(fd.ArgumentError, match="positive"):
        prediction([1.0, -5.0, 90.0, -700.0]).accelerated([-0.1])


@pytest.mark.parametrize("count", [2, 3, 16])
def test_its_error_is_the_standard_error_of_the_mean_where_the_form_is_linear(count):
    """It is in the initial loss and the first coefficient: leaving replicates out gives the plain error."""
    rng = np.random.default_rng(count)
    rows = np.tile([1.0, -5.0, 90.0, -700.0], (count, 1))
    rows[:, :2] += rng.normal(size=(count, 2))
    rates = np.array([0.05, 0.1])
    mean, stderr = jackknife(rows, rates)
    straight = rows[:, :1] + rows[:, 1:2] * rates
    np.testing.assert_allclose(stderr, straight.std(axis=0, ddof=1) / count**0.5, rtol=1e-9)
    np.testing.assert_allclose(mean, exponential(rows.mean(axis=0), rates), rtol=1e-12)
