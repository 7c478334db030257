"""Checks of numbers of this theory: temperatures, curvatures, reaches."""

import math
from typing import Any

from ...errors import ArgumentError


def check_positive(name: str, value: Any, unit: str = "") -> float:
    """Return a finite number above 0 as a float.

    Raises:
        ArgumentError: it is none: a truth value, text, an array with axes, NaN, an infinity, zero or negative.
    """
    number = _number(value)
    if number is None or not math.isfinite(number) or number <= 0:
        raise ArgumentError(f"{name} is one finite number above 0{unit}; got {value!r}.")
    return number


def check_not_negative(name: str, value: Any, unit: str = "") -> float:
    """Return a finite number ≥ 0 as a float.

    Raises:
        ArgumentError: it is none, as in `check_positive`, or it is negative.
    """
    number = _number(value)
    if number is None or not math.isfinite(number) or number < 0:
        raise ArgumentError(f"{name} is one finite number ≥ 0{unit}; got {value!r}.")
    return number


def _number(value: Any) -> float | None:
    """Return a number as a float, and `None` for what is no single real number."""
    is_truth_value = isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool"
    if is_truth_value or isinstance(value, str | bytes) or getattr(value, "shape", ()) != ():
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
