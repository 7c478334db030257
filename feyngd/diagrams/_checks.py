"""What an order and a basis may be."""

from ..errors import ArgumentError


def check_order(order: int) -> None:
    """Raise `ArgumentError` unless `order` is an integer ≥ 0."""
    if isinstance(order, bool) or not isinstance(order, int):
        raise ArgumentError(f"The order counts edges, so it is an integer ≥ 0; got {order!r}.")
    if order < 0:
        raise ArgumentError(f"The order counts edges, so it is at least 0; got {order}.")


def check_basis(basis: str) -> None:
    """Raise `ArgumentError` unless the basis, what tied nodes stand for, is known."""
    if basis not in ("moment", "cumulant"):
        raise ArgumentError(f"Unknown basis {basis!r}. Known: 'moment', 'cumulant'.")
