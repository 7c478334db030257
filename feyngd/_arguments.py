"""Checks of plain arguments that several packages share."""

import operator
from typing import Any

from .errors import ArgumentError


def check_integer(name: str, value: Any, *, least: int) -> int:
    """Return an integer of at least `least`, or raise `ArgumentError`."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise ArgumentError(f"{name} is an integer ≥ {least}, got {value!r}.")
    return number
