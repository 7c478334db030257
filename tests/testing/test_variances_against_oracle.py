"""Variances, second moments and covariances: series against the enumeration of SGD, exactly."""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import feyngd as fd
from feyngd.testing import ExactValues, exact_covariance, exact_variance, landscapes, optimizers, points, spacetimes

LOSSES = ("test_loss_variance", "test_loss_second_moment", "train_loss_variance")
small_landscapes = partial(landscapes, dimensions=(1, 2), kinds=(1, 2))
small_spacetimes = partial(spacetimes, max_points=3, max_steps=4, uneven=True)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_variances_of_losses(data):
    quantity = data.draw(st.sampled_from(LOSSES))
    landscape = data.draw(small_landscapes())
    theta, spacetime = data.draw(points(landscape)), data.draw(small_spacetimes())
    order = data.draw(st.integers(0, 2 if quantity == "train_loss_variance" else 3))
    basis = data.draw(st.sampled_from(["moment", "cumulant"]))
    series = fd.expand(quantity, order=order, spacetime=spacetime, basis=basis)
    assert ExactValues(landscape, theta).sum(series) == exact_variance(quantity, landscape, theta, spacetime, order)


@given(data=st.data())
@settings(max_examples=75, deadline=None)
def test_the_covariance_of_the_iterates(data):
    landscape = data.draw(small_landscapes())
    theta, spacetime = data.draw(points(landscape)), data.draw(small_spacetimes())
    optimizer = data.draw(optimizers(int(spacetime.T)))
    basis = data.draw(st.sampled_from(["moment", "cumulant"]))
    series = fd.expand("covariance", order=3, spacetime=spacetime, basis=basis, optimizer=optimizer)
    values, size = ExactValues(landscape, theta), landscape.dimensions
    total = np.full((size, size, 4), Fraction(0), dtype=object)
    for forest, coefficient in series.items():
        total[:, :, forest.order] += Fraction(int(coefficient.p), int(coefficient.q)) * np.array(
            values.matrix(forest, basis), dtype=object
        )
    exact = exact_covariance(landscape, theta, spacetime, 3, optimizer=optimizer)
    assert total.tolist() == np.array(exact, dtype=object).tolist()


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_variances_with_optimizers(data):
    landscape = data.draw(small_landscapes())
    theta, spacetime = data.draw(points(landscape)), data.draw(small_spacetimes())
    optimizer = data.draw(optimizers(int(spacetime.T)))
    series = fd.expand("test_loss_variance", order=3, spacetime=spacetime, basis="cumulant", optimizer=optimizer)
    exact = exact_variance("test_loss_variance", landscape, theta, spacetime, 3, optimizer=optimizer)
    assert ExactValues(landscape, theta).sum(series) == exact


def test_a_measurement_has_the_coefficients_of_the_test_loss():
    S, spread = fd.Spacetime.sgd(N=4, B=2, E=2), fd.variance(fd.measurement("s"))
    for basis in ("moment", "cumulant"):
        of_loss = fd.expand("test_loss_variance", order=3, spacetime=S, basis=basis)
        assert dict(fd.expand(spread, order=3, spacetime=S, basis=basis)) == dict(of_loss)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("quantity", ["test_loss_variance", "train_loss_variance"])
def test_the_conditional_reading(quantity, data):
    landscape = data.draw(landscapes(dimensions=(1,), kinds=(2, 3)))
    landscape = fd.testing.PolynomialLandscape(landscape.losses)  # every loss one datapoint
    theta, N = data.draw(points(landscape)), len(landscape.losses)
    spacetime = data.draw(st.sampled_from([fd.Spacetime.sgd(N, E=2), fd.Spacetime.sgd(N, T=2), fd.Spacetime.gd(N, 3)]))
    series = fd.expand(quantity, order=3, spacetime=spacetime, reading="conditional", basis="cumulant")
    exact = exact_variance(quantity, landscape, theta, spacetime, 3, reading="conditional", test=landscape)
    assert ExactValues(landscape, theta).sum(series) == exact


def test_what_is_no_variance_is_refused():
    landscape, S = fd.testing.PolynomialLandscape([{(1,): 1}]), fd.Spacetime.sgd(N=1)
    with pytest.raises(fd.ArgumentError, match="Unknown variance 'gap'"):
        exact_variance("gap", landscape, [0], S, 1)
    with pytest.raises(fd.ArgumentError, match="share its points"):
        exact_variance("test_loss_variance", landscape, [0], S, 1, reading="unbiased")
    with pytest.raises(fd.ArgumentError, match="must have one edge"):
        ExactValues(landscape, [0]).matrix(fd.Forest.parse("[a a] [b]"), "moment")
