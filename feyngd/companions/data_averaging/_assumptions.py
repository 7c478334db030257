"""What the formulas of this theory assume, measured at a point instead of assumed."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from ..._keys import check_key
from ..._learning_rates import check_learning_rate
from ...derivatives import num_params
from ...errors import LandscapeError
from ...estimates import Estimate
from ...landscapes import Landscape, enter
from ...minima import MeanLoss
from ...optimizers import PLAIN, Optimizer, check_optimizer
from ...spacetimes import Spacetime, check_spacetime
from ...spectra import DENSE, Krylov, covariance_and_hessian
from .._assumptions import Assumption, Assumptions
from .._numbers import check_number
from ..shift_curvature import Diffusion
from ._curl import sampled_curl

CURL = 1e-6  # relative: above, g depends on its path of integration
SMALL_STEP = 0.1  # λh: below, a diffusion stands for steps within about 5%
SETTLED = 5.0  # relaxation times: e^-5 is left of the start

_FLAT = 1e-10  # of the largest eigenvalue of D: what counts as none
_MOST_FOR_CURL = 40  # parameters up to which all of the curl is taken, p³ numbers
_STARTS, _LANCZOS = 4, 40  # random starts and steps that look for the ends of the spectrum without matrices


class _Measured(NamedTuple):
    """What is measured of a landscape at a point.

    Attributes:
        rank: of D + β², or what it is at most; `None` if unknown.
        steepest: the curvature of the largest size, of the loss with weight decay.
        flattest: the lowest curvature.
    """

    rank: int | None
    steepest: Estimate
    flattest: Estimate


def assumptions(
    landscape: Any,
    params: Any,
    spacetime: Spacetime,
    learning_rate: float,
    *,
    weight_decay: float = 0.0,
    noise: float = 0.0,
    optimizer: Optimizer = PLAIN,
    key: jax.Array | None = None,
) -> Assumptions:
    """Measure what the steady state in closed form assumes, at a point, with the pool as the training set.

    - "noise in all directions": the rank of D + β², of p. There is no density without.
    - "no curl": how far (D + β²)⁻¹(w + ½T ∇·D) is from a gradient; g exists where it is 0. Not measured where noise is
      missing in some direction. Beyond 40 parameters it is that of (D + β²)⁻¹w, sampled.
    - "small steps": the largest λ|h|, h being a curvature of the loss with weight decay. Below 0.1 a diffusion stands
      for steps.
    - "stationary": how many relaxation times of the flattest direction the run lasts. For plain SGD that is T_steps λh;
      otherwise steps count by how far the optimizer goes down a constant slope.
    - "with replacement" and "plain SGD": 1 if so, else 0.

    Beyond 1,500 parameters there are no matrices. The rank is then only known where it is p, by injected noise, or
    below p, as M examples span M − 1 directions. Curvatures are Lanczos' from random starts, with standard errors; the
    flattest is an upper bound.

    Args:
        landscape: the loss and the pool.
        params: the point, of p numbers in all.
        spacetime: the concrete B, T and sampling.
        learning_rate: λ.
        weight_decay: α.
        noise: β.
        optimizer: of the runs.
        key: a JAX random key, needed beyond 1,500 parameters; without one the curl is not measured beyond 40.

    Returns:
        An `Assumptions`; `failing` are those that do not hold or were not measured.

    Raises:
        ArgumentError: an argument is not allowed, or a key is missing.
        SpacetimeError: the spacetime has symbols.
        LandscapeError: the loss, data or parameters are invalid.

    References:
        "Studying Generalization Through Data Averaging", appendices A and B.

    Examples:
        >>> import feyngd as fd
        >>> landscape, start = fd.landscapes.toys.mean_estimation()
        >>> space = fd.Spacetime.sgd(N=10, B=2, E=20)
        >>> print(assumptions(landscape, start, space, 0.05).failing)
        with replacement: fails (measured 0, allowed at least 1)
    """
    rate = check_learning_rate(learning_rate)
    alpha, beta = check_number("weight_decay", weight_decay, least=0), check_number("noise", noise, least=0)
    check_spacetime(spacetime, concrete="Runs are judged")
    check_optimizer(optimizer)
    landscape, params = enter(landscape, params)
    count, steps = num_params(params), int(spacetime.T)
    if count > DENSE:
        check_key(key, f"With {count} parameters some of the assumptions are sampled")
    found = _dense(landscape, params, alpha, beta) if count <= DENSE else _sampled(landscape, params, alpha, beta, key)
    curl = _curl(landscape, params, alpha, beta, rate / int(spacetime.B), found.rank, key)
    lasting = rate * reach(optimizer, steps)
    return Assumptions(
        [
            _of_noise(found.rank, count),
            _of_curl(curl),
            small_steps(rate * found.steepest.value, _scaled(found.steepest.stderr, rate)),
            Assumption.judged(
                "stationary",
                lasting * found.flattest.value,
                least=SETTLED,
                stderr=_scaled(found.flattest.stderr, lasting),
                meaning="relaxation times of the flattest direction: with few, runs remember their start",
            ),
            _of_flag("with replacement", spacetime.sampling == "with-replacement", "other noise is not that of λ/B"),
            _of_flag("plain SGD", optimizer.is_plain and optimizer.metric is None, "at a constant rate"),
        ]
    )


def small_steps(measured: float, stderr: float | None = None) -> Assumption:
    """Return the judgement of the largest λh."""
    meaning = "the largest λ|h|: where it is large, steps do not act as a diffusion"
    return Assumption.judged("small steps", measured, most=SMALL_STEP, stderr=stderr, meaning=meaning)


def _of_noise(rank: int | None, count: int) -> Assumption:
    meaning = f"the rank of D + β², of p = {count}, or what it is at most: below p there is no density"
    return Assumption.judged("noise in all directions", rank, least=count, meaning=meaning)


def _of_curl(curl: Estimate | None) -> Assumption:
    meaning = "of (D + β²)⁻¹w against its symmetric part: where it is not 0, g depends on its path of integration"
    value, stderr = (None, None) if curl is None else (curl.value, curl.stderr)
    return Assumption.judged("no curl", value, most=CURL, stderr=stderr, meaning=meaning)


def _of_flag(name: str, holds: bool, meaning: str) -> Assumption:
    return Assumption.judged(name, float(holds), least=1, meaning=f"1 if so: {meaning}")


def _scaled(stderr: float | None, factor: float) -> float | None:
    return None if stderr is None else stderr * factor


def reach(optimizer: Optimizer, steps: int) -> float:
    """Return how far the optimizer goes down a constant slope of 1, in units of λ: T for plain SGD."""
    found = optimizer.in_floats().recurrence(steps)
    moved = memory = 0.0
    for direct, gain, decay, readout in zip(found.direct, found.gain, found.decay, found.readout, strict=True):
        moved += float(direct) + float(readout) * memory
        memory = float(decay) * memory + float(gain)
    return moved


def _dense(landscape: Landscape, params: Any, alpha: float, beta: float) -> _Measured:
    covariance, hessian = (
        np.asarray(part, dtype=float) for part in covariance_and_hessian(landscape.loss, params, landscape.data)
    )
    sizes = np.linalg.eigvalsh(covariance) + beta**2
    curvatures = np.linalg.eigvalsh(hessian) + alpha
    rank = int(np.sum(sizes > _FLAT * sizes[-1])) if sizes[-1] > 0 else 0
    ends = float(np.abs(curvatures).max()), float(curvatures[0])
    return _Measured(rank, *(Estimate(end, None, 0, "exact") for end in ends))


def _sampled(landscape: Landscape, params: Any, alpha: float, beta: float, key: Any) -> _Measured:
    count, examples = num_params(params), landscape.num_examples
    rank = count if beta > 0 else examples - 1 if examples <= count else None
    surface = MeanLoss(landscape, params, penalty=alpha)
    starts = np.asarray(jax.random.normal(jax.random.fold_in(key, 0), (_STARTS, count)), dtype=float)
    spaces = Krylov(partial(surface.products, surface.start), starts, _LANCZOS)
    while spaces.steps < spaces.most_steps and not spaces.is_complete:
        spaces.grow()
    nodes = spaces.quadrature()[0]
    ends = np.abs(nodes).max(axis=1), nodes.min(axis=1)
    return _Measured(rank, *(Estimate.from_replicates(end, "lanczos") for end in ends))


def _curl(
    landscape: Landscape, params: Any, alpha: float, beta: float, temperature: float, rank: int | None, key: Any
) -> Estimate | None:
    theta = np.asarray(landscape.flatten(params)[0], dtype=float)
    if len(theta) == 1:
        return Estimate(0.0, None, 0, "exact")
    if rank != len(theta):
        return None
    if len(theta) > _MOST_FOR_CURL:
        if key is None:
            return None
        return sampled_curl(landscape, params, alpha, beta, key=jax.random.fold_in(key, 1))
    try:
        found = Diffusion.of(landscape, params, penalty=alpha, isotropic=beta).curl(theta, temperature)
    except LandscapeError:  # D is singular up to rounding
        return None
    return Estimate(found, None, 0, "exact") if math.isfinite(found) else None
