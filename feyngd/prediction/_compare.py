"""Predictions of any kind against simulations."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..estimates import PredictedCurve, finite_or_none, in_table
from ..optimizers import PLAIN
from ..simulation import SimulatedCurve, SimulatedCurves, Simulation
from ..spacetimes import Spacetime
from ._fitted_order import OrderCheck, check_highest_order
from ._learning_curve import LearningCurve
from ._prediction import Prediction

_FITTED_UP_TO = 3  # times the edge of validity
_CHECKED = 8  # numbers of steps at which a learning curve's highest order is checked, at most


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
        """Whether prediction and simulation are as close as allowed, or as single precision can tell, at every point.

        As the truncation figure is about the size of the last order, that alone does not confirm the last order: see
        `resolves` and `highest_order`.
        """
        return np.abs(self.difference) <= self.allowed + np.finfo(np.float32).eps * abs(self.prediction.start)

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

    @cached_property
    def highest_order(self) -> OrderCheck | None:
        """The coefficient of the highest order against the one fitted to the runs; `None` unless `predict` made it.

        What is `allowed` contains the whole last order, so that a wrong one would agree; this check would detect it,
        if there are enough runs. Learning rates beyond three times `valid_up_to` are left out of the fit, as
        no power series may hold there. Learning curves have such a check after several numbers of steps, see
        `highest_orders`.
        """
        if not isinstance(self.prediction, Prediction) or not isinstance(self.simulation, Simulation):
            return None
        return _checked_order(self.prediction, self.simulation)

    @cached_property
    def highest_orders(self) -> dict[int, OrderCheck]:
        """The checks of `highest_order` for a learning curve that `predict` made, by the number of steps.

        They need runs at several learning rates, that of the curve among them, and are done after at most eight numbers
        of steps, spread over those that were simulated, the last one included. Without more learning rates there are
        none: a coefficient of η cannot be seen at one η.
        """
        P, R = self._predicted, self.simulation
        if not isinstance(P, LearningCurve) or not isinstance(R, SimulatedCurve):
            return {}
        places = [i for i, time in enumerate(R.points) if time and len(R.simulations[i].learning_rates) > 1]
        which = sorted({round(i) for i in np.linspace(0, len(places) - 1, _CHECKED)}) if places else []
        chosen = [places[i] for i in which]
        return {int(R.points[i]): _checked_order(P.predictions[i], R.simulations[i]) for i in chosen}

    @property
    def _checks(self) -> list[OrderCheck]:
        return [*self.highest_orders.values(), *([] if self.highest_order is None else [self.highest_order])]

    @property
    def passed(self) -> bool:
        """Whether they agree wherever the series has converged, which it has somewhere; see `verdict`."""
        return self.verdict == "agrees"

    @property
    def verdict(self) -> str:
        """The verdict on all points: "agrees", "DIFFERS", or "not converged" at any of them.

        They differ where a prediction that has converged is not as close as allowed, or runs contradict the highest
        order, of a learning curve after any number of steps. Where nothing has converged nothing is confirmed.
        """
        converged = self.converged
        if not self.agrees[converged].all() or any(check.verdict is False for check in self._checks):
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
            "highest_orders": {str(time): check.to_dict() for time, check in self.highest_orders.items()},
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
                    in_table(R.mean[i], float(np.abs(P.mean).max())),
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
                f"{P.quantity}, {P.setting}; simulation of {R.runs} runs",
                *lines,
                f"allowed = 3 combined standard errors + truncation; converged = {P.meaning_of_converged}",
                f"last order, {P.name_of_last}: not seen where it is below 3 combined standard errors: no test of it",
                *([] if self.highest_order is None else [str(self.highest_order)]),
                *(f"t = {time}: {check}" for time, check in self.highest_orders.items()),
            ]
        )


def compare(prediction: PredictedCurve, simulation: Simulation | SimulatedCurves | Sequence[Simulation]) -> Comparison:
    """Set a prediction against a simulation.

    Args:
        prediction: what `predict`, `predict` of a `NearMinimum`, or `predict` of an `Anchored` returned.
        simulation: what `simulate` returned, of the same quantity, spacetime and optimizer and at the same learning
            rates. For a learning curve, with `times=`, or several simulations of spacetimes that begin the predicted
            one, such as fewer epochs of the same N and B. They are at the learning rate of the curve, and may be at
            others too, from which the highest order is checked, see `Comparison.highest_orders`.

    Raises:
        ArgumentError: they differ in quantity, spacetime, optimizer or learning rates.

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
    _check_optimizer(prediction, simulation)
    if not np.array_equal(prediction.points, simulation.learning_rates):
        raise ArgumentError(
            f"The prediction is at learning rates {prediction.points}, the simulation at "
            f"{simulation.learning_rates}: use the same for both."
        )
    return Comparison(prediction, simulation)


