"""Perturbations of a run: what stands for the noise of batches, as examples and their weights in every step.

Independent random signs of all examples, centred, the same in steps that are tied, have E d²/dε² = Σ_{s~t} E_x D_st
exactly. So have random signs of a random few of them. Single examples tell the skewness of the noise, and real batches
have all cumulants of it, which higher orders need.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...spacetimes import Spacetime
from .._noise_weights import Ties
from ._importance import Urn


class Field(NamedTuple):
    """The noise F_t = Σ w l_x − c l of R replicates in steps 0 to T.

    Attributes:
        indices: the examples x, shape (T + 1, R, q).
        weights: w, likewise.
        share: c, shape (T + 1, R).
    """

    indices: jax.Array
    weights: jax.Array
    share: jax.Array


def tie_labels(ties: list[Ties], steps: int) -> np.ndarray:
    """Return a number for each of steps 0 to T, the same where they are tied, for every equivalence: (T + 1, S)."""
    labels = np.stack([np.append(one.labels(steps), 0) for one in ties], axis=1)
    # The measurement after the last step is that of the field of the last one: static fields stay the same.
    labels[-1] = labels[-2] if steps else 0
    return labels


def sign_field(ties: list[Ties], keys: jax.Array, steps: int, urn: Urn, size: int | None) -> Field:
    """Return random signs of so many examples, `None` being all, the same in steps that are tied.

    Args:
        ties: the equivalences of steps, S of them.
        keys: keys of the replicates, shape (R,); they serve all equivalences.
        steps: T.
        urn: from which examples are drawn.
        size: how many of them.

    Returns:
        A field of S·R replicates: those of the first equivalence come first.
    """
    labels = jnp.asarray(np.repeat(tie_labels(ties, steps), len(keys), axis=1))
    return _signs(jnp.tile(keys, len(ties)), labels, urn, size)


def example_field(
    ties: list[Ties], keys: jax.Array, steps: int, urn: Urn, size: int | None
) -> tuple[Field, np.ndarray]:
    """Return the noise of single examples in single classes of tied steps: F = l_x − l in these, and 0 in others.

    Over examples and classes, factor times d³/dε³ averages to Σ_{s~t~u} E_x D_stu, the skewness of the noise, without
    what noise in different classes does together. Classes are spread evenly over the replicates. Arguments are those of
    `sign_field`, whose replicates and shapes it has too: examples are filled up with ones of weight 0.

    Returns:
        The field, and the factors, shape (S·R,).
    """
    labels = tie_labels(ties, steps)
    classes = labels.max(axis=0) + 1
    for_class, for_examples = jax.random.split(keys[0])
    places = (np.arange(len(keys)) + float(jax.random.uniform(for_class))) / len(keys)
    chosen = np.floor(classes[:, None] * places).astype(int).ravel()
    active = np.repeat(labels, len(keys), axis=1) == np.minimum(chosen, np.repeat(classes, len(keys)) - 1)
    indices, weights = urn.draw(for_examples, len(chosen))
    among = len(urn.weights) if size is None else size
    filled = jnp.zeros((*active.shape, among), int).at[..., 0].set(indices)
    alone = jnp.zeros((*active.shape, among)).at[..., 0].set(active.astype(float))
    factors = np.asarray(weights, dtype=float) * len(chosen) * np.repeat(classes, len(keys))
    return Field(filled, alone, jnp.asarray(active, float)), factors


@partial(jax.jit, static_argnames="size")
def _signs(keys: jax.Array, labels: jax.Array, urn: Urn, size: int | None) -> Field:
    def one(key: jax.Array, label: jax.Array) -> tuple[jax.Array, jax.Array]:
        indices, weights = urn.signed(jax.random.fold_in(key, label), size)
        return jnp.arange(len(weights)) if indices is None else indices, weights

    indices, weights = jax.vmap(jax.vmap(one), in_axes=(None, 0))(keys, labels)
    return Field(indices, weights, jnp.sum(weights, axis=2))


def batch_field(spacetime: Spacetime, reading: str, count: int, replicates: int, key: jax.Array) -> Field:
    """Return the noise of real batches of drawn training sets, of one spacetime."""
    batches = drawn_batches(spacetime, reading, count, replicates, key)
    shares = jnp.full(batches.shape, 1 / batches.shape[2])
    return Field(batches, shares, jnp.ones(batches.shape[:2]))


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
