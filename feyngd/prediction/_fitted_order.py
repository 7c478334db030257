"""The coefficient of one power of η, fitted to simulated runs: the test of a prediction's highest order.

A prediction is allowed to differ from a simulation by three errors and its own last order. If that order is wrong,
deleted or doubled, the two still agree. Runs that share training sets and batches over learning rates show the order
itself. The loss of run r is a smooth function L_r(η) without noise, so that a polynomial through it gives the run's own
coefficient c_r. The mean of c_r over runs has an honest standard error, however correlated the runs at different
learning rates are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError
from ..estimates import mean_and_stderr
from ..simulation import Simulation
from ._prediction import Prediction

# Of m learning rates the smallest is at most this times an m-th of the largest. Far from η = 0 a polynomial says little
# about powers there, and its bias does not show.
_FROM_ZERO = 1.1
# The least number of runs for every coefficient of a regression: with 30 of them, intervals that should cover 95 % of
# cases covered 78 %.
_RUNS = 50


@dataclass(frozen=True)
class FittedOrder:
    """The coefficient of a power of η in an expected loss, from simulated runs.

    Attributes:
        order: the power of η.
        value: the coefficient, in the unit of the loss over η^order.
        stderr: its standard error, over runs.
        bias: a figure for what higher powers and rounding do to it: how far it is from the fit without the smallest
            and from that without the largest learning rate, together, with the standard errors of both and the rounding
            of the start; or how far it is from any fit that begins at a learning rate as small, if that is further.
        learning_rates: the learning rates that were fitted.
        controls: the factors by which every run's luck in the lower orders was subtracted, if these orders are known.
    """

    order: int
    value: float
    stderr: float
    bias: float
    learning_rates: tuple[float, ...]
    controls: tuple[float, ...] = ()


@dataclass(frozen=True)
class OrderCheck:
    """A predicted coefficient of a power of η against the fitted one.

    Attributes:
        fitted: from simulated runs; `None` if there are too few learning rates.
        prediction: the predicted coefficient.
        prediction_stderr: its standard error, rounding included.
    """

    fitted: FittedOrder | None
    prediction: float
    prediction_stderr: float = 0.0

    @property
    def stderr(self) -> float:
        """The combined standard error; infinite without a fit."""
        return float(np.hypot(self.fitted.stderr, self.prediction_stderr)) if self.fitted else float("inf")

    @property
    def allowed(self) -> float:
        """How far apart the two may be: three combined standard errors and the bias of the fit."""
        return 3 * self.stderr + self.fitted.bias if self.fitted else float("inf")

    @property
    def resolution(self) -> float:
        """The combined standard error as a fraction of the predicted coefficient; infinite without a fit."""
        return self.stderr / abs(self.prediction) if self.prediction else float("inf")

    @property
    def verdict(self) -> bool | None:
        """Whether the two agree; `None` where runs are too few or too noisy to decide."""
        if self.fitted is None:
            return None
        return decide(self.prediction, self.fitted.value, self.allowed)

    def to_dict(self) -> dict[str, Any]:
        """Return the check as plain lists and numbers, for JSON."""
        found = {"predicted": self.prediction, "predicted stderr": self.prediction_stderr, "verdict": self.verdict}
        if self.fitted is None:
            return {**found, "fitted": None}
        fitted = {"order": self.fitted.order, "value": self.fitted.value, "stderr": self.fitted.stderr}
        return {
            **found,
            "fitted": {**fitted, "bias": self.fitted.bias, "learning_rates": list(self.fitted.learning_rates)},
            "allowed": self.allowed,
        }

    def __str__(self) -> str:
        if self.fitted is None:
            return "highest order: undecided, as a fit of its coefficient needs more learning rates without divergence"
        fit, words = self.fitted, {True: "agrees", False: "DIFFERS", None: "undecided"}
        return (
            f"coefficient of order {fit.order}: predicted {self.prediction:.4g} ± {self.prediction_stderr:.1g}, fitted "
            f"to the runs {fit.value:.4g} ± {fit.stderr:.2g} (sampling) ± {fit.bias:.1g} (cut of the fit); one "
            f"standard error is {self.resolution:.0%} of the predicted: {words[self.verdict]}"
        )


def decide(prediction: float, simulation: float, allowed: float) -> bool | None:
    """Decide whether a predicted number is the simulated one, if the simulation is precise enough.

    A prediction that should have been half or twice as large, zero, or of the other sign must not pass. So the two
    agree only if the simulation is within what is allowed of the prediction, but not of half or twice the prediction.

    Args:
        prediction: the predicted number.
        simulation: the simulated number.
        allowed: how far apart the two may be, such as three standard errors.

    Returns:
        Whether they agree, or `None` if the simulation is too noisy to decide.
    """
    if not np.isfinite([prediction, simulation]).all():
        return False
    if abs(prediction - simulation) > allowed:
        return False
    return True if min(abs(prediction / 2 - simulation), abs(2 * prediction - simulation)) > allowed else None


def fit_order(
    learning_rates: ArrayLike,
    samples: ArrayLike,
    order: int,
    *,
    start: float = 0.0,
    lowest: int = 1,
    known: Sequence[float] = (),
    rounding: float = 0.0,
) -> FittedOrder | None:
    """Fit the coefficient of η^order to runs that share their training sets and batches over learning rates.

    The numbers of every run at m learning rates are interpolated by a polynomial start + Σ_k c_k η^k, k = lowest …
    lowest + m − 1, and c_order is averaged over runs. Of all sets of neighbouring learning rates at which no run
    diverged, the fit takes the set whose standard error and bias together are smallest. Its smallest learning rate is
    about an m-th of its largest or below, as if they were equally spaced from zero on.

    If the expected coefficients of lower orders are known, each run is corrected by a regression over runs for how its
    own lower coefficients deviate from them, if that makes the errors smaller. With fewer than 50 runs for every lower
    order the standard error of a regression would be too small, and none is done.

    Args:
        learning_rates: positive, shape (R,).
        samples: the number at the end of every run, shape (R, runs), the same run in a column.
        order: the power of η, `lowest` at least.
        start: the number at η = 0, which is the same for all runs.
        lowest: the lowest power of η that a run has.
        known: the expected coefficients of orders lowest … order − 1; empty if they are not to be used.
        rounding: by how much rounding may shift all numbers alike against `start`. Random rounding is part of the
            standard error.

    Returns:
        The coefficient with its error, or `None` if fewer than order − lowest + 3 such learning rates are without
        divergence. That is two more than there are coefficients up to `order`, to see the bias and that it falls.

    Raises:
        ArgumentError: shapes do not match, there are fewer than two runs, or `order` is below `lowest`,
            or not all lower coefficients are known.
    """
    rates, numbers = np.asarray(learning_rates, dtype=float), np.asarray(samples, dtype=float) - start
    if numbers.ndim != 2 or rates.shape != numbers.shape[:1] or numbers.shape[1] < 2:
        raise ArgumentError(
            "A fit takes R learning rates and samples of shape (R, runs), of two runs at least; got shapes "
            f"{rates.shape} and {numbers.shape}."
        )
    if not 1 <= lowest <= order:
        raise ArgumentError(f"The lowest power of η is from 1 to the one to be fitted, {order}; got {lowest!r}.")
    if len(known) not in (0, order - lowest):
        raise ArgumentError(f"Orders {lowest} to {order - 1} are lower than {order}; got {len(known)} coefficients.")
    rates, first = np.unique(rates, return_index=True)
    numbers = numbers[first]
    whole = np.isfinite(numbers).all(axis=1)
    usable = len(rates) if whole.all() else int(np.argmin(whole))  # no series holds beyond a rate that diverges
    fits: list[_Candidate] = []
    least = order - lowest + 3
    for begin in range(usable - least + 1):
        for end in range(begin + least, usable + 1):
            if rates[begin] * (end - begin) > _FROM_ZERO * rates[end - 1]:
                continue
            for used in (known, ()) if _RUNS * len(known) <= numbers.shape[1] and len(known) else ((),):
                fit, per_run = _fit(rates[begin:end], numbers[begin:end], order, lowest, used, rounding)
                fits.append(_Candidate(begin, end, fit, per_run))
    return min((one.among(fits) for one in fits), key=lambda one: 3 * one.stderr + one.bias, default=None)


@dataclass(frozen=True)
class _Candidate:
    """A fit to the learning rates `begin` to `end`.

    Attributes:
        begin: the first learning rate.
        end: the one after the last.
        fit: the coefficient.
        per_run: the numbers whose mean it is, shape (runs,).
    """

    begin: int
    end: int
    fit: FittedOrder
    per_run: np.ndarray

    def among(self, others: Sequence["_Candidate"]) -> FittedOrder:
        """Return the fit with at least the bias of how far it is from others, beyond one standard error.

        How a fit changes with one learning rate less may be small by chance, where the change changes its sign.
        """
        bias = self.fit.bias
        for other in others:
            if other.begin <= self.begin:
                mean, stderr = mean_and_stderr(self.per_run - other.per_run)
                bias = max(bias, float(abs(mean) - stderr))
        return replace(self.fit, bias=bias)


def _fit(
    rates: np.ndarray, numbers: np.ndarray, order: int, lowest: int, known: Sequence[float], rounding: float
) -> tuple[FittedOrder, np.ndarray]:
    """Fit through all numbers, and through fewer of them to see what is cut off; also return what every run gives.

    Args:
        rates: η, shape (m,).
        numbers: L_r(η) − start, shape (m, runs).
        order: the power whose coefficient is wanted.
        lowest: the lowest power of η that a run has.
        known: the expected lower coefficients, or none.
        rounding: by how much rounding may shift all numbers alike.
    """
    c = _weights(rates, order, lowest) @ numbers  # c_k of every run, k = lowest … order, shape (orders, runs)
    luck, last = c[:-1] - c[:-1].mean(axis=1, keepdims=True), c[-1]
    # Controls β: regression of c_order on the lower coefficients, over runs.
    beta = np.linalg.lstsq(luck.T, last - last.mean(), rcond=None)[0] if len(known) else np.zeros(order - lowest)
    mix = np.append(-beta, 1.0)  # turns (c_lowest, …, c_order) of a run into c_order − Σ_k β_k c_k
    weights = mix @ _weights(rates, order, lowest)  # the same from the numbers of a run, shape (m,)
    coefficients = weights @ numbers

    def change(kept: slice) -> float:
        """Return by how much a fit to fewer learning rates differs, with its standard error."""
        mean, stderr = mean_and_stderr(coefficients - mix @ _weights(rates[kept], order, lowest) @ numbers[kept])
        return float(abs(mean) + stderr)

    bias = change(slice(None, -1)) + change(slice(1, None)) + rounding * abs(weights.sum())
    if len(known):
        coefficients = coefficients + beta @ np.asarray(known, dtype=float)  # the controls' mean back
    # Every control that was fitted takes a degree of freedom, which the plain standard error would miss.
    runs = numbers.shape[1]
    stderr = (np.sum((coefficients - coefficients.mean()) ** 2) / max(runs - 1 - len(known), 1) / runs) ** 0.5
    controls = tuple(beta.tolist()) if len(known) else ()
    value, bias = float(coefficients.mean()), float(bias)
    return FittedOrder(order, value, float(stderr), bias, tuple(rates.tolist()), controls), coefficients


def _weights(rates: np.ndarray, order: int, lowest: int) -> np.ndarray:
    """Return the weights W_kj of the number at η_j in the coefficient c_k of the polynomial through all numbers.

    They are the coefficients of Lagrange's polynomials (η/η_j)^lowest ∏_{i≠j} (η − η_i)/(η_j − η_i), in which nothing
    cancels as all η_i are positive. An inverse of the matrix η_j^k loses most digits at uneven learning rates. The rows
    are k = lowest … order, shape (order − lowest + 1, m).
    """
    columns = []
    for j, rate in enumerate(rates):
        others = np.delete(rates, j)
        lagrange = np.polynomial.polynomial.polyfromroots(others) / np.prod(rate - others)
        columns.append(lagrange[: order - lowest + 1] / rate**lowest)
    return np.stack(columns, axis=1)


def check_highest_order(prediction: Prediction, simulation: Simulation) -> OrderCheck:
    """Set the coefficient of the highest order of a prediction against that of the simulated runs.

    Args:
        prediction: the prediction.
        simulation: of the same quantity and spacetime, at the same or other learning rates.
    """
    return check_coefficient(
        prediction,
        simulation.learning_rates,
        simulation.samples,
        start=prediction.start,
        rounding=float(np.finfo(np.float32).eps) * abs(prediction.start),
    )


def check_coefficient(
    prediction: Prediction,
    learning_rates: ArrayLike,
    samples: ArrayLike,
    *,
    start: float = 0.0,
    lowest: int = 1,
    rounding: float = 0.0,
) -> OrderCheck:
    """Set the coefficient of the highest order of a prediction against one fitted to runs; arguments of `fit_order`.

    The predicted lower orders serve as controls of the runs' luck. Their errors, and the measured rounding of the
    coefficients, count as errors of the predicted coefficient.
    """
    order, rows, measured = prediction.order, prediction.coefficients, prediction.rounding
    if measured is None or not len(measured):
        measured = np.zeros((1, order + 1))
    if order < lowest:
        return OrderCheck(None, float(rows.mean(axis=0)[order]))
    fitted = fit_order(
        learning_rates,
        samples,
        order,
        start=start,
        lowest=lowest,
        known=rows.mean(axis=0)[lowest:order].tolist(),
        rounding=max(rounding, float(np.sqrt(np.mean(measured[:, 0] ** 2)))),
    )
    # Errors of the predicted lower orders shift the fitted coefficient through its controls: the same combination of
    # orders as in the fit has their joint error.
    controls = fitted.controls if fitted and fitted.controls else [0.0] * (order - lowest)
    mix = np.append(-np.array(controls), 1.0)
    _, sampling = mean_and_stderr(rows[:, lowest:] @ mix)
    error = float(np.hypot(sampling, np.sqrt(np.mean((measured[:, lowest:] @ mix) ** 2))))
    return OrderCheck(fitted, float(rows.mean(axis=0)[order]), error)
