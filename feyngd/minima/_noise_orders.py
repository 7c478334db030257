"""The diagrams of the displacement from a minimum by the number of their noises, and their coefficients.

At a minimum a node that is alone in its part has two children or more: with one it is summed up in a propagator, with
none it is the mean gradient. All other nodes are noises, tied in twos or more. So k noises come with at most k − 1
other nodes. There are finitely many such diagrams, and their sum is exact in η and T at the power k of the noise.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import combinations
from typing import Any

from ..counting import propagated_count, symbol_sizes
from ..diagrams import Diagram, set_partitions
from ..series import measurements
from ..spacetimes import Spacetime


@cache
def displacement_diagrams(noises: int) -> tuple[Diagram, ...]:
    """Return the diagrams of the displacement from a minimum that have a number of noises, sorted."""
    found = set()
    for others in range(noises):
        for shape in _shapes(noises + others):
            for labels in _labellings(shape, noises):
                found.add(shape.relabel(labels))
    return tuple(sorted(found))


def displacement_coefficient(diagram: Diagram, spacetime: Spacetime, eigenvalues: list[Any], rate: float) -> Any:
    """Return the re-summed coefficient of a diagram of the displacement, times η^order, as numbers.

    It is what `ResummedSeries.coefficient` returns, without listing all diagrams up to its order.

    Args:
        diagram: one with a root that is alone and has one child.
        spacetime: a concrete spacetime.
        eigenvalues: for every edge an eigenvalue of the Hessian or an array of them.
        rate: η.
    """
    ((_, factor),) = measurements("displacement", diagram, spacetime, "cumulant")
    exact = factor.as_expr(symbol_sizes(spacetime))
    total = propagated_count(diagram, spacetime, [1 - rate * h for h in eigenvalues], float)
    return total * float(Fraction(int(exact.p), int(exact.q))) * rate**diagram.order


def _shapes(edges: int) -> set[Diagram]:
    """Return the trees whose root has one child, all nodes tied, as a diagram each."""
    shapes = {Diagram.from_labels([-1, 0], [0, 0])}
    for _ in range(edges - 1):
        shapes = {
            Diagram.from_labels([*shape.parents, parent], [0] * (shape.order + 2))
            for shape in shapes
            for parent in range(1, shape.order + 1)
        }
    return shapes


def _labellings(shape: Diagram, noises: int) -> Iterator[list[int]]:
    """Iterate over the labels of nodes that make diagrams of a minimum, with so many noises."""
    nodes = range(1, shape.order + 1)
    always = [node for node in nodes if len(shape.children[node]) < 2]
    rest = [node for node in nodes if len(shape.children[node]) >= 2]
    for more in combinations(rest, noises - len(always)) if len(always) <= noises else ():
        for parts in set_partitions([*always, *more]):
            if min(len(part) for part in parts) > 1:
                labels = list(range(shape.order + 1))
                for part in parts:
                    for node in part:
                        labels[node] = part[0]
                yield labels
