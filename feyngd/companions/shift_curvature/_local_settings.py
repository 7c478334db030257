"""The settings of a local steady state, checked before anything is computed."""

import warnings
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._arguments import check_integer
from ..._keys import check_key
from ..._learning_rates import check_learning_rate
from ...derivatives import num_params
from ...errors import ArgumentError, LandscapeError
from ...estimates import PrecisionWarning
from ...landscapes import Landscape, enter, kinks_at
from ...minima import MeanLoss
from ...spectra import DENSE
from .._numbers import check_number, check_temperature
from ._at_a_point import Noise

METHODS = ("auto", "dense", "krylov")
TIMES = ("continuous", "discrete")

_SMALL_GRADIENT = 1e-3  # at a minimum, over the root mean square of the examples' gradients
_TOLERANCE = 1e-6  # where `minimum` stops: where data are interpolated no example has a gradient to compare with
_FLAT = 1e-10  # of the largest curvature, below which one counts as 0 in exact arithmetic
_LEAST_STEPS = 4


@dataclass(frozen=True)
class Rates:
    """T, and in discrete time η: 0 stands for continuous time. The step is η if it was given."""

    temperature: float
    learning_rate: float
    step: float | None = None

    @property
    def time(self) -> str:
        """Whether steps are of finite size."""
        return "discrete" if self.learning_rate else "continuous"

    def lasting(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return T/(h + h' [− ηhh']) for pairs of curvatures: covariance over noise."""
        return self.temperature / (first + second - self.learning_rate * first * second)


def check_rates(temperature: Any, learning_rate: Any, batch_size: Any, time: str) -> Rates:
    """Return temperature and learning rate, of which one or the other is given, or raise `ArgumentError`."""
    if time not in TIMES:
        raise ArgumentError(f"Unknown time {time!r}; known are {', '.join(map(repr, TIMES))}.")
    pair = (learning_rate is not None, batch_size is not None)
    if (temperature is None) != all(pair) or any(pair) != all(pair):
        given = {"temperature": temperature, "learning_rate": learning_rate, "batch_size": batch_size}
        named = ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None) or "neither"
        raise ArgumentError(f"Give temperature= (T = η/B), or learning_rate= and batch_size=; got {named}.")
    if temperature is not None:
        if time == "discrete":
            raise ArgumentError("Discrete time needs the size of a step: give learning_rate= and batch_size=.")
        return Rates(check_temperature(temperature), 0.0)
    rate, batch = check_learning_rate(learning_rate), check_integer("batch_size", batch_size, least=1)
    return Rates(rate / batch, rate if time == "discrete" else 0.0, rate)


def check_sampling(method: str, num_samples: int, max_steps: int) -> None:
    """Raise `ArgumentError` for an unknown method, or for too few samples or steps."""
    if method not in METHODS:
        raise ArgumentError(f"Unknown method {method!r}; the methods are {', '.join(map(repr, METHODS))}.")
    check_integer("num_samples", num_samples, least=2)
    check_integer("max_steps", max_steps, least=_LEAST_STEPS)


class AtMinimum:
    """A point of a landscape that was found to be a minimum of the train loss, and what is needed of it there.

    Args:
        landscape: as given.
        params: as given.
        penalty: α of the train loss.
        isotropic: β of the noise.
        method: "auto", "dense" or "krylov".
        num_samples: of random combinations of gradients.
        max_steps: of Lanczos' recurrence.
        key: needed without matrices.

    Raises:
        ArgumentError: an argument is invalid.
        LandscapeError: loss or gradient are not finite, or the point is no minimum.
    """

    def __init__(
        self,
        landscape: Landscape,
        params: Any,
        *,
        penalty: float = 0.0,
        isotropic: float = 0.0,
        method: str = "auto",
        num_samples: int = 16,
        max_steps: int = 64,
        key: Any = None,
    ) -> None:
        check_sampling(method, num_samples, max_steps)
        alpha, beta = check_number("penalty", penalty, least=0), check_number("isotropic", isotropic, least=0)
        self.num_samples, self.max_steps = num_samples, max_steps
        self.landscape, self.params = enter(landscape, params)
        self.size = num_params(self.params)
        self.is_dense = method == "dense" or (method == "auto" and self.size <= DENSE)
        if not self.is_dense:
            check_key(key, f"With {self.size} parameters and method={method!r} the result is sampled")
        self.key = key if key is not None else jax.random.key(0)  # of which dense results use nothing
        self.landscape.validate(self.params)
        self.kinks = kinks_at(self.landscape, self.params, stacklevel=4)
        self.train = MeanLoss(self.landscape, self.params, "train", alpha)
        self.test = MeanLoss(self.landscape, self.params, "test")
        self.noise = Noise(self.landscape, self.params, beta)
        self.theta = self.train.start
        _check_gradient(self)

    @property
    def flat(self) -> float:
        """The size below which a curvature counts as 0, over the largest."""
        return max(_FLAT, 10 * self.size**0.5 * self.train.eps)


def warn_of_precision(params: Any, stacklevel: int = 3) -> None:
    """Warn where third derivatives are taken in single precision."""
    dtype = jnp.result_type(*jax.tree.leaves(params))
    if jnp.finfo(dtype).eps > 1e-10:
        warnings.warn(
            f"Third derivatives of the loss are taken in {dtype}: turn on jax.config.update('jax_enable_x64', True) "
            "and give 64-bit parameters, or expect a few digits.",
            PrecisionWarning,
            stacklevel=stacklevel,
        )


def _check_gradient(point: AtMinimum) -> None:
    gradient = point.train(point.theta)[1]
    count = point.landscape.num_examples
    single = (point.noise.trace() + float(gradient @ gradient)) ** 0.5
    if (size := float(np.linalg.norm(gradient))) > max(_SMALL_GRADIENT * single, _TOLERANCE):
        raise LandscapeError(
            f"Not at a minimum of the train loss: the gradient has the norm {size:.3g}, and the {count} examples' "
            f"gradients have {single:.3g}, of which {_SMALL_GRADIENT:g} is allowed, or {_TOLERANCE:g}: call "
            "minimum(landscape, params, …) first."
        )
