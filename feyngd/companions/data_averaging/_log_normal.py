"""The log-normal approximation: what follows if the potential is a normal variable over training sets at every θ."""

from dataclasses import dataclass, replace

import numpy as np

from ...errors import LandscapeError
from ._axis import Axis
from ._plain import Plain
from ._support import check_ends


@dataclass(frozen=True, eq=False)
class LogNormal(Plain):
    """Approximate losses and bounds if g is normal over training sets; nothing here is exact.

    ⟨⟨·⟩⟩ is a mean over the approximate density. All numbers depend on the gauge, the function of the training set that
    is added to g; only with the normalised one, g = −ln ρ, is nothing neglected but non-normality.

    Attributes:
        gauge: "normalized", or the base point at which g = 0 for every training set.
        theta: shape (G,).
        density: ρ̄ ∝ exp(−ḡ + σ_g²/2), normalised, shape (G,).
        defect: |∫ exp(−ḡ + σ_g²/2) dθ − 1|, which is 0 if g = −ln ρ is normal; `None` in another gauge.
        spread: ⟨⟨σ_g²⟩⟩, without a unit.
        test: ⟨⟨Ū⟩⟩, in the unit of the loss, as all below.
        train: test less gap.
        gap: ⟨⟨Ū (1 − exp(−κ))⟩⟩ with κ = Cov(g, ln U).
        normal_gap: ⟨⟨σ_gu⟩⟩, exact at every θ if g and U are jointly normal.
        bound: n^(−½) ⟨⟨σ_l (exp σ_g² − 1)^½⟩⟩, of the gap.
        interpolation_bound: n^(−½) ⟨⟨σ_l exp(σ_g²/2)⟩⟩, of the test loss where the train loss is nearly zero and σ_g
            large.
        log_normalizer: ln ∫ exp(−ḡ + σ_g²/2) dθ.
        optimum: 2 Cov(Ū, σ_v²)/Cov(Ū, v̄ − σ_va) over the approximate density at this temperature, (26), which equals
            the temperature where this approximation's test loss is stationary; `None` with the normalised gauge. It is
            no more than that: for mean estimation it says 4/n, and the loss rises from T = 0. `stationary_temperatures`
            are exact.
        curvature: −∂² ln Z̄/∂b² in b = 2/T, of the second footnote; `None` with the normalised gauge.
    """

    gauge: str | float
    theta: np.ndarray
    density: np.ndarray
    defect: float | None
    spread: float
    test: float
    train: float
    gap: float
    normal_gap: float
    bound: float
    interpolation_bound: float
    log_normalizer: float
    optimum: float | None = None
    curvature: float | None = None


def log_normal(
    axis: Axis,
    weights: np.ndarray,
    potential: np.ndarray,
    train: np.ndarray,
    loss_spread: np.ndarray,
    of_gap: float,
    gauge: str | float,
) -> LogNormal:
    """Return the approximation.

    Args:
        axis: the points.
        weights: the probabilities of the training sets, shape (datasets,).
        potential: g in the gauge, shape (datasets, G).
        train: U of every training set, likewise.
        loss_spread: the spread of U over training sets, n^(−½) σ_l for independent draws, shape (G,).
        of_gap: by how much the gap exceeds the one of independent test sets.
        gauge: its name.

    Raises:
        LandscapeError: the approximate density does not fall off inside the domain, or a train loss is not positive
            where it has not.

    References:
        "Studying Generalization Through Data Averaging", equations (10)–(14), (22)–(25); corrected: the exponent of
        (12) and (13) is Cov(g, ln U), without the ⅛σ_u⁴/Ū⁴, which makes a gap where g does not depend on the data; (14)
        and (23) bound the test loss.
    """
    mean = weights @ potential
    away = potential - mean
    variance = weights @ away**2
    exponent = -mean + variance / 2
    check_ends(
        exponent[None],
        "The log-normal density exp(−ḡ + σ_g²/2), for which g varies too much from one training set to another,",
        "more training points, more noise or a higher temperature",
    )
    top = exponent.max()
    relative = np.exp(exponent - top)
    total = float(relative @ axis.weights)
    density = relative / total
    if np.any(low := np.any(train <= 0, axis=0) & (exponent > top - 30)):
        place = axis.points[np.flatnonzero(low)[0]]
        raise LandscapeError(
            f"The log-normal approximation takes the logarithm of the train loss, which is not positive at θ={place:g} "
            "for some training set. Add a constant to the loss, or use interpolated_gap, which is exact."
        )
    measure, average = density * axis.weights, weights @ train
    kappa = weights @ (away * np.log(np.where(low, 1.0, np.maximum(train, np.finfo(float).tiny))))
    sigma = weights @ (away * (train - average))
    gap = float(measure @ (-average * np.expm1(-kappa)))
    train_loss = float(measure @ average) - gap
    log_total = float(np.log(total) + top)
    with np.errstate(over="ignore"):
        bounds = [float(measure @ (loss_spread * np.sqrt(part))) for part in (np.expm1(variance), np.exp(variance))]
    return LogNormal(
        gauge=gauge,
        theta=axis.points,
        density=density,
        defect=abs(float(np.expm1(log_total))) if gauge == "normalized" else None,
        spread=float(measure @ variance),
        test=train_loss + of_gap * gap,
        train=train_loss,
        gap=of_gap * gap,
        normal_gap=of_gap * float(measure @ sigma),
        bound=of_gap * bounds[0],
        interpolation_bound=of_gap * bounds[1],
        log_normalizer=log_total,
    )


def printed_optimum(
    found: LogNormal,
    axis: Axis,
    weights: np.ndarray,
    v: np.ndarray,
    a: np.ndarray,
    pool: np.ndarray,
    temperature: float,
) -> LogNormal:
    """Return an approximation with what (26) and the second footnote say of it.

    Args:
        found: in the gauge of a base point.
        axis: the points.
        weights: the probabilities of the training sets, shape (datasets,).
        v, a: in the same gauge, shape (datasets, G).
        pool: Ū, shape (G,).
        temperature: T.

    References:
        "Studying Generalization Through Data Averaging", equation (26) and footnote 2; corrected: the footnote lacks
        −⟨⟨σ_v²⟩⟩.
    """
    measure, b = found.density * axis.weights, 2 / temperature
    mean, away = weights @ v, v - weights @ v
    variance, between = weights @ away**2, weights @ (away * (a - weights @ a))

    def covariance(f: np.ndarray, h: np.ndarray) -> float:
        return float(measure @ ((f - measure @ f) * (h - measure @ h)))

    slope = mean - b * variance - between
    below = covariance(pool, mean - between)
    optimum = 2 * covariance(pool, variance) / below if below else float("nan")
    return replace(found, optimum=optimum, curvature=-float(measure @ variance) - covariance(slope, slope))
