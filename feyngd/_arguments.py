"""Checks of plain arguments that several packages share."""

import operator
from contextlib import suppress
from typing import Any

from .errors import ArgumentError


def check_integer(name: str, value: Any, *, least: int) -> int:
    """Return an integer of at least `least` as a Python integer.

    Integers of NumPy, JAX and SymPy are taken; numbers that only happen to be whole, truth values and arrays with axes
    are not.

    Raises:
        ArgumentError: it is not an integer of at least `least`; the message says what to do.
    """
    number = None
    if not isinstance(value, bool):
        with suppress(TypeError):  # which is also what JAX raises for traced integers
            number = operator.index(value)
    if number is None or number < least:
        cure = _cure(value) if number is None else ""
        raise ArgumentError(f"{name} is an integer ≥ {least}, got {value!r}.{cure}")
    return number


def _cure(value: Any) -> str:
    """Say how to make an integer of what looks like one, as a further sentence."""
    if getattr(value, "shape", ()) != ():
        return " Give one number, not an array."
    if type(value).__name__.endswith("Tracer"):
        return " It decides how much is computed, so it cannot be an argument of jax.jit or jax.vmap."
    is_truth_value = isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool"
    if is_truth_value or isinstance(value, str | bytes):
        return " Give a number."
    with suppress(TypeError, ValueError, OverflowError):
        if (whole := int(value)) == value:
            return f" Write {whole}."
    return ""
