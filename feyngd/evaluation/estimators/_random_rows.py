"""Rows of examples that are paired at random."""

from collections.abc import Sequence

import jax
import numpy as np

from ..engine import Rows
from ..planning import TEST


def random_rows(key: jax.Array, replicate: int, positions: Sequence[int], num_examples: int, num_test: int) -> Rows:
    """Return one random pairing: every position holds an independent uniformly random permutation of the examples.

    Position 0 stays in order; combinations of examples are uniform without moving it. The test examples, whose number
    may differ, are permuted as often as needed to fill all rows. The permutation of a position does not depend on the
    other positions, so all numbers of one replicate share their draws.
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
