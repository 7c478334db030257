"""When a simulated run counts as escaped."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._arguments import check_integer
from ...errors import ArgumentError, LandscapeError
from ._critical_point import CriticalPoint, Modes
from ._surface import Surface

_QUENCH = 3000  # steps of descent, at most, before a run's valley is decided
_ARRIVED = 1e-3  # of rms‖∇l_n‖, at which descent ends
_CLOSE = 1e-3  # of 1 + ‖minimum‖, within which two ends are one


@dataclass(frozen=True, eq=False)
class Box:
    """Escaped once a parameter is further than `radius` from `center`.

    Args:
        center: a pytree of parameters.
        radius: one positive number, or a pytree of them.
    """

    center: Any
    radius: Any


@dataclass(frozen=True, eq=False)
class Halfspace:
    """Escaped once (θ − point)·normal > 0: beyond a plane, such as that through a saddle across its direction.

    Args:
        point: a pytree of parameters.
        normal: a pytree, which points outward.
    """

    point: Any
    normal: Any


@dataclass(frozen=True, eq=False)
class Other:
    """Escaped once descent of the mean loss no longer ends in `minimum`; looked at after every `quench_every` steps.

    Args:
        minimum: a `CriticalPoint`, or a pytree of parameters at a minimum.
        quench_every: steps between looks.
    """

    minimum: Any
    quench_every: int = 100


Outside = Callable[[Any, Any], Any]  # from a flat point and the data to whether it is outside


def outside(surface: Surface, until: Any) -> tuple[Outside, int]:
    """Return a JAX function that says whether a point has escaped, and after how many steps it is to be asked.

    Raises:
        ArgumentError: it is none of the kinds, or does not fit the parameters.
    """
    if isinstance(until, Box):
        center, radius = surface.flat(until.center), _radius(surface, until.radius)
        return lambda theta, data: jnp.any(jnp.abs(theta - center) > radius), 1
    if isinstance(until, Halfspace):
        point, normal = surface.flat(until.point), surface.flat(until.normal)
        if not np.any(normal):
            raise ArgumentError("The normal of a half-space is not 0.")
        return lambda theta, data: jnp.dot(theta - point, normal) > 0, 1
    if isinstance(until, Other):
        return _other(surface, until), check_integer("quench_every", until.quench_every, least=1)
    if not callable(until):
        raise ArgumentError(
            "until is esc.Box(center, radius), esc.Halfspace(point, normal), esc.Other(minimum, quench_every) or a JAX "
            f"function of the parameters that returns a truth value; got {type(until).__name__}."
        )
    _, unravel, _ = surface.traced()
    with jax.enable_x64(True):
        shape = jax.eval_shape(lambda theta: until(unravel(theta)), jnp.zeros(surface.size))
    if getattr(shape, "shape", None) != () or shape.dtype != bool:
        raise ArgumentError(f"until(params) returns one truth value; this one returns {shape}.")
    return lambda theta, data: until(unravel(theta)), 1


def _radius(surface: Surface, radius: Any) -> np.ndarray:
    single = not jax.tree.leaves(radius) or (len(jax.tree.leaves(radius)) == 1 and np.ndim(radius) == 0)
    sizes = np.full(surface.size, float(radius)) if single else surface.flat(radius)
    if not np.all(np.isfinite(sizes)) or np.any(sizes <= 0):
        raise ArgumentError(f"The radius of a box is positive; got {radius!r}.")
    return sizes


def _other(surface: Surface, until: Other) -> Outside:
    """Return whether descent ends elsewhere. Near the minimum a point with gradient G is within ‖G‖/h of it."""
    given = until.minimum.params if isinstance(until.minimum, CriticalPoint) else until.minimum
    minimum = surface.flat(given)
    modes = Modes.at(surface, minimum, np.ones((1, surface.size)))
    if modes.values[0] <= 0:
        raise LandscapeError(
            f"Other(minimum) is a minimum with positive curvatures; the lowest is {modes.values[0]:.3g}. Give the "
            "minimum of a leg, and in flat networks add a penalty to the loss."
        )
    enough = _ARRIVED * surface.gradient_scale(minimum)
    close = _CLOSE * (1 + float(np.linalg.norm(minimum)))
    rate, lowest = 1 / modes.size, float(modes.values[0])
    loss, _, _ = surface.traced()

    def gradient(theta: jax.Array, data: Any) -> jax.Array:
        return jax.grad(lambda at: jnp.mean(jax.vmap(lambda example: loss(at, example))(data)))(theta)

    def escaped(theta: jax.Array, data: Any) -> jax.Array:
        def goes_on(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            return (state[2] < _QUENCH) & (jnp.linalg.norm(state[1]) > enough)

        def step(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
            at = state[0] - rate * state[1]
            return at, gradient(at, data), state[2] + 1

        start = theta, gradient(theta, data), jnp.zeros((), int)
        end, slope, _ = jax.lax.while_loop(goes_on, step, start)
        return jnp.linalg.norm(end - minimum) > 2 * jnp.linalg.norm(slope) / lowest + close

    return escaped
