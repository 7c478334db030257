"""A landscape in coordinates in which learning rates of single parameters are all one."""

from collections.abc import Callable
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
    if landscape.update is not None:
        raise ArgumentError("A metric belongs to gradients: put it into the update, M · update(params, example).")
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
    loss, measured = (
        None if function is None else _loss_in(_ByObject(function), jax.tree.structure(params), numbers)
        for function in (landscape.loss, landscape.measured)
    )
    assert loss is not None
    return landscape.with_functions(loss, measured), start


def metric_like(params: Any, metric: Any) -> Any:
    """Return the multipliers of every parameter, arrays of the shapes and types of the parameters.

    Args:
        params: a pytree of arrays.
        metric: a pytree with the same leaves, which broadcast to the arrays.

    Raises:
        ArgumentError: the metric has other leaves than the parameters, or one of them does not broadcast to its array.
    """
    given = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(metric)}
    named = [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree.leaves_with_path(params)]
    if given.keys() != {name for name, _ in named}:
        wanted, got = (
            ", ".join(f"params{name}" for name in names) or "nothing" for names in ([name for name, _ in named], given)
        )
        raise ArgumentError(
            f"A metric has the structure of the parameters, which are {wanted}; it gives multipliers of {got}."
        )
    leaves = []
    for name, leaf in named:
        own = np.asarray(given[name])
        sizes = zip(own.shape[::-1], leaf.shape[::-1], strict=False)
        if own.ndim > leaf.ndim or any(mine not in (1, its) for mine, its in sizes):
            raise ArgumentError(
                f"The metric of params{name} has shape {own.shape}, and the parameter has {leaf.shape}: give a number, "
                "or an array that broadcasts to the parameter's shape."
            )
        leaves.append(np.broadcast_to(own, leaf.shape).astype(leaf.dtype))
    return jax.tree.unflatten(jax.tree.structure(params), leaves)


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

    def loss_in_metric(params: Any, *example: Any) -> Any:  # and the key of its noise, where there is one
        moved = [
            leaf * jnp.asarray(root, leaf.dtype) + jnp.asarray(still, leaf.dtype)
            for leaf, root, still in zip(jax.tree.leaves(params), roots, fixed, strict=True)
        ]
        return loss(jax.tree.unflatten(structure, moved), *example)

    return loss_in_metric
