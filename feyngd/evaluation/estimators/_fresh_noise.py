"""Values where every use of an example draws noise anew: replicates, each with noise of its own throughout.

In a replicate every cell of a diagram has its own draw of the noise for every example. So averages over different
cells are independent given the examples, their products are unbiased, and so is every number. The spread of the
replicates is that of the noise and of the pairings together.
"""

import math
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import timedelta

import jax
import numpy as np

from ...estimates import PrecisionWarning
from ...progress import Progress
from ..engine import Engine
from ..planning import Number, Plan, part_of, positions_of
from ._random_rows import random_rows
from ._registry import FRESH_NOISE

_MOST = 256  # replicates without a budget
_LEAST = 8  # replicates before a standard error is trusted
_LEAST_ROWS = 512  # of a replicate: few examples get several draws of the noise
_SAFETY = 1.2  # replicates beyond what the standard error asks for, as it is uncertain itself
_ROUNDS = 4

Excess = Callable[[Mapping[Number, np.ndarray]], float]


class FreshNoiseSampler:
    """Averages all numbers of a plan over independent draws of the noise.

    Args:
        plan: the plan.
        excess: by how much the variance exceeds what is allowed, from replicates of the numbers; `None` if nothing is
            asked for.
        least: the least number of replicates.
        budget: how much to spend at most, in gradients or as a `timedelta`.
        warns: whether to warn where more is asked for than was reached.

    Attributes:
        sampled: the numbers whose averages are sampled, which needs a random key: all of them.
    """

    def __init__(
        self,
        plan: Plan,
        excess: Excess | None,
        *,
        least: int,
        budget: float | timedelta | None = None,
        warns: bool = False,
    ) -> None:
        self._plan, self._excess, self._budget, self._warns = plan, excess, budget, warns
        self._least = max(2, least) if excess is None else max(_LEAST, least)
        self.sampled = plan.all_numbers

    def estimate(
        self, engine: Engine, progress: Progress, key: jax.Array | None
    ) -> tuple[dict[Number, np.ndarray], dict[Number, str]]:
        """Return the averages of all numbers, arrays of replicates, and their kinds."""
        assert key is not None
        start, rows = time.perf_counter(), {number: [] for number in self._plan.all_numbers}  # type: ignore[var-annotated]
        count = 0

        def draw(more: int) -> None:
            nonlocal count
            with progress.task(more, "draws of the noise") as task:
                for replicate in range(count, count + more):
                    for number, value in self._drawn(engine, key, replicate).items():
                        rows[number].append(value)
                    count += 1
                    task.advance()

        draw(self._least)
        if self._excess is not None:
            for _ in range(_ROUNDS):
                excess = self._excess({number: np.array(values) for number, values in rows.items()})
                wanted = math.ceil(min(_SAFETY * excess * count, 1e9))
                if wanted <= count or (more := min(wanted, self._most(count, start)) - count) <= 0:
                    break
                draw(more)
        replicates = {number: np.array(values) for number, values in rows.items()}
        if self._warns and self._excess is not None and (excess := self._excess(replicates)) > 1:
            warnings.warn(
                f"The sampling error is {math.sqrt(excess):.2g} times what was asked for: raise the budget or ask for "
                "less.",
                PrecisionWarning,
                stacklevel=5,
            )
        return replicates, dict.fromkeys(rows, FRESH_NOISE)

    def _most(self, count: int, start: float) -> int:
        if isinstance(self._budget, timedelta):
            spent = time.perf_counter() - start
            return count + max(0, int((self._budget.total_seconds() - spent) / spent * count))
        if self._budget is not None:
            return int(self._budget / (self._plan.exact_cost + self._plan.pass_cost))
        return _MOST

    def _drawn(self, engine: Engine, key: jax.Array, replicate: int) -> dict[Number, float]:
        plan, draws = self._plan, -(-_LEAST_ROWS // max(1, *engine.sizes))
        fresh = engine.with_noise(jax.random.fold_in(key, replicate), plan.all_positions, draws)
        fresh.average(plan.means)
        found = fresh.exact(plan.exact)
        if plan.paired:
            positions = positions_of(plan.paired)
            parts = sorted({part_of(position) for position in positions})
            pairings = [random_rows(key, replicate * draws + draw, parts, *engine.sizes) for draw in range(draws)]
            rows = {
                position: fresh.uses(position, [examples[part_of(position)] for examples in pairings])
                for position in positions
            }
            found |= fresh.rows(plan.paired, rows)
        return found
