"""The experiments on escapes: one of them quickly, and verdicts on wrong numbers."""

import json

import jax
import numpy as np
import pytest

from feyngd.companions import escape
from feyngd.companions.escape import Escapes, NoiseAlignment
from feyngd.drawing import drawn
from feyngd.experiments import Setting
from feyngd.experiments import _escape_logistic as logistic
from feyngd.experiments import _escape_mlp as mlp
from feyngd.experiments import _escape_sgld as sgld
from feyngd.experiments import _escape_slopes as slopes
from feyngd.experiments import _escape_styblinski_tang as styblinski_tang
from feyngd.experiments import _noise_against_hessian as alignment
from feyngd.landscapes import digits, toys


@pytest.mark.slow
def test_a_quick_run_is_a_line_with_other_slopes_than_the_theorem():
    found = styblinski_tang.EXPERIMENT.run(Setting(jax.random.key(0), digits(50), quick=True))
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert record["data"]["paper"]
    assert record["data"]["ours"]
    assert drawn(found.figure, "png").startswith(b"\x89PNG")
    holds = {finding.claim: finding.holds for finding in found.findings}
    assert holds["−log γ is linear in 1/η"]
    assert holds["the sweep over k is that over η, run by run"]
    assert not holds["theorem 3.2, C = H: the slope in 1/η"]


@pytest.mark.slow
def test_quick_exits_of_logistic_regression_have_the_slopes_of_the_box_formula():
    found = logistic.EXPERIMENT.run(Setting(jax.random.key(0), digits(50), quick=True))
    json.dumps(found.to_dict(), allow_nan=False)
    holds = {finding.claim: finding.holds for finding in found.findings}
    assert holds["SGD, 1/η: box formula has the slope"]
    assert holds["SGLD, 1/D: box formula has the slope"]
    assert holds["SGD, k: the sweep is that over η, run by run"]


@pytest.mark.slow
def test_quick_exits_of_a_network_are_drift_and_the_box_formula_refuses():
    found = mlp.EXPERIMENT.run(Setting(jax.random.key(0), digits(100), quick=True))
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert "variance 0.01" in record["data"]["ours"]["start"]
    holds = {finding.claim: finding.holds for finding in found.findings}
    start, box, *_ = found.findings
    assert start.holds is False
    assert box.holds is None
    assert "Coordinates are not independent" in box.claim
    assert holds["SGD, 1/η: −log γ is linear"]
    assert not holds["SGD, 1/η: theorem 3.2, C = H has the slope"]
    assert not holds["SGD, 1/η: times are exponential, as those of escapes are"]


X, NOISE = np.array([1.0, 2.0, 3.0, 4.0]), np.full(4, 0.1)


def test_lines_are_told_from_curves_and_slopes_from_others():
    straight, bent = 2 * X + 1, (X - 2.5) ** 2
    assert slopes.is_linear("claim", X, straight, NOISE).holds
    assert not slopes.is_linear("claim", X, bent, NOISE).holds
    assert slopes.is_linear("claim", X, straight * np.nan, NOISE).holds is None
    assert slopes.has_slope("claim", X, straight, NOISE, 2.1 * X - 5).holds  # its height plays no part
    assert not slopes.has_slope("claim", X, straight, NOISE, 3 * X).holds
    assert not slopes.has_slope("claim", X, straight, NOISE, X * np.nan).holds


def test_a_fitted_slope_has_its_error():
    rng = np.random.default_rng(0)
    fits = [slopes.line(X, 2 * X + rng.normal(scale=NOISE), NOISE) for _ in range(2000)]
    assert np.mean([fit.slope for fit in fits]) == pytest.approx(2, abs=0.005)
    assert np.std([fit.slope for fit in fits]) == pytest.approx(fits[0].stderr, rel=0.06)


def test_the_error_of_a_logarithmic_rate_is_that_of_exponential_times():
    steps = np.random.default_rng(1).exponential(1000, size=(3000, 20))
    y, stderr = slopes.log_steps(Escapes(steps, np.ones_like(steps, dtype=bool)))
    assert np.std(y) == pytest.approx(stderr[0], rel=0.04)


def test_rates_that_are_not_proportional_to_sharpness_are_found_out():
    k = np.array([1.0, 2.0, 4.0])
    assert sgld.is_proportional(k, 9 - np.log(k), np.full(3, 0.1)).holds
    assert not sgld.is_proportional(k, np.full(3, 9.0), np.full(3, 0.1)).holds


def test_exits_from_a_box_with_another_slope_or_other_runs_are_found_out():
    curves = {"right": 2 * X, "wrong": 3 * X}
    assert [finding.holds for finding in slopes.judged("sweep", X, 2 * X + 1, NOISE, curves)] == [True, True, False]
    steps = np.arange(6.0).reshape(2, 3)
    assert slopes.same_runs(steps, steps, 2.0).holds
    assert not slopes.same_runs(steps + np.eye(2, 3), steps, 2.0).holds


