"""The two-rooted diagram: two trees whose nodes share one partition, for second moments and variances."""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

from ..errors import ArgumentError, DiagramError
from ._canonical import canonical_form
from ._diagram import Diagram, integers
from ._notation import format_forest, parse_forest

if TYPE_CHECKING:
    import networkx as nx


class Forest(Diagram):
    """Two rooted trees with one partition of all their nodes: a *two-rooted diagram*.

    A run of SGD is measured once, and what is measured is squared. So both trees grow from one run: nodes of either may
    share a datapoint. Such ties between the trees are what makes a variance; trees without them factor into two
    diagrams.

    It is canonical as a `Diagram` is; the two trees have no order. Bracket notation writes one after the other, with
    the same letters: in `[a] [a]` two steps on one datapoint move both measurements. A letter before a bracket ties
    that root: `a[] a[b]`.

    Node 0 is no node of a tree but joins the two roots, which are its children. It is alone in its part.

    Args:
        tree: a networkx arborescence whose root has two children, the roots of the trees.
        partition: an iterable of sets of nodes; the root of the arborescence is alone.

    Raises:
        DiagramError: as for `Diagram`, or there are not two trees.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Appendix A.7: other quantities.

    Examples:
        >>> from feyngd import Forest
        >>> Forest.parse("[b] [a b]")
        Forest('[a] [b a]')
        >>> Forest.parse("[a] [a]").order, Forest.parse("[a] [a]").automorphisms
        (2, 2)
    """

    def __init__(self, tree: "nx.DiGraph", partition: Iterable[Collection[Hashable]]) -> None:
        super().__init__(tree, partition)
        _check(self._parents, self._labels)

    @classmethod
    def from_labels(cls, parents: Iterable[int], labels: Iterable[int]) -> "Forest":
        """Make a forest from the parent and the part label of every node.

        Args:
            parents: for node 0, which joins the trees, −1; for the two roots 0; for every other node its parent.
            labels: for every node any integer; nodes with equal labels are tied. That of node 0 is its own.

        Raises:
            DiagramError: as in `Diagram.from_labels`, or there are not two trees.

        Examples:
            >>> from feyngd import Forest
            >>> Forest.from_labels([-1, 0, 0, 1, 2], [0, 1, 2, 3, 3])
            Forest('[a] [a]')
        """
        parents, labels = integers("parents", parents), integers("labels", labels)
        plain = Diagram.from_labels(parents, labels)
        _check(plain.parents, plain.labels)
        forest = object.__new__(cls)
        (forest._parents, forest._labels), forest._automorphisms = canonical_form(plain.parents, plain.labels)
        return forest

    @classmethod
    def parse(cls, text: str) -> "Forest":
        """Read two trees in bracket notation: `"[a] [a b]"`.

        Raises:
            DiagramError: the text is malformed, or has not two trees.
        """
        return cls.from_labels(*parse_forest(text))

    @classmethod
    def of(cls, one: Diagram, other: Diagram) -> "Forest":
        """Return two diagrams side by side, without ties between them.

        Examples:
            >>> from feyngd import Diagram, Forest
            >>> Forest.of(Diagram.parse("[a a]"), Diagram.parse("[a]"))
            Forest('[a] [b b]')
        """
        shift = len(one.parents)
        parents = [-1, 0, *(parent + 1 for parent in one.parents[1:])]
        parents += [0, *(parent + 1 + shift for parent in other.parents[1:])]
        labels = [-1, *one.labels, *(label + shift for label in other.labels)]
        return cls.from_labels(parents, labels)

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def order(self) -> int:
        """The number of edges of both trees, which is the power of the learning rate."""
        return len(self._parents) - 3

    @cached_property
    def roots(self) -> tuple[int, int]:
        """The two roots."""
        first, second = self.children[0]
        return first, second

    @cached_property
    def tree(self) -> "nx.DiGraph":
        """The trees as a frozen networkx arborescence, with node 0 above both roots."""
        return Diagram.from_labels(self._parents, self._labels).tree

    @property
    def is_root_tied(self) -> bool:
        """Whether a root shares its part with another node."""
        return any(self._labels.count(self._labels[root]) > 1 for root in self.roots)

    @property
    def is_irreducible(self) -> bool:
        """Whether no node but the roots has degree 2 and is alone in its part."""
        sizes = Counter(self._labels)
        inner = [node for node in range(1, len(self._parents)) if node not in self.roots]
        return not any(len(self.children[node]) == 1 and sizes[self._labels[node]] == 1 for node in inner)

    @property
    def num_points(self) -> int:
        """The number of different datapoints of the training set that its steps are on."""
        return len({label for node, label in enumerate(self._labels) if node and node not in self.roots})

    @property
    def is_linked(self) -> bool:
        """Whether a part has nodes of both trees."""
        second = self.roots[1]
        return bool({*self._labels[1:second]} & {*self._labels[second:]})

    @cached_property
    def trees(self) -> tuple[Diagram, Diagram]:
        """The two trees by themselves; ties between them are lost."""
        second = self.roots[1]
        first = Diagram.from_labels([-1, *(parent - 1 for parent in self._parents[2:second])], self._labels[1:second])
        last = Diagram.from_labels(
            [-1, *(parent - second for parent in self._parents[second + 1 :])], self._labels[second:]
        )
        return first, last

    @property
    def merged(self) -> Diagram:
        """The diagram in which both roots are one, alone in its part: it is placed in a spacetime as the forest is."""
        index = {node: 0 for node in (0, *self.roots)}
        index |= {node: place for place, node in enumerate((n for n in range(len(self._parents)) if n not in index), 1)}
        inner = [node for node, place in index.items() if place]
        parents = [-1, *(index[self._parents[node]] for node in inner)]
        return Diagram.from_labels(parents, [-1, *(self._labels[node] for node in inner)])

    @property
    def joined(self) -> Diagram:
        """The diagram in which the two loose ends at the roots are one edge: the trace of a matrix of two loose ends.

        Raises:
            DiagramError: a root does not have one edge, or is not alone in its part.
        """
        if self.is_root_tied or any(len(self.children[root]) != 1 for root in self.roots):
            raise DiagramError(f"To be loose ends, the roots of {self} must have one edge and be alone each.")
        first, second = (self.children[root][0] for root in self.roots)
        nodes = [node for node in range(1, len(self._parents)) if node not in self.roots]
        index = {node: place for place, node in enumerate(nodes)}
        above = {**dict(enumerate(self._parents)), second: first}
        parents = [-1 if node == first else index[above[node]] for node in nodes]
        return Diagram.from_labels(parents, [self._labels[node] for node in nodes])

    # --- its relatives ------------------------------------------------------------------------------------------------

    def relabel(self, labels: Iterable[int]) -> "Forest":
        """Return the forest on the same trees with another partition, given as one label for each node."""
        return Forest.from_labels(self._parents, labels)

    def untie_root(self) -> "Forest":
        """Return the forest with both roots taken out of their parts and alone."""
        free = {root: -1 - root for root in self.roots}
        return self.relabel(free.get(node, label) for node, label in enumerate(self._labels))

    # --- how it is written --------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return format_forest(self._parents, self._labels)

    def __repr__(self) -> str:
        return f"Forest({str(self)!r})"

    def _repr_svg_(self) -> str:
        from ..svg import document, tree_picture  # here, so that importing feyngd takes no time

        return document(tree_picture(self._parents, self.parts, two_rooted=True), str(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Forest):
            return False if isinstance(other, Diagram) else NotImplemented
        return self._parents == other._parents and self._labels == other._labels

    def __hash__(self) -> int:
        return hash(("forest", self._parents, self._labels))

    def __reduce__(self) -> tuple:
        return Forest.from_labels, (self._parents, self._labels)


def check_one_root(diagram: object, done: str) -> None:
    """Raise `ArgumentError` if a diagram has two roots.

    Args:
        diagram: what was given.
        done: what is done with diagrams, such as "placed".
    """
    if isinstance(diagram, Forest):
        raise ArgumentError(
            f"Diagrams with one root are {done}, and {diagram} has two: its steps are those of {diagram!r}.merged, "
            "where both roots are one."
        )


def splits(diagram: Diagram) -> Iterator[Forest]:
    """Iterate over the ways to share out the children of a diagram's root, which is alone, among two roots.

    The derivative ∇^k (st) of a product is the sum over all 2^k ways to share out its k slots among s and t. So the
    series of st is that of any measurement with every diagram split in all these ways.
    """
    degree = len(diagram.children[0])
    for sides in product((1, 2), repeat=degree):
        side_of = dict(zip(diagram.children[0], sides, strict=True))
        parents = [-1, 0, 0]
        parents += [side_of[node] if not parent else parent + 2 for node, parent in enumerate(diagram.parents) if node]
        yield Forest.from_labels(parents, [-1, -2, -3, *diagram.labels[1:]])


def _check(parents: tuple[int, ...], labels: tuple[int, ...]) -> None:
    if parents.count(0) != 2 or labels.count(labels[0]) > 1:
        raise DiagramError(
            "A forest has two trees: node 0 is alone in its part and has two children, their roots; got the parents "
            f"{parents} and the labels {labels}."
        )
