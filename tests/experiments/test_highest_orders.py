"""Every experiment has a claim that fails where its highest order is deleted, doubled or of the other sign."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import feyngd as fd
from feyngd.drawing import new_figure
from feyngd.experiments import Finding, Outcome, Setting
from feyngd.experiments import _basic_predictions as basic
from feyngd.experiments import _batch_size as batch_size
from feyngd.experiments import _cubic_valley as cubic_valley
from feyngd.experiments import _gauss_fit as gauss_fit
from feyngd.experiments import _linear_screw as linear_screw
from feyngd.experiments import _mean_estimation as mean_estimation
from feyngd.experiments import _multi_epoch as multi_epoch
from feyngd.experiments import _networks as networks
from feyngd.experiments import _stic_selection as stic_selection
from feyngd.experiments._gauss_quadrature import descend, diffuse, next_orders, three_points
from feyngd.experiments._order_claims import order_claim, pooled, resolved
from feyngd.landscapes import digits, logistic_regression, toys
from feyngd.minima import DenseMinimum
from feyngd.prediction import FittedOrder, OrderCheck, check_highest_order
from feyngd.simulation import Ensemble, simulate

WRONG = {"deleted": 0.0, "doubled": 2.0, "of the other sign": -1.0}
SIGMA = "one standard error in % of the predicted"


# --- claims -------------------------------------------------------------------------------------------------------


def test_claims_hold_fail_or_are_undecided_and_say_how_well_they_resolve() -> None:
    claim = resolved("a claim", 2.0, 2.1, stderr=0.05, within=0.1)
    assert claim.holds is True
    assert claim.numbers["allowed"] == pytest.approx(0.25)
    assert claim.numbers[SIGMA] == pytest.approx(2.5)
    assert claim.numbers["allowed in %"] == pytest.approx(12.5)
    assert str(claim).startswith("holds          a claim")
    assert resolved("", 2.0, 2.3, stderr=0.05, within=0.1).holds is False
    noisy = resolved("a claim", 2.0, 2.1, stderr=0.5)
    assert noisy.holds is None
    assert str(noisy).startswith("undecided      a claim")
    assert resolved("", 0.0, 0.1, stderr=0.1).numbers[SIGMA] == math.inf


def test_order_claims_are_those_of_the_check() -> None:
    check = OrderCheck(FittedOrder(3, -95.0, 3.0, 5.0, (0.1,)), -100.0, 4.0)
    claim = order_claim("start 1", check)
    assert "start 1: the coefficient of η^3" in claim.claim
    assert claim.holds is True
    assert claim.numbers == {
        "prediction": -100,
        "fitted": -95,
        "stderr": 5,
        "cut of the fit": 5,
        "allowed": 20,
        SIGMA: pytest.approx(5),
        "allowed in %": pytest.approx(20),
    }
    assert order_claim("", OrderCheck(FittedOrder(3, 95.0, 3.0, 5.0, (0.1,)), -100.0)).holds is False
    assert order_claim("", OrderCheck(None, -100.0)).holds is None


def test_pooled_claims_resolve_what_none_does_alone() -> None:
    """x = 0.3 s at a hundred scales s with errors of 1: the multiple has the error 1/√(Σ s²)."""
    rng = np.random.default_rng(0)
    scales, errors = np.linspace(1, 3, 100), np.linspace(2, 1, 100)
    simulated = 0.3 * scales + errors * rng.normal(size=100)
    claim = pooled("", 0.3 * scales, simulated, errors, scales)
    assert claim.numbers["prediction"] == pytest.approx(0.3)
    assert claim.numbers["stderr"] == pytest.approx(np.sum((scales / errors) ** 2) ** -0.5)
    assert claim.numbers["simulation"] == pytest.approx(0.3, abs=4 * claim.numbers["stderr"])
    further = pooled("", 0.3 * scales, simulated, errors, scales, within=0.1 * scales)
    assert further.numbers["allowed"] - claim.numbers["allowed"] == pytest.approx(0.1)
    fine = errors / 10
    for factor, verdict in ((1.0, True), (0.0, False), (2.0, False), (-1.0, False)):
        assert pooled("", factor * 0.3 * scales, 0.3 * scales, fine, scales).holds is verdict


def test_an_outcome_is_undecided_if_a_claim_is_and_none_fails() -> None:
    figure, _ = new_figure()
    good, bad, open_one = (Finding("", holds, {}) for holds in (True, False, None))
    assert Outcome([good, open_one], {}, figure).holds is None
    assert Outcome([open_one, bad], {}, figure).holds is False
    assert Outcome([good, good], {}, figure).holds is True
    record = Outcome([good, open_one], {}, figure).to_dict()
    assert record["verdict"] is None
    assert [one["holds"] for one in record["findings"]] == [True, None]


# --- networks -----------------------------------------------------------------------------------------------------


def wrong(prediction: fd.Prediction, factor: float) -> fd.Prediction:
    coefficients = prediction.coefficients.copy()
    coefficients[:, -1] *= factor
    return replace(prediction, coefficients=coefficients)


def holds_only_untampered(claim: Callable[[float], Finding]) -> None:
    """Assert that a claim, from a prediction with its highest order times a factor, holds at a factor of 1 alone."""
    right = claim(1.0)
    assert right.holds is True, str(right)
    assert "allowed in %" in right.numbers
    for name, factor in WRONG.items():
        assert claim(factor).holds is False, f"{name}: {claim(factor)}"


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    """A quick setting on a few digits, with a network of one layer in place of the convnet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "convnet", logistic_regression)
        yield Setting(jax.random.key(0), digits(40), quick=True)