def test_the_logistic_minimum_has_the_noise_that_the_theorem_asks_for():
    landscape, start = logistic.regression(jax.random.key(0))
    rows = np.asarray(landscape.data)
    assert start.shape == (4,)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(rows.T @ rows / (4 * len(rows)), np.eye(4), atol=1e-5)  # H, and C about a mean of 0


@pytest.mark.parametrize(
    ("slope", "pearson", "misalignment", "expected"),
    [(1.0, 0.95, 0.05, (True, True, True)), (0.2, 0.5, 0.4, (False, False, False))],
)
def test_noise_that_is_not_the_hessian_is_found_out(slope, pearson, misalignment, expected):
    given = NoiseAlignment(X, X, slope, pearson, misalignment, "eigenvectors", 4)
    assert tuple(finding.holds for finding in alignment.judged("here", given)) == expected
    assert alignment.no_law(0.3, 0.6).holds
    assert not alignment.no_law(0.3, 0.3).holds


def test_a_network_starts_inside_its_box():
    _, start, centre = mlp.network(Setting(jax.random.key(0), digits(20)), jax.random.key(1))
    distances = jax.tree.map(lambda one, middle: float(abs(one - middle).max()), start, centre)
    assert 0.02 < max(jax.tree.leaves(distances)) < mlp.RADIUS


@pytest.mark.parametrize(
    ("slope", "lowest", "expected"), [(1e-6, 0.1, True), (0.1, 0.1, False), (1e-6, -0.1, False), (1e-6, 0.0, False)]
)
def test_a_start_that_is_no_minimum_is_found_out(slope, lowest, expected):
    noise = NoiseAlignment(np.array([1.0, lowest]), np.array([1.0, 2.0]), 1.0, 1.0, 0.0, "eigenvectors", 2)
    assert mlp.is_minimum(np.array([slope, 0.0]), noise).holds is expected


def test_the_error_of_a_logarithmic_time_is_that_of_its_spread():
    steps = np.random.default_rng(2).normal(1000, 100, size=(3000, 20))
    y, stderr = mlp.log_times(Escapes(steps, np.ones_like(steps, dtype=bool)))
    assert np.std(y) == pytest.approx(stderr.mean(), rel=0.04)
    held = Escapes(np.array([[5.0, 9.0], [5.0, 7.0]]), np.array([[True, False], [True, True]]))
    assert np.isnan(mlp.log_times(held)[0]).tolist() == [True, False]


def test_drift_is_told_from_escapes():
    rng = np.random.default_rng(3)
    rare, drift = rng.exponential(1000, size=(3, 100)), rng.normal(1000, 100, size=(3, 100))
    left = np.ones((3, 100), dtype=bool)
    assert mlp.is_rare("sweep", Escapes(rare, left)).holds
    assert mlp.is_rare("sweep", Escapes(drift, left)).holds is False
    assert mlp.is_rare("sweep", Escapes(rare, left & (rare < 900))).holds is None
    descent = np.log([1000.0, 1000.0, 1000.0])
    assert mlp.is_descent("sweep", *mlp.log_times(Escapes(drift, left)), descent).holds
    assert not mlp.is_descent("sweep", *mlp.log_times(Escapes(0.8 * drift, left)), descent).holds
    assert not mlp.is_descent("sweep", *mlp.log_times(Escapes(drift, left & (drift < 900))), descent).holds


def test_a_flat_prediction_has_no_slope_to_be_judged():
    steps = np.random.default_rng(4).normal(1000, 100, size=(4, 100))
    runs, flat = Escapes(steps, np.ones((4, 100), dtype=bool)), np.full(4, np.log(1000))
    found = mlp.of_sweep("sweep", X, runs, {mlp.DESCENT: flat, mlp.THEOREM: 2 * X})
    assert [finding.holds for finding in found[1:]] == [False, True, False]
    assert mlp.THEOREM in found[1].claim


@pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")
def test_the_box_formula_is_judged_or_says_why_it_refuses():
    rates = mlp.RADIUS**2 / np.array([3.0, 4.0, 5.0])
    bowl, start = toys.quadratic(np.eye(2))
    times = escape.box_exit_time(bowl, start, mlp.RADIUS, escape.sgd(1), rates).log_steps
    steps = np.exp(times)[:, None] * np.random.default_rng(5).normal(1, 0.05, size=(3, 100))
    right, wrong = (Escapes(given, np.ones((3, 100), dtype=bool)) for given in (steps, steps**1.5))
    assert mlp.by_box_formula(bowl, start, escape.sgd(1), rates, right).holds
    assert mlp.by_box_formula(bowl, start, escape.sgd(1), rates, wrong).holds is False
    skew, start = toys.quadratic([[1.0, 0.5], [0.5, 1.0]], [[1.0, 0.5], [0.5, 1.0]])
    refused = mlp.by_box_formula(skew, start, escape.sgd(1), rates, right)
    assert refused.holds is None
    assert "refuses. Coordinates are not independent" in refused.claim
