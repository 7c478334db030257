"""The checks of learning rates that all packages share."""

import math
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .errors import ArgumentError


def check_learning_rates(learning_rates: ArrayLike, *, schedule: bool = False) -> np.ndarray:
    """Return learning rates as an array of shape (R,).

    Args:
        learning_rates: one or more.
        schedule: whether they belong to the steps of one run, where some may be zero.

    Raises:
        ArgumentError: there are none, or one is not a positive finite number.
    """
    try:
        rates = np.atleast_1d(np.asarray(learning_rates, dtype=float))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"Learning rates are positive numbers, got {learning_rates!r}.") from error
    if rates.ndim != 1 or not len(rates):
        raise ArgumentError(f"Give one learning rate or a list of them, got an array of shape {rates.shape}.")
    zeros = schedule and bool(np.any(rates > 0))
    bad = rates[~(np.isfinite(rates) & ((rates >= 0) if zeros else (rates > 0)))]
    if len(bad):
        allowed = "positive and finite" + (", and in a schedule some of them zero" if schedule else "")
        raise ArgumentError(f"Learning rates are {allowed}, got {', '.join(f'{rate:g}' for rate in bad)}.")
    return rates


def check_learning_rate(learning_rate: Any) -> float:
    """Return a single learning rate.

    Raises:
        ArgumentError: it is not one positive finite number.
    """
    rate = None
    if not isinstance(learning_rate, bool | str) and not np.ndim(learning_rate):
        with suppress(TypeError, ValueError):
            rate = float(learning_rate)
    if rate is None or not 0 < rate < math.inf:
        raise ArgumentError(f"The learning rate is positive and finite, got {learning_rate!r}.")
    return rate
