"""Hidden units of two networks, matched: a permutation of units is the same network elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise, permutations
from typing import Any

import jax
import numpy as np
from scipy.optimize import linear_sum_assignment

from ...errors import ArgumentError
from ._surface import Surface

_ROUNDS = 20
_MOST_PLANS = 500  # ways to read leaves as layers that are tried


def aligned(surface: Surface, first: np.ndarray, last: np.ndarray, how: str) -> np.ndarray:
    """Return a vector of parameters with its hidden units permuted to be most like those of another.

    The layers are the matrices among the leaves, each with a vector, its bias, if there is one. Of the orders in which
    shapes fit it is the first in which a permutation of hidden units leaves the loss as it is. Units are matched layer
    by layer, by the scalar products of all weights that lead in and out, until nothing changes.

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
    plan = _plan_of(surface, last)
    mine, theirs = (_layers(surface.shaped(point), plan) for point in (first, last))
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
    return _vector(surface.shaped(last), theirs)


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


@dataclass(frozen=True)
class _Plan:
    """Which leaves are the layers: a matrix and a bias, or `None`, of each; and whether matrices have units in rows."""

    places: tuple[tuple[int, int | None], ...]
    flip: bool


def _plan_of(surface: Surface, point: np.ndarray) -> _Plan:
    """Return the layers of a network, found by what leaves its loss as it is.

    Raises:
        ArgumentError: its parameters are no chain of layers.
    """
    params = surface.shaped(point)
    leaves = [np.asarray(leaf, dtype=float) for leaf in jax.tree.leaves(params)]
    shapes, loss = [leaf.shape for leaf in leaves], surface.gradient(point)[0]
    if sum(len(shape) == 2 for shape in shapes) < 2 or not all(len(shape) in (1, 2) for shape in shapes):
        raise ArgumentError(
            "Hidden units are matched in chains of two or more dense layers, of matrices and vectors; "
            f"these have shapes {shapes}. Leave align out, or align them yourself."
        )
    plans = list(islice(_plans(shapes), _MOST_PLANS))
    if not plans:
        raise ArgumentError(
            f"The matrices of these parameters, of shapes {[shape for shape in shapes if len(shape) == 2]}, do not "
            "follow one another as layers. Leave align out, or align them yourself."
        )
    for plan in plans:
        layers = _layers(params, plan)
        for one, other in pairwise(layers):
            order = np.roll(np.arange(one.weights.shape[1]), 1)
            one.permute_out(order)
            other.permute_in(order)
        if np.isclose(surface.gradient(_vector(params, layers))[0], loss, rtol=1e-9, atol=1e-12):
            return plan
    raise ArgumentError(
        f"Permuting hidden units changes the loss, in each of {len(plans)} orders of layers that fit the shapes "
        f"{shapes}: these parameters are not a chain of dense layers. Leave align out, or align them yourself."
    )


def _plans(shapes: list[tuple[int, ...]]) -> Iterator[_Plan]:
    """Yield all ways to read leaves as layers, those in the order of the leaves first."""
    matrices = [i for i, shape in enumerate(shapes) if len(shape) == 2]
    vectors = [i for i, shape in enumerate(shapes) if len(shape) == 1]
    for order in permutations(matrices):
        # Inputs come first in x @ W, units in W @ x: whichever makes a chain.
        for flip in (False, True):
            sizes = [shapes[i][::-1] if flip else shapes[i] for i in order]
            if all(one[1] == other[0] for one, other in pairwise(sizes)):
                for biases in _biases(shapes, vectors, [size[1] for size in sizes]):
                    yield _Plan(tuple(zip(order, biases, strict=True)), flip)


def _biases(shapes: list[tuple[int, ...]], free: list[int], widths: list[int]) -> Iterator[tuple[int | None, ...]]:
    """Yield all ways to give every vector to a layer of its width, at most one to each."""
    if not widths:
        if not free:
            yield ()
        return
    for own in (*(i for i in free if shapes[i] == (widths[0],)), None):
        for rest in _biases(shapes, [i for i in free if i != own], widths[1:]):
            yield own, *rest


def _layers(params: Any, plan: _Plan) -> list[_Layer]:
    """Return the layers of a pytree, copies, in the order of the network."""
    leaves = [np.asarray(leaf, dtype=float) for leaf in jax.tree.leaves(params)]
    return [
        _Layer(leaves[i], None if own is None else leaves[own].copy(), (i, own), plan.flip) for i, own in plan.places
    ]


def _vector(params: Any, layers: list[_Layer]) -> np.ndarray:
    leaves = [np.asarray(leaf, dtype=float) for leaf in jax.tree.leaves(params)]
    for layer in layers:
        weights, bias = layer.places
        leaves[weights] = layer.weights.T if layer.flip else layer.weights
        if bias is not None and layer.bias is not None:
            leaves[bias] = layer.bias
    return np.concatenate([np.ravel(leaf) for leaf in leaves])
