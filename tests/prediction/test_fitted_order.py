"""Coefficients fitted to simulated runs: exact on polynomials, covered by their errors, and verdicts that can fail."""

import json
import math

import numpy as np
import pytest
import sympy as sp

import feyngd as fd
from feyngd.prediction import FittedOrder, OrderCheck, check_coefficient, check_highest_order, decide, fit_order
from feyngd.prediction._fitted_order import _weights

S = fd.Spacetime.sgd(N=10, B=1, E=1)
RATES = np.array([0.1, 0.2, 0.3, 0.4, 0.5])


def polynomials(coefficients: np.ndarray, rates: np.ndarray = RATES, lowest: int = 1) -> np.ndarray:
    """Return Σ_k c_k η^k of every run, from coefficients of shape (runs, orders), as samples (rates, runs)."""
    powers = np.arange(lowest, lowest + coefficients.shape[1])
    return (rates[:, None] ** powers) @ coefficients.T


@pytest.mark.parametrize("lowest", [1, 2])
@pytest.mark.parametrize("order", [2, 3])
def test_coefficients_of_polynomials_are_exact(order: int, lowest: int) -> None:
    rng = np.random.default_rng(order)
    own = rng.normal(size=(7, 3)) + 2
    samples = 5 + polynomials(own, lowest=lowest)
    found = fit_order(RATES, samples, order, start=5.0, lowest=lowest)
    column = own[:, order - lowest]
    assert found.value == pytest.approx(column.mean(), rel=1e-9)
    assert found.stderr == pytest.approx(column.std(ddof=1) / 7**0.5, rel=1e-9)
    assert found.bias < 1e-9
    assert found.order == order


def test_the_order_of_learning_rates_and_repeated_ones_do_not_matter() -> None:
    samples = polynomials(np.random.default_rng(0).normal(size=(6, 3)))
    which = [3, 0, 4, 2, 1, 2]
    one, other = fit_order(RATES, samples, 3), fit_order(RATES[which], samples[which], 3)
    assert one == other
    assert one.learning_rates == tuple(RATES)


def test_a_regression_takes_many_runs() -> None:
    own = np.random.default_rng(6).normal(size=(100, 3))
    own[:, 2] += own[:, 0]
    samples = polynomials(own)
    assert fit_order(RATES, samples, 3, known=[0.0, 0.0]).controls
    assert fit_order(RATES, samples[:, :99], 3, known=[0.0, 0.0]) == fit_order(RATES, samples[:, :99], 3)


def test_known_lower_orders_take_off_what_runs_have_in_common() -> None:
    """The luck of a run moves all its coefficients: c_3 = −c_1 + noise a tenth as large, with E c_1 = 1 known."""
    rng = np.random.default_rng(1)
    luck, noise = rng.normal(size=(2, 400))
    own = np.stack([1 + luck, np.full(400, 3.0), -(1 + luck) + 0.1 * noise], axis=1)
    samples = polynomials(own)
    plain, controlled = fit_order(RATES, samples, 3), fit_order(RATES, samples, 3, known=[1.0, 3.0])
    assert controlled.stderr == pytest.approx(0.1 / 20, rel=0.1)
    assert plain.stderr == pytest.approx(1 / 20, rel=0.1)
    assert controlled.controls[0] == pytest.approx(-1, abs=0.05)
    assert abs(controlled.value + 1) < 4 * controlled.stderr
    wrong = fit_order(RATES, samples, 3, known=[2.0, 3.0])
    assert wrong.value == pytest.approx(controlled.value - 1, abs=0.05)


@pytest.mark.parametrize("known", [(), (-1.0, 0.5)])
def test_errors_cover(known: tuple[float, ...]) -> None:
    """E exp(−bη) of random b has the third coefficient −E b³/6; runs share b over learning rates and have rounding."""
    rng = np.random.default_rng(0)
    scores, biases = [], []
    spread, runs = 0.4, 400 if known else 60
    third = -(1 + 3 * spread**2) / 6
    mean = (-1.0, (1 + spread**2) / 2) if known else ()
    rates = RATES / 2
    for _ in range(400):
        b = rng.normal(1, spread, size=runs)
        samples = np.exp(-b * rates[:, None]) + 1e-7 * rng.normal(size=(5, runs))
        found = fit_order(rates, samples, 3, start=1.0, known=mean)
        scores.append(max(abs(found.value - third) - (found.bias if known else 0), 0) / found.stderr)
        biases.append(found.bias / found.stderr)
    assert np.mean(np.array(scores) < 2) >= 0.91
    if not known:  # it is the standard error that covers, and it is no larger than need be
        assert np.mean(np.array(scores) < 1) == pytest.approx(0.675, abs=0.07)
        assert np.mean(np.array(scores) < 2) <= 0.98
        assert np.median(biases) < 0.5


