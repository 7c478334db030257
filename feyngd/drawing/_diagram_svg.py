"""Diagrams as SVG, one or many."""

from collections.abc import Collection, Iterable

from ..diagrams import Diagram, tensor_expression
from ..errors import ArgumentError
from ..svg import (
    INK,
    PALETTE,
    Curve,
    Picture,
    Point,
    check_size,
    document,
    element,
    elements,
    line,
    outline_curves,
    samples,
    tree_layout,
)

_COLUMN, _ROW = 40.0, 32.0
RADIUS, RING = 3.8, 7.5
OUTLINE = 21.0
_CLEARANCE = OUTLINE / 2 + RING + 1.5
_MARGIN = 3.0
_CAPTION = 11.0
_LETTER_WIDTH = 0.62  # of a monospace letter, in units of the font size


def diagram_svg(diagram: Diagram, *, scale: float = 1.0, labels: bool = False) -> str:
    """Draw a diagram.

    Time flows from left to right: the root, ringed, is rightmost and every child, an earlier step, is to the left of
    its parent. Tied nodes have one colour and a fuzzy outline of that colour around them, which goes around nodes of
    other parts; a node that is alone in its part is grey.

    Args:
        diagram: the diagram.
        scale: the size of the picture; 1 is for the running text of a notebook.
        labels: whether to write the number of every node next to it.

    Returns:
        An SVG document, the same bytes for the same diagram.

    Raises:
        ArgumentError: `diagram` is not a `Diagram`, or the scale is not a positive number.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", which draws diagrams this way.

    Examples:
        >>> import feyngd as fd
        >>> svg = fd.drawing.diagram_svg(fd.Diagram.parse("[a a[b]]"))
        >>> svg.count('class="edge"'), svg.count('class="outline"')
        (3, 1)
    """
    check_size("scale", scale)
    check_diagram(diagram)
    return document(_picture(diagram, labels), str(diagram), scale=scale)


def diagrams_svg(diagrams: Iterable[Diagram], *, columns: int = 6, captions: bool = True, tensors: bool = False) -> str:
    """Draw several diagrams on one sheet.

    Args:
        diagrams: the diagrams, in reading order; a `Series` gives its own.
        columns: how many to draw side by side.
        captions: whether to write the bracket notation below each.
        tensors: whether to write the tensor expression of its value below each as well.

    Returns:
        An SVG document.

    Raises:
        ArgumentError: there are no diagrams, one of them is not a `Diagram`, or `columns` is not a positive integer.

    Examples:
        >>> import feyngd as fd
        >>> fd.drawing.diagrams_svg(fd.diagrams(2), columns=3).count('class="diagram"')
        4
    """
    check_size("columns", columns, whole=True)
    drawn = list(diagrams)
    if not drawn:
        raise ArgumentError("There are no diagrams to draw: give at least one, such as those of feyngd.diagrams(3).")
    for diagram in drawn:
        check_diagram(diagram)
    pictures = [_picture(diagram, False) for diagram in drawn]
    texts = [([str(d)] if captions else []) + ([tensor_expression(d)] if tensors else []) for d in drawn]
    longest = max((len(text) for lines in texts for text in lines), default=0)
    width = max(*(picture.width for picture in pictures), longest * _LETTER_WIDTH * _CAPTION) + 4 * _MARGIN
    foot = 1.35 * _CAPTION * len(texts[0]) + 4 * _MARGIN
    body, top = [], 0.0
    for start in range(0, len(drawn), columns):
        height = max(picture.height for picture in pictures[start : start + columns])
        for index in range(start, min(start + columns, len(drawn))):
            middle = (index - start + 0.5) * width
            body.append(_exhibit(drawn[index], pictures[index], texts[index], middle, top, height))
        top += height + foot
    sheet = Picture("".join(body), 0.0, 0.0, width * min(columns, len(drawn)), top)
    return document(sheet, f"{len(drawn)} diagrams")


def check_diagram(diagram: object) -> None:
    """Raise `ArgumentError` unless the object is a diagram."""
    if not isinstance(diagram, Diagram):
        raise ArgumentError(
            f"Only diagrams can be drawn, got {type(diagram).__name__}: make one with Diagram.parse('[a a[b]]')."
        )


def part_colours(parts: Iterable[Collection[int]]) -> list[str]:
    """Return the colour of every part: grey for a node alone, the palette's colours in turn for tied nodes."""
    colours, used = [], 0
    for part in parts:
        colours.append(PALETTE[used % len(PALETTE)] if len(part) > 1 else INK)
        used += len(part) > 1
    return colours


def drawn_parts(diagram: Diagram) -> tuple[list[Point], list[str], dict[int, list[Curve]]]:
    """Return the places of the nodes, the colour of every part, and the curves of outlines by part."""
    places = tree_layout(diagram, _COLUMN, _ROW)
    outlines = outline_curves(dict(enumerate(places)), diagram.parts, clearance=_CLEARANCE, width=OUTLINE)
    return places, part_colours(diagram.parts), outlines


def _picture(diagram: Diagram, labels: bool) -> Picture:
    places, colours, outlines = drawn_parts(diagram)
    body = [elements.outline(curves, colours[part], OUTLINE, part) for part, curves in outlines.items()]
    for node in range(1, diagram.order + 1):
        edge = elements.path([line(places[node], places[diagram.parents[node]])])
        body.append(element("path", class_="edge", d=edge, fill="none", stroke=INK, stroke_width=1.3))
    for node, (x, y) in enumerate(places):
        body.append(elements.dot(x, y, RADIUS, colours[diagram.labels[node]], node=node, ring=RING))
    if labels:
        body.extend(
            elements.text(str(node), x, y - 9, 9, class_="label", font_weight="bold")
            for node, (x, y) in enumerate(places)
        )
    reached = list(places) + [point for curves in outlines.values() for curve in curves for point in samples(curve)]
    pad = (OUTLINE / 2 if outlines else RING + 1) + _MARGIN
    above = max(pad, 18.0) if labels else pad
    left, right = min(x for x, _ in reached) - pad, max(x for x, _ in reached) + pad
    top, bottom = min(y for _, y in reached) - above, max(y for _, y in reached) + pad
    return Picture("".join(body), left, top, right - left, bottom - top)


def _exhibit(diagram: Diagram, picture: Picture, lines: list[str], middle: float, top: float, height: float) -> str:
    """Place one picture on the sheet, centred over its captions."""
    x = middle - picture.left - picture.width / 2
    y = top + _MARGIN - picture.top + (height - picture.height) / 2
    moved = element("g", picture.body, transform=f"translate({elements.number(x)} {elements.number(y)})")
    written = [
        elements.text(text, middle, top + height + 1.35 * _CAPTION * (row + 1), _CAPTION, font_family="monospace")
        for row, text in enumerate(lines)
    ]
    return element("g", elements.title(str(diagram)) + moved + "".join(written), class_="diagram")
