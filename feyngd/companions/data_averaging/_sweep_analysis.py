"""What a temperature sweep says: levels against T, fits, predictions beside them, the best temperature, verdicts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import jax
import numpy as np
from scipy import stats

from ...errors import ArgumentError
from ...estimates import Estimate
from ._assumptions import SETTLED, reach
from ._collapse import Collapse, collapse_test
from ._ensemble import optimizer_of
from ._gap_law import GapLaw, fit_gap_law
from ._optimum import Optimum, optimal_temperature
from ._plain import Plain
from ._pool_minimum import PoolMinimum
from ._sweep_cells import QUANTITIES, CellResult
from ._sweep_config import Cell

_CHANCE = 2 * float(stats.norm.sf(3))  # of a deviation of three standard errors


@dataclass(frozen=True, eq=False)
class SweepPoint(Plain):
    """All seeds of one learning rate and batch size, in the unit of the loss.

    Attributes:
        learning_rate, B, steps: λ, B and the number of steps.
        temperature, effective_temperature: T = λ/B and T/(1 − μ).
        train, test, gap: levels; `None` if fewer than two training sets are left.
        cross: the gap without test data; `None` if runs diverged.
        diverged: the number of runs that diverged, left out of levels.
        relaxations: the run in relaxation times of the flattest direction at the minimum of the pool's loss; NaN if
            that was not asked for.
        stationary: whether the fluctuation–dissipation test passed; `None` where it is not known to hold.
        long_run: the prediction tr(C H⁻¹)/n.
        near_minimum: the gap by re-summed runs from the minimum, with its truncation figure; `None` if they start
            elsewhere.
        truncation: of the same.
        reason: why there is no such prediction.
        samples: the levels of all training sets by quantity, which fits and bootstraps are made of.
    """

    learning_rate: float
    B: int
    steps: int
    temperature: float
    effective_temperature: float
    train: Estimate | None
    test: Estimate | None
    gap: Estimate | None
    cross: Estimate | None
    diverged: int
    relaxations: float
    stationary: bool | None
    long_run: Estimate | None
    near_minimum: Estimate | None
    truncation: float
    reason: str
    samples: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class SweepVerdict(Plain):
    """A claim, whether it holds, and why.

    Attributes:
        claim: in words.
        holds: `None` where the runs cannot say, or where it does not apply.
        detail: the numbers in words, or why there is no verdict.
        is_prediction: whether the claim is a prediction of theory, which real runs may contradict, or a description.
        numbers: by name; empty where there is no verdict.
    """

    claim: str
    holds: bool | None
    detail: str
    is_prediction: bool = False
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        word = {True: "holds", False: "DOES NOT HOLD", None: "no verdict"}[self.holds]
        return f"{word:<14} {self.claim}: {self.detail}"


@dataclass(frozen=True, eq=False)
class SweepGroup(Plain):
    """All temperatures of one optimizer and drawing.

    Attributes:
        optimizer, schedule, drawing: in words.
        points: by temperature.
        law: the fit of law (1), in the form with the lowest AICc; `None` where there are too few temperatures.
        optimum: the temperature of the lowest test loss; `None` likewise.
        collapse: the test that the test loss depends on the temperature alone; `None` where no two cells share one.
        verdicts: on the predictions.
    """

    optimizer: str
    schedule: str
    drawing: str
    points: tuple[SweepPoint, ...]
    law: GapLaw | None
    optimum: Optimum | None
    collapse: Collapse | None
    verdicts: tuple[SweepVerdict, ...]


def analysed(results: Sequence[CellResult], found: PoolMinimum | None, pool: int) -> list[SweepGroup]:
    """Return the groups of a sweep, one for each optimizer and drawing."""

    def kind(result: CellResult) -> tuple[str, str, str]:
        return str(result.cell.recipe), result.cell.recipe.schedule, result.cell.drawing

    places = {kind(result): number for number, result in reversed(list(enumerate(results)))}
    ordered = sorted(results, key=lambda result: places[kind(result)])
    return [_group(*name, _points(list(members), found, pool), found) for name, members in groupby(ordered, key=kind)]


def _points(results: list[CellResult], found: PoolMinimum | None, pool: int) -> tuple[SweepPoint, ...]:
    def setting(result: CellResult) -> tuple[float, float, int]:
        return result.cell.temperature, result.cell.learning_rate, result.cell.B

    ordered = sorted(results, key=setting)
    return tuple(_point(list(members), found, pool) for _, members in groupby(ordered, key=setting))


def _point(results: list[CellResult], found: PoolMinimum | None, pool: int) -> SweepPoint:
    cell: Cell = results[0].cell
    samples = {name: np.concatenate([one.levels[name] for one in results]) for name in results[0].levels}
    levels = {
        name: Estimate.from_replicates(samples[name], "ensemble") if len(samples[name]) > 1 else None
        for name in QUANTITIES
    }
    passed = [one.stationary for one in results]
    optimizer = optimizer_of(cell.recipe.momentum, cell.recipe.form, cell.recipe.schedule, cell.steps)
    return SweepPoint(
        learning_rate=cell.learning_rate,
        B=cell.B,
        steps=cell.steps,
        temperature=cell.temperature,
        effective_temperature=cell.effective_temperature,
        train=levels["train_loss"],
        test=levels["test_loss"],
        gap=levels["gap"],
        cross=_mean([one.cross for one in results]),
        diverged=sum(one.diverged for one in results),
        relaxations=math.nan if found is None else cell.learning_rate * reach(optimizer, cell.steps) * found.lowest,
        stationary=None if None in passed else all(passed),
        long_run=None if found is None else found.gap(cell.N, pool, cell.drawing),
        near_minimum=results[0].predicted,
        truncation=results[0].truncation,
        reason=results[0].reason,
        samples=samples,
    )


def _mean(parts: list[Estimate | None]) -> Estimate | None:
    """Return the mean of independent estimates; `None` if one is missing."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    stderr = math.sqrt(sum((part.stderr or 0.0) ** 2 for part in known)) / len(known)
    count = sum(part.num_samples for part in known)
    return Estimate(sum(part.value for part in known) / len(known), stderr, count, known[0].kind)


