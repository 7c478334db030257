"""A landscape in coordinates in which learning rates of single parameters are all one."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import ArgumentError
from ._landscape import Landscape
from .checks import param_arrays


def in_metric(landscape: Landscape, params: Any, metric: Any) -> tuple[Landscape, Any]:
    """Return the landscape and the parameters in coordinates φ, θ = √M φ, in which SGD with the metric M is plain.

    A step θ ← θ − η M g is φ ← φ − η ∂l/∂φ. Where M is zero a parameter stays what it is, and φ is zero.

    Args:
        landscape: the landscape.
        params: θ, a pytree of floating-point arrays.
        metric: M, a pytree of non-negative numbers or arrays of the same structure, which broadcast to the parameters.

    Raises:
        ArgumentError: the metric has another structure, or an array in it has another shape.
        LandscapeError: the parameters are invalid.
    """
    params = param_arrays(params)
    roots = jax.tree.map(np.sqrt, metric_like(params, metric))
    fixed = jax.tree.map(lambda root, leaf: np.where(root == 0, np.asarray(leaf), 0.0), roots, params)
    start = jax.tree.map(
        lambda root, leaf: jnp.asarray(
            np.where(root == 0, 0.0, np.asarray(leaf) / np.where(root == 0, 1.0, root)), leaf.dtype
        ),
        roots,
        params,
    )
    numbers = tuple(
        (leaf.shape, np.asarray(leaf, dtype=float).tobytes())
        for tree in (roots, fixed)
        for leaf in jax.tree.leaves(tree)
    )
    loss = _loss_in(_ByObject(landscape.loss), jax.tree.structure(params), numbers)
    return replace(landscape, loss=loss), start


def metric_like(params: Any, metric: Any) -> Any:
    """Return the multipliers of every parameter, arrays of the shapes of the parameters.

    Raises:
        ArgumentError: the metric has another structure, or an array in it has another shape.
    """
    of_params: Any = jax.tree.structure(params)
    of_metric: Any = jax.tree.structure(metric)
    if of_params != of_metric:
        raise ArgumentError(
            f"A metric has one number or array for each array of the parameters, in the same structure: {of_params}; "
            f"got {of_metric}."
        )

    def broadcast(leaf: Any, multipliers: Any) -> np.ndarray:
        try:
            return np.broadcast_to(np.asarray(multipliers, dtype=float), np.shape(leaf))
        except ValueError as error:
            raise ArgumentError(
                f"An array of a metric broadcasts to the shape of its parameters, {np.shape(leaf)}; got shape "
                f"{np.shape(multipliers)}."
            ) from error

    return jax.tree.map(broadcast, params, metric)


class _ByObject:
    """A loss as a key that holds for this very object."""

    def __init__(self, loss: Callable[..., Any]) -> None:
        self.loss = loss

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByObject) and self.loss is other.loss

    def __hash__(self) -> int:
        return id(self.loss)


@lru_cache(maxsize=32)
def _loss_in(key: _ByObject, structure: Any, numbers: tuple[tuple[tuple[int, ...], bytes], ...]) -> Callable[..., Any]:
    """Return the loss of φ: the same object for the same loss and metric, for which compiled programs are kept."""
    loss = key.loss
    leaves = [np.frombuffer(data).reshape(shape) for shape, data in numbers]
    half = len(leaves) // 2
    roots, fixed = leaves[:half], leaves[half:]

    def loss_in_metric(params: Any, example: Any) -> Any:
        moved = [
            leaf * jnp.asarray(root, leaf.dtype) + jnp.asarray(still, leaf.dtype)
            for leaf, root, still in zip(jax.tree.leaves(params), roots, fixed, strict=True)
        ]
        return loss(jax.tree.unflatten(structure, moved), example)

    return loss_in_metric
