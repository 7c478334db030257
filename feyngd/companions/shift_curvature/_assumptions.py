"""The assumptions behind the formulas, measured at a minimum instead of assumed."""

from functools import partial
from typing import Any

import jax
import numpy as np

from ...estimates import Estimate
from ...landscapes import Landscape
from ...spectra import Krylov
from .._assumptions import Assumptions
from ._judgements import exact, noise_in_all_directions, scaled, small_steps, strict_minimum
from ._local_settings import AtMinimum
from ._local_steady_state import local_steady_state

_STARTS, _LANCZOS = 4, 40  # random starts and steps that look for the ends of a spectrum without matrices


def assumptions(
    landscape: Landscape,
    params: Any,
    *,
    learning_rate: float,
    batch_size: int,
    penalty: float = 0.0,
    isotropic: float = 0.0,
    method: str = "auto",
    num_samples: int = 16,
    max_steps: int = 64,
    key: Any = None,
) -> Assumptions:
    """Measure what the formulas of this theory assume of a minimum and of a learning rate.

    - "noise and curvature commute": |CD − DC|/(√2|CD|), for which a potential exists at leading order. Covariance and
      losses of `local_steady_state` do not need it.
    - "strict minimum": the lowest curvature over the highest, above rounding.
    - "noise in all directions": the smallest eigenvalue of D over the largest; a density needs it.
    - "small steps": the largest ηh, for which continuous time stands for discrete.
    - "small fluctuations": how far the mean moves, over how far the parameters spread: |b|/√tr Σ.

    Without matrices, beyond 1,500 parameters, all are sampled, with standard errors. The ends of both spectra are
    Lanczos' from random starts, so that the lowest are upper bounds; but with fewer examples than parameters the
    smallest eigenvalue of D is known: the isotropic noise's, or 0.

    Args:
        landscape: the loss and its data.
        params: a minimum of the train loss.
        learning_rate: η.
        batch_size: B.
        penalty: α.
        isotropic: β.
        method: "auto", "dense" or "krylov".
        num_samples: of random combinations of gradients without matrices.
        max_steps: the most Hessian-vector products for each.
        key: a JAX random key, needed without matrices.

    Returns:
        An `Assumptions`; `failing` are those that do not hold or are undecided.

    Raises:
        ArgumentError: an argument is invalid.
        LandscapeError: not at a minimum, or a curvature is not positive along a direction with noise.

    Examples:
        >>> import feyngd as fd
        >>> from feyngd.companions.shift_curvature import assumptions
        >>> landscape, minimum = fd.landscapes.toys.quadratic([[2.0, 0.0], [0.0, 1.0]])
        >>> print(assumptions(landscape, minimum, learning_rate=0.15, batch_size=4).failing)
        small steps: fails (measured 0.3, allowed at most 0.2)
    """
    settings: dict[str, Any] = {"penalty": penalty, "isotropic": isotropic, "method": method, "key": key}
    settings |= {"num_samples": num_samples, "max_steps": max_steps}
    rates: dict[str, Any] = {"learning_rate": learning_rate, "batch_size": batch_size}
    found = local_steady_state(landscape, params, **rates, **settings).assumptions
    point = AtMinimum(landscape, params, **settings)
    curved = found["strict minimum"], found["small steps"]
    if point.is_dense:
        sizes = np.linalg.eigvalsh(point.noise.matrix())
        least = exact(sizes[0] / sizes[-1] if sizes[-1] > 0 else 0.0)
    else:
        for_curvature, for_noise = jax.random.split(jax.random.fold_in(point.key, 1))
        lows, tops = _ends(partial(point.train.products, point.theta), point.size, for_curvature)
        curved = (
            strict_minimum(Estimate.from_replicates(lows / tops, "lanczos"), point.flat),
            small_steps(scaled(Estimate.from_replicates(tops, "lanczos"), learning_rate)),
        )
        lows, tops = _ends(point.noise.products, point.size, for_noise)
        if point.landscape.num_examples <= point.size:  # M examples span M − 1 directions
            lows = np.full_like(tops, isotropic**2)
        least = Estimate.from_replicates(lows / np.where(tops > 0, tops, 1.0), "lanczos")
    return Assumptions(
        [
            found["noise and curvature commute"],
            curved[0],
            noise_in_all_directions(least, point.flat),
            curved[1],
            found["small fluctuations"],
        ]
    )


def _ends(product: Any, size: int, key: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest Ritz value of a matrix from every random start, shape (starts,) each."""
    spaces = Krylov(product, np.asarray(jax.random.normal(key, (_STARTS, size)), dtype=float), _LANCZOS)
    while spaces.steps < spaces.most_steps and not spaces.is_complete:
        spaces.grow()
    nodes, weights = spaces.quadrature()
    nodes = np.where(weights > 0, nodes, np.nan)
    return np.nanmin(nodes, axis=1), np.nanmax(nodes, axis=1)
