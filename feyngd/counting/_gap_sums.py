"""Weak orders of nodes in time, as sums over the gaps between their blocks, for every sampling scheme.

Edges have factors x^Δt, and an edge is open from its node's time to its parent's. Take a weak order of the nodes. The
edges that are open behind its block j have the joint factor X_j, the product of their x. What is left is to sum
X_j^gap over all gaps between the blocks, with a weight in N and B: a sum over the steps of a run, over the batches of
an epoch, or over the epochs that pass.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from ..diagrams import Diagram
from ..spacetimes import Spacetime
from . import _ratio
from ._propagator_sums import Edges, Labels
from ._ratio import Ratio, falling, inverse_falling, ring_size
from ._slots import spread_over_slots
from ._weak_orders import weak_orders

Exponents = tuple[int, ...]
Points = tuple[Exponents, ...]


class GapSum(NamedTuple):
    """The sum of Π_j X_j^gap_j over the gaps between the blocks of a weak order.

    Attributes:
        over: what passes in a gap: "steps" of the whole run, batches of an "epoch", or "epochs".
        points: X_0, …, X_k, each as the exponents of the x: how often every edge is open behind the block.
    """

    over: str
    points: Points


Terms = dict[tuple[GapSum, ...], Ratio]  # products of sums over gaps, each with its weight in N and B

# Up to this many epochs the ways to let them pass are summed one by one. For [a b b], reshuffled, that took 0.02 s at
# E = 1, 1.4 s at E = 8, 2.8 s at E = 12 and 5.5 s at E = 16; the general form takes 2 s at any E.
_FEW_EPOCHS = 12


def few_epochs(spacetime: Spacetime) -> int | None:
    """Return the number of epochs, if it is small enough for a sum over all ways to let them pass; otherwise `None`."""
    epochs = spacetime.E if spacetime.sampling in ("fixed", "reshuffled") else None
    return int(epochs) if epochs is not None and epochs.is_Integer and int(epochs) <= _FEW_EPOCHS else None


class WeakOrders:
    """The weak orders of a diagram's nodes, with their sums over gaps and their weights.

    Args:
        diagram: the diagram; whatever its root is tied to does not matter.
        spacetime: a spacetime with numbers or symbols; no list of explicit batches.
        may_use_N: whether weights hold the number N where it is one; otherwise it stays a symbol.
    """

    def __init__(self, diagram: Diagram, spacetime: Spacetime, *, may_use_N: bool = True) -> None:
        self._edges = Edges(diagram, (), Fraction)
        self._sampling = spacetime.sampling
        self._N = int(spacetime.N) if spacetime.N.is_Integer and may_use_N else None
        self._B = int(spacetime.B) if spacetime.B.is_Integer else None
        self._epochs = few_epochs(spacetime)

    def of_partition(self, labels: Labels) -> Terms:
        """Return the weights of all products of sums over gaps, for one partition of the nodes.

        Args:
            labels: the part of every non-root node.
        """
        collected: Terms = {}
        if self._N is not None and max(labels, default=-1) >= self._N:
            return collected  # more parts than points
        scheme = {
            "full-batch": self._full_batch,
            "with-replacement": self._with_replacement,
            "reshuffled": self._reshuffled,
            "fixed": self._fixed,
        }[self._sampling]
        for gap_sums, weight in scheme(labels):
            if weight.numerator:
                collected[gap_sums] = collected.get(gap_sums, _ratio.ZERO) + weight
        return {gap_sums: weight for gap_sums, weight in collected.items() if weight.numerator}

    def _full_batch(self, labels: Labels) -> Iterator[tuple[tuple[GapSum, ...], Ratio]]:
        """Strict weak orders of the nodes by step, each with the weight N^(P)."""
        weight = self._choices_of_points(labels)
        for states in weak_orders(self._edges.down_sets):
            if self._is_strict(states):
                yield (GapSum("steps", self._points(states)),), weight

    def _with_replacement(self, labels: Labels) -> Iterator[tuple[tuple[GapSum, ...], Ratio]]:
        """Strict weak orders of the nodes by step, each with the weight N^(P) Π_steps (that of the slots in use)."""
        for states in weak_orders(self._edges.down_sets):
            if self._is_strict(states):
                weight = self._choices_of_points(labels)
                for before, after in pairwise(states):
                    weight = weight * self._slots(before ^ after, labels)
                yield (GapSum("steps", self._points(states)),), weight

    def _slots(self, block: int, labels: Labels) -> Ratio:
        """Return Σ_j (ways in which the nodes of a block use j slots of the batch) B^(j) / N^j."""
        nodes_by_part = Counter(labels[v] for v in range(self._edges.size) if block >> v & 1)
        B, total = ring_size(self._B, _ratio.B), _ratio.ZERO
        for slots, ways in spread_over_slots(nodes_by_part.values()).items():
            chance = Ratio.make(falling(B, slots) * ways)
            for _ in range(slots):
                chance = chance * inverse_falling(self._N, 1)
            total = total + chance
        return total

    def _reshuffled(self, labels: Labels) -> Iterator[tuple[tuple[GapSum, ...], Ratio]]:
        """Weak orders of the nodes by epoch, and in every epoch those of its Q parts by batch, times 1 / N^(Q)."""
        for states in self._orders_by_epoch():
            products: Terms = {(self._passing(states),): self._choices_of_points(labels)}  # of the epochs so far
            for epoch in pairwise(states):
                longer: Terms = {}
                for gap_sum, weight, parts in self._by_batch([epoch], labels):
                    share = weight * inverse_falling(self._N, parts)
                    for gap_sums, before in products.items():
                        key = tuple(sorted((*gap_sums, gap_sum)))
                        longer[key] = longer.get(key, _ratio.ZERO) + before * share
                products = longer
            yield from products.items()

    def _fixed(self, labels: Labels) -> Iterator[tuple[tuple[GapSum, ...], Ratio]]:
        """Weak orders of the nodes by epoch, and one weak order of the parts by batch for all epochs."""
        for states in self._orders_by_epoch():
            for gap_sum, weight, _ in self._by_batch(list(pairwise(states)), labels):
                yield (self._passing(states), gap_sum), weight

    def _orders_by_epoch(self) -> Iterator[tuple[int, ...]]:
        """Iterate over the weak orders by epoch that have no more blocks than there are epochs."""
        for states in weak_orders(self._edges.down_sets):
            if self._epochs is None or len(states) - 1 <= self._epochs:
                yield states

    def _passing(self, states: Sequence[int]) -> GapSum:
        """Return the sum over the epochs that pass between those with nodes."""
        return GapSum("epochs", self._points(states))

    def _by_batch(self, epochs: Sequence[tuple[int, int]], labels: Labels) -> Iterator[tuple[GapSum, Ratio, int]]:
        """Iterate over the weak orders by batch of the parts in some epochs, in all of which a part has the same batch.

        Args:
            epochs: for each epoch the set of nodes placed before it and after it.
            labels: the part of every node.

        Yields:
            The sum over the gaps between batches, the weight Π_blocks B^(parts), and the number of parts.
        """
        edges, B = self._edges, ring_size(self._B, _ratio.B)
        nodes_within = [after ^ before for before, after in epochs]
        present = sorted({labels[v] for nodes in nodes_within for v in range(edges.size) if nodes >> v & 1})
        nodes_of = [sum(1 << v for v in range(edges.size) if labels[v] == part) for part in present]

        def placed(parts: int, nodes: int) -> int:
            """Those of some nodes whose part is among some parts."""
            return sum(nodes_of[i] & nodes for i in range(len(present)) if parts >> i & 1)

        for orders in weak_orders(range(1 << len(present))):  # any set of parts is a down-set
            weight, points, children_come_first = _ratio.RING.one, [], True
            for before, after in pairwise(orders):
                block = before ^ after
                weight *= falling(B, block.bit_count())
                for (start, _), nodes in zip(epochs, nodes_within, strict=True):
                    if not edges.may_follow(placed(block, nodes), start | placed(before, nodes)):
                        children_come_first = False
            if children_come_first:
                for parts in orders:
                    # The state of every epoch at this point; their open edges have one joint factor.
                    states = [
                        start | placed(parts, nodes) for (start, _), nodes in zip(epochs, nodes_within, strict=True)
                    ]
                    points.append(self._open(states))
                yield GapSum("epoch", tuple(points)), Ratio.make(weight), len(present)

    def _choices_of_points(self, labels: Labels) -> Ratio:
        """N^(P), the ways to give the P parts different points."""
        return Ratio.make(falling(ring_size(self._N, _ratio.N), max(labels, default=-1) + 1))

    def _is_strict(self, states: Sequence[int]) -> bool:
        """Whether every child is in an earlier block than its parent."""
        return all(self._edges.may_follow(after ^ before, before) for before, after in pairwise(states))

    def _points(self, states: Sequence[int]) -> Points:
        """Return X_0, …, X_k of a weak order."""
        return tuple(self._open([state]) for state in states)

    def _open(self, states: Sequence[int]) -> Exponents:
        """Return in how many of some states every edge is open."""
        counts = Counter(v for state in states for v in self._edges.open_edges(state, state))
        return tuple(counts[v] for v in range(self._edges.size))
