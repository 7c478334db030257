"""Finding a minimum of a mean loss: Newton's method with conjugate gradients, or plain descent.

Every step of Newton–CG solves H d = −g by conjugate gradients on Hessian-vector products. Where they meet a direction
of negative curvature they stop; a line search makes sure that the loss falls.
"""

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from .._arguments import check_integer
from .._keys import check_key
from .._learning_rates import check_learning_rate
from ..errors import ArgumentError, LandscapeError
from ..estimates import Estimate, PrecisionWarning
from ..landscapes import Landscape, enter
from ..spectra import DENSE, Krylov
from ._mean_loss import MeanLoss

METHODS = ("newton-cg", "descent")
SIDES = ("train", "test")

_FALL = 1e-4  # of the slope times the step, by which the loss has to fall (Armijo)
_HALVINGS = 30
_FLAT = 1e-10  # of the largest curvature, below which one counts as 0 in exact arithmetic
_MOST_PRODUCTS = 200  # for one step
_STARTS, _LANCZOS = 4, 40  # random starts and steps that look for the lowest curvature without matrices


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where a search for a minimum ended.

    Attributes:
        params: a pytree with the structure of the start.
        loss: the mean loss there with the penalty.
        gradient_norm: |∇|, in loss over the unit of the parameters.
        lowest_curvature: the smallest eigenvalue of the Hessian, exact up to 1,500 parameters. Beyond, it is an upper
            bound by Lanczos' method, the mean over random starts with its standard error.
        flat_directions: how many curvatures are 0 up to rounding; `None` beyond 1,500 parameters.
        is_strict: whether the lowest curvature is above 0, beyond rounding.
        steps: how many were taken.
    """

    params: Any
    loss: float
    gradient_norm: float
    lowest_curvature: Estimate
    flat_directions: int | None
    is_strict: bool
    steps: int

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, for JSON, the parameters as a flat list."""
        lowest = {"value": self.lowest_curvature.value, "stderr": self.lowest_curvature.stderr}
        names = ("loss", "gradient_norm", "flat_directions", "is_strict", "steps")
        flat = [float(x) for leaf in jax.tree.leaves(self.params) for x in np.ravel(leaf)]
        return {name: getattr(self, name) for name in names} | {"lowest_curvature": lowest, "params": flat}


