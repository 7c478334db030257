"""Every diagram of a given order, once each."""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain

from .._arguments import check_order
from ._burnside import count_diagrams
from ._canonical import canonical_form
from ._diagram import Diagram
from ._partitions import count_partitions, growth_strings
from ._work_limits import LISTED, check_cost

_KEPT_ORDER = 6  # up to this order lists are kept in memory: 5,861 diagrams of order 6, 55,818 of order 7
_COUNTED_ORDER = 16  # up to this order counting takes at most 0.4 s
_MOST_EDGES = 100  # of which the partitions are counted for a message


def diagrams(order: int, *, root_tied: bool = False, limit: int | None = LISTED) -> list[Diagram]:
    """List every diagram of an order, up to isomorphism.

    Their number grows faster than exponentially: 55,818 of order 7 take some seconds, 598,201 of order 8 minutes, and
    7,075,470 of order 9 hours and gigabytes. `each_diagram` goes through them one by one.

    Args:
        order: the number of edges, 0 or more.
        root_tied: whether to list the diagrams whose root is tied to other nodes as well; without it the root is
            alone in its part, as it is for the test loss.
        limit: the largest number to list; `None` for any.

    Returns:
        The diagrams in a fixed order, root alone first. With the root alone there are 1, 1, 4, 17, 101, 700, 5861 of
        orders 0 to 6.

    Raises:
        ArgumentError: `order` is negative or not an integer, or there are more than `limit` diagrams.

    Examples:
        >>> import feyngd as fd
        >>> [str(D) for D in fd.diagrams(2)]
        ['[a a]', '[a b]', '[a[a]]', '[a[b]]']
    """
    order = check_order(order)
    check_number(order, root_tied, limit)
    return [*_with_root_alone(order), *(_with_root_tied(order) if root_tied else ())]


def check_number(order: int, root_tied: bool, limit: int | None, *, up_to: bool = False) -> None:
    """Raise `ArgumentError` if there are more diagrams of an order, or of all up to it, than the limit."""
    exact = order <= _COUNTED_ORDER
    if exact:
        orders = range(order + 1) if up_to else [order]
        count = sum(count_diagrams(edges, root_tied=root_tied) for edges in orders)
    else:
        count = count_partitions(min(order, _MOST_EDGES))  # the diagrams of one tree, the path
    what = f"diagrams {'up to' if up_to else 'of'} order {order}"
    instead = "lower the order" if up_to else "go through them one by one with each_diagram"
    check_cost(what, count, limit, instead=instead, at_least=not exact)


def each_diagram(order: int, *, root_tied: bool = False) -> Iterator[Diagram]:
    """Iterate over what `diagrams` lists, in the same order, without keeping it: for orders with too many to hold.

    Before the first diagram only the trees of the order, without partitions, are listed.

    Args:
        order: the number of edges, 0 or more.
        root_tied: whether to go through the diagrams whose root is tied to other nodes as well.

    Raises:
        ArgumentError: `order` is negative or not an integer.

    Examples:
        >>> import feyngd as fd
        >>> str(next(fd.each_diagram(9)))
        '[a a a a a a a a a]'
    """
    order = check_order(order)
    return chain(_root_alone(order), _root_tied(order) if root_tied else ())


def rooted_trees(edges: int) -> list[tuple[int, ...]]:
    """List the rooted trees with this many edges, each as the parents of its canonically numbered nodes.

    References:
        Beyer and Hedetniemi, "Constant Time Generation of Rooted Trees" (1980): trees are sequences of depths, in
        decreasing lexicographic order.
    """
    depths, trees = list(range(edges + 1)), []
    while True:
        parents, latest = [-1], [0] * (edges + 1)
        for node in range(1, edges + 1):
            parents.append(latest[depths[node] - 1])
            latest[depths[node]] = node
        trees.append(canonical_form(tuple(parents), tuple(range(edges + 1)))[0][0])
        last = max((node for node in range(edges + 1) if depths[node] > 1), default=0)
        if not last:
            return sorted(trees)
        period = last - max(node for node in range(last) if depths[node] == depths[last] - 1)
        for node in range(last, edges + 1):
            depths[node] = depths[node - period]


def _with_root_alone(order: int) -> Iterable[Diagram]:
    return _kept_root_alone(order) if order <= _KEPT_ORDER else _root_alone(order)


def _with_root_tied(order: int) -> Iterable[Diagram]:
    return _kept_root_tied(order) if order <= _KEPT_ORDER else _root_tied(order)


@cache
def _kept_root_alone(order: int) -> tuple[Diagram, ...]:
    return tuple(_root_alone(order))


@cache
def _kept_root_tied(order: int) -> tuple[Diagram, ...]:
    return tuple(_root_tied(order))


def _root_alone(order: int) -> Iterator[Diagram]:
    for tree in rooted_trees(order):
        yield from _unique(tree, ((0, *(block + 1 for block in blocks)) for blocks in growth_strings(order)))


def _root_tied(order: int) -> Iterator[Diagram]:
    for tree in rooted_trees(order):
        yield from _unique(tree, (blocks for blocks in growth_strings(order + 1) if blocks.count(0) > 1))


def _unique(tree: tuple[int, ...], labellings: Iterable[tuple[int, ...]]) -> Iterator[Diagram]:
    """Keep the labellings of a canonical tree that are canonical too: they come in increasing order."""
    for labels in labellings:
        diagram = Diagram.from_labels(tree, labels)
        if diagram.labels == labels:
            yield diagram
