"""The likeliest path of a diffusion over a barrier, which is not the path of least climb where noise has directions."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from ..._arguments import check_integer
from ..._learning_rates import check_learning_rate
from ...errors import LandscapeError
from ...landscapes import Landscape
from ._critical_point import check_minimum, check_saddle
from ._escape_path import Leg
from ._escape_time import check_leg
from ._noise import Noise, check_noise
from ._string import Curve, arc_lengths
from ._surface import Surface

_MOST = 500


@dataclass(frozen=True, eq=False)
class ActionPath:
    """The path of least action from a minimum to a saddle.

    Attributes:
        images: a pytree with a leading axis.
        action: its exponent, ½∫(|dx||G| + G·dx), all measured by D⁻¹.
        string_action: the same on the path of least climb. `escape_time` has ∫ G·e/D_e dx there, which is less: it
            leaves the noise across free.
        converged: whether the search for the least ended by itself.
    """

    images: Any
    action: float
    string_action: float
    converged: bool

    def __str__(self) -> str:
        doubt = "" if self.converged else ", not converged"
        return f"least action {self.action:.6g}, on the path of least climb {self.string_action:.6g}{doubt}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        rows = [np.asarray(leaf, dtype=float).tolist() for leaf in jax.tree.leaves(self.images)]
        return {
            "action": self.action,
            "string_action": self.string_action,
            "converged": self.converged,
            "images": rows,
        }


def least_action(
    landscape: Landscape, leg: Leg, noise: Noise, learning_rate: float, *, images: int = 41, max_steps: int = 500
) -> ActionPath:
    """Find the likeliest way up from a minimum to a saddle, for noise that depends on direction and place.

    Of all paths it has the least ½∫(|dx||G| + G·dx) with lengths and products in D⁻¹ (Freidlin and Wentzell's action
    without time), which is the exponent of the escape time as noise vanishes. Where D is isotropic it is the path of
    least climb; where not, ∫ G·e/D_e dx along that path is an approximation.

    Args:
        landscape: the loss and its data, of up to 500 parameters.
        leg: one of a path's `legs`.
        noise: made by `sgd`, `sgld` or their sum, with a positive definite D.
        learning_rate: η.
        images: on the way up, at least 5.
        max_steps: of the search.

    Raises:
        ArgumentError: an argument is not allowed.
        LandscapeError: too many parameters, D is singular on the way, or model="hessian".

    References:
        Heymann and Vanden-Eijnden, "The geometric minimum action method", Comm. Pure Appl. Math. 61, 1052 (2008).
    """
    check_leg(leg)
    check_noise(noise)
    rate = check_learning_rate(learning_rate)
    check_integer("images", images, least=5)
    check_integer("max_steps", max_steps, least=1)
    check_minimum(leg.minimum)
    check_saddle(leg.saddle)
    surface = Surface(landscape, leg.minimum.params)
    if surface.size > _MOST:
        raise LandscapeError(f"The least action is for up to {_MOST} parameters; these are {surface.size}.")
    if noise.model == "hessian":
        raise LandscapeError("model='hessian' is singular where curvatures vanish: use model='measured'.")
    share = float(noise.share(np.array([rate]), surface.count)[0])
    curve = Curve(leg.track[: leg.track_saddle + 1])
    start = curve.points(np.linspace(0, curve.length, images))
    _check_definite(surface, noise, share, start)
    action = _compiled(surface, noise, share)
    data = surface.traced()[2]
    ends = start[0], start[-1]
    weight = 1.0 / float(arc_lengths(start)[-1])

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        with jax.enable_x64(True):
            value, slope = action(flat.reshape(images - 2, -1), *ends, data, weight)
            return float(value), np.ravel(np.asarray(slope))

    found = optimize.minimize(
        objective, start[1:-1].ravel(), jac=True, method="L-BFGS-B", options={"maxiter": max_steps, "ftol": 1e-13}
    )
    rows = np.concatenate([ends[:1], found.x.reshape(images - 2, -1), ends[1:]])
    with jax.enable_x64(True):
        least = float(action(rows[1:-1], *ends, data, 0.0)[0])
        before = float(action(start[1:-1], *ends, data, 0.0)[0])
    return ActionPath(surface.shaped(rows), least, before, bool(found.success))


def _check_definite(surface: Surface, noise: Noise, share: float, points: np.ndarray) -> None:
    if noise.isotropic:
        return
    for point in points[:: max(1, len(points) // 8)]:
        values = np.linalg.eigvalsh(share * surface.covariance(point))
        if values[0] <= 1e-10 * values[-1]:
            raise LandscapeError(
                "The noise of SGD is singular on the way: it pushes in fewer directions than there are parameters. Add "
                "injected noise, esc.sgld(D)."
            )


def _compiled(surface: Surface, noise: Noise, share: float) -> Any:
    """Compile the action of interior images and its gradient; a weight keeps images at equal distances."""
    loss = surface.traced()[0]
    needs_noise = noise.batch_size is not None

    def at(point: jax.Array, data: Any) -> tuple[jax.Array, jax.Array]:
        slopes = jax.vmap(jax.grad(loss), in_axes=(None, 0))(point, data)
        mean = jnp.mean(slopes, axis=0)
        diffusion = noise.isotropic * jnp.eye(len(point), dtype=point.dtype)
        if needs_noise:
            rows = slopes - mean
            diffusion += share * rows.T @ rows / len(rows)
        return mean, diffusion

    def action(interior: jax.Array, first: jax.Array, last: jax.Array, data: Any, weight: jax.Array) -> jax.Array:
        rows = jnp.concatenate([first[None], interior, last[None]])
        moves, middles = jnp.diff(rows, axis=0), (rows[1:] + rows[:-1]) / 2

        def piece(given: tuple[jax.Array, jax.Array]) -> jax.Array:
            move, middle = given
            slope, diffusion = at(middle, data)
            both = jnp.linalg.solve(diffusion, jnp.stack([move, slope], axis=1))
            lengths = jnp.dot(move, both[:, 0]) * jnp.dot(slope, both[:, 1])
            return 0.5 * (jnp.sqrt(lengths + 1e-300) + jnp.dot(move, both[:, 1]))

        pieces = jax.lax.map(piece, (moves, middles))
        distances = jnp.sqrt(jnp.sum(moves**2, axis=1) + 1e-300)
        uneven = jnp.sum((distances - jnp.mean(distances)) ** 2) * len(moves) * weight**2
        return jnp.sum(pieces) * (1 + uneven)

    return jax.jit(jax.value_and_grad(action))
