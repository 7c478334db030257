"""What expressions cost, in gradients of the mean loss over the whole population.

A derivative along several directions is computed as nested tangents: for every sub-multiset of the directions one
evaluation in forward mode, and for vectors one in reverse mode, with twice the work for every further direction.
Vectors at the same position share those they have in common, and so do scalars. Directions that differ from row to row
cost more than those shared by all rows, whose linear algebra is batched.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

from ._expressions import Dot, Number, Product, Scalar, Vector, means_below, vectors_in

_DOT = 5  # hundredths of a gradient for an inner product of two vectors

Piece = tuple[str, str, tuple[str, ...], int]


@dataclass(frozen=True)
class CostModel:
    """What one tangent or cotangent costs, in hundredths of a gradient, measured on a CPU (docs/benchmarks.md).

    Integers, so that a plan does not depend on the order of summation.

    Attributes:
        forward: the cost in forward mode without directions, along directions that all rows share, and along others.
        reverse: the same in reverse mode.
    """

    forward: tuple[int, int, int]
    reverse: tuple[int, int, int]


# Weights that an example uses many times, as convolutions do: arithmetic takes the time.
ARITHMETIC_BOUND = CostModel((25, 30, 45), (45, 45, 65))
# Weights that an example uses once: reading and writing a vector of parameters for every example takes the time.
MEMORY_BOUND = CostModel((30, 30, 60), (100, 100, 400))


@lru_cache(maxsize=200_000)
def pieces(number: Number, model: CostModel) -> frozenset[Piece]:
    """Return everything a number needs computed, each with its cost; equal pieces of several numbers are shared."""
    found = set(row_pieces("pass" if len(number.positions) > 1 else "exact", number, model))
    for mean in means_below(number):
        is_late = isinstance(number, Dot) and number.is_late and mean in number.inputs
        stage = "exact" if is_late else "shared" if mean.is_shared else f"level {mean.level}"
        found.update(row_pieces(stage, mean.of, model))
    return frozenset(found)


def gradients(found: Iterable[Piece]) -> float:
    """Return the cost of pieces in gradients."""
    return sum(piece[3] for piece in set(found)) / 100


def row_pieces(stage: str, item: Vector | Number, model: CostModel) -> Iterator[Piece]:
    """Iterate over what has to be computed at every row."""
    for vector in vectors_in(item):
        yield from _components(f"{stage} forward", vector, model.forward)
        yield from _components(f"{stage} reverse", vector, model.reverse, growth=2)
    if isinstance(item, Scalar):
        yield from _components(f"{stage} tower", item, model.forward)
    elif isinstance(item, Dot):
        yield stage, item.text, (), _DOT
    elif isinstance(item, Product):
        for factor in item.inputs:
            yield from row_pieces(stage, factor, model)


def _components(stage: str, item: Vector | Scalar, costs: tuple[int, int, int], growth: int = 1) -> Iterator[Piece]:
    for size in range(len(item.inputs) + 1):
        for inputs in set(combinations(item.inputs, size)):
            varies = any(inner.positions for inner in inputs)
            cost = costs[2 if varies else min(size, 1)] * growth ** max(0, size - 1)
            yield stage, str(item.position), tuple(inner.text for inner in inputs), cost
