"""The checks of plain numbers that the companions share."""

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ..errors import ArgumentError


def check_number(
    name: str, value: Any, *, above: float | None = None, least: float | None = None, below: float | None = None
) -> float:
    """Return one finite number as a float.

    Args:
        name: what it is, the beginning of the message.
        value: the number, of Python, NumPy or JAX.
        above: what it has to exceed.
        least: the smallest allowed.
        below: what it has to stay under.

    Raises:
        ArgumentError: it is an array, not finite, or outside the range; the message says what is allowed.
    """
    number = None
    is_truth_value = isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool"
    if not is_truth_value and not isinstance(value, str | bytes) and np.ndim(value) == 0:
        with suppress(TypeError, ValueError, OverflowError):
            number = float(value)
    if (
        number is None
        or not math.isfinite(number)
        or (above is not None and number <= above)
        or (least is not None and number < least)
        or (below is not None and number >= below)
    ):
        bounds = [f"above {above:g}"] if above is not None else []
        bounds += [f"at least {least:g}"] if least is not None else []
        bounds += [f"below {below:g}"] if below is not None else []
        allowed = " and ".join(bounds)
        cure = " Give one at a time, not an array." if np.ndim(value) else ""
        raise ArgumentError(f"{name} is one finite number{f' {allowed}' if allowed else ''}; got {value!r}.{cure}")
    return number


def check_numbers(name: str, values: Any) -> np.ndarray:
    """Return an array of numbers as floats, of any shape, finite or not.

    Raises:
        ArgumentError: it is text, or rows of different lengths.
    """
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name}: give numbers, in rows of one length; got {values!r}.") from error


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return one of several words, or raise `ArgumentError` with all of them."""
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(f"Unknown {name} {value!r}. Known: {', '.join(map(repr, choices))}.")
    return value


def check_temperature(value: Any) -> float:
    """Return a temperature λ/B, or raise `ArgumentError` unless it is one positive number."""
    return check_number("A temperature, the learning rate over the batch size,", value, above=0)


def check_symmetric(name: str, matrix: Any) -> np.ndarray:
    """Return a symmetric matrix of finite numbers, shape (p, p); one number stands for p = 1.

    Raises:
        ArgumentError: it is not square, not finite or not symmetric.
    """
    array = np.atleast_2d(check_numbers(name, matrix))
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not np.all(np.isfinite(array)):
        raise ArgumentError(f"{name} is a square matrix of finite numbers; got shape {np.shape(matrix)}: {matrix!r}.")
    if not np.allclose(array, array.T, rtol=1e-9, atol=1e-12 * np.abs(array).max(initial=0)):
        raise ArgumentError(f"{name} is symmetric; this one is not. Give (A + A.T) / 2 if that is what you mean.")
    return array
