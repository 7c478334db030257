"""Where the nodes of a tree go: a tidy tree, the root rightmost, siblings of one part side by side if possible."""

import math
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations, islice, permutations

from ._curves import Point, distance

# Up to 6 nodes every order of the children is tried (at most 120); larger trees try at most this many.
_MOST_ORDERS = 240
# In larger trees children come in their own order and outlines are straight.
MOST_NODES = 24

Children = Sequence[tuple[int, ...]]


def tree_layout(parents: Sequence[int], parts: Sequence[Collection[int]], *, column: float, row: float) -> list[Point]:
    """Place the nodes: a column for each depth, the root's at x = 0 and the leaves' rows spread evenly from y = 0.

    Among the orders of the children, the layout chosen has outlines of the parts that are short, do not cross, and pass
    few other nodes. Large trees keep the order that they have.

    Args:
        parents: the parent of every node. Node 0 is the root, and every parent precedes its children.
        parts: a partition of the nodes.
        column: the distance between columns.
        row: the distance between leaves.
    """
    children = _children(parents)
    outlined = [sorted(part) for part in parts if len(part) > 1]
    layouts = (_place(parents, order, column, row) for order in _child_orders(children))
    if not outlined or len(parents) > MOST_NODES:
        return next(layouts)
    return min(islice(layouts, _MOST_ORDERS), key=lambda places: round(_entanglement(places, outlined, row), 6))


def _children(parents: Sequence[int]) -> Children:
    """Return the children of every node."""
    children: list[list[int]] = [[] for _ in parents]
    for node in range(1, len(parents)):
        children[parents[node]].append(node)
    return [tuple(nodes) for nodes in children]


def _child_orders(children: Children) -> Iterator[Children]:
    """Iterate over all orders of all children, lazily: `itertools.product` would first list every permutation."""
    current = list(children)
    branching = [node for node, below in enumerate(children) if len(below) > 1]
    waiting = [islice(permutations(children[node]), 1, None) for node in branching]
    while True:
        yield tuple(current)
        for index in reversed(range(len(branching))):
            node = branching[index]
            if following := next(waiting[index], None):
                current[node] = following
                break
            current[node] = children[node]
            waiting[index] = islice(permutations(children[node]), 1, None)
        else:
            return


def _place(parents: Sequence[int], children: Children, column: float, row: float) -> list[Point]:
    """Place the nodes with the children in a given order: leaves one below the other, parents in their middle."""
    depth = [0] * len(parents)
    for node in range(1, len(parents)):
        depth[node] = depth[parents[node]] + 1
    height = [0.0] * len(parents)
    visited, stack, leaves = [], [0], 0
    while stack:
        node = stack.pop()
        visited.append(node)
        stack.extend(reversed(children[node]))
        if not children[node]:
            height[node] = leaves * row
            leaves += 1
    for node in reversed(visited):
        if children[node]:
            height[node] = (height[children[node][0]] + height[children[node][-1]]) / 2
    return [(-column * d, y) for d, y in zip(depth, height, strict=True)]


def _entanglement(places: Sequence[Point], outlined: Sequence[Sequence[int]], row: float) -> float:
    """Return the length of straight outlines with penalties for what they cross."""
    total = 0.0
    links: list[tuple[int, Point, Point]] = []
    for index, part in enumerate(outlined):
        joined, waiting = [part[0]], list(part[1:])
        while waiting:
            length, u, v = min((math.dist(places[a], places[b]), a, b) for a in joined for b in waiting)
            total += length
            links.append((index, places[u], places[v]))
            joined.append(v)
            waiting.remove(v)
        strangers = [place for node, place in enumerate(places) if node not in part]
        ours = [(a, b) for owner, a, b in links if owner == index]
        nearness = (1 - distance(place, a, b) / (0.7 * row) for a, b in ours for place in strangers)
        total += 4 * row * sum(near for near in nearness if near > 0)
    crossings = sum(i != j and _cross(a, b, c, d) for (i, a, b), (j, c, d) in combinations(links, 2))
    return total + 3 * row * crossings


def _cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether the segments a–b and c–d cross."""

    def side(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
