"""Rows of examples that are paired at random."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ..engine import Rows
from ..planning import TEST


def random_rows(
    key: jax.Array,
    replicate: int,
    positions: Sequence[int],
    num_examples: int,
    num_test: int,
    filler: np.random.Generator | None = None,
) -> Rows:
    """Return one random pairing: every position holds an independent uniformly random permutation of the examples.

    Position 0 stays in order; combinations of examples are uniform without moving it. The test examples, whose number
    may differ, are permuted as often as needed to fill all rows. The permutation of a position does not depend on the
    other positions, so all numbers of one replicate share their draws.

    Args:
        key: the random key of the whole evaluation.
        replicate: the number of the replicate.
        positions: the positions that are wanted.
        num_examples: the number of examples, and of rows.
        num_test: the number of test examples.
        filler: what draws the test examples of the last rows, which are too few for all of them; if `None`, it is drawn
            with the others.
    """
    rows: Rows = {}
    for position in positions:
        if position == 0:
            rows[position] = np.arange(num_examples)
            continue
        size = num_test if position == TEST else num_examples
        rng = generator(key, replicate, position + 1)
        turns, left = divmod(num_examples, size)
        drawn = [rng.permutation(size) for _ in range(turns)]
        rows[position] = np.concatenate([*drawn, (rng if filler is None else filler).permutation(size)[:left]])
    return rows


def filler_of(key: jax.Array, replicate: int, *, twin: bool = False) -> np.random.Generator:
    """Return what fills up the rows of a replicate, with examples that are not the same for its twin."""
    return generator(key, replicate, 2**31 - 1 - twin)


def generator(key: jax.Array, *path: int) -> np.random.Generator:
    """Return NumPy's generator for a random key and a path of numbers: JAX would compile programs to draw."""
    words = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    return np.random.default_rng(np.random.SeedSequence(np.asarray(words).ravel().tolist(), spawn_key=path))