@pytest.fixture(scope="module")
def values(setting: Setting) -> tuple[fd.Landscape, Any, Any]:
    """Values from as many pairings as tell every coefficient of η³ from its double."""
    landscape, (start, *_) = networks.convnet_at_starts(setting, 2)
    wanted = [diagram for order in range(networks.ORDER + 1) for diagram in fd.diagrams(order, root_tied=True)]
    key = jax.random.key(1)
    return (
        landscape,
        start,
        fd.evaluate(wanted, landscape, start, estimator="pairing", replicates=128, check_dtype=False, key=key),
    )


@pytest.mark.slow
def test_basic_predictions(setting, values, monkeypatch) -> None:
    landscape, start, found = values
    monkeypatch.setattr(basic, "values_at", lambda *_: found)
    case = basic._case(landscape, start, setting, jax.random.key(2))

    def claim(factor: float) -> Finding:
        tampered = replace(case, prediction=wrong(case.prediction, factor))
        monkeypatch.setattr(basic, "_case", lambda *_: tampered)
        findings = basic._run(setting).findings
        return next(one for one in findings if "the coefficient of η^3" in one.claim)

    holds_only_untampered(claim)


@pytest.mark.slow
def test_batch_size(setting, values, monkeypatch) -> None:
    landscape, start, found = values
    monkeypatch.setattr(batch_size, "values_at", lambda *_: found)
    plain = networks.Runs(landscape)
    many = replace(setting, quick=False)
    case = batch_size._case(landscape, start, plain, plain, many, jax.random.key(3))
    holds_only_untampered(
        lambda factor: batch_size._findings("", replace(case, prediction=wrong(case.prediction, factor)))[1]
    )


@pytest.mark.slow
def test_several_epochs(setting, values, monkeypatch) -> None:
    landscape, start, found = values
    many, draw = replace(setting, quick=False), multi_epoch._coupled_batches
    monkeypatch.setattr(multi_epoch, "_coupled_batches", lambda *some, draws: draw(*some, draws=6 * draws))
    one = multi_epoch._repeats(landscape, start, found, many, 2, jax.random.key(2))
    holds_only_untampered(
        lambda factor: multi_epoch._findings_on_repeats(replace(one, prediction=wrong(one.prediction, factor)))[1]
    )


@pytest.mark.slow
def test_gaps(setting, values, monkeypatch) -> None:
    """At half the learning rates, where little is cut off, with as many more runs as that takes."""
    landscape, start, found = values
    monkeypatch.setattr(multi_epoch, "_EPOCHS", (1,))
    monkeypatch.setattr(multi_epoch, "_GAP_FRACTIONS", tuple(one / 2 for one in multi_epoch._GAP_FRACTIONS))
    monkeypatch.setattr(
        multi_epoch, "simulate", lambda *some, runs, **options: simulate(*some, runs=8 * runs, **options)
    )
    ((prediction, simulation),) = multi_epoch._gaps(
        landscape, start, found, replace(setting, quick=False), jax.random.key(2)
    )
    holds_only_untampered(lambda factor: order_claim("", check_highest_order(wrong(prediction, factor), simulation)))


