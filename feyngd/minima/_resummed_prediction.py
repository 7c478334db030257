"""Predictions near a minimum, with their errors."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..estimates import CONVERGED, PredictedNoise, finite_or_none
from ..kinks import Kink, kinks_note
from ..optimizers import PLAIN, Optimizer
from ..spacetimes import Spacetime


@dataclass(frozen=True, eq=False, repr=False)
class ResummedPrediction(PredictedNoise):
    """The expected loss after SGD from a point near a minimum, re-summed: finite however long SGD runs.

    It is the quantity at the start, plus what the mean gradient changes (`noiseless`, zero at a minimum), plus what the
    gradients' noise does to second order (`noise`).

    Attributes:
        quantity: "test_loss", "train_loss" or "gap".
        spacetime: the concrete spacetime.
        learning_rates: the learning rates, shape (R,).
        start: the quantity at the start, in the unit of the loss; 0 for the gap.
        noiseless: what the mean gradient changes at every learning rate, shape (R,).
        replicates: independent estimates of what the noise adds, shape (m, R); one row if it is exact.
        truncation: the size of what the next orders of the noise would add, shape (R,): third cumulants of the noise,
            and how loss and noise over the predicted cloud of parameters differ from those at the start. It is 0 where
            these are nothing but rounding.
        dtype_error: by how much rounding of the Hessian changes the prediction, shape (R,).
        kinks: where the loss is not smooth; what kinks do is left out, so that nothing is called converged.
        optimizer: over the steps of the spacetime, with numbers; plain SGD for files of earlier versions.
    """

    quantity: str
    spacetime: Spacetime
    learning_rates: np.ndarray
    start: float
    noiseless: np.ndarray
    replicates: np.ndarray
    truncation: np.ndarray
    dtype_error: np.ndarray
    kinks: tuple[Kink, ...] = ()
    optimizer: Optimizer = field(default=PLAIN, kw_only=True)

    @property
    def points(self) -> np.ndarray:
        """The learning rates, shape (R,)."""
        return self.learning_rates

    @property
    def mean(self) -> np.ndarray:
        """The prediction at every learning rate, in the unit of the loss."""
        return self.start + self.noiseless + self.noise

    @property
    def converged(self) -> np.ndarray:
        """Whether the truncation figure is below a fifth of what the noise adds, and the loss is smooth."""
        return (self.truncation <= CONVERGED * np.abs(self.noise)) & (not self.kinks)

    def columns(self) -> dict[str, list[str]]:
        """Return what a table shows of the prediction, by column."""
        return {
            "noiseless": [f"{x:.5f}" for x in self.start + self.noiseless],
            "re-summed": [f"{x:.5f}" for x in self.mean],
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as plain lists and numbers, for JSON; what is not finite is `None`."""
        return {
            **super().to_dict(),
            "resummed": True,
            "optimizer": str(self.optimizer),
            "learning_rates": self.learning_rates.tolist(),
            "start": self.start,
            "noiseless": self.noiseless.tolist(),
            "noise": self.noise.tolist(),
            "dtype_error": finite_or_none(self.dtype_error),
        }

    def plot(self, ax: Any = None) -> Any:
        """Draw the prediction against the learning rate, with two standard errors and the truncation figure as a band.

        Returns:
            The matplotlib axes.
        """
        from ..drawing import plot_resummed

        return plot_resummed(self, ax)

    def __repr__(self) -> str:
        rates = len(self.learning_rates)
        return f"<ResummedPrediction of {self.quantity}, {self.setting}, {rates} rates>"

    def __str__(self) -> str:
        title = f"{self.quantity} predicted near a minimum, re-summed, {self.setting}"
        lines = [f"{title}; {self.start:.6g} at the start"]
        for i, (rate, mean, noise) in enumerate(zip(self.points, self.mean, self.noise, strict=True)):
            lines.append(f"  η = {rate:<9.4g} {mean:.6g}, of it {noise:.4g} by noise {self.errors_text(i)}")
        return "\n".join(lines) + kinks_note(self.kinks)
