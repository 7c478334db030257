"""A grid of cells as a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from . import elements
from .elements import INK, Picture, element

CELL = 22.0  # pixels
_TICKS = 24  # more rows or columns than this are numbered every 5, 10, 50, …


@dataclass(frozen=True)
class Grid:
    """A grid of cells (row, column), numbered from 0 at the top left.

    Attributes:
        rows: the number of rows.
        columns: the number of columns.
        shaded: the cells that are shaded, each with how often it is listed; a number above 1 is written in the cell.
        row_name: what a row is, written beside the grid.
        column_name: what a column is, written below it.
        separators: the columns before which a thick line is drawn.
        separator_class: the class of these lines in the SVG.
    """

    rows: int
    columns: int
    shaded: Mapping[tuple[int, int], int]
    row_name: str
    column_name: str
    separators: Sequence[int] = ()
    separator_class: str = "separator"


def grid_picture(grid: Grid, *, cell: float = CELL, overlay: str = "", beyond: float = 0.0) -> Picture:
    """Draw a grid.

    Args:
        grid: the grid.
        cell: the size of a cell in pixels.
        overlay: SVG elements to draw on top, in pixels from the top left corner of cell (0, 0).
        beyond: how far the overlay reaches beyond the last column, in cells.
    """
    body = _cells(grid, cell) + _lines(grid, cell) + _separators(grid, cell) + _axes(grid, cell) + overlay
    left, margin, right = 2.3 * cell, 0.4 * cell, (grid.columns + beyond) * cell
    # One row of margin above and below, where edges and outlines may swing out.
    width, height = left + max(right, 2 * cell) + margin, (grid.rows + 3.0) * cell
    return Picture(body, -left, -cell, width, height)


def _cells(grid: Grid, cell: float) -> str:
    shaded, numbers = [], []
    for (row, column), times in sorted(grid.shaded.items()):
        square = element("rect", class_="cell", x=column * cell, y=row * cell, width=cell, height=cell)
        shaded.append(square)
        if times > 1:
            x, y = (column + 0.16) * cell, (row + 0.34) * cell
            numbers.append(elements.text(str(times), x, y, 0.34 * cell, class_="multiplicity"))
    return element("g", "".join(shaded), fill=INK, fill_opacity=0.26) + "".join(numbers)


def _lines(grid: Grid, cell: float) -> str:
    right, bottom = elements.number(grid.columns * cell), elements.number(grid.rows * cell)
    lines = [f"M0 {elements.number(row * cell)}H{right}" for row in range(grid.rows + 1)]
    lines += [f"M{elements.number(column * cell)} 0V{bottom}" for column in range(grid.columns + 1)]
    return element("path", d="".join(lines), fill="none", stroke=INK, stroke_width=0.5, stroke_opacity=0.55)


def _separators(grid: Grid, cell: float) -> str:
    top, bottom = elements.number(-0.35 * cell), elements.number((grid.rows + 0.35) * cell)
    return "".join(
        element(
            "path",
            class_=grid.separator_class,
            d=f"M{elements.number(column * cell)} {top}V{bottom}",
            stroke=INK,
            stroke_width=1.2,
        )
        for column in grid.separators
    )


def _axes(grid: Grid, cell: float) -> str:
    rows, columns, size = grid.rows, grid.columns, 0.5 * cell
    body = [elements.text(str(n), -0.5 * cell, (n + 0.65) * cell, 0.42 * cell, class_="tick") for n in _ticks(rows)]
    body += [
        elements.text(str(t), (t + 0.5) * cell, (rows + 0.75) * cell, 0.42 * cell, class_="tick")
        for t in _ticks(columns)
    ]
    turned = f"rotate(-90 {elements.number(-1.5 * cell)} {elements.number(rows * cell / 2)})"
    body.append(elements.text(grid.row_name, -1.5 * cell, rows * cell / 2, size, class_="axis", transform=turned))
    body.append(elements.text(grid.column_name, max(columns, 2) * cell / 2, (rows + 1.6) * cell, size, class_="axis"))
    return "".join(body)


def _ticks(size: int) -> range:
    every = next(step * 10**power for power in count() for step in (1, 5) if size <= _TICKS * step * 10**power)
    return range(0, size, every)
