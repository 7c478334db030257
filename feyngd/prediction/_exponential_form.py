"""An exponential in place of the last terms of a series, which reaches further than the terms themselves.

Gradient descent on a quadratic changes the loss along every eigenvector by A((1 − ηH)^{2T} − 1), close to
A(e^{−bη} − 1) with b = 2TH. The last two coefficients of a series are mostly due to the sharpest of them. One
exponential with these two, and a straight line that leaves the lower ones as they are, do not blow up as powers do.
docs/benchmarks.md sets it against simulations, and against other forms.
"""

import numpy as np

ORDER = 3  # the order that was measured


def accelerates(coefficients: np.ndarray) -> bool:
    """Whether there is a decaying exponential with the last two coefficients: they have to differ in sign.

    Args:
        coefficients: those of η⁰ to η³, along the last axis.
    """
    return coefficients.shape[-1] == ORDER + 1 and bool(np.all(coefficients[..., -1] * coefficients[..., -2] < 0))


def exponential(coefficients: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Return A(e^{−bη} − 1) + Cη + c₀ with the same coefficients up to η³.

    Args:
        coefficients: c₀ to c₃, shape (..., 4), for which `accelerates`.
        rates: learning rates, shape (R,).

    Returns:
        An array of shape (..., R).
    """
    start, first, second, third = (coefficients[..., k, None] for k in range(ORDER + 1))
    b = -3 * third / second
    A = 2 * second / b**2
    return start + A * np.expm1(-b * rates) + (first + A * b) * rates


def jackknife(coefficients: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the form of the averaged coefficients and its standard error, from leaving out each replicate in turn.

    Args:
        coefficients: one replicate in each row, shape (K, 4).
        rates: learning rates, shape (R,).
    """
    count = len(coefficients)
    mean = exponential(coefficients.mean(axis=0), rates)
    if count == 1:
        return mean, np.zeros(rates.shape)
    without = exponential((coefficients.sum(axis=0) - coefficients) / (count - 1), rates)
    return mean, np.sqrt((count - 1) * without.var(axis=0))
