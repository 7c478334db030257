"""Planning with escape times: for how long a basin holds, and which batch size or rate leaves or keeps it."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from ..._arguments import check_integer
from ..._learning_rates import check_learning_rate
from ...errors import LandscapeError
from ...estimates import TruncationWarning
from ...landscapes import Landscape
from .._numbers import check_number
from ._escape_path import Leg
from ._escape_time import escape_time
from ._noise import Noise, check_noise, sgd

_STABLE = 0.999  # of 2/h, up to which rates are looked at


def horizon(
    landscape: Landscape,
    leg: Leg,
    noise: Noise,
    learning_rates: ArrayLike,
    *,
    fraction: float = 0.01,
    **options: Any,
) -> np.ndarray:
    """Return the number of steps until a fraction of runs has left a minimum, shape (R,).

    Until then predictions near a minimum hold, such as those of `feyngd.near_minimum`. They cannot know of escapes: a
    rate like e^{−A/η} is 0 at every order of the series. Infinite where it exceeds the range of numbers.

    Args:
        landscape: the loss and its data.
        leg: out of that minimum.
        noise: made by `sgd`, `sgld` or their sum.
        learning_rates: η, one or more.
        fraction: of runs that may have left, between 0 and 1.
        options: of `escape_time`.

    Raises:
        ArgumentError: an argument is not allowed.
        LandscapeError: as `escape_time` does.
    """
    share = check_number("The fraction", fraction, above=0, below=1)
    times = escape_time(landscape, leg, noise, learning_rates, **options)
    with np.errstate(over="ignore"):
        return np.exp(times.log_steps + math.log(-math.log1p(-share)))


def learning_rate_for(landscape: Landscape, leg: Leg, noise: Noise, steps: float, **options: Any) -> float:
    """Return the learning rate at which the mean escape takes a number of steps: above it runs leave, below they stay.

    Args:
        landscape: the loss and its data.
        leg: out of a minimum.
        noise: made by `sgd`, `sgld` or their sum.
        steps: T.
        options: of `escape_time`.

    Raises:
        ArgumentError: an argument is not allowed.
        LandscapeError: no stable rate takes that long; the message shows the two ends.
    """
    target = math.log(check_number("steps", steps, above=1))
    check_noise(noise)
    highest = _STABLE * 2 / max(leg.minimum.highest, leg.saddle.highest)

    def off(log_rate: float) -> float:
        found = escape_time(landscape, leg, noise, math.exp(log_rate), **options)
        return float(found.log_steps[0]) - target

    ends = math.log(highest * 1e-9), math.log(highest)
    with _quiet():
        rate = math.exp(_root(off, ends, f"learning rates from {highest * 1e-9:.3g} to {highest:.3g}", target))
    escape_time(landscape, leg, noise, rate, **options)  # warns of what makes the answer doubtful
    return rate


def batch_size_for(
    landscape: Landscape,
    leg: Leg,
    learning_rate: float,
    steps: float,
    *,
    isotropic: float = 0.0,
    largest: int = 10**9,
    **options: Any,
) -> int:
    """Return the smallest batch size with which the mean escape takes at least a number of steps: smaller ones leave.

    Args:
        landscape: the loss and its data.
        leg: out of a minimum.
        learning_rate: η.
        steps: T.
        isotropic: D₀, injected as well.
        largest: the largest batch size that is looked at.
        options: of `escape_time`, and `model` and `rho` of `sgd`.

    Raises:
        ArgumentError: an argument is not allowed.
        LandscapeError: even the largest batches leave sooner.
    """
    rate = check_learning_rate(learning_rate)
    target = math.log(check_number("steps", steps, above=1))
    injected = check_number("isotropic", isotropic, least=0)
    check_integer("largest", largest, least=1)
    model = {name: options.pop(name) for name in ("model", "rho") if name in options}

    def waits(batch: int) -> bool:
        noise = sgd(batch, **model)
        noise = Noise(batch, noise.model, noise.rho, noise.sampling, injected)
        return float(escape_time(landscape, leg, noise, rate, **options).log_steps[0]) >= target

    with _quiet():
        found = _smallest(waits, largest)
    if found is None:
        raise LandscapeError(
            f"Even batches of {largest:,} leave within {steps:g} steps on average: give a smaller learning rate or "
            "less injected noise."
        )
    waits(found)  # warns of what makes the answer doubtful
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what is only tried from warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        yield


def _smallest(waits: Callable[[int], bool], largest: int) -> int | None:
    """Return the smallest integer that waits, by halving; `None` if not even the largest does."""
    if not waits(largest):
        return None
    low, high = 0, 1
    while not waits(high):
        low, high = high, min(2 * high, largest)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if waits(middle) else (middle, high)
    return high


def _root(off: Callable[[float], float], ends: tuple[float, float], what: str, target: float) -> float:
    values = [off(end) for end in ends]
    if not values[0] > 0 > values[1]:
        logs = [(value + target) / math.log(10) for value in values]
        raise LandscapeError(
            f"No stable rate leaves on average after 10^{target / math.log(10):.3g} steps: {what} take "
            f"10^{logs[0]:.4g} to 10^{logs[1]:.4g}. Give another number of steps, or other noise."
        )
    return float(optimize.brentq(off, *ends, xtol=1e-10))


def plan(images: int, steps: int, examples: int) -> int:
    """Return how many gradients of one example a string of images takes, at most.

    Args:
        images: of the string.
        steps: of its relaxation.
        examples: M.

    Raises:
        ArgumentError: one is not a positive integer.
    """
    check_integer("images", images, least=1)
    return images * check_integer("steps", steps, least=1) * check_integer("examples", examples, least=1)
