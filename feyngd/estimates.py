"""Estimates: numbers that carry their error, and what is said where an error is too large."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from ._archive import Kept
from .errors import ArgumentError
from .kinks import Kink, kinks_note


@dataclass(frozen=True)
class Estimate(Kept):
    """A number with its standard error.

    Attributes:
        value: the estimate, in the unit of the loss.
        stderr: its standard error; `None` if the value is exact up to rounding, never 0.
        num_samples: the number of independent replicates behind it; 0 if exact.
        kind: "exact" for plain averages; "double sum" for an exact sum over all combinations of examples; "pairing" for
            independent random pairings of examples; "deflation" for an exact low-rank part with the rest paired;
            "strata" for the examples with the largest gradients taken one by one and the others paired; "lanczos" for
            random combinations of gradients with Lanczos' quadrature.
        dtype_error: what floating-point arithmetic adds, measured; `None` if it was not measured.
        kinks: where the loss is not smooth, so that derivatives do not tell all of it.
    """

    value: float
    stderr: float | None
    num_samples: int
    kind: str
    dtype_error: float | None = None
    kinks: tuple[Kink, ...] = ()

    @classmethod
    def from_replicates(
        cls,
        replicates: np.ndarray,
        kind: str | None = None,
        dtype_error: float | None = None,
        kinks: tuple[Kink, ...] = (),
    ) -> "Estimate":
        """Make an estimate from independent unbiased replicates, or from a single exact number of shape (1,)."""
        if len(replicates) == 1:
            return cls(float(replicates[0]), None, 0, kind or "exact", dtype_error, kinks)
        spread = float(np.std(replicates, ddof=1)) / len(replicates) ** 0.5
        return cls(float(np.mean(replicates)), spread, len(replicates), kind or "pairing", dtype_error, kinks)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the two-sided Student-t confidence interval; the value twice if it is exact.

        Raises:
            ArgumentError: the confidence is not between 0 and 1.
        """
        if not 0 < confidence < 1:
            raise ArgumentError(f"A confidence is between 0 and 1, such as 0.95; got {confidence!r}.")
        if self.stderr is None:
            return self.value, self.value
        reach = self.stderr * float(stats.t.ppf((1 + confidence) / 2, self.num_samples - 1))
        return self.value - reach, self.value + reach

    @property
    def figure(self) -> str:
        """The value and its standard error as text."""
        return f"{self.value:.6g}" if self.stderr is None else f"{self.value:.6g} ± {self.stderr:.2g}"

    def __str__(self) -> str:
        return self.figure + kinks_note(self.kinks)


class PrecisionWarning(UserWarning):
    """An estimate is less precise than asked for, or its rounding could not be measured."""


class TruncationWarning(UserWarning):
    """The orders kept in a prediction do not fall off: the series has not converged there."""


CONVERGED = 0.2  # an order counts as small below this fraction of the one before it


def mean_and_error(samples: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of independent samples and its standard error."""
    return samples.mean(axis=axis), samples.std(axis=axis, ddof=1) / samples.shape[axis] ** 0.5
