"""How far a series in the learning rate goes, from the sizes of all its orders and their errors.

At a learning rate it has converged where every order is below a fifth of the one before. A coefficient that is lost in
its own errors is not known to be small: it may end the range by its error bar, and never extends it. Order 0 is no
measure, as a constant added to the loss changes it, save that a loss is not expected to fall through zero.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from ..diagrams import Diagram
from ..estimates import CONVERGED
from ..evaluation import Values
from ..series import Series

Tree = tuple["Tree", ...]  # a rooted tree: those below its root, in order

LOST = 2.0  # standard errors within which a coefficient cannot be told from zero
_CANCEL = 0.5  # of what the trees of the last order are without cancelling: measured in benchmarks/truncation.py
_ROUNDING = 1e-13  # of the largest coefficient: below, it is zero up to rounding in double precision


@dataclass(frozen=True)
class Orders:
    """The coefficients of a series with their errors.

    Attributes:
        coefficients: those of η⁰, η¹, …, shape (order + 1,).
        sampling: their standard errors, likewise.
        rounding: what floating-point arithmetic does to them, likewise; zeros where it was not measured.
        uncancelled: the root of the sum over trees of the squares of what each adds, likewise; zeros if not known.
    """

    coefficients: np.ndarray
    sampling: np.ndarray
    rounding: np.ndarray
    uncancelled: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """The coefficients without their signs."""
        return np.abs(self.coefficients)

    @property
    def reach(self) -> np.ndarray:
        """How large a coefficient that cannot be told from zero may be: two of its errors."""
        return LOST * np.hypot(self.sampling, self.rounding)

    @property
    def known(self) -> list[int]:
        """The orders from 1 on whose coefficients can be told from zero."""
        least = np.maximum(self.reach, _ROUNDING * self.sizes.max())
        return [order for order in range(1, len(self.sizes)) if self.sizes[order] > least[order]]

    def edge(self, *, falls: bool) -> tuple[float, str]:
        """Return the learning rate up to which the series has converged, and in words what ends the range.

        Args:
            falls: whether the quantity is a loss. If one starts above zero, a range in which some cut of its series is
                below zero is not trusted: a term is larger than the loss can fall.
        """
        known = self.known
        if len(known) < 2:
            return 0.0, "fewer than two orders from 1 on can be told from zero, which does not show convergence"
        limits = [
            (
                CONVERGED * self._balance(a, b, self.sizes[b]),
                f"the term of order {b} is not well below that of order {a}",
            )
            for a, b in pairwise(known)
        ]
        for order in range(known[0] + 1, len(self.sizes)):
            if order not in known and self.reach[order] > 0:
                before = max(k for k in known if k < order)
                rate = CONVERGED * self._balance(before, order, self.reach[order])
                limits.append((rate, f"the term of order {order} is lost in its errors, which are not small"))
        if falls and self.coefficients[0] > self.reach[0]:
            limits += [(self._crossing(order), f"to order {order} the loss would fall below zero") for order in known]
        return min(limits)

    def next_term(self, rates: np.ndarray) -> np.ndarray:
        """Return a figure for the size of what is cut off, at every learning rate.

        It is the term of the last order that is not zero, without what cancels between its trees. If that order is lost
        in sampling errors, it is taken as large as two of them, and no smaller than the orders before extrapolate to.
        And it is no less than what any two successive orders extrapolate to for the first order that is cut off.
        """
        order, known = len(self.sizes) - 1, self.known
        last = known[-1] if known else 0
        figure = np.maximum(self._term(last, rates), _CANCEL * self.uncancelled[last] * rates**last)
        lost = [k for k in range(last + 1, order + 1) if self.sampling[k] > 0 and self.reach[k] > 0]
        if lost and len(known) > 1:
            figure = self._extrapolated(known[-2], last, lost[-1], rates)
        for k in lost:
            figure = np.maximum(figure, self.reach[k] * rates**k)
        for a, b in pairwise(known):
            figure = np.maximum(figure, self._extrapolated(a, b, order + 1, rates))
        return figure

    def _term(self, order: int, rates: np.ndarray) -> np.ndarray:
        return np.asarray(self.sizes[order] * rates**order)

    def _balance(self, a: int, b: int, size: float) -> float:
        """Return the learning rate at which order b, of such a size, has the term of order a."""
        with np.errstate(over="ignore"):
            return float((self.sizes[a] / size) ** (1 / (b - a)))

    def _extrapolated(self, a: int, b: int, order: int, rates: np.ndarray) -> np.ndarray:
        """Return the term of an order if terms go on as they go from order a to order b."""
        ratio = rates / self._balance(a, b, self.sizes[b])
        return np.asarray(self._term(b, rates) * ratio ** (order - b))

    def _crossing(self, order: int) -> float:
        """Return the least learning rate at which the series cut after an order is zero; infinite if there is none."""
        roots = np.roots(self.coefficients[order::-1])
        real = roots.real[(np.abs(roots.imag) <= 1e-9 * np.abs(roots)) & (roots.real > 0)]
        return float(real.min()) if len(real) else np.inf


def by_tree(series: Series, values: Values) -> np.ndarray:
    """Return what the diagrams of every rooted tree add to the coefficients, shape (order + 1, number of trees).

    Trees are the mechanisms of a series: products of derivatives that ties only average in other ways. Those of one
    order may cancel at one point by accident, and then say little about the next order.
    """
    numbers = [{tree: number for number, tree in enumerate(_trees(order))} for order in range(series.order + 1)]
    found = np.zeros((series.order + 1, max(map(len, numbers))))
    for order, known in enumerate(numbers):
        for diagram, weight in series.of_order(order).items():
            found[order, known[_tree(diagram)]] += float(weight) * float(values.replicates(diagram).mean())
    return found


def _tree(diagram: Diagram) -> Tree:
    """Return a diagram's tree, without its ties."""
    below: list[list[Tree]] = [[] for _ in diagram.parents]
    for node in range(diagram.order, 0, -1):
        below[diagram.parents[node]].append(tuple(sorted(below[node])))
    return tuple(sorted(below[0]))


@cache
def _trees(order: int) -> tuple[Tree, ...]:
    """Return all rooted trees with so many edges, in order."""
    return ((),) if not order else tuple(sorted({grown for tree in _trees(order - 1) for grown in _grown(tree)}))


def _grown(tree: Tree) -> list[Tree]:
    """Return a tree with one more leaf, at every place."""
    found = [tuple(sorted((*tree, ())))]
    for place, branch in enumerate(tree):
        found += [tuple(sorted((*tree[:place], grown, *tree[place + 1 :]))) for grown in _grown(branch)]
    return found
