"""Convolutions as matrix products, for losses whose kernels differ from example to example.

A tangent of a kernel is one kernel for each row of a sweep. XLA's convolution of every example with a kernel of its own
is several times slower on a CPU than the same sum written as a product of patches with a matrix, and small convolutions
with one kernel are too. The loss is traced, and its convolutions are written anew; everything else is left as it is.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

Loss = Callable[[Any, Any], jax.Array]


def with_matrix_products(loss: Loss, params: Any, example: Any) -> Loss:
    """Return the same loss with its plain convolutions written as matrix products.

    Args:
        loss: loss(params, example) → scalar.
        params: parameters, arrays or shapes.
        example: one example, arrays or shapes.
    """
    traced = jax.make_jaxpr(loss)(params, example)
    if not _has_convolution(traced.jaxpr):
        return loss

    def rewritten(params: Any, example: Any) -> jax.Array:
        (value,) = _evaluate(traced.jaxpr, traced.consts, jax.tree.leaves((params, example)))
        return value

    return rewritten


def _has_convolution(jaxpr: core.Jaxpr) -> bool:
    return any(_is_plain(eqn) or (_is_call(eqn) and _has_convolution(eqn.params["jaxpr"].jaxpr)) for eqn in jaxpr.eqns)


def _is_call(eqn: core.JaxprEqn) -> bool:
    return eqn.primitive.name in ("jit", "pjit")


def _is_plain(eqn: core.JaxprEqn) -> bool:
    """Whether an equation is a convolution without groups or holes in its input."""
    if eqn.primitive.name != "conv_general_dilated":
        return False
    given = eqn.params
    return (
        given["feature_group_count"] == given["batch_group_count"] == 1
        and set(given["lhs_dilation"]) <= {1}
        and given["preferred_element_type"] in (None, eqn.invars[0].aval.dtype)  # type: ignore[attr-defined]
    )


def _evaluate(jaxpr: core.Jaxpr, consts: list, arguments: list) -> list:
    values: dict[Any, Any] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *arguments), strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    for eqn in jaxpr.eqns:
        inputs = [read(atom) for atom in eqn.invars]
        if _is_plain(eqn):
            outputs = [_convolve(inputs[0], inputs[1], eqn.params)]
        elif _is_call(eqn) and _has_convolution(eqn.params["jaxpr"].jaxpr):
            inner = eqn.params["jaxpr"]
            outputs = _evaluate(inner.jaxpr, inner.consts, inputs)
        else:
            bound = eqn.primitive.get_bind_params(eqn.params)
            functions, options = bound if isinstance(bound, tuple) else ((), bound)  # a tuple before JAX 0.9
            result = eqn.primitive.bind(*functions, *inputs, **options)
            outputs = result if eqn.primitive.multiple_results else [result]
        values |= zip(eqn.outvars, outputs, strict=True)
    return [read(atom) for atom in jaxpr.outvars]


def _convolve(images: jax.Array, kernel: jax.Array, given: dict[str, Any]) -> jax.Array:
    numbers = given["dimension_numbers"]
    images = jnp.transpose(images, (numbers.lhs_spec[0], *numbers.lhs_spec[2:], numbers.lhs_spec[1]))
    kernel = jnp.transpose(kernel, (*numbers.rhs_spec[2:], numbers.rhs_spec[1], numbers.rhs_spec[0]))
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
