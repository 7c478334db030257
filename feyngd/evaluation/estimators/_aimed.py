"""The aimed sampler: draws until goals are met, which say how precise combinations of values have to be.

It starts with one twin pairing. The covariance over all numbers says how many more the goals need. Where they need
many, the numbers that matter may be better off with another estimator; where few numbers matter, only those are drawn
further. The number of twins is found from their standard error. That has many degrees of freedom, so that stopping
where it happens to be small costs next to no coverage (benchmarks/coverage.py).
"""

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import jax
import numpy as np

from ...estimates import PrecisionWarning
from ...progress import Progress
from ..engine import Engine
from ..planning import Number, Plan
from ._estimator import Cost, Estimator, Setting
from ._goals import Goal, Goals
from ._grouping import by_estimator, do_nothing, split_all
from ._registry import ESTIMATORS, EXACT
from ._twins import Twins

MOST_TWINS = 128  # without a budget
# Rows of the first twins: products of gradients have heavy tails, whose spread few rows do not show.
_LEAST_ROWS = 1500
_LEAST_GROUPS = 12  # degrees of freedom before a standard error is trusted
_SAFETY = 1.2  # twins beyond what the standard error asks for, as it is uncertain itself
_ROUNDS = 4  # of drawing what is missing
# What a number adds to the variance, as a part of what is allowed: from where on another estimator is tried for it, and
# up to where it needs no further twins.
_MATTERS, _IS_NEGLIGIBLE = 0.1, 1e-4
_MANY_TWINS = 8  # for which a smaller program is worth compiling


@dataclass(frozen=True)
class Aim:
    """What precision is wanted, and what it may cost.

    Attributes:
        goals: gives the goals, from the values so far.
        budget: how much to spend at most, in gradients or as a `timedelta`; `None` for up to 128 twins.
        least: the least number of twins.
        warns: whether to warn where a goal is not met.
    """

    goals: Goals
    budget: float | timedelta | None = None
    least: int = 1
    warns: bool = False


