"""How far a series in the learning rate goes, from the sizes of all its orders and their errors.

Write c_k for the coefficient of η^k and s_k for its error. The series has converged at a learning rate η where every
term |c_k| η^k is below a fifth of the one before. A coefficient within two errors of zero is not known to be small: its
error bar 2 s_k in place of |c_k| may end the range, and never extends it. Order 0 is not compared with, as a constant
added to the loss changes it; but a loss is not expected to fall through zero.
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

LOST = 2.0  # standard errors within which a coefficient cannot be distinguished from zero
_CANCEL = 0.5  # of the root of the sum of squares over trees, in the truncation figure: see benchmarks/truncation.py
_ROUNDING = 1e-13  # of the largest coefficient: a smaller one is zero up to rounding in double precision


@dataclass(frozen=True)
class Orders:
    """The coefficients of a series with their errors.

    Attributes:
        coefficients: c_k of η⁰, η¹, …, shape (order + 1,).
        sampling: their standard errors, of the same shape.
        rounding: what floating-point arithmetic does to them, of the same shape; zeros where it was not measured.
        uncancelled: the root of the sum over trees of the squares of what each adds, of the same shape; zeros if not
            known.
    """

    coefficients: np.ndarray
    sampling: np.ndarray
    rounding: np.ndarray
    uncancelled: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """|c_k|."""
        return np.abs(self.coefficients)

    @property
    def reach(self) -> np.ndarray:
        """2 s_k: how large a coefficient that cannot be distinguished from zero may be."""
        return LOST * np.hypot(self.sampling, self.rounding)

    @property
    def known(self) -> list[int]:
        """The orders k from 1 on whose coefficients can be distinguished from zero, |c_k| > 2 s_k."""
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
            return (
                0.0,
                "fewer than two orders from 1 on can be distinguished from zero, which does not show convergence",
            )
        limits = [
            (
                CONVERGED * self._balance(a, b, self.sizes[b]),
                f"the term of order {b} is not well below that of order {a}",
            )
            for a, b in pairwise(known)
        ]
        # An order lost in its errors ends the range where its error bar reaches a fifth of the last known order before.
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

        It is the term of the last known order K, in which the cancellation between trees is limited. Orders beyond K
        that are lost in sampling errors are taken as large as two of them, and no smaller than the two orders before
        extrapolate to. And the figure is at least what any two successive known orders extrapolate to for the first
        order that is cut off.
        """
        order, known = len(self.sizes) - 1, self.known
        last = known[-1] if known else 0  # K
        figure = np.maximum(self._term(last, rates), _CANCEL * self.uncancelled[last] * rates**last)
        lost = [k for k in range(last + 1, order + 1) if self.sampling[k] > 0 and self.reach[k] > 0]
        if lost and len(known) > 1:  # the last order of the series is lost: it counts as large as K extrapolates to
            figure = self._extrapolated(known[-2], last, lost[-1], rates)
        for k in lost:
            figure = np.maximum(figure, self.reach[k] * rates**k)
        for a, b in pairwise(known):
            figure = np.maximum(figure, self._extrapolated(a, b, order + 1, rates))
        return figure

    def _term(self, order: int, rates: np.ndarray) -> np.ndarray:
        return np.asarray(self.sizes[order] * rates**order)

    def _balance(self, a: int, b: int, size: float) -> float:
        """Return the learning rate at which the terms |c_a| η^a and size · η^b are equal."""
        with np.errstate(over="ignore"):
            return float((self.sizes[a] / size) ** (1 / (b - a)))

    def _extrapolated(self, a: int, b: int, order: int, rates: np.ndarray) -> np.ndarray:
        """Return the size of the term of an order, if terms grow on as they do from order a to order b."""
        ratio = rates / self._balance(a, b, self.sizes[b])
        return np.asarray(self._term(b, rates) * ratio ** (order - b))

    def _crossing(self, order: int) -> float:
        """Return the least learning rate at which the series cut after an order is zero; infinite if there is none."""
        roots = np.roots(self.coefficients[order::-1])
        real = roots.real[(np.abs(roots.imag) <= 1e-9 * np.abs(roots)) & (roots.real > 0)]
        return float(real.min()) if len(real) else np.inf


def by_tree(series: Series, values: Values) -> np.ndarray:
    """Return what the diagrams of every rooted tree add to the coefficients, shape (order + 1, number of trees).

    Trees are the mechanisms of a series: products of derivatives, which different partitions average in different
    ways. Trees of one order may cancel at one point by accident; then their sum says little about the next order.
    """
    # Two trees are one whose root has both for its children.
    more = 2 if series.has_two_roots else 0
    numbers = [tree_numbers(order + more) for order in range(series.order + 1)]
    found = np.zeros((series.order + 1, max(map(len, numbers))))
    for order, known in enumerate(numbers):
        for diagram, weight in series.of_order(order).items():
            found[order, known[tree_of(diagram)]] += float(weight) * float(values.replicates(diagram).mean())
    return found


def tree_numbers(order: int) -> dict[Tree, int]:
    """Return a number for every rooted tree with a number of edges."""
    return {tree: number for number, tree in enumerate(_trees(order))}


def tree_of(diagram: Diagram) -> Tree:
    """Return a diagram's tree, without its ties."""
    below: list[list[Tree]] = [[] for _ in diagram.parents]
    for node in range(len(diagram.parents) - 1, 0, -1):
        below[diagram.parents[node]].append(tuple(sorted(below[node])))
    return tuple(sorted(below[0]))


@cache
def _trees(order: int) -> tuple[Tree, ...]:
    """Return all rooted trees with a number of edges, in order."""
    return ((),) if not order else tuple(sorted({grown for tree in _trees(order - 1) for grown in _grown(tree)}))


def _grown(tree: Tree) -> list[Tree]:
    """Return a tree with one more leaf, at every place."""
    found = [tuple(sorted((*tree, ())))]
    for place, branch in enumerate(tree):
        found += [tuple(sorted((*tree[:place], grown, *tree[place + 1 :]))) for grown in _grown(branch)]
    return found
