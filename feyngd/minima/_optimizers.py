"""What optimizers near a minimum have to be: with numbers for parameters, and stable at the curvatures there."""

import numpy as np

from ..errors import ArgumentError, LandscapeError
from ..optimizers import PLAIN, Optimizer, check_optimizer, stable_damping

_ROUNDING = 1e-9  # of a product of matrices


def optimizer_in_numbers(optimizer: Optimizer, steps: int) -> Optimizer:
    """Return an optimizer over a number of steps, with floats for parameters.

    Raises:
        ArgumentError: it is none, has symbols or a metric, or does not fit the number of steps.
    """
    if check_optimizer(optimizer).is_plain and optimizer.metric is None:
        return PLAIN
    if optimizer.metric is not None:
        raise ArgumentError(
            "Near a minimum a metric M changes the Hessian, which was measured without it: give the landscape in the "
            "coordinates φ = M^(−½) θ, where M is 1, and the optimizer without a metric."
        )
    numbers = optimizer.in_floats().over_steps(steps)
    numbers.to_end(steps)  # that the average fits
    return numbers


def check_stable(optimizer: Optimizer, rates: np.ndarray, curvature: float, steps: int) -> None:
    """Raise `LandscapeError` where steps carry the parameters away along the greatest curvature.

    Args:
        optimizer: with numbers for parameters.
        rates: learning rates.
        curvature: the greatest curvature h.
        steps: the number of steps, for schedules.
    """
    if curvature <= 0:
        return
    if optimizer.multipliers is not None or optimizer.measured is not None:
        _check_in_all(optimizer, rates, curvature, steps)
        return
    bound = stable_damping(optimizer)
    if (far := rates[rates * curvature >= bound]).size:
        name = "Descent" if optimizer.beta == 0 else f"Descent with {optimizer}"
        raise LandscapeError(
            f"{name} is stable below {bound:.4g}/h = {bound / curvature:.3g} for the greatest curvature, "
            f"h = {curvature:.3g}: at learning rate(s) {', '.join(f'{rate:.3g}' for rate in far)} SGD leaves the "
            "minimum, and a prediction overflows. Give smaller ones."
        )


def _check_in_all(optimizer: Optimizer, rates: np.ndarray, curvature: float, steps: int) -> None:
    """Check steps that differ by what the whole run makes of iterate and memory, as a matrix for every rate."""
    recurrence = optimizer.recurrence(steps)
    parts = np.array([recurrence.direct, recurrence.gain, recurrence.decay, recurrence.readout], dtype=float)
    whole, step = np.broadcast_to(np.eye(2), (len(rates), 2, 2)), np.zeros((len(rates), 2, 2))
    with np.errstate(over="ignore", invalid="ignore"):
        for direct, gain, decay, readout in parts.T:
            step[:, 0, 0], step[:, 0, 1] = 1 - rates * curvature * direct, readout
            step[:, 1, 0], step[:, 1, 1] = -rates * curvature * gain, decay
            whole = step @ whole
    is_finite = np.all(np.isfinite(whole), axis=(1, 2))
    radii = np.abs(np.linalg.eigvals(np.nan_to_num(whole, posinf=0.0, neginf=0.0))).max(axis=1)
    if (far := rates[~is_finite | (radii > 1 + _ROUNDING)]).size:
        raise LandscapeError(
            f"In all, the {steps} steps of {optimizer} enlarge an offset along the greatest curvature, "
            f"h = {curvature:.3g}, at learning rate(s) {', '.join(f'{rate:.3g}' for rate in far)}: SGD leaves the "
            "minimum. Give smaller ones."
        )
