"""Embeddings on a concrete list of batches: listing them one by one, and counting them without listing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction

from ..diagrams import Diagram

Cell = tuple[int, int]
Batches = Sequence[Sequence[int]]


def list_embeddings(diagram: Diagram, batches: Batches) -> Iterator[dict[int, Cell]]:
    """Place the non-root nodes one after the other, children after parents, in every allowed cell."""
    cells = [(n, t) for t, batch in enumerate(batches) for n in batch]
    labels, parents = diagram.labels, diagram.parents
    ends = len(batches)

    def place(node: int, placed: dict[int, Cell]) -> Iterator[dict[int, Cell]]:
        if node > diagram.order:
            yield dict(placed)
            return
        latest = placed[parents[node]][1] if parents[node] else ends
        for n, t in cells:
            if t < latest and all((placed[v][0] == n) == (labels[v] == labels[node]) for v in placed):
                placed[node] = (n, t)
                yield from place(node + 1, placed)
                del placed[node]

    return place(1, {})


def count_on_batches(diagram: Diagram, batches: Batches, N: int, weights: Sequence[Fraction] | None = None) -> Fraction:
    """Count embeddings, each cell at step t weighted by `weights[t]`.

    Points that occur equally often in every batch are interchangeable, so the sum runs over assignments of parts to
    kinds of points, with a falling factorial for the points of a kind that are left; times are summed along the tree.
    """
    if diagram.is_root_tied:
        return count_on_batches(diagram.untie_root(), batches, N, weights)
    seen = [Counter(batch) for batch in batches]
    kinds = list(Counter(tuple(counts[n] for counts in seen) for n in range(N)).items())
    step_weights = weights or [Fraction(1)] * len(batches)
    columns = [[Fraction(c) * w for c, w in zip(kind, step_weights, strict=True)] for kind, _ in kinds]
    parts, labels = len(diagram.parts) - 1, diagram.labels

    def assign(chosen: tuple[int, ...], ways: int) -> Fraction:
        if not ways:
            return Fraction(0)
        if len(chosen) == parts:
            return ways * _count_times(diagram, [columns[chosen[label - 1]] for label in labels[1:]], len(batches))
        return sum(
            (assign((*chosen, kind), ways * (left - chosen.count(kind))) for kind, (_, left) in enumerate(kinds)),
            Fraction(0),
        )

    return assign((), 1)


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