def _curve(prediction: PredictedCurve, simulations: Sequence[Simulation]) -> SimulatedCurve:
    """Return simulations as a learning curve to be set against a predicted one."""
    rates = {float(rate) for simulation in simulations for rate in simulation.learning_rates}
    rate = prediction.learning_rate if isinstance(prediction, LearningCurve) else min(rates)
    if not isinstance(prediction, LearningCurve) and len(rates) != 1:
        raise ArgumentError(
            f"A learning curve has one learning rate, the anchored one; these simulations have {sorted(rates)}."
        )
    for simulation in simulations:
        if rate not in simulation.learning_rates:
            raise ArgumentError(
                f"The prediction has the learning rate {rate}, the simulation {simulation.learning_rates}: compare "
                "like with like."
            )
        _check_alike("quantity", prediction.quantity, simulation.quantity)
        if not _begins(simulation.spacetime, prediction.spacetime):
            _check_alike("spacetime", prediction.spacetime, simulation.spacetime)
    longest = max(simulations, key=lambda simulation: int(simulation.spacetime.T))
    for simulation in simulations:
        # Simulations of one call share their optimizer, so that only one of them need be looked at closely.
        if simulation is longest or simulation.optimizer != longest.optimizer.over_steps(int(simulation.spacetime.T)):
            _check_optimizer(prediction, simulation)
    ordered = sorted(simulations, key=lambda simulation: int(simulation.spacetime.T))
    return SimulatedCurve(prediction.quantity, prediction.spacetime, ordered, rate)


def _check_optimizer(prediction: PredictedCurve, simulation: Simulation) -> None:
    """Raise `ArgumentError` unless both are of one optimizer; predictions that do not name one are of plain SGD."""
    steps = int(simulation.spacetime.T)
    ours, theirs = getattr(prediction, "optimizer", PLAIN).over_steps(steps), simulation.optimizer
    if not ours.acts_like(theirs, steps):
        numbers = ", with other numbers" if str(ours) == str(theirs) else ""
        raise ArgumentError(
            f"The prediction has the optimizer {ours}, the simulation {theirs}{numbers}: compare like with like, with "
            "the same optimizer= in both calls."
        )


def _checked_order(prediction: Prediction, simulation: Simulation) -> OrderCheck:
    """Check the highest order with the learning rates at which a power series may hold."""
    near = simulation.learning_rates <= _FITTED_UP_TO * prediction.valid_up_to
    rates, samples = simulation.learning_rates[near], simulation.samples[near]
    return check_highest_order(prediction, Simulation(simulation.quantity, simulation.spacetime, rates, samples))


def _begins(part: Spacetime, whole: Spacetime) -> bool:
    """Whether runs on a spacetime do what runs on another one do in their first steps."""
    same = (part.N, part.B, part.sampling, part.drop_last) == (whole.N, whole.B, whole.sampling, whole.drop_last)
    explicit = part.explicit is None or part.explicit == (whole.explicit or ())[: len(part.explicit)]
    return bool(same and explicit and part.T <= whole.T)


def _check_alike(name: str, ours: Any, theirs: Any) -> None:
    if ours != theirs:
        raise ArgumentError(f"The prediction has the {name} {ours}, the simulation {theirs}: compare like with like.")
