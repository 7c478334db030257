"""Every diagram with cells of a given order, once each, and how many there are."""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import product
from math import comb

from .._arguments import check_order
from ._burnside import CycleType, cycle_index
from ._cell_diagram import CellDiagram
from ._enumeration import each_diagram
from ._partitions import growth_strings
from ._work_limits import LISTED, check_cost

_COUNTED_ORDER = 10
_KEPT_ORDER = 4


def cell_diagrams(order: int, *, root_tied: bool = False, limit: int | None = LISTED) -> list[CellDiagram]:
    """List every diagram with cells of an order, up to isomorphism.

    With the root alone there are 1, 1, 6, 39, 380, 4537, … of orders 0, 1, 2, …, those among them that have no
    placement, as a node and one above it share a cell.

    Args:
        order: the number of edges, 0 or more.
        root_tied: whether to list the diagrams whose root is tied to other nodes as well.
        limit: the largest number to list; `None` for any.

    Raises:
        ArgumentError: `order` is negative or not an integer, or there are more than `limit` diagrams.

    Examples:
        >>> import feyngd as fd
        >>> [str(D) for D in fd.cell_diagrams(2)]
        ['[a a]', '[a.1 a.2]', '[a b]', '[a[a]]', '[a.1[a.2]]', '[a[b]]']
    """
    order = check_order(order)
    check_cell_number(order, root_tied, limit)
    if order <= _KEPT_ORDER:
        return list(_kept(order, root_tied))
    return list(each_cell_diagram(order, root_tied=root_tied))


@cache
def _kept(order: int, root_tied: bool) -> tuple[CellDiagram, ...]:
    return tuple(each_cell_diagram(order, root_tied=root_tied))


def each_cell_diagram(order: int, *, root_tied: bool = False) -> Iterator[CellDiagram]:
    """Iterate over what `cell_diagrams` lists, in the same order."""
    for diagram in each_diagram(order, root_tied=root_tied):
        # The root is a cell of its own; the other nodes of every part are divided in all ways.
        groups = [sorted(part - {0}) for part in diagram.parts]
        nodes = [node for group in groups for node in group]
        found: dict[CellDiagram, None] = {}
        for string in growth_strings(*(len(group) for group in groups if group)):
            cells, block_of = [0] * (order + 1), dict(zip(nodes, string, strict=True))
            for number, group in enumerate(groups):
                for node in group:
                    cells[node] = 1 + number * (order + 1) + block_of[node]
            found[CellDiagram.from_labels(diagram.parents, diagram.labels, cells)] = None
        yield from sorted(found)


def check_cell_number(order: int, root_tied: bool, limit: int | None, *, up_to: bool = False) -> None:
    """Raise `ArgumentError` if there are more diagrams with cells of an order, or of all up to it, than the limit."""
    counted = min(order, _COUNTED_ORDER)
    orders = range(counted + 1) if up_to else [counted]
    count = sum(count_cell_diagrams(edges, root_tied=root_tied) for edges in orders)
    what = f"diagrams with cells {'up to' if up_to else 'of'} order {order}"
    check_cost(what, count, limit, instead="lower the order", at_least=order > counted)


def count_cell_diagrams(order: int, *, root_tied: bool = False) -> int:
    """Count the diagrams with cells of an order without listing them, by Burnside's lemma.

    Args:
        order: the number of edges, 0 or more; at most 10.
        root_tied: whether to count the diagrams with the root tied to other nodes as well.

    Raises:
        ArgumentError: `order` is negative, not an integer, or above 10.

    Examples:
        >>> import feyngd as fd
        >>> [fd.count_cell_diagrams(order) for order in range(6)]
        [1, 1, 6, 39, 380, 4537]
    """
    order = check_order(order)
    check_cost("edges of diagrams with cells to count", order, _COUNTED_ORDER, instead="lower the order")
    total = Fraction(0)
    for cycles, weight in cycle_index(order + 1).items():
        free = Counter(dict(cycles))
        free[1] -= 1  # the root: a fixed point of every automorphism, and a cell of its own
        for cells, ways in _cycles_of_cells(_sorted(free)).items():
            # Cells are divided among parts; where the root may be tied, it is one more thing that is divided.
            things = Counter(dict(cells))
            if root_tied:
                things[1] += 1
            total += weight * ways * sum(_cycles_of_cells(_sorted(things)).values())
    return int(total)


def _sorted(cycles: Counter) -> CycleType:
    return tuple(sorted((length, count) for length, count in cycles.items() if count))


@cache
def _cycles_of_cells(cycles: CycleType) -> Counter:
    """Count the set partitions that a permutation maps to themselves, by how it permutes their blocks.

    The first cycle, of length n, lies in an orbit of m blocks with m dividing n; every cycle whose length is a multiple
    of m may join it, in m ways.
    """
    if not cycles:
        return Counter({(): 1})
    (length, count), rest = cycles[0], cycles[1:]
    others = ((length, count - 1), *rest) if count > 1 else rest
    total: Counter = Counter()
    for m in (d for d in range(1, length + 1) if length % d == 0):
        joinable = [(k, c) for k, c in others if k % m == 0]
        for chosen in product(*(range(c + 1) for _, c in joinable)):
            ways, left = 1, Counter(dict(others))
            for (k, c), taken in zip(joinable, chosen, strict=True):
                ways *= comb(c, taken) * m**taken
                left[k] -= taken
            for blocks, times in _cycles_of_cells(_sorted(left)).items():
                total[_sorted(Counter(dict(blocks)) + Counter({m: 1}))] += ways * times
    return total
