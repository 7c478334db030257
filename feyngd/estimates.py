"""Estimates: numbers and curves with their errors, when they count as converged, and the warnings about errors."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from scipy import stats

from ._archive import Kept
from .errors import ArgumentError
from .kinks import Kink, kinks_note

# What counts as small: an order of a series, against the one before it; near minima and on paths the truncation figure,
# against what the noise adds. Docstrings call it a fifth.
CONVERGED = 0.2

_SMALL = 1e-3  # numbers of a table, as variances are, of which five decimals show next to nothing


@dataclass(frozen=True)
class Estimate(Kept):
    """A number with its standard error.

    Attributes:
        value: the estimate, in the unit of the loss.
        stderr: its standard error; `None` if the value is exact up to rounding, never 0.
        num_samples: the number of independent replicates behind it; 0 if exact.
        kind: "exact" for plain averages; "double sum" for an exact sum over all combinations of examples;
            "contraction" for an exact contraction of whole tensors of derivatives, of few parameters; "pairing" for
            independent random pairings of examples; "deflation" for an exact low-rank part with the rest paired;
            "strata" for the examples with the largest gradients taken one by one and the others paired; "lanczos" for
            random combinations of gradients with Lanczos' quadrature.
        dtype_error: what floating-point arithmetic adds, measured; `None` if it was not measured.
        kinks: where the loss is not smooth, so that derivatives do not describe it fully.
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
        mean, stderr = mean_and_stderr(replicates)
        return cls(float(mean), float(stderr), len(replicates), kind or "pairing", dtype_error, kinks)

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


@dataclass(frozen=True, eq=False, repr=False)
class LossCurve(Kept):
    """An expected loss with its standard error at several points: the base of all predictions and simulations.

    The points are learning rates, or the steps of a run.

    Attributes:
        quantity: "test_loss", "train_loss" or "gap".
        spacetime: the concrete spacetime.
    """

    quantity: str
    spacetime: Any

    axis: ClassVar[str] = "η"  # the symbol of a point: "η" for learning rates, "t" for steps

    # Subclasses have these as fields or as properties. Properties here would become the defaults of the fields.
    if TYPE_CHECKING:

        @property
        def points(self) -> np.ndarray: ...

        @property
        def mean(self) -> np.ndarray: ...

        @property
        def stderr(self) -> np.ndarray: ...

    @property
    def setting(self) -> str:
        """The spacetime in words, and the optimizer unless it is plain SGD."""
        return in_words(self.spacetime, getattr(self, "optimizer", "SGD"))

    def to_dict(self) -> dict[str, Any]:
        """Return the curve as plain lists and numbers, for JSON; what is not finite is `None`."""
        return {
            "quantity": self.quantity,
            "spacetime": str(self.spacetime),
            "mean": finite_or_none(self.mean),
            "stderr": finite_or_none(self.stderr),
        }


@dataclass(frozen=True, eq=False, repr=False)
class PredictedCurve(LossCurve):
    """A predicted loss with its errors: what `feyngd.compare` and the plots need of a prediction, whatever its kind.

    Subclasses have, as fields or as properties:
        points: the learning rates or steps, shape (R,).
        mean, stderr: the prediction and its standard error from sampling.
        truncation: the size of what the prediction leaves out.
        converged: whether the truncation is small.
        last_term: the size of the last term that is kept, which a simulation can confirm.
        name_of_last: what that term is, in words.
        meaning_of_converged: when a point counts as converged, in words.
        start: the quantity at the start.
        kinks: where the loss is not smooth.
    """

    if TYPE_CHECKING:

        @property
        def truncation(self) -> np.ndarray: ...

        @property
        def converged(self) -> np.ndarray: ...

        @property
        def last_term(self) -> np.ndarray: ...

        @property
        def name_of_last(self) -> str: ...

        @property
        def meaning_of_converged(self) -> str: ...

        @property
        def start(self) -> float: ...

        @property
        def kinks(self) -> tuple[Kink, ...]: ...

        def columns(self) -> dict[str, list[str]]: ...

        def plot(self, ax: Any = None) -> Any: ...

    def select(self, points: np.ndarray) -> Self:
        """Return the prediction at the points of a simulation: by default all of them."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as plain lists and numbers, for JSON; what is not finite is `None`."""
        return {
            **super().to_dict(),
            "truncation": finite_or_none(self.truncation),
            "converged": self.converged.tolist(),
            "kinks": [str(kink) for kink in self.kinks],
        }

    def errors_text(self, i: int, extra: str = "") -> str:
        """Return the errors at a point as text, and that it has not converged where it has not."""
        doubt = "" if self.converged[i] else "   not converged"
        return f"± {self.stderr[i]:.2g} (sampling) ± {self.truncation[i]:.2g} (truncation){extra}{doubt}"


@dataclass(frozen=True, eq=False, repr=False)
class PredictedNoise(PredictedCurve):
    """A prediction of a path without noise, which is exact, and of what the noise adds to it, from replicates.

    Subclasses have `replicates` as a field or as a property, of shape (m, R), with one row if they are exact.
    """

    if TYPE_CHECKING:

        @property
        def replicates(self) -> np.ndarray: ...

    @property
    def noise(self) -> np.ndarray:
        """What the noise of the gradients adds at every point, shape (R,)."""
        return mean_and_stderr(self.replicates)[0]

    @property
    def stderr(self) -> np.ndarray:
        """The standard error of `mean` from the replicates; zeros mean that they are exact."""
        return mean_and_stderr(self.replicates)[1]

    @property
    def last_term(self) -> np.ndarray:
        """The size of what the noise adds at every point."""
        return np.abs(self.noise)

    @property
    def name_of_last(self) -> str:
        """What `last_term` is the size of, in words."""
        return "noise"

    @property
    def meaning_of_converged(self) -> str:
        """When a point counts as converged, in words."""
        return f"truncation below {CONVERGED:.0%} of what the noise adds"


class PrecisionWarning(UserWarning):
    """An estimate is less precise than asked for, or its rounding could not be measured."""


class TruncationWarning(UserWarning):
    """The orders kept in a prediction do not fall off: the series has not converged there."""


def in_words(spacetime: Any, optimizer: Any) -> str:
    """Return a spacetime in words, and the optimizer unless it is plain SGD."""
    return str(spacetime) if str(optimizer) == "SGD" else f"{spacetime}, {optimizer}"


def in_table(number: float, largest: float) -> str:
    """Return a number as a table shows it: with five decimals, or four digits where the largest one is small."""
    return f"{number:.5f}" if not 0 < largest < _SMALL else f"{number:.3e}"


def mean_and_stderr(samples: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of independent samples along an axis and its standard error.

    A single sample stands for an exact number: its standard error is 0. Where a sample is not finite, neither are mean
    and standard error.
    """
    count = samples.shape[axis]
    with np.errstate(invalid="ignore"):
        mean = samples.mean(axis=axis)
        return mean, samples.std(axis=axis, ddof=1) / count**0.5 if count > 1 else np.zeros_like(mean)


def finite_or_none(numbers: np.ndarray) -> list[float | None]:
    """Return numbers as a list for JSON, which has no infinity and no NaN: `None` in their place."""
    return [float(x) if np.isfinite(x) else None for x in numbers]
