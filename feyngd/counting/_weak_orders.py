"""Sums over weak orders by dynamic programming over down-sets.

A weak order of items (an ordered set partition) that respects "a comes before b" is a chain of down-sets that grows by
blocks. Summing a product of block weights over all such chains takes 3^items steps instead of one for each weak order.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any


def chain_sums(
    before: Sequence[int],
    weight: Callable[[int], Any],
    one: Any,
    *,
    strict: bool = True,
    max_blocks: int | None = None,
) -> dict[int, Any]:
    """Sum the products of block weights over weak orders, by number of blocks.

    Args:
        before: for every item the bit mask of the items that come before it.
        weight: the weight of a block, given as a bit mask; blocks whose weight is zero are left out.
        one: the weight of the empty chain.
        strict: whether what comes before an item lies in an earlier block; otherwise they may share the block.
        max_blocks: leave out weak orders with more blocks.

    Returns:
        The sum over weak orders with k blocks for every k where it is not zero.
    """
    items = len(before)
    full = (1 << items) - 1
    limit = items if max_blocks is None else min(items, max_blocks)
    if limit == 1 and items and not strict:
        only = weight(full)
        return {1: only} if only else {}
    sums: dict[int, dict[int, Any]] = {0: {0: one}}
    weights: dict[int, Any] = {}
    for down_set in range(1, full + 1):
        members = [i for i in range(items) if down_set >> i & 1]
        if any(before[i] & ~down_set for i in members):
            continue
        total: dict[int, Any] = {}
        block = down_set
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
    return sums[full]


def chains(down_sets: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Iterate over all chains that grow from the empty down-set to the full one: weak orders, one block for each link.

    Args:
        down_sets: all down-sets as bit masks; the blocks between them may hold things that come before one another.
    """
    full = max(down_sets)

    def extend(chain: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if chain[-1] == full:
            yield chain
            return
        for larger in down_sets:
            if larger != chain[-1] and larger & chain[-1] == chain[-1]:
                yield from extend((*chain, larger))

    return extend((0,))
