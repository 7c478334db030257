"""Spacetimes and embeddings as SVG."""

from collections import Counter
from collections.abc import Mapping
from itertools import count

from ..diagrams import Diagram
from ..errors import ArgumentError, SpacetimeError
from ..spacetimes import Spacetime
from ..svg import INK, Picture, check_size, document, element, elements
from ._embedding import check_embedding, embedding_body

_TICKS = 24  # more rows or columns than this are numbered every 5, 10, 50, …


def spacetime_svg(
    spacetime: Spacetime,
    diagram: Diagram | None = None,
    embedding: Mapping[int, tuple[int, int]] | None = None,
    *,
    cell: float = 22,
) -> str:
    """Draw the cells that SGD visits, and an embedding of a diagram in them.

    Datapoints are rows, 0 on top; steps are columns. Visited cells are shaded, with a number in those that a batch
    lists more than once; lines separate the epochs. The nodes of an embedding are dots in their cells; edges go from a
    child to its parent, and tied nodes share a colour and a fuzzy outline. The root, ringed, comes after the last step:
    in the row of the datapoint it is tied to, else level with its latest child.

    Args:
        spacetime: a concrete spacetime whose batches are not random. One reshuffled epoch is drawn in the order
            0, 1, 2, ….
        diagram: a diagram to draw in it.
        embedding: its non-root nodes' cells (datapoint, step), as `feyngd.embeddings(diagram, spacetime)` yields them.
        cell: the size of a cell in pixels.

    Returns:
        An SVG document, the same bytes for the same arguments.

    Raises:
        SpacetimeError: the spacetime has symbols or random batches.
        ArgumentError: the embedding is not one of the diagram's: it misses or invents a node, uses a cell that SGD does
            not visit, puts a child at or after its parent, or tied nodes on different datapoints; only one of diagram
            and embedding is given; or `cell` is not a positive number.

    Examples:
        >>> import feyngd as fd
        >>> D, S = fd.Diagram.parse("[a[b]]"), fd.Spacetime.sgd(N=3)
        >>> svg = fd.drawing.spacetime_svg(S, D, next(fd.embeddings(D, S)))
        >>> svg.count('class="cell"'), svg.count('class="edge"')
        (3, 2)
    """
    check_size("cell", cell)
    batches = _batches(spacetime)
    visits = Counter((n, t) for t, batch in enumerate(batches) for n in batch)
    rows, steps = int(spacetime.N), len(batches)
    body = _cells(visits, cell) + _grid(rows, steps, cell) + _epochs(spacetime, rows, steps, cell)
    body += _axes(rows, steps, cell)
    name, right = str(spacetime), steps * cell
    if (diagram is None) != (embedding is None):
        raise ArgumentError("Give both the diagram and its embedding, or neither.")
    if diagram is not None and embedding is not None:
        placed = check_embedding(diagram, embedding, visits)
        body += embedding_body(diagram, placed, steps, cell)
        name = f"{diagram} in {name}"
        right += 1.5 * cell
    left, margin = 2.3 * cell, 0.4 * cell
    # One row of margin above and below, where edges and outlines may swing out.
    width, height = left + max(right, 2 * cell) + margin, (rows + 3.0) * cell
    return document(Picture(body, -left, -cell, width, height), name)


def _batches(spacetime: Spacetime) -> list[list[int]]:
    spacetime.require_concrete("A grid is drawn")
    if spacetime.is_random:
        raise SpacetimeError(
            f"The batches are random ({spacetime}), so there is no one grid. Draw one run with "
            "Spacetime.from_batches(spacetime.batches(rng), N), where rng=numpy.random.default_rng(seed)."
        )
    if spacetime.sampling == "reshuffled":  # one epoch: all orders are alike, the fixed one stands for them
        spacetime = Spacetime.sgd(spacetime.N, spacetime.B, spacetime.E, sampling="fixed")
    return spacetime.batches()


def _cells(visits: Counter[tuple[int, int]], cell: float) -> str:
    shaded, numbers = [], []
    for (n, t), times in sorted(visits.items()):
        square = element("rect", class_="cell", x=t * cell, y=n * cell, width=cell, height=cell)
        shaded.append(square)
        if times > 1:
            x, y = (t + 0.16) * cell, (n + 0.34) * cell
            numbers.append(elements.text(str(times), x, y, 0.34 * cell, class_="multiplicity"))
    return element("g", "".join(shaded), fill=INK, fill_opacity=0.26) + "".join(numbers)


def _grid(rows: int, steps: int, cell: float) -> str:
    right, bottom = elements.number(steps * cell), elements.number(rows * cell)
    lines = [f"M0 {elements.number(n * cell)}H{right}" for n in range(rows + 1)]
    lines += [f"M{elements.number(t * cell)} 0V{bottom}" for t in range(steps + 1)]
    return element("path", d="".join(lines), fill="none", stroke=INK, stroke_width=0.5, stroke_opacity=0.55)


def _epochs(spacetime: Spacetime, rows: int, steps: int, cell: float) -> str:
    """Draw lines between epochs; where every step is an epoch the grid has them already."""
    epochs = 0 if spacetime.E is None else int(spacetime.E)
    if epochs < 2 or epochs == steps:
        return ""
    length = steps // epochs
    return "".join(
        element(
            "path",
            class_="epoch",
            d=f"M{elements.number(t * cell)} {elements.number(-0.35 * cell)}V{elements.number((rows + 0.35) * cell)}",
            stroke=INK,
            stroke_width=1.2,
        )
        for t in range(length, steps, length)
    )


def _axes(rows: int, steps: int, cell: float) -> str:
    size = 0.5 * cell
    body = [elements.text(str(n), -0.5 * cell, (n + 0.65) * cell, 0.42 * cell, class_="tick") for n in _ticks(rows)]
    body += [
        elements.text(str(t), (t + 0.5) * cell, (rows + 0.75) * cell, 0.42 * cell, class_="tick") for t in _ticks(steps)
    ]
    turned = f"rotate(-90 {elements.number(-1.5 * cell)} {elements.number(rows * cell / 2)})"
    body.append(elements.text("datapoint n", -1.5 * cell, rows * cell / 2, size, class_="axis", transform=turned))
    body.append(elements.text("step t", max(steps, 2) * cell / 2, (rows + 1.6) * cell, size, class_="axis"))
    return "".join(body)


def _ticks(size: int) -> range:
    every = next(step * 10**power for power in count() for step in (1, 5) if size <= _TICKS * step * 10**power)
    return range(0, size, every)
