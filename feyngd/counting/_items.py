"""What is placed in a spacetime as one: the nodes of a diagram, or its cells."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ..diagrams import CellDiagram, Diagram


@dataclass(frozen=True)
class Groups:
    """Items that share epochs with others.

    Attributes:
        of_item: the group of every item.
        before: for every group the mask of those in strictly earlier epochs.
        arcs: pairs of parts, the first of which has the earlier batch.
        apart: for every group the parts of its items, where items of a part are in different epochs.
    """

    of_item: tuple[int, ...]
    before: tuple[int, ...]
    arcs: frozenset[tuple[int, int]]
    apart: tuple[tuple[int, ...], ...] | None

    def weight(self, block: int) -> int:
        """Return 1 if groups, a bit mask, may share an epoch, and 0 otherwise."""
        if self.apart is None:
            return 1
        parts = [part for group, own in enumerate(self.apart) if block >> group & 1 for part in own]
        return int(len({*parts}) == len(parts))


@dataclass(frozen=True)
class Items:
    """What is placed as one, the root left out.

    Nodes of one part may be at the same step. Cells of one part may not: those are different uses of a datapoint.

    Attributes:
        labels: the part of every item, from 0.
        arcs: pairs of items, the first of which is strictly earlier.
        sizes: the number of nodes of every item.
        are_cells: whether items are cells.
    """

    labels: tuple[int, ...]
    arcs: frozenset[tuple[int, int]]
    sizes: tuple[int, ...]
    are_cells: bool

    @classmethod
    def of(cls, diagram: Diagram) -> "Items":
        """Return the items of a diagram whose root is alone."""
        nodes, are_cells = range(1, diagram.order + 1), isinstance(diagram, CellDiagram)
        own = [cell - 1 for cell in diagram.cells] if isinstance(diagram, CellDiagram) else range(-1, diagram.order)
        label_of = {own[node]: diagram.labels[node] - 1 for node in nodes}
        arcs = frozenset((own[node], own[diagram.parents[node]]) for node in nodes if diagram.parents[node])
        sizes = Counter(own[node] for node in nodes)
        count = len(label_of)
        labels = tuple(label_of[item] for item in range(count))
        return cls(labels, arcs, tuple(sizes[item] for item in range(count)), are_cells)

    @property
    def num_parts(self) -> int:
        """The number of parts."""
        return max(self.labels) + 1

    @cached_property
    def sizes_of_parts(self) -> list[int]:
        """The number of nodes of every part."""
        sizes = [0] * self.num_parts
        for label, size in zip(self.labels, self.sizes, strict=True):
            sizes[label] += size
        return sizes

    @cached_property
    def before(self) -> tuple[int, ...]:
        """For every item the mask of the items that come just before it."""
        return _masks(len(self.labels), self.arcs)

    def may_share(self, block: int) -> int:
        """Return 1 if items, a bit mask, may share an epoch without repeats, and 0 otherwise."""
        if not self.are_cells:
            return 1
        parts = [label for item, label in enumerate(self.labels) if block >> item & 1]
        return int(len({*parts}) == len(parts))

    def parts_in(self, block: int) -> tuple[list[int], frozenset[tuple[int, int]]]:
        """Return the number of nodes of every part that is present among items, and the arcs between these parts."""
        members = [item for item in range(len(self.labels)) if block >> item & 1]
        present = {label: i for i, label in enumerate(dict.fromkeys(self.labels[item] for item in members))}
        sizes = [0] * len(present)
        for item in members:
            sizes[present[self.labels[item]]] += self.sizes[item]
        inside = ((a, b) for a, b in self.arcs if block >> a & 1 and block >> b & 1)
        return sizes, frozenset((present[self.labels[a]], present[self.labels[b]]) for a, b in inside)

    def groups_in(self, block: int) -> tuple[int, ...]:
        """Return the sizes of the groups of items that are spread over slots of a step; a cell has one for itself."""
        members = [item for item in range(len(self.labels)) if block >> item & 1]
        if self.are_cells:
            return (1,) * len(members)
        return tuple(sorted(Counter(self.labels[item] for item in members).values()))

    def each_grouping(self) -> Iterator[Groups]:
        """Iterate over the ways to choose the arcs whose two ends share an epoch; the others lead to a later one."""
        arcs, labels = sorted(self.arcs), self.labels
        for chosen in range(1 << len(arcs)):
            same = [arc for i, arc in enumerate(arcs) if chosen >> i & 1]
            top = list(range(len(labels)))
            for a, b in same:
                joined, kept = top[a], top[b]
                top = [kept if name == joined else name for name in top]
            names = {name: i for i, name in enumerate(sorted({*top}))}
            of_item = tuple(names[name] for name in top)
            across = {(of_item[a], of_item[b]) for arc in arcs if arc not in same for a, b in [arc]}
            groups = Groups(
                of_item,
                _masks(len(names), across),
                frozenset((labels[a], labels[b]) for a, b in same),
                self._parts_of(of_item, len(names)) if self.are_cells else None,
            )
            if all(a != b for a, b in across) and all(groups.weight(1 << group) for group in range(len(names))):
                yield groups

    def _parts_of(self, of_item: tuple[int, ...], count: int) -> tuple[tuple[int, ...], ...]:
        parts = zip(of_item, self.labels, strict=True)
        listed = [*parts]
        return tuple(tuple(label for group, label in listed if group == own) for own in range(count))


def _masks(count: int, arcs: "set[tuple[int, int]] | frozenset[tuple[int, int]]") -> tuple[int, ...]:
    before = [0] * count
    for first, second in arcs:
        before[second] |= 1 << first
    return tuple(before)
