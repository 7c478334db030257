"""Effective potentials g of training sets on a grid, with ρ = exp(−g)/Z, and their slopes in the temperature."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...derivatives import lifted_array
from ...errors import ArgumentError

Potential = Callable[[float], tuple[np.ndarray, np.ndarray]]  # from T to g and ∂g/∂T, shape (datasets, G)


def of_parts(v: np.ndarray, a: np.ndarray | float) -> Potential:
    """Return the potential g = (2/T) v + a, with v and a of shape (datasets, G)."""

    def potential(T: float) -> tuple[np.ndarray, np.ndarray]:
        return 2 / T * v + a, -2 / T**2 * v

    return potential


def of_function(
    function: Callable[[Any, Any, Any], Any], data: Any, counts: np.ndarray, theta: np.ndarray
) -> Potential:
    """Return a potential that a user wrote, in double precision.

    Args:
        function: `f(theta, training_set, T)`, a real scalar that JAX can trace; the training set has the structure of
            the landscape's data, with n examples.
        data: the pool.
        counts: how often every example is in each training set, shape (datasets, M).
        theta: shape (G,).
    """
    rows = np.stack([np.repeat(np.arange(len(row)), row) for row in counts])
    with jax.enable_x64(True):
        double = jax.tree.map(lifted_array, data)

        def one(x: jax.Array, row: jax.Array, T: jax.Array) -> tuple[jax.Array, jax.Array]:
            chosen = jax.tree.map(lambda leaf: leaf[row], double)
            return jax.jvp(lambda t: function(x, chosen, t), (T,), (jnp.ones_like(T),))

        over = jax.vmap(one, in_axes=(0, None, None))
        compiled = jax.jit(lambda T: jax.lax.map(lambda row: over(jnp.asarray(theta), row, T), jnp.asarray(rows)))

    def potential(T: float) -> tuple[np.ndarray, np.ndarray]:
        with jax.enable_x64(True):
            g, slope = (np.asarray(part, dtype=float) for part in compiled(jnp.asarray(float(T))))
        if g.shape != (len(rows), len(theta)) or not np.all(np.isfinite(g)):
            raise ArgumentError(
                "A potential f(theta, training_set, T) returns one finite real number everywhere in the domain; this "
                f"one has shape {g.shape[2:]} or is not finite. Give a smaller domain, or mend the function."
            )
        return g, slope

    return potential
