"""The check of learning rates that all packages share."""

import numpy as np
from numpy.typing import ArrayLike

from .errors import ArgumentError


def check_learning_rates(learning_rates: ArrayLike, *, schedule: bool = False) -> np.ndarray:
    """Return the learning rates as an array.

    Args:
        learning_rates: one or more.
        schedule: whether they are those of the steps of one run, of which some may be zero.

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