def minimum(
    landscape: Landscape,
    params: Any,
    *,
    of: str = "train",
    penalty: float = 0.0,
    tolerance: float = 1e-6,
    max_steps: int = 500,
    method: str = "newton-cg",
    learning_rate: float | None = None,
    key: Any,
) -> Minimum:
    """Find the minimum of the train or test loss of a landscape that descent from a start leads to.

    Args:
        landscape: the loss and its data.
        params: the start, a pytree of p numbers in all.
        of: "train": the mean over the data; "test": over the test data of the conditional reading.
        penalty: α: α|θ|²/2 is added to the loss.
        tolerance: the gradient's norm at which to stop, in loss over the unit of the parameters.
        max_steps: the most steps.
        method: "newton-cg", or "descent" of a constant rate on the full loss, as in the paper.
        learning_rate: of descent.
        key: a JAX random key, for the start of Lanczos' method at the end.

    Returns:
        Where the search ended, in the precision of the parameters.

    Raises:
        ArgumentError: an argument is invalid.
        LandscapeError: loss or gradient are not finite at the start, or descent runs away.

    Warns:
        PrecisionWarning: the gradient is still above the tolerance at the end.

    References:
        Nocedal and Wright, "Numerical Optimization", algorithm 7.1. Bradley et al., table 1, for descent.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> import feyngd as fd
        >>> from feyngd.minima import minimum
        >>> landscape = fd.Landscape(lambda theta, x: jnp.cosh(theta - x), jnp.array([0.0, 1.0]))
        >>> print(f"{minimum(landscape, jnp.array(3.0), key=jax.random.key(0)).params:.4f}")
        0.5000
    """
    if of not in SIDES:
        raise ArgumentError(f"Unknown loss of={of!r}; known are {', '.join(map(repr, SIDES))}.")
    if method not in METHODS:
        raise ArgumentError(f"Unknown method {method!r}; the methods are {', '.join(map(repr, METHODS))}.")
    if (learning_rate is None) != (method == "newton-cg"):
        raise ArgumentError("method='descent' takes a learning_rate, and 'newton-cg' none: it finds its own steps.")
    rate = 0.0 if learning_rate is None else check_learning_rate(learning_rate)
    for name, value in (("penalty", penalty), ("tolerance", tolerance)):
        if isinstance(value, bool) or not np.isfinite(value) or value < 0:
            raise ArgumentError(f"{name} is a finite number ≥ 0; got {value!r}.")
    check_integer("max_steps", max_steps, least=1)
    check_key(key, "The lowest curvature is looked for from random starts")
    landscape, params = enter(landscape, params)
    landscape.validate(params)
    if of == "test" and landscape.test_data is None:
        raise ArgumentError(
            f"of='test' needs separate test data, reading='conditional'; this landscape has the {landscape.reading} "
            "reading."
        )
    surface = MeanLoss(landscape, params, of, float(penalty))
    theta, steps = surface.start, 0
    loss, gradient = surface(theta)
    while np.linalg.norm(gradient) > tolerance and steps < max_steps:
        move = -rate * gradient if rate else _newton_direction(surface, theta, gradient)
        share, after = 1.0, surface(theta + move)
        if not rate:
            for _ in range(_HALVINGS):
                if after[0] <= loss + _FALL * share * float(gradient @ move):
                    break
                share /= 2
                after = surface(theta + share * move)
            # Near the minimum rounding hides the loss's fall, not the gradient's.
            if not after[0] < loss and not np.linalg.norm(after[1]) < np.linalg.norm(gradient):
                share, after = 1.0, surface(theta + move)
                if not np.linalg.norm(after[1]) < np.linalg.norm(gradient):
                    break
        if not np.isfinite(after[0]):
            raise LandscapeError(
                f"The loss is {after[0]} after {steps + 1} steps: descent runs away. Give a smaller learning rate, a "
                "penalty, or another start."
            )
        theta, (loss, gradient), steps = theta + share * move, after, steps + 1
    size = float(np.linalg.norm(gradient))
    if size > tolerance:
        warnings.warn(
            f"The gradient's norm is {size:.2g} after {steps} steps, above tolerance={tolerance:g}: raise "
            f"max_steps={max_steps} or the tolerance; in single precision rounding may be in the way.",
            PrecisionWarning,
            stacklevel=2,
        )
    lowest, flat = _lowest_curvature(surface, theta, key)
    is_strict = lowest.value > 2 * (lowest.stderr or 0.0) and not flat
    return Minimum(surface.shaped(theta), loss, size, lowest, flat, is_strict, steps)


def _newton_direction(surface: MeanLoss, theta: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Return −H⁻¹g by conjugate gradients, cut short where the curvature is not positive."""
    size = float(np.linalg.norm(gradient))
    enough = min(0.5, size**0.5) * size
    found, rest = np.zeros_like(gradient), -gradient
    along, square = rest, float(rest @ rest)
    for step in range(min(len(gradient) + 5, _MOST_PRODUCTS)):
        image = surface.products(theta, along[None])[0]
        curvature = float(along @ image)
        if curvature <= 0:
            return found if step else -gradient
        share = square / curvature
        found, rest = found + share * along, rest - share * image
        before, square = square, float(rest @ rest)
        if square**0.5 < enough:
            break
        along = rest + square / before * along
    return found


def _lowest_curvature(surface: MeanLoss, theta: np.ndarray, key: Any) -> tuple[Estimate, int | None]:
    """Return the lowest eigenvalue of the Hessian, and how many are 0 up to rounding."""
    size = len(theta)
    if size <= DENSE:
        values = np.linalg.eigvalsh(surface.hessian(theta))
        small = max(_FLAT, 10 * size**0.5 * surface.eps) * np.abs(values).max()
        return Estimate(float(values[0]), None, 0, "exact"), int(np.sum(np.abs(values) <= small))
    starts = np.asarray(jax.random.normal(key, (_STARTS, size)), dtype=float)
    spaces = Krylov(partial(surface.products, theta), starts, _LANCZOS)
    while spaces.steps < spaces.most_steps and not spaces.is_complete:
        spaces.grow()
    return Estimate.from_replicates(spaces.quadrature()[0].min(axis=1), "lanczos"), None
