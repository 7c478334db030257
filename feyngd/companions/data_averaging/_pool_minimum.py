"""The minimum of a pool's loss, and what it says of gaps: tr(C H⁻¹)/n, and re-summed runs from there."""

import warnings
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ...errors import LandscapeError
from ...estimates import Estimate, PrecisionWarning
from ...landscapes import Landscape
from ...minima import NearMinimum, minimum, near_minimum
from ...optimizers import Optimizer
from ...spacetimes import Spacetime
from ...training import tic

_TOLERANCE, _MOST_STEPS = 1e-4, 200  # gradients in single precision reach no further on networks


@dataclass(frozen=True, eq=False)
class PoolMinimum:
    """A minimum of the pool's mean loss with weight decay.

    Attributes:
        params: there.
        trace: tr(C H⁻¹), with H of the loss with weight decay and C divided by M − 1; `None` if it is not defined.
        lowest: the lowest curvature, H's; an upper bound beyond 1,500 parameters.
        reason: why there is no trace.
    """

    params: Any
    trace: Estimate | None
    lowest: float
    reason: str = ""

    def gap(self, N: int, M: int, drawing: str) -> Estimate | None:
        """Return the gap in the long run to first order in 1/N, tr(C H⁻¹)/N, for a drawing.

        With C divided by M − 1 that is the gap of split sets; independent draws have (M − 1)/M of it, overlapping sets
        1 − N/M.
        """
        return None if self.trace is None else times(self.trace, factor_of(drawing, N, M) / N)


def factor_of(drawing: str, N: int, M: int) -> float:
    """Return a drawing's gap over that of split sets, to first order in 1/N."""
    return {"split": 1.0, "iid": (M - 1) / M, "overlap": 1 - N / M}[drawing]


def times(estimate: Estimate, factor: float) -> Estimate:
    """Return an estimate times a number."""
    stderr = None if estimate.stderr is None else estimate.stderr * abs(factor)
    return Estimate(estimate.value * factor, stderr, estimate.num_samples, estimate.kind)


def pool_minimum(landscape: Landscape, start: Any, weight_decay: float, key: jax.Array) -> PoolMinimum:
    """Look for a minimum from a start, and measure the noise there."""
    for_search, for_trace = jax.random.split(key)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        options = {"penalty": weight_decay, "tolerance": _TOLERANCE, "max_steps": _MOST_STEPS, "key": for_search}
        found = minimum(landscape, start, **options)
        try:
            trace: Estimate | None = tic(landscape, found.params, damping=weight_decay, key=for_trace)
            reason = ""
        except LandscapeError as error:
            trace, reason = None, str(error)
    if trace is not None and found.gradient_norm > _TOLERANCE:
        trace, reason = None, f"no minimum was found: the gradient has the norm {found.gradient_norm:.2g}"
    unsettled = [str(each.message) for each in caught if issubclass(each.category, PrecisionWarning)]
    if trace is not None and unsettled:
        trace, reason = None, unsettled[0]
    if trace is not None:
        trace = times(trace, landscape.num_examples)
    return PoolMinimum(found.params, trace, found.lowest_curvature.value, reason)


class FromMinimum:
    """Predictions of runs that start at the minimum of the pool's loss, measured once.

    Args:
        landscape: the loss and the pool.
        params: the minimum.
        weight_decay: α, which is added to the loss.
        key: a JAX random key.
    """

    def __init__(self, landscape: Landscape, params: Any, weight_decay: float, key: jax.Array) -> None:
        loss = landscape.loss

        def penalised(params: Any, example: Any) -> jax.Array:
            squares = [jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)]
            return loss(params, example) + weight_decay / 2 * jnp.sum(jnp.stack(squares))

        self._size = landscape.num_examples
        self._near: NearMinimum = near_minimum(Landscape(penalised, landscape.data), params, key=key)

    def gap(self, spacetime: Spacetime, rate: float, optimizer: Optimizer, drawing: str) -> tuple[Estimate, float]:
        """Return the gap after a run, re-summed, and its truncation figure, in the unit of the loss.

        Raises:
            FeynGDError: the learning rate is not stable.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the truncation is returned
            found = self._near.predict(spacetime, rate, quantity="gap", optimizer=optimizer)
        N, M = int(spacetime.N), self._size
        # The prediction is of independent draws.
        factor = factor_of(drawing, N, M) / factor_of("iid", N, M)
        stderr = float(found.stderr[0])
        estimate = Estimate(float(found.mean[0]), stderr or None, 16 if stderr else 0, "re-summed")
        return times(estimate, factor), float(found.truncation[0]) * factor
