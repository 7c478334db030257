"""What escapes refuse and warn of, where the loss or the noise does not have what a formula needs."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.companions import escape as esc
from feyngd.errors import ArgumentError, LandscapeError
from feyngd.landscapes import toys

KEY = jax.random.key(0)
SIGNS = jnp.array([-1.0, 1.0])


def well(theta):
    return theta**4 / 4 - theta**2 / 2 + theta / 10


@pytest.fixture(scope="module")
def leg():
    return esc.find_path(*toys.double_well(), 0.9, key=KEY).legs[0]


def test_flat_minima_and_other_saddles_show_their_curvatures():
    flat = fd.Landscape(lambda theta, x: (theta[0] ** 2 - 1) ** 2 / 4 + 0 * theta[1] + x * theta[0], SIGNS)
    with pytest.raises(LandscapeError, match=r"lowest there are 0, 2, .* add a penalty"):
        esc.find_path(flat, jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0]), key=KEY)
    bowl, _ = toys.quadratic(np.eye(2))
    with pytest.raises(LandscapeError, match="one negative curvature and no flat one; the lowest here are 1, 1"):
        esc.find_saddle(bowl, jnp.array([0.1, 0.2]), key=KEY)


def test_cumulants_need_examples_that_lead_over(leg):
    weak = fd.Landscape(lambda theta, x: well(theta) + 0.1 * x * theta, SIGNS)
    with pytest.raises(LandscapeError, match=r"every example's loss rises, .* esc\.sgld"):
        esc.escape_time(weak, leg, esc.sgd(1, model="cumulants"), 0.01)
    outlier = jnp.array([1.0] * 60 + [-60.0])
    rare = fd.Landscape(lambda theta, x: well(theta) + 0.05 * x * theta, outlier)
    with pytest.raises(LandscapeError, match=r"3\.5 effective examples of 61, .* needs 10"):
        esc.escape_time(rare, leg, esc.sgd(1, model="cumulants"), 0.01)


def test_kinks_on_the_way_are_warned_of():
    """At −0.5, out of reach of the minimum: the way is looked at, not its start alone."""
    bent = fd.Landscape(lambda theta, x: well(theta) + 0.01 * jax.nn.relu(theta + 0.5) + x * theta, SIGNS)
    leg = esc.find_path(bent, -1.0, 0.9, key=KEY).legs[0]
    with pytest.warns(fd.TruncationWarning, match="the loss has kinks .relu"):
        found = esc.escape_time(bent, leg, esc.sgld(0.03), 0.01)
    assert not found.assumptions["smooth loss"].holds
    assert not esc.assumptions(bent, leg, esc.sgld(0.03), 0.01)["smooth loss"].holds
    box = fd.Landscape(lambda theta, x: theta**2 / 2 + 0.1 * jax.nn.relu(theta - 0.05) + x * theta, SIGNS)
    with pytest.warns(fd.TruncationWarning, match="Exit from a box .* the loss has kinks .relu"):
        esc.box_exit_time(box, jnp.array(0.0), 0.3, esc.sgld(0.001), 0.01)


def test_boxes_with_frequent_exits_are_warned_of():
    with pytest.warns(fd.TruncationWarning, match=r"exponent is 0\.9, below 6"):
        esc.box_exit_time(*toys.quadratic(np.eye(2)), 0.3, esc.sgld(0.05), 0.01)


def test_steps_that_are_not_stable_are_warned_of(leg):
    with pytest.warns(fd.TruncationWarning, match=r"ηh is up to 2\.74"):
        esc.escape_time(toys.double_well()[0], leg, esc.sgld(0.03), 1.2)


def test_what_a_search_tries_does_not_warn(leg):
    landscape, _ = toys.double_well()
    with warnings.catch_warnings():
        warnings.simplefilter("error", fd.TruncationWarning)
        assert 0 < esc.learning_rate_for(landscape, leg, esc.sgd(1), 1e9) < 0.1
        assert esc.batch_size_for(landscape, leg, 0.1, 1e9) > 1
        with pytest.raises(LandscapeError, match="No stable rate"):
            esc.learning_rate_for(landscape, leg, esc.sgd(1), 2.0)
    with pytest.warns(fd.TruncationWarning, match="below 6"):
        esc.learning_rate_for(landscape, leg, esc.sgd(1), 2000.0)


def test_noise_that_is_rounding_has_no_shape(leg):
    """An interpolating minimum: the gradients of all examples vanish up to rounding."""
    fitted = fd.Landscape(lambda theta, x: well(theta) * (1 + 0.01 * x), SIGNS)
    with pytest.raises(LandscapeError, match="batches have no noise"):
        esc.noise_shape(fitted, leg.minimum.params, 4, batches=20, key=KEY)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda leg: esc.occupation("ab"), "Rates: give numbers"),
        (lambda leg: esc.occupation([[0, 1], [1]]), "rows of one length"),
        (lambda leg: esc.occupation([[0, np.nan], [1, 0]]), "got nan"),
        (lambda leg: esc.tail_index("abcd", 2), "Draws: give numbers"),
        (lambda leg: esc.tail_index([1.0, np.nan, 3.0, 1.0], 2), "0 of these are 0 and 1 not finite"),
        (lambda leg: esc.overview(toys.double_well()[0], leg, esc.sgd(1), [0.05], simulated=3), "esc.simulate returns"),
        (lambda leg: esc.overview(toys.double_well()[0], leg, esc.sgd(1, model="hessian"), [0.05]), "model='hessian'"),
    ],
)
def test_input_of_another_kind_says_what_is_allowed(call, match, leg):
    with pytest.raises(ArgumentError, match=match):
        call(leg)


def test_a_saddle_is_no_minimum_to_come_back_to(leg):
    options = {"until": esc.Other(leg.saddle, 10), "max_steps": 10, "key": KEY}
    with pytest.raises(LandscapeError, match=r"the lowest is -0\.969\. Give the minimum of a leg"):
        esc.simulate(toys.double_well()[0], -1.0, esc.sgd(1), 0.1, **options)
