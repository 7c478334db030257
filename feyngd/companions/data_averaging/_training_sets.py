"""Training sets of n examples from a pool of M, as counts: all of them with their probabilities, or drawn ones."""

import math
from itertools import combinations
from typing import Any

import jax
import numpy as np

from ..._arguments import check_integer
from ..._keys import check_key
from ...errors import ArgumentError

MOST = 20_000  # training sets that are gone through


def training_sets(
    pool: int, n: int, datasets: Any, *, distinct: bool, key: jax.Array | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return how often every example is in each training set, shape (datasets, M), and the sets' probabilities.

    Args:
        pool: M.
        n: the number of examples in a set.
        datasets: "all" for every set that can be drawn, or how many to draw.
        distinct: whether examples of a set differ; otherwise they are independent draws.
        key: a JAX random key, to draw them.

    Returns:
        The counts; and the probabilities, of sum 1, or `None` if the sets were drawn.

    Raises:
        ArgumentError: there are more than 20,000 sets, fewer than 2 are to be drawn, or a key is missing.
    """
    if isinstance(datasets, str) and datasets == "all":
        return _all_sets(pool, n, distinct)
    if isinstance(datasets, str):
        raise ArgumentError(f"datasets is 'all' or a number of training sets to draw; got {datasets!r}.")
    number = check_integer("datasets", datasets, least=2)
    check_key(key, "Training sets are drawn at random")
    assert key is not None
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,))).tolist())
    if not distinct:
        return rng.multinomial(n, np.full(pool, 1 / pool), size=number), None
    rows = rng.permuted(np.tile(np.arange(pool), (number, 1)), axis=1)[:, :n]
    counts = np.zeros((number, pool), dtype=int)
    np.put_along_axis(counts, rows, 1, axis=1)
    return counts, None


def _all_sets(pool: int, n: int, distinct: bool) -> tuple[np.ndarray, np.ndarray]:
    number = math.comb(pool, n) if distinct else math.comb(pool + n - 1, n)
    if number > MOST:
        raise ArgumentError(
            f"{n} examples from a pool of {pool} make {number:,} different training sets, and at most {MOST:,} are "
            "gone through: give datasets=200 and a key to draw some, or take fewer examples."
        )
    if distinct:
        counts = np.zeros((number, pool), dtype=int)
        for row, chosen in enumerate(combinations(range(pool), n)):
            counts[row, list(chosen)] = 1
        return counts, np.full(number, 1 / number)
    # Stars and bars: n stars between M − 1 bars.
    bars = np.array(list(combinations(range(pool + n - 1), pool - 1)), dtype=int).reshape(number, pool - 1)
    walls = np.hstack([np.full((number, 1), -1), bars, np.full((number, 1), pool + n - 1)])
    counts = np.diff(walls, axis=1) - 1
    factorials, everything = [math.factorial(k) for k in range(n + 1)], pool**n
    ways = [factorials[n] // math.prod(factorials[k] for k in row) for row in counts.tolist()]
    return counts, np.array([way / everything for way in ways])