class AimedSampler:
    """Averages all numbers of a plan, as precisely as goals need it.

    Args:
        plan: the plan.
        setting: what is known before anything is computed.
        aim: the goals and the budget.

    Attributes:
        sampled: the numbers whose averages are sampled, which needs a random key.
    """

    def __init__(self, plan: Plan, setting: Setting, aim: Aim) -> None:
        self._plan, self._setting, self._aim = plan, setting, aim
        self._chosen = {number: self._first_choice(number) for number in plan.paired}
        self.sampled = tuple(n for n, estimator in self._chosen.items() if not self._cost(estimator, n).is_exact)
        self._exact: dict[Number, np.ndarray] = {}

    def estimate(
        self, engine: Engine, progress: Progress, key: jax.Array | None
    ) -> tuple[dict[Number, np.ndarray], dict[Number, str]]:
        """Return the averages of all numbers, arrays of replicates or of one exact number, and their kinds."""
        start = time.perf_counter()
        plan = self._plan
        sampled = {number: self._chosen[number] for number in self.sampled}
        summed = {number: estimator for number, estimator in self._chosen.items() if number not in sampled}
        groups = by_estimator(summed)
        passes = sum(estimator.cost(numbers, self._setting).once for estimator, numbers in groups.items())
        first = self._least_twins() if sampled else 0
        with progress.task((1 if plan.exact else 0) + int(passes) + 2 * first, "values of diagrams") as task:
            engine.average(plan.means)
            twins = Twins(engine, split_all(by_estimator(sampled), self._setting, engine, key, do_nothing), key)
            with twins.compiling():
                exact = engine.exact(plan.exact)
            if plan.exact:
                task.advance()
            sums = split_all(groups, self._setting, engine, key, task.advance)
            exact |= {number: split.fixed for number, split in sums.items()}
            self._exact = {number: np.array([value]) for number, value in exact.items()}
            if sampled:
                twins.add(first, task.advance)
        if sampled:
            self._draw_more(twins, engine, progress, key, start)
        kinds = dict.fromkeys(plan.exact, EXACT) | {n: estimator.kind for n, estimator in self._chosen.items()}
        return self._exact | twins.replicates, kinds

    def _draw_more(self, twins: Twins, engine: Engine, progress: Progress, key: jax.Array | None, start: float) -> None:
        """Draw until the goals are met, or the budget is spent."""
        most = self._most_twins(twins, start)
        missing = min(self._missing(twins), most - twins.count)
        if missing > 0:
            self._choose(twins, engine, key, missing)
        for _ in range(_ROUNDS):
            more = min(self._missing(twins), most - twins.count)
            if more <= 0:
                break
            with progress.task(2 * more, "more pairings") as task:
                twins.add(more, task.advance, self._worth_drawing(twins, more))
        if self._aim.warns and (excess := self._excess(twins)) > 1:
            warnings.warn(
                f"The sampling error is {math.sqrt(excess):.2g} times what was asked for: raise the budget or ask for "
                "less.",
                PrecisionWarning,
                stacklevel=5,
            )

    def _first_choice(self, number: Number) -> Estimator:
        """Return what a number starts with: the cheapest that needs no preparation or leaves nothing to sample."""
        costs = {estimator: self._cost(estimator, number) for estimator in ESTIMATORS}
        return min(
            (e for e, cost in costs.items() if (cost.once == 0 or cost.is_exact) and e.takes(number, self._setting)),
            key=lambda estimator: costs[estimator].total(2 * self._least_twins()),
        )

    def _least_twins(self) -> int:
        """Return how many twins have enough rows and chunks for a standard error."""
        count = self._setting.num_examples
        return max(self._aim.least, -(-_LEAST_ROWS // count), -(-_LEAST_GROUPS // Twins.chunks(count)))

    def _most_twins(self, twins: Twins, start: float) -> int:
        budget = self._aim.budget
        if isinstance(budget, timedelta):
            left = budget.total_seconds() - (time.perf_counter() - start)
            return twins.count + max(0, int(left / twins.seconds_per_twin))
        if budget is not None:
            return int((budget - self._plan.exact_cost) / (2 * self._plan.pass_cost))
        return MOST_TWINS

    def _goals(self, twins: Twins) -> tuple[Sequence[Goal], dict]:
        values = self._plan.combine(self._exact | twins.replicates)
        return self._aim.goals(values), values

    def _excess(self, twins: Twins) -> float:
        """Return by how much the variance exceeds what is allowed, for the goal that is worst off."""
        goals, values = self._goals(twins)
        return max((goal.excess(values) for goal in goals), default=0.0)

    def _missing(self, twins: Twins) -> int:
        """Return how many more twins the goals need."""
        excess = self._excess(twins)
        if excess <= 1:
            return 0
        return max(1, math.ceil(min(_SAFETY * excess * twins.count, 1e9)) - twins.count)

    def _shares(self, twins: Twins) -> dict[Number, float]:
        """Return what every number adds to the variance, as a part of what is allowed, for the goal it matters most."""
        goals, _ = self._goals(twins)
        shares: dict[Number, float] = dict.fromkeys(self.sampled, 0.0)
        for goal in goals:
            weights = self._plan.by_number(goal.weights)
            for number in self.sampled:
                error = weights.get(number, 0.0) * twins.stderr(number)
                if error:
                    part = (error / goal.allowed) ** 2 if goal.allowed > 0 else np.inf
                    shares[number] = max(shares[number], part)
        return shares

    def _worth_drawing(self, twins: Twins, more: int) -> tuple[Number, ...]:
        """Return the numbers that need further twins: all of them, unless a smaller pass is worth a program."""
        shares = self._shares(twins)
        needed = tuple(number for number in self.sampled if shares[number] > _IS_NEGLIGIBLE)
        is_worth = more >= _MANY_TWINS and 2 * self._plan.pass_cost_of(needed) < self._plan.pass_cost_of(self.sampled)
        return needed if is_worth else self.sampled

    def _choose(self, twins: Twins, engine: Engine, key: jax.Array | None, missing: int) -> None:
        """Move numbers that matter to other estimators, where that is cheaper than the twins that are missing."""
        first = dict(self._chosen)
        for estimator in ESTIMATORS:
            shares = self._shares(twins)
            candidates = tuple(
                number
                for number in self.sampled
                if self._chosen[number] is first[number]
                and shares[number] > _MATTERS
                and estimator is not first[number]
                and estimator.takes(number, self._setting)
                and estimator.is_worth_preparing(self._setting)
            )
            if not candidates:
                continue
            cost = estimator.cost(candidates, self._setting)
            if cost.once + 2 * twins.count * cost.each >= 2 * missing:
                continue
            self._move(candidates, estimator, twins, engine, key)
            missing = min(self._missing(twins), missing)
            if missing <= 0:
                return

    def _move(
        self, numbers: Sequence[Number], estimator: Estimator, twins: Twins, engine: Engine, key: jax.Array | None
    ) -> None:
        splits = estimator.split(numbers, self._setting, engine, key, do_nothing)
        again = twins.redrawn(splits)
        for number in numbers:
            # The error that the same work would leave.
            before = twins.stderr(number) * self._cost(self._chosen[number], number).each ** 0.5
            after = again.stderr(number) * self._cost(estimator, number).each ** 0.5
            if after < before:
                twins.take_over(again, number)
                self._chosen[number] = estimator

    def _cost(self, estimator: Estimator, number: Number) -> Cost:
        return estimator.cost([number], self._setting)
