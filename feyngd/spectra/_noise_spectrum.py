"""What re-summed predictions need to know of a point: its noise and its gradient along the curvature, and samples."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._archive import keep_attributes
from ..derivatives import compiled_gradient_sizes, num_params
from ..errors import LandscapeError
from ..estimates import PrecisionWarning
from ..landscapes import Landscape, Origin, enter
from ..progress import Progress
from ._lanczos import SETTLED, Krylov, Response, most_together, signs
from ._matrices import compiled_cubics, compiled_moments
from ._spectrum import DenseHessian, MatrixFreeHessian, Spectrum, combinations_of_gradients

_TIMES = (1e1, 1e2, 1e3, 1e4)  # ηT·h_max for which Krylov spaces are grown until they serve
_RARE = 16  # single examples, drawn by the square of their gradients, that stand for the skewness of the noise


@keep_attributes
@dataclass(frozen=True)
class Traces:
    """The curvatures and weights of several groups of replicates; of fewer Krylov dimensions too, to tell the error."""

    groups: Sequence[tuple[np.ndarray, np.ndarray]]
    coarser: Sequence[tuple[np.ndarray, np.ndarray]] = ()

    def replicates(self, phi: Response) -> np.ndarray:
        """Return the replicates of the trace of φ(H), shape (m,)."""
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

    Args:
        landscape: the loss and the population, as they were given.
        frozen: the same with the loss as it is now, which the point belongs to.
        params: the point, a pytree of p numbers in all.
        dense: whether to write matrices out.
        num_samples: how many random combinations of gradients stand for the noise.
        max_steps: the most Hessian-vector products for each of them.
        chunk_size: how many examples are differentiated together.
        progress: shows progress.
        key: a JAX random key.

    Raises:
        LandscapeError: a Hessian-vector product is not finite.
    """

    def __init__(
        self,
        landscape: Landscape,
        frozen: Landscape,
        params: Any,
        *,
        dense: bool,
        num_samples: int,
        max_steps: int,
        chunk_size: int,
        progress: Progress,
        key: jax.Array,
    ) -> None:
        self.landscape, self.params, self.is_dense = landscape, params, dense
        self.origin, self._frozen = Origin.of(frozen, params), frozen
        self._chunk_size = min(chunk_size, frozen.num_examples)
        for_signs, for_rare = jax.random.split(key)
        self._max_steps = max_steps
        self._dense_hessian = DenseHessian(frozen, params, self._chunk_size) if dense else None
        count = frozen.num_examples
        together = min(num_samples, most_together(num_params(params), max_steps) if not dense else num_samples)
        groups, coarser = [], []
        with progress.task(num_samples + 1 + _RARE, "spectra") as task:
            for first in range(0, num_samples, together):
                members = np.arange(first, min(first + together, num_samples))
                # V-statistics: the population is the data, and its covariance is divided by M.
                weights = signs(for_signs, members, count) * ((count - 1) / count) ** 0.5
                spectrum = self._spectrum(combinations_of_gradients(frozen, params, weights, self._chunk_size))
                if not first:
                    self.cloud: Spectrum = spectrum
                groups.append(spectrum.quadrature())
                if isinstance(spectrum, Krylov) and not spectrum.is_complete:
                    coarser.append(spectrum.quadrature(spectrum.steps - spectrum.steps // 4))
                task.advance(len(members))
            mean = combinations_of_gradients(frozen, params, np.full((1, count), 1 / count), self._chunk_size)
            self.gradient = Traces([self._spectrum(mean).quadrature()])
            task.advance()
            self._drawn, self._shares, rare = self._rare_examples(for_rare)
            self.rare = self._spectrum(rare)
            task.advance(_RARE)
        self.noise = Traces(groups, coarser)
        if self._dense_hessian is not None:
            exact = self._dense_hessian.noise_weights * (count - 1) / count
            self.noise = Traces([(self._dense_hessian.eigenvalues[None], exact[None])])

    def _spectrum(self, vectors: np.ndarray) -> Spectrum:
        hessian = self._dense_hessian or MatrixFreeHessian(self.frozen, self.params, self._chunk_size, self._max_steps)
        return hessian.spectrum(vectors, [_probe(time) for time in _TIMES])

    def _rare_examples(self, key: jax.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw examples by the squares of their centred gradients; return them, their weights, and the gradients."""
        sizes = self._gradient_sizes()
        total = sizes.sum()
        count = self.frozen.num_examples
        chances = sizes / total if total > 0 else np.full(count, 1 / count)
        drawn = np.asarray(jax.random.choice(key, count, (_RARE,), p=jnp.asarray(chances)))
        picks = np.zeros((_RARE, count))
        picks[np.arange(_RARE), drawn] = 1
        centred = combinations_of_gradients(self.frozen, self.params, picks - 1 / count, self._chunk_size)
        return drawn, 1 / (count * _RARE * chances[drawn]), centred

    def _gradient_sizes(self) -> np.ndarray:
        """Return |g_x − G|² for every example, shape (M,)."""
        sizes = compiled_gradient_sizes(self.frozen.loss, self._chunk_size)
        return np.asarray(sizes(self.params, self.landscape.data), dtype=float)

    def __getstate__(self) -> dict[str, Any]:
        # What a loss computes cannot be pickled: it is traced again where it is needed, and has to be the same.
        return {name: value for name, value in self.__dict__.items() if name != "_frozen"}

    def without_landscape(self) -> dict[str, Any]:
        """Return what can be kept in a file: all attributes but the landscape and the parameters."""
        return {name: value for name, value in self.__getstate__().items() if name not in ("landscape", "params")}

    @classmethod
    def again(cls, attributes: dict[str, Any], landscape: Landscape, params: Any) -> "Point":
        """Return a point made of what was kept, at the landscape and the parameters it belongs to.

        Raises:
            ArgumentError: they are others.
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
            ArgumentError: the point was unpickled, and the loss computes something else by now.
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
        """The least and the greatest curvature that was found."""
        nodes = np.concatenate([nodes.ravel() for nodes, _ in self.noise.groups])
        return float(nodes.min()), float(nodes.max())

    def moments(self, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return mean loss, mean gradient and the trace of the gradients' covariance at the point plus offsets.

        Args:
            offsets: shape (m, p).

        Returns:
            Arrays of shape (m,), (m, p) and (m,).
        """
        compiled = compiled_moments(self.frozen.loss, self._chunk_size)
        found = compiled(self.params, self.landscape.data, self._as_params(offsets))
        mean, slope, noise = (np.asarray(array, dtype=float) for array in found)
        return mean, slope, noise

    def third_cumulants(self, phi: Response) -> tuple[float, float, float]:
        """Return estimates of S·J, of κ(g, ∇∇l, g)·H and of κ(∇∇l; g, g), with φ(H) on every edge of their diagrams."""
        compiled = compiled_cubics(self.frozen.loss, self._chunk_size)
        vectors = self._as_params(self.rare.apply(phi))
        others = self._as_params(self.rare.apply(lambda h: h * phi(h) ** 2))
        examples = jax.tree.map(lambda leaf: leaf[self._drawn], self.landscape.data)
        forms = compiled(self.params, self.landscape.data, examples, vectors, others)
        third, bent, curved = (float(np.asarray(form, dtype=float) @ self._shares) for form in forms)
        return third, bent, curved

    def apply(self, phi: Response, vector: np.ndarray) -> np.ndarray:
        """Return φ(H)v for one vector, shape (p,)."""
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
        if change > SETTLED and change * value > 0.05 * stderr:
            warnings.warn(
                f"Lanczos' quadrature still moved by {change:.1%} in its last steps: raise max_steps={max_steps}.",
                PrecisionWarning,
                stacklevel=4,
            )

    def _as_params(self, vectors: np.ndarray) -> jax.Array:
        return jnp.asarray(vectors, jnp.result_type(*jax.tree.leaves(self.params)))


def _probe(time: float) -> Response:
    """Return a function of curvatures that changes where descent for a time settles, a time in units of 1/h_max."""

    def phi(h: np.ndarray) -> np.ndarray:
        size = np.abs(h)
        return 1 / (1 / time + size / (size.max() or 1.0))

    return phi
