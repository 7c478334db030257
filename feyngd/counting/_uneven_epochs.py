"""Closed forms of embedding counts where epochs have a rest or the last one is cut.

N is rarely a multiple of B, and runs stop inside an epoch. An epoch has M full batches and, unless it is dropped, a
last one of R = N − MB points; T steps make a number of whole epochs and r further steps. Counts are sums over weak
orders, as in even epochs; the last batch of an epoch and the last epoch of a run are blocks with weights of their own.

References:
    The project's own; checked against enumeration.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import comb, perm

from sympy.polys.domains import QQ
from sympy.polys.rings import PolyElement

from . import _ratio
from ._items import Groups, Items
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


def uneven_form(items: Items, sampling: str, uneven: Uneven) -> Ratio:
    """Return the expected number of placements of items."""
    return Ratio.make({"fixed": _fixed, "reshuffled": _reshuffled}[sampling](items, uneven))


def _reshuffled(items: Items, uneven: Uneven) -> PolyElement:
    """N^(P) Σ over weak orders of the items by epoch; of whole epochs there are C(E, k), and one more may be cut."""

    def epoch(block: int, full_batches: int, last: int) -> PolyElement:
        if not items.may_share(block):
            return RING.zero
        sizes, arcs = items.parts_in(block)
        ways = _within_epoch(sizes, arcs, full_batches, last, uneven)
        return _constant(ways / perm(uneven.N, len(sizes)))

    before, full = items.before, (1 << len(items.labels)) - 1
    sums = sums_over_down_sets(before, lambda block: epoch(block, uneven.M, uneven.R), RING.one, strict=False)
    total = RING.zero
    for down_set, by_blocks in sums.items():
        if down_set == full:
            total += _over_epochs(by_blocks, uneven)
        elif uneven.cut and (rest := epoch(full & ~down_set, uneven.cut, 0)):
            total += _over_epochs(by_blocks, uneven) * rest
    return total * _constant(Fraction(perm(uneven.N, items.num_parts)))


def _fixed(items: Items, uneven: Uneven) -> PolyElement:
    """Sum over zones of the parts and over the edges whose two ends share an epoch.

    The zones are the batches before the cut, those after it, and the last batch. Parts before the cut are visited once
    more than the others.
    """
    total = RING.zero
    for groups in items.each_grouping():
        for zones in product(range(3), repeat=items.num_parts):
            if ways := _by_zone(items.sizes_of_parts, groups.arcs, zones, uneven):
                late = {group for group, label in zip(groups.of_item, items.labels, strict=True) if zones[label]}
                total += _constant(ways) * _epoch_maps(groups, late, uneven)
    return total


def _by_zone(sizes: Sequence[int], arcs: Collection[tuple[int, int]], zones: Sequence[int], uneven: Uneven) -> Fraction:
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


def _epoch_maps(groups: Groups, late: set[int], uneven: Uneven) -> PolyElement:
    """Count the maps of groups of items to epochs, strictly later for parents; the cut epoch lacks some groups."""
    before, full = groups.before, (1 << len(groups.before)) - 1
    total = RING.zero
    for down_set, by_blocks in sums_over_down_sets(before, groups.weight, RING.one).items():
        rest = [group for group in range(len(before)) if not down_set >> group & 1]
        may_be_cut = uneven.cut and not late & set(rest) and not any(before[group] & ~down_set for group in rest)
        may_be_cut = may_be_cut and bool(groups.weight(full & ~down_set))
        if down_set == full or may_be_cut:
            total += _over_epochs(by_blocks, uneven)
    return total


def _within_epoch(
    sizes: Sequence[int], arcs: Collection[tuple[int, int]], batches: int, last: int, uneven: Uneven
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
