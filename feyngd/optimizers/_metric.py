"""Learning rates of single parameters."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError


class Metric:
    """A pytree of multipliers of the learning rate, one for every parameter or for whole arrays of them.

    A multiplier of 0 freezes a parameter. Metrics are equal if their pytrees are.

    Args:
        tree: the multipliers, arrays or numbers.

    Raises:
        ArgumentError: a multiplier is negative or not finite, or all are zero.
    """

    def __init__(self, tree: Any) -> None:
        self.tree = _frozen(tree)
        leaves = list(_leaves(self.tree))
        for leaf in leaves:
            if not np.all(np.isfinite(leaf)) or np.any(leaf < 0):
                raise ArgumentError(
                    "A metric holds multipliers of the learning rate, finite and at least 0 (0 freezes a parameter); "
                    f"got {np.array2string(leaf, threshold=6)}."
                )
        if not any(np.any(leaf > 0) for leaf in leaves):
            raise ArgumentError("A metric with zeros alone, or without arrays, freezes all parameters: nothing moves.")
        digest = hashlib.blake2b(repr(_structure(self.tree)).encode(), digest_size=16)
        for leaf in leaves:
            digest.update(leaf.tobytes())
        self._digest = digest.digest()

    def __eq__(self, other: object) -> bool:
        return self._digest == other._digest if isinstance(other, Metric) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"<Metric of {len(list(_leaves(self.tree)))} arrays>"


def _frozen(tree: Any) -> Any:
    """Return a copy whose arrays cannot be written to."""
    if isinstance(tree, Mapping):
        return {key: _frozen(value) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*map(_frozen, tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(map(_frozen, tree))
    if tree is None:
        return None
    try:
        leaf = np.array(tree, dtype=float)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            "A metric is nested dicts, lists and tuples of numbers or arrays, as the parameters are; "
            f"got {type(tree).__name__} in it."
        ) from error
    leaf.flags.writeable = False
    return leaf


def _leaves(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        for key in sorted(tree, key=str):
            yield from _leaves(tree[key])
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _leaves(value)
    elif tree is not None:
        yield tree


def _structure(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return [(str(key), _structure(tree[key])) for key in sorted(tree, key=str)]
    if isinstance(tree, (list, tuple)):
        return [type(tree).__name__, *map(_structure, tree)]
    return None if tree is None else tree.shape
