"""Canonical form and automorphisms of a rooted tree with a partition of its nodes.

A partitioned tree is held here as two tuples over nodes 0 … d: `parents` (the root is node 0, with parent −1) and
`labels` (the part of each node). The canonical form numbers the nodes in a preorder that depends only on the
isomorphism class, found by colour refinement with individualisation: refine node colours until they are stable; while
two nodes still share a colour, split one off each way and keep the smallest outcome. The number of ways that reach the
smallest outcome is the size of an orbit, and the product of orbit sizes is the number of automorphisms.
"""

from collections.abc import Sequence
from functools import lru_cache

Structure = tuple[tuple[int, ...], tuple[int, ...]]


def children_of(parents: Sequence[int]) -> list[list[int]]:
    """List the children of every node, in increasing order."""
    children: list[list[int]] = [[] for _ in parents]
    for node, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(node)
    return children


def restricted_growth(labels: Sequence[int]) -> tuple[int, ...]:
    """Rename part labels 0, 1, 2, … in order of first appearance."""
    names: dict[int, int] = {}
    return tuple(names.setdefault(label, len(names)) for label in labels)


@lru_cache(maxsize=1 << 16)
def canonical_form(parents: tuple[int, ...], labels: tuple[int, ...]) -> tuple[Structure, int]:
    """Return the canonical `(parents, labels)` of a partitioned tree and its number of automorphisms.

    Two partitioned trees are isomorphic exactly when their canonical forms are equal. Children with fewer descendants
    come first.
    """
    children = children_of(parents)
    parts: dict[int, list[int]] = {}
    for node, label in enumerate(labels):
        parts.setdefault(label, []).append(node)
    mates = [parts[label] for label in labels]
    colours = _refine(_initial_colours(parents, children), parents, children, mates)
    return _search(colours, parents, labels, children, mates)


def _ranks(keys: list) -> list[int]:
    order = {key: rank for rank, key in enumerate(sorted(set(keys)))}
    return [order[key] for key in keys]


def _initial_colours(parents: Sequence[int], children: list[list[int]]) -> list[int]:
    shapes: list[tuple] = [()] * len(parents)
    depth = [0] * len(parents)

    def visit(node: int) -> None:
        for child in children[node]:
            depth[child] = depth[node] + 1
            visit(child)
        inner = sorted(shapes[child] for child in children[node])
        shapes[node] = (1 + sum(shape[0] for shape in inner), tuple(inner))

    visit(0)
    return _ranks(list(zip(depth, shapes, strict=True)))


def _refine(colours: list[int], parents: Sequence[int], children: list[list[int]], mates: list[list[int]]) -> list[int]:
    count = len(set(colours))
    while True:
        keys = [
            (
                colours[node],
                colours[parents[node]] if node else -1,
                sorted(colours[child] for child in children[node]),
                sorted(colours[mate] for mate in mates[node]),
            )
            for node in range(len(parents))
        ]
        colours = _ranks([(a, b, tuple(c), tuple(d)) for a, b, c, d in keys])
        if len(set(colours)) == count:
            return colours
        count = len(set(colours))


def _search(
    colours: list[int], parents: Sequence[int], labels: Sequence[int], children: list[list[int]], mates: list[list[int]]
) -> tuple[Structure, int]:
    cells: dict[int, list[int]] = {}
    for node, colour in enumerate(colours):
        cells.setdefault(colour, []).append(node)
    cell = next((cells[colour] for colour in sorted(cells) if len(cells[colour]) > 1), None)
    if cell is None:
        return _relabel(colours, parents, labels, children), 1
    outcomes: list[tuple[Structure, int, int]] = []
    twins: dict[object, int] = {}
    for node in cell:
        # Leaves of one parent that are tied to each other, or each alone in its part, are swapped by an automorphism.
        twin = (parents[node], -1 if len(mates[node]) == 1 else labels[node]) if not children[node] else (node,)
        if twin in twins:
            form, count, times = outcomes[twins[twin]]
            outcomes[twins[twin]] = (form, count, times + 1)
            continue
        split = [2 * colour for colour in colours]
        split[node] -= 1
        form, count = _search(_refine(_ranks(split), parents, children, mates), parents, labels, children, mates)
        twins[twin] = len(outcomes)
        outcomes.append((form, count, 1))
    best = min(form for form, _, _ in outcomes)
    orbit = sum(times for form, _, times in outcomes if form == best)
    return best, orbit * next(count for form, count, _ in outcomes if form == best)


def _relabel(colours: list[int], parents: Sequence[int], labels: Sequence[int], children: list[list[int]]) -> Structure:
    order: list[int] = []
    stack = [0]
    while stack:
        node = stack.pop()
        order.append(node)
        stack.extend(sorted(children[node], key=colours.__getitem__, reverse=True))
    index = {node: position for position, node in enumerate(order)}
    return (
        tuple(index[parents[node]] if node else -1 for node in order),
        restricted_growth([labels[node] for node in order]),
    )
