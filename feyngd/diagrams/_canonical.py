"""Canonical form and automorphisms of a rooted tree with a partition of its nodes.

A partitioned tree is held here as two tuples over nodes 0 … d: `parents` (the root is node 0, with parent −1) and
`labels` (the part of each node). The canonical form numbers the nodes in a preorder that depends only on the
isomorphism class. Node colours are refined until they are stable. Nodes that share their colour with no other node are
fixed, and so are parts with a fixed node. The rest falls apart into pieces, which are put in order one by one; pieces
with equal forms are interchangeable. In a piece in which nothing is fixed, one node of the first colour is set apart,
each in turn, and the smallest outcome is kept: the number of ways that reach it is the size of an orbit.
The product of orbit sizes and of factorials for interchangeable pieces is the number of automorphisms.

Nothing here recurses over the tree: pieces wait on a stack.
"""

from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from math import factorial

from ._refinement import Colours, Piece, positions, refine

Structure = tuple[tuple[int, ...], tuple[int, ...]]
Form = tuple[tuple[int, int, int], ...]  # of every node in order: its colour, its parent's place, its part
Links = list[tuple[int, int]]  # pairs of nodes that an automorphism maps to each other
Placed = tuple[list[int], int, Links]  # the nodes of a piece in order, its number of automorphisms, and some of them
Task = Generator[Piece, Placed, Placed]

_CACHED_NODES = 24


def children_of(parents: Sequence[int]) -> list[list[int]]:
    """List the children of every node, in increasing order."""
    children: list[list[int]] = [[] for _ in parents]
    for node, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(node)
    return children


def preorder(children: Sequence[Sequence[int]]) -> list[int]:
    """List the nodes of a tree from the root, every node right before its descendants, children in the given order."""
    order, stack = [], [0]
    while stack:
        node = stack.pop()
        order.append(node)
        stack.extend(reversed(children[node]))
    return order


def restricted_growth(labels: Iterable[int]) -> tuple[int, ...]:
    """Rename part labels 0, 1, 2, … in order of first appearance."""
    names: dict[int, int] = {}
    return tuple(names.setdefault(label, len(names)) for label in labels)


def canonical_form(parents: tuple[int, ...], labels: tuple[int, ...]) -> tuple[Structure, int]:
    """Return the canonical `(parents, labels)` of a partitioned tree and its number of automorphisms.

    Two partitioned trees are isomorphic exactly when their canonical forms are equal. Children with fewer descendants
    come first.
    """
    # A few large trees would fill the memory that many small ones need.
    if len(parents) > _CACHED_NODES:
        return _canonical_form(parents, labels, *_shape(parents))
    return _cached_form(parents, labels)


@lru_cache(maxsize=1 << 16)
def _cached_form(parents: tuple[int, ...], labels: tuple[int, ...]) -> tuple[Structure, int]:
    return _canonical_form(parents, labels, *_cached_shape(parents))


def _shape(parents: tuple[int, ...]) -> tuple[list[list[int]], Colours]:
    """Return what depends on the tree alone: the children of every node, and colours."""
    children = children_of(parents)
    return children, _colours_by_shape(parents, children)


_cached_shape = lru_cache(maxsize=1 << 12)(_shape)


def _canonical_form(
    parents: tuple[int, ...], labels: tuple[int, ...], children: list[list[int]], by_shape: Colours
) -> tuple[Structure, int]:
    parts: dict[int, list[int]] = defaultdict(list)
    for node, label in enumerate(labels):
        parts[label].append(node)
    above = {node: parent for node, parent in enumerate(parents) if node}
    colours = refine(Piece(by_shape, above, list(parts.values())))
    order, automorphisms, _ = _run(_in_order(Piece(colours, above, [part for part in parts.values() if len(part) > 1])))
    place = {node: index for index, node in enumerate(order)}
    listed = preorder([sorted(below, key=place.__getitem__) for below in children])
    index = {node: position for position, node in enumerate(listed)}
    form = (
        tuple(index[parents[node]] if node else -1 for node in listed),
        restricted_growth(labels[node] for node in listed),
    )
    return form, automorphisms


def _colours_by_shape(parents: Sequence[int], children: Sequence[Sequence[int]]) -> Colours:
    """Return colours by depth and by the shape of what is below, small shapes first."""
    depth, size = [0] * len(parents), [1] * len(parents)
    order = preorder(children)
    for node in order[1:]:
        depth[node] = depth[parents[node]] + 1
    for node in reversed(order[1:]):
        size[parents[node]] += size[node]
    by_size: dict[int, list[int]] = defaultdict(list)
    for node in order:
        by_size[size[node]].append(node)
    shape, shapes = [0] * len(parents), 0
    for number in sorted(by_size):
        keys = {node: tuple(sorted(shape[child] for child in children[node])) for node in by_size[number]}
        ranks = {key: shapes + rank for rank, key in enumerate(sorted(set(keys.values())))}
        for node, key in keys.items():
            shape[node] = ranks[key]
        shapes += len(ranks)
    return positions({node: (depth[node], shape[node]) for node in order})


