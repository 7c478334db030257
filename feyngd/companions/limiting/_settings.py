"""The settings of a limit, checked before anything is computed."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._arguments import check_integer
from ...errors import ArgumentError, LandscapeError
from ...estimates import PrecisionWarning
from .._numbers import check_choice
from ._epochs import Fixed, Reshuffled
from ._linear_step import LinearStep
from ._noise import Noise
from ._paper_sde import PaperSDE
from ._white import White

SAMPLINGS = ("with-replacement", "reshuffled", "fixed")
TIMES = ("discrete", "continuous")

Response = White | Reshuffled | Fixed | PaperSDE

_LEAST_BETA, _MOST_DAMPING = 0.5, 0.5  # where continuous time is within about a tenth


@dataclass(frozen=True, eq=False)
class Part:
    """A noise and what is made of it; results are sums over parts.

    Attributes:
        noise: Σ along the curvature.
        response: what a unit of it sustains.
        source: parts of one source share their random samples.
        sign: 1 or −1.
    """

    noise: Noise
    response: Response
    source: int = 0
    sign: int = 1


def response_of(
    step: LinearStep,
    batch_size: Any,
    *,
    num_examples: int | None,
    reading: str | None,
    sampling: str,
    drop_last: Any,
    time: str,
) -> Response:
    """Return what the noise of the batches sustains.

    Raises:
        ArgumentError: batches, sampling and time do not fit one another or the data.
    """
    check_choice("sampling", sampling, SAMPLINGS)
    is_continuous = check_choice("time", time, TIMES) == "continuous"
    batch = check_integer("batch_size", batch_size, least=1)
    if not isinstance(drop_last, bool):
        raise ArgumentError(f"drop_last is True or False; got {drop_last!r}.")
    if num_examples is not None and reading != "population" and batch > num_examples:
        raise ArgumentError(f"batch_size={batch} is more than the {num_examples} examples: give at most that many.")
    if is_continuous:
        if sampling != "with-replacement":
            raise ArgumentError(
                f"In continuous time the noise of all steps is independent; got sampling={sampling!r}. Give "
                "sampling='with-replacement', or time='discrete'."
            )
        if not step.is_heavy_ball:
            raise ArgumentError(
                "The paper's equation is that of heavy ball: for Nesterov's momentum give time='discrete'."
            )
        return PaperSDE(step, 1 / batch)
    if sampling == "with-replacement":
        return White(step, 1 / batch)
    if reading == "population":
        raise ArgumentError(
            f"sampling={sampling!r} goes through one training set; in the population reading every batch is fresh. Use "
            "reading='conditional', where the training set is the data, or sampling='with-replacement'."
        )
    if num_examples is None:
        raise ArgumentError(f"sampling={sampling!r} needs to know N: give Basin.from_matrices(…, num_examples=N).")
    if num_examples % batch and not drop_last:
        raise ArgumentError(
            f"N={num_examples} is not a multiple of batch_size={batch}: give drop_last=True, by which epochs end after "
            f"{num_examples // batch} full batches, or another batch size."
        )
    return (Reshuffled if sampling == "reshuffled" else Fixed)(step, num_examples, batch)


def check_stable(step: LinearStep, lowest: float, largest: float, time: str) -> None:
    """Raise where a curvature is not stable; warn where continuous time is far from the steps.

    Raises:
        LandscapeError: the largest curvature is unstable.

    Warns:
        PrecisionWarning: β is small or ηh is not.
    """
    if largest >= step.bound:
        raise LandscapeError(
            f"learning_rate={step.eta:g} is not stable: ηh is below {step.eta * step.bound:.4g} here, and the largest "
            f"curvature {largest:.4g} gives {step.eta * largest:.4g}. Give a learning rate below "
            f"{step.eta * step.bound / largest:.4g}."
        )
    damping = step.eta * max(largest, 0.0)
    if time == "continuous" and (step.beta < _LEAST_BETA or damping > _MOST_DAMPING):
        ratio = 1 / (1 - damping / (2 * (1 + step.beta)))
        warnings.warn(
            f"Continuous time stands for steps where β is near 1 and ηh small; here β={step.beta:g} and ηh is up to "
            f"{damping:.3g}, where the exact variance is {ratio:.3g} times that of the equation. "
            "time='discrete' is exact.",
            PrecisionWarning,
            stacklevel=4,
        )


def check_steps(steps: Any, name: str = "steps") -> np.ndarray:
    """Return numbers of steps as an array of integers ≥ 0, or raise `ArgumentError`."""
    try:
        array = np.atleast_1d(np.asarray(steps))
    except ValueError as error:  # rows of different lengths
        raise ArgumentError(f"{name} are integers ≥ 0, one or a list of them; got {steps!r}.") from error
    whole = array.ndim == 1 and array.size and array.dtype.kind in "iu"
    if not whole or array.min() < 0:
        raise ArgumentError(f"{name} are integers ≥ 0, one or a list of them; got {steps!r}.")
    return array.astype(int)
