"""How many diagrams there are, by Burnside's lemma over the automorphisms of each tree.

This shares no code with the enumeration. Burnside's lemma averages, over the automorphisms of a tree, the number of set
partitions that each automorphism maps to themselves. That number depends only on the automorphism's cycle lengths, so
trees are kept as generating functions of cycle types, and no automorphism is ever listed.
"""

from collections import Counter
from fractions import Fraction
from functools import cache
from itertools import product
from math import comb

from .._arguments import check_order
from ._work_limits import STEPS, check_cost

# Up to this order the cost is not checked: order 16 takes 0.4 s.
_FREE_ORDER = 16
_MOST_EDGES = 300  # beyond, the cost is that of this many edges, which is far above any limit

CycleType = tuple[tuple[int, int], ...]  # sorted (cycle length, number of such cycles)


def count_diagrams(order: int, *, root_tied: bool = False, limit: int | None = STEPS) -> int:
    """Count the diagrams of an order without listing them.

    Args:
        order: the number of edges, 0 or more.
        root_tied: whether to count the diagrams with the root tied to other nodes as well.
        limit: the largest number of steps, of some microseconds each, that counting may take; `None` for any. Order 25
            takes 4 million.

    Returns:
        With the root alone 1, 1, 4, 17, 101, 700, 5861, … for orders 0, 1, 2, …

    Raises:
        ArgumentError: `order` is negative or not an integer, or counting takes more than `limit` steps.

    Examples:
        >>> import feyngd as fd
        >>> fd.count_diagrams(3)
        17
    """
    order = check_order(order)
    if order > _FREE_ORDER:
        steps = _count_cycle_types(min(order, _MOST_EDGES)) ** 2
        check_cost(f"steps to count the diagrams of order {order}", steps, limit, instead="lower the order")
    total = Fraction(0)
    for cycles, weight in cycle_index(order + 1).items():
        counts = dict(cycles)
        if not root_tied:
            counts[1] -= 1  # the root is a fixed point of every automorphism and stays alone
        total += weight * _fixed_partitions(tuple(sorted((k, c) for k, c in counts.items() if c)))
    return int(total)


def _count_cycle_types(nodes: int) -> int:
    """Count the partitions of an integer."""
    counts = [1] + [0] * nodes
    for length in range(1, nodes + 1):
        for total in range(length, nodes + 1):
            counts[total] += counts[total - length]
    return counts[nodes]


@cache
def cycle_index(nodes: int) -> Counter:
    """Return the sum over rooted trees of the average, over their automorphisms, of the cycle type on the nodes.

    A rooted tree is a root and a forest on the other nodes.
    """
    return _multiply(Counter({((1, 1),): Fraction(1)}), _forests(nodes - 1))


@cache
def _forests(nodes: int) -> Counter:
    """Return the same sum over multisets of rooted trees.

    Multisets are the plethystic exponential exp(Σ_k T(stretched by k) / k) of trees T. Its logarithmic derivative
    gives `nodes · F(nodes) = Σ_j P(j) F(nodes − j)` with `P(j) = Σ_{size·k = j} size · T(size)(stretched by k)`.
    """
    if nodes == 0:
        return Counter({(): Fraction(1)})
    total: Counter = Counter()
    for taken in range(1, nodes + 1):
        powers: Counter = Counter()
        for size in (d for d in range(1, taken + 1) if taken % d == 0):
            for cycles, weight in cycle_index(size).items():
                powers[_stretch(cycles, taken // size)] += size * weight
        total.update(_multiply(powers, _forests(nodes - taken)))
    return Counter({cycles: weight / nodes for cycles, weight in total.items()})


def _stretch(cycles: CycleType, k: int) -> CycleType:
    return tuple((length * k, count) for length, count in cycles)


def _multiply(a: Counter, b: Counter) -> Counter:
    result: Counter = Counter()
    for (x, wx), (y, wy) in product(a.items(), b.items()):
        result[tuple(sorted((Counter(dict(x)) + Counter(dict(y))).items()))] += wx * wy
    return result


@cache
def _fixed_partitions(cycles: CycleType) -> int:
    """Count the set partitions that a permutation with these cycles maps to themselves.

    Take one cycle, of length n. Its first point lies in a block whose orbit has some size m dividing n; every cycle of
    length n' joining that orbit needs m | n' and can be attached in m ways.
    """
    if not cycles:
        return 1
    (length, count), rest = cycles[0], cycles[1:]
    others = ((length, count - 1), *rest) if count > 1 else rest
    total = 0
    for m in (d for d in range(1, length + 1) if length % d == 0):
        joinable = [(k, c) for k, c in others if k % m == 0]
        for chosen in product(*(range(c + 1) for _, c in joinable)):
            ways = 1
            left = dict(others)
            for (k, c), taken in zip(joinable, chosen, strict=True):
                ways *= comb(c, taken) * m**taken
                left[k] -= taken
            total += ways * _fixed_partitions(tuple(sorted((k, c) for k, c in left.items() if c)))
    return total
