"""What an order and a basis may be."""

import operator

from ..errors import ArgumentError


def check_order(order: int) -> int:
    """Return the order as an integer, or raise `ArgumentError` unless it is one ≥ 0."""
    try:
        number = operator.index(order)
    except TypeError:
        number = None
    if number is None or isinstance(order, bool):
        raise ArgumentError(f"The order counts edges, so it is an integer ≥ 0; got {order!r}.")
    if number < 0:
        raise ArgumentError(f"The order counts edges, so it is at least 0; got {order}.")
    return number


def check_basis(basis: str) -> None:
    """Raise `ArgumentError` unless the basis, what tied nodes stand for, is known."""
    if basis not in ("moment", "cumulant"):
        raise ArgumentError(f"Unknown basis {basis!r}. Known: 'moment', 'cumulant'.")
