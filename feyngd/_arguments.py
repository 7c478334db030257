"""Checks of plain arguments that several packages share."""

from typing import Any

from .errors import ArgumentError


def check_integer(name: str, value: Any, *, least: int) -> None:
    """Raise `ArgumentError` unless `value` is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ArgumentError(f"{name} is an integer ≥ {least}, got {value!r}.")