def _group(
    optimizer: str, schedule: str, drawing: str, points: tuple[SweepPoint, ...], found: PoolMinimum | None
) -> SweepGroup:
    whole = [point for point in points if not point.diverged and point.gap is not None]
    law, why = _law(whole)
    optimum = _optimum(whole)
    collapse = collapsed([point.temperature for point in whole], whole)
    verdicts = [*_of_law(law, why), _of_long_run(whole, found), _of_near_minimum(whole)]
    verdicts += _of_collapse(f"{optimizer}, {drawing}", "T", whole)
    if lost := [point for point in points if point.diverged]:
        at = ", ".join(f"T = {point.temperature:.3g} (λ={point.learning_rate:g}, B={point.B})" for point in lost)
        verdicts.append(SweepVerdict("no run diverges", False, f"some do at {at}; these are left out of all fits"))
    return SweepGroup(optimizer, schedule, drawing, points, law, optimum, collapse, tuple(verdicts))


def _law(points: list[SweepPoint]) -> tuple[GapLaw | None, str]:
    T, gaps, errors = [], [], []
    for point in points:
        if point.gap is not None and point.gap.stderr:
            T.append(point.temperature)
            gaps.append(point.gap.value)
            errors.append(point.gap.stderr)
    try:
        return fit_gap_law(T, gaps, errors), ""
    except ArgumentError as error:
        return None, str(error)


def _optimum(points: list[SweepPoint]) -> Optimum | None:
    try:
        losses = [point.samples["test_loss"] for point in points]
        return optimal_temperature([point.temperature for point in points], losses, key=jax.random.key(0))
    except ArgumentError:  # too few temperatures
        return None


def collapsed(temperatures: list[float], points: list[SweepPoint]) -> Collapse | None:
    """Return the test that test losses depend on some temperatures alone; `None` where no two points share one."""
    levels = [point.test for point in points if point.test is not None]
    try:
        return collapse_test(temperatures, levels)
    except ArgumentError:
        return None


def _of_law(law: GapLaw | None, why: str) -> list[SweepVerdict]:
    rises, describes = "the gap rises as a/T at low temperature, as in law (1)", "law (1) describes the gaps, a fit"
    if law is None:
        return [SweepVerdict(rises, None, why), SweepVerdict(describes, None, why)]
    chance = float(stats.chi2.sf(law.chi2, law.dof)) if law.dof else math.nan
    fit = {"chi2": law.chi2, "dof": float(law.dof), "p": chance}
    goodness = SweepVerdict(
        describes, None if not law.dof else chance >= _CHANCE, f"{law}, p = {chance:.2g}", numbers=fit
    )
    aicc = {f"AICc of {name}": score for name, score in law.rivals.items()}
    scores = ", ".join(f"{name} {score:.1f}" for name, score in law.rivals.items())
    if law.form == "constant":
        return [SweepVerdict(rises, False, f"AICc takes a constant: {scores}", numbers=aicc), goodness]
    low, high = law.intervals["a"]
    holds = True if low > 0 else False if high <= 0 else None
    numbers = {"a": law.a, "a from": low, "a to": high, **aicc}
    return [
        SweepVerdict(rises, holds, f"a from {low:.3g} to {high:.3g}; AICc: {scores}", numbers=numbers),
        goodness,
    ]


def _of_long_run(points: list[SweepPoint], found: PoolMinimum | None) -> SweepVerdict:
    claim = "the gap is tr(C H⁻¹)/n where runs are long enough"
    if found is None:
        return SweepVerdict(claim, None, "not asked for: long_run = false", True)
    if found.trace is None:
        return SweepVerdict(claim, None, f"no trace: {found.reason}", True)
    settled = [point for point in points if point.relaxations >= SETTLED]
    if not settled:
        most = max((point.relaxations for point in points), default=0.0)
        why = f"runs last {most:.2g} relaxation times at most, and {SETTLED:g} are needed"
        return SweepVerdict(claim, None, why, True, {"relaxation times": most, "needed": SETTLED})
    return _compared(claim, [(point, point.long_run, 0.0) for point in settled])


