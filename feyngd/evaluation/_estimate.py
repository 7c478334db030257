"""Estimates: numbers that carry their error."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from .._archive import Kept, keep, keep_attributes
from ..diagrams import Diagram
from ..errors import ArgumentError
from ..landscapes import Kink, Origin, kinks_note

keep(Diagram, str, Diagram.parse)
keep_attributes(Origin)
keep_attributes(Kink)


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


class Values(Kept, Mapping[Diagram, Estimate]):
    """The values of diagrams at one point of a landscape, with the replicates behind them.

    Replicate number r of every diagram comes from the same draw of random pairings, so any combination of values has an
    honest standard error: that of its replicates.

    Attributes:
        basis: "moment" or "cumulant".
        root: in the conditional reading, where untied roots are measured: on "test" or on "train" data.
        origin: the loss, the data and the parameters they were evaluated at; `None` if they were made by hand.
        not_measured: why rounding could not be measured; `None` if it was, or if that was not asked for.
        kinks: where the loss is not smooth within reach of the parameters.
    """

    def __init__(
        self,
        replicates: Mapping[Diagram, np.ndarray],
        basis: str,
        *,
        kinds: Mapping[Diagram, str] | None = None,
        rounding: Mapping[Diagram, np.ndarray] | None = None,
        root: str = "test",
        origin: Origin | None = None,
        not_measured: str | None = None,
        kinks: tuple[Kink, ...] = (),
    ) -> None:
        self._replicates = {diagram: np.asarray(rows, dtype=float) for diagram, rows in replicates.items()}
        self._kinds, self._rounding = dict(kinds or {}), dict(rounding or {})
        self.basis, self.root, self.origin, self.not_measured = basis, root, origin, not_measured
        self.kinks = tuple(kinks)

    def __getitem__(self, diagram: Diagram) -> Estimate:
        return Estimate.from_replicates(
            self.replicates(diagram), self._kinds.get(diagram), self._dtype_error({diagram: 1.0}), self.kinks
        )

    def __iter__(self) -> Iterator[Diagram]:
        return iter(self._replicates)

    def __len__(self) -> int:
        return len(self._replicates)

    def replicates(self, diagram: Diagram) -> np.ndarray:
        """Return the independent replicates of a value; one number if it is exact."""
        if diagram not in self._replicates:
            raise KeyError(f"{diagram!r} has not been evaluated; values are indexed by the diagrams given to evaluate.")
        return self._replicates[diagram]

    def rounding(self, diagram: Diagram) -> np.ndarray | None:
        """Return what floating-point arithmetic did to the value on a few samples of the data; `None` if not measured.

        The entries belong to the same samples for every diagram, so that rounding in combinations can be told.
        """
        return self._rounding.get(diagram)

    def combine(self, weights: Mapping[Diagram, float]) -> Estimate:
        """Return a linear combination of values, with the standard error of the combination.

        Raises:
            ArgumentError: a diagram has not been evaluated.
        """
        total = np.zeros(1)
        for diagram, weight in weights.items():
            if diagram not in self._replicates:
                raise ArgumentError(f"The value of {diagram} is needed and was not evaluated: evaluate it too.")
            total = total + weight * self._replicates[diagram]
        return Estimate.from_replicates(total, dtype_error=self._dtype_error(weights), kinks=self.kinks)

    def _dtype_error(self, weights: Mapping[Diagram, float]) -> float | None:
        if not weights or any(diagram not in self._rounding for diagram in weights):
            return None
        total = sum(weight * self._rounding[diagram] for diagram, weight in weights.items())
        return float(np.sqrt(np.mean(np.square(total))))

    def __repr__(self) -> str:
        return f"<Values of {len(self)} diagrams, {self.basis} basis>"

    def __str__(self) -> str:
        width = max((len(str(diagram)) for diagram in self), default=0)
        lines = [f"{str(diagram).ljust(width)}   {self[diagram].figure}" for diagram in self]
        return "\n".join(lines) + kinks_note(self.kinks)
