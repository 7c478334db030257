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
        ties: parts, or those whose nodes are not told apart by their colours already.
    """

    colours: Mapping[int, int]
    parents: Mapping[int, int]
    ties: list[list[int]]


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
    """Return the coarsest finer colours under which nodes of one colour have equal surroundings.

    The surroundings are the colours of a node's parent, of its children, and of the nodes it is tied to.

    Args:
        piece: the nodes, whose colours are positions.
        changed: nodes whose colours are new, in a piece that was refined before; by default all.
    """
    nodes = _Cells(piece.colours)
    tie_of = {node: tie for tie, members in enumerate(piece.ties) for node in members}
    children: dict[int, list[int]] = defaultdict(list)
    for node, parent in piece.parents.items():
        children[parent].append(node)

    def around_tie(tie: int) -> tuple[int, ...]:
        return tuple(sorted(nodes.colours[node] for node in piece.ties[tie]))

    def around_node(node: int) -> tuple[int, tuple[int, ...], int]:
        parent, tie = piece.parents.get(node), tie_of.get(node)
        return (
            -1 if parent is None else nodes.colours[parent],
            tuple(sorted(nodes.colours[child] for child in children[node])) if node in children else (),
            -1 if tie is None else ties.colours[tie],
        )

    ties = _Cells(positions({tie: around_tie(tie) for tie in range(len(piece.ties))}))
    if changed is None:
        moved, retied = nodes.split(piece.colours, around_node), set()
    else:
        moved, retied = set(changed), {tie_of[node] for node in changed if node in tie_of}
    while moved or retied:
        retied |= ties.split({tie_of[node] for node in moved if node in tie_of}, around_tie)
        near = {node for tie in retied for node in piece.ties[tie]}
        for node in moved:
            near.update(children.get(node, ()))
            if node in piece.parents:
                near.add(piece.parents[node])
        moved, retied = nodes.split(near, around_node), set()
    return nodes.colours


class _Cells:
    """Things by colour."""

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
        found = []
        for colour, things in suspects.items():  # all keys are made before any colour changes
            groups: dict[Any, list[int]] = defaultdict(list)
            for thing in things:
                groups[key(thing)].append(thing)
            if len(things) < len(self._members[colour]):
                known = set(things)
                others = [thing for thing in self._members[colour] if thing not in known]
                groups[key(others[0])].extend(others)  # what is not touched has one key
            if len(groups) > 1:
                found.append((colour, groups))
        moved: set[int] = set()
        for colour, groups in found:
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
