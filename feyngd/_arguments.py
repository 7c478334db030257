"""Checks of plain arguments that several packages share."""

import operator
from contextlib import suppress
from typing import Any

from .errors import ArgumentError


def check_integer(name: str, value: Any, *, least: int) -> int:
    """Return an integer of at least `least` as a Python integer.

    Integers of NumPy, JAX and SymPy are accepted. Numbers of other types that happen to be whole, truth values and
    arrays with axes are not.

    Raises:
        ArgumentError: the value is not an integer of at least `least`; the message says what to do.
    """
    number = None
    if not isinstance(value, bool):
        with suppress(TypeError):  # JAX raises it for traced integers too
            number = operator.index(value)
    if number is None or number < least:
        cure = _cure(value) if number is None else ""
        raise ArgumentError(f"{name} is an integer ≥ {least}, got {value!r}.{cure}")
    return number


def _cure(value: Any) -> str:
    """Return a sentence that says how to turn the value into an integer, if there is a way."""
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


def check_order(order: int) -> int:
    """Return the order as an integer, or raise `ArgumentError` unless it is an integer ≥ 0."""
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
    """Raise `ArgumentError` unless the basis, which says what tied nodes are, is known."""
    if basis not in ("moment", "cumulant"):
        raise ArgumentError(f"Unknown basis {basis!r}. Known: 'moment', 'cumulant'.")
