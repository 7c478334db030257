"""Where the outlines of the parts run: curves that join the nodes of a part and go around all others."""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations, pairwise

from ._curves import Curve, Point, Surroundings, best_curve, line, samples, ways
from ._tree_layout import MOST_NODES


def outline_curves(
    places: Mapping[int, Point], parts: Sequence[Collection[int]], *, clearance: float, width: float
) -> dict[int, list[Curve]]:
    """Join the nodes of every part of two or more by curves.

    The curves of a part are a minimum spanning tree, where the length of a link is that of the shortest way around the
    nodes of other parts; links that run over another part's outline count as longer. In large diagrams they are
    straight lines from node to node instead.

    Args:
        places: where the nodes are.
        parts: the parts.
        clearance: how far the curves stay from nodes of other parts.
        width: the width of an outline.

    Returns:
        For the index of every part of two or more nodes its curves.
    """
    if len(places) > MOST_NODES:
        return {
            index: [line(places[u], places[v]) for u, v in pairwise(sorted(part, key=places.__getitem__))]
            for index, part in enumerate(parts)
            if len(part) > 1
        }
    outlines: dict[int, list[Curve]] = {}
    traffic: list[Point] = []
    outlined = [index for index, part in enumerate(parts) if len(part) > 1]
    # Short outlines first: a long outline can still arch over a short one, not the other way round.
    for index in sorted(outlined, key=lambda index: (round(_extent(places, parts[index]), 6), index)):
        part = parts[index]
        obstacles = [places[node] for node in sorted(places) if node not in part]
        around = Surroundings(obstacles, clearance, tuple(traffic), width)
        outlines[index] = _spanning_tree(places, sorted(part), around)
        traffic.extend(point for curve in outlines[index] for point in samples(curve))
    return dict(sorted(outlines.items()))


def _extent(places: Mapping[int, Point], part: Collection[int]) -> float:
    """Return the largest distance between two nodes of a part."""
    return max(math.dist(places[u], places[v]) for u, v in combinations(part, 2))


def _spanning_tree(places: Mapping[int, Point], nodes: Sequence[int], around: Surroundings) -> list[Curve]:
    """Return the links of the cheapest spanning tree (Kruskal)."""
    links = []
    for u, v in combinations(nodes, 2):
        cost, curve = best_curve(ways(places[u], places[v], around.clearance), around)
        links.append((round(cost, 6), u, v, curve))
    group = {node: node for node in nodes}
    chosen = []
    for _, u, v, curve in sorted(links):
        if group[u] != group[v]:
            merged, kept = group[v], group[u]
            group = {node: kept if mark == merged else mark for node, mark in group.items()}
            chosen.append(curve)
    return chosen
