"""Learning curves of real runs: the loss after several numbers of steps, in the same runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from .._archive import Kept
from .._arguments import check_integer
from ..errors import ArgumentError
from ..estimates import finite_or_none, in_words, mean_and_stderr
from ..optimizers import PLAIN, Optimizer
from ..spacetimes import Spacetime
from ._simulation import SimulatedCurve, Simulation

_SHOWN = 5  # times in a printed row


@dataclass(frozen=True, eq=False, repr=False)
class SimulatedCurves(Kept):
    """Learning curves of real SGD at several learning rates, averaged over independent runs.

    Attributes:
        quantity: "test_loss", "train_loss" or "gap".
        spacetime: the concrete spacetime of the whole runs.
        learning_rates: the learning rates, shape (R,).
        times: the numbers of steps after which the runs were measured, shape (S,).
        samples: the result of every run, shape (R, S, runs); see `Simulation`. All times and learning rates share their
            training sets and batches, so that differences between them are less noisy.
        optimizer: what ran, over the steps of the spacetime; plain SGD for files of earlier versions.
    """

    quantity: str
    spacetime: Spacetime
    learning_rates: Float[np.ndarray, " rates"]
    times: Int[np.ndarray, " times"]
    samples: Float[np.ndarray, "rates times runs"]
    optimizer: Optimizer = field(default=PLAIN, kw_only=True)

    @property
    def runs(self) -> int:
        """The number of runs."""
        return self.samples.shape[2]

    @property
    def mean(self) -> Float[np.ndarray, "rates times"]:
        """The mean over runs; not finite where a run has diverged."""
        return mean_and_stderr(self.samples, axis=2)[0]

    @property
    def stderr(self) -> Float[np.ndarray, "rates times"]:
        """The standard error of the mean; not finite where a run has diverged."""
        return mean_and_stderr(self.samples, axis=2)[1]

    def after(self, time: int) -> Simulation:
        """Return the simulation of runs that end after a number of steps.

        Raises:
            ArgumentError: the runs were not measured there.
        """
        time = check_integer("time, a number of steps,", time, least=0)
        if time not in self.times:
            known = ", ".join(map(str, self.times))
            raise ArgumentError(f"These runs were measured after {known} steps; got {time}.")
        (place,) = np.flatnonzero(self.times == time)
        return self._ended(int(place), slice(None))

    def curve(self, learning_rate: float | None = None) -> SimulatedCurve:
        """Return the learning curve at one learning rate.

        Args:
            learning_rate: one of the learning rates; can be left out if there is only one.

        Raises:
            ArgumentError: it is none of the learning rates, or is left out where there are several.
        """
        rates = self.learning_rates
        asked = rates if learning_rate is None else rates[rates == learning_rate]
        if not len(asked) or len(set(asked.tolist())) > 1:
            known = ", ".join(f"{rate:g}" for rate in rates)
            raise ArgumentError(f"A learning curve is at one learning rate of {known}; got {learning_rate!r}.")
        row = int(np.flatnonzero(rates == asked[0])[0])
        ended = [self._ended(place, slice(row, row + 1)) for place in range(len(self.times))]
        return SimulatedCurve(self.quantity, self.spacetime, ended)

    def to_dict(self) -> dict[str, Any]:
        """Return the curves as plain lists and numbers, for JSON; a diverged mean is `None`."""
        return {
            "quantity": self.quantity,
            "spacetime": str(self.spacetime),
            "optimizer": str(self.optimizer),
            "runs": self.runs,
            "learning_rates": self.learning_rates.tolist(),
            "times": self.times.tolist(),
            "mean": [finite_or_none(row) for row in self.mean],
            "stderr": [finite_or_none(row) for row in self.stderr],
        }

    def plot(self, ax: Any = None) -> Any:
        """Draw the learning curve at every learning rate, with two standard errors as a band.

        Where a run has diverged there is no mean, and nothing is drawn.

        Args:
            ax: matplotlib axes; new ones if there are none.

        Returns:
            The matplotlib axes.

        Raises:
            FeynGDError: matplotlib is missing.
        """
        from ..drawing import plot_simulated_curves

        return plot_simulated_curves(self, ax)

    @property
    def setting(self) -> str:
        """The spacetime in words, and the optimizer unless it is plain SGD."""
        return in_words(self.spacetime, self.optimizer)

    def _ended(self, place: int, rows: slice) -> Simulation:
        time = int(self.times[place])
        samples, optimizer = self.samples[rows, place], self.optimizer.over_steps(time)
        return Simulation(
            self.quantity, _begun(self.spacetime, time), self.learning_rates[rows], samples, optimizer=optimizer
        )

    def __repr__(self) -> str:
        rates, times = len(self.learning_rates), len(self.times)
        counts = f"{self.runs} runs at {rates} rates and {times} times"
        return f"<SimulatedCurves of {self.quantity}, {counts}, {self.setting}>"

    def __str__(self) -> str:
        lines = [f"{self.quantity} simulated by {self.runs} runs, {self.setting}"]
        shown: Sequence[int] = np.unique(np.linspace(0, len(self.times) - 1, _SHOWN).round().astype(int)).tolist()
        lost = np.sum(~np.isfinite(self.samples[:, -1]), axis=1)
        for rate, mean, stderr, diverged in zip(self.learning_rates, self.mean, self.stderr, lost, strict=True):
            cells = (f"t = {self.times[i]}: {mean[i]:.6g} ± {stderr[i]:.2g}" for i in shown)
            note = f"   {diverged} of {self.runs} runs diverged" if diverged else ""
            lines.append(f"  η = {rate:<9.4g} {',  '.join(cells)}{note}")
        return "\n".join(lines)


def _begun(spacetime: Spacetime, steps: int) -> Spacetime:
    """Return the spacetime of the first steps of runs."""
    N, B, sampling = spacetime.N, spacetime.B, spacetime.sampling
    if spacetime.explicit is not None:
        return Spacetime.from_batches(spacetime.explicit[:steps], int(N))
    if sampling == "full-batch":
        return Spacetime.gd(N, steps)
    return Spacetime.sgd(N, B, T=steps, sampling=sampling, drop_last=spacetime.drop_last)
