"""Embeddings on a concrete list of batches: listing them one by one, and counting them without listing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product
from math import perm, prod

from ..diagrams import CellDiagram, Diagram
from ._items import Items

Cell = tuple[int, int]
Batches = Sequence[Sequence[int]]


def list_embeddings(diagram: Diagram, batches: Batches, *, shared: bool = False) -> Iterator[dict[int, Cell]]:
    """Iterate over the embeddings: place the non-root nodes in turn, children after parents, in every allowed cell.

    With `shared` different parts may use one datapoint.
    """
    cells = [(n, t) for t, batch in enumerate(batches) for n in batch]
    labels, parents, order = diagram.labels, diagram.parents, diagram.order
    height = [0] * (order + 1)  # how many steps a node's descendants need before it
    for node in range(order, 0, -1):
        height[parents[node]] = max(height[parents[node]], height[node] + 1)
    placed: dict[int, Cell] = {}
    part_of: dict[int, int] = {}  # the part that uses a datapoint
    if order == 0:
        yield {}
        return

    def allowed(node: int) -> Iterator[Cell]:
        latest = placed[parents[node]][1] if parents[node] else len(batches)
        own = next((placed[v][0] for v in range(1, node) if labels[v] == labels[node]), None)
        for n, t in cells:
            is_free = shared or part_of.get(n) is None
            if height[node] <= t < latest and (is_free if own is None else n == own):
                yield n, t

    waiting = [allowed(1)]
    while waiting:
        node = len(waiting)
        if node in placed:
            n = placed.pop(node)[0]
            if not any(placed[v][0] == n for v in placed):
                del part_of[n]
        cell = next(waiting[-1], None)
        if cell is None:
            waiting.pop()
            continue
        placed[node], part_of[cell[0]] = cell, labels[node]
        if node == order:
            yield dict(placed)
        else:
            waiting.append(allowed(node + 1))


def list_cell_embeddings(diagram: CellDiagram, batches: Batches) -> Iterator[dict[int, Cell]]:
    """Iterate over the embeddings of a diagram with cells: every cell takes a slot of a batch for itself."""
    items = Items.of(diagram)
    slots = [(n, t) for t, batch in enumerate(batches) for n in batch]
    item_of = {node: cell - 1 for node, cell in enumerate(diagram.cells) if node}
    chosen: list[int] = []

    def fits(slot: int) -> bool:
        (n, t), item = slots[slot], len(chosen)
        for other, taken in enumerate(chosen):
            (m, s), is_tied = slots[taken], items.labels[other] == items.labels[item]
            if taken == slot or (n == m) is not is_tied:
                return False
            if ((other, item) in items.arcs and s >= t) or ((item, other) in items.arcs and t >= s):
                return False
        return (item, item) not in items.arcs

    def extend() -> Iterator[dict[int, Cell]]:
        if len(chosen) == len(items.labels):
            yield {node: slots[chosen[item]] for node, item in item_of.items()}
            return
        for slot in range(len(slots)):
            if fits(slot):
                chosen.append(slot)
                yield from extend()
                chosen.pop()

    yield from extend()


def count_on_batches(diagram: Diagram, batches: Batches, N: int, weights: Sequence[Fraction] | None = None) -> Fraction:
    """Count embeddings, each cell at step t weighted by `weights[t]`.

    Points that occur equally often in every batch are interchangeable, so the sum runs over assignments of parts to
    kinds of points, with a falling factorial for the points of a kind that are left; times are summed along the tree.
    """
    if diagram.is_root_tied:
        return count_on_batches(diagram.untie_root(), batches, N, weights)
    if isinstance(diagram, CellDiagram):
        of_step = weights or [Fraction(1)] * len(batches)
        found = list_cell_embeddings(diagram, batches)
        return sum((prod((of_step[t] for _, t in placed.values()), start=Fraction(1)) for placed in found), Fraction(0))
    seen = [Counter(batch) for batch in batches]
    kinds = list(Counter(tuple(counts[n] for counts in seen) for n in range(N)).items())
    step_weights = weights or [Fraction(1)] * len(batches)
    columns = [[Fraction(c) * w for c, w in zip(kind, step_weights, strict=True)] for kind, _ in kinds]
    parts, labels = len(diagram.parts) - 1, diagram.labels

    total = Fraction(0)
    for chosen in product(range(len(kinds)), repeat=parts):
        ways = prod(perm(kinds[kind][1], times) for kind, times in Counter(chosen).items())
        if ways:
            times = _count_times(diagram, [columns[chosen[label - 1]] for label in labels[1:]], len(batches))
            total += ways * times
    return total


def _count_times(diagram: Diagram, columns: list[list[Fraction]], steps: int) -> Fraction:
    """Sum over strictly increasing times along the tree of the product of the nodes' weights."""
    below: list[list[Fraction]] = [[Fraction(1)] * (steps + 1) for _ in range(diagram.order + 1)]
    for node in range(diagram.order, 0, -1):  # children follow parents
        parent = below[diagram.parents[node]]
        total = Fraction(0)
        for t in range(steps + 1):
            parent[t] *= total
            if t < steps:
                total += columns[node - 1][t] * below[node][t]
    return below[0][steps]
