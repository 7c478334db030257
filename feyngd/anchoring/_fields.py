"""Perturbations of a run: what stands for the noise of batches, as examples and their weights in every step.

Independent random signs of all examples, centred, the same in steps that are tied, have E d²/dε² = Σ_{s~t} E_x D_st
exactly. So have random signs of a random few of them. Real batches have all cumulants of the noise, which higher
orders need.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..spacetimes import Spacetime
from ._ties import Ties


def picked(data: Any, indices: jax.Array | None) -> Any:
    """Return some examples; all of them for `None`."""
    return data if indices is None else jax.tree.map(lambda leaf: leaf[indices], data)


def random_examples(key: jax.Array, data: Any, size: int | None) -> Any:
    """Return so many examples drawn independently, or all of them for `None`."""
    if size is None:
        return data
    return picked(data, jax.random.randint(key, (size,), 0, jax.tree.leaves(data)[0].shape[0]))


def random_signs(key: jax.Array, count: int, size: int | None, dtype: Any) -> tuple[jax.Array | None, jax.Array]:
    """Return so many of `count` examples, all of them being `None`, and weights w of theirs.

    On average Σ_x w_x f_x Σ_x w_x g_x is the covariance of f and g over all examples.
    """
    for_examples, for_signs = jax.random.split(key)
    among = count if size is None else size
    signs = jax.random.rademacher(for_signs, (among,), dtype)
    centred = signs - jnp.mean(signs)  # which centres the losses
    if size is None:
        return None, centred / count**0.5
    return jax.random.randint(for_examples, (size,), 0, count), centred / (size - 1) ** 0.5


@lru_cache(maxsize=16)
def sign_field(count: int, size: int | None) -> Callable[[Any], Any]:
    """Return a field of random signs: it is given keys of all replicates and their steps' labels."""

    def field(given: tuple[jax.Array, jax.Array]) -> Any:
        def signs(key: jax.Array, label: jax.Array) -> Any:
            indices, weights = random_signs(jax.random.fold_in(key, label), count, size, float)
            return jnp.arange(count) if indices is None else indices, weights

        return (*jax.vmap(signs)(*given), 0)

    return field


def tie_labels(ties: list[Ties], steps: int) -> np.ndarray:
    """Return a number for each of steps 0 to T, the same where they are tied, for every equivalence: (T + 1, S)."""
    labels = np.stack([np.append(one.labels(steps), 0) for one in ties], axis=1)
    # The measurement after the last step is that of the field of the last one: static fields stay the same.
    labels[-1] = labels[-2] if steps else 0
    return labels


def sign_steps(ties: list[Ties], keys: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
    """Return what `sign_field` is given in steps 0 to T, for every replicate of every equivalence of steps.

    Args:
        ties: the equivalences, S of them.
        keys: keys of the replicates, shape (R,); they serve all equivalences.
        steps: T.

    Returns:
        Keys and labels, of shape (T + 1, S·R): replicates of the first equivalence come first.
    """
    every = jnp.tile(keys, len(ties))
    repeated = np.repeat(tie_labels(ties, steps), len(keys), axis=1)
    return jnp.broadcast_to(every, (steps + 1, *every.shape)), jnp.asarray(repeated)


@lru_cache(maxsize=16)
def batch_field(size: int) -> Callable[[Any], Any]:
    """Return a field of real batches: it is given the examples of every replicate's batch, shape (R, B)."""

    def field(batches: jax.Array) -> Any:
        return batches, jnp.full(batches.shape, 1 / size), 1

    return field


def drawn_batches(spacetime: Spacetime, reading: str, count: int, replicates: int, key: jax.Array) -> jax.Array:
    """Draw training sets and batches; return the examples in every step, shape (T + 1, R, B), the last step twice."""
    for_sets, for_batches = jax.random.split(key)
    N = int(spacetime.N)
    rng = np.random.default_rng(np.asarray(jax.random.bits(for_batches, (4,))).tolist())
    slots = spacetime.sample(rng, replicates)
    sets = (
        np.asarray(jax.random.randint(for_sets, (replicates, N), 0, count))
        if reading == "population"
        else np.broadcast_to(np.arange(N), (replicates, N))
    )
    batches = np.moveaxis(sets[np.arange(replicates)[:, None, None], slots], 0, 1)
    # Without a step nothing moves, and any batch will do.
    last = batches[-1:] if len(batches) else np.zeros((1, replicates, int(spacetime.B)), int)
    return jnp.asarray(np.concatenate([batches, last]))
