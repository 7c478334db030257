"""Several ways out and several valleys: rates add, and occupations follow from all rates together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse.csgraph import connected_components

from ...errors import ArgumentError
from .._numbers import check_numbers
from ._result import EscapeTime


def total_rate(times: Sequence[EscapeTime]) -> np.ndarray:
    """Return the rate of leaving a minimum by any of several ways, escapes in one step, shape (R,).

    Args:
        times: of every way out, at the same learning rates.

    Raises:
        ArgumentError: there are none, or their learning rates differ.

    References:
        Xie, Sato and Sugiyama, rule 1.
    """
    found = [times] if isinstance(times, EscapeTime) else list(times)
    if not found or not all(isinstance(time, EscapeTime) for time in found):
        raise ArgumentError(f"Give the escape times of all ways out, a list; got {times!r}.")
    first = found[0].learning_rates
    if any(not np.array_equal(time.learning_rates, first) for time in found):
        raise ArgumentError("Rates add at equal learning rates; these times have different ones.")
    return np.sum([time.rate for time in found], axis=0)


def occupation(rates: Any) -> np.ndarray:
    """Return how much of its time a long run spends in each of V valleys: π with πQ = 0, Q_ij = γ_ij.

    Args:
        rates: γ, shape (V, V): γ_ij from valley i to valley j, in any common unit; the diagonal is ignored.

    Returns:
        π, shape (V,), with sum 1.

    Raises:
        ArgumentError: the matrix is not square, a rate is negative or not finite, or some valley cannot be reached from
            some other.

    References:
        Corrects proposition 1 of Xie, Sato and Sugiyama, P(valley) = τ_v/Στ, which holds for two valleys alone.

    Examples:
        >>> from feyngd.companions import escape as esc
        >>> print(esc.occupation([[0, 1.0, 0], [2.0, 0, 2.0], [0, 4.0, 0]]).round(3))
        [0.571 0.286 0.143]
    """
    matrix = check_numbers("Rates", rates).copy()
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ArgumentError(f"Rates are a square matrix of at least two valleys; got shape {matrix.shape}.")
    np.fill_diagonal(matrix, 0.0)
    if not np.all(np.isfinite(matrix)) or np.any(matrix < 0):
        bad = matrix[~(np.isfinite(matrix) & (matrix >= 0))]
        raise ArgumentError(
            f"Rates are finite and not negative, from valley i in row i to valley j in column j; got {bad[0]:g}. "
            "Give 0 where no path leads."
        )
    if connected_components(matrix > 0, directed=True, connection="strong")[0] > 1:
        raise ArgumentError(
            "Some valley cannot be reached from some other, so that occupations depend on the start: leave it out, or "
            "give every pair of neighbours a rate in both directions."
        )
    # The elimination of Grassmann, Taksar and Heyman subtracts nothing: it is exact for rates of any sizes.
    work, size = matrix.copy(), len(matrix)
    for last in range(size - 1, 0, -1):
        work[:last, last] /= work[last, :last].sum()
        work[:last, :last] += np.outer(work[:last, last], work[last, :last])
    found = np.ones(size)
    for i in range(1, size):
        found[i] = found[:i] @ work[:i, i]
    return found / found.sum()
