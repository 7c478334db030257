"""How far runs spread: variances from samples, with standard errors.

Of n samples with the unbiased variance V, leaving out one after the other gives the jackknife's pseudo-values
n V − (n − 1) V_without. They are n/(n − 2) · (distance from the mean)² − V/(n − 2), and their mean is V. The standard
error of their mean is that of the variance, whatever the distribution of the samples. So they take the place of the
samples of a mean.
"""

import numpy as np
from jaxtyping import Float

from .._arguments import check_integer
from ..errors import ArgumentError
from ..landscapes import Landscape
from ..quantities import Measurement, Variance, is_spread

ITERATE = "iterate"  # what is measured where the iterates are looked at themselves
_LEAST = 3  # samples, for a variance with one left out
_MOST_NUMBERS = 2**29  # of iterates that are kept for their covariance


def measured_by(quantity: str) -> str:
    """Return what is measured in every run for a quantity: a loss, or the iterate; a measurement is a test loss."""
    if isinstance(quantity, (Measurement, Variance)) or quantity in ("test_loss_variance", "test_loss_second_moment"):
        return "test_loss"
    return {"train_loss_variance": "train_loss", "covariance_trace": ITERATE}.get(quantity, quantity)


def check_spread(quantity: str, landscape: Landscape, runs: int, looks: int, num_params: int, *, control: bool) -> None:
    """Raise `ArgumentError` unless the spread of runs in a quantity can be found from them."""
    if not is_spread(quantity):
        return
    check_integer("runs", runs, least=_LEAST)
    if control:
        raise ArgumentError("A control takes away from how far runs spread: leave it out for a variance.")
    if landscape.reading == "unbiased":
        raise ArgumentError(
            "Training sets drawn from one sample share its examples, and so spread less than independent ones: "
            f"simulate {str(quantity)!r} in the population or the conditional reading."
        )
    if landscape.per_use_noise and not isinstance(quantity, Variance) and quantity != "covariance_trace":
        raise ArgumentError(
            f"Where every use draws noise anew, losses are measured with a draw of it, whose spread would be part of "
            f"{str(quantity)!r}: take the variance of a measurement, which has no noise, or 'covariance_trace'."
        )
    if quantity == "covariance_trace" and runs * looks * num_params > _MOST_NUMBERS:
        raise ArgumentError(
            f"The covariance needs the iterates of all runs, {runs} × {looks} × {num_params} numbers, and at most "
            f"{_MOST_NUMBERS} are kept: take fewer runs, or the variance of a measurement, such as a coordinate of θ."
        )


def spread_samples(quantity: str, measured: Float[np.ndarray, "runs ..."]) -> Float[np.ndarray, "runs ..."]:
    """Return samples whose mean is the quantity, from what was measured in every run.

    Args:
        quantity: one of `SPREADS`, or a `Variance`.
        measured: losses; or for the covariance iterates, whose last axis is that of the parameters.
    """
    if quantity == "test_loss_second_moment":
        return measured**2
    count = len(measured)
    with np.errstate(invalid="ignore", over="ignore"):
        squares = np.square(measured - measured.mean(axis=0))
        if quantity == "covariance_trace":
            squares = squares.sum(axis=-1)
        variance = squares.sum(axis=0) / (count - 1)
        return np.asarray((count * squares - variance) / (count - 2))
