"""Ensembles of vanilla SGD whose parameters are looked at on the way, and what their means are worth."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from ..landscapes import Landscape
from ._experiment import Finding


class Ensemble:
    """Runs of one-epoch SGD with B = 1, every step on a fresh example of the population.

    Args:
        landscape: the loss and the population.
        params: the start, a pytree of p floating-point numbers in all.
        block: the number of runs that are vectorised together.
    """

    def __init__(self, landscape: Landscape, params: Any, *, block: int) -> None:
        self._start, loss = landscape.flatten(params)
        self._block, self._data = block, landscape.data
        gradients = jax.vmap(jax.grad(loss))

        # The number of steps is an argument like any other: one compilation serves all learning rates.
        @jax.jit
        def advance(iterates: jax.Array, rate: float, steps: int, data: Any, key: jax.Array) -> jax.Array:
            def step(time: int, iterates: jax.Array) -> jax.Array:
                drawn = jax.random.randint(jax.random.fold_in(key, time), (block,), 0, landscape.num_examples)
                return iterates - rate * gradients(iterates, jax.tree.map(lambda leaf: leaf[drawn], data))

            return jax.lax.fori_loop(0, steps, step, iterates)

        self._advance = advance

    def paths(self, rate: float, steps: int, *, runs: int, looks: int = 1, key: jax.Array) -> np.ndarray:
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


def mean_and_error(samples: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of independent samples and its standard error."""
    return samples.mean(axis=axis), samples.std(axis=axis, ddof=1) / samples.shape[axis] ** 0.5


def equivalence(claim: str, prediction: float, simulation: float, *, stderr: float, relative: float) -> Finding:
    """Make a finding of whether a prediction is close to a simulation, beyond doubt.

    It holds if the difference and two standard errors together are within the tolerance, so that a simulation that is
    too noisy to tell cannot bear a claim out.

    Args:
        claim: the claim, in words.
        prediction: the predicted number.
        simulation: the simulated number.
        stderr: the standard error of their difference.
        relative: the tolerance, as a fraction of the simulated number.
    """
    allowed = relative * abs(simulation)
    holds = bool(abs(prediction - simulation) + 2 * stderr <= allowed)
    numbers = {"prediction": prediction, "simulation": simulation, "stderr": stderr, "allowed": allowed}
    return Finding(claim, holds, numbers)


def all_agree(
    claim: str, predictions: ArrayLike, simulations: ArrayLike, stderrs: ArrayLike, within: ArrayLike = 0.0
) -> Finding:
    """Make a finding of whether many predictions and simulations agree, all together.

    It holds if none is further off than the worst of so many is by chance once in 740 times, which is three standard
    errors for a single one and more for many.

    Args:
        claim: the claim, in words.
        predictions: the predicted numbers, shape (n,).
        simulations: the simulated numbers, which may be correlated.
        stderrs: the standard errors of their differences.
        within: what is allowed beyond them, such as a truncation figure, in the unit of the numbers.
    """
    off = np.abs(np.asarray(predictions, dtype=float) - np.asarray(simulations, dtype=float))
    scores = np.maximum(off - np.asarray(within), 0) / np.asarray(stderrs, dtype=float)
    allowed = float(norm.isf(norm.sf(3) / scores.size))
    numbers = {"largest deviation in standard errors": float(scores.max()), "allowed": allowed, "of": scores.size}
    return Finding(claim, bool(scores.max() <= allowed), numbers)
