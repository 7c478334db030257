"""What limits refuse: settings that do not fit, quantities that do not exist. Messages say what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feyngd as fd
from feyngd.companions import limiting as co

BASIN = co.Basin.from_matrices(np.diag([2.0, 1.0]), np.eye(2), num_examples=12)
LIMIT = BASIN.limit(0.1, 4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"learning_rate": 0.0}, "learning rate is positive"),
        ({"learning_rate": float("nan")}, "learning rate is positive"),
        ({"batch_size": 0}, "batch_size is an integer"),
        ({"batch_size": 13}, "more than the 12 examples"),
        ({"batch_size": 5, "sampling": "reshuffled"}, "give drop_last=True"),
        ({"batch_size": 5, "sampling": "fixed"}, "give drop_last=True"),
        ({"weight_decay": -0.1}, "weight_decay is one finite number at least 0"),
        ({"sampling": "shuffled"}, "Unknown sampling"),
        ({"time": "stroboscopic"}, "Unknown time"),
        ({"time": "continuous", "sampling": "reshuffled"}, "independent"),
        ({"time": "continuous", "optimizer": fd.momentum(0.9, nesterov=True)}, "heavy ball"),
        ({"subspace": 3}, "more than the 2 directions"),
        ({"subspace": 0}, "subspace is an integer"),
        ({"optimizer": optax.adam(0.1)}, "if it is linear in the gradients"),
        ({"optimizer": fd.schedule([1, 0.5, 0.25])}, "differ"),
        ({"optimizer": fd.averaged(fd.sgd(), ema=0.9)}, r"averaged\(ema"),
        ({"drop_last": 1}, "drop_last is True or False"),
    ],
)
def test_settings_that_do_not_fit(changed, message):
    settings = {"learning_rate": 0.1, "batch_size": 4, **changed}
    with pytest.raises(fd.ArgumentError, match=message):
        BASIN.limit(settings.pop("learning_rate"), settings.pop("batch_size"), **settings)


def test_optimizers_are_checked_where_they_are_made():
    with pytest.raises(fd.ArgumentError, match="beta"):
        fd.momentum(1.0)
    with pytest.raises(fd.ArgumentError):
        fd.from_optax(optax.adamw(0.1, weight_decay=0.1), steps=5)


@pytest.mark.parametrize(
    ("optimizer", "bound"), [(fd.momentum(0.9), 1.9), (fd.momentum(0.9, nesterov=True), 1.9 / 2.8), (fd.sgd(), 1.0)]
)
def test_the_bound_of_stability_is_named(optimizer, bound):
    assert BASIN.limit(bound * 0.999, 4, optimizer=optimizer).speed().value > 0
    with pytest.raises(fd.LandscapeError, match=f"below {bound:.4g}"):
        BASIN.limit(bound * 1.001, 4, optimizer=optimizer)


def test_continuous_time_warns_where_it_is_far_from_the_steps():
    with pytest.warns(fd.PrecisionWarning, match=r"β=0\.3"):
        BASIN.limit(0.01, 4, optimizer=fd.momentum(0.3), time="continuous")
    # The exact variance over the equation's, 1/(1 − ηh/(2(1 + β))).
    with pytest.warns(fd.PrecisionWarning, match=r"1\.36 times"):
        BASIN.limit(0.5, 4, time="continuous")


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        (([[1.0, 0.5], [0.0, 1.0]], np.eye(2)), {}, "Hessian is symmetric"),
        ((np.eye(2), [[1.0, 2.0], [2.0, 1.0]]), {}, "without negative eigenvalues"),
        ((np.eye(2), np.eye(3)), {}, "same p parameters"),
        ((np.diag([1.0, np.nan]), np.eye(2)), {}, "finite numbers"),
        ((np.eye(2), np.eye(2)), {"minimum": [0.0]}, "vector of 2"),
        ((np.eye(2), np.eye(2)), {"num_examples": 0}, "num_examples is an integer"),
        (([[1.0, 2.0], [3.0]], np.eye(2)), {}, "rows of one length"),
        ((np.eye(2), np.eye(2)), {"minimum": "origin"}, "minimum: give numbers"),
    ],
)
def test_matrices_are_checked(args, options, message):
    with pytest.raises(fd.ArgumentError, match=message):
        co.Basin.from_matrices(*args, **options)


def test_epochs_need_n():
    with pytest.raises(fd.ArgumentError, match="num_examples=N"):
        co.Basin.from_matrices(np.eye(2), np.eye(2)).limit(0.1, 2, sampling="reshuffled")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda d: d.displacement(-1), "integers ≥ 0"),
        (lambda d: d.displacement([1.5]), "integers ≥ 0"),
        (lambda d: d.displacement([]), "integers ≥ 0"),
        (lambda d: d.displacement([[1, 2], [3]]), "integers ≥ 0"),
        (lambda d: d.spectrum("fast"), "frequencies: give numbers"),
        (lambda d: d.displacement(1, start="origin"), "'stationary', 'minimum'"),
        (lambda d: d.displacement(1, start=([0.0], [0.0])), "2 finite numbers"),
        (lambda d: d.exponent((1, 2)), "at least 3 steps"),
        (lambda d: d.exponent((0, 20)), "at least 3 steps, all ≥ 1"),
        (lambda d: d.exponent((1, 20), every=0), "every is an integer"),
        (lambda d: d.local_exponent([0]), "≥ 1"),
        (lambda d: d.averaged(), "one of both"),
        (lambda d: d.averaged(ema=0.9, tail=3), "one of both"),
        (lambda d: d.averaged(ema=1.0), "ema is one finite number"),
        (lambda d: d.averaged(tail=0), "tail is an integer"),
        (lambda d: d.mixing_steps(0.0), "tolerance"),
        (lambda d: d.spectrum([0.1], of="loss"), "Unknown of"),
        (lambda d: d.spectrum([np.inf]), "finite"),
        (lambda d: d.covariance(3, 2), "at least steps=3"),
        (lambda d: d.covariance(later=2), "both, or neither"),
        (lambda d: d.mean([0.0, 0.0], [0.0, 0.0], 1.5), "steps is an integer"),
        (lambda d: d.over_cloud(None, key=__import__("jax").random.key(0)), "made of matrices"),
    ],
)
def test_questions_that_make_no_sense(ask, message):
    with pytest.raises(fd.ArgumentError, match=message):
        ask(LIMIT)


def test_nothing_settles_where_noise_meets_no_curvature():
    basin = co.Basin.from_matrices(np.diag([1.0, 0.5, 0.0, -0.2]), np.diag([6.0, 3.0, 1.0, 0.0]), num_examples=8)
    d = basin.limit(0.1, 2)
    for ask in (d.excess_loss, d.position_variance, lambda: d.averaged(tail=3), lambda: d.mixing_steps(0.1)):
        with pytest.raises(fd.LandscapeError, match=r"2 of 4 directions with 0\.1 of tr Σ .* weight_decay, subspace=k"):
            ask()
    for ask in (d.covariance, d.circulation, lambda: d.correlation([1])):
        with pytest.raises(fd.LandscapeError, match="curvature > 0"):
            ask()
    assert d.speed().value > 0
    assert d.displacement([5]).mean > 0
    assert d.covariance(5).shape == (8, 8)
    with pytest.raises(fd.LandscapeError, match="curvature > 0"):
        basin.limit(0.1, 2, sampling="reshuffled").speed()
    assert basin.limit(0.1, 2, sampling="reshuffled").displacement([5], start="minimum").mean > 0
    assert basin.limit(0.1, 2, weight_decay=0.3).position_variance().value > 0
    assert basin.limit(0.1, 2, subspace=2).position_variance().value > 0
    falling = co.Basin.from_matrices(np.diag([1.0, -0.2]), np.eye(2)).limit(0.1, 2)
    with pytest.raises(fd.LandscapeError, match="needs a minimum"):
        falling.speed()
    assert falling.displacement([50], start="minimum").mean > 0


def test_a_fixed_order_has_lines_and_returns():
    d = BASIN.limit(0.1, 4, sampling="fixed")
    with pytest.raises(fd.ArgumentError, match="lines"):
        d.spectrum([0.1])
    assert d.displacement([3]).mean == pytest.approx(0, abs=1e-15)
    with pytest.raises(fd.LandscapeError, match="Nothing moves"):
        d.exponent((3, 9), every=3)


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((np.ones((3, 2)), np.ones(4), 0.1, 1), fd.ArgumentError, "shape"),
        ((np.ones((3, 31)), np.ones(3), 0.1, 1), fd.ArgumentError, "up to 30 parameters"),
        ((np.full((3, 2), np.nan), np.ones(3), 0.1, 1), fd.ArgumentError, "6 of X and 0 of Y"),
        (("x", np.ones(3), 0.1, 1), fd.ArgumentError, "X: give numbers"),
        ((np.eye(3), [1.0, 2.0, 3.0], 20.0, 1), fd.LandscapeError, "not stable"),
        (([[1.0], [9.0]], [1.0, -3.0], 0.06, 1), fd.LandscapeError, "mean square does not"),
    ],
)
def test_regressions_that_do_not_settle(args, error, message):
    with pytest.raises(error, match=message):
        co.regression_limit(*args)


def test_checkpoints_are_numbers():
    with pytest.raises(fd.ArgumentError, match="Positions: give numbers"):
        co.Trajectories.from_arrays([[1.0, 2.0], [3.0]])


@pytest.mark.parametrize("method", ["lanczos", "subspace"])
def test_eigenvalues_that_are_not_told_apart_are_said(method):
    """A gap below the residuals: the eigenvectors found may be any of a plane."""
    scales = jnp.array([2.0, 2.0, 1.0, 1.0, 0.5, 0.3])
    landscape = fd.Landscape(lambda theta, x: jnp.sum(scales * theta**2) / 2 + theta @ x, jnp.eye(6) - 1 / 6)
    with pytest.warns(fd.PrecisionWarning, match="eigenvalues 0 and 1, 2 and 2, are equal up to"):
        co.top_eigenpairs(landscape, jnp.zeros(6), 2, method=method, key=jax.random.key(0))
