"""A graph as a picture: nodes joined by curves, of which several may join the same two, or lead back to their node."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from . import elements
from ._curves import Curve, Point, samples
from ._tree_picture import RADIUS
from .elements import INK, Picture, element

_WIDTH = 2.6  # of an edge: between those of a tree's edges and of a re-summed one
_DASHES = "5 3"
_MARGIN = 3.0
_OPENING = math.pi / 4.3  # half the angle at which the two ends of a loop meet


@dataclass(frozen=True)
class Edge:
    """An edge of a graph along a curve.

    Attributes:
        curve: from node to node.
        marked: whether it is dashed and in a colour of its own.
    """

    curve: Curve
    marked: bool = False


def loop(place: Point, length: float, direction: float) -> Curve:
    """Return a curve from a place back to it.

    Args:
        place: where both ends are.
        length: how far it reaches.
        direction: where to, an angle in radians; 0 is to the right and π/2 down.
    """
    reach = length / (0.75 * math.cos(_OPENING))  # a Bézier curve reaches ¾ of the way to its control points
    first, second = (
        (place[0] + reach * math.cos(direction + side), place[1] + reach * math.sin(direction + side))
        for side in (-_OPENING, _OPENING)
    )
    return (place, first, second, place)


def graph_picture(places: Sequence[Point], edges: Sequence[Edge]) -> Picture:
    """Draw a graph.

    Args:
        places: the place of every node.
        edges: the curves between them.
    """
    body = []
    for edge in edges:
        colour = elements.PALETTE[1] if edge.marked else INK
        dashes = {"stroke_dasharray": _DASHES} if edge.marked else {}
        kind, along = "edge marked" if edge.marked else "edge", elements.path([edge.curve])
        body.append(
            element("path", "", class_=kind, d=along, fill="none", stroke=colour, stroke_width=_WIDTH, **dashes)
        )
    body.extend(element("circle", class_="node", cx=x, cy=y, r=RADIUS, fill=INK) for x, y in places)
    reached = [*places, *(point for edge in edges for point in samples(edge.curve))]
    pad = RADIUS + _MARGIN
    left, top = (min(point[axis] for point in reached) - pad for axis in (0, 1))
    right, bottom = (max(point[axis] for point in reached) + pad for axis in (0, 1))
    return Picture("".join(body), left, top, right - left, bottom - top)
