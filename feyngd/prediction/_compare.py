"""Predictions of any kind against simulations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..estimates import PredictedCurve, finite_or_none
from ..simulation import SimulatedCurve, SimulatedCurves, Simulation
from ..spacetimes import Spacetime
from ._fitted_order import OrderCheck, check_highest_order
from ._learning_curve import LearningCurve
from ._prediction import Prediction

_FITTED_UP_TO = 3  # times the edge of validity


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """A prediction next to a simulation of the same quantity and spacetime.

    Both are at the same learning rates; or, if the prediction is a learning curve, at steps that were simulated.

    Attributes:
        prediction: the prediction.
        simulation: the simulation.
    """

    prediction: PredictedCurve
    simulation: Simulation | SimulatedCurve

    @property
    def difference(self) -> np.ndarray:
        """Prediction minus simulation at every point that was simulated."""
        return self._predicted.mean - self.simulation.mean

    @property
    def stderr(self) -> np.ndarray:
        """The combined standard error of prediction and simulation."""
        return np.hypot(self._predicted.stderr, self.simulation.stderr)

    @property
    def allowed(self) -> np.ndarray:
        """How far apart the two may be: three combined standard errors plus the truncation figure."""
        return 3 * self.stderr + self._predicted.truncation

    @property
    def agrees(self) -> np.ndarray:
        """Whether prediction and simulation are as close as allowed at every point.

        As the truncation figure is about the size of the last order, that alone does not confirm the last order: see
        `resolves` and `highest_order`.
        """
        return np.abs(self.difference) <= self.allowed

    @property
    def converged(self) -> np.ndarray:
        """Whether the prediction has converged at every point that was simulated."""
        return self._predicted.converged

    @property
    def resolves(self) -> np.ndarray:
        """Whether the errors are small enough to see the last order at every point.

        That is, whether `last_term` of the prediction is above three combined standard errors: where it is not, the
        simulation could not have noticed that the last order is wrong.
        """
        return self._predicted.last_term > 3 * self.stderr

    @property
    def highest_order(self) -> OrderCheck | None:
        """The coefficient of the highest order against the one fitted to the runs; `None` unless `predict` made it.

        What is `allowed` contains the whole last order, so that a wrong one would agree; this check would detect it,
        if there are enough runs. Learning rates beyond three times `valid_up_to` are left out of the fit, as
        no power series may hold there.
        """
        if not isinstance(self.prediction, Prediction) or not isinstance(self.simulation, Simulation):
            return None
        R = self.simulation
        near = R.learning_rates <= _FITTED_UP_TO * self.prediction.valid_up_to
        fitted = Simulation(R.quantity, R.spacetime, R.learning_rates[near], R.samples[near])
        return check_highest_order(self.prediction, fitted)

    @property
    def passed(self) -> bool:
        """Whether they agree wherever the series has converged, which it has somewhere; see `verdict`."""
        return self.verdict == "agrees"

    @property
    def verdict(self) -> str:
        """The verdict on all points: "agrees", "DIFFERS", or "not converged" at any of them.

        They differ where a prediction that has converged is not as close as allowed, or runs contradict the highest
        order. Where nothing has converged nothing is confirmed.
        """
        converged, highest = self.converged, self.highest_order
        if not self.agrees[converged].all() or (highest is not None and highest.verdict is False):
            return "DIFFERS"
        return "agrees" if converged.any() else "not converged"

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain lists and numbers, for JSON."""
        return {
            "prediction": self.prediction.to_dict(),
            "simulation": self.simulation.to_dict(),
            "difference": finite_or_none(self.difference),
            "allowed": finite_or_none(self.allowed),
            "agrees": self.agrees.tolist(),
            "resolves": self.resolves.tolist(),
            "passed": self.passed,
            "verdict": self.verdict,
            "highest_order": None if self.highest_order is None else self.highest_order.to_dict(),
        }

    def plot(self, ax: Any = None) -> Any:
        """Draw the prediction, at every order if it has several, and the simulation with error bars.

        Returns:
            The matplotlib axes.
        """
        from ..drawing import plot_comparison

        return plot_comparison(self, ax)

    @property
    def _predicted(self) -> PredictedCurve:
        """The prediction at the points that were simulated."""
        return self.prediction.select(self.simulation.points)

    def __repr__(self) -> str:
        return f"<Comparison of {self.prediction!r} and {self.simulation!r}>"

    def __str__(self) -> str:
        P, R = self._predicted, self.simulation
        columns = P.columns()
        errors = ["± sampling", "± cut", "simulation", "± s.e.", "diff/allowed", "last order", "verdict"]
        header = [P.axis, *columns, *errors]
        rows = []
        for i, point in enumerate(P.points):
            verdict = "agrees" if self.agrees[i] else "DIFFERS"
            if not P.converged[i]:
                verdict = "not converged"
            if not np.isfinite(R.mean[i]):
                verdict += ", SGD diverged"
            rows.append(
                [
                    f"{point:.4g}" if P.axis == "η" else f"{point}",
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


def compare(prediction: PredictedCurve, simulation: Simulation | SimulatedCurves | Sequence[Simulation]) -> Comparison:
    """Set a prediction against a simulation.

    Args:
        prediction: what `predict`, `predict` of a `NearMinimum`, or `predict` of an `Anchored` returned.
        simulation: what `simulate` returned, of the same quantity and spacetime and at the same learning rates. For a
            learning curve, at its one learning rate: with `times=`, or several simulations of spacetimes that begin the
            predicted one, such as fewer epochs of the same N and B.

    Raises:
        ArgumentError: they differ in quantity, spacetime or learning rates.

    Returns:
        A `Comparison`, which prints as a table and plots.
    """
    if isinstance(simulation, SimulatedCurves):
        simulation = [simulation.after(int(time)) for time in simulation.times]
    several = [simulation] if isinstance(simulation, Simulation) else simulation
    if (
        not isinstance(prediction, PredictedCurve)
        or not isinstance(several, Sequence)
        or not several
        or not all(isinstance(one, Simulation) for one in several)
    ):
        raise ArgumentError(f"compare takes a Prediction and a Simulation; got {prediction!r} and {simulation!r}.")
    if prediction.axis == "t":
        return Comparison(prediction, _curve(prediction, several))
    if not isinstance(simulation, Simulation):
        raise ArgumentError(f"Only a learning curve is compared with several simulations; got {prediction!r}.")
    _check_alike("quantity", prediction.quantity, simulation.quantity)
    _check_alike("spacetime", prediction.spacetime, simulation.spacetime)
    if not np.array_equal(prediction.points, simulation.learning_rates):
        raise ArgumentError(
            f"The prediction is at learning rates {prediction.points}, the simulation at "
            f"{simulation.learning_rates}: use the same for both."
        )
    return Comparison(prediction, simulation)


def _curve(prediction: PredictedCurve, simulations: Sequence[Simulation]) -> SimulatedCurve:
    """Return simulations as a learning curve to be set against a predicted one."""
    rates = {float(rate) for simulation in simulations for rate in simulation.learning_rates}
    if len(rates) != 1:
        raise ArgumentError(
            f"A learning curve has one learning rate, the anchored one; these simulations have {sorted(rates)}."
        )
    if isinstance(prediction, LearningCurve):
        _check_alike("learning rate", prediction.learning_rate, *rates)
    for simulation in simulations:
        _check_alike("quantity", prediction.quantity, simulation.quantity)
        if not _begins(simulation.spacetime, prediction.spacetime):
            _check_alike("spacetime", prediction.spacetime, simulation.spacetime)
    ordered = sorted(simulations, key=lambda simulation: int(simulation.spacetime.T))
    return SimulatedCurve(prediction.quantity, prediction.spacetime, ordered)


def _begins(part: Spacetime, whole: Spacetime) -> bool:
    """Whether runs on a spacetime do what runs on another one do in their first steps."""
    same = (part.N, part.B, part.sampling, part.drop_last) == (whole.N, whole.B, whole.sampling, whole.drop_last)
    explicit = part.explicit is None or part.explicit == (whole.explicit or ())[: len(part.explicit)]
    return bool(same and explicit and part.T <= whole.T)


def _check_alike(name: str, ours: Any, theirs: Any) -> None:
    if ours != theirs:
        raise ArgumentError(f"The prediction has the {name} {ours}, the simulation {theirs}: compare like with like.")
