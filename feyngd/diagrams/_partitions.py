"""Set partitions of a list of things, as restricted growth strings and as lists of blocks."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import comb
from typing import TypeVar

Thing = TypeVar("Thing")


def growth_strings(*sizes: int) -> Iterator[tuple[int, ...]]:
    """Iterate over all set partitions of a number of things: thing i is in block `string[i]`.

    Blocks are numbered in the order in which they appear. With several sizes, iterate over the partitions of several
    groups of things, each with a string of its own; the strings are joined.

    Examples:
        >>> list(growth_strings(2))
        [(0, 0), (0, 1)]
    """
    starts = {0, *accumulate(sizes)}
    string = [0] * sum(sizes)
    blocks = [0 if thing in starts else 1 for thing in range(len(string))]  # how many numbers are in use before a thing
    while True:
        yield tuple(string)
        thing = len(string) - 1
        while thing >= 0 and string[thing] == blocks[thing]:
            thing -= 1
        # A thing that starts a group is always in block 0: no numbers are in use before it.
        if thing < 0:
            return
        string[thing] += 1
        most = max(blocks[thing], string[thing] + 1)
        for later in range(thing + 1, len(string)):
            most = 0 if later in starts else max(most, 1)
            string[later], blocks[later] = 0, most


def count_partitions(size: int) -> int:
    """Count the set partitions of a number of things, a Bell number.

    Examples:
        >>> [count_partitions(size) for size in range(7)]
        [1, 1, 2, 5, 15, 52, 203]
    """
    bell = [1]
    for things in range(size):
        bell.append(sum(comb(things, others) * bell[others] for others in range(things + 1)))
    return bell[size]


def set_partitions(things: Sequence[Thing]) -> Iterator[list[list[Thing]]]:
    """Iterate over all partitions of `things` into non-empty blocks."""
    for string in growth_strings(len(things)):
        blocks: list[list[Thing]] = [[] for _ in range(max(string, default=-1) + 1)]
        for thing, block in zip(things, string, strict=True):
            blocks[block].append(thing)
        yield blocks
