"""Hidden units of two networks, matched: a permutation of units is the same network elsewhere."""

from itertools import pairwise
from typing import Any

import jax
import numpy as np
from scipy.optimize import linear_sum_assignment

from ...errors import ArgumentError
from ._surface import Surface

_ROUNDS = 20


def aligned(surface: Surface, first: np.ndarray, last: np.ndarray, how: str) -> np.ndarray:
    """Return a vector of parameters with its hidden units permuted to be most like those of another.

    The layers are the matrices among the leaves, each followed by a vector, its bias, if there is one; they are chained
    in the order in which their shapes fit. Units are matched layer by layer, by the scalar products of all weights that
    lead in and out, until nothing changes.

    Args:
        surface: the landscape, whose loss must not change.
        first: the network that stays.
        last: the other one.
        how: "permutation".

    Raises:
        ArgumentError: another word, or parameters that are not a chain of layers, or whose loss changes.
    """
    if how != "permutation":
        raise ArgumentError(f"Unknown align={how!r}. Known: 'permutation', or None.")
    mine, theirs = (_layers(surface.shaped(point)) for point in (first, last))
    for _ in range(_ROUNDS):
        changed = False
        for i in range(len(theirs) - 1):
            likeness = theirs[i].likeness_out(mine[i]) + theirs[i + 1].likeness_in(mine[i + 1])
            order = linear_sum_assignment(likeness.T, maximize=True)[1]
            if not np.array_equal(order, np.arange(len(order))):
                theirs[i].permute_out(order)
                theirs[i + 1].permute_in(order)
                changed = True
        if not changed:
            break
    found = _vector(surface.shaped(last), theirs)
    before, after = surface.losses(np.stack([last, found]))
    if not np.isclose(before, after, rtol=1e-9, atol=1e-12):
        raise ArgumentError(
            f"Permuting the hidden units changed the loss from {before:.6g} to {after:.6g}: these parameters are not a "
            "chain of dense layers. Leave align out, or align them yourself."
        )
    return found


class _Layer:
    """A matrix from inputs to units, with a bias; `flip` where the leaf has units in rows."""

    def __init__(
        self, weights: np.ndarray, bias: np.ndarray | None, places: tuple[int, int | None], flip: bool
    ) -> None:
        self.weights, self.bias, self.places, self.flip = (weights.T if flip else weights).copy(), bias, places, flip

    def likeness_out(self, other: "_Layer") -> np.ndarray:
        likeness = self.weights.T @ other.weights
        if self.bias is not None and other.bias is not None:
            likeness = likeness + np.outer(self.bias, other.bias)
        return likeness

    def likeness_in(self, other: "_Layer") -> np.ndarray:
        return self.weights @ other.weights.T

    def permute_out(self, order: np.ndarray) -> None:
        self.weights = self.weights[:, order]
        if self.bias is not None:
            self.bias = self.bias[order]

    def permute_in(self, order: np.ndarray) -> None:
        self.weights = self.weights[order]


def _layers(params: Any) -> list[_Layer]:
    """Return the layers of a pytree in the order of the network."""
    leaves = [np.asarray(leaf, dtype=float) for leaf in jax.tree.leaves(params)]
    matrices = [i for i, leaf in enumerate(leaves) if leaf.ndim == 2]
    vectors = [i for i, leaf in enumerate(leaves) if leaf.ndim == 1]
    if len(matrices) < 2 or len(matrices) + len(vectors) != len(leaves):
        raise ArgumentError(
            "Hidden units are matched in chains of two or more dense layers, of matrices and vectors; "
            f"these have shapes {[leaf.shape for leaf in leaves]}. Leave align out, or align them yourself."
        )
    # Inputs come first in x @ W, units in W @ x: whichever makes a chain.
    for flip in (False, True):
        shapes = [leaves[i].shape[::-1] if flip else leaves[i].shape for i in matrices]
        if all(one[1] == other[0] for one, other in pairwise(shapes)):
            free, made = list(vectors), []
            for i, shape in zip(matrices, shapes, strict=True):
                own = next((j for j in free if leaves[j].shape == (shape[1],)), None)
                if own is not None:
                    free.remove(own)
                made.append(_Layer(leaves[i], None if own is None else leaves[own].copy(), (i, own), flip))
            if not free:
                return made
    raise ArgumentError(
        f"The matrices of these parameters, of shapes {[leaves[i].shape for i in matrices]}, do not follow one another "
        "as layers. Leave align out, or align them yourself."
    )


def _vector(params: Any, layers: list[_Layer]) -> np.ndarray:
    leaves = [np.asarray(leaf, dtype=float) for leaf in jax.tree.leaves(params)]
    for layer in layers:
        weights, bias = layer.places
        leaves[weights] = layer.weights.T if layer.flip else layer.weights
        if bias is not None and layer.bias is not None:
            leaves[bias] = layer.bias
    return np.concatenate([np.ravel(leaf) for leaf in leaves])
