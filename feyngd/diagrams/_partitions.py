"""Set partitions of a list of things, as restricted growth strings and as lists of blocks."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

Thing = TypeVar("Thing")


def growth_strings(size: int) -> Iterator[tuple[int, ...]]:
    """Iterate over all set partitions of `size` things: thing i is in block `string[i]`, numbered as they come.

    Examples:
        >>> list(growth_strings(2))
        [(0, 0), (0, 1)]
    """

    def extend(prefix: tuple[int, ...], blocks: int) -> Iterator[tuple[int, ...]]:
        if len(prefix) == size:
            yield prefix
            return
        for block in range(blocks + 1):
            yield from extend((*prefix, block), max(blocks, block + 1))

    return extend((), 0)


def set_partitions(things: Sequence[Thing]) -> Iterator[list[list[Thing]]]:
    """Iterate over all partitions of `things` into non-empty blocks."""
    for string in growth_strings(len(things)):
        blocks: list[list[Thing]] = [[] for _ in range(max(string, default=-1) + 1)]
        for thing, block in zip(things, string, strict=True):
            blocks[block].append(thing)
        yield blocks
