"""Spacetimes and embeddings as SVG."""

from collections.abc import Mapping

from ..diagrams import Diagram
from ..errors import ArgumentError
from ..spacetimes import Spacetime, check_spacetime, visited_grid
from ..svg import CELL, check_size, document, grid_picture
from ._embedding import check_embedding, embedding_body


def spacetime_svg(
    spacetime: Spacetime,
    diagram: Diagram | None = None,
    embedding: Mapping[int, tuple[int, int]] | None = None,
    *,
    cell: float = CELL,
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
        ArgumentError: `spacetime` is not a `Spacetime`; the mapping is not an embedding of the diagram: it misses or
            invents a node, uses a cell that SGD does not visit, puts a child at or after its parent, or tied nodes on
            different datapoints; only one of diagram and embedding is given; or `cell` is not a positive number.

    Examples:
        >>> import feyngd as fd
        >>> D, S = fd.Diagram.parse("[a[b]]"), fd.Spacetime.sgd(N=3)
        >>> svg = fd.drawing.spacetime_svg(S, D, next(fd.embeddings(D, S)))
        >>> svg.count('class="cell"'), svg.count('class="edge"')
        (3, 2)
    """
    check_size("cell", cell)
    check_spacetime(spacetime)
    grid = visited_grid(spacetime)
    if (diagram is None) != (embedding is None):
        raise ArgumentError("Give both the diagram and its embedding, or neither.")
    if diagram is None or embedding is None:
        return document(grid_picture(grid, cell=cell), str(spacetime))
    placed = check_embedding(diagram, embedding, grid.shaded)
    overlay = embedding_body(diagram, placed, grid.columns, cell)
    return document(grid_picture(grid, cell=cell, overlay=overlay, beyond=1.5), f"{diagram} in {spacetime}")