@pytest.mark.parametrize(
    ("curve", "third"),
    [
        (lambda z: 1 / (1 + z), -1.0),
        (lambda z: np.log1p(z), 1 / 3),
        (lambda z: np.exp(2 * z), 8 / 6),
        (lambda z: np.sqrt(1 + 3 * z), 27 / 16),
        (lambda z: (1 - z) ** 20, -1140.0),
    ],
)
def test_the_bias_covers_what_a_polynomial_cuts_off(curve, third) -> None:
    """At grids of many kinds; where a curve is no polynomial within reach, the figure grows with the error."""
    rng = np.random.default_rng(2)
    edge = {-1140.0: 0.03, 27 / 16: 0.13}.get(third, 0.3)
    for _ in range(100):
        rates = edge * rng.uniform(0.5, 3) * np.sort(rng.uniform(0.03, 1, size=int(rng.integers(5, 10))))
        found = fit_order(rates, np.broadcast_to(curve(rates)[:, None], (len(rates), 2)), 3, start=float(curve(0.0)))
        if found is not None:
            assert abs(found.value - third) <= found.bias + 1e-6 * abs(third)


def test_the_bias_is_the_step_from_both_ends_together() -> None:
    """From −2η⁴ + η⁵, 5 points give c_3 = 0. Without the last it is off by 0.35, without the first by 0.71."""
    curve = -2 * RATES**4 + RATES**5
    found = fit_order(RATES, np.broadcast_to(curve[:, None], (5, 2)), 3)
    assert found.bias == pytest.approx(0.35 + 0.71, rel=1e-6)


def test_a_fit_far_from_others_that_begin_as_near_to_zero_has_that_as_its_bias() -> None:
    """Steps at both ends of the middle rates may cancel by chance: other fits show how far off they are."""
    rates = np.array([0.00459, 0.00917, 0.0138, 0.0206, 0.0275, 0.0454, 0.0688])
    for power in (5, 6, 7, 8):
        for order_seven in np.linspace(-3, 3, 25):
            curve = rates**3 + (rates / 0.05) ** power * 1e-4 + order_seven * (rates / 0.05) ** 9 * 1e-4
            found = fit_order(rates, np.broadcast_to(curve[:, None], (7, 2)), 3)
            assert abs(found.value - 1) <= found.bias + 1e-9


def test_errors_of_predicted_orders_go_with_the_controls() -> None:
    """Runs with c_3 = −c_1 + noise have a control of −1, so that predicted errors with c_3 = −c_1 cancel."""
    rng = np.random.default_rng(1)
    luck, noise = rng.normal(size=(2, 4000))
    own = np.stack([1 + luck, np.full(4000, 3.0), -(1 + luck) + 0.1 * noise], axis=1)
    for sign, expected in ((-1, 0.0), (1, 2 * 0.1)):
        rows = np.array([[0.0, 1 + off, 3.0, -1 + sign * off] for off in (-0.1, 0.1)])
        check = check_coefficient(fd.Prediction("gap", S, RATES, rows), RATES, polynomials(own))
        assert check.fitted.controls[0] == pytest.approx(-1, abs=0.01)
        assert check.prediction_stderr == pytest.approx(expected, abs=0.003)


def test_a_control_of_the_other_sign_takes_the_other_errors_off() -> None:
    """Runs with c_3 = c_1 + noise: the same as above with a control of 1."""
    rng = np.random.default_rng(1)
    luck, noise = rng.normal(size=(2, 4000))
    own = np.stack([1 + luck, np.full(4000, 3.0), 1 + luck + 0.1 * noise], axis=1)
    for sign, expected in ((1, 0.0), (-1, 2 * 0.1)):
        rows = np.array([[0.0, 1 + off, 3.0, 1 + sign * off] for off in (-0.1, 0.1)])
        check = check_coefficient(fd.Prediction("gap", S, RATES, rows), RATES, polynomials(own))
        assert check.fitted.controls[0] == pytest.approx(1, abs=0.01)
        assert check.prediction_stderr == pytest.approx(expected, abs=0.003)


def test_errors_of_a_regression_count_what_it_fits() -> None:
    """Two slopes and the mean take three of the hundred degrees of freedom."""
    own = np.random.default_rng(9).normal(size=(100, 3)) @ np.array([[1, 0, 2], [0, 1, -1], [0, 0, 1.0]])
    found = fit_order(RATES, polynomials(own), 3, known=[0.0, 0.0])
    design = np.column_stack([np.ones(100), own[:, :2]])
    slopes, squares, *_ = np.linalg.lstsq(design, own[:, 2], rcond=None)
    assert found.value == pytest.approx(slopes[0], rel=1e-9)
    assert found.controls == pytest.approx(slopes[1:].tolist(), rel=1e-6)
    assert found.stderr == pytest.approx(math.sqrt(squares[0] / 97 / 100), rel=1e-6)


