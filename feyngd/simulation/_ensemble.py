"""Ensembles of SGD runs whose parameters are looked at on the way."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ..landscapes import Landscape


class Ensemble:
    """Runs of one-epoch SGD with B = 1, every step on a fresh example of the population.

    Args:
        landscape: the loss and the population.
        params: the start, a pytree of p floating-point numbers in all.
        block: the number of runs that are vectorised together.
    """

    def __init__(self, landscape: Landscape, params: PyTree, *, block: int) -> None:
        self._start, loss = landscape.flatten(params)
        self._block, self._data = block, landscape.data
        gradients = jax.vmap(jax.grad(loss))

        # The number of steps is an argument like any other: one compilation serves all learning rates.
        @jax.jit
        def advance(
            iterates: Float[Array, "runs params"],
            rate: Float[Array, ""],
            steps: Int[Array, ""],
            data: PyTree,
            key: PRNGKeyArray,
        ) -> Float[Array, "runs params"]:
            def step(time: Int[Array, ""], iterates: Float[Array, "runs params"]) -> Float[Array, "runs params"]:
                drawn = jax.random.randint(jax.random.fold_in(key, time), (block,), 0, landscape.num_examples)
                return iterates - rate * gradients(iterates, jax.tree.map(lambda leaf: leaf[drawn], data))

            return jax.lax.fori_loop(0, steps, step, iterates)

        self._advance = advance

    def paths(
        self, rate: float, steps: int, *, runs: int, looks: int = 1, key: PRNGKeyArray
    ) -> Float[np.ndarray, "looks runs params"]:
        """Return θ − θ_0 at every look in every run, an array of shape (looks, runs, p), in the unit of the parameters.

        Args:
            rate: η.
            steps: the number of steps T, a multiple of `looks`.
            runs: the number of independent runs; it is rounded up to whole blocks.
            looks: how often the parameters are written down, at equal distances and last after T steps.
            key: a JAX random key.
        """
        blocks = []
        for block_key in jax.random.split(key, -(-runs // self._block)):
            iterates, seen = jnp.tile(self._start, (self._block, 1)), []
            for look_key in jax.random.split(block_key, looks):
                iterates = self._advance(iterates, rate, steps // looks, self._data, look_key)
                seen.append(np.asarray(iterates - self._start))
            blocks.append(np.stack(seen))
        return np.concatenate(blocks, axis=1)
