"""How many pairings, and which estimator: decided by a pilot's measured errors."""

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import jax
import numpy as np

from ...errors import ArgumentError
from ...estimates import PrecisionWarning
from ...progress import Progress
from ..engine import Engine, Rows
from ..planning import TEST, Number, Plan, means_below
from ._deflation import Deflation, deflatable, is_worth_trying
from ._double_sum import all_rows, num_shifts
from ._effort import Effort
from ._pairing import pairing
from ._strata import Strata, stratified_position

ESTIMATORS = ("auto", "pairing", "deflation", "double-sum")
_MOST_PAIRINGS = 256  # with rtol and without a budget
_MOST_SHIFTS = 100_000
_NOISY = 0.01  # relative standard error from which deflation and strata are tried
_FEW = 8  # examples that are not worth splitting


def is_summed(number: Number, engine_sizes: tuple[int, int], estimator: str, replicates: int) -> bool:
    """Return whether a number is summed over all combinations of examples.

    Raises:
        ArgumentError: the double sum is asked for and would take too long.
    """
    if estimator not in ("auto", "double-sum"):
        return False
    shifts = num_shifts(tuple(number.positions), *engine_sizes)
    if estimator == "auto":
        return shifts <= replicates
    if shifts > _MOST_SHIFTS:
        raise ArgumentError(
            f"The double sum of {number} goes {shifts:.1e} times over the data, the limit is {_MOST_SHIFTS:.0e}: use "
            "estimator='auto', or fewer examples."
        )
    return True


def sampled_number(plan: Plan, engine_sizes: tuple[int, int], estimator: str, replicates: int) -> Number | None:
    """Return a number that is sampled, if any; raise what `is_summed` raises."""
    rest = [number for number in plan.paired if not is_summed(number, engine_sizes, estimator, replicates)]
    return rest[0] if rest else None


