"""A tree with a partition of its nodes as a picture."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from . import elements
from ._curves import Curve, Point, line, samples
from ._outlines import outline_curves
from ._tree_layout import tree_layout
from .elements import INK, PALETTE, Picture, element

RADIUS, RING = 3.8, 7.5  # of a node, and of the ring around the root
OUTLINE = 21.0  # the width of the outline around a part
_COLUMN, _ROW = 40.0, 32.0
_CLEARANCE = OUTLINE / 2 + RING + 1.5
_MARGIN = 3.0


@dataclass(frozen=True)
class DrawnTree:
    """Where the nodes and outlines of a tree are, and their colours.

    Attributes:
        places: the place of every node.
        colours: the colour of every part.
        node_colours: the colour of every node, which is that of its part.
        outlines: for the index of every part of two or more nodes, the curves that join them.
    """

    places: list[Point]
    colours: list[str]
    node_colours: list[str]
    outlines: dict[int, list[Curve]]

    @property
    def reached(self) -> list[Point]:
        """Points of everything that is drawn, for the box around it."""
        return [*self.places, *(point for curves in self.outlines.values() for c in curves for point in samples(c))]


def part_colours(parts: Iterable[Collection[int]]) -> list[str]:
    """Return the colour of every part: grey for a node alone, the palette's colours in turn for two or more."""
    colours, used = [], 0
    for part in parts:
        colours.append(PALETTE[used % len(PALETTE)] if len(part) > 1 else INK)
        used += len(part) > 1
    return colours


def drawn_tree(parents: Sequence[int], parts: Sequence[Collection[int]]) -> DrawnTree:
    """Lay out a tree and the outlines around its parts.

    Args:
        parents: the parent of every node. Node 0 is the root, and every parent precedes its children.
        parts: a partition of the nodes.
    """
    places = tree_layout(parents, parts, column=_COLUMN, row=_ROW)
    outlines = outline_curves(dict(enumerate(places)), parts, clearance=_CLEARANCE, width=OUTLINE)
    colours = part_colours(parts)
    colour_of = {node: colours[index] for index, part in enumerate(parts) for node in part}
    return DrawnTree(places, colours, [colour_of[node] for node in range(len(places))], outlines)


def tree_picture(
    parents: Sequence[int],
    parts: Sequence[Collection[int]],
    *,
    numbered: bool = False,
    hollow: Collection[int] = (),
    cells: Sequence[int] | None = None,
    two_rooted: bool = False,
) -> Picture:
    """Draw a tree: the root, ringed, is rightmost; a part of two or more nodes has one colour and an outline.

    Args:
        parents: the parent of every node. Node 0 is the root, and every parent precedes its children.
        parts: a partition of the nodes.
        numbered: whether to write the number of every node next to it.
        hollow: the indices of the parts whose outlines are a rim alone.
        cells: the cell of every node, whose number within its part is written below the node where a part has several.
        two_rooted: whether node 0 only joins two roots, which are ringed, and is not drawn itself.
    """
    tree = drawn_tree(parents, parts)
    numbers = {} if cells is None else _cell_numbers(parts, cells)
    places = tree.places
    body = [
        elements.outline(curves, tree.colours[part], OUTLINE, part, hollow=part in hollow)
        for part, curves in tree.outlines.items()
    ]
    for node in range(1, len(parents)):
        if two_rooted and not parents[node]:
            continue
        edge = elements.path([line(places[node], places[parents[node]])])
        body.append(element("path", class_="edge", d=edge, fill="none", stroke=INK, stroke_width=1.3))
    for node, (x, y) in enumerate(places):
        if two_rooted and not node:
            continue
        is_root = parents[node] == (0 if two_rooted else -1)
        body.append(elements.dot(x, y, RADIUS, tree.node_colours[node], node=node, ring=RING, is_root=is_root))
    if numbered:
        body.extend(
            elements.text(str(node), x, y - 9, 9, class_="label", font_weight="bold")
            for node, (x, y) in enumerate(places)
            if node or not two_rooted
        )
    for node, number in numbers.items():
        x, y = places[node]
        body.append(elements.text(str(number), x, y + 14.5, 8.5, class_="cell", font_weight="bold"))
    pad = (OUTLINE / 2 if tree.outlines else RING + 1) + _MARGIN
    above = max(pad, 18.0) if numbered else pad
    below = max(pad, 18.0) if numbers else pad
    reached = tree.reached[1:] if two_rooted else tree.reached
    left, right = min(x for x, _ in reached) - pad, max(x for x, _ in reached) + pad
    top, bottom = min(y for _, y in reached) - above, max(y for _, y in reached) + below
    return Picture("".join(body), left, top, right - left, bottom - top)


def _cell_numbers(parts: Sequence[Collection[int]], cells: Sequence[int]) -> dict[int, int]:
    """Return the number of its cell within its part for every node, the root apart, in parts with several cells."""
    numbers: dict[int, int] = {}
    for part in parts:
        own = list(dict.fromkeys(cells[node] for node in sorted(part) if node))
        if len(own) > 1:
            numbers |= {node: own.index(cells[node]) + 1 for node in part if node}
    return numbers
