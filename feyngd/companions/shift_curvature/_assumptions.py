"""The assumptions behind the formulas, measured at a minimum instead of assumed."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ...landscapes import Landscape
from ._local_dense import Spectrum
from ._local_krylov import commutator
from ._local_settings import AtMinimum, check_rates
from ._local_steady_state import local_steady_state

_COMMUTE = 0.05  # |CD − DC|/(√2|CD|): below, the density has next to no current
_SMALL_STEP = 0.2  # ηh: below, continuous time is within about a tenth


@dataclass(frozen=True)
class Assumption:
    """One assumption.

    Attributes:
        name: what is assumed.
        holds: whether the measured number is allowed; `None` where it cannot be measured here.
        measured: the number; NaN where it cannot be measured.
        allowed: its limit: at most, and for "strict minimum" and "noise in all directions" more than this.
    """

    name: str
    holds: bool | None
    measured: float
    allowed: float

    def __str__(self) -> str:
        word = {True: "holds", False: "fails", None: "not measured"}[self.holds]
        return f"{self.name}: {word} (measured {self.measured:.3g}, limit {self.allowed:g})"


def assumptions(
    landscape: Landscape,
    params: Any,
    *,
    learning_rate: float,
    batch_size: int,
    penalty: float = 0.0,
    isotropic: float = 0.0,
    key: Any = None,
) -> tuple[Assumption, ...]:
    """Measure what the formulas of this theory assume of a minimum and of a learning rate.

    - "noise and curvature commute": |CD − DC|/(√2|CD|), for which a potential exists at leading order. Covariance and
      losses of `local_steady_state` do not need it.
    - "strict minimum": the lowest curvature over the highest, above rounding.
    - "noise in all directions": the smallest eigenvalue of D over the largest; a density needs it.
    - "small steps": the largest ηh, for which continuous time stands for discrete.
    - "small fluctuations": how far the mean moves, over how far the parameters spread: |b|/√tr Σ.

    Without matrices, beyond 1,500 parameters, the second and third are not measured.

    Args:
        landscape: the loss and its data.
        params: a minimum of the train loss.
        learning_rate: η.
        batch_size: B.
        penalty: α.
        isotropic: β.
        key: a JAX random key, needed beyond 1,500 parameters.

    Raises:
        ArgumentError: an argument is invalid.
        LandscapeError: not at a minimum, or a curvature is not positive along a direction with noise.
    """
    rates = check_rates(None, learning_rate, batch_size, "continuous")
    given: dict[str, Any] = {"penalty": penalty, "isotropic": isotropic, "key": key}
    point = AtMinimum(landscape, params, **given)
    found = local_steady_state(landscape, params, temperature=rates.temperature, **given)
    spread, lowest, least, top = math.nan, math.nan, math.nan, math.nan
    if point.is_dense:
        spectrum = Spectrum.at(point)
        top = float(spectrum.curvatures.max())
        lowest = float(spectrum.curvatures.min()) / top
        sizes = np.linalg.eigvalsh(point.noise.matrix())
        least = float(sizes[0] / sizes[-1]) if sizes[-1] > 0 else 0.0
        assert found.covariance is not None
        spread = math.sqrt(np.trace(found.covariance))
        kappa = found.commutator.value
    else:
        kappa = commutator(point, point.key).value
    leaves = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(found.bias)])
    moved = float(np.linalg.norm(leaves)) / spread if spread else 0.0
    eta = learning_rate * top
    rows = [
        ("noise and curvature commute", kappa <= _COMMUTE, kappa, _COMMUTE),
        ("strict minimum", lowest > point.flat, lowest, point.flat),
        ("noise in all directions", least > point.flat, least, point.flat),
        ("small steps", eta <= _SMALL_STEP, eta, _SMALL_STEP),
        ("small fluctuations", moved <= _SMALL_STEP, moved, _SMALL_STEP),
    ]
    return tuple(
        Assumption(name, None if math.isnan(value) else bool(holds), value, limit) for name, holds, value, limit in rows
    )
