"""Modified equations: the flow that passes through the mean iterates of SGD, order by order.

The mean displacement of a run is a sum over trees whose root is a loose end. So is a vector field, and a flow of unit
time along a field v moves θ by Σ_j D_v^(j−1) v / j!, where D_v hangs the trees of v below every node of a tree: the
derivative of its value along v. Order by order this is solved for v. Values of trees that hang together without a tie
are products, in moments and in cumulants alike, so that expectations do not get in the way.

A field is a gradient if the trees that are one tree with its loose end at different nodes have coefficients in the
proportion in which the gradient of that tree has them.

References:
    Backward error analysis as in Hairer, Lubich and Wanner, "Geometric Numerical Integration", chapter IX; with
    expectations over batches it is the project's own. Barrett and Dherin, "Implicit Gradient Regularization"; Smith et
    al., "On the Origin of Implicit Regularization in Stochastic Gradient Descent".
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import sympy

from .._arguments import check_basis, check_order
from ..diagrams import Diagram
from ..errors import ArgumentError
from ..optimizers import PLAIN, Optimizer
from ..spacetimes import Spacetime
from ._expand import expand
from ._series import Series

Trees = dict[Diagram, sympy.Expr]  # trees whose root is a loose end, with coefficients


@dataclass(frozen=True)
class ModifiedFlow:
    """The flow dθ/dτ = field(θ), τ = ηt, on which the mean iterate lies after the whole run, to an order in η.

    Attributes:
        field: a series of vectors: the root of each diagram is a loose end with one edge. Its term of order k in the
            diagrams' edges has the power η^(k−1): the first is −∇l.
    """

    field: Series

    @cached_property
    def loss(self) -> Series:
        """The modified loss, of which the field is minus the gradient: l + η · … .

        Its diagrams have no loose end; any of their nodes may be the root.

        Raises:
            ArgumentError: the field is no gradient; the message says in which diagrams.
        """
        found: dict[Diagram, sympy.Expr] = {}
        for diagram in self.field:
            shape = _without_loose_end(diagram)
            rootings = Counter(_rootings(shape))
            name = min(rootings)
            if name in found:
                continue
            shares = {rooted: -self.field[_with_loose_end(rooted)] / times for rooted, times in rootings.items()}
            first = shares[name]
            for rooted, share in shares.items():
                if sympy.cancel(share - first) != 0:
                    one, other = _with_loose_end(name), _with_loose_end(rooted)
                    raise ArgumentError(
                        f"This flow has no loss: the gradient of {name} has the terms {one} and {other} in the "
                        f"proportion {rootings[name]} : {rootings[rooted]}, and the field has them with "
                        f"{self.field[one]} and {self.field[other]}. Use the field, or a lower order."
                    )
            found[name] = first
        return Series(
            found,
            quantity="modified loss",
            order=self.field.order - 1,
            basis=self.field.basis,
            spacetime=self.field.spacetime,
            optimizer=self.field.optimizer,
            reading=self.field.reading,
        )

    def __str__(self) -> str:
        try:
            return str(self.loss)
        except ArgumentError:
            return str(self.field)


def modified_flow(
    spacetime: Spacetime,
    optimizer: Optimizer = PLAIN,
    order: int = 2,
    *,
    basis: str = "cumulant",
    reading: str = "population",
) -> ModifiedFlow:
    """Return the flow whose end is the mean iterate of SGD, to an order in the learning rate.

    Its time is τ = ηt, so that the flow runs for ηT. For a given training set, that of gradient descent is the same for
    all T. With momentum, which starts at rest, it depends on T and has a limit. Averaged over training sets, several
    steps on the same points are correlated and have no flow of their own: it depends on T too.

    Args:
        spacetime: the run whose mean end the flow meets; sizes may be symbols. T is at least 1.
        optimizer: the optimizer.
        order: the highest power of η in the displacement; the loss goes to the power below.
        basis: of the values, "moment" or "cumulant".
        reading: "population": the mean is over training sets too; "conditional": the training set is given.

    Raises:
        ArgumentError: an argument is invalid, the order or T is 0, or the optimizer does not fit the spacetime.

    Examples:
        >>> import feyngd as fd
        >>> print(modified_flow(fd.Spacetime.gd(N=1, T=1), order=2).loss)
        modified loss to order η^1, cumulant basis, full batch, N=1, T=1
          η^0   1     []    l
          η^1   1/4   [a]   GG
    """
    check_basis(basis)
    if check_order(order) < 1:
        raise ArgumentError("A flow starts at order 1, which is the gradient; got order=0.")
    if spacetime.T == 0:
        raise ArgumentError("A run of T=0 steps does not move: there is no flow.")
    made_of: dict[str, Any] = {
        "order": order,
        "basis": basis,
        "spacetime": spacetime,
        "optimizer": optimizer,
        "reading": reading,
    }
    mean = expand("displacement", **made_of)
    field: Trees = {}
    for edges in range(1, order + 1):
        moved = _flow(field, edges)
        for diagram in {*mean.of_order(edges), *moved}:
            rest = mean[diagram] - moved.get(diagram, sympy.Integer(0))
            if (value := sympy.cancel(rest)) != 0:
                field[diagram] = value
    rate = {diagram: sympy.cancel(value / spacetime.T) for diagram, value in field.items()}
    return ModifiedFlow(Series(rate, quantity="displacement", **made_of))


def _flow(field: Trees, edges: int) -> Trees:
    """Return the trees with a number of edges in what a unit of time along a field moves, beyond the field itself."""
    total: Trees = {}
    lie, factor = field, Fraction(1)
    for power in range(2, edges + 1):
        lie, factor = _derivative(lie, field, edges), factor / power
        for diagram, value in lie.items():
            if diagram.order == edges:
                share = sympy.Rational(factor.numerator, factor.denominator)
                total[diagram] = total.get(diagram, sympy.Integer(0)) + share * value
    return total


def _derivative(trees: Trees, field: Trees, edges: int) -> Trees:
    """Return the derivative of trees along a field, up to a number of edges."""
    total: Trees = {}
    for tree, value in trees.items():
        for other, factor in field.items():
            if tree.order + other.order <= edges:
                for grown in _hung_below(tree, other):
                    total[grown] = total.get(grown, sympy.Integer(0)) + value * factor
    return total


def _hung_below(tree: Diagram, other: Diagram) -> Iterator[Diagram]:
    """Iterate over the ways to hang a tree by its loose end below a node of another one that is no loose end."""
    shift, parts = tree.order, max(tree.labels) + 1
    for node in range(1, tree.order + 1):
        parents = [*tree.parents, *(node if parent == 0 else parent + shift for parent in other.parents[1:])]
        yield Diagram.from_labels(parents, [*tree.labels, *(label + parts for label in other.labels[1:])])


def _without_loose_end(diagram: Diagram) -> Diagram:
    """Return the tree below the loose end, rooted at the node that it hangs from."""
    parents = [-1, *(parent - 1 for parent in diagram.parents[2:])]
    return Diagram.from_labels(parents, diagram.labels[1:])


def _with_loose_end(diagram: Diagram) -> Diagram:
    """Return a tree with a loose end above its root."""
    parents = [-1, 0, *(parent + 1 for parent in diagram.parents[1:])]
    return Diagram.from_labels(parents, [max(diagram.labels) + 1, *diagram.labels])


def _rootings(diagram: Diagram) -> Iterator[Diagram]:
    """Iterate over a tree with each of its nodes as the root."""
    neighbours: list[list[int]] = [[] for _ in diagram.parents]
    for node, parent in enumerate(diagram.parents[1:], 1):
        neighbours[node].append(parent)
        neighbours[parent].append(node)
    for root in range(diagram.order + 1):
        parents, order, waiting = {root: -1}, [], [root]
        while waiting:
            node = waiting.pop()
            order.append(node)
            for other in neighbours[node]:
                if other not in parents:
                    parents[other] = node
                    waiting.append(other)
        number = {node: i for i, node in enumerate(order)}
        above = [number.get(parents[node], -1) for node in order]
        yield Diagram.from_labels(above, [diagram.labels[node] for node in order])
