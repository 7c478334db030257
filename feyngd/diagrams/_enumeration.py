"""Every diagram of a given order, once each."""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain

from ._canonical import canonical_form
from ._checks import check_order
from ._diagram import Diagram
from ._partitions import growth_strings


def diagrams(order: int, *, root_tied: bool = False) -> list[Diagram]:
    """List every diagram of an order, up to isomorphism.

    Args:
        order: the number of edges, 0 or more.
        root_tied: whether to list the diagrams whose root is tied to other nodes as well; without it the root is
            alone in its part, as it is for the test loss.

    Returns:
        The diagrams in a fixed order, root alone first. With the root alone there are 1, 1, 4, 17, 101, 700, 5861 of
        orders 0 to 6.

    Raises:
        ArgumentError: `order` is negative or not an integer.

    Examples:
        >>> import feyngd as fd
        >>> [str(D) for D in fd.diagrams(2)]
        ['[a a]', '[a b]', '[a[a]]', '[a[b]]']
    """
    order = check_order(order)
    return [*_with_root_alone(order), *(_with_root_tied(order) if root_tied else ())]


def each_diagram(order: int, *, root_tied: bool = False) -> Iterator[Diagram]:
    """Iterate over what `diagrams` lists, in its order, without keeping it: for orders with too many to hold.

    Before the first diagram come all trees of the order and all partitions of their nodes.
    """
    order = check_order(order)
    return chain(_root_alone(order), _root_tied(order) if root_tied else ())


def rooted_trees(edges: int) -> list[tuple[int, ...]]:
    """List the rooted trees with this many edges, each as the parents of its canonically numbered nodes."""
    trees: set[tuple[int, ...]] = {(-1,)}
    for size in range(1, edges + 1):
        trees = {
            canonical_form((*tree, parent), tuple(range(size + 1)))[0][0] for tree in trees for parent in range(size)
        }
    return sorted(trees)


@cache
def _with_root_alone(order: int) -> tuple[Diagram, ...]:
    return tuple(_root_alone(order))


@cache
def _with_root_tied(order: int) -> tuple[Diagram, ...]:
    return tuple(_root_tied(order))


def _root_alone(order: int) -> Iterator[Diagram]:
    return _unique(order, ((-1, *blocks) for blocks in growth_strings(order)))


def _root_tied(order: int) -> Iterator[Diagram]:
    return _unique(order, (blocks for blocks in growth_strings(order + 1) if blocks.count(0) > 1))


def _unique(order: int, labellings: Iterable[tuple[int, ...]]) -> Iterator[Diagram]:
    choices = list(labellings)
    for tree in rooted_trees(order):
        yield from sorted({Diagram.from_labels(tree, labels) for labels in choices})
