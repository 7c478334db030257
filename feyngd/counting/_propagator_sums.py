"""Sums over embeddings of products of propagators, on a concrete spacetime, by transfer matrices.

Re-summation gives the edge from a node at time s to its parent at time t the factor x^(t−s−1), x = 1 − ηh for an
eigenvalue h of the Hessian. Time goes step by step. The state is the set of nodes placed so far, a down-set. An edge is
*open* between its child and its parent, and every step multiplies by the x of the edges that are open before and after
it. So the sum over all times is an entry of a power of a triangular matrix: nothing cancels, and the factors may
coincide or be zero. They may be numbers, arrays or polynomials.

References:
    Tenka, "A Space-Time Approach to Analyzing SGD", Theorem 2 (in exact discrete time); the transfer matrices are the
    project's own.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise, product
from math import perm, prod
from typing import Any

from ..diagrams import Diagram, growth_strings
from ..spacetimes import Spacetime
from ._slots import spread_over_slots
from ._weak_orders import weak_orders

Matrix = Mapping[int, Mapping[int, Any]]  # from a state to the states that may follow
Labels = tuple[int, ...]  # the part of every non-root node, from 0

# Up to this many steps a row vector is multiplied step by step; beyond, the matrix is squared. For [a b[c] d] with
# floats, limits of 8 to 32 were equally fast within 60 % at 8 to 1,000 steps; without squaring, 1,000 steps took
# 18 times as long as with this limit.
_FEW_STEPS = 16


def propagated_count(
    diagram: Diagram, spacetime: Spacetime, factors: Sequence[Any], number: Callable[[Fraction], Any] = Fraction
) -> Any:
    """Return the expected sum over cumulant embeddings of Π_edges x^(Δt−1), every cell weighted by B / (its batch).

    Args:
        diagram: the diagram; whatever its root is tied to does not matter.
        spacetime: a concrete spacetime.
        factors: the x of the edge above every non-root node, in order; anything that adds and multiplies.
        number: turns an exact number into one that adds to and multiplies such factors.
    """
    edges = Edges(diagram, factors, number)
    labels = parts_of_nodes(diagram)
    if spacetime.explicit is not None:
        return _on_batches(edges, labels, spacetime.explicit, spacetime)
    total = number(Fraction(0))
    for coarse in coarser(labels):
        if max(coarse, default=-1) < spacetime.N:
            total = total + _SCHEMES[spacetime.sampling](edges, coarse, spacetime)
    return total


def parts_of_nodes(diagram: Diagram) -> Labels:
    """Return the part of every non-root node, with parts numbered as they come."""
    names: dict[int, int] = {}
    return tuple(names.setdefault(label, len(names)) for label in diagram.labels[1:])


def coarser(labels: Labels) -> Iterator[Labels]:
    """Iterate over the partitions that arise by merging parts; in cumulants parts may share a datapoint."""
    for blocks in growth_strings(max(labels, default=-1) + 1):
        yield tuple(blocks[label] for label in labels)


class Edges:
    """The edges of a diagram and their factors. Non-root node v is bit v − 1 of a set of nodes.

    Attributes:
        size: the number of edges, which is that of the non-root nodes.
        number: turns an exact number into one that adds to and multiplies the factors.
        full: the set of all nodes.
        children: for every node the set of its children.
        parents: for every node its parent, −1 for the root.
        factors: x of the edge above every node.
        down_sets: the sets of nodes that contain the children of all their nodes.
    """

    def __init__(self, diagram: Diagram, factors: Sequence[Any], number: Callable[[Fraction], Any]) -> None:
        self.size, self.number = diagram.order, number
        self.full = (1 << self.size) - 1
        self.children = [sum(1 << (c - 1) for c in diagram.children[v]) for v in range(1, diagram.order + 1)]
        self.parents = [diagram.parents[v] - 1 for v in range(1, diagram.order + 1)]
        self.factors = tuple(factors)
        self.down_sets = [s for s in range(1 << self.size) if self.may_follow(s, s)]
        self._products: dict[tuple[int, int], Any] = {}

    def open_edges(self, before: int, after: int) -> Iterator[int]:
        """Iterate over the edges that are open before a step and still after it, by their lower node."""
        for v in range(self.size):
            parent = self.parents[v]
            if before >> v & 1 and not (parent >= 0 and after >> parent & 1):
                yield v

    def open_product(self, before: int, after: int) -> Any:
        """Return the product of the factors of the edges that are open before a step and still after it."""
        if (before, after) not in self._products:
            total = self.number(Fraction(1))
            for v in self.open_edges(before, after):
                total = total * self.factors[v]
            self._products[before, after] = total
        return self._products[before, after]

    def may_follow(self, block: int, placed: int) -> bool:
        """Whether the children of all nodes of a block are among those placed."""
        return not any(self.children[v] & ~placed for v in range(self.size) if block >> v & 1)

    def next_blocks(self, placed: int) -> Iterator[int]:
        """Iterate over the sets of nodes, possibly empty, that one step may place."""
        ready = sum(1 << v for v in range(self.size) if not placed >> v & 1 and not self.children[v] & ~placed)
        block = ready
        while block:
            yield block
            block = (block - 1) & ready
        yield 0

    def transfer_matrix(self, weight: Callable[[int], Fraction]) -> Matrix:
        """Return the matrix of one step that places any block of nodes, with a weight for each."""
        matrix: dict[int, dict[int, Any]] = {}
        for placed in self.down_sets:
            row = {}
            for block in self.next_blocks(placed):
                share = weight(block) if block else Fraction(1)
                if share:
                    row[placed | block] = self.open_product(placed, placed | block) * self.number(share)
            matrix[placed] = row
        return matrix


def _full_batch(edges: Edges, labels: Labels, spacetime: Spacetime) -> Any:
    """N^(P) times an entry of the T-th power of the matrix in which every block has weight 1."""
    matrix = edges.transfer_matrix(lambda block: Fraction(1))
    return _entry(matrix, int(spacetime.T), edges.full, edges) * edges.number(_choices_of_points(labels, spacetime))


def _with_replacement(edges: Edges, labels: Labels, spacetime: Spacetime) -> Any:
    """N^(P) times an entry of the T-th power of the matrix of blocks with the weights Σ_j (ways to use j slots) / N^j.

    The nodes of one part in a step are spread over j of the B slots, which have all drawn the part's point.
    """
    N, B = int(spacetime.N), int(spacetime.B)

    def weight(block: int) -> Fraction:
        nodes_by_part = Counter(labels[v] for v in range(edges.size) if block >> v & 1)
        ways = spread_over_slots(nodes_by_part.values())
        return sum((Fraction(count * perm(B, slots), N**slots) for slots, count in ways.items()), Fraction(0))

    end = _entry(edges.transfer_matrix(weight), int(spacetime.T), edges.full, edges)
    return end * edges.number(_choices_of_points(labels, spacetime))


def _reshuffled(edges: Edges, labels: Labels, spacetime: Spacetime) -> Any:
    """N^(P) times an entry of the E-th power of the matrix of one epoch, whose Q parts have the chance 1 / N^(Q)."""
    N, B, epochs = int(spacetime.N), int(spacetime.B), int(spacetime.T * spacetime.B / spacetime.N)

    def one_epoch(start: int, end: int) -> Any:
        parts = len({labels[v] for v in range(edges.size) if (end ^ start) >> v & 1})
        return _within_epochs(edges, labels, [(start, end)], N // B, B) * edges.number(Fraction(1, perm(N, parts)))

    if epochs == 1:
        total = one_epoch(0, edges.full)
    else:
        followers = {start: [end for end in edges.down_sets if end & start == start] for start in edges.down_sets}
        matrix = {start: {end: one_epoch(start, end) for end in ends} for start, ends in followers.items()}
        total = _entry(matrix, epochs, edges.full, edges)
    return total * edges.number(_choices_of_points(labels, spacetime))


def _fixed(edges: Edges, labels: Labels, spacetime: Spacetime) -> Any:
    """Sum over weak orders by epoch; all epochs have the same order of parts by batch, and others pass between.

    An epoch that passes in a state multiplies by y = X^(N/B), X the product of the open edges' factors. The epochs that
    pass are shared out in all ways, which gives the complete homogeneous polynomial of the states' y.
    """
    N, B, epochs = int(spacetime.N), int(spacetime.B), int(spacetime.T * spacetime.B / spacetime.N)
    length = N // B
    total = edges.number(Fraction(0))
    for states in weak_orders(edges.down_sets):
        blocks = len(states) - 1
        if blocks <= epochs:
            y = [_power(edges.open_product(state, state), length, edges.number(Fraction(1))) for state in states]
            passing = _complete_homogeneous(y, epochs - blocks, edges.number)
            total = total + passing * _within_epochs(edges, labels, list(pairwise(states)), length, B)
    return total


def _within_epochs(edges: Edges, labels: Labels, epochs: Sequence[tuple[int, int]], length: int, B: int) -> Any:
    """Sum over the batches of the parts in some epochs, in all of which a part has the same batch.

    The state is the set of the parts whose batch has passed, and one transfer matrix takes all epochs a batch further.

    Args:
        edges: the edges.
        labels: the part of every node.
        epochs: for each epoch the set of nodes placed before it and after it.
        length: the number of batches in an epoch, N/B.
        B: the batch size.
    """
    nodes_within = [after ^ before for before, after in epochs]
    present = sorted({labels[v] for nodes in nodes_within for v in range(edges.size) if nodes >> v & 1})
    nodes_of = [sum(1 << v for v in range(edges.size) if labels[v] == part) for part in present]

    def placed(start: int, nodes: int, parts: int) -> int:
        """The nodes placed from the start of an epoch, which has some nodes, until the batches of some parts."""
        return start | sum(nodes_of[i] & nodes for i in range(len(present)) if parts >> i & 1)

    def weight(parts: int, block: int) -> Any:
        """Of a batch with a block of parts after some parts; `None` where a child would not come first."""
        total = edges.number(Fraction(perm(B, block.bit_count())))
        for (start, _), nodes in zip(epochs, nodes_within, strict=True):
            before, new = placed(start, nodes, parts), placed(0, nodes, block)
            if not edges.may_follow(new, before):
                return None
            total = total * edges.open_product(before, before | new)
        return total

    all_parts = (1 << len(present)) - 1
    matrix: dict[int, dict[int, Any]] = {}
    for parts in range(all_parts + 1):
        rest = all_parts & ~parts
        blocks = [block for block in range(all_parts + 1) if not block & ~rest]
        row = {parts | block: weight(parts, block) for block in blocks if block.bit_count() <= B}
        matrix[parts] = {state: value for state, value in row.items() if value is not None}
    return _entry(matrix, length, all_parts, edges)


def _on_batches(edges: Edges, labels: Labels, batches: Sequence[Sequence[int]], spacetime: Spacetime) -> Any:
    """Sum over all choices of a datapoint for every part; points that all batches hold alike are counted together."""
    seen = [Counter(batch) for batch in batches]
    shares = [Fraction(int(spacetime.B), len(batch)) for batch in batches]
    kinds = Counter(tuple(counts[n] for counts in seen) for n in range(int(spacetime.N)))
    cells = {kind: [edges.number(c * share) for c, share in zip(kind, shares, strict=True)] for kind in kinds}
    total = edges.number(Fraction(0))
    for chosen in product(kinds, repeat=max(labels, default=-1) + 1):
        ways = edges.number(Fraction(prod(kinds[kind] for kind in chosen)))
        total = total + ways * _over_times(edges, [cells[chosen[label]] for label in labels], len(batches))
    return total


def _over_times(edges: Edges, cells: list[list[Any]], steps: int) -> Any:
    """Sum over the times of all nodes, children before parents.

    Args:
        edges: the edges.
        cells: for every node the weight of its cell at every step.
        steps: the number of steps.
    """
    zero, unit = edges.number(Fraction(0)), edges.number(Fraction(1))
    # For a node at time t, the sum over the times of all nodes below it. The last row is the root's.
    below = [[unit] * (steps + 1) for _ in range(edges.size + 1)]
    for v in range(edges.size - 1, -1, -1):  # children follow parents
        of_parent = below[edges.parents[v]]
        total = zero  # Σ_{s<t} x^(t−s−1) · (the weight of node v at time s) · (the sum below it)
        for t in range(steps + 1):
            of_parent[t] = of_parent[t] * total
            if t < steps:
                total = total * edges.factors[v] + cells[v][t] * below[v][t]
    return below[-1][steps]


def _choices_of_points(labels: Labels, spacetime: Spacetime) -> Fraction:
    """N^(P), the ways to give the P parts different points."""
    return Fraction(perm(int(spacetime.N), max(labels, default=-1) + 1))


def _entry(matrix: Matrix, power: int, end: int, edges: Edges) -> Any:
    """Return the entry of a power of a matrix that leads from the empty state to the end."""
    zero = edges.number(Fraction(0))
    row: Mapping[int, Any] = {0: edges.number(Fraction(1))}
    while power:
        if power <= _FEW_STEPS:
            row, power = row_times(row, matrix), power - 1
            continue
        if power & 1:
            row = row_times(row, matrix)
        matrix, power = {state: row_times(entries, matrix) for state, entries in matrix.items()}, power >> 1
    return row.get(end, zero)


def row_times(row: Mapping[Any, Any], matrix: Mapping[Any, Mapping[Any, Any]]) -> dict[Any, Any]:
    """Multiply a row vector, by state, with a matrix."""
    product_: dict[Any, Any] = {}
    for state, value in row.items():
        for after, weight in matrix[state].items():
            term = value * weight
            product_[after] = product_[after] + term if after in product_ else term
    return product_


def _complete_homogeneous(values: Iterable[Any], degree: int, number: Callable[[Fraction], Any]) -> Any:
    """Return the sum of all monomials of a degree in the values."""
    sums = [number(Fraction(1)), *([number(Fraction(0))] * degree)]
    for value in values:
        for k in range(1, degree + 1):
            sums[k] = sums[k] + value * sums[k - 1]
    return sums[degree]


def _power(value: Any, exponent: int, unit: Any) -> Any:
    return value**exponent if exponent else unit


_SCHEMES: dict[str, Callable[[Edges, Labels, Spacetime], Any]] = {
    "full-batch": _full_batch,
    "fixed": _fixed,
    "reshuffled": _reshuffled,
    "with-replacement": _with_replacement,
}
