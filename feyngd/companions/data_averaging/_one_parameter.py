"""The steady state of a landscape with one parameter: its arguments, checked, and its tables."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ..._arguments import check_integer
from ...errors import ArgumentError
from ...landscapes import enter
from ...optimizers import PLAIN, Optimizer, check_optimizer
from .._numbers import check_choice, check_number
from ._axis import Axis
from ._grid_losses import base_point, example_losses
from ._steady_state import SteadyState
from ._training_sets import training_sets

POTENTIALS = ("sgd", "loss")

_LEAST_PANELS, _MOST_PANELS = 64, 256
_WORK = 2**17  # panels times training sets: up to here more panels take a fraction of a second


def steady_state(
    landscape: Any,
    params: Any,
    n: int,
    *,
    domain: tuple[float, float],
    weight_decay: float = 0.0,
    noise: float = 0.0,
    potential: str | Callable[[Any, Any, Any], Any] = "sgd",
    datasets: str | int = "all",
    panels: int | None = None,
    optimizer: Optimizer = PLAIN,
    sampling: str = "with-replacement",
    key: jax.Array | None = None,
) -> SteadyState:
    """Return the steady state of SGD with one parameter, for every training set of n examples of the pool.

    It is ρ ∝ exp(−g) with g = (2/T) v + a, v = ∫ (∇U + αθ)/(D + β²) dθ from `params`, and a = ln(D + β²), D being the
    variance of the gradient over the training set. That is the diffusion which stands for plain SGD with batches drawn
    with replacement, a constant rate and small λh; a temperature T = λ/B is given to each method.

    In the population reading training sets are independent draws, and the test loss is the mean loss of the pool. In
    the unbiased reading they are distinct examples, and the test loss is that of the others.

    Args:
        landscape: the loss and the pool of M examples.
        params: the base point of v, one number in all, inside the domain; densities do not depend on it.
        n: the number of training points.
        domain: (lo, hi): where integrals are taken. Every density has to fall by 30 nats to both ends.
        weight_decay: α.
        noise: β: every step adds √(λT) β times a standard normal draw.
        potential: "sgd"; "loss", g = (2/T)(U + αθ²/2); or g itself, `f(theta, training_set, T)`, which JAX can trace.
        datasets: "all" for every training set with its probability, at most 20,000; or how many to draw.
        panels: the panels of the quadrature, with 16 points each; by default 64 to 256, the more the fewer training
            sets there are.
        optimizer: plain SGD; no steady state is known for others.
        sampling: "with-replacement", likewise.
        key: a JAX random key, to draw training sets.

    Returns:
        A `SteadyState`.

    Raises:
        ArgumentError: there is more than one parameter, the reading is conditional, momentum, a schedule or reshuffling
            is asked for, there are too many training sets, or another argument is not allowed.
        LandscapeError: D + β² is zero somewhere, or the loss or parameters are invalid.

    References:
        "Studying Generalization Through Data Averaging", equations (8) and (17)–(20), appendix B; corrected: integrals
        start at a finite base point, as those from −∞ diverge.

    Examples:
        >>> import jax.numpy as jnp
        >>> import feyngd as fd
        >>> landscape = fd.Landscape(lambda theta, m: jnp.log1p(jnp.exp(-m * theta)), jnp.array([2.0, 1.0, 0.5, -1.0]))
        >>> options = {"weight_decay": 1.0, "noise": 1.0, "domain": (-12.0, 12.0)}
        >>> state = steady_state(landscape, jnp.array(0.0), 12, **options)
        >>> print(f"{state.averages(0.5).gap.value:.9f}")
        0.015943482
    """
    count = check_integer("n", n, least=1)
    alpha = check_number("weight_decay", weight_decay, least=0)
    beta = check_number("noise", noise, least=0)
    if not callable(potential):
        check_choice("potential", potential, POTENTIALS)
    panels = None if panels is None else check_integer("panels", panels, least=2)
    _check_sgd(optimizer, sampling)
    landscape, params = enter(landscape, params)
    if landscape.reading == "conditional":
        raise ArgumentError(
            "In the conditional reading there is one training set, the data, so there is nothing to average over. Make "
            "the landscape in the population or the unbiased reading."
        )
    base = base_point(params)
    low, high = _check_domain(domain, base)
    pool, distinct = landscape.num_examples, landscape.reading == "unbiased"
    if distinct and count >= pool:
        raise ArgumentError(
            f"In the unbiased reading a training set is n distinct examples and the others test it, so n < {pool}, the "
            f"number of examples; got n={count}."
        )
    counts, probabilities = training_sets(pool, count, datasets, distinct=distinct, key=key)
    axis = Axis(low, high, base, panels or min(_MOST_PANELS, max(_LEAST_PANELS, _WORK // len(counts))))
    losses = example_losses(landscape, params, axis.points)

    def loss_at(place: float) -> np.ndarray:
        return example_losses(landscape, params, np.array([place])).values[:, 0]

    parameters = alpha, beta
    return SteadyState(
        count, axis, counts, probabilities, losses, parameters, potential, landscape.data, distinct, loss_at
    )


def _check_sgd(optimizer: Any, sampling: Any) -> None:
    if not check_optimizer(optimizer).is_plain or optimizer.metric is not None:
        raise ArgumentError(
            f"A steady state in closed form is known for plain SGD at a constant rate, not for {optimizer}. Near a "
            "minimum use heavy_ball or fd.stationary_noise; otherwise run it, with data_averaging.ensemble."
        )
    if sampling != "with-replacement":
        raise ArgumentError(
            f"A steady state in closed form is known for batches drawn with replacement, not for {sampling!r}: the "
            "noise of reshuffled batches is not that of λ/B. Use fd.near_minimum, or data_averaging.ensemble."
        )


def _check_domain(domain: Any, base: float) -> tuple[float, float]:
    ends = np.asarray(domain, dtype=float)
    if ends.shape != (2,) or not np.all(np.isfinite(ends)) or not ends[0] < ends[1]:
        raise ArgumentError(f"domain is (lo, hi), two finite numbers with lo < hi; got {domain!r}.")
    low, high = ends.tolist()
    if not low < base < high:
        raise ArgumentError(
            f"The base point, params={base:g}, is inside the domain; got the domain ({low:g}, {high:g})."
        )
    return low, high
