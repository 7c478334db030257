"""Predictions against simulations."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..minima import ResummedPrediction
from ..simulation import Simulation
from ._fitted_order import OrderCheck, check_order
from ._prediction import Prediction

_FITTED_UP_TO = 3  # times the edge of validity


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """A prediction next to a simulation of the same quantity, spacetime and learning rates.

    Attributes:
        prediction: the prediction.
        simulation: the simulation.
    """

    prediction: Prediction | ResummedPrediction
    simulation: Simulation

    @property
    def difference(self) -> np.ndarray:
        """Prediction minus simulation at every learning rate."""
        return self.prediction.mean - self.simulation.mean

    @property
    def stderr(self) -> np.ndarray:
        """The combined standard error of prediction and simulation."""
        return np.hypot(self.prediction.stderr, self.simulation.stderr)

    @property
    def allowed(self) -> np.ndarray:
        """How far apart the two may be: three combined standard errors plus the truncation figure."""
        return 3 * self.stderr + self.prediction.truncation

    @property
    def agrees(self) -> np.ndarray:
        """Whether prediction and simulation are as close as allowed at every learning rate.

        As the truncation figure is about the size of the last order, that alone does not confirm the last order: see
        `resolves` and `highest_order`.
        """
        return np.abs(self.difference) <= self.allowed

    @property
    def resolves(self) -> np.ndarray:
        """Whether the errors are small enough to see the last order at every learning rate.

        That is, whether `last_term` of the prediction is above three combined standard errors: where it is not, the
        simulation could not have noticed that the last order is wrong.
        """
        return self.prediction.last_term > 3 * self.stderr

    @property
    def highest_order(self) -> OrderCheck | None:
        """The coefficient of the highest order against the one fitted to the runs; `None` for a re-summed prediction.

        What is `allowed` contains the whole last order, so that one that is wrong would agree; this tells it from a
        right one, where runs are enough. Learning rates beyond three times `valid_up_to` are left out of the fit, as
        they may lie where no power series holds.
        """
        if not isinstance(self.prediction, Prediction):
            return None
        near = self.simulation.learning_rates <= _FITTED_UP_TO * self.prediction.valid_up_to
        rates, samples = self.simulation.learning_rates[near], self.simulation.samples[near]
        return check_order(self.prediction, replace(self.simulation, learning_rates=rates, samples=samples))

    @property
    def passed(self) -> bool:
        """Whether they agree wherever the series has converged, which it has somewhere; see `verdict`."""
        return self.verdict == "agrees"

    @property
    def verdict(self) -> str:
        """The verdict on all learning rates: "agrees", "DIFFERS", or "not converged" at any of them.

        They differ where a prediction that has converged is not as close as allowed, or runs contradict the highest
        order. Where nothing has converged nothing is confirmed.
        """
        converged, highest = self.prediction.converged, self.highest_order
        if not self.agrees[converged].all() or (highest is not None and highest.verdict is False):
            return "DIFFERS"
        return "agrees" if converged.any() else "not converged"

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain lists and numbers, for JSON."""
        return {
            "prediction": self.prediction.to_dict(),
            "simulation": self.simulation.to_dict(),
            "difference": [float(x) if np.isfinite(x) else None for x in self.difference],
            "allowed": [float(x) if np.isfinite(x) else None for x in self.allowed],
            "agrees": self.agrees.tolist(),
            "resolves": self.resolves.tolist(),
            "passed": self.passed,
            "verdict": self.verdict,
            "highest_order": None if self.highest_order is None else self.highest_order.to_dict(),
        }

    def plot(self, ax: Any = None) -> Any:
        """Draw the prediction at every order and the simulation with error bars.

        Returns:
            The matplotlib axes.
        """
        from ..drawing import plot_comparison

        return plot_comparison(self, ax)

    def __repr__(self) -> str:
        return f"<Comparison of {self.prediction!r} and {self.simulation!r}>"

    def __str__(self) -> str:
        P, R = self.prediction, self.simulation
        columns = P.columns()
        header = ["η", *columns, "± sampling", "± cut", "simulation", "± s.e.", "diff/allowed", "last order", "verdict"]
        rows = []
        for i, rate in enumerate(P.learning_rates):
            verdict = "agrees" if self.agrees[i] else "DIFFERS"
            if not P.converged[i]:
                verdict = "not converged"
            if not np.isfinite(R.mean[i]):
                verdict += ", SGD diverged"
            rows.append(
                [
                    f"{rate:.4g}",
                    *(column[i] for column in columns.values()),
                    f"{P.stderr[i]:.1e}",
                    f"{P.truncation[i]:.1e}",
                    f"{R.mean[i]:.5f}",
                    f"{R.stderr[i]:.1e}",
                    f"{abs(self.difference[i]) / self.allowed[i]:.2f}" if self.allowed[i] else "",
                    "seen" if self.resolves[i] else "not seen",
                    verdict,
                ]
            )
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]
        ]
        return "\n".join(
            [
                f"{P.quantity}, {P.spacetime}; simulation of {R.runs} runs",
                *lines,
                f"allowed = 3 combined standard errors + truncation; converged = {P.meaning_of_converged}",
                f"last order, {P.name_of_last}: not seen where it is below 3 combined standard errors: no test of it",
                *([] if self.highest_order is None else [str(self.highest_order)]),
            ]
        )


def compare(prediction: Prediction | ResummedPrediction, simulation: Simulation) -> Comparison:
    """Set a prediction against a simulation.

    Args:
        prediction: what `predict`, or `predict` of a `NearMinimum`, returned.
        simulation: what `simulate` returned, of the same quantity and spacetime and at the same learning rates.

    Raises:
        ArgumentError: they differ in quantity, spacetime or learning rates.

    Returns:
        A `Comparison`, which prints as a table and plots.
    """
    predictions = (Prediction, ResummedPrediction)
    if not isinstance(prediction, predictions) or not isinstance(simulation, Simulation):
        raise ArgumentError(f"compare takes a Prediction and a Simulation; got {prediction!r} and {simulation!r}.")
    for name in ("quantity", "spacetime"):
        ours, theirs = getattr(prediction, name), getattr(simulation, name)
        if ours != theirs:
            raise ArgumentError(
                f"The prediction has the {name} {ours}, the simulation {theirs}: compare like with like."
            )
    if not np.array_equal(prediction.learning_rates, simulation.learning_rates):
        raise ArgumentError(
            f"The prediction is at learning rates {prediction.learning_rates}, the simulation at "
            f"{simulation.learning_rates}: use the same for both."
        )
    return Comparison(prediction, simulation)
