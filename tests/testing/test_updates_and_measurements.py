"""Series equal exact SGD where steps follow drawn fields, and where drawn polynomials are measured."""

from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import feyngd as fd

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
SMALL = {"dimensions": (1, 2), "kinds": (2, 3), "degree": 3, "monomials": 3}
SPACES = {"samplings": ["fixed", "reshuffled", "with-replacement", "full-batch"], "max_points": 3, "max_steps": 4}


@cache
def expanded(quantity, order, spacetime, basis):
    return fd.expand(quantity, order=order, spacetime=spacetime, basis=basis)


@settings(max_examples=8, suppress_health_check=SLOW)
@given(st.data(), st.sampled_from(["test_loss", "train_loss", "gap"]), st.sampled_from(["moment", "cumulant"]))
def test_series_of_updates_equal_exact_sgd(data, quantity, basis):
    landscape = data.draw(fd.testing.landscapes(updates=True, **SMALL))
    assert landscape.updates is not None
    theta, space = data.draw(fd.testing.points(landscape)), data.draw(fd.testing.spacetimes(**SPACES))
    exact = fd.testing.exact_series(quantity, landscape, theta, space, 3)
    assert fd.testing.ExactValues(landscape, theta).sum(expanded(quantity, 3, space, basis)) == exact


@settings(max_examples=8, suppress_health_check=SLOW)
@given(st.data(), st.booleans(), st.sampled_from(["moment", "cumulant"]))
def test_series_of_measurements_equal_exact_sgd(data, updates, basis):
    landscape = data.draw(fd.testing.landscapes(updates=updates, **SMALL))
    measured = data.draw(fd.testing.measurements(landscape, degree=3))
    theta, space = data.draw(fd.testing.points(landscape)), data.draw(fd.testing.spacetimes(**SPACES))
    exact = fd.testing.exact_series("test_loss", landscape, theta, space, 3, test=measured)
    values = fd.testing.ExactValues(landscape, theta, measured=measured)
    assert values.sum(expanded("test_loss", 3, space, basis)) == exact


def test_fields_are_directed():
    """On x²/2 with the field x² the node `[a[b]]` has the field's slope, where a gradient's has the Hessian."""
    bowl = fd.testing.PolynomialLandscape([{(2,): "1/2"}], updates=[[{(2,): 1}]])
    values = fd.testing.ExactValues(bowl, [3])
    assert values.moment(fd.Diagram.parse("[a[b]]")) == 3 * 6 * 9
    assert values.moment(fd.Diagram.parse("[a b]")) == 81
    ours = fd.testing.ExactValues(bowl, [3], measured=fd.testing.PolynomialLandscape([{(3,): 1}]))
    assert ours.moment(fd.Diagram.parse("[a b]")) == 18 * 81
    with pytest.raises(fd.LandscapeError, match="coordinate"):
        fd.testing.ExactValues(bowl, [3], measured=fd.testing.PolynomialLandscape([{(1, 1): 1}]))
