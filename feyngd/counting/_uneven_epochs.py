"""Closed forms of embedding counts where epochs have a rest or the last one is cut.

N is rarely a multiple of B, and runs stop inside an epoch. An epoch has M full batches and, unless it is dropped, a
last one of R = N − MB points; T steps make a number of whole epochs and r further steps. Counts are sums over weak
orders, as in even epochs; the last batch of an epoch and the last epoch of a run are blocks with weights of their own.

References:
    The project's own; checked against enumeration.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import comb, perm

from sympy.polys.domains import QQ
from sympy.polys.rings import PolyElement

from ..diagrams import Diagram
from . import _ratio
from ._ratio import RING, Ratio, binomial, ring_size
from ._weak_orders import sums_over_down_sets


@dataclass(frozen=True)
class Uneven:
    """Epochs of numbers.

    Attributes:
        N: the number of training points.
        B: the batch size.
        M: the number of full batches in an epoch.
        R: the size of the last batch; 0 if there is none.
        epochs: the number of whole epochs, `None` for a symbol.
        cut: the number of steps after the last whole epoch.
        share: the weight of a cell in the last batch: 1 to count, B/R where every step averages over its own batch.
    """

    N: int
    B: int
    M: int
    R: int
    epochs: int | None
    cut: int
    share: Fraction = Fraction(1)


def uneven_form(diagram: Diagram, sampling: str, uneven: Uneven) -> Ratio:
    """Return the expected number of embeddings of a diagram whose root is alone."""
    return Ratio.make({"fixed": _fixed, "reshuffled": _reshuffled}[sampling](diagram, uneven))


def children_before(diagram: Diagram) -> list[int]:
    """For every non-root node, numbered from 0, the mask of the nodes that come just before it: its children."""
    return [sum(1 << (child - 1) for child in diagram.children[node]) for node in range(1, diagram.order + 1)]


def contracted(diagram: Diagram, merged: set[int]) -> list[int]:
    """Merge these nodes into their parents; return the masks of what comes before what is left."""
    groups = groups_of(diagram, merged)
    before = [0] * (max(groups, default=-1) + 1)
    for node in range(1, diagram.order + 1):
        if diagram.parents[node] and node not in merged:
            before[groups[diagram.parents[node] - 1]] |= 1 << groups[node - 1]
    return before


def groups_of(diagram: Diagram, merged: set[int]) -> list[int]:
    """Return for every non-root node the number of the group it is in, where these nodes join their parents."""
    top = list(range(diagram.order + 1))
    for node in sorted(merged):  # parents precede children
        top[node] = top[diagram.parents[node]]
    names = {node: i for i, node in enumerate(sorted(set(top[1:])))}
    return [names[node] for node in top[1:]]


def _reshuffled(diagram: Diagram, uneven: Uneven) -> PolyElement:
    """N^(P) Σ over weak orders of the nodes by epoch; of whole epochs there are C(E, k), and one more may be cut."""
    labels, parents = diagram.labels, diagram.parents

    def epoch(block: int, full_batches: int, last: int) -> PolyElement:
        members = [node for node in range(1, diagram.order + 1) if block >> (node - 1) & 1]
        present = {label: i for i, label in enumerate(dict.fromkeys(labels[node] for node in members))}
        arcs = {
            (present[labels[node]], present[labels[parents[node]]])
            for node in members
            if parents[node] and block >> (parents[node] - 1) & 1
        }
        sizes = [sum(labels[node] == label for node in members) for label in present]
        ways = _within_epoch(sizes, arcs, full_batches, last, uneven)
        return _constant(ways / perm(uneven.N, len(present)))

    before, full = children_before(diagram), (1 << diagram.order) - 1
    sums = sums_over_down_sets(before, lambda block: epoch(block, uneven.M, uneven.R), RING.one, strict=False)
    total = RING.zero
    for down_set, by_blocks in sums.items():
        if down_set == full:
            total += _over_epochs(by_blocks, uneven)
        elif uneven.cut and (rest := epoch(full & ~down_set, uneven.cut, 0)):
            total += _over_epochs(by_blocks, uneven) * rest
    return total * _constant(Fraction(perm(uneven.N, len(diagram.parts) - 1)))


def _fixed(diagram: Diagram, uneven: Uneven) -> PolyElement:
    """Sum over zones of the parts and over the edges whose two ends share an epoch.

    The zones are the batches before the cut, those after it, and the last batch. Parts before the cut are visited once
    more than the others.
    """
    inner = [node for node in range(1, diagram.order + 1) if diagram.parents[node]]
    labels, num_parts = diagram.labels, len(diagram.parts) - 1
    sizes = [labels.count(label) for label in range(1, num_parts + 1)]
    total = RING.zero
    for chosen in range(1 << len(inner)):
        same_epoch = {node for i, node in enumerate(inner) if chosen >> i & 1}
        arcs = {(labels[node] - 1, labels[diagram.parents[node]] - 1) for node in same_epoch}
        before, groups = contracted(diagram, same_epoch), groups_of(diagram, same_epoch)
        for zones in product(range(3), repeat=num_parts):
            if ways := _by_zone(sizes, arcs, zones, uneven):
                late = {group for group, label in zip(groups, labels[1:], strict=True) if zones[label - 1]}
                total += _constant(ways) * _epoch_maps(before, late, uneven)
    return total


def _by_zone(sizes: Sequence[int], arcs: set[tuple[int, int]], zones: Sequence[int], uneven: Uneven) -> Fraction:
    """Return the ways to give parts batches of their zones, which come one after the other."""
    if any(zones[child] > zones[parent] for child, parent in arcs):
        return Fraction(0)
    lengths = (uneven.cut, 0), (uneven.M - uneven.cut, 0), (0, uneven.R)
    ways = Fraction(1)
    for zone, (batches, last) in enumerate(lengths):
        members = {part: i for i, part in enumerate(part for part in range(len(sizes)) if zones[part] == zone)}
        own = {(members[a], members[b]) for a, b in arcs if a in members and b in members}
        ways *= _within_epoch([sizes[part] for part in members], own, batches, last, uneven)
    return ways


def _epoch_maps(before: Sequence[int], late: set[int], uneven: Uneven) -> PolyElement:
    """Count the maps of groups of nodes to epochs, strictly later for parents; the cut epoch lacks some groups."""
    full = (1 << len(before)) - 1
    total = RING.zero
    for down_set, by_blocks in sums_over_down_sets(before, lambda block: RING.one, RING.one).items():
        rest = [group for group in range(len(before)) if not down_set >> group & 1]
        may_be_cut = uneven.cut and not late & set(rest) and not any(before[group] & ~down_set for group in rest)
        if down_set == full or may_be_cut:
            total += _over_epochs(by_blocks, uneven)
    return total


def _within_epoch(
    sizes: Sequence[int], arcs: set[tuple[int, int]], batches: int, last: int, uneven: Uneven
) -> Fraction:
    """Return the weighted ways to give parts batches of one epoch, each arc's first part in the earlier one.

    Args:
        sizes: the number of nodes of each part.
        arcs: pairs of parts.
        batches: how many full batches there are.
        last: the size of the last batch after them; 0 if there is none.
        uneven: the epochs.
    """
    before = [0] * len(sizes)
    for child, parent in arcs:
        if child == parent:
            return Fraction(0)
        before[parent] |= 1 << child
    full = (1 << len(sizes)) - 1
    total = Fraction(0)
    for down_set, by_blocks in sums_over_down_sets(before, lambda block: perm(uneven.B, block.bit_count()), 1).items():
        rest = [part for part in range(len(sizes)) if not down_set >> part & 1]
        ways = sum(comb(batches, k) * count for k, count in by_blocks.items())
        if down_set == full:
            total += ways
        elif last and not any(before[part] & ~down_set for part in rest):
            total += ways * perm(last, len(rest)) * uneven.share ** sum(sizes[part] for part in rest)
    return total


def _over_epochs(by_blocks: dict[int, PolyElement], uneven: Uneven) -> PolyElement:
    """Return Σ_k C(epochs, k) · the sum over weak orders with k blocks."""
    epochs = ring_size(uneven.epochs, _ratio.E)
    return sum((binomial(epochs, k) * value for k, value in by_blocks.items()), RING.zero)


def _constant(value: Fraction) -> PolyElement:
    return RING.ground_new(QQ(value.numerator, value.denominator))
