"""Ways to spread the nodes of one step over the slots of a batch drawn with replacement."""

from collections.abc import Iterable
from functools import cache
from math import comb


def spread_over_slots(groups: Iterable[int]) -> dict[int, int]:
    """Return, for every number of slots, in how many ways groups of tied nodes use that number.

    The nodes of one part at one step are a group. They are spread over slots of the batch that drew the same point, and
    no two groups share a slot.

    Args:
        groups: the sizes of the groups.
    """
    ways = {0: 1}
    for group in groups:
        spread: dict[int, int] = {}
        for used, count in ways.items():
            for slots in range(1, group + 1):
                spread[used + slots] = spread.get(used + slots, 0) + count * _stirling(group, slots)
        ways = spread
    return ways


@cache
def _stirling(n: int, k: int) -> int:
    """Stirling number of the second kind: the partitions of n things into k blocks."""
    if n == 0 or k == 0:
        return int(n == k)
    return sum(comb(n - 1, i) * _stirling(i, k - 1) for i in range(n))
