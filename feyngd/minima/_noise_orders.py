"""The diagrams of the displacement from a minimum, by the number k of their noises, and their coefficients.

A noise is a tied node: one example's loss less the mean loss, differentiated. The nodes that are alone in their part
are derivatives of the mean loss. At a minimum each of these has at least two children: without children it is the mean
gradient, which is zero, and with one child it is already part of a propagator. A tree whose leaves are all noises has
fewer branchings than leaves, so that k noises come with at most k − 1 other nodes. There are finitely many such
diagrams, and at the power k of the noise their sum is exact in η and T.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import combinations
from typing import Any

from ..counting import resummed_count, symbol_sizes
from ..diagrams import Diagram, set_partitions
from ..optimizers import PLAIN, Optimizer
from ..series import measurements
from ..spacetimes import Spacetime


@cache
def displacement_diagrams(noises: int) -> tuple[Diagram, ...]:
    """Return the diagrams of the displacement from a minimum that have a number of noises, sorted."""
    found = set()
    for others in range(noises):  # nodes that are alone in their part; the root, where θ is measured, is not counted
        for shape in _shapes(noises + others):
            for labels in _labellings(shape, noises):
                found.add(shape.relabel(labels))
    return tuple(sorted(found))


def displacement_coefficient(
    diagram: Diagram, spacetime: Spacetime, eigenvalues: list[Any], rate: float, optimizer: Optimizer = PLAIN
) -> Any:
    """Return the re-summed coefficient of a diagram of the displacement, times η^order, as numbers.

    It is what `ResummedSeries.coefficient` returns, without listing all diagrams up to its order.

    Args:
        diagram: one with a root that is alone and has one child.
        spacetime: a concrete spacetime.
        eigenvalues: for every edge an eigenvalue h of the Hessian, or an array of them.
        rate: η.
        optimizer: with floats for parameters.
    """
    ((_, factor),) = measurements("displacement", diagram, spacetime, "cumulant")
    exact = factor.as_expr(symbol_sizes(spacetime))  # (−1/B)^order / |Aut|
    total = resummed_count(diagram, spacetime, optimizer, [rate * h for h in eigenvalues], float)
    return total * float(Fraction(int(exact.p), int(exact.q))) * rate**diagram.order


def _shapes(edges: int) -> set[Diagram]:
    """Return the trees with a number of edges whose root has one child, each as a diagram with all nodes tied."""
    shapes = {Diagram.from_labels([-1, 0], [0, 0])}
    for _ in range(edges - 1):
        shapes = {
            Diagram.from_labels([*shape.parents, parent], [0] * (shape.order + 2))
            for shape in shapes
            for parent in range(1, shape.order + 1)
        }
    return shapes


def _labellings(shape: Diagram, noises: int) -> Iterator[list[int]]:
    """Iterate over the labels that turn a tree into a diagram of a minimum with a number of noises.

    Nodes with fewer than two children are noises, and some of the branchings may be; all noises are tied.
    """
    nodes = range(1, shape.order + 1)
    no_branchings = [node for node in nodes if len(shape.children[node]) < 2]
    branchings = [node for node in nodes if len(shape.children[node]) >= 2]
    for noisy in combinations(branchings, noises - len(no_branchings)) if len(no_branchings) <= noises else ():
        for parts in set_partitions([*no_branchings, *noisy]):
            if min(len(part) for part in parts) > 1:
                labels = list(range(shape.order + 1))  # every node alone in its part
                for part in parts:
                    for node in part:
                        labels[node] = part[0]
                yield labels
