"""Matrices of a step along an eigenvector, and the curvature they stand."""

import numpy as np
import pytest

import feyngd as fd


@pytest.mark.parametrize(
    "optimizer", [fd.sgd(), fd.momentum(0.8), fd.momentum(0.8, nesterov=True), fd.momentum(0.8, classical=True)]
)
def test_powers_of_the_matrix_are_what_steps_do(optimizer):
    x, beta = 0.3, float(optimizer.beta)
    theta, u = 1.0, 0.7
    state = np.array([theta, u])
    for _ in range(5):
        g = x * theta
        u = beta * u + g
        theta -= g + beta * u if optimizer.nesterov else u
        state = optimizer.companion(x) @ state
        np.testing.assert_allclose(state, [theta, u], rtol=1e-13)


def test_dampening_is_a_smaller_rate():
    plain, damped = fd.momentum(0.8), fd.momentum(0.8, dampening=0.25)
    np.testing.assert_allclose(damped.companion([0.4, 1.0]), plain.companion([0.3, 0.75]), rtol=1e-13)
    assert damped.max_curvature(0.1) == pytest.approx(plain.max_curvature(0.1) / 0.75)


@pytest.mark.parametrize(("nesterov", "bound"), [(False, 3.6), (True, 3.6 / 2.6)])
def test_the_largest_curvature_is_on_the_edge(nesterov, bound):
    optimizer = fd.momentum(0.8, nesterov=nesterov)
    assert optimizer.max_curvature(0.5) == pytest.approx(bound / 0.5)
    assert np.abs(np.linalg.eigvals(optimizer.companion(bound))).max() == pytest.approx(1)


@pytest.mark.parametrize("eta", [0, -1.0, float("nan"), [0.1]])
def test_rates_are_checked(eta):
    with pytest.raises(fd.ArgumentError, match="learning rate"):
        fd.momentum(0.5).max_curvature(eta)


def test_steps_that_differ_have_no_matrix():
    with pytest.raises(fd.ArgumentError, match="differ"):
        fd.schedule([1, 2, 3]).companion(0.1)
