"""Low-rank deflation: the leading directions of the gradients exactly, the rest by pairing.

Where a number meets two vectors u_x and v_x of one example x with other examples, it depends on them through the second
moment E[u ⊗ v] alone. With an orthonormal basis Q of leading directions and the projection P on their span,

    E[u ⊗ v] = Σ_a Q_a ⊗ E[(Q_a·u) v] + Σ_a E[(Q_a·v) (u − Pu)] ⊗ Q_a + E[(u − Pu) ⊗ (v − Pv)],

which holds for any orthonormal Q. In the first two sums the pair has become constant vectors, so they are exact. Only
the last term is paired. Q comes from a few subspace iterations of E[u ⊗ u].
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..engine import Engine
from ..planning import TEST, Dot, Given, Input, Mean, Number, Product, Vector, means_below
from ._estimator import Cost, Estimator, Setting, Split

# At a trained MLP, in standard errors of pairing: 0.03 with rank 8, 0.010 with 16, 0.003 with 32, where every direction
# costs as much; 0.014 with one iteration, 0.010 with 3, 0.009 with 5 (benchmarks/evaluation.py constants).
_RANK, _ITERATIONS = 16, 3
_MOST_ENTRIES = 2**26  # of the basis: beyond, it is made only if asked for, as orthonormalising it is serial work
BASIS = Given("Q")
LEFT, RIGHT = Given("q"), Given("s")  # what stands for u and v


class Deflation(Estimator):
    """Takes numbers in which some example meets the others in exactly two vectors."""

    name = "deflation"

    def takes(self, number: Number, setting: Setting) -> bool:
        """Whether it can average a number."""
        return not setting.directed and deflatable(setting.ways[number]) is not None

    def cost(self, numbers: Sequence[Number], setting: Setting) -> Cost:
        """Return what it takes to average numbers together, at most: two numbers may have the same pair of vectors."""
        return Cost(once=_ITERATIONS + len(numbers) * (2 + min(_RANK, setting.num_params)), each=1)

    def is_worth_preparing(self, setting: Setting) -> bool:
        """Whether a basis of leading directions is small enough to be made without being asked for."""
        return _RANK * setting.num_params <= _MOST_ENTRIES

    def split(
        self,
        numbers: Sequence[Number],
        setting: Setting,
        engine: Engine,
        key: jax.Array | None,
        advance: Callable[[], None],
    ) -> dict[Number, Split]:
        """Compute the two exact sums of every number, and leave E[(u − Pu) ⊗ (v − Pv)] to the random rows."""
        assert key is not None
        ways: dict[Number, Number] = {}
        for number in numbers:
            way = deflatable(setting.ways[number])
            assert way is not None
            ways[number] = way
            engine.average(means_below(way))
        pairs = {number: _checked_pair(way) for number, way in ways.items()}
        basis = _leading_directions(engine, next(iter(pairs.values()))[0], key)
        engine.give({BASIS: basis})
        moments: dict[tuple[Vector, Vector], tuple[PyTree, PyTree]] = {}
        splits: dict[Number, Split] = {}
        for number, way in ways.items():
            u, v, position = pairs[number]
            if (u, v) not in moments:
                moments[u, v] = _second_moments(engine, basis, u, v)
            fixed = _exact_part(engine, basis, way, position, *moments[u, v])
            rest = _substituted(way, position, iter((u.outside(BASIS), v.outside(BASIS))))
            # Directions that span all parameters leave nothing to pair.
            splits[number] = Split(fixed, None if setting.num_params <= _RANK else rest)
        return splits


def deflatable(ways: Sequence[Number]) -> Number | None:
    """Return the first of several ways to compute a number that can be deflated.

    Some example has to meet the others in exactly two vectors, and without them the number has to be exact.
    """
    return next((one for one in ways if not isinstance(one, Product) and _pair(one) is not None), None)


def _checked_pair(number: Number) -> tuple[Vector, Vector, int]:
    pair = _pair(number)
    assert pair is not None
    return pair


def _pair(number: Number) -> tuple[Vector, Vector, int] | None:
    """Return the two vectors u and v in which some example meets the others, and its position; `None` without any."""
    for position in sorted(number.positions - {TEST, getattr(number, "position", TEST)}):
        found = list(_vectors_at(number, position))
        if len(found) != 2 or any(vector.positions != {position} for vector in found):
            continue  # fewer or more, or other examples behind one of them
        if len(_closed(_substituted(number, position, iter((LEFT, RIGHT)))).positions) < 2:
            return found[0], found[1], position
    return None


def _vectors_at(item: Input | Number, position: int) -> Iterator[Vector]:
    """Iterate over the outermost vectors at one position, as often as they occur, in the order of `_substituted`."""
    if isinstance(item, Vector) and item.position == position:
        yield item
    elif not isinstance(item, (Mean, Given)):
        for inner in item.inputs:
            yield from _vectors_at(inner, position)


def _substituted(item: Any, position: int, supply: Iterator[Input]) -> Any:
    """Replace the vectors at one position, one after the other."""
    if isinstance(item, (Mean, Given)):
        return item
    if isinstance(item, Vector) and item.position == position:
        return next(supply)
    return item.with_inputs([_substituted(inner, position, supply) for inner in item.inputs])


def _closed(number: Number) -> Number:
    """Average beforehand every vector that depends on one example which occurs nowhere else."""
    totals = Counter(_occurrences(number))

    def close(item: Any) -> Any:
        if isinstance(item, (Mean, Given)):
            return item
        made = item.with_inputs([close(inner) for inner in item.inputs])
        if isinstance(made, Vector) and len(made.positions) == 1:
            inside = Counter(_occurrences(made))
            if all(inside[position] == totals[position] for position in made.positions):
                return Mean(made)
        return made

    made = close(number)
    return made.place({position: 0 for position in made.positions if len(made.positions) == 1 and position != TEST})


def _occurrences(item: Input | Number) -> Iterator[int]:
    if isinstance(item, (Mean, Given)):
        return
    if not isinstance(item, (Dot, Product)):
        yield item.position
    for inner in item.inputs:
        yield from _occurrences(inner)


def _leading_directions(engine: Engine, vector: Vector, key: jax.Array) -> PyTree:
    """Return an orthonormal basis Q of about the leading eigenspace of E[u ⊗ u], stacked pytrees.

    Subspace iteration: Q ← orthonormal basis of E[u ⊗ u] Q, from random directions.
    """
    vector = vector.place({vector.position: 0})
    leaves, structure = jax.tree.flatten(engine.params)
    size = sum(leaf.size for leaf in leaves)
    # A key of its own, beyond those of the replicates.
    seed = np.asarray(jax.random.bits(jax.random.fold_in(key, 2**31 - 1), (4,))).tolist()
    basis = np.random.default_rng(seed).normal(size=(min(_RANK, size), size))
    for _ in range(_ITERATIONS):
        moved = engine.outer(vector, vector, _stacked(_orthonormal(basis), leaves, structure))
        basis = np.concatenate([np.asarray(leaf).reshape(len(basis), -1) for leaf in jax.tree.leaves(moved)], axis=1)
    return _stacked(_orthonormal(basis), leaves, structure)


def _orthonormal(rows: Float[np.ndarray, "stacked params"]) -> Float[np.ndarray, "stacked params"]:
    return np.linalg.qr(rows.T.astype(np.float64))[0].T


def _stacked(
    rows: Float[np.ndarray, "stacked params"], leaves: Sequence[Array], structure: jax.tree_util.PyTreeDef
) -> PyTree:
    """Turn flat vectors of parameters into stacked pytrees."""
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
    pieces = np.split(rows, ends, axis=1)
    return jax.tree.unflatten(
        structure,
        [jnp.asarray(piece.reshape(-1, *leaf.shape), leaf.dtype) for piece, leaf in zip(pieces, leaves, strict=True)],
    )


def _second_moments(engine: Engine, basis: PyTree, u: Vector, v: Vector) -> tuple[PyTree, PyTree]:
    """Return F_a = E[(Q_a·u) v] and R_a = E[(Q_a·v) (u − Pu)] for every a, stacked pytrees."""
    u, v = (vector.place({vector.position: 0}) for vector in (u, v))
    forward = engine.outer(u, v, basis)
    backward = forward if u == v else engine.outer(v, u, basis)  # E[(Q_a·v) u]
    # inside_ba = Q_b·E[(Q_a·v) u], so that R_a = E[(Q_a·v) u] − Σ_b inside_ba Q_b.
    inside = sum(
        jnp.einsum("b...,a...->ba", q, t)
        for q, t in zip(jax.tree.leaves(basis), jax.tree.leaves(backward), strict=True)
    )
    outside = jax.tree.map(lambda t, q: t - jnp.tensordot(inside, q, axes=(0, 0)), backward, basis)
    return forward, outside


def _exact_part(
    engine: Engine, basis: PyTree, number: Number, position: int, forward: PyTree, outside: PyTree
) -> float:
    """Return Σ_a f(Q_a, F_a) + Σ_a f(R_a, Q_a), where f(u, v) is the number as a function of its pair of vectors."""
    one_way, other_way = (
        _closed(_substituted(number, position, iter(pair))) for pair in ((LEFT, RIGHT), (RIGHT, LEFT))
    )
    size = jax.tree.leaves(basis)[0].shape[0]
    if one_way == other_way:  # f is symmetric: Σ_a f(Q_a, F_a + R_a)
        return _sum_over(engine, one_way, size, basis, jax.tree.map(jnp.add, forward, outside))
    return _sum_over(engine, one_way, size, basis, forward) + _sum_over(engine, one_way, size, outside, basis)


def _sum_over(engine: Engine, number: Number, size: int, left: PyTree, right: PyTree) -> float:
    """Return Σ_a f(left_a, right_a)."""
    total = 0.0
    for a in range(size):
        fork = engine.fork()
        fork.give({LEFT: _entry(left, a), RIGHT: _entry(right, a)})
        fork.average(means_below(number))
        total += fork.exact((number,))[number]
    return total


def _entry(stacked: PyTree, index: int) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[index], stacked)