def _run(task: Task) -> Placed:
    """Run a task and the tasks of the pieces that it asks for, on a stack of their own."""
    stack, answer = [task], None
    while True:
        try:
            piece = stack[-1].send(answer)  # type: ignore[arg-type]
        except StopIteration as finished:
            stack.pop()
            answer = finished.value
            if not stack:
                return answer
        else:
            stack.append(_in_order(piece))
            answer = None


def _in_order(piece: Piece) -> Task:
    """Put the nodes of a refined piece in an order that depends only on the isomorphism class."""
    colours = piece.colours
    if len(set(colours.values())) == len(colours):
        return sorted(colours, key=colours.__getitem__), 1, []
    smaller = _pieces(piece)
    if len(smaller) == 1 and len(smaller[0].colours) == len(colours) > 1:
        return (yield from _set_apart(smaller[0]))
    outcomes: dict[Form, list[list[int]]] = defaultdict(list)
    automorphisms, links = 1, []
    for inner in smaller:
        order, count, known = (list(inner.colours), 1, []) if len(inner.colours) == 1 else (yield inner)
        automorphisms *= count
        links += known
        outcomes[_form(order, inner)].append(order)
    for alike in outcomes.values():
        automorphisms *= factorial(len(alike))
        links += [pair for first, second in pairwise(alike) for pair in zip(first, second, strict=True)]
    alone = {colour for colour, count in Counter(colours.values()).items() if count == 1}
    nodes = [node for node, colour in colours.items() if colour in alone]
    for form in sorted(outcomes, key=lambda form: (len(form), form)):  # small pieces first
        for order in outcomes[form]:
            nodes.extend(order)
    return sorted(nodes, key=colours.__getitem__), automorphisms, links


def _pieces(piece: Piece) -> list[Piece]:
    """Leave out nodes with a colour of their own and parts that differ from all others; return the connected pieces.

    Nodes of one colour have the same fixed nodes and parts around them, so that nothing is lost.
    """
    colours, frequency = piece.colours, Counter(piece.colours.values())
    free = {node for node, colour in colours.items() if frequency[colour] > 1}
    around = [tuple(sorted(colours[node] for node in part)) for part in piece.parts]
    times = Counter(around)
    binding = [part for part, key in zip(piece.parts, around, strict=True) if times[key] > 1 and part[0] in free]
    near: dict[int, list[int]] = {node: [] for node in free}
    for part in binding:
        for node in part[1:]:
            near[part[0]].append(node)
            near[node].append(part[0])
    for node in free:
        parent = piece.parents.get(node)
        if parent in free:
            near[node].append(parent)
            near[parent].append(node)
    owner: dict[int, int] = {}
    connected: list[list[int]] = []
    for start in near:
        if start not in owner:
            owner[start] = len(connected)
            members = [start]
            for node in members:  # the list grows during the loop
                for other in near[node]:
                    if other not in owner:
                        owner[other] = len(connected)
                        members.append(other)
            connected.append(members)
    parts: list[list[list[int]]] = [[] for _ in connected]
    for part in binding:
        parts[owner[part[0]]].append(part)
    return [
        Piece(
            {node: colours[node] for node in members},
            {node: parent for node in members if (parent := piece.parents.get(node)) in free},
            parts[index],
        )
        for index, members in enumerate(connected)
    ]


def _form(order: Sequence[int], piece: Piece) -> Form:
    """Describe a piece by the places in an order of its nodes; the colours describe what is outside."""
    if len(order) == 1:
        return ((piece.colours[order[0]], -1, -1),)
    place = {node: index for index, node in enumerate(order)}
    part_of = {node: part for part, members in enumerate(piece.parts) for node in members}
    names: dict[int, int] = {}
    form = []
    for node in order:
        parent, part = piece.parents.get(node), part_of.get(node)
        form.append(
            (
                piece.colours[node],
                -1 if parent is None else place[parent],
                -1 if part is None else names.setdefault(part, len(names)),
            )
        )
    return tuple(form)


def _set_apart(piece: Piece) -> Task:
    """Set one node of the first colour apart, each in turn, and keep the smallest outcome.

    Two orders of equal form make an automorphism. Nodes that automorphisms map to each other are one orbit, of which
    only one node is tried.
    """
    from networkx.utils import UnionFind  # here, as few diagrams need it

    first = min(piece.colours.values())
    candidates = [node for node, colour in piece.colours.items() if colour == first]
    orbits = UnionFind(piece.colours)
    outcomes: dict[Form, tuple[int, list[int], int]] = {}
    tried: list[int] = []
    for node in candidates:
        if any(orbits[node] == orbits[other] for other in tried):
            continue
        tried.append(node)
        # The node comes before all others, which move up by one place.
        colours = positions({other: (colour, other != node) for other, colour in piece.colours.items()})
        finer = Piece(refine(Piece(colours, piece.parents, piece.parts), [node]), piece.parents, piece.parts)
        order, count, links = yield finer
        form = _form(order, piece)
        if form in outcomes:
            links = [*links, *zip(outcomes[form][1], order, strict=True)]
        else:
            outcomes[form] = (node, order, count)
        for pair in links:
            orbits.union(*pair)
    chosen, order, count = outcomes[min(outcomes)]
    size = sum(orbits[node] == orbits[chosen] for node in candidates)
    return order, size * count, [(node, orbits[node]) for node in piece.colours]