# --- toys ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def _double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("name", ["SGD", "SDE"])
def test_gauss_fit(name: str) -> None:
    steps, exact = 2, gauss_fit.by_series(2, order=4)
    curves = {"SGD": lambda rate, T: descend(rate, T, x=three_points()), "SDE": diffuse}
    third, fourth = next_orders(curves[name], steps)
    other = {"SGD": "SDE", "SDE": "SGD"}[name]
    found = {name: third, other: float(exact[other][3])}

    def tampered(order: int, factor: float) -> tuple[Any, ...]:
        return tuple(c * factor if k == order else c for k, c in enumerate(map(float, exact[name])))

    def third_claim(factor: float) -> Finding:
        claims = gauss_fit._coefficients(steps, {**exact, name: tampered(3, factor)}, found)
        return next(one for one in claims if f"of {'its SDE' if name == 'SDE' else 'SGD'} at" in one.claim)

    holds_only_untampered(third_claim)
    holds_only_untampered(lambda factor: gauss_fit._fourth(name, steps, tampered(4, factor), fourth))


@pytest.mark.slow
@pytest.mark.usefixtures("_double_precision")
def test_gauss_fit_from_runs(monkeypatch) -> None:
    monkeypatch.setattr(
        gauss_fit, "simulate_sde", lambda *_, **__: SimpleNamespace(mean=None, stderr=None, discretization=None)
    )
    setting = Setting(jax.random.key(0), ((), ()), quick=True)
    third = gauss_fit._simulations(gauss_fit.SIMULATED_STEPS, 20_000, setting)["SGD"].third
    exact = float(gauss_fit.by_series(gauss_fit.SIMULATED_STEPS)["SGD"][3])
    holds_only_untampered(lambda factor: order_claim("", OrderCheck(third, factor * exact)))


@pytest.mark.slow
@pytest.mark.usefixtures("_double_precision")
def test_linear_screw() -> None:
    """At a large learning rate, where the fourth power of the noise is a hundredth of the climb."""
    minimum, ensemble = DenseMinimum(*toys.linear_screw()), Ensemble(*toys.linear_screw(), block=2048)
    climb = linear_screw._climb(minimum, ensemble, 0.5, 10.0, 1_500_000, jax.random.key(0))
    two = climb.predicted[-1]
    holds_only_untampered(
        lambda factor: linear_screw._last_noises([replace(climb, next_order=two + factor * (climb.next_order - two))])
    )


@pytest.mark.slow
@pytest.mark.usefixtures("_double_precision")
def test_cubic_valley() -> None:
    """In a valley that widens faster, where the fourth power of the noise is a fiftieth of the drift."""
    valley = cubic_valley.Valley(1.0, 0.2, 1.0)
    toy = toys.cubic_valley(valley.h0, valley.h1, valley.s)
    slide = cubic_valley._slide(valley, DenseMinimum(*toy), Ensemble(*toy, block=5000), 0.2, 600_000, jax.random.key(0))
    two = slide.predicted[-1]
    holds_only_untampered(
        lambda factor: cubic_valley._last_noises([replace(slide, next_order=two + factor * (slide.next_order - two))])
    )


@pytest.mark.usefixtures("_double_precision")
@pytest.mark.parametrize("quantity", ["test_loss", "gap"])
def test_sharp_and_flat(quantity: str) -> None:
    rows = [mean_estimation._at_curvature(quantity, h, 500, jax.random.key(i)) for i, h in enumerate((0.03, 0.3))]
    found = mean_estimation.Overfitting(*np.array(rows).T)
    numbers = mean_estimation._multiple("", found).numbers
    assert numbers["simulation"] == pytest.approx(np.mean(found.simulated / found.stderr))
    assert numbers["stderr"] == pytest.approx(2**-0.5)
    holds_only_untampered(
        lambda factor: mean_estimation._multiple("", replace(found, predicted=factor * found.predicted))
    )


def test_stic_selection(monkeypatch) -> None:
    task, gaps = stic_selection.Task(stic_selection.DIRECTIONS, 1.0, 1.0), stic_selection.Task.gaps

    def claim(factor: float) -> Finding:
        monkeypatch.setattr(
            stic_selection.Task, "gaps", lambda self, points: tuple(factor * one for one in gaps(self, points))
        )
        return task.gap_claim(200, jax.random.key(0))

    holds_only_untampered(claim)
