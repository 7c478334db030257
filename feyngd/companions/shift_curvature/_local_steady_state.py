"""The steady state around one minimum, for any number of parameters: covariance, mean bias and expected losses."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...drawing import new_axes
from ...estimates import Estimate
from ...kinks import Kink
from ...landscapes import Landscape
from .._assumptions import Assumption, Assumptions
from ._judgements import commuting, exact, scaled, small_fluctuations, small_steps, strict_minimum
from ._local_dense import DenseResult, dense_result
from ._local_krylov import KrylovResult, krylov_result
from ._local_settings import AtMinimum, Rates, check_rates, warn_of_precision


@dataclass(frozen=True, eq=False)
class LocalSteadyState:
    """Where SGD fluctuates around a minimum θtr of the train loss, to first order in the temperature.

    Attributes:
        train_excess: E[U] − U(θtr) = ½tr[ΣC], in the unit of the loss; in continuous time (T/4) tr D.
        covariance_curvature: ½tr[Σ∇²V(θtr)], what fluctuations add to the test loss.
        bias_term: −½J[y, Σ] with y = C⁻¹∇V(θtr): what the mean's distance from the minimum adds.
        test_loss: E[V] = V(θtr) plus both, without a test minimum and consistent to order T.
        commutator: |CD − DC|/(√2|CD|), 0 to 1: where it is 0 the density has no current at leading order. Covariance
            and losses hold for any value.
        covariance: Σ, shape (p, p); `None` without matrices.
        bias: θtr − E[θ] = ½C⁻¹(J:Σ), with the structure of the parameters and in their unit.
        temperature: T = η/B.
        time: "continuous" or "discrete".
        residual: what conjugate gradients left of ∇V in y, relative; 0 with matrices.
        kinks: where the loss is not smooth.
        assumptions: what is known of them on the way; `failing` in it are those that do not hold. Without matrices the
            curvatures are those that the noise reaches.
    """

    train_excess: Estimate
    covariance_curvature: Estimate
    bias_term: Estimate
    test_loss: Estimate
    commutator: Estimate
    covariance: np.ndarray | None
    bias: Any
    temperature: float
    time: str
    residual: float
    kinks: tuple[Kink, ...]
    assumptions: Assumptions

    @property
    def estimates(self) -> dict[str, Estimate]:
        """All estimates by name."""
        names = ("train_excess", "covariance_curvature", "bias_term", "test_loss", "commutator")
        return {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """Return the estimates as numbers, for JSON; an exact one has `None` for its standard error."""
        numbers = {name: {"value": each.value, "stderr": each.stderr} for name, each in self.estimates.items()}
        about = {"temperature": self.temperature, "time": self.time}
        return about | numbers | {"assumptions": self.assumptions.to_dict()}

    def __str__(self) -> str:
        lines = [f"{name:<20} {estimate}" for name, estimate in self.estimates.items()]
        return "\n".join([*lines, *map(str, self.assumptions.failing)])

    def plot(self, ax: Any = None) -> Any:
        """Draw what fluctuations add to both losses, with two standard errors, and return the Matplotlib axes."""
        ax = new_axes(ax)
        added = self.covariance_curvature.value + self.bias_term.value
        names = ("train_excess", "covariance_curvature", "bias_term")
        heights = [*(self.estimates[name].value for name in names), added]
        errors = [*(self.estimates[name].stderr or 0.0 for name in names), self.test_loss.stderr or 0.0]
        labels = ("train loss", "test loss:\ncovariance", "test loss:\nbias", "test loss:\nsum")
        ax.bar(labels, heights, yerr=2 * np.array(errors), color=("C0", "C1", "C1", "C2"), capsize=4)
        ax.axhline(0, color="0.4", lw=0.8)
        ax.set(ylabel="added by fluctuations, unit of the loss", title=f"T = {self.temperature:g}, {self.time} time")
        return ax


def local_steady_state(
    landscape: Landscape,
    params: Any,
    *,
    temperature: float | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    time: str = "continuous",
    penalty: float = 0.0,
    isotropic: float = 0.0,
    method: str = "auto",
    num_samples: int = 16,
    max_steps: int = 64,
    key: Any = None,
) -> LocalSteadyState:
    """Return covariance, mean bias and expected losses of SGD that has settled around a minimum.

    The covariance solves CΣ + ΣC = T D, in discrete time CΣ + ΣC − ηCΣC = T D, whether or not the density has a
    current. Batches are independent draws; reshuffled ones are anticorrelated, see `feyngd.near_minimum`.

    Args:
        landscape: the loss and its data; the test loss is that of `test_data` if the reading is conditional.
        params: θtr, a minimum of the train loss with the penalty; see `minimum`.
        temperature: T = η/B; or give the next two.
        learning_rate: η.
        batch_size: B.
        time: "continuous", or "discrete", which needs η.
        penalty: α, the weight decay of the run: α|θ|²/2 is part of the train loss, not of the test loss.
        isotropic: β of a noise β²I that the run adds to the gradients' covariance.
        method: "dense" writes matrices out; "krylov" takes Hessian-vector products alone; "auto" is dense up to 1,500
            parameters.
        num_samples: how many random combinations of gradients stand for the noise without matrices.
        max_steps: the most Hessian-vector products for each.
        key: a JAX random key, needed without matrices.

    Raises:
        ArgumentError: an argument is invalid, or ηh ≥ 2 in discrete time.
        LandscapeError: not at a minimum; a curvature is not positive along a direction with noise; or the noise pushes
            along a flat direction.

    Warns:
        PrecisionWarning: third derivatives in single precision, or Krylov spaces that are too small.

    References:
        Bradley et al., equations 4, 7, 25 and appendix B.2 (corrected: with the mean's bias for the mode's; the
        covariance without the assumption that C and D commute). The direct test loss is the project's own.

    Examples:
        >>> import feyngd as fd
        >>> landscape, minimum = fd.landscapes.toys.quadratic([[2.0]])
        >>> found = local_steady_state(landscape, minimum, temperature=0.1)
        >>> print(found.train_excess)  # (T/4) tr D
        0.025
    """
    rates = check_rates(temperature, learning_rate, batch_size, time)
    point = AtMinimum(
        landscape,
        params,
        penalty=penalty,
        isotropic=isotropic,
        method=method,
        num_samples=num_samples,
        max_steps=max_steps,
        key=key,
    )
    warn_of_precision(point.params)
    start = point.test(point.theta)[0]
    found: DenseResult | KrylovResult
    if point.is_dense:
        found = dense = dense_result(point, rates)
        excess, curved, bias = (
            np.array([each]) for each in (dense.train_excess, dense.covariance_curvature, dense.bias_term)
        )
        commutator, covariance, residual = exact(dense.commutator), dense.covariance, 0.0
    else:
        found = sampled = krylov_result(point, rates)
        excess, curved, bias = sampled.train_excess, sampled.covariance_curvature, sampled.bias_term
        commutator, covariance, residual = sampled.commutator, None, sampled.residual
    kind = "exact" if point.is_dense else "lanczos"

    def estimate(replicates: np.ndarray) -> Estimate:
        return Estimate.from_replicates(replicates, kind, kinks=point.kinks)

    return LocalSteadyState(
        train_excess=estimate(excess),
        covariance_curvature=estimate(curved),
        bias_term=estimate(bias),
        test_loss=estimate(start + curved + bias),
        commutator=commutator,
        covariance=covariance,
        bias=point.train.shaped(found.bias),
        temperature=rates.temperature,
        time=rates.time,
        residual=residual,
        kinks=point.kinks,
        assumptions=Assumptions(_judged(point, rates, commutator, found)),
    )


def _judged(
    point: AtMinimum, rates: Rates, commutator: Estimate, found: DenseResult | KrylovResult
) -> list[Assumption]:
    """Judge the assumptions by what is at hand."""
    if isinstance(found, DenseResult):
        top, ratio = exact(found.curvatures.max()), exact(found.curvatures.min() / (found.curvatures.max() or np.nan))
        moved = exact(found.moved)
    else:
        reached = found.curvatures[~np.isnan(found.curvatures).all(axis=1)]  # by noise: a sample of it may be 0
        tops, lows = np.nanmax(reached, axis=1, initial=0.0), np.nanmin(reached, axis=1, initial=np.inf)
        top, ratio = _spread(tops), _spread(lows / tops)
        moved = found.moved
    rows = [commuting(commutator), strict_minimum(ratio, point.flat), small_fluctuations(moved)]
    if rates.time == "continuous" and rates.step is not None:  # else steps are not small, or of unknown size
        rows.append(small_steps(scaled(top, rates.step)))
    return rows


def _spread(replicates: np.ndarray) -> Estimate:
    """Return the mean of replicates with its error; not a number where there are fewer than two."""
    return Estimate.from_replicates(replicates, "lanczos") if len(replicates) > 1 else exact(np.nan)
