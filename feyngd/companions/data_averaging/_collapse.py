"""Whether the temperature alone says where runs settle: cells of one temperature with other λ and B, compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from ...errors import ArgumentError
from ...estimates import Estimate
from ._plain import Plain

_SAME = 1e-9  # relative: temperatures that count as one


@dataclass(frozen=True)
class Collapse(Plain):
    """A χ² test that levels agree wherever temperatures do.

    Attributes:
        chi2: the sum over cells of squared distances from the mean of their temperature, in units of their errors.
        dof: cells less temperatures, of those with several cells.
        pvalue: the probability of as much or more if the temperature is all that matters.
        worst: the number of the cell that is farthest from the mean of its temperature.
        distance: how far that is, in its standard errors.
    """

    chi2: float
    dof: int
    pvalue: float
    worst: int
    distance: float


def collapse_test(temperatures: ArrayLike, levels: Sequence[Estimate]) -> Collapse:
    """Test whether levels depend on the temperature alone; give T = λ/B of every cell, or T/(1 − μ).

    Errors count as known: with few training sets behind each level the test rejects too often.

    Args:
        temperatures: of the cells, positive.
        levels: of the cells, with standard errors, such as `Ensemble.level` returns, from independent runs.

    Raises:
        ArgumentError: lengths differ, a level has no standard error, or no two cells share a temperature.

    Examples:
        >>> found = collapse_test([0.1, 0.1, 0.2], [Estimate(v, 0.1, 9, "ensemble") for v in (1.0, 1.2, 3.0)])
        >>> print(f"{found.chi2:.3f} {found.dof} {found.pvalue:.3f}")
        2.000 1 0.157
    """
    T = np.asarray(temperatures, dtype=float)
    if T.shape != (len(levels),) or not np.all((T > 0) & np.isfinite(T)):
        raise ArgumentError(f"Every one of {len(levels)} levels has a positive temperature; got {temperatures!r}.")
    if missing := [k for k, level in enumerate(levels) if not level.stderr]:
        raise ArgumentError(f"A test takes standard errors; level {missing[0]} has none.")
    values, errors = (np.array([getattr(each, name) for each in levels]) for name in ("value", "stderr"))
    alike = same_temperature(T)
    if not np.any(alike.sum(axis=1) > 1):
        raise ArgumentError("No two cells share a temperature: run one at other λ and B with the same λ/B.")
    weights = alike / errors**2
    distances = (values - weights @ values / weights.sum(axis=1)) / errors
    chi2 = float(distances @ distances)
    dof = len(T) - len({tuple(row) for row in alike.tolist()})
    worst = int(np.argmax(np.abs(distances)))
    return Collapse(chi2, dof, float(stats.chi2.sf(chi2, dof)), worst, float(distances[worst]))


def same_temperature(temperatures: np.ndarray) -> np.ndarray:
    """Return which temperatures count as one, shape (T, T): those that differ by rounding."""
    return np.abs(temperatures[:, None] - temperatures) <= _SAME * temperatures
