"""Colour refinement of a piece of a partitioned tree: nodes that differ in what is around them get different colours.

A colour is the position of a cell, a set of nodes of one colour, in the order of all cells; splitting a cell keeps what
came before and after it in place. Only the surroundings of nodes whose colour changed are looked at again, and the
largest part of a split cell counts as unchanged, so that a long path or a wide star takes few steps.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Colours = dict[int, int]


@dataclass(frozen=True)
class Piece:
    """Some nodes of a partitioned tree, what holds them together, and a colour for each.

    Attributes:
        colours: the colour of every node.
        parents: for the nodes whose parent is one of the nodes too, that parent.
        parts: the parts, or only those whose nodes are not distinguished by their colours already.
    """

    colours: Mapping[int, int]
    parents: Mapping[int, int]
    parts: list[list[int]]


def positions(keys: Mapping[int, Any]) -> Colours:
    """Return as colours the positions of nodes that are sorted by keys."""
    cells: dict[Any, list[int]] = defaultdict(list)
    for node, key in keys.items():
        cells[key].append(node)
    colours: Colours = {}
    start = 0
    for key in sorted(cells):
        colours |= dict.fromkeys(cells[key], start)
        start += len(cells[key])
    return colours


def refine(piece: Piece, changed: Collection[int] | None = None) -> Colours:
    """Return the coarsest refinement of the colours in which nodes of one colour have equal surroundings.

    The surroundings are the colours of a node's parent, of its children, and of the nodes it is tied to.

    Args:
        piece: the nodes, whose colours are positions.
        changed: in a piece that was refined before, the nodes whose colours have changed since; by default all.
    """
    nodes = _Cells(piece.colours)
    part_of = {node: part for part, members in enumerate(piece.parts) for node in members}
    children: dict[int, list[int]] = defaultdict(list)
    for node, parent in piece.parents.items():
        children[parent].append(node)

    def around_part(part: int) -> tuple[int, ...]:
        return tuple(sorted(nodes.colours[node] for node in piece.parts[part]))

    def around_node(node: int) -> tuple[int, tuple[int, ...], int]:
        parent, part = piece.parents.get(node), part_of.get(node)
        return (
            -1 if parent is None else nodes.colours[parent],
            tuple(sorted(nodes.colours[child] for child in children[node])) if node in children else (),
            -1 if part is None else parts.colours[part],
        )

    parts = _Cells(positions({part: around_part(part) for part in range(len(piece.parts))}))
    if changed is None:
        moved, changed_parts = nodes.split(piece.colours, around_node), set()
    else:
        moved, changed_parts = set(changed), {part_of[node] for node in changed if node in part_of}
    while moved or changed_parts:
        changed_parts |= parts.split({part_of[node] for node in moved if node in part_of}, around_part)
        near = {node for part in changed_parts for node in piece.parts[part]}
        for node in moved:
            near.update(children.get(node, ()))
            if node in piece.parents:
                near.add(piece.parents[node])
        moved, changed_parts = nodes.split(near, around_node), set()
    return nodes.colours


class _Cells:
    """Things, nodes or parts, by colour: a cell holds the things of one colour."""

    def __init__(self, colours: Mapping[int, int]) -> None:
        self.colours = dict(colours)
        self._members: dict[int, list[int]] = defaultdict(list)
        for thing, colour in colours.items():
            self._members[colour].append(thing)

    def split(self, touched: Iterable[int], key: Callable[[int], Any]) -> set[int]:
        """Split cells by what may have changed, and return the things that left the largest part of their cell."""
        suspects: dict[int, list[int]] = defaultdict(list)
        for thing in touched:
            if len(self._members[self.colours[thing]]) > 1:
                suspects[self.colours[thing]].append(thing)
        splits = []
        for colour, things in suspects.items():  # all keys are made before any colour changes
            groups: dict[Any, list[int]] = defaultdict(list)
            for thing in things:
                groups[key(thing)].append(thing)
            if len(things) < len(self._members[colour]):
                known = set(things)
                others = [thing for thing in self._members[colour] if thing not in known]
                groups[key(others[0])].extend(others)  # what is not touched has one key
            if len(groups) > 1:
                splits.append((colour, groups))
        moved: set[int] = set()
        for colour, groups in splits:
            ordered = [groups[name] for name in sorted(groups)]
            largest = max(ordered, key=len)
            start = colour
            for group in ordered:
                self._members[start] = group
                self.colours |= dict.fromkeys(group, start)
                if group is not largest:
                    moved.update(group)
                start += len(group)
        return moved
