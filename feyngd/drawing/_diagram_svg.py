"""Diagrams as SVG, one or many."""

from collections.abc import Iterable

from ..diagrams import CellDiagram, Diagram, Forest, Outline, tensor_expression
from ..errors import ArgumentError
from ..svg import Picture, check_size, document, element, elements, tree_picture

_MARGIN = 3.0
_CAPTION = 11.0
_LETTER_WIDTH = 0.62  # of a monospace letter, in units of the font size


def diagram_svg(diagram: Diagram | Outline, *, scale: float = 1.0, labels: bool = False) -> str:
    """Draw a diagram.

    Time flows from left to right: the root, ringed, is rightmost and every child, an earlier step, is to the left of
    its parent. Tied nodes have one colour and a fuzzy outline of that colour around them, which goes around nodes of
    other parts; a node that is alone in its part is grey. Where a part has several cells, the number of its cell is
    written below every node. Where an `Outline` has a cumulant in the place of a tie, the
    outline is a rim, hollow inside.

    Args:
        diagram: the diagram, or an outline.
        scale: the size of the picture; 1 is for the running text of a notebook.
        labels: whether to write the number of every node next to it.

    Returns:
        An SVG document, the same bytes for the same diagram.

    Raises:
        ArgumentError: `diagram` is neither a `Diagram` nor an `Outline`, or the scale is not a positive number.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", which draws diagrams this way.

    Examples:
        >>> import feyngd as fd
        >>> svg = fd.drawing.diagram_svg(fd.Diagram.parse("[a a[b]]"))
        >>> svg.count('class="edge"'), svg.count('class="outline"')
        (3, 1)
    """
    check_size("scale", scale)
    return document(_picture(diagram, numbered=labels), str(diagram), scale=scale)


def diagrams_svg(
    diagrams: Iterable[Diagram | Outline], *, columns: int = 6, captions: bool = True, tensors: bool = False
) -> str:
    """Draw several diagrams on one sheet.

    Args:
        diagrams: the diagrams, row by row; a `Series` gives its own. Outlines are drawn hollow, as by `diagram_svg`.
        columns: how many to draw side by side.
        captions: whether to write the bracket notation below each; below an outline the difference that it is.
        tensors: whether to write the tensor expression of its value below each as well, ties and outlines alike as
            cumulants.

    Returns:
        An SVG document.

    Raises:
        ArgumentError: there are no diagrams, one of them is neither a `Diagram` nor an `Outline`, or `columns` is not a
            positive integer.

    Examples:
        >>> import feyngd as fd
        >>> fd.drawing.diagrams_svg(fd.diagrams(2), columns=3).count('class="diagram"')
        4
    """
    check_size("columns", columns, whole=True)
    drawn = list(diagrams)
    if not drawn:
        raise ArgumentError("There are no diagrams to draw: give at least one, such as those of feyngd.diagrams(3).")
    pictures = [_picture(diagram) for diagram in drawn]
    texts = [([str(d)] if captions else []) + ([_tensor(_tied(d))] if tensors else []) for d in drawn]
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


def _tensor(diagram: Diagram) -> str:
    return tensor_expression(diagram, basis="moment" if isinstance(diagram, CellDiagram) else "cumulant")


def _tied(diagram: Diagram | Outline) -> Diagram:
    """Return the diagram with ties that is drawn."""
    if isinstance(diagram, Outline):
        return diagram.diagram
    check_diagram(diagram)
    return diagram


def _picture(diagram: Diagram | Outline, *, numbered: bool = False) -> Picture:
    """Draw the tree, ties filled and outlines hollow."""
    tied, hollow = _tied(diagram), diagram.parts if isinstance(diagram, Outline) else ()
    cells = tied.cells if isinstance(tied, CellDiagram) else None
    two_rooted = isinstance(tied, Forest)
    return tree_picture(tied.parents, tied.parts, numbered=numbered, hollow=hollow, cells=cells, two_rooted=two_rooted)


def check_diagram(diagram: object) -> None:
    """Raise `ArgumentError` unless the object is a diagram."""
    if not isinstance(diagram, Diagram):
        raise ArgumentError(
            f"Only diagrams can be drawn, got {type(diagram).__name__}: make one with Diagram.parse('[a a[b]]')."
        )


def _exhibit(
    diagram: Diagram | Outline, picture: Picture, lines: list[str], middle: float, top: float, height: float
) -> str:
    """Place one picture on the sheet, centred over its captions."""
    x = middle - picture.left - picture.width / 2
    y = top + _MARGIN - picture.top + (height - picture.height) / 2
    moved = element("g", picture.body, transform=f"translate({elements.number(x)} {elements.number(y)})")
    written = [
        elements.text(text, middle, top + height + 1.35 * _CAPTION * (row + 1), _CAPTION, font_family="monospace")
        for row, text in enumerate(lines)
    ]
    return element("g", elements.title(str(diagram)) + moved + "".join(written), class_="diagram")
