"""Sums over embeddings of products of propagators, on a concrete spacetime, by transfer matrices.

Re-summation gives the edge from a node at time s to its parent at time t the factor x^(t−s−1), x = 1 − ηh for an
eigenvalue h of the Hessian. Time goes step by step: the state is the set of nodes placed so far, a down-set, and a step
multiplies by x for every edge that is open before and after it. So the sum over all times is an entry of a power of a
triangular matrix: nothing cancels, and the factors may coincide or be zero. They may be numbers, arrays or polynomials.

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
from ._weak_orders import chains

Matrix = Mapping[int, Mapping[int, Any]]  # from state to state
Labels = tuple[int, ...]  # the part of every non-root node, from 0

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
    """Iterate over the partitions got by merging parts; in cumulants parts may share a datapoint."""
    for blocks in growth_strings(max(labels, default=-1) + 1):
        yield tuple(blocks[label] for label in labels)


class Edges:
    """The edges of a diagram and their factors. Non-root node v is bit v − 1 of a set of nodes."""

    def __init__(self, diagram: Diagram, factors: Sequence[Any], number: Callable[[Fraction], Any]) -> None:
        self.size, self.number = diagram.order, number
        self.full = (1 << self.size) - 1
        self.children = [sum(1 << (c - 1) for c in diagram.children[v]) for v in range(1, diagram.order + 1)]
        self.parents = [diagram.parents[v] - 1 for v in range(1, diagram.order + 1)]  # −1 for the root
        self.factors = tuple(factors)
        self.down_sets = [s for s in range(1 << self.size) if self.may_follow(s, s)]
        self._passed: dict[tuple[int, int], Any] = {}

    def open_edges(self, before: int, after: int) -> Iterator[int]:
        """Iterate over the edges that are open before a step and still after it, by their lower node."""
        for v in range(self.size):
            parent = self.parents[v]
            if before >> v & 1 and not (parent >= 0 and after >> parent & 1):
                yield v

    def passed(self, before: int, after: int) -> Any:
        """Return the product of the factors of the edges that are open before a step and still after it."""
        if (before, after) not in self._passed:
            total = self.number(Fraction(1))
            for v in self.open_edges(before, after):
                total = total * self.factors[v]
            self._passed[before, after] = total
        return self._passed[before, after]

    def may_follow(self, block: int, placed: int) -> bool:
        """Whether the children of all nodes of a block are among those placed."""
        return not any(self.children[v] & ~placed for v in range(self.size) if block >> v & 1)

    def blocks_after(self, placed: int) -> Iterator[int]:
        """Iterate over the sets of nodes, possibly empty, that one step may place."""
        ready = sum(1 << v for v in range(self.size) if not placed >> v & 1 and not self.children[v] & ~placed)
        block = ready
        while block:
            yield block
            block = (block - 1) & ready
        yield 0

    def step(self, weight: Callable[[int], Fraction]) -> Matrix:
        """Return the transfer matrix of one step that places any block of nodes, with a weight for each."""
        found: dict[int, dict[int, Any]] = {}
        for placed in self.down_sets:
            row = {}
            for block in self.blocks_after(placed):
                share = weight(block) if block else Fraction(1)
                if share:
                    row[placed | block] = self.passed(placed, placed | block) * self.number(share)
            found[placed] = row
        return found


def _full_batch(edges: Edges, labels: Labels, spacetime: Spacetime) -> Any:
    end = _entry(edges.step(lambda block: Fraction(1)), int(spacetime.T), edges.full, edges)
    return end * edges.number(_choices_of_points(labels, spacetime))


def _with_replacement(edges: Edges, labels: Labels, spacetime: Spacetime) -> Any:
    N, B = int(spacetime.N), int(spacetime.B)

    def weight(block: int) -> Fraction:
        groups = Counter(labels[v] for v in range(edges.size) if block >> v & 1)
        ways = spread_over_slots(groups.values())
        return sum((Fraction(count * perm(B, slots), N**slots) for slots, count in ways.items()), Fraction(0))

    end = _entry(edges.step(weight), int(spacetime.T), edges.full, edges)
    return end * edges.number(_choices_of_points(labels, spacetime))


def _reshuffled(edges: Edges, labels: Labels, spacetime: Spacetime) -> Any:
    N, B, epochs = int(spacetime.N), int(spacetime.B), int(spacetime.T * spacetime.B / spacetime.N)

    def inside(start: int, end: int) -> Any:
        parts = len({labels[v] for v in range(edges.size) if (end ^ start) >> v & 1})
        return _batches(edges, labels, [(start, end)], N // B, B) * edges.number(Fraction(1, perm(N, parts)))

    if epochs == 1:
        total = inside(0, edges.full)
    else:
        pairs = {start: [end for end in edges.down_sets if end & start == start] for start in edges.down_sets}
        one_epoch = {start: {end: inside(start, end) for end in ends} for start, ends in pairs.items()}
        total = _entry(one_epoch, epochs, edges.full, edges)
    return total * edges.number(_choices_of_points(labels, spacetime))


def _fixed(edges: Edges, labels: Labels, spacetime: Spacetime) -> Any:
    """Sum over weak orders by epoch; all epochs have the same order of parts by batch, and others pass between."""
    N, B, epochs = int(spacetime.N), int(spacetime.B), int(spacetime.T * spacetime.B / spacetime.N)
    length = N // B
    total = edges.number(Fraction(0))
    for states in chains(edges.down_sets):
        if len(states) - 1 <= epochs:
            between = [_power(edges.passed(state, state), length, edges.number(Fraction(1))) for state in states]
            passes = _complete_homogeneous(between, epochs - len(states) + 1, edges.number)
            total = total + passes * _batches(edges, labels, list(pairwise(states)), length, B)
    return total


def _batches(edges: Edges, labels: Labels, epochs: Sequence[tuple[int, int]], length: int, B: int) -> Any:
    """Sum over the batches of the parts, which are the same in all the given epochs, each from a state to a state."""
    inside = [end ^ start for start, end in epochs]
    present = sorted({labels[v] for nodes in inside for v in range(edges.size) if nodes >> v & 1})
    nodes_of = [sum(1 << v for v in range(edges.size) if labels[v] == part) for part in present]

    def placed(start: int, nodes: int, parts: int) -> int:
        return start | sum(nodes_of[i] & nodes for i in range(len(present)) if parts >> i & 1)

    def step(parts: int, block: int) -> Any:
        weight = edges.number(Fraction(perm(B, block.bit_count())))
        for (start, _), nodes in zip(epochs, inside, strict=True):
            before, new = placed(start, nodes, parts), placed(0, nodes, block)
            if not edges.may_follow(new, before):
                return None
            weight = weight * edges.passed(before, before | new)
        return weight

    everything = (1 << len(present)) - 1
    matrix: dict[int, dict[int, Any]] = {}
    for parts in range(everything + 1):
        rest = everything & ~parts
        blocks = [block for block in range(everything + 1) if not block & ~rest]
        steps = {parts | block: step(parts, block) for block in blocks if block.bit_count() <= B}
        matrix[parts] = {state: weight for state, weight in steps.items() if weight is not None}
    return _entry(matrix, length, everything, edges)


def _on_batches(edges: Edges, labels: Labels, batches: Sequence[Sequence[int]], spacetime: Spacetime) -> Any:
    """Sum over the datapoints of the parts, any for each; those that all batches hold alike are counted together."""
    seen = [Counter(batch) for batch in batches]
    shares = [Fraction(int(spacetime.B), len(batch)) for batch in batches]
    kinds = Counter(tuple(counts[n] for counts in seen) for n in range(int(spacetime.N)))
    columns = {kind: [edges.number(c * share) for c, share in zip(kind, shares, strict=True)] for kind in kinds}
    total = edges.number(Fraction(0))
    for chosen in product(kinds, repeat=max(labels, default=-1) + 1):
        ways = edges.number(Fraction(prod(kinds[kind] for kind in chosen)))
        total = total + ways * _over_times(edges, [columns[chosen[label]] for label in labels], len(batches))
    return total


def _over_times(edges: Edges, columns: list[list[Any]], steps: int) -> Any:
    zero, one = edges.number(Fraction(0)), edges.number(Fraction(1))
    below = [[one] * (steps + 1) for _ in range(edges.size + 1)]  # the last one is the root's
    for v in range(edges.size - 1, -1, -1):  # children follow parents
        above, total = below[edges.parents[v]], zero
        for t in range(steps + 1):
            above[t] = above[t] * total
            if t < steps:
                total = total * edges.factors[v] + columns[v][t] * below[v][t]
    return below[-1][steps]


def _choices_of_points(labels: Labels, spacetime: Spacetime) -> Fraction:
    return Fraction(perm(int(spacetime.N), max(labels, default=-1) + 1))


def _entry(step: Matrix, count: int, end: int, edges: Edges) -> Any:
    """Return what `count` steps lead from the empty state to the end."""
    zero = edges.number(Fraction(0))
    row: Mapping[int, Any] = {0: edges.number(Fraction(1))}
    while count:
        if count <= _FEW_STEPS:
            row, count = _row_times(row, step), count - 1
            continue
        if count & 1:
            row = _row_times(row, step)
        step, count = {state: _row_times(entries, step) for state, entries in step.items()}, count >> 1
    return row.get(end, zero)


def _row_times(row: Mapping[int, Any], step: Matrix) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for state, value in row.items():
        for after, weight in step[state].items():
            term = value * weight
            found[after] = found[after] + term if after in found else term
    return found


def _complete_homogeneous(values: Iterable[Any], degree: int, number: Callable[[Fraction], Any]) -> Any:
    """Return the sum of all monomials of a degree in the values."""
    sums = [number(Fraction(1)), *([number(Fraction(0))] * degree)]
    for value in values:
        for k in range(1, degree + 1):
            sums[k] = sums[k] + value * sums[k - 1]
    return sums[degree]


def _power(value: Any, exponent: int, one: Any) -> Any:
    return value**exponent if exponent else one


_SCHEMES: dict[str, Callable[[Edges, Labels, Spacetime], Any]] = {
    "full-batch": _full_batch,
    "fixed": _fixed,
    "reshuffled": _reshuffled,
    "with-replacement": _with_replacement,
}
