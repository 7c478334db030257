"""Simulations: the results of many real runs."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._archive import Kept
from ..spacetimes import Spacetime


@dataclass(frozen=True, eq=False, repr=False)
class Simulation(Kept):
    """The loss after real SGD, averaged over independent runs.

    Attributes:
        quantity: "test_loss", "train_loss" or "gap".
        spacetime: the concrete spacetime.
        learning_rates: the learning rates, shape (R,).
        samples: the result of every run, shape (R, runs). The runs at different learning rates share their training
            sets and batches, so that differences between learning rates are less noisy. From the train loss, and so
            in the gap, the luck of the training set at the start is taken off: its loss there less the population's,
            which is zero on average. So is that of held-out examples in the unbiased reading, and with a control that
            of the batches to first order.
    """

    quantity: str
    spacetime: Spacetime
    learning_rates: np.ndarray
    samples: np.ndarray

    @property
    def runs(self) -> int:
        """The number of runs."""
        return self.samples.shape[1]

    @property
    def mean(self) -> np.ndarray:
        """The mean over runs; not finite where a run has diverged."""
        with np.errstate(invalid="ignore"):
            return self.samples.mean(axis=1)

    @property
    def stderr(self) -> np.ndarray:
        """The standard error of the mean; not finite where a run has diverged."""
        with np.errstate(invalid="ignore"):
            return self.samples.std(axis=1, ddof=1) / self.runs**0.5

    def to_dict(self) -> dict[str, Any]:
        """Return the simulation as plain lists and numbers, for JSON; a diverged mean is `None`."""

        def finite(array: np.ndarray) -> list[float | None]:
            return [float(x) if np.isfinite(x) else None for x in array]

        return {
            "quantity": self.quantity,
            "spacetime": str(self.spacetime),
            "runs": self.runs,
            "learning_rates": self.learning_rates.tolist(),
            "mean": finite(self.mean),
            "stderr": finite(self.stderr),
        }

    def __repr__(self) -> str:
        rates = len(self.learning_rates)
        return f"<Simulation of {self.quantity}, {self.runs} runs at {rates} rates, {self.spacetime}>"

    def __str__(self) -> str:
        lines = [f"{self.quantity} simulated by {self.runs} runs, {self.spacetime}"]
        lost = np.sum(~np.isfinite(self.samples), axis=1)
        for rate, mean, stderr, diverged in zip(self.learning_rates, self.mean, self.stderr, lost, strict=True):
            note = f"   {diverged} of {self.runs} runs diverged" if diverged else ""
            lines.append(f"  η = {rate:<9.4g} {mean:.6g} ± {stderr:.2g}{note}")
        return "\n".join(lines)
