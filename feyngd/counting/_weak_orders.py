"""Weak orders of items, as growing down-sets, and sums over them by dynamic programming.

A weak order (an ordered set partition) that respects "a comes before b" is a sequence of down-sets, from the empty one
to the full one, that grows by one block at a time. Summing a product of block weights over all weak orders takes
3^items steps with dynamic programming over down-sets, instead of one step for each weak order.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any


def weak_order_sums(
    before: Sequence[int],
    weight: Callable[[int], Any],
    unit: Any,
    *,
    strict: bool = True,
    max_blocks: int | None = None,
) -> dict[int, Any]:
    """Sum the products of block weights over weak orders, by number of blocks; arguments of `sums_over_down_sets`."""
    return sums_over_down_sets(before, weight, unit, strict=strict, max_blocks=max_blocks)[(1 << len(before)) - 1]


def sums_over_down_sets(
    before: Sequence[int],
    weight: Callable[[int], Any],
    unit: Any,
    *,
    strict: bool = True,
    max_blocks: int | None = None,
) -> dict[int, dict[int, Any]]:
    """Sum the products of block weights over weak orders of every down-set.

    Args:
        before: for every item the bit mask of the items that come before it.
        weight: the weight of a block, given as a bit mask; blocks whose weight is zero are left out.
        unit: the weight of the weak order of no items.
        strict: whether what comes before an item lies in an earlier block; otherwise both may share a block.
        max_blocks: leave out weak orders with more blocks.

    Returns:
        For every down-set, as a bit mask, the sum over its weak orders with k blocks, for every k where it is not zero.
    """
    items = len(before)
    full = (1 << items) - 1
    limit = items if max_blocks is None else min(items, max_blocks)
    sums: dict[int, dict[int, Any]] = {0: {0: unit}}  # by down-set, then by number of blocks
    weights: dict[int, Any] = {}
    for down_set in range(1, full + 1):
        members = [i for i in range(items) if down_set >> i & 1]
        if any(before[i] & ~down_set for i in members):
            continue
        total: dict[int, Any] = {}
        block = down_set  # the last block runs through all non-empty subsets
        while block:
            smaller = sums.get(down_set & ~block)
            if smaller and not (strict and any(before[i] & block for i in members if block >> i & 1)):
                if block not in weights:
                    weights[block] = weight(block)
                if weights[block]:
                    for k, value in smaller.items():
                        if k < limit:
                            term = value * weights[block]
                            total[k + 1] = total[k + 1] + term if k + 1 in total else term
            block = (block - 1) & down_set
        sums[down_set] = total
    return sums


def weak_orders(down_sets: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Iterate over all weak orders, each as its down-sets from the empty one to the full one.

    Args:
        down_sets: all down-sets as bit masks. Items of one block may come before one another.
    """
    full = max(down_sets)

    def extend(states: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if states[-1] == full:
            yield states
            return
        for larger in down_sets:
            if larger != states[-1] and larger & states[-1] == states[-1]:
                yield from extend((*states, larger))

    return extend((0,))
