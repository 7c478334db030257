"""Perturbations of a run: what stands for the noise of batches, as examples and their weights in every step.

Independent random signs of all examples, centred, the same in steps that are tied, have E d²/dε² = Σ_{s~t} E_x D_st
exactly. So have random signs of a few random examples. Single examples have the skewness of the noise, and real batches
all its cumulants, which higher orders need.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from ...spacetimes import Spacetime
from .._noise_weights import Ties
from ._importance import ExampleSampler


class Noise(NamedTuple):
    """The noise F_t = Σ w l_x − c l of R replicates in steps 0 to T.

    Attributes:
        indices: the examples x.
        weights: w.
        share: c.
    """

    indices: Int[Array, "points replicates examples"]
    weights: Float[Array, "points replicates examples"]
    share: Float[Array, "points replicates"]


def tie_labels(ties: list[Ties], steps: int) -> Int[np.ndarray, "points ties"]:
    """Return a number for each of steps 0 to T, the same where they are tied, in a column for every equivalence.

    It is negative where an equivalence leaves a step out.
    """
    labels = np.stack([np.append(each.labels(steps), 0) for each in ties], axis=1)
    # The measurement after the last step sees the noise of the last one: noise that never changes stays the same.
    labels[-1] = labels[-2] if steps else 0
    return labels


def sign_noise(
    ties: list[Ties], keys: Shaped[Array, "replicates ..."], steps: int, sampler: ExampleSampler, size: int | None
) -> Noise:
    """Return random signs of a number of examples, all for `None`, the same in steps that are tied.

    Args:
        ties: the equivalences of steps, S of them.
        keys: a key for each of R replicates; they serve all equivalences.
        steps: T.
        sampler: draws the examples.
        size: how many of them.

    Returns:
        The noise of S·R replicates: those of the first equivalence come first.
    """
    labels = jnp.asarray(np.repeat(tie_labels(ties, steps), len(keys), axis=1))
    return _signs(keys, labels, sampler, size)


def example_noise(
    ties: list[Ties], keys: Shaped[Array, "replicates ..."], steps: int, sampler: ExampleSampler, size: int | None
) -> tuple[Noise, Float[np.ndarray, " all"]]:
    """Return the noise of single examples in single classes of tied steps: F = l_x − l in these, and 0 in others.

    Over examples and classes, factor times d³/dε³ averages to Σ_{s~t~u} E_x D_stu, the skewness of the noise, without
    what noise in different classes does together. Classes are spread evenly over the replicates. Arguments are those of
    `sign_noise`, whose replicates and shapes it has too: it is filled up with examples of weight 0.

    Returns:
        The noise, and the factors of its S·R replicates.
    """
    labels = tie_labels(ties, steps)
    among = len(sampler.weights) if size is None else size
    noise, factors = _single_examples(keys, jnp.asarray(labels), sampler, among)
    return noise, np.asarray(factors, dtype=float)


@partial(jax.jit, static_argnames="among")
def _single_examples(
    keys: Shaped[Array, "replicates ..."], labels: Int[Array, "points ties"], sampler: ExampleSampler, among: int
) -> tuple[Noise, Float[Array, " all"]]:
    """Return what `example_noise` does, for the labels of steps: one program instead of one for every operation."""
    count, classes = len(keys), jnp.max(labels, axis=0) + 1
    for_class, for_examples = jax.random.split(keys[0])
    start = jax.random.uniform(for_class)
    places = (jnp.arange(count, dtype=start.dtype) + start) / count
    chosen = jnp.floor(jnp.outer(classes.astype(places.dtype), places)).astype(int).ravel()
    every = jnp.repeat(classes, count)
    active = jnp.repeat(labels, count, axis=1) == jnp.minimum(chosen, every - 1)[None]
    indices, weights = sampler.draw(for_examples, len(chosen))
    assert indices is not None
    filled = jnp.zeros((*active.shape, among), int).at[..., 0].set(jnp.broadcast_to(indices, active.shape))
    alone = jnp.zeros((*active.shape, among)).at[..., 0].set(active.astype(float))
    return Noise(filled, alone, active.astype(float)), weights * len(chosen) * every.astype(weights.dtype)


@partial(jax.jit, static_argnames="size")
def _signs(
    keys: Shaped[Array, "replicates ..."],
    labels: Int[Array, "points all"],
    sampler: ExampleSampler,
    size: int | None,
) -> Noise:
    def signs(key: PRNGKeyArray, label: Int[Array, ""]) -> tuple[Int[Array, " drawn"], Float[Array, " drawn"]]:
        indices, weights = sampler.signed(key, label, size)
        return jnp.arange(len(weights)) if indices is None else indices, weights

    every = jnp.concatenate([keys] * (labels.shape[1] // len(keys)))
    indices, weights = jax.vmap(jax.vmap(signs), in_axes=(None, 0))(every, labels)
    return Noise(indices, weights, jnp.sum(weights, axis=2))


def batch_noise(spacetime: Spacetime, reading: str, count: int, replicates: int, key: PRNGKeyArray) -> Noise:
    """Return the noise of real batches of drawn training sets, of one spacetime."""
    batches = drawn_batches(spacetime, reading, count, replicates, key)
    sizes = np.array([*spacetime.batch_sizes(), *spacetime.batch_sizes()[-1:]] or [int(spacetime.B)])[:, None]
    shares = np.where(np.arange(batches.shape[2]) < sizes, 1 / sizes, 0.0)  # smaller batches are filled up
    return Noise(batches, jnp.broadcast_to(shares[:, None], batches.shape), jnp.ones(batches.shape[:2]))


def drawn_batches(
    spacetime: Spacetime, reading: str, count: int, replicates: int, key: PRNGKeyArray
) -> Int[Array, "points replicates batch"]:
    """Draw training sets and batches; return the examples in every step, the last step twice."""
    for_sets, for_batches = jax.random.split(key)
    N = int(spacetime.N)
    rng = np.random.default_rng(np.asarray(jax.random.bits(for_batches, (4,))).tolist())
    slots = spacetime.sample(rng, replicates, fill=True)
    sets = (
        np.asarray(jax.random.randint(for_sets, (replicates, N), 0, count))
        if reading == "population"
        else np.broadcast_to(np.arange(N), (replicates, N))
    )
    batches = np.moveaxis(sets[np.arange(replicates)[:, None, None], slots], 0, 1)
    # Without a step nothing moves, and any batch will do.
    last = batches[-1:] if len(batches) else np.zeros((1, replicates, int(spacetime.B)), int)
    return jnp.asarray(np.concatenate([batches, last]))
