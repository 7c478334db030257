"""The quantities that feyngd predicts, by name."""

from collections.abc import Collection
from typing import Any

from .errors import ArgumentError

QUANTITIES = ("test_loss", "train_loss", "gap")


SERIES = (*QUANTITIES, "displacement")
"""What can be expanded: the displacement has a series, but no number on a landscape."""


def check_quantity(quantity: Any, allowed: Collection[str] = QUANTITIES) -> None:
    """Raise `ArgumentError` unless the quantity is one of those allowed; the message lists them."""
    if quantity not in allowed:
        raise ArgumentError(f"Unknown quantity {quantity!r}. Known: {', '.join(map(repr, allowed))}.")
