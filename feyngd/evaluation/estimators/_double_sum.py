"""The double sum: the exact average over all combinations of examples, for small data."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import jax
import numpy as np

from ..engine import Engine, Rows
from ..planning import TEST, Number, positions_of
from ._estimator import Cost, Estimator, Setting, Split


class DoubleSum(Estimator):
    """Takes every number; with M examples, k positions cost M^(k−1) passes."""

    name = "double-sum"

    def takes(self, number: Number, setting: Setting) -> bool:
        """Whether it can average a number: always."""
        return True

    def cost(self, numbers: Sequence[Number], setting: Setting) -> Cost:
        """Return what it takes to average numbers together."""
        sizes = setting.num_examples, setting.num_test_examples
        return Cost(once=sum(num_shifts(positions, *sizes) for positions in _by_positions(numbers)), each=0)

    def split(
        self,
        numbers: Sequence[Number],
        setting: Setting,
        engine: Engine,
        key: jax.Array | None,
        advance: Callable[[], None],
    ) -> dict[Number, Split]:
        """Compute the averages; nothing is left to sample."""
        splits: dict[Number, Split] = {}
        for positions, group in _by_positions(numbers).items():
            sums, count = np.zeros(len(group)), 0
            for rows in all_rows(positions, *engine.sizes):
                averages = engine.rows(group, rows)
                sums, count = sums + [averages[number] for number in group], count + 1
                advance()
            splits |= {number: Split(fixed=float(v)) for number, v in zip(group, sums / count, strict=True)}
        return splits


def num_shifts(positions: Sequence[int], num_examples: int, num_test: int) -> int:
    """Return how many passes go through all combinations of examples."""
    data = [position for position in positions if position != TEST]
    return int(num_examples ** (len(data) - 1) * (num_test if TEST in positions else 1))


def all_rows(positions: Sequence[int], num_examples: int, num_test: int) -> Iterator[Rows]:
    """Iterate over passes that together hold every combination of examples once, by cyclic shifts of the positions."""
    first, *others = (position for position in positions if position != TEST)
    order = np.arange(num_examples)
    for shifts in product(range(num_examples), repeat=len(others)):
        rows = {first: order} | {p: (order + shift) % num_examples for p, shift in zip(others, shifts, strict=True)}
        if TEST not in positions:
            yield rows
            continue
        for test in range(num_test):
            yield rows | {TEST: np.full(num_examples, test)}


def _by_positions(numbers: Sequence[Number]) -> dict[tuple[int, ...], tuple[Number, ...]]:
    """Group numbers by the positions of their examples, so that a group shares its passes."""
    groups: dict[tuple[int, ...], tuple[Number, ...]] = {}
    for number in numbers:
        positions = positions_of([number])
        groups[positions] = (*groups.get(positions, ()), number)
    return groups
