"""Reports: what lies between two checkpoints, in loss and accuracy, and what the noise is like on the way."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize

import feyngd as fd
from feyngd.companions import escape as esc
from feyngd.errors import ArgumentError, LandscapeError
from feyngd.landscapes import toys

KEY = jax.random.key(0)
ENDS = jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0])
SKEWED = np.array([-0.5] * 16 + [2.0] * 4)  # mean 0, variance 1


@pytest.fixture(scope="module")
def bent():
    """A path that bends around a barrier of .74 on the straight line, over one of .25."""

    def loss(theta, x):
        u = theta[0] ** 2 - 1
        return 0.25 * u**2 + (theta[1] - 0.7 * u) ** 2 + jnp.dot(x, theta)

    landscape = fd.Landscape(loss, jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    return landscape, esc.find_path(landscape, *ENDS, key=KEY)


def test_paths_and_straight_lines_are_measured(bent):
    landscape, path = bent
    height = fd.measurement("height", lambda theta: theta[1])
    above = fd.measurement("accuracy", lambda theta, x: jnp.where(theta[1] > x, 1.0, 0.0), jnp.array([-0.3, -0.6, 0.1]))
    report = esc.escape_report(landscape, path, measurements=[height, above])
    assert report.barrier == pytest.approx(0.25, abs=1e-9)
    assert report.barrier_back == pytest.approx(0.25, abs=1e-9)
    assert report.straight_barrier == pytest.approx(0.74, abs=1e-9)
    assert report.measured["height"] == pytest.approx(np.asarray(path.images)[:, 1], abs=1e-6)
    assert report.straight_measured["height"] == pytest.approx(np.zeros(len(report.shares)), abs=1e-6)
    heights = np.asarray(path.images)[:, 1]
    assert report.measured["accuracy"] == pytest.approx(((heights > -0.3) * 1.0 + (heights > -0.6)) / 3, abs=1e-6)
    assert report.straight_measured["accuracy"] == pytest.approx(np.full(len(report.shares), 2 / 3), abs=1e-6)
    assert "accuracy: 0.6667 at the start, 0.6667 at the end; 0 to 0.6667 on the path" in str(report)
    assert report.times == ()
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["straight"]["measured"]["accuracy"] == pytest.approx(report.straight_measured["accuracy"])
    axes = report.plot()
    assert [ax.get_ylabel() for ax in axes] == ["mean loss", "height", "accuracy"]


@pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")
def test_reports_have_the_times_of_both_ways():
    landscape, _ = toys.double_well()
    path = esc.find_path(landscape, -1.0, 0.9, key=KEY)
    report = esc.escape_report(landscape, path, esc.sgld(0.03), [0.01, 0.02], order=1)
    back = path.reversed().legs[0]
    assert report.barrier_back == pytest.approx(back.barrier, abs=1e-9)
    for found, leg in ((report.times[0], path.legs[0]), (report.times_back[0], back)):
        expected = esc.escape_time(landscape, leg, esc.sgld(0.03), [0.01, 0.02], order=1)
        assert found.log_time == pytest.approx(expected.log_time)
    assert len(str(report).splitlines()) == 4


def test_what_a_report_does_not_take_is_said(bent):
    landscape, path = bent
    height = fd.measurement("height", lambda theta: theta[1])
    for arguments, options, match in [
        ((landscape, 3), {}, "find_path"),
        ((landscape, path, esc.sgd(1)), {}, "give both, or neither"),
        ((landscape, path), {"measurements": ["height"]}, "fd.measurement"),
        ((landscape, path), {"measurements": [height, height]}, "names of their own"),
        ((landscape, path), {"measurements": [fd.measurement("loss", lambda theta: theta[1])]}, "other than 'loss'"),
        ((landscape, path), {"measurements": [fd.measurement("nothing")]}, "a name and no function"),
        ((toys.two_layer(0.2)[0], path), {}, "another landscape"),
    ]:
        with pytest.raises(ArgumentError, match=match):
            esc.escape_report(*arguments, **options)
    with pytest.raises(LandscapeError, match="'log' is not finite"):
        esc.escape_report(landscape, path, measurements=[fd.measurement("log", lambda theta: jnp.log(theta[0]))])


def skewed(scale=1.0):
    def loss(theta, x):
        return theta**4 / 4 - theta**2 / 2 + theta / 10 + x * theta

    return fd.Landscape(loss, jnp.asarray(scale * SKEWED))


@pytest.fixture(scope="module")
def leg():
    return esc.find_path(*toys.double_well(), 0.9, key=KEY).legs[0]


def test_the_noise_on_the_way_is_that_of_its_cumulants(leg):
    """∫q dx over 2∫(G·e)/C dx, q from its own equation; and the examples that carry the average."""
    report = esc.noise_report(skewed(), leg.minimum.params, 2, leg=leg, batches=100, key=KEY)
    a, b = float(leg.minimum.params), float(leg.saddle.params)
    slope = lambda at: at**3 - at + 0.1  # noqa: E731

    def root(at):
        value = lambda q: np.log(np.mean(np.exp(-q * (slope(at) + SKEWED))))  # noqa: E731
        return optimize.brentq(value, 0.3 * slope(at), 40.0)

    places = np.linspace(a, b, 203)[1:-1]
    roots = np.array([root(at) for at in places])
    integral = integrate.simpson(np.concatenate([[0.0], roots, [0.0]]), x=np.linspace(a, b, 203))
    assert report.exponent_ratio == pytest.approx(integral / (2 * leg.barrier), rel=1e-3)
    weights = np.exp(-roots[:, None] * SKEWED)
    effective = np.min(weights.sum(axis=1) ** 2 / np.sum(weights**2, axis=1))
    assert report.effective_examples == pytest.approx(effective, rel=1e-3)
    kurtosis = np.mean(SKEWED**4) - 3
    assert report.gaussian_from == max(1, np.ceil(abs(kurtosis) / 0.1))
    assert f"{effective:.1f} effective examples of 20;" in str(report)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["examples"] == 20


def test_reports_of_noise_say_what_stands_in_the_way(leg):
    weak = esc.noise_report(skewed(0.1), leg.minimum.params, 2, leg=leg, batches=20, key=KEY)
    assert np.isnan(weak.exponent_ratio)
    assert "every example's loss rises" in str(weak)
    two, start = toys.two_layer(0.2)
    symmetric = esc.find_path(two, start, -start, key=KEY).legs[0]
    silent = esc.noise_report(two, symmetric.minimum.params, 2, leg=symmetric, batches=20, key=KEY)
    assert "no noise along the path at the saddle" in silent.obstacle
    alone = esc.noise_report(skewed(), leg.minimum.params, 2, batches=20, key=KEY)
    assert "no way out was given" in str(alone)
    assert alone.to_dict()["effective_examples"] is None
    with pytest.raises(ArgumentError, match=r"one of path\.legs|legs of"):
        esc.noise_report(skewed(), leg.minimum.params, 2, leg=leg.profile, key=KEY)
