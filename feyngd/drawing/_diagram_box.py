"""Diagrams inside matplotlib figures, beside the curves they stand for."""

from typing import TYPE_CHECKING

from ..diagrams import Diagram, Forest
from ..svg import INK, OUTLINE, RADIUS, RING, Point, check_size, drawn_tree, samples
from ._diagram_svg import check_diagram
from ._matplotlib import require_matplotlib

if TYPE_CHECKING:
    from matplotlib.offsetbox import DrawingArea

_MARGIN = 1.0


def diagram_box(diagram: Diagram, *, scale: float = 0.5) -> "DrawingArea":
    """Draw a diagram into a box for legends and notes, as `diagram_svg` does.

    Args:
        diagram: the diagram.
        scale: the size; 1 is that of `diagram_svg`, in points.

    Returns:
        A matplotlib `DrawingArea`.

    Raises:
        ArgumentError: `diagram` is not a `Diagram`, or the scale is not a positive number.
        FeynGDError: matplotlib is missing.
    """
    require_matplotlib()
    from matplotlib.lines import Line2D
    from matplotlib.offsetbox import DrawingArea
    from matplotlib.patches import Circle

    check_size("scale", scale)
    check_diagram(diagram)
    tree = drawn_tree(diagram.parents, diagram.parts)
    two_rooted = isinstance(diagram, Forest)  # whose node 0 joins the roots, and is not drawn
    places, reached = tree.places, tree.reached[1:] if two_rooted else tree.reached
    pad = (OUTLINE / 2 if tree.outlines else RING) + _MARGIN
    left, bottom = min(x for x, _ in reached) - pad, max(y for _, y in reached) + pad
    width, height = max(x for x, _ in reached) + pad - left, bottom + pad - min(y for _, y in reached)

    def at(point: Point) -> Point:
        return scale * (point[0] - left), scale * (bottom - point[1])  # matplotlib's y points upwards

    box = DrawingArea(scale * width, scale * height)
    for part, curves in tree.outlines.items():
        # Round ends meet in one transparent outline only if all curves of a part are one line.
        run = [at(point) for curve in curves for point in (*samples(curve), (float("nan"),) * 2)]
        box.add_artist(
            Line2D(
                *zip(*run, strict=True),
                color=tree.colours[part],
                lw=scale * OUTLINE,
                alpha=0.25,
                solid_capstyle="round",
            )
        )
    for node in range(1, len(places)):
        if two_rooted and not diagram.parents[node]:
            continue
        ends = at(places[node]), at(places[diagram.parents[node]])
        box.add_artist(Line2D(*zip(*ends, strict=True), color=INK, lw=1.3 * scale**0.5))
    for node, place in enumerate(places):
        colour = tree.node_colours[node]
        if two_rooted and not node:
            continue
        if diagram.parents[node] == (0 if two_rooted else -1):
            box.add_artist(Circle(at(place), scale * RING, fill=False, ec=colour, lw=1.2 * scale**0.5))
        box.add_artist(Circle(at(place), scale * RADIUS, fc=colour, lw=0))
    return box
