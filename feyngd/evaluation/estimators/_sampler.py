"""The sampler: asks the estimators which of them suits a number best, and decides how many replicates are drawn."""

import time
import warnings
from collections.abc import Mapping, Sequence
from datetime import timedelta

import jax
import numpy as np

from ...errors import ArgumentError
from ...estimates import PrecisionWarning
from ...progress import Progress
from ..engine import Engine
from ..planning import Number, Plan
from ._draws import Draws, relative_error
from ._effort import Effort
from ._estimator import Cost, Estimator, Setting
from ._grouping import by_estimator, do_nothing, split_all
from ._registry import ESTIMATORS, EXACT

_MOST_REPLICATES = 256  # with rtol and without a budget
_MOST_PASSES = 100_000  # of an exact estimator that is asked for by name
_NOISY = 0.01  # relative standard error of a pilot above which other estimators are tried


class Sampler:
    """Averages all numbers of a plan, each by the estimator that suits it best.

    Args:
        plan: the plan.
        setting: what is known before anything is computed.
        asked: the name of the estimator that was asked for, or "auto".
        effort: how much to spend.

    Attributes:
        sampled: the numbers whose averages are sampled, which needs a random key.

    Raises:
        ArgumentError: an exact estimator is asked for and would take too long.
    """

    def __init__(self, plan: Plan, setting: Setting, asked: str, effort: Effort) -> None:
        self._plan, self._setting, self._effort = plan, setting, effort
        self._asked = next((estimator for estimator in ESTIMATORS if estimator.name == asked), None)
        self._chosen = {number: self._first_choice(number) for number in plan.paired}
        self.sampled = tuple(n for n, estimator in self._chosen.items() if not self._cost(estimator, n).is_exact)
        self._sampled_by = by_estimator({number: self._chosen[number] for number in self.sampled})
        self._summed_by = by_estimator({n: e for n, e in self._chosen.items() if n not in self.sampled})

    def estimate(
        self, engine: Engine, progress: Progress, key: jax.Array | None
    ) -> tuple[dict[Number, np.ndarray], dict[Number, str]]:
        """Return the averages of all numbers, arrays of replicates or of one exact number, and their kinds."""
        start = time.perf_counter()
        plan, effort = self._plan, self._effort
        passes = sum(estimator.cost(numbers, self._setting).once for estimator, numbers in self._summed_by.items())
        steps = (1 if plan.exact else 0) + int(passes) + (effort.replicates if self.sampled else 0)
        with progress.task(steps, "values of diagrams") as task:
            engine.average(plan.means)
            splits = split_all(self._sampled_by, self._setting, engine, key, do_nothing)
            draws = Draws(engine, {number: splits[number] for number in plan.paired if number in splits}, key)
            with draws.compiling():
                exact = engine.exact(plan.exact)
            if plan.exact:
                task.advance()
            sums = split_all(self._summed_by, self._setting, engine, key, task.advance)
            exact |= {number: split.fixed for number, split in sums.items()}
            if self.sampled:
                pilot = max(2, effort.replicates // 2)
                draws.add(pilot, task.advance)
                self._choose(draws, engine, key)
                draws.add(effort.replicates - pilot, task.advance)
        found = {number: np.array([value]) for number, value in exact.items()}
        if self.sampled and effort.is_open:
            more = _more(plan, found, draws, effort, start)
            if effort.rtol is not None and more > 1:
                draws.start_over()
            with progress.task(more, "more pairings") as task:
                draws.add(more, task.advance)
            _warn_if_imprecise(plan, found | draws.replicates, effort)
        kinds = dict.fromkeys(plan.exact, EXACT) | {n: estimator.kind for n, estimator in self._chosen.items()}
        return found | draws.replicates, kinds

    def _first_choice(self, number: Number) -> Estimator:
        """Return what a number starts with: what was asked for if it needs no preparation, or else the cheapest."""
        asked = self._asked
        if asked is not None and asked.takes(number, self._setting):
            cost = self._cost(asked, number)
            if cost.is_exact and cost.once > _MOST_PASSES:
                raise ArgumentError(
                    f"The {asked.kind} of {number} goes {cost.once:.1e} times over the data, the limit is "
                    f"{_MOST_PASSES:.0e}: use estimator='auto', or fewer examples."
                )
            if cost.is_exact or cost.once == 0:
                return asked
        costs = {estimator: self._cost(estimator, number) for estimator in ESTIMATORS}
        return min(
            (
                estimator
                for estimator, cost in costs.items()
                if (cost.once == 0 or (cost.is_exact and asked is None)) and estimator.takes(number, self._setting)
            ),
            key=lambda estimator: costs[estimator].total(self._effort.replicates),
        )

    def _choose(self, draws: Draws, engine: Engine, key: jax.Array | None) -> None:
        """Move numbers to the estimator that was asked for, or to others for which they turn out to vary less."""
        if self._asked in self._chosen.values():
            return
        first = dict(self._chosen)
        # A number moves once: to the first estimator, in the order of the registry, that it is better off with.
        for estimator in sorted(ESTIMATORS, key=lambda estimator: estimator is not self._asked):
            candidates = tuple(
                number
                for number in self.sampled
                if self._chosen[number] is first[number] and self._is_candidate(estimator, number, draws)
            )
            if candidates:
                self._move(candidates, estimator, draws, engine, key)

    def _is_candidate(self, estimator: Estimator, number: Number, draws: Draws) -> bool:
        if estimator is self._chosen[number] or self._cost(estimator, number).is_exact:
            return False
        if not estimator.takes(number, self._setting):
            return False
        # What was asked for takes everything it can; others are tried only where the pilot is noisy.
        is_noisy = draws.relative_error(number) > _NOISY
        return estimator is self._asked or (is_noisy and estimator.is_worth_preparing(self._setting))

    def _move(
        self,
        numbers: Sequence[Number],
        estimator: Estimator,
        draws: Draws,
        engine: Engine,
        key: jax.Array | None,
    ) -> None:
        again = draws.redrawn(estimator.split(numbers, self._setting, engine, key, do_nothing))
        for number in numbers:
            # The error that the same work would leave: the spread over the square root of the replicates it buys.
            before = draws.spread(number) * self._cost(self._chosen[number], number).each ** 0.5
            after = again.spread(number) * self._cost(estimator, number).each ** 0.5
            if self._asked is not None or after < before:
                draws.take_over(again, number)
                self._chosen[number] = estimator

    def _cost(self, estimator: Estimator, number: Number) -> Cost:
        return estimator.cost([number], self._setting)


def _worst(plan: Plan, numbers: Mapping[Number, np.ndarray]) -> float:
    """Return the largest relative standard error among the values."""
    rows = [rows for rows in plan.combine(dict(numbers)).values() if len(rows) > 1]
    with np.errstate(divide="ignore"):
        return max((relative_error(row.tolist()) for row in rows), default=0.0)


def _more(plan: Plan, found: Mapping[Number, np.ndarray], draws: Draws, effort: Effort, start: float) -> int:
    """Return how many replicates to draw after the first: as many as the precision needs and the budget allows."""
    done = draws.count
    allowed = float(_MOST_REPLICATES)
    if isinstance(effort.budget, timedelta):
        left = effort.budget.total_seconds() - (time.perf_counter() - start)
        allowed = left / draws.seconds_per_draw
    elif effort.budget is not None:
        allowed = (effort.budget - plan.exact_cost) / plan.pass_cost - done
    if effort.rtol is not None:
        # A tenth more than the measured errors ask for, as they are uncertain themselves.
        wanted = 1.1 * done * (_worst(plan, {**found, **draws.replicates}) / effort.rtol) ** 2
        allowed = min(allowed, max(wanted, effort.replicates))
    return max(0, int(allowed))


def _warn_if_imprecise(plan: Plan, numbers: Mapping[Number, np.ndarray], effort: Effort) -> None:
    worst = _worst(plan, numbers)
    if effort.rtol is not None and worst > effort.rtol:
        warnings.warn(
            f"A value has the relative standard error {worst:.2g}, more than rtol={effort.rtol:g}: raise the budget "
            "or ask for less. Values that are zero by symmetry never reach a relative error.",
            PrecisionWarning,
            stacklevel=5,
        )
