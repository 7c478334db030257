"""Convolutions as matrix products, for losses whose kernels differ from example to example.

A tangent of a kernel is one kernel for each row of a pass. XLA's convolution of every example with a kernel of its own
is several times slower on a CPU than the same sum written as a product of patches with a matrix, and small convolutions
with one kernel are too.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.typing import ArrayLike


def is_plain(eqn: core.JaxprEqn) -> bool:
    """Whether an equation is a convolution without groups or holes in its input."""
    if eqn.primitive.name != "conv_general_dilated":
        return False
    given = eqn.params
    return (
        given["feature_group_count"] == given["batch_group_count"] == 1
        and set(given["lhs_dilation"]) <= {1}
        and given["preferred_element_type"] in (None, eqn.invars[0].aval.dtype)  # type: ignore[attr-defined]
    )


def convolve(images: ArrayLike, kernel: ArrayLike, given: dict[str, Any]) -> jax.Array:
    """Return a plain convolution, given the parameters of its equation, as a product of patches with a matrix."""
    numbers = given["dimension_numbers"]
    images = jnp.transpose(jnp.asarray(images), (numbers.lhs_spec[0], *numbers.lhs_spec[2:], numbers.lhs_spec[1]))
    kernel = jnp.transpose(jnp.asarray(kernel), (*numbers.rhs_spec[2:], numbers.rhs_spec[1], numbers.rhs_spec[0]))
    sides, strides, holes = kernel.shape[:-2], given["window_strides"], given["rhs_dilation"]
    pads = [(max(low, 0), max(high, 0)) for low, high in given["padding"]]
    images = jnp.pad(images, ((0, 0), *pads, (0, 0)))
    cropped = [(max(-low, 0), max(-high, 0)) for low, high in given["padding"]]
    images = images[
        (slice(None), *(slice(low, size - high) for (low, high), size in zip(cropped, images.shape[1:-1], strict=True)))
    ]
    # One gather finds all patches: of one kind of slow operation, the one that compiles fastest.
    indices = [
        np.arange((size - (side - 1) * hole - 1) // stride + 1)[:, None] * stride + np.arange(side) * hole
        for size, side, stride, hole in zip(images.shape[1:-1], sides, strides, holes, strict=True)
    ]
    dims = len(sides)
    grid = [
        index.reshape([n if axis % dims == at else 1 for axis in range(2 * dims) for n in [index.shape[axis // dims]]])
        for at, index in enumerate(indices)
    ]
    places = [index.shape[0] for index in indices]
    flat_index = np.ravel_multi_index(np.broadcast_arrays(*grid), images.shape[1:-1]).reshape(math.prod(places), -1)
    pixels = images.reshape(images.shape[0], -1, images.shape[-1])
    flat = pixels[:, flat_index].reshape(images.shape[0], *places, -1)
    result = flat @ kernel.reshape(-1, kernel.shape[-1])
    order = (numbers.out_spec[0], *numbers.out_spec[2:], numbers.out_spec[1])
    return jnp.transpose(result, tuple(order.index(axis) for axis in range(result.ndim)))
