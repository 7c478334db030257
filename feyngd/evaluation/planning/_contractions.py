"""The ways to compute a term: every choice of where its tree is contracted, and what can be averaged beforehand.

A tree is contracted towards one node (a `Scalar` there) or across one edge (a `Dot`). Whatever lies behind an edge is a
`Vector` that points along it. If no part has nodes both behind the edge and in front of it, and the vector depends on
one example only, it is averaged beforehand and exactly: a `Mean`. The parts left over are the positions of a row; with
one position the term is an exact average, with more its parts are interleaved.

A node is centred at once if its other slots hold means. Otherwise its mean is subtracted as a separate term: the tree
in which the node is alone.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from ...diagrams import CellDiagram, Forest
from ._expressions import (
    OTHER_TEST,
    TEST,
    Dot,
    Input,
    Mean,
    Number,
    Product,
    Scalar,
    Vector,
    cell_position,
    part_of,
)
from ._terms import Term


@dataclass(frozen=True)
class Way:
    """One way to compute a tree: a number for each row, up to the nodes that still have to be centred."""

    number: Number
    uncentred: tuple[int, ...]


@dataclass(frozen=True)
class _Side:
    """One way to compute one tree."""

    number: Scalar | Dot
    uncentred: tuple[int, ...]


@dataclass(frozen=True)
class Tree:
    """An unrooted tree, or two, with a part for every node; part `TEST` is the separate test data.

    Attributes:
        edges: pairs of nodes.
        parts: the part of every node; where noise is drawn anew at every use, the position of its cell.
        centred: the nodes whose mean is subtracted.
        directed: whether it is contracted towards its root only.
        second: the root of a second tree, whose number multiplies that of the first; `None` without one.
    """

    edges: tuple[tuple[int, int], ...]
    parts: tuple[int, ...]
    centred: frozenset[int]
    directed: bool = False
    second: int | None = None

    @classmethod
    def of_term(cls, term: Term) -> "Tree":
        """Return the tree of a term."""
        diagram = term.diagram
        if isinstance(diagram, Forest):
            return cls._of_forest(diagram, term)
        parts = _cells(diagram) if isinstance(diagram, CellDiagram) else list(diagram.labels)
        if term.test_root:
            parts[0] = TEST
        sizes = Counter(parts)
        centred = frozenset(node for node, part in enumerate(parts) if sizes[part] > 1) if term.centred else frozenset()
        edges = tuple((parent, node) for node, parent in enumerate(diagram.parents) if node)
        return cls(edges, tuple(parts), centred, term.directed)

    @classmethod
    def _of_forest(cls, forest: Forest, term: Term) -> "Tree":
        # Node 0, which joins the roots, is left out: node v is number v − 1.
        parts = [label - 1 for label in forest.labels[1:]]
        second = forest.roots[1] - 1
        if term.test_root:
            parts[0], parts[second] = TEST, OTHER_TEST
        sizes = Counter(parts)
        centred = frozenset(node for node, part in enumerate(parts) if sizes[part] > 1) if term.centred else frozenset()
        edges = tuple((parent - 1, node - 1) for node, parent in enumerate(forest.parents) if parent > 0)
        return cls(edges, tuple(parts), centred, term.directed, second)

    @cached_property
    def neighbours(self) -> list[list[int]]:
        """The neighbours of every node."""
        found: list[list[int]] = [[] for _ in self.parts]
        for a, b in self.edges:
            found[a].append(b)
            found[b].append(a)
        return found

    @property
    def vanishes(self) -> bool:
        """Whether a centred node is alone in its part, so that the average is zero."""
        sizes = Counter(self.parts)
        return any(sizes[self.parts[node]] == 1 for node in self.centred)

    def ways(self) -> Iterator[Way]:
        """Iterate over the ways to compute the tree, or both."""
        count = len(self.parts)
        if self.second is None:
            for side in self._ways_of(range(count)):
                yield Way(side.number, side.uncentred)
            return
        # Late averages are those of numbers that stand alone.
        first, other = (
            [side for side in self._ways_of(nodes) if not (isinstance(side.number, Dot) and side.number.is_late)]
            for nodes in (range(self.second), range(self.second, count))
        )
        for one, two in product(first, other):
            number = Product(one.number, two.number)
            if TEST not in number.positions:  # the one test example that is left is the first
                number = number.place({OTHER_TEST: TEST})
            yield Way(number, one.uncentred + two.uncentred)

    def _ways_of(self, nodes: range) -> Iterator[_Side]:
        """Iterate over the ways to compute the tree of some nodes, the root first."""
        for node in nodes[:1] if self.directed else nodes:
            behind = _Contraction(self)
            inputs = [behind.message(other, node) for other in self.neighbours[node]]
            if node in self.centred:
                behind.uncentred.append(node)
            yield _Side(Scalar(self.parts[node], inputs), tuple(behind.uncentred))
        for a, b in () if self.directed else self.edges:
            if a not in nodes:
                continue
            behind = _Contraction(self)
            ends = behind.message(a, b), behind.message(b, a)
            yield _Side(Dot(*ends), tuple(behind.uncentred))
            if all(isinstance(end, Mean) for end in ends):
                yield _Side(Dot(*ends, is_late=True), tuple(behind.uncentred))

    def centre_apart(self, node: int) -> "tuple[Tree, Tree | None]":
        """Return the tree with a node not centred, and the tree to subtract, in which it is alone; `None` if zero."""
        rest = self.centred - {node}
        plain = replace(self, centred=rest)
        same_part = [other for other, part in enumerate(self.parts) if part == self.parts[node] and other != node]
        if len(same_part) == 1 and same_part[0] in rest:
            return plain, None
        alone = tuple(max(self.parts) + 1 if other == node else part for other, part in enumerate(self.parts))
        return plain, replace(self, parts=alone, centred=rest)


class _Contraction:
    """Makes the vectors behind edges, and notes the centred nodes that could not be centred at once."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.uncentred: list[int] = []

    def message(self, source: int, target: int) -> Input:
        """Return what lies behind the edge from `source` to `target`."""
        tree = self._tree
        inputs = [self.message(other, source) for other in tree.neighbours[source] if other != target]
        at_once = not any(item.positions for item in inputs)
        if source in tree.centred and not at_once:
            self.uncentred.append(source)
        vector = Vector(tree.parts[source], inputs, centred=source in tree.centred and at_once)
        if len(vector.positions) == 1 and self._is_closed(source, target):
            return Mean(vector)
        return vector

    def _is_closed(self, source: int, target: int) -> bool:
        tree, behind, frontier = self._tree, {source}, [source]
        while frontier:
            new = [n for node in frontier for n in tree.neighbours[node] if n not in behind and n != target]
            behind.update(new)
            frontier = new
        outside = {part_of(part) for node, part in enumerate(tree.parts) if node not in behind}
        return not any(part_of(tree.parts[node]) in outside for node in behind)


def _cells(diagram: CellDiagram) -> list[int]:
    """Return the position of every node's cell."""
    numbers: dict[int, dict[int, int]] = {}
    for label, cell in zip(diagram.labels, diagram.cells, strict=True):
        own = numbers.setdefault(label, {})
        own.setdefault(cell, len(own))
    return [
        cell_position(label, numbers[label][cell]) for label, cell in zip(diagram.labels, diagram.cells, strict=True)
    ]