def test_beyond_a_rate_that_diverges_nothing_is_used() -> None:
    samples = polynomials(np.random.default_rng(5).normal(size=(6, 3)), np.arange(1, 9) / 10)
    for diverged, usable in ((7, 7), (6, 6), (5, 5), (3, 0), (0, 0)):
        spoilt = samples.copy()
        spoilt[diverged, 2] = np.inf
        found = fit_order(np.arange(1, 9) / 10, spoilt, 3)
        assert (found is not None) == bool(usable)
        if found is not None:
            assert np.isfinite([found.value, found.stderr, found.bias]).all()
            assert max(found.learning_rates) <= usable / 10


def test_a_start_that_is_off_is_in_the_bias() -> None:
    samples = polynomials(np.random.default_rng(3).normal(size=(50, 3))) + 1e-4
    right = fit_order(RATES, samples, 3, start=1e-4)
    off = fit_order(RATES, samples, 3, rounding=1e-4)
    assert off.bias > right.bias
    assert abs(off.value - right.value) <= off.bias


def test_diverged_runs_end_the_fit() -> None:
    rates = np.linspace(0.1, 0.7, 7)
    samples = polynomials(np.random.default_rng(4).normal(size=(6, 3)), rates)
    samples[5:, 2] = np.inf
    assert max(fit_order(rates, samples, 3).learning_rates) == pytest.approx(0.5)
    samples[4, 0] = np.nan
    assert fit_order(rates, samples, 3) is None


def test_learning_rates_far_from_zero_and_too_few_are_no_fit() -> None:
    samples = polynomials(np.ones((6, 3)))
    assert fit_order(RATES[:4], samples[:4], 3) is None
    assert fit_order(RATES[:4], samples[:4], 3, lowest=2) is not None
    assert fit_order(RATES + 1, samples, 3) is None


@pytest.mark.parametrize(
    ("rates", "samples", "options", "says"),
    [
        (RATES, np.ones(5), {}, "shape"),
        (RATES, np.ones((4, 3)), {}, "shape"),
        (RATES, np.ones((5, 1)), {}, "two runs"),
        (RATES, np.ones((5, 3)), {"lowest": 4}, "lowest power"),
        (RATES, np.ones((5, 3)), {"lowest": 0}, "lowest power"),
        (RATES, np.ones((5, 3)), {"known": [1.0]}, "1 coefficients"),
    ],
)
def test_invalid_arguments_are_refused(rates, samples, options, says) -> None:
    with pytest.raises(fd.ArgumentError, match=says):
        fit_order(rates, samples, 3, **options)


# --- verdicts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "simulation", "allowed", "verdict"),
    [
        (1.0, 1.1, 0.2, True),
        (1.0, 1.3, 0.2, False),
        (2.0, 1.0, 0.2, False),  # doubled
        (0.5, 1.0, 0.2, False),  # halved
        (0.0, 1.0, 0.2, False),  # deleted
        (-1.0, 1.0, 0.2, False),  # of the other sign
        (1.0, 1.0, 0.5, None),  # half of it would do as well
        (1.0, 1.6, 0.7, None),  # so would twice it
        (0.0, 0.1, 0.2, None),  # of nothing there is no half
        (1.0, 1.0, math.inf, None),
        (math.nan, 1.0, 0.2, False),
        (1.0, math.nan, math.inf, False),
    ],
)
def test_verdicts_need_power(prediction, simulation, allowed, verdict) -> None:
    assert decide(prediction, simulation, allowed) is verdict
    assert decide(-prediction, -simulation, allowed) is verdict


def test_a_check_says_how_well_it_resolves() -> None:
    fitted = FittedOrder(3, -95.0, 3.0, 5.0, (0.1, 0.2))
    check = OrderCheck(fitted, -100.0, 4.0)
    assert (check.stderr, check.allowed, check.resolution, check.verdict) == (5.0, 20.0, 0.05, True)
    text = str(check)
    assert "predicted -100 ± 4" in text
    assert "-95 ± 3 (sampling) ± 5 (cut of the fit)" in text
    assert "5% of the predicted: agrees" in text
    assert str(OrderCheck(fitted, 100.0)).endswith("DIFFERS")
    assert str(OrderCheck(FittedOrder(3, -95.0, 30.0, 5.0, (0.1,)), -100.0)).endswith("undecided")
    record = json.loads(json.dumps(check.to_dict()))
    assert record["fitted"]["stderr"] == 3
    assert record["allowed"] == 20
    assert record["verdict"] is True
    none = OrderCheck(None, -100.0)
    assert none.verdict is None
    assert "more learning rates" in str(none)
    assert json.loads(json.dumps(none.to_dict()))["fitted"] is None
    assert OrderCheck(fitted, 0.0).resolution == math.inf


