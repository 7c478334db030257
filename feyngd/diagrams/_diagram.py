"""The diagram: a rooted tree with a partition of its nodes."""

import operator
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from functools import cached_property
from math import factorial
from typing import TYPE_CHECKING

from ..errors import DiagramError
from . import _notation
from ._canonical import canonical_form, children_of, restricted_growth
from ._partitions import count_partitions, growth_strings
from ._work_limits import LISTED, check_cost

if TYPE_CHECKING:
    import networkx as nx

_COUNTED_PARTS = 100
_SHOWN = 12


class Diagram:
    """A diagram of SGD: a rooted tree with a partition of its nodes.

    Each non-root node is a derivative from one gradient step, and each edge contracts two derivatives and carries one
    power of the learning rate. Nodes in one part are *tied*: they see the same datapoint. The root is the measurement
    at the end of training.

    Diagrams are immutable and canonical: two diagrams are equal, hash equally and number their nodes alike exactly
    when they are isomorphic. Nodes are 0 to `order`, the root is node 0, and every parent precedes its children.

    Args:
        tree: a networkx arborescence, edges from parent to child; any hashable nodes.
        partition: an iterable of sets of nodes; every node is in exactly one of them.

    Raises:
        DiagramError: the tree is not an arborescence, or the partition misses, repeats or invents a node.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Definition 2.

    Examples:
        >>> from feyngd import Diagram
        >>> Diagram.parse("[a a[b]]") == Diagram.parse("(01-02-23)(0-12-3)")
        True
        >>> import networkx as nx
        >>> Diagram(nx.DiGraph([("root", "u"), ("root", "v")]), [{"root"}, {"u", "v"}])
        Diagram('[a a]')
    """

    _parents: tuple[int, ...]
    _labels: tuple[int, ...]

    def __init__(self, tree: "nx.DiGraph", partition: Iterable[Collection[Hashable]]) -> None:
        nodes = _check_arborescence(tree)
        index = {node: position for position, node in enumerate(nodes)}
        parents = [-1] + [index[next(iter(tree.predecessors(node)))] for node in nodes[1:]]
        labels: dict[Hashable, int] = {}
        for label, part in enumerate(partition):
            if not isinstance(part, Collection) or isinstance(part, str):
                raise DiagramError(f"The partition is an iterable of sets of nodes; {part!r} is not a set of nodes.")
            members = list(part)
            if not members:
                raise DiagramError("A part of the partition is empty: give non-empty sets of nodes.")
            for node in members:
                if node not in index:
                    raise DiagramError(f"The partition names node {node!r}, which is not in the tree.")
                if node in labels:
                    raise DiagramError(f"The partition repeats node {node!r}: every node is in exactly one part.")
                labels[node] = label
        missing = [node for node in nodes if node not in labels]
        if missing:
            raise DiagramError(f"The partition misses node(s) {missing!r}: every node is in exactly one part.")
        self._set(parents, [labels[node] for node in nodes])

    def _set(self, parents: Iterable[int], labels: Iterable[int]) -> None:
        (self._parents, self._labels), self._automorphisms = canonical_form(tuple(parents), tuple(labels))

    @classmethod
    def from_labels(cls, parents: Iterable[int], labels: Iterable[int]) -> "Diagram":
        """Make a diagram from the parent and the part label of every node.

        Args:
            parents: for node 0, the root, −1; for every other node the number of its parent. Integers of any kind, in
                a list or an array.
            labels: for every node any integer; nodes with equal labels are tied.

        Raises:
            DiagramError: something is not an integer, the lengths differ, or the parents do not make a tree rooted at
                node 0.

        Examples:
            >>> from feyngd import Diagram
            >>> Diagram.from_labels([-1, 0, 0], [0, 1, 1])
            Diagram('[a a]')
        """
        parents, labels = integers("parents", parents), integers("labels", labels)
        if len(parents) != len(labels):
            raise DiagramError(f"Every node needs one parent and one label, got {len(parents)} and {len(labels)}.")
        if not parents or parents[0] != -1 or any(not 0 <= parent < len(parents) for parent in parents[1:]):
            raise DiagramError(
                f"Parents are −1 for the root and node numbers for the others, got {_few(parents)} for "
                f"{len(parents)} node(s)."
            )
        reached, frontier, children = 1, [0], children_of(parents)
        while frontier:
            frontier = [child for node in frontier for child in children[node]]
            reached += len(frontier)
        if reached != len(parents):
            raise DiagramError(f"The edges contain a cycle: {len(parents) - reached} node(s) are not below the root.")
        diagram = object.__new__(cls)
        diagram._set(parents, restricted_growth(labels))
        return diagram

    @classmethod
    def parse(cls, text: str) -> "Diagram":
        """Read a diagram from bracket or edge notation.

        Args:
            text: `"[a a[b]]"`: the root is the outer bracket, each node is its part's letter, children follow in
                brackets, a letter before the outer bracket ties the root; or `"(01-02-13)(0-12-3)"`: edges
                parent–child, then parts, root 0.

        Raises:
            DiagramError: the text is malformed, has a cycle, or its parts miss or repeat a node.

        Examples:
            >>> from feyngd import Diagram
            >>> Diagram.parse("[b c[b]]")
            Diagram('[a b[a]]')
        """
        return cls.from_labels(*_notation.parse(text))

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def order(self) -> int:
        """The number of edges, which is the power of the learning rate."""
        return len(self._parents) - 1

    @property
    def parents(self) -> tuple[int, ...]:
        """The parent of every node; −1 for the root, node 0."""
        return self._parents

    @property
    def labels(self) -> tuple[int, ...]:
        """The index into `parts` of every node's part."""
        return self._labels

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """The children of every node."""
        return tuple(tuple(nodes) for nodes in children_of(self._parents))

    @cached_property
    def parts(self) -> tuple[frozenset[int], ...]:
        """The parts, the root's own part first."""
        groups: list[set[int]] = [set() for _ in range(max(self._labels) + 1)]
        for node, label in enumerate(self._labels):
            groups[label].add(node)
        return tuple(frozenset(group) for group in groups)

    @cached_property
    def tree(self) -> "nx.DiGraph":
        """The tree as a frozen networkx arborescence, edges from parent to child."""
        import networkx as nx  # here, so that importing feyngd takes no time

        tree = nx.DiGraph()
        tree.add_nodes_from(range(self.order + 1))
        tree.add_edges_from((parent, node) for node, parent in enumerate(self._parents) if node)
        return nx.freeze(tree)

    @property
    def automorphisms(self) -> int:
        """The number of root-preserving tree automorphisms that map the partition to itself."""
        return self._automorphisms

    @property
    def num_points(self) -> int:
        """The number of different datapoints of the training set that its steps are on: of parts without the root."""
        return len({*self._labels[1:]})

    @property
    def is_root_tied(self) -> bool:
        """Whether the root shares its part with another node."""
        return self._labels.count(0) > 1

    @property
    def is_irreducible(self) -> bool:
        """Whether no non-root node of degree 2 (one child) is alone in its part.

        The printed definition says the opposite; with this corrected definition re-summation is exact.

        References:
            Tenka, Theorem 2 (corrected).
        """
        sizes = Counter(self._labels)
        return not any(
            len(self.children[node]) == 1 and sizes[self._labels[node]] == 1 for node in range(1, self.order + 1)
        )

    # --- its relatives ------------------------------------------------------------------------------------------------

    def relabel(self, labels: Iterable[int]) -> "Diagram":
        """Return the diagram on the same tree with another partition, given as one label for each node."""
        return Diagram.from_labels(self._parents, labels)

    def tie(self, p: int | Collection[int], q: int | Collection[int]) -> "Diagram":
        """Return the diagram with parts p and q merged into one.

        Args:
            p: a part, as a member of `parts` or an index into it.
            q: another part.

        Raises:
            DiagramError: an argument is not a part, or both are the same.

        Examples:
            >>> from feyngd import Diagram
            >>> D = Diagram.parse("[a b]")
            >>> D.tie(1, 2), D.tie(0, 1)
            (Diagram('[a a]'), Diagram('a[a b]'))
        """
        first, second = self.part_index(p), self.part_index(q)
        if first == second:
            raise DiagramError(f"Part {sorted(self.parts[first])} cannot be tied to itself: give two different parts.")
        return self.relabel(first if label == second else label for label in self._labels)

    def part_index(self, part: int | Collection[int]) -> int:
        """Return the index into `parts` of a part, given as its nodes or as that index.

        Raises:
            DiagramError: it is not a part of the diagram.
        """
        if isinstance(part, Collection):
            if frozenset(part) in self.parts:
                return self.parts.index(frozenset(part))
        elif hasattr(part, "__index__") and not isinstance(part, bool):
            index = operator.index(part)
            if 0 <= index < len(self.parts):
                return index
        allowed = _few([sorted(nodes) for nodes in self.parts])
        raise DiagramError(f"{part!r} is not a part of the diagram: its parts are {allowed}, or their indices from 0.")

    def root_ties(self) -> Counter["Diagram"]:
        """Return every diagram with the root tied to one more part, and in how many ways it arises."""
        return Counter(self.tie(0, part) for part in range(1, len(self.parts)))

    def untie_root(self) -> "Diagram":
        """Return the diagram with the root taken out of its part and alone."""
        return self.relabel((-1, *self._labels[1:]))

    def coarsenings(self, *, root: bool = False, limit: int | None = LISTED) -> Counter["Diagram"]:
        """Return every diagram that arises by merging parts, with the number of ways in which it does.

        Args:
            root: whether the root's part may merge with others too.
            limit: the largest number of ways to go through, a Bell number; `None` for any. `each_coarsening` yields
                them one by one.

        Raises:
            ArgumentError: there are more than `limit` ways.
        """
        free = len(self.parts) - (0 if root else 1)
        check_cost(
            f"ways to merge the {free} parts",
            count_partitions(min(free, _COUNTED_PARTS)),
            limit,
            instead="go through them one by one with each_coarsening",
            at_least=free > _COUNTED_PARTS,
        )
        return Counter(self.each_coarsening(root=root))

    def each_coarsening(self, *, root: bool = False) -> Iterator["Diagram"]:
        """Iterate over the ways to merge parts; a diagram comes up once for every way in which it arises.

        Args:
            root: whether the root's part may merge with others too.
        """
        free = range(0 if root else 1, len(self.parts))
        for blocks in growth_strings(len(free)):
            merged = dict(zip(free, blocks, strict=True))
            yield self.relabel(merged.get(label, -1) for label in self._labels)

    def refinements(self, parts: Collection[int] | None = None) -> Iterator[tuple["Diagram", int]]:
        """Iterate over the ways to split parts, each with its Möbius weight.

        The joint cumulants of the parts are sums of moments over refinements with these weights,
        `Π_parts (−1)^(blocks−1) (blocks−1)!`; with all weights 1 the same sum turns cumulants into moments.

        Args:
            parts: the indices of the parts to split; by default all.

        Yields:
            The diagram with its parts split, and the weight of that splitting; a diagram may come up repeatedly.
        """
        split = range(len(self.parts)) if parts is None else sorted(parts)
        groups = [sorted(self.parts[index]) for index in split]
        for string in growth_strings(*map(len, groups)):
            labels, used, weight, blocks_of = list(self._labels), len(self.parts), 1, iter(string)
            for group in groups:
                blocks = 0
                for node, block in zip(group, blocks_of, strict=False):
                    labels[node] = used + block
                    blocks = max(blocks, block + 1)
                used += blocks
                weight *= (-1) ** (blocks - 1) * factorial(blocks - 1)
            yield self.relabel(labels), weight

    # --- how it is written --------------------------------------------------------------------------------------------

    def edge_notation(self) -> str:
        """Return the literature's notation: edges parent–child, then parts.

        Raises:
            DiagramError: the order is above 35, where the notation runs out of names for nodes.

        Examples:
            >>> from feyngd import Diagram
            >>> Diagram.parse("[a a[b]]").edge_notation()
            '(01-02-23)(0-12-3)'
        """
        return _notation.format_edges(self._parents, self._labels)

    def __str__(self) -> str:
        return _notation.format_brackets(self._parents, self._labels)

    def __repr__(self) -> str:
        return f"Diagram({str(self)!r})"

    def _repr_svg_(self) -> str:
        from ..svg import document, tree_picture  # here, so that importing feyngd takes no time

        return document(tree_picture(self._parents, self.parts), str(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Diagram):
            return NotImplemented
        return self._parents == other._parents and self._labels == other._labels

    def __hash__(self) -> int:
        return hash((self._parents, self._labels))

    def __lt__(self, other: "Diagram") -> bool:
        if not isinstance(other, Diagram):
            return NotImplemented
        return self._sort_key() < other._sort_key()

    def _sort_key(self) -> tuple:
        return (self.order, self.is_root_tied, self._parents, self._labels)

    def __reduce__(self) -> tuple:
        return Diagram.from_labels, (self._parents, self._labels)


def integers(name: str, values: Iterable[int]) -> tuple[int, ...]:
    """Return integers of any kind as Python's own."""
    try:
        listed = values.tolist() if hasattr(values, "tolist") else list(values)
    except TypeError as error:
        raise DiagramError(f"The {name} are a list of one integer for every node, got {values!r}.") from error
    integers = []
    for node, value in enumerate(listed if isinstance(listed, list) else [listed]):
        try:
            integers.append(operator.index(value))
        except TypeError as error:
            raise DiagramError(
                f"The {name} are integers, one for every node in a list or a one-dimensional array; node {node} has "
                f"{value!r}."
            ) from error
    return tuple(integers)


def _few(values: Sequence[object]) -> str:
    """Write a sequence for a message, without the end of a long one."""
    shown = ", ".join(map(repr, values[:_SHOWN]))
    return f"({shown}{', …' if len(values) > _SHOWN else ''})"


def _check_arborescence(tree: "nx.DiGraph") -> list[Hashable]:
    """Return the nodes of an arborescence, the root first."""
    import networkx as nx

    if not isinstance(tree, nx.Graph) or not tree.is_directed():
        raise DiagramError(f"The tree is a networkx DiGraph with edges parent → child, got {type(tree).__name__}.")
    if tree.is_multigraph():
        raise DiagramError("The tree is a networkx DiGraph without parallel edges, got a multigraph.")
    if len(tree) == 0:
        raise DiagramError("The tree has no nodes: the diagram of order 0 is a single root.")
    if not nx.is_arborescence(tree):
        problem = "has no path from one root to every node by single edges"
        if not nx.is_directed_acyclic_graph(tree):
            cycle = [edge[0] for edge in nx.find_cycle(tree)]
            problem = f"contains the cycle {cycle!r}"
        elif (double := next((node for node in tree if tree.in_degree(node) > 1), None)) is not None:
            problem = f"gives node {double!r} more than one parent"
        raise DiagramError(f"The graph is not a rooted tree: it {problem}. Edges go from parent to child.")
    root = next(node for node in tree if tree.in_degree(node) == 0)
    return list(nx.bfs_tree(tree, root))
