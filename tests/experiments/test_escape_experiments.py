"""The experiments on escapes: one of them quickly, and verdicts on wrong numbers."""

import json

import jax
import numpy as np
import pytest

from feyngd.companions.escape import Escapes, NoiseAlignment
from feyngd.drawing import drawn
from feyngd.experiments import Setting
from feyngd.experiments import _escape_logistic as logistic
from feyngd.experiments import _escape_sgld as sgld
from feyngd.experiments import _escape_slopes as slopes
from feyngd.experiments import _escape_styblinski_tang as styblinski_tang
from feyngd.experiments import _noise_against_hessian as alignment
from feyngd.landscapes import digits


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
    assert [finding.holds for finding in logistic.judged("sweep", X, 2 * X + 1, NOISE, curves)] == [True, True, False]
    steps = np.arange(6.0).reshape(2, 3)
    assert logistic.same_runs(steps, steps).holds
    assert not logistic.same_runs(steps + np.eye(2, 3), steps).holds


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
