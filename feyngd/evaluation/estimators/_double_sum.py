"""Sums over all combinations of examples."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from ..engine import Rows
from ..planning import TEST


def num_shifts(positions: Sequence[int], num_examples: int, num_test: int) -> int:
    """Return how many sweeps go through all combinations of examples."""
    data = [position for position in positions if position != TEST]
    return int(num_examples ** (len(data) - 1) * (num_test if TEST in positions else 1))


def all_rows(positions: Sequence[int], num_examples: int, num_test: int) -> Iterator[Rows]:
    """Iterate over sweeps that together hold every combination of examples once, by cyclic shifts of the positions."""
    first, *others = (position for position in positions if position != TEST)
    order = np.arange(num_examples)
    for shifts in product(range(num_examples), repeat=len(others)):
        rows = {first: order} | {p: (order + shift) % num_examples for p, shift in zip(others, shifts, strict=True)}
        if TEST not in positions:
            yield rows
            continue
        for test in range(num_test):
            yield rows | {TEST: np.full(num_examples, test)}
