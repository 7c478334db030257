"""Perturbations of a run: what stands for the noise of batches, as weights of the examples in every step.

Independent random signs of the examples, the same in steps that are tied, have E d²/dε² = Σ_{s~t} E_x D_st exactly:
every example is in every step, so that no luck of the draw of examples is left. Real batches have all cumulants of the
noise, which higher orders need.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..spacetimes import Spacetime
from ._ties import Ties


@lru_cache(maxsize=16)
def sign_field(count: int) -> Callable[[Any], jax.Array]:
    """Return a field that draws signs of the examples: it is given keys of all replicates and their steps' labels."""

    def field(given: tuple[jax.Array, jax.Array]) -> jax.Array:
        keys, labels = given

        def signs(key: jax.Array, label: jax.Array) -> jax.Array:
            drawn = jax.random.rademacher(jax.random.fold_in(key, label), (count,), float)
            return (drawn - jnp.mean(drawn)) / count**0.5  # centring the signs centres the losses

        return jax.vmap(signs)(keys, labels)

    return field


def sign_steps(ties: list[Ties], keys: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
    """Return what `sign_field` is given in steps 0 to T, for every replicate of every equivalence of steps.

    Args:
        ties: the equivalences, S of them.
        keys: keys of the replicates, shape (R,); they serve all equivalences.
        steps: T.

    Returns:
        Keys and labels, of shape (T + 1, S·R): replicates of the first equivalence come first.
    """
    labels = np.stack([np.append(one.labels(steps), -1) for one in ties], axis=1)
    # The measurement after the last step is that of the field of the last one: static fields stay the same.
    labels[-1] = labels[-2] if steps else 0
    repeated = np.repeat(labels, len(keys), axis=1)
    every = jnp.tile(keys, len(ties))
    return jnp.broadcast_to(every, (steps + 1, *every.shape)), jnp.asarray(repeated)


@lru_cache(maxsize=16)
def batch_field(count: int, size: int) -> Callable[[Any], jax.Array]:
    """Return a field of real batches: it is given the examples of every replicate's batch, shape (R, B)."""

    def field(batches: jax.Array) -> jax.Array:
        def shares(batch: jax.Array) -> jax.Array:
            return jnp.zeros(count).at[batch].add(1 / size) - 1 / count

        return jax.vmap(shares)(batches)

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
