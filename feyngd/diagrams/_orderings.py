"""Orderings of a diagram: in which orders SGD can visit its nodes if every point is used at one step only."""

from collections import Counter
from collections.abc import Sequence
from math import factorial, prod

from ..errors import ArgumentError
from ._diagram import Diagram
from ._forest import check_one_root


def count_orderings(diagram: Diagram) -> int:
    """Count the total orderings of a diagram's non-root nodes, |ords(D)|.

    In an ordering children come before their parents, and the nodes of a part stand side by side: in one epoch of
    batches of one point, nodes that share a point share a step. Orderings that an automorphism of the diagram turns
    into one another count once; Proposition 1 needs this, since it has no factor 1/|Aut D| of its own. What the root is
    tied to does not matter, except for automorphisms.

    Args:
        diagram: the diagram.

    Returns:
        An integer, 0 if a part holds a node and its ancestor, or if two parts each hold an ancestor of the other.

    Raises:
        ArgumentError: `diagram` is not a `Diagram`.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Proposition 1. That orderings count up to automorphisms is not
        said there; the totals of Table 2 show it.

    Examples:
        >>> import feyngd as fd
        >>> fd.count_orderings(fd.Diagram.parse("[a b[c]]")), fd.count_orderings(fd.Diagram.parse("[a b c]"))
        (3, 1)
    """
    if not isinstance(diagram, Diagram):
        raise ArgumentError(f"The orderings of a Diagram are counted, such as Diagram.parse('[a a]'); got {diagram!r}.")
    check_one_root(diagram, "put in order")
    placed = diagram.untie_root()
    sizes = Counter(placed.labels[1:])
    inside = prod(factorial(size) for size in sizes.values())
    # No automorphism but the identity keeps an ordering as it is.
    return _orders_of_parts(placed.parents, placed.labels, len(sizes)) * inside // diagram.automorphisms


def _orders_of_parts(parents: Sequence[int], labels: Sequence[int], parts: int) -> int:
    """Count the orders of the non-root parts in which every node comes before its parent, in a part after its own."""
    before = [0] * parts  # for every part the set, in bits, of the parts that come before it
    for node in range(1, len(parents)):
        if parents[node]:
            before[labels[parents[node]] - 1] |= 1 << (labels[node] - 1)
    orders = {0: 1}  # in how many orders a set of parts can come first
    for _ in range(parts):
        longer: Counter[int] = Counter()
        for first, count in orders.items():
            for part in range(parts):
                if not first >> part & 1 and before[part] & ~first == 0:
                    longer[first | 1 << part] += count
        orders = dict(longer)
    return sum(orders.values())
