"""What re-summed predictions need to know of a point: its noise and its gradient along the curvature, and samples."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from .._archive import keep_attributes
from .._mesh import ALONE, Devices
from ..derivatives import compiled_gradient_sizes, num_params
from ..errors import LandscapeError
from ..estimates import PrecisionWarning
from ..landscapes import Landscape, Origin, enter
from ..progress import Progress
from ._lanczos import SETTLED, Krylov, Response, most_together, signs
from ._matrices import compiled_cubics, compiled_moments
from ._spectrum import DenseHessian, MatrixFreeHessian, Spectrum, combinations_of_gradients

_TIMES = (1e1, 1e2, 1e3, 1e4)  # ηT·h_max: Krylov spaces grow until they serve descent for all of these times
# Single examples that stand for the skewness of the noise. Each costs a Krylov space, and what they estimate is part of
# a truncation figure, of which the first digit matters.
_RARE = 16
_WORTH_A_WARNING = 0.05  # of the standard error: quadrature that is off by less is not reported


# Curvatures and their weights, both of shape (replicates, nodes), of which each group has its own numbers.
Nodes = tuple[Float[np.ndarray, "_ _"], Float[np.ndarray, "_ _"]]


@keep_attributes
@dataclass(frozen=True)
class Traces:
    """Replicates of a trace of φ(H), for every function φ.

    Attributes:
        groups: curvatures h and their weights in groups of replicates: the sum of weights · φ(h) is a replicate.
        coarser: the same from three quarters of the Krylov dimensions, which shows the error of the quadrature.
    """

    groups: Sequence[Nodes]
    coarser: Sequence[Nodes] = ()

    def replicates(self, phi: Response) -> Float[np.ndarray, " replicates"]:
        """Return the replicates of the trace."""
        return np.concatenate([np.sum(weights * phi(nodes), axis=1) for nodes, weights in self.groups])

    def unsettled(self, phi: Response) -> float:
        """Return the relative change of the mean by the last quarter of the Krylov dimensions."""
        fine = np.mean(self.replicates(phi))
        if not self.coarser or not fine:
            return 0.0
        return abs(float(np.mean(Traces(self.coarser).replicates(phi)) / fine) - 1)

    def blur(self, phi: Response, rounding: float) -> float:
        """Return by how much an error of the curvatures changes the mean."""
        changes = [
            np.sum(weights * np.abs(phi(nodes - rounding) - phi(nodes + rounding)), axis=1) / 2
            for nodes, weights in self.groups
        ]
        return float(np.mean(np.concatenate(changes)))


class Point:
    """The spectra of the gradients' noise and of their mean along the Hessian's eigenvectors, and samples of both.

    With the gradients g_n of M examples, their mean G and covariance C, and the Hessian H of the mean loss:

    Attributes:
        noise: replicates of tr[C φ(H)]; with matrices a single one, which is exact.
        gradient: G·φ(H)G.
        cloud: the first vectors v = Σ_n ε_n (g_n − G)/√M with random signs ε, for which E[v vᵀ] = C.
        rare: the vectors g_x − G of a few examples x, drawn with probabilities in proportion to |g_x − G|².

    Args:
        landscape: the loss and the population, as they were given.
        frozen: the same with the loss as it is now, which the point belongs to.
        params: the point, a pytree of p numbers in all.
        dense: whether to write matrices out.
        num_samples: how many random combinations of gradients stand for the noise.
        max_steps: the most Hessian-vector products for each of them.
        chunk_size: how many examples are differentiated together.
        devices: those that share the examples; not kept in files and pickles, after which there is one.
        progress: shows progress.
        key: a JAX random key.

    Raises:
        LandscapeError: a Hessian-vector product is not finite.
    """

    _devices = ALONE

    def __init__(
        self,
        landscape: Landscape,
        frozen: Landscape,
        params: PyTree,
        *,
        dense: bool,
        num_samples: int,
        max_steps: int,
        chunk_size: int,
        devices: Devices = ALONE,
        progress: Progress,
        key: PRNGKeyArray,
    ) -> None:
        self.landscape, self.params, self.is_dense = landscape, params, dense
        self.origin, self._frozen = Origin.of(frozen, params), frozen
        self._chunk_size, self._devices = min(chunk_size, frozen.num_examples), devices
        for_signs, for_rare = jax.random.split(key)
        self._max_steps = max_steps
        self._dense_hessian = DenseHessian(frozen, params, self._chunk_size, devices) if dense else None
        count = frozen.num_examples
        together = min(num_samples, most_together(num_params(params), max_steps) if not dense else num_samples)
        groups, coarser = [], []
        with progress.task(num_samples + 1 + _RARE, "spectra") as task:
            for first in range(0, num_samples, together):
                members = np.arange(first, min(first + together, num_samples))
                # V-statistics: the population is the data, and its covariance is divided by M.
                weights = signs(for_signs, members, count) * ((count - 1) / count) ** 0.5
                spectrum = self._spectrum(self._combinations(weights))
                if not first:
                    self.cloud: Spectrum = spectrum
                groups.append(spectrum.quadrature())
                if isinstance(spectrum, Krylov) and not spectrum.is_complete:
                    coarser.append(spectrum.quadrature(spectrum.steps - spectrum.steps // 4))
                task.advance(len(members))
            mean = self._combinations(np.full((1, count), 1 / count))
            self.gradient = Traces([self._spectrum(mean).quadrature()])
            task.advance()
            self._drawn, self._shares, rare = self._rare_examples(for_rare)
            self.rare = self._spectrum(rare)
            task.advance(_RARE)
        self.noise = Traces(groups, coarser)
        if self._dense_hessian is not None:
            exact = self._dense_hessian.noise_weights * (count - 1) / count
            self.noise = Traces([(self._dense_hessian.eigenvalues[None], exact[None])])

    def _spectrum(self, vectors: Float[np.ndarray, "vectors params"]) -> Spectrum:
        hessian = self._dense_hessian or MatrixFreeHessian(
            self.frozen, self.params, self._chunk_size, self._max_steps, self._devices
        )
        return hessian.spectrum(vectors, [_probe(time) for time in _TIMES])

    def _combinations(
        self, weights: Float[np.ndarray | Array, "combinations examples"]
    ) -> Float[np.ndarray, "combinations params"]:
        return combinations_of_gradients(self.frozen, self.params, weights, self._chunk_size, self._devices)

    def _rare_examples(
        self, key: PRNGKeyArray
    ) -> tuple[Int[np.ndarray, " rare"], Float[np.ndarray, " rare"], Float[np.ndarray, "rare params"]]:
        """Draw examples x by |g_x − G|².

        Returns:
            The examples, their shares in a mean over all examples, 1/(M p_x) divided by how many are drawn, for the
            probability p_x, and g_x − G.
        """
        sizes = self._gradient_sizes()
        total = sizes.sum()
        count = self.frozen.num_examples
        chances = sizes / total if total > 0 else np.full(count, 1 / count)
        drawn = np.asarray(jax.random.choice(key, count, (_RARE,), p=jnp.asarray(chances)))
        picks = np.zeros((_RARE, count))
        picks[np.arange(_RARE), drawn] = 1
        centred = self._combinations(picks - 1 / count)
        return drawn, 1 / (count * _RARE * chances[drawn]), centred

    def _gradient_sizes(self) -> Float[np.ndarray, " examples"]:
        """Return |g_x − G|² for every example."""
        sizes = compiled_gradient_sizes(self.frozen.loss, self._chunk_size)
        return np.asarray(sizes(self.params, self.landscape.data), dtype=float)

    def __getstate__(self) -> dict[str, Any]:
        # What a loss computes cannot be pickled: it is traced again where it is needed, and has to be the same.
        return {name: value for name, value in self.__dict__.items() if name not in ("_frozen", "_devices")}

    def without_landscape(self) -> dict[str, Any]:
        """Return what can be kept in a file: all attributes but the landscape and the parameters."""
        return {name: value for name, value in self.__getstate__().items() if name not in ("landscape", "params")}

    @classmethod
    def again(cls, attributes: dict[str, Any], landscape: Landscape, params: PyTree) -> "Point":
        """Return a point made of what was kept, at the landscape and the parameters that it belongs to.

        Raises:
            ArgumentError: it belongs to another landscape or to other parameters.
        """
        point = cls.__new__(cls)
        frozen, params = enter(landscape, params)
        now, cure = Origin.of(frozen, params), "Give those that near_minimum was called with."
        attributes["origin"].check(now, "These spectra", cure)
        point.__dict__.update(attributes, landscape=landscape, params=params, _frozen=frozen)
        return point

    @property
    def frozen(self) -> Landscape:
        """The landscape with its loss as it was when the point was made.

        Raises:
            ArgumentError: the point was unpickled, and the loss has changed since it was made.
        """
        if "_frozen" not in self.__dict__:
            frozen, _ = enter(self.landscape, self.params)
            self.origin.check(Origin.of(frozen, self.params), "These spectra", "Call near_minimum again.")
            self._frozen = frozen
        return self._frozen

    @property
    def rounding(self) -> float:
        """The size that floating-point arithmetic gives to a curvature of zero."""
        top = max(float(np.abs(nodes).max()) for nodes, _ in self.noise.groups)
        eps = jnp.finfo(jnp.result_type(*jax.tree.leaves(self.params))).eps
        return float(num_params(self.params) ** 0.5 * eps * top)

    @property
    def curvatures(self) -> tuple[float, float]:
        """The smallest and the largest curvature in the spectra."""
        nodes = np.concatenate([nodes.ravel() for nodes, _ in self.noise.groups])
        return float(nodes.min()), float(nodes.max())

    def moments(
        self, offsets: Float[np.ndarray, "points params"]
    ) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, "points params"], Float[np.ndarray, " points"]]:
        """Return mean loss, mean gradient and the trace of the gradients' covariance at the point plus offsets."""
        compiled = compiled_moments(self.frozen.loss, self._chunk_size, self._devices)
        moments = compiled(self.params, self.landscape.data, self._as_params(offsets))
        mean, gradient, noise = (np.asarray(array, dtype=float) for array in moments)
        return mean, gradient, noise

    def third_cumulants(self, phi: Response) -> tuple[float, float, float]:
        """Return estimates of S·J, of κ(g, ∇∇l, g)·H and of κ(∇∇l; g, g), with φ(H) on every edge of their diagrams."""
        compiled = compiled_cubics(self.frozen.loss, self._chunk_size, self._devices)
        u = self._as_params(self.rare.apply(phi))  # φ(H)(g_x − G)
        w = self._as_params(self.rare.apply(lambda h: h * phi(h) ** 2))  # H φ(H)²(g_x − G)
        examples = jax.tree.map(lambda leaf: leaf[self._drawn], self.landscape.data)
        forms = compiled(self.params, self.landscape.data, examples, u, w)
        # The means over x of ∇∇∇l[u, u, u], of w·(∇∇l_x − H)u and of u·(∇∇l_x − H)u.
        skewness, skewed_curvature, noisy_curvature = (
            float(np.asarray(form, dtype=float) @ self._shares) for form in forms
        )
        return skewness, skewed_curvature, noisy_curvature

    def apply(self, phi: Response, vector: Float[np.ndarray, " params"]) -> Float[np.ndarray, " params"]:
        """Return φ(H)v for one vector v."""
        return self._spectrum(vector[None]).apply(phi)[0]

    def check_value(self, value: Any) -> None:
        """Raise `LandscapeError` where a value overflowed."""
        if not np.all(np.isfinite(value)):
            low, high = self.curvatures
            raise LandscapeError(
                f"The prediction overflows: the Hessian has eigenvalues from about {low:.2g} to {high:.2g}, and along "
                "some of them descent of this length runs away. Give parameters nearer to a minimum, fewer steps or a "
                "smaller learning rate (below 2/h)."
            )

    def check_settled(self, phi: Response, stderr: float, max_steps: int) -> None:
        """Warn where Krylov spaces were too small for a function of the curvatures."""
        change = self.noise.unsettled(phi)
        value = abs(float(np.mean(self.noise.replicates(phi))))
        if change > SETTLED and change * value > _WORTH_A_WARNING * stderr:
            warnings.warn(
                f"Lanczos' quadrature still moved by {change:.1%} in its last steps: raise max_steps={max_steps}.",
                PrecisionWarning,
                stacklevel=4,
            )

    def _as_params(self, vectors: Float[np.ndarray, "vectors params"]) -> Float[Array, "vectors params"]:
        return jnp.asarray(vectors, jnp.result_type(*jax.tree.leaves(self.params)))


def _probe(time: float) -> Response:
    """Return φ(h) = 1/(1/time + |h|/h_max): 1/|h| where descent has settled after a time, in units of 1/h_max."""

    def phi(h: np.ndarray) -> np.ndarray:
        size = np.abs(h)
        return 1 / (1 / time + size / (size.max() or 1.0))

    return phi
