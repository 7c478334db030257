"""tr[C φ(H)]/N at a point of a landscape, with matrices or without, and warnings where it is not reliable."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray, PyTree

from .._arguments import check_integer
from .._keys import check_key
from ..derivatives import num_params
from ..errors import ArgumentError, LandscapeError
from ..estimates import Estimate, PrecisionWarning
from ..kinks import Kink
from ..landscapes import Landscape, check_landscape, enter, kinks_at
from ._lanczos import MIN_STEPS, Response, sampled_traces
from ._spectrum import DenseHessian

METHODS = ("auto", "dense", "lanczos")

DENSE = 1500  # parameters up to which "auto" writes the matrices out: 18 MB each in double precision
_SENSITIVE = 0.05  # relative change by rounding of the Hessian that is worth a warning
_SETTLED = 0.05  # of the standard error: quadrature that still moves by more is worth a warning


@dataclass(frozen=True)
class Trace:
    """How to estimate tr[C φ(H)]/N; options as in `stic`, checked here."""

    landscape: Landscape
    params: PyTree
    method: str
    num_samples: int
    max_steps: int
    chunk_size: int
    key: PRNGKeyArray | None
    kinks: tuple[Kink, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        check_landscape(self.landscape)
        if self.method not in METHODS:
            raise ArgumentError(f"Unknown method {self.method!r}; the methods are {', '.join(map(repr, METHODS))}.")
        check_integer("num_samples", self.num_samples, least=2)
        check_integer("max_steps", self.max_steps, least=MIN_STEPS)
        check_integer("chunk_size", self.chunk_size, least=1)
        check_num_examples(self.landscape.num_examples)
        landscape, params = enter(self.landscape, self.params)
        object.__setattr__(self, "landscape", landscape)
        object.__setattr__(self, "params", params)
        landscape.validate(params)
        if not self.is_dense:
            check_key(self.key, f"With {self.num_params} parameters and method={self.method!r} the value is sampled")
        object.__setattr__(self, "kinks", kinks_at(landscape, params, stacklevel=5))

    @property
    def num_params(self) -> int:
        """The number of parameters p."""
        return num_params(self.params)

    @property
    def is_dense(self) -> bool:
        """Whether matrices are written out."""
        return self.method == "dense" or (self.method == "auto" and self.num_params <= DENSE)

    def estimate(self, phi: Response, check: Callable[[np.ndarray, float], None]) -> Estimate:
        """Return the estimate.

        Args:
            phi: φ, a function of an array of curvatures.
            check: called with the curvatures and with the size that rounding gives to a curvature of zero; raises
                where φ is not defined.

        Raises:
            LandscapeError: the Hessian or the value is not finite.
        """
        if self.is_dense:
            hessian = DenseHessian(self.landscape, self.params, min(self.chunk_size, self.landscape.num_examples))
            nodes, weights = hessian.eigenvalues, hessian.noise_weights
            self._check(nodes, weights, phi, check)
            return Estimate(
                float(np.sum(weights * phi(nodes))) / self.landscape.num_examples, None, 0, "exact", kinks=self.kinks
            )
        assert self.key is not None
        parts = sampled_traces(
            self.landscape.loss,
            self.params,
            self.landscape.data,
            phi,
            num_samples=self.num_samples,
            most_steps=self.max_steps,
            chunk_size=self.chunk_size,
            key=self.key,
        )
        for part in parts:
            self._check(part.nodes, part.weights, phi, check)
        replicates = np.concatenate([part.replicates for part in parts]) / self.landscape.num_examples
        estimate = Estimate.from_replicates(replicates, kind="lanczos", kinks=self.kinks)
        worst = max(part.change for part in parts)
        if worst * abs(estimate.value) > max(_SETTLED * (estimate.stderr or 0.0), 1e-3 * abs(estimate.value)):
            warnings.warn(
                f"Lanczos' quadrature still moved by {worst:.1%} in its last steps: raise max_steps={self.max_steps}. "
                "Curvatures spread over many orders of magnitude take many steps.",
                PrecisionWarning,
                stacklevel=3,
            )
        return estimate

    def _check(
        self,
        nodes: Float[np.ndarray, "*nodes"],
        weights: Float[np.ndarray, "*nodes"],
        phi: Response,
        check: Callable[[np.ndarray, float], None],
    ) -> None:
        dtype = jnp.result_type(*jax.tree.leaves(self.params))
        rounding = float(np.sqrt(self.num_params) * jnp.finfo(dtype).eps * np.abs(nodes).max())
        check(nodes, rounding)
        with np.errstate(over="ignore", invalid="ignore"):
            value = float(np.sum(weights * phi(nodes)))
            blur = float(np.sum(weights * np.abs(phi(nodes - rounding) - phi(nodes + rounding)))) / 2
        if not math.isfinite(value):
            raise LandscapeError(
                f"The value overflows: the Hessian has eigenvalues from about {nodes.min():.2g} to {nodes.max():.2g}, "
                "along which descent of this length runs away. Give parameters nearer to a minimum, fewer steps or a "
                "smaller learning rate."
            )
        if blur > _SENSITIVE * abs(value):
            warnings.warn(
                f"Rounding of the Hessian by {rounding:.1g} changes the value by {blur / abs(value):.0%}: curvatures "
                "that small matter here. Turn on jax.config.update('jax_enable_x64', True) and give 64-bit parameters.",
                PrecisionWarning,
                stacklevel=4,
            )


def check_num_examples(count: int) -> None:
    """Raise unless a covariance can be estimated."""
    if count < 2:
        raise LandscapeError(f"The covariance of gradients takes at least 2 examples; the data hold {count}.")
