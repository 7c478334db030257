"""Losses of a pool of examples with one parameter and their derivatives, at many values of it, in double precision."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...derivatives import lifted, lifted_array, num_params
from ...errors import ArgumentError
from ...landscapes import Landscape


@dataclass(frozen=True, eq=False)
class ExampleLosses:
    """The losses of a pool of examples as functions of one parameter.

    Attributes:
        values: at every example and point, shape (M, G), in the unit of the loss.
        slopes: their first derivatives.
        bends: their second derivatives.
    """

    values: np.ndarray
    slopes: np.ndarray
    bends: np.ndarray


def base_point(params: Any) -> float:
    """Return the one number that the parameters are.

    Raises:
        ArgumentError: there are more.
    """
    count = num_params(params)
    if count != 1:
        raise ArgumentError(
            f"A steady state has a closed form for one parameter; there are {count}. With more, ∫(D + β²)⁻¹(∇U + αθ) "
            "depends on its path but in special cases. For a quadratic loss use heavy_ball or fd.stationary_noise, for "
            "anything else data_averaging.ensemble, which runs SGD."
        )
    return float(np.asarray(jax.tree.leaves(params)[0]).reshape(()))


def example_losses(landscape: Landscape, params: Any, points: np.ndarray) -> ExampleLosses:
    """Return the losses of all examples and their derivatives at values of the one parameter.

    Args:
        landscape: with its loss frozen.
        params: parameters that show the structure, of one number in all.
        points: θ, shape (G,).
    """
    loss = lifted(landscape.loss, params, landscape.example_shapes)
    with jax.enable_x64(True):
        data = jax.tree.map(lifted_array, landscape.data)
        double = jax.tree.map(lifted_array, params)

        def along(theta: jax.Array, example: Any) -> jax.Array:
            return loss(jax.tree.map(lambda leaf: jnp.broadcast_to(theta, leaf.shape), double), example)

        slope = jax.grad(along)

        def all_three(example: Any, theta: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            bend = jax.jvp(lambda x: slope(x, example), (theta,), (jnp.ones_like(theta),))
            return along(theta, example), *bend

        table = jax.jit(jax.vmap(jax.vmap(all_three, in_axes=(None, 0)), in_axes=(0, None)))
        found = table(data, jnp.asarray(points))
        return ExampleLosses(*(np.asarray(part) for part in found))
