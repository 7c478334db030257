"""The diagram with cells: a second, finer partition of the nodes, for noise that is drawn anew at every use."""

from collections.abc import Collection, Hashable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import DiagramError
from . import _notation
from ._canonical import canonical_form, restricted_growth
from ._diagram import Diagram, integers

if TYPE_CHECKING:
    import networkx as nx


class CellDiagram(Diagram):
    """A diagram whose parts are divided into *cells*.

    Where every use of a datapoint draws noise ω of its own, as dropout and augmentation do, a step follows the gradient
    of l_{n,ω}. Nodes in one part see the same datapoint n, and nodes in one cell the same use of it: the same ω too.
    The root is a cell of its own, even where it is tied: what is measured draws noise of its own.

    It is canonical as a `Diagram` is, equal to others with cells only. Bracket notation names a cell by a number after
    the letter of its part: in `[a.1 a.2]` two steps see one datapoint with different noise. A part with one cell is
    written without: `[a a]`.

    Args:
        tree: a networkx arborescence, edges from parent to child.
        partition: an iterable of sets of nodes, the parts.
        cells: an iterable of sets of nodes, each within a part; by default every part is one cell, but for the root.

    Raises:
        DiagramError: as for `Diagram`, or the cells do not refine the parts.

    References:
        The project's own extension of Tenka, "A Space-Time Approach to Analyzing SGD", Definition 2; checked against
        enumeration.

    Examples:
        >>> from feyngd import CellDiagram
        >>> CellDiagram.parse("[a.1 a.2[b]]")
        CellDiagram('[a.1 a.2[b]]')
        >>> CellDiagram.parse("[a.1 a.2]").automorphisms, CellDiagram.parse("[a a]").cells
        (2, (0, 1, 1))
    """

    _cells: tuple[int, ...]

    def __init__(
        self,
        tree: "nx.DiGraph",
        partition: Iterable[Collection[Hashable]],
        cells: Iterable[Collection[Hashable]] | None = None,
    ) -> None:
        import networkx as nx

        super().__init__(tree, parts := [list(part) for part in partition])
        nodes = list(nx.bfs_tree(tree, next(node for node in tree if tree.in_degree(node) == 0)))
        index = {node: position for position, node in enumerate(nodes)}
        parents = [-1] + [index[next(iter(tree.predecessors(node)))] for node in nodes[1:]]
        named = {node: label for label, part in enumerate(parts) for node in part}
        if cells is None:
            own = {node: label + 1 for node, label in named.items()} | {nodes[0]: 0}
        else:
            given = [list(cell) for cell in cells]
            own = {node: number for number, cell in enumerate(given) for node in cell}
            if sorted(map(str, named)) != sorted(str(node) for cell in given for node in cell):
                raise DiagramError(f"Cells hold every node of the tree once, got {given!r} for the nodes {nodes!r}.")
        self._place(parents, [named[node] for node in nodes], [own[node] for node in nodes])

    def _place(self, parents: Iterable[int], labels: Iterable[int], cells: Iterable[int]) -> None:
        labels, cells = restricted_growth(labels), tuple(cells)
        _check_cells(labels, cells)
        self._canonical(tuple(parents), labels, cells)

    def _canonical(self, parents: tuple[int, ...], labels: tuple[int, ...], cells: tuple[int, ...]) -> None:
        # Every node gets one more leaf, and these leaves are tied by cells: they keep both partitions apart in the
        # canonical form of an ordinary diagram, where all other nodes have a child.
        nodes, offset = len(parents), len(labels)
        marked = parents + tuple(range(nodes)), labels + tuple(offset + cell for cell in cells)
        (tree, ties), self._automorphisms = canonical_form(*marked)
        inner = set(tree)
        leaf_of = {parent: leaf for leaf, parent in enumerate(tree) if leaf not in inner}
        kept = sorted(leaf_of)
        position = {node: place for place, node in enumerate(kept)}
        self._parents = tuple(position[tree[node]] if node else -1 for node in kept)
        self._labels = restricted_growth(ties[node] for node in kept)
        self._cells = restricted_growth(ties[leaf_of[node]] for node in kept)

    @classmethod
    def from_labels(
        cls, parents: Iterable[int], labels: Iterable[int], cells: Iterable[int] | None = None
    ) -> "CellDiagram":
        """Make a diagram from the parent, the part and the cell of every node.

        Args:
            parents, labels: as in `Diagram.from_labels`.
            cells: for every node any integer; nodes with equal ones share a cell. By default every part is one.

        Raises:
            DiagramError: as in `Diagram.from_labels`, the cells do not refine the parts, or the root shares its cell.

        Examples:
            >>> from feyngd import CellDiagram
            >>> CellDiagram.from_labels([-1, 0, 0], [0, 1, 1], [0, 1, 2])
            CellDiagram('[a.1 a.2]')
        """
        parents, labels = integers("parents", parents), integers("labels", labels)
        Diagram.from_labels(parents, labels)  # which checks them
        own = (-1, *labels[1:]) if cells is None else integers("cells", cells)
        if len(own) != len(parents):
            raise DiagramError(f"Every node needs one parent and one cell, got {len(parents)} and {len(own)}.")
        diagram = object.__new__(cls)
        diagram._place(parents, labels, own)
        return diagram

    @classmethod
    def parse(cls, text: str) -> "CellDiagram":
        """Read a diagram in bracket notation: `"[a.1 a.2[b]]"`. A letter without a number is cell 1 of its part.

        Raises:
            DiagramError: the text is malformed.
        """
        return cls.from_labels(*_notation.parse_cells(text))

    @classmethod
    def of(cls, diagram: Diagram) -> "CellDiagram":
        """Return a diagram with every part one cell, but for the root."""
        return diagram if isinstance(diagram, cls) else cls.from_labels(diagram.parents, diagram.labels)

    @property
    def cells(self) -> tuple[int, ...]:
        """The number of every node's cell, in order of first appearance; that of the root is 0."""
        return self._cells

    @cached_property
    def without_cells(self) -> Diagram:
        """The diagram with its parts alone."""
        return Diagram.from_labels(self._parents, self._labels)

    @property
    def has_split_parts(self) -> bool:
        """Whether a part has several cells beside that of the root."""
        inner = {*zip(self._labels[1:], self._cells[1:], strict=True)}
        return len(inner) > len({label for label, _ in inner})

    @property
    def can_be_placed(self) -> bool:
        """Whether no node lies below another one of its cell: nodes of one cell share their step."""
        for node in range(1, self.order + 1):
            above = self._parents[node]
            while above > 0:
                if self._cells[above] == self._cells[node]:
                    return False
                above = self._parents[above]
        return True

    @classmethod
    def unrooted(cls, parents: Iterable[int], labels: Iterable[int], cells: Iterable[int]) -> "CellDiagram":
        """Return the tree of a value, whose root is any node and may share its cell: it is not for placing."""
        diagram = object.__new__(cls)
        diagram._canonical(tuple(parents), restricted_growth(labels), tuple(cells))
        return diagram

    def relabel(self, labels: Iterable[int]) -> "CellDiagram":
        """Return the diagram on the same tree with other parts; its cells are divided by them."""
        labels = tuple(labels)
        names: dict[tuple[int, int], int] = {}
        cells = [names.setdefault(pair, len(names)) for pair in zip(labels, self._cells, strict=True)]
        return CellDiagram.from_labels(self._parents, labels, cells)

    def refinements(self, parts: Collection[int] | None = None) -> Iterator[tuple[Diagram, int]]:
        """Raise `DiagramError`: cumulants over parts with cells are not defined."""
        raise DiagramError(
            f"{self} has cells, which have moments and no cumulants: use basis='moment', or without_cells."
        )

    def edge_notation(self) -> str:
        """Return the literature's notation of the diagram without cells, and after it the cells."""
        groups: dict[int, str] = {}
        plain = _notation.format_edges(self._parents, self._labels)
        for node, cell in enumerate(self._cells):
            groups[cell] = groups.get(cell, "") + _notation.format_node(node)
        return f"{plain}({'-'.join(groups.values())})"

    def __str__(self) -> str:
        return _notation.format_brackets(self._parents, self._labels, self._cells)

    def __repr__(self) -> str:
        return f"CellDiagram({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CellDiagram):
            return False if isinstance(other, Diagram) else NotImplemented
        return self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[tuple[int, ...], ...]:
        return self._parents, self._labels, self._cells

    def _sort_key(self) -> tuple:
        return (*super()._sort_key(), self._cells)

    def __reduce__(self) -> tuple:
        return CellDiagram.from_labels, self._key

    def _repr_svg_(self) -> str:
        from ..svg import document, tree_picture

        return document(tree_picture(self._parents, self.parts, cells=self._cells), str(self))


def _check_cells(labels: tuple[int, ...], cells: tuple[int, ...]) -> None:
    part_of: dict[int, int] = {}
    for node, (label, cell) in enumerate(zip(labels, cells, strict=True)):
        if part_of.setdefault(cell, label) != label:
            mates = [other for other in range(len(cells)) if cells[other] == cell]
            raise DiagramError(
                f"Cells lie within parts, as one use of a datapoint is a use of one datapoint: the cell of nodes "
                f"{mates} has node {node} in another part."
            )
    if cells.count(cells[0]) > 1:
        raise DiagramError("The root is a cell of its own, as what is measured draws its own noise: give it one.")
