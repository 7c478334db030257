"""Rows of examples: pairings at random, and all combinations."""

from collections.abc import Iterator, Sequence
from itertools import product

import jax
import numpy as np

from ._expressions import TEST

Rows = dict[int, np.ndarray]


def pairing(key: jax.Array, replicate: int, positions: Sequence[int], num_examples: int, num_test: int) -> Rows:
    """Return one random pairing: every position holds an independent uniformly random permutation of the examples.

    Position 0 stays in order; combinations of examples are uniform without moving it. The test examples, whose number
    may differ, are permuted as often as needed to fill all rows. A position gets the same permutation in whatever
    company it is drawn, so that all numbers of one replicate share their draws.
    """
    key = jax.random.fold_in(key, replicate)
    rows: Rows = {}
    for position in positions:
        if position == 0:
            rows[position] = np.arange(num_examples)
            continue
        size = num_test if position == TEST else num_examples
        rng = np.random.default_rng(np.asarray(jax.random.bits(jax.random.fold_in(key, position + 1), (4,))).tolist())
        turns = -(-num_examples // size)
        rows[position] = np.concatenate([rng.permutation(size) for _ in range(turns)])[:num_examples]
    return rows


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
