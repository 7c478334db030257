"""The results of many real runs: losses at several learning rates, or at several steps of one schedule."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from ..estimates import LossCurve, mean_and_stderr
from ..optimizers import PLAIN, Optimizer
from ..spacetimes import Spacetime


@dataclass(frozen=True, eq=False, repr=False)
class Simulation(LossCurve):
    """The loss after real SGD, averaged over independent runs.

    Attributes:
        quantity: "test_loss", "train_loss" or "gap".
        spacetime: the concrete spacetime.
        learning_rates: the learning rates, shape (R,).
        samples: the result of every run, shape (R, runs); for a variance the jackknife's pseudo-values, whose mean is
            the unbiased variance. The runs at different learning rates share their training
            sets and batches, so that differences between learning rates are less noisy. Subtracted from the train loss,
            and so from the gap, is the luck of the training set at the start: its loss there less the population's,
            which is zero on average. In the unbiased reading so is the luck of the held-out examples, and with a
            control what the batches do to first order.
        optimizer: what ran, over the steps of the spacetime; plain SGD for files of earlier versions.
    """

    quantity: str
    spacetime: Spacetime
    learning_rates: Float[np.ndarray, " rates"]
    samples: Float[np.ndarray, "rates runs"]
    optimizer: Optimizer = field(default=PLAIN, kw_only=True)

    @property
    def points(self) -> Float[np.ndarray, " rates"]:
        """The learning rates, shape (R,)."""
        return self.learning_rates

    @property
    def runs(self) -> int:
        """The number of runs."""
        return self.samples.shape[1]

    @property
    def mean(self) -> Float[np.ndarray, " rates"]:
        """The mean over runs; not finite where a run has diverged."""
        return mean_and_stderr(self.samples, axis=1)[0]

    @property
    def stderr(self) -> Float[np.ndarray, " rates"]:
        """The standard error of the mean; not finite where a run has diverged."""
        return mean_and_stderr(self.samples, axis=1)[1]

    def to_dict(self) -> dict[str, Any]:
        """Return the simulation as plain lists and numbers, for JSON; a diverged mean is `None`."""
        rates, optimizer = self.learning_rates.tolist(), str(self.optimizer)
        return {**super().to_dict(), "optimizer": optimizer, "runs": self.runs, "learning_rates": rates}

    def __repr__(self) -> str:
        rates = len(self.learning_rates)
        return f"<Simulation of {self.quantity}, {self.runs} runs at {rates} rates, {self.setting}>"

    def __str__(self) -> str:
        lines = [f"{self.quantity} simulated by {self.runs} runs, {self.setting}"]
        lost = np.sum(~np.isfinite(self.samples), axis=1)
        for rate, mean, stderr, diverged in zip(self.learning_rates, self.mean, self.stderr, lost, strict=True):
            note = f"   {diverged} of {self.runs} runs diverged" if diverged else ""
            lines.append(f"  η = {rate:<9.4g} {mean:.6g} ± {stderr:.2g}{note}")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False, repr=False)
class SimulatedCurve(LossCurve):
    """A learning curve: simulations of one schedule at one learning rate, each ended after other numbers of steps.

    Attributes:
        quantity: "test_loss", "train_loss" or "gap".
        spacetime: the whole schedule.
        simulations: one for each number of steps, in their order.
        learning_rate: of which of the simulations' learning rates this is the curve; the only one if `None`. Others
            show how the loss depends on the learning rate, see `Comparison.highest_orders`.
    """

    quantity: str
    spacetime: Spacetime
    simulations: Sequence[Simulation]
    learning_rate: float | None = None

    axis: ClassVar[str] = "t"

    @property
    def optimizer(self) -> Optimizer:
        """What ran, over the steps of the longest simulation."""
        return max(self.simulations, key=lambda simulation: int(simulation.spacetime.T)).optimizer

    @property
    def points(self) -> np.ndarray:
        """The steps after which runs were ended, shape (L,)."""
        return np.array([int(simulation.spacetime.T) for simulation in self.simulations])

    @property
    def runs(self) -> int:
        """The number of runs behind every point; the least of them if they differ."""
        return min(simulation.runs for simulation in self.simulations)

    @property
    def mean(self) -> np.ndarray:
        """The mean over runs at every point; not finite where a run has diverged."""
        return np.array([float(simulation.mean[self._row(simulation)]) for simulation in self.simulations])

    @property
    def stderr(self) -> np.ndarray:
        """The standard error of the mean; not finite where a run has diverged."""
        return np.array([float(simulation.stderr[self._row(simulation)]) for simulation in self.simulations])

    def to_dict(self) -> dict[str, Any]:
        """Return the curve as plain lists and numbers, for JSON; a diverged mean is `None`."""
        first = self.simulations[0]
        return {
            **super().to_dict(),
            "optimizer": str(self.optimizer),
            "runs": self.runs,
            "learning_rate": float(first.learning_rates[self._row(first)]),
            "times": self.points.tolist(),
        }

    def _row(self, simulation: Simulation) -> int:
        """Return where a simulation has the learning rate of the curve."""
        if self.learning_rate is None:
            return 0
        return int(np.flatnonzero(simulation.learning_rates == self.learning_rate)[0])

    def __repr__(self) -> str:
        return f"<SimulatedCurve of {self.quantity}, {self.runs} runs at {len(self.points)} steps, {self.setting}>"