def tampered(prediction: fd.Prediction, factor: float) -> fd.Prediction:
    coefficients = prediction.coefficients.copy()
    coefficients[:, -1] *= factor
    return fd.Prediction(prediction.quantity, prediction.spacetime, prediction.learning_rates, coefficients)


def example() -> tuple[fd.Prediction, fd.Simulation]:
    """2 − 0.5η + 0.4η² − 0.3η³ on average, simulated at up to half the edge of validity, where η³ is a hundredth."""
    rates = np.linspace(0.02, 0.14, 7)
    rng = np.random.default_rng(0)
    own = np.array([-0.5, 0.4, -0.3]) + np.array([1e-3, 0.05, 0.2]) * rng.normal(size=(500, 3))
    rows = np.array([[2.0, -0.5, 0.4, -0.3 - 0.001], [2.0, -0.5, 0.4, -0.3 + 0.001]])
    return (
        fd.Prediction("test_loss", S, rates, rows),
        fd.Simulation("test_loss", S, rates, 2 + polynomials(own, rates)),
    )


def test_comparisons_fail_on_a_wrong_highest_order_within_what_is_allowed() -> None:
    prediction, simulation = example()
    right = fd.compare(prediction, simulation)
    assert right.passed
    assert right.highest_order.verdict is True
    assert right.highest_order.resolution < 0.1
    assert "agrees" in str(right).splitlines()[-1]
    for factor in (0.0, 2.0, -1.0):
        wrong = fd.compare(tampered(prediction, factor), simulation)
        assert wrong.agrees.all() or factor < 0, "the table alone notices nothing"
        assert wrong.highest_order.verdict is False
        assert not wrong.passed
        assert wrong.to_dict()["highest_order"]["verdict"] is False
        assert "DIFFERS" in str(wrong).splitlines()[-1]


def test_noisy_runs_leave_a_comparison_undecided() -> None:
    prediction, simulation = example()
    few = fd.Simulation("test_loss", S, simulation.learning_rates, simulation.samples[:, :4])
    found = fd.compare(prediction, few)
    assert found.highest_order.verdict is None
    assert found.passed
    assert "undecided" in str(found).splitlines()[-1]


def test_learning_rates_far_beyond_the_valid_range_are_left_out() -> None:
    prediction, simulation = example()
    rates = np.append(simulation.learning_rates, 50.0)
    samples = np.vstack([simulation.samples, np.full((1, 500), 7.0)])
    far = fd.compare(
        fd.Prediction("test_loss", S, rates, prediction.coefficients), fd.Simulation("test_loss", S, rates, samples)
    )
    assert far.highest_order == fd.compare(prediction, simulation).highest_order


def test_errors_of_predicted_orders_count() -> None:
    """Errors of all orders that are one and the same multiple of the coefficients; rounding is measured apart."""
    prediction, simulation = example()
    exact = fd.Prediction("test_loss", S, prediction.learning_rates, prediction.coefficients.mean(axis=0)[None])
    assert check_highest_order(exact, simulation).prediction_stderr == 0
    rounded = fd.Prediction("test_loss", S, exact.learning_rates, exact.coefficients, np.array([[0, 0, 0, 0.1]]))
    assert check_highest_order(rounded, simulation).prediction_stderr == pytest.approx(0.1)
    plain = check_coefficient(prediction, simulation.learning_rates, simulation.samples, start=2.0)
    assert plain.prediction_stderr == pytest.approx(0.001, rel=1e-6)
    order_0 = fd.Prediction("test_loss", S, exact.learning_rates, exact.coefficients[:, :1])
    assert check_highest_order(order_0, simulation).verdict is None


@pytest.mark.parametrize("lowest", [1, 2])
def test_weights_are_exact_at_uneven_learning_rates(lowest: int) -> None:
    """Against the inverse of the matrix η_j^k in exact fractions, at learning rates of ratio 40."""
    rates = np.array([0.025, 0.03, 0.031, 0.1, 0.4, 0.402, 0.7, 0.95, 1.0])
    powers = sp.Matrix(9, 9, lambda j, k: sp.Rational(float(rates[j])) ** (lowest + k))
    exact = np.array(powers.inv()[: 4 - lowest, :].tolist(), dtype=float)
    np.testing.assert_allclose(_weights(rates, 3, lowest), exact, rtol=1e-13)
