"""The mean time to leave a box around a point where loss and noise are those of independent coordinates."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ..._learning_rates import check_learning_rates
from ...errors import ArgumentError, LandscapeError
from ...estimates import TruncationWarning
from ...landscapes import Landscape
from .._assumptions import Assumption, Assumptions
from .._numbers import check_numbers
from ._escape_time import OVERSHOOT
from ._noise import Noise, check_noise
from ._result import LEAST_EXPONENT, EscapeTime
from ._surface import Surface

_MISALIGNED = 0.1
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
_LEVELS = 44  # panels, each half as far from the edge as the one before


def box_exit_time(
    landscape: Landscape, params: Any, radius: ArrayLike, noise: Noise, learning_rates: ArrayLike
) -> EscapeTime:
    """Return the mean time until a coordinate is first further than a radius from the centre of a box.

    Where loss and noise are those of independent coordinates, 1/τ = Σ_i 1/T_i with T_i = (1/D)∫₀^r e^{y²/2v} ∫₀^y
    e^{−z²/2v} dz dy, D = D_ii and v = D/H_ii: exits are rare, and each coordinate on its own is exact. Steps of length
    η are accounted for: D is divided by 1 − ηH_ii/2, and the box wider by 0.58260 standard deviations of a step.

    Where C = H the exponent is Br²/η, whatever H is: such exits do not test sharpness.

    Args:
        landscape: the loss and its data.
        params: the centre, near a minimum.
        radius: r, one number or one for every parameter in the order of `jax.tree.leaves`.
        noise: made by `sgd`, `sgld` or their sum.
        learning_rates: η, one or more.

    Returns:
        An `EscapeTime`; `time_steps` is what steps of finite length make of `log_time`, here already part of it.

    Raises:
        ArgumentError: an argument is not allowed.
        LandscapeError: coordinates are not independent (more than a tenth of H or C lies off the diagonal), nothing
            moves, or steps are unstable.

    Warns:
        TruncationWarning: an exponent below 6 with several coordinates, or kinks in the loss near the centre.

    References:
        Xie, Sato and Sugiyama, experiments of appendices D.1 and E.1, which read these exits as escapes over a saddle.

    Examples:
        >>> import jax.numpy as jnp
        >>> from feyngd.companions import escape as esc
        >>> from feyngd.landscapes import toys
        >>> bowl, centre = toys.quadratic([[1.0, 0.0], [0.0, 4.0]])
        >>> print(f"{esc.box_exit_time(bowl, centre, 1.0, esc.sgld(0.05), 0.01).log_time[0]:.4f}")
        9.0887
    """
    check_noise(noise)
    rates = check_learning_rates(learning_rates)
    surface = Surface(landscape, params)
    shares = noise.share(rates, surface.count)
    sizes = check_numbers("The radius", radius)
    if sizes.shape not in ((), (surface.size,)) or not np.all(np.isfinite(sizes)) or np.any(sizes <= 0):
        raise ArgumentError(
            f"The radius is positive: one number, or one for each of {surface.size} parameters; got {radius!r}."
        )
    if not surface.is_dense:
        raise LandscapeError(f"A box is for up to 1,500 parameters; these are {surface.size}. Use esc.simulate.")
    sizes = np.broadcast_to(sizes, (surface.size,))
    hessian = surface.hessian(surface.start)
    covariance = surface.covariance(surface.start) if noise.batch_size is not None else 0 * hessian
    if noise.model == "hessian" and noise.rho is not None:
        values, vectors = np.linalg.eigh(hessian)
        covariance = noise.rho * (vectors * np.abs(values)) @ vectors.T
    off = {"H": _off(hessian), "C": _off(covariance)}
    for name, share in off.items():
        if share > _MISALIGNED:
            raise LandscapeError(
                f"Coordinates are not independent: {share:.0%} of {name} lies off its diagonal, and "
                f"{_MISALIGNED:.0%} are allowed. Use esc.simulate(..., until=esc.Box(...))."
            )
    curvature, variance = np.diag(hessian), np.diag(covariance)
    if np.any(rates.max() * curvature >= 2):
        raise LandscapeError(f"Steps are stable below η = 2/h = {2 / curvature.max():.4g}; got {rates.max():g}.")
    diffusion = noise.isotropic + np.outer(shares, variance)
    if not np.all(diffusion.max(axis=1) > 0):
        raise LandscapeError("No coordinate has noise at the centre of the box: nothing leaves it.")
    plain, whole = np.empty(len(rates)), np.empty(len(rates))
    exponent = np.empty(len(rates))
    for i, rate in enumerate(rates):
        moving = diffusion[i] > 0
        d, h, r = diffusion[i][moving], curvature[moving], sizes[moving]
        plain[i] = -special.logsumexp(-_log_exit(r, d, h))
        wider, faster = r + OVERSHOOT * np.sqrt(2 * rate * d), d / (1 - rate * h / 2)
        logs = _log_exit(wider, faster, h)
        whole[i] = -special.logsumexp(-logs)
        first = int(np.argmin(logs))
        exponent[i] = max(h[first] * r[first] ** 2 / (2 * d[first]), 0.0)
    least = Assumption.judged("rare exits", float(exponent.min()), least=6.0, meaning="r²/2v of the likeliest side")
    rows = Assumptions(
        [
            least,
            Assumption.judged("independent curvatures", off["H"], most=_MISALIGNED, meaning="of H off its diagonal"),
            Assumption.judged("independent noise", off["C"], most=_MISALIGNED, meaning="of C off its diagonal"),
        ]
    )
    nothing = np.zeros_like(rates)
    _warn(str(noise), surface, float(exponent.min()))
    return EscapeTime(
        rates,
        whole,
        nothing,
        1 / np.maximum(exponent, 1.0) if surface.size > 1 else nothing,
        exponent,
        whole - exponent,
        np.full_like(rates, np.nan),
        whole - plain,
        rows,
        str(noise),
        "out of a box, with steps of finite length",
    )


def _warn(noise: str, surface: Surface, exponent: float) -> None:
    """Warn of what makes the time doubtful, once for each reason."""
    reasons = []
    if exponent < LEAST_EXPONENT and surface.size > 1:
        reasons.append(
            f"the least exponent is {exponent:.3g}, below {LEAST_EXPONENT:g}, where exits along several coordinates "
            "are not rare, and their rates do not add"
        )
    if kinks := surface.kinks(surface.start[None]):
        reasons.append(f"the loss has kinks ({'; '.join(map(str, kinks))}), and curvatures do not describe it fully")
    if reasons:
        warnings.warn(f"Exit from a box with {noise}: {'; '.join(reasons)}.", TruncationWarning, stacklevel=3)


def _off(matrix: np.ndarray) -> float:
    """Return the share of a matrix, by Frobenius' norm, that is off its diagonal."""
    size = float(np.linalg.norm(matrix))
    return float(np.linalg.norm(matrix - np.diag(np.diag(matrix)))) / size if size else 0.0


def _log_exit(radius: np.ndarray, diffusion: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """Return the logarithm of (1/D)∫₀^r e^{hy²/2D} ∫₀^y e^{−hz²/2D} dz dy for every coordinate; h has either sign."""
    edges = np.concatenate([[0.0], 1 - 0.5 ** np.arange(1, _LEVELS), [1.0]])
    half = np.diff(edges)[:, None] / 2
    places = (edges[:-1, None] + half * (1 + _NODES)).ravel()
    weights = (half * _WEIGHTS).ravel()
    y = radius[:, None] * places
    x = np.sqrt(np.abs(curvature) / (2 * diffusion))[:, None] * y  # y over √2 standard deviations
    signs = np.sign(curvature)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(signs > 0, np.sqrt(np.pi) / 2 * special.erf(x) / x, special.dawsn(x) / x)
    # Both inner integrals over y, times e^{±x²}; at h = 0 they are y.
    log_inner = np.where(x < 1e-8, 0.0, np.log(np.where(x < 1e-8, 1.0, ratio))) + np.where(signs > 0, x**2, 0.0)
    return special.logsumexp(np.log(weights) + np.log(y) + log_inner, axis=1) + np.log(radius / diffusion)