def estimate_numbers(
    engine: Engine, plan: Plan, estimator: str, effort: Effort, progress: Progress, key: jax.Array | None
) -> tuple[dict[Number, np.ndarray], dict[Number, str]]:
    """Return the averages of all numbers of a plan, arrays of replicates or of one number, and how they are found."""
    summed = [n for n in plan.paired if is_summed(n, engine.sizes, estimator, effort.replicates)]
    paired = [number for number in plan.paired if number not in summed]
    steps = (1 if plan.exact else 0) + _num_shifts(engine, summed) + (effort.replicates if paired else 0)
    start = time.perf_counter()
    with progress.task(steps, "values of diagrams") as task:
        engine.average(plan.means)
        with engine.compiling(paired, _ordered(frozenset().union(*(number.positions for number in paired)))):
            found = {number: np.array([value]) for number, value in engine.exact(plan.exact).items()}
        kinds = dict.fromkeys(found, "exact")
        if plan.exact:
            task.advance()
        for positions, group in _by_positions(summed).items():
            sums, count = np.zeros(len(group)), 0
            for rows in all_rows(positions, *engine.sizes):
                averages = engine.rows(group, rows)
                sums, count = sums + [averages[number] for number in group], count + 1
                task.advance()
            found |= {number: np.array([value]) for number, value in zip(group, sums / count, strict=True)}
            kinds |= dict.fromkeys(group, "double sum")
        if not paired:
            return found, kinds
        assert key is not None
        sampler = _Sampler(engine, plan, paired, key, estimator)
        pilot = max(2, effort.replicates // 2)
        sampler.draw(pilot, task.advance)
        sampler.choose()
        sampler.draw(effort.replicates - pilot, task.advance)
    if effort.is_open:
        more = _more(plan, found, sampler, effort, start)
        if effort.rtol is not None and more > 1:
            sampler.start_anew()
        with progress.task(more, "more pairings") as task:
            sampler.draw(more, task.advance)
        _warn_if_imprecise(plan, found | sampler.replicates, effort)
    return found | sampler.replicates, kinds | sampler.kinds


class _Sampler:
    """Draws replicates of all interleaved numbers together, each by the better of its estimators."""

    def __init__(self, engine: Engine, plan: Plan, numbers: Sequence[Number], key: jax.Array, estimator: str) -> None:
        self._engine, self._numbers, self._key, self._estimator = engine, tuple(numbers), key, estimator
        self._ways = {number: plan.ways[number] for number in numbers}
        self._deflation: Deflation | None = None
        self._strata: Strata | None = None
        self._stratified: tuple[Number, ...] = ()
        self._exact: dict[Number, float] = {}
        self._rows: dict[Number, list[float]] = {number: [] for number in numbers}
        self._first = 0
        self.seconds_per_draw = math.inf

    @property
    def replicates(self) -> dict[Number, np.ndarray]:
        """The replicates so far."""
        sampled = {number: np.array(self._rows[number]) for number in self._numbers}
        return sampled | {number: np.array([value]) for number, value in self._exact.items()}

    @property
    def kinds(self) -> dict[Number, str]:
        """How every number is estimated."""
        deflated = self._deflation.ways if self._deflation else ()
        kinds = {number: "deflation" if number in deflated else "pairing" for number in self._numbers}
        kinds |= dict.fromkeys(self._stratified, "strata")
        return kinds | dict.fromkeys(self._exact, "deflation")

    @property
    def count(self) -> int:
        """The number of replicates so far."""
        return max(map(len, self._rows.values()))

    def start_anew(self) -> None:
        """Forget the replicates so far, and draw others from now on.

        A number of replicates that was found from replicates, and joins them, stops where they happen to lie close
        together: their spread would be too small.
        """
        self._first += self.count
        self._rows = {number: [] for number in self._rows}

    def draw(self, count: int, advance: object) -> None:
        """Draw more replicates."""
        if not self._numbers:
            return
        first = self._first + self.count
        for replicate in range(first, first + count):
            start = time.perf_counter()
            for number, value in self._one(replicate, self._numbers, self._deflation).items():
                self._rows[number].append(value)
            # The first draw compiles; the fastest one tells what a draw takes.
            self.seconds_per_draw = min(self.seconds_per_draw, time.perf_counter() - start)
            advance()  # type: ignore[operator]

    def choose(self) -> None:
        """Deflate or stratify numbers for which it was asked, or measured to be better; draw their replicates again."""
        if self._estimator != "pairing":
            self._deflate()
            self._stratify()

    def _deflate(self) -> None:
        candidates = {
            number: way
            for number in self._numbers
            if (way := deflatable(self._ways[number])) is not None
            and (self._estimator == "deflation" or _relative_error(self._rows[number]) > _NOISY)
        }
        if not candidates or (self._estimator == "auto" and not is_worth_trying(self._engine)):
            return
        for way in candidates.values():
            self._engine.average(means_below(way))
        deflation = Deflation(self._engine, candidates, self._key)
        if deflation.is_complete:
            self._exact = dict(deflation.exact)
            self._numbers = tuple(number for number in self._numbers if number not in self._exact)
            return
        again = self._again(lambda replicate: self._one(replicate, tuple(candidates), deflation))
        better = self._better(again)
        if better:
            self._deflation = deflation.only(better)
            self._rows |= {number: again[number] for number in better}

    def _stratify(self) -> None:
        deflated = self._deflation.ways if self._deflation else ()
        candidates = tuple(
            number
            for number in self._numbers
            if number not in deflated
            and stratified_position(number) is not None
            and _relative_error(self._rows[number]) > _NOISY
        )
        if not candidates or self._engine.sizes[0] < _FEW:
            return
        strata = Strata(self._engine, candidates)
        again = self._again(lambda replicate: self._light(replicate, candidates, strata))
        better = self._better(again)
        if better:
            self._strata, self._stratified = strata, better
            self._rows |= {number: again[number] for number in better}

    def _again(self, draw: Callable[[int], dict[Number, float]]) -> dict[Number, list[float]]:
        found: dict[Number, list[float]] = {}
        for replicate in range(self.count):
            for number, value in draw(replicate).items():
                found.setdefault(number, []).append(value)
        return found

    def _better(self, again: Mapping[Number, list[float]]) -> tuple[Number, ...]:
        return tuple(n for n in again if self._estimator != "auto" or np.std(again[n]) < np.std(self._rows[n]))

    def _one(self, replicate: int, numbers: Sequence[Number], deflation: Deflation | None) -> dict[Number, float]:
        if self._strata and (split := tuple(n for n in numbers if n in self._stratified)):
            others = tuple(number for number in numbers if number not in split)
            light = self._light(replicate, split, self._strata)
            return (self._one(replicate, others, deflation) if others else {}) | light
        rest = [number if deflation is None else deflation.residual(number) for number in numbers]
        values = self._engine.rows(tuple(rest), self._pairing(replicate, rest))
        shift = {} if deflation is None else deflation.exact
        return {number: values[r] + shift.get(number, 0.0) for number, r in zip(numbers, rest, strict=True)}

    def _light(self, replicate: int, numbers: Sequence[Number], strata: Strata) -> dict[Number, float]:
        found = {}
        for number in numbers:
            rows = strata.rest(number, self._pairing(replicate, [number]))
            found[number] = strata.exact[number] + strata.share * self._engine.rows((number,), rows)[number]
        return found

    def _pairing(self, replicate: int, numbers: Sequence[Number]) -> Rows:
        positions = _ordered(frozenset().union(*(number.positions for number in numbers)))
        return pairing(self._key, replicate, positions, *self._engine.sizes)


def _ordered(positions: frozenset[int]) -> tuple[int, ...]:
    return tuple(sorted(positions, key=lambda position: (position == TEST, position)))


def _by_positions(numbers: Sequence[Number]) -> dict[tuple[int, ...], tuple[Number, ...]]:
    """Group numbers by the positions of their examples, so that a group shares its sweeps."""
    groups: dict[tuple[int, ...], tuple[Number, ...]] = {}
    for number in numbers:
        positions = _ordered(number.positions)
        groups[positions] = (*groups.get(positions, ()), number)
    return groups


def _num_shifts(engine: Engine, summed: Sequence[Number]) -> int:
    return sum(num_shifts(positions, *engine.sizes) for positions in _by_positions(summed))


def _relative_error(rows: Sequence[float]) -> float:
    error = float(np.std(rows, ddof=1)) / len(rows) ** 0.5
    return error / abs(float(np.mean(rows))) if error else 0.0


def _worst(plan: Plan, numbers: Mapping[Number, np.ndarray]) -> float:
    """Return the largest relative standard error among the values."""
    rows = [rows for rows in plan.combine(dict(numbers)).values() if len(rows) > 1]
    with np.errstate(divide="ignore"):
        return max((_relative_error(row.tolist()) for row in rows), default=0.0)


def _more(plan: Plan, found: dict[Number, np.ndarray], sampler: _Sampler, effort: Effort, start: float) -> int:
    """Return how many replicates to draw after the first ones: as the precision needs, and the budget allows."""
    done = sampler.count
    allowed = float(_MOST_PAIRINGS)
    if isinstance(effort.budget, timedelta):
        left = effort.budget.total_seconds() - (time.perf_counter() - start)
        allowed = left / sampler.seconds_per_draw
    elif effort.budget is not None:
        allowed = (effort.budget - plan.exact_cost) / plan.pass_cost - done
    if effort.rtol is not None:
        # A tenth more than the measured errors ask for, as they are uncertain themselves.
        wanted = 1.1 * done * (_worst(plan, found | sampler.replicates) / effort.rtol) ** 2
        allowed = min(allowed, max(wanted, effort.replicates))
    return max(0, int(allowed))


def _warn_if_imprecise(plan: Plan, numbers: dict[Number, np.ndarray], effort: Effort) -> None:
    worst = _worst(plan, numbers)
    if effort.rtol is not None and worst > effort.rtol:
        warnings.warn(
            f"A value has the relative standard error {worst:.2g}, more than rtol={effort.rtol:g}: raise the budget "
            "or ask for less. Values that are zero by symmetry never reach a relative error.",
            PrecisionWarning,
            stacklevel=4,
        )