def _of_near_minimum(points: list[SweepPoint]) -> SweepVerdict:
    claim = "the gap is that of re-summed runs from the minimum"
    predicted = [(point, point.near_minimum, point.truncation) for point in points if point.near_minimum is not None]
    if not predicted:
        why = next((point.reason for point in points if point.reason), "there are no whole cells")
        return SweepVerdict(claim, None, why, True)
    return _compared(claim, predicted)


def _compared(claim: str, pairs: Sequence[tuple[SweepPoint, Estimate | None, float]]) -> SweepVerdict:
    """Judge predictions together: the largest deviation may be one that chance exceeds once in 370 times."""
    worst, score, shown = None, -1.0, ""
    numbers: dict[str, float] = {}
    for point, predicted, within in pairs:
        assert predicted is not None
        assert point.gap is not None
        error = math.hypot(point.gap.stderr or 0.0, predicted.stderr or 0.0)
        off = max(abs(point.gap.value - predicted.value) - within, 0.0) / error
        if off > score:
            worst, score = point, off
            shown = f"measured {point.gap.figure}, predicted {predicted.figure}"
            numbers = {"prediction": predicted.value, "simulation": point.gap.value, "stderr": error}
    assert worst is not None
    allowed = _allowed([point.gap for point, _, _ in pairs])
    detail = (
        f"farthest at T = {worst.temperature:.3g}: {shown}, {score:.2g} standard errors apart, {allowed:.3g} allowed"
        f" ({len(pairs)} of the temperatures)"
    )
    numbers |= {"T": worst.temperature, "standard errors apart": score, "allowed": allowed}
    return SweepVerdict(claim, score <= allowed, detail, True, numbers)


def _allowed(estimates: Sequence[Estimate | None]) -> float:
    """Return how many standard errors the farthest of some estimates may be off, by Student for few training sets."""
    fewest = min(estimate.num_samples for estimate in estimates if estimate is not None)
    return float(stats.t.isf(_CHANCE / 2 / len(estimates), fewest - 1))


def across(groups: Sequence[SweepGroup], N: int, pool: int) -> list[SweepVerdict]:
    """Return the verdicts on several groups together: conversion between drawings, and collapse in T/(1 − μ)."""
    verdicts = []
    by_name = {(group.optimizer, group.drawing): group for group in groups}
    for (optimizer, drawing), group in by_name.items():
        other = by_name.get((optimizer, "overlap"))
        if drawing == "split" and other is not None:
            verdicts.append(_conversion(optimizer, group, other, 1 - N / pool))
    for drawing, schedule in dict.fromkeys((group.drawing, group.schedule) for group in groups):
        members = [group for group in groups if (group.drawing, group.schedule) == (drawing, schedule)]
        points = [point for group in members for point in group.points if not point.diverged and point.test is not None]
        if len(members) > 1:
            verdicts += _of_collapse(f"{drawing}, {schedule}", "T/(1 − μ)", points)
    return verdicts


def _conversion(optimizer: str, split: SweepGroup, overlap: SweepGroup, factor: float) -> SweepVerdict:
    claim = f"{optimizer}: the overlapping gap is 1 − N/M of the split one"
    scores, found = [], []
    for one, other in zip(split.points, overlap.points, strict=True):
        if not one.diverged and not other.diverged:
            off = Estimate.from_replicates(other.samples["mean_gap"] - factor * one.samples["mean_gap"])
            scores.append(abs(off.value) / off.stderr if off.stderr else 0.0)
            found.append(off)
    if not scores:
        return SweepVerdict(claim, None, "runs diverged", True)
    allowed = _allowed(found)
    detail = f"on the same runs at most {max(scores):.2g} standard errors off, {allowed:.3g} allowed"
    numbers = {"standard errors apart": max(scores), "allowed": allowed, "of": float(len(scores))}
    return SweepVerdict(claim, max(scores) <= allowed, detail, True, numbers)


def _of_collapse(where: str, name: str, points: list[SweepPoint]) -> list[SweepVerdict]:
    """Return the verdict that some temperature decides the test loss alone; none where no two points share one."""
    temperatures = [point.temperature if name == "T" else point.effective_temperature for point in points]
    found = collapsed(temperatures, points)
    if found is None:
        return []
    worst = points[found.worst]
    detail = (
        f"χ² = {found.chi2:.3g}, {found.dof} degrees of freedom, p = {found.pvalue:.2g}; farthest is "
        f"λ={worst.learning_rate:g}, B={worst.B}, T = {worst.temperature:.3g}, by {found.distance:.2g} standard errors"
    )
    numbers = {"chi2": found.chi2, "dof": float(found.dof), "p": found.pvalue}
    claim = f"{where}: the test loss depends on {name} alone"
    return [SweepVerdict(claim, found.pvalue >= _CHANCE, detail, numbers=numbers)]
