"""A diffusion that stands for SGD: dθ = −∇U dt + √(T D(θ)) dW, and whether it has a potential."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..._arguments import check_integer
from ...derivatives import CHUNK, flat_loss, sum_over
from ...errors import ArgumentError, LandscapeError
from ...landscapes import Landscape, enter
from .._numbers import check_number, check_temperature

Function = Callable[[Any], Any]

_TOGETHER = 512  # points that are evaluated together: always as many, so that one program serves all
_SINGULAR = 1e-12  # smallest eigenvalue of D over the largest, at or below which D counts as singular


@dataclass(frozen=True, eq=False)
class Diffusion:
    """Noisy descent in p dimensions, in Itô's sense, with a noise that may depend on the place.

    Attributes:
        loss: U(θ), the train loss: a JAX function of an array of shape (p,), a scalar.
        covariance: D(θ), that of one example's gradient, shape (p, p), in (loss/θ)². The variance of θ grows by T D.
        dimension: p.
        test_loss: V(θ), a scalar; U if it is left out.
        num_examples: how many examples the covariance is from, for messages; `None` if from none.

    Raises:
        ArgumentError: a function is not callable, or the dimension is not an integer ≥ 1.

    References:
        Bradley et al., "Shift-Curvature, SGD, and Generalization", equations 5 and 24, assumption 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> from feyngd.companions.shift_curvature import Diffusion
        >>> noisy = Diffusion(lambda x: 0.5 * x @ x, lambda x: jnp.diag(1 + x**2), dimension=2)
        >>> print(noisy.divergence([0.5, -0.25]), f"{noisy.curl([0.5, -0.25], 0.1):.2f}")
        [ 1.  -0.5] 0.00
    """

    loss: Function
    covariance: Function
    dimension: int = field(kw_only=True)
    test_loss: Function | None = field(default=None, kw_only=True)
    num_examples: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_integer("dimension", self.dimension, least=1)
        for name in ("loss", "covariance", "test_loss"):
            given = getattr(self, name)
            if not callable(given) and not (given is None and name == "test_loss"):
                raise ArgumentError(f"{name} is a JAX function of θ; got {type(given).__name__}.")

    @classmethod
    def of(cls, landscape: Landscape, params: Any, *, penalty: float = 0.0, isotropic: float = 0.0) -> "Diffusion":
        """Return the diffusion of SGD on a landscape, with θ as one vector.

        Args:
            landscape: the loss and its data. V is the mean loss over the test data if the reading is conditional.
            params: parameters that show the structure, a pytree of p numbers in all.
            penalty: α: U is the mean loss plus α|θ|²/2. V is without it.
            isotropic: β: D is the covariance of the examples' gradients, divided by M, plus β²I.

        Raises:
            ArgumentError: not a landscape, or a negative penalty or noise.
            LandscapeError: the parameters are invalid or the loss cannot be traced.
        """
        alpha, beta = check_number("penalty", penalty, least=0), check_number("isotropic", isotropic, least=0)
        landscape, params = enter(landscape, params)
        start, loss = flat_loss(landscape.loss, params)
        count = landscape.num_examples

        def mean_over(data: Any, theta: jax.Array) -> jax.Array:
            point = jnp.asarray(theta, start.dtype)
            losses = jax.lax.map(lambda example: loss(point, example), data, batch_size=CHUNK)
            return jnp.mean(losses)

        def train(theta: jax.Array) -> jax.Array:
            return mean_over(landscape.data, theta) + alpha * jnp.dot(theta, theta) / 2

        def test(theta: jax.Array) -> jax.Array:
            return mean_over(landscape.data if landscape.test_data is None else landscape.test_data, theta)

        def covariance(theta: jax.Array) -> jax.Array:
            point = jnp.asarray(theta, start.dtype)
            gradients = jax.vmap(jax.grad(loss), in_axes=(None, 0))

            def sums(chunk: Any) -> tuple[jax.Array, jax.Array]:
                rows = gradients(point, chunk)
                return jnp.sum(rows, axis=0), rows.T @ rows

            total, squares = sum_over(sums, landscape.data, min(CHUNK, count))
            mean = total / count
            return squares / count - jnp.outer(mean, mean) + beta**2 * jnp.eye(len(start))

        return cls(train, covariance, dimension=len(start), test_loss=test, num_examples=count)

    # --- at one point -------------------------------------------------------------------------------------------------

    def divergence(self, theta: ArrayLike) -> np.ndarray:
        """Return (∇·D)_i = Σ_j ∂_j D_ij at a point, shape (p,)."""
        return self.at("divergence", self._point(theta)[None])[0]

    def field(self, theta: ArrayLike, temperature: float) -> np.ndarray:
        """Return 𝒱 = D⁻¹(∇U + (T/2)∇·D) at a point, shape (p,): the gradient of the potential v, if there is one.

        Raises:
            ArgumentError: the temperature is not a positive number, or θ not of shape (p,).
            LandscapeError: D is singular there.
        """
        point, temperature = self._point(theta)[None], check_temperature(temperature)
        self.check_positive_definite(point)
        return self.at("field", point, temperature)[0]

    def curl(self, theta: ArrayLike, temperature: float) -> float:
        """Return how far 𝒱 is from a gradient at a point: 0 for a gradient, invariant under linear maps of the process.

        With A_ij = ∂_j 𝒱_i and D = LLᵀ it is |Lᵀ(A − Aᵀ)L| / |Lᵀ(A + Aᵀ)L| in the norm of Frobenius. At a minimum it
        vanishes where D commutes with the Hessian.

        Raises:
            ArgumentError: the temperature is not a positive number, or θ not of shape (p,).
            LandscapeError: D is singular there.
        """
        return float(self.curls(self._point(theta)[None], check_temperature(temperature))[0])

    # --- at many points -----------------------------------------------------------------------------------------------

    def curls(self, points: np.ndarray, temperature: float) -> np.ndarray:
        """Return the curl at several points, shape (n,)."""
        self.check_positive_definite(points)
        if self.dimension == 1:
            return np.zeros(len(points))
        slopes = self.at("jacobian", points, temperature)
        factors = np.linalg.cholesky(self.at("covariance", points))
        odd, even = (
            np.linalg.norm(np.swapaxes(factors, 1, 2) @ part @ factors, axis=(1, 2))
            for part in (slopes - np.swapaxes(slopes, 1, 2), slopes + np.swapaxes(slopes, 1, 2))
        )
        return np.divide(odd, even, out=np.where(odd > 0, np.inf, 0.0), where=even > 0)

    def at(self, name: str, points: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """Return one of the functions in `_functions` at points of shape (n, p), in double precision."""
        found = []
        with jax.enable_x64(True):
            for first in range(0, len(points), _TOGETHER):
                rows = points[first : first + _TOGETHER]
                filled = np.concatenate([rows, np.broadcast_to(rows[-1], (_TOGETHER - len(rows), self.dimension))])
                found.append(np.asarray(self._functions[name](filled, temperature), dtype=float)[: len(rows)])
        return np.concatenate(found)

    @cached_property
    def _functions(self) -> dict[str, Callable[..., jax.Array]]:
        """Compile what is needed of the diffusion, as functions of points and of the temperature."""
        gradient = jax.grad(self.loss)
        test = self.loss if self.test_loss is None else self.test_loss

        def divergence(theta: jax.Array) -> jax.Array:
            return jnp.einsum("ijj->i", jax.jacfwd(self.covariance)(theta))

        def force(theta: jax.Array, temperature: jax.Array) -> jax.Array:
            drift = gradient(theta) + temperature / 2 * divergence(theta)
            return _solved(self.covariance(theta), drift)

        slopes = jax.jacfwd(force)
        third = jax.jacfwd(slopes)
        plain: dict[str, Function] = {
            "loss": self.loss,
            "test_loss": test,
            "gradient": gradient,
            "hessian": jax.hessian(self.loss),
            "test_gradient": jax.grad(test),
            "test_hessian": jax.hessian(test),
            "covariance": self.covariance,
            "divergence": divergence,
        }
        moving: dict[str, Callable[..., Any]] = {
            "field": force,
            "jacobian": slopes,
            "second": third,
            "third": jax.jacfwd(third),
        }
        vectorized: dict[str, Callable[..., Any]] = {
            name: jax.vmap(lambda x, _, f=f: f(x), in_axes=(0, None)) for name, f in plain.items()
        }
        for name, f in moving.items():
            vectorized[name] = jax.vmap(f, in_axes=(0, None))
        return {name: jax.jit(function) for name, function in vectorized.items()}

    def check_positive_definite(self, points: np.ndarray) -> None:
        """Raise `LandscapeError` where D is singular or not finite."""
        noise = self.at("covariance", points)
        if noise.shape != (len(points), self.dimension, self.dimension):
            raise LandscapeError(
                f"The covariance is of shape {noise.shape[1:]}; with dimension={self.dimension} it is "
                f"({self.dimension}, {self.dimension})."
            )
        finite = np.isfinite(noise).all(axis=(1, 2))
        sizes = np.linalg.eigvalsh(np.where(finite[:, None, None], noise, 0))
        bad = np.flatnonzero(~finite | (sizes[:, 0] <= _SINGULAR * np.abs(sizes).max(axis=1)))
        if bad.size:
            sources = "" if self.num_examples is None else f" from M = {self.num_examples} examples"
            smallest = sizes[bad[0], 0] if finite[bad[0]] else np.nan
            raise LandscapeError(
                f"The covariance D of the gradients{sources} is not positive definite in p = {self.dimension} "
                f"dimensions: at θ = {as_text(points[bad[0]])} its smallest eigenvalue is {smallest:.3g}. There is no "
                "density without noise in every direction: add some, isotropic=β in Diffusion.of, or take a box in "
                "which D is positive definite."
            )

    def _point(self, theta: ArrayLike) -> np.ndarray:
        point = np.asarray(theta, dtype=float)
        if point.shape != (self.dimension,):
            raise ArgumentError(f"θ is of shape ({self.dimension},); got {point.shape}.")
        return point


def _solved(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """Return A⁻¹v; for the small A of densities by Cramer's rule, which compiles fast with its derivatives."""
    if len(vector) == 1:
        return vector / matrix[0]
    if len(vector) == 2:
        (a, b), (c, d) = matrix
        return jnp.stack([d * vector[0] - b * vector[1], a * vector[1] - c * vector[0]]) / (a * d - b * c)
    if len(vector) == 3:
        crosses = jnp.stack([jnp.cross(matrix[:, 1], matrix[:, 2]), jnp.cross(matrix[:, 2], matrix[:, 0])])
        last = jnp.cross(matrix[:, 0], matrix[:, 1])
        return jnp.concatenate([crosses @ vector, (last @ vector)[None]]) / (matrix[:, 2] @ last)
    return jnp.linalg.solve(matrix, vector)


def as_text(point: np.ndarray) -> str:
    """Return a point as text for messages."""
    return "(" + ", ".join(f"{x:.4g}" for x in point) + ")"
