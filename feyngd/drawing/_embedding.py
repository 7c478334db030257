"""An embedding drawn on the grid of a spacetime."""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from itertools import chain

from ..diagrams import Diagram, check_one_root
from ..errors import ArgumentError
from ..svg import (
    INK,
    Curve,
    Point,
    Surroundings,
    best_curve,
    element,
    elements,
    outline_curves,
    part_colours,
    swing,
    ways,
)
from ._diagram_svg import check_diagram

Cell = tuple[int, int]

# In units of a cell.
_RADIUS, _OUTLINE, _SPREAD = 0.15, 0.56, 0.25


def check_embedding(diagram: Diagram, embedding: Mapping[int, Cell], visited: Collection[Cell]) -> dict[int, Cell]:
    """Return an embedding as a dict in the order of the nodes.

    Args:
        diagram: the diagram.
        embedding: cells (datapoint, step) of the non-root nodes of the diagram.
        visited: the cells that SGD visits.

    Raises:
        ArgumentError: the mapping is not an embedding of the diagram in these cells.
    """
    check_diagram(diagram)
    check_one_root(diagram, "placed")
    nodes = list(range(1, diagram.order + 1))
    if not isinstance(embedding, Mapping) or set(embedding) != set(nodes):
        given = sorted(embedding, key=repr) if isinstance(embedding, Mapping) else type(embedding).__name__
        raise ArgumentError(f"An embedding of {diagram} is a dict whose keys are the nodes {nodes}, got {given}.")
    for node in nodes:
        if not isinstance(embedding[node], tuple) or embedding[node] not in visited:
            raise ArgumentError(
                f"Node {node} is placed in {embedding[node]!r}, which SGD does not visit. Allowed are the cells "
                f"(datapoint, step) of the batches: {_some(visited)}."
            )
        parent = diagram.parents[node]
        if parent and embedding[node][1] >= embedding[parent][1]:
            raise ArgumentError(
                f"Node {node} is placed at step {embedding[node][1]} and its parent, node {parent}, at step "
                f"{embedding[parent][1]}: a child is strictly earlier than its parent."
            )
        first = min(diagram.parts[diagram.labels[node]] - {0})
        if embedding[node][0] != embedding[first][0]:
            raise ArgumentError(
                f"Nodes {first} and {node} are tied but placed on datapoints {embedding[first][0]} and "
                f"{embedding[node][0]}: tied nodes share the datapoint."
            )
    return {node: embedding[node] for node in nodes}


def embedding_body(diagram: Diagram, embedding: Mapping[int, Cell], steps: int, cell: float) -> str:
    """Draw the nodes, edges and outlines of a checked embedding.

    Args:
        diagram: the diagram.
        embedding: what `check_embedding` returned.
        steps: the number of columns; the root comes after them.
        cell: the size of a cell.
    """
    parts = list(diagram.parts)
    colours = part_colours(parts)
    places = _places(diagram, embedding, steps, cell)
    outlines = outline_curves(places, parts, clearance=(_OUTLINE / 2 + _RADIUS + 0.03) * cell, width=_OUTLINE * cell)
    body = [elements.outline(curves, colours[part], _OUTLINE * cell, part) for part, curves in outlines.items()]
    for node in embedding:
        shape = elements.path([_edge(places, node, diagram.parents[node], cell)])
        body.append(element("path", class_="edge", d=shape, fill="none", stroke=INK, stroke_width=0.06 * cell))
    colour_of = {node: colours[index] for index, part in enumerate(parts) for node in part}
    radius = _RADIUS * cell * min(1.0, 3 / _crowd(embedding))
    for node, (x, y) in places.items():
        body.append(elements.dot(x, y, radius, colour_of[node], node=node, ring=0.29 * cell))
    return "".join(body)


def _places(diagram: Diagram, embedding: Mapping[int, Cell], steps: int, cell: float) -> dict[int, Point]:
    """Place the nodes: alone in the middle of the cell, several in one cell on a circle around it."""
    shared: dict[Cell, list[int]] = {}
    for node, visited in embedding.items():
        shared.setdefault(visited, []).append(node)
    places: dict[int, Point] = {}
    for (n, t), nodes in shared.items():
        reach = _SPREAD * cell if len(nodes) > 1 else 0.0
        for turn, node in enumerate(nodes):
            angle = 2 * math.pi * turn / len(nodes)
            places[node] = ((t + 0.5) * cell + reach * math.sin(angle), (n + 0.5) * cell - reach * math.cos(angle))
    level = 0
    if diagram.is_root_tied:
        level = embedding[min(diagram.parts[0] - {0})][0]
    elif diagram.order:
        level = max((embedding[child] for child in diagram.children[0]), key=lambda place: (place[1], -place[0]))[0]
    places[0] = ((steps + 0.9) * cell, (level + 0.5) * cell)
    return dict(sorted(places.items()))


def _edge(places: Mapping[int, Point], child: int, parent: int, cell: float) -> Curve:
    """Return a curve from a child to its parent that passes over no other node."""
    clearance = (_RADIUS + 0.12) * cell
    others = [place for node, place in places.items() if node not in (child, parent)]
    start, end = places[child], places[parent]
    candidates = chain([swing(start, end)], ways(start, end, clearance))
    return best_curve(candidates, Surroundings(others, clearance))[1]


def _crowd(embedding: Mapping[int, Cell]) -> int:
    """Return the largest number of nodes in one cell."""
    return max(Counter(embedding.values()).values(), default=1)


def _some(visited: Collection[Cell]) -> str:
    listed = ", ".join(map(str, sorted(visited)[:12]))
    return listed + (", …" if len(visited) > 12 else "")
