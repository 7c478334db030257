"""What the limiting dynamics take for granted, measured."""

from typing import Any

import numpy as np

from .._assumptions import Assumption, Assumptions
from ._continuous import commutator

_SKEW, _KURTOSIS, _TIED = 0.5, 1.0, 0.1
_DAMPING, _FRICTION, _RATIO = 0.5, 0.5, 1.1
_COMMUTE, _QUADRATIC, _SLOPE = 0.05, 0.1, 0.5
_GRADIENT = 0.01


def assumptions(basin: Any, limit: Any) -> Assumptions:
    """Return assumptions 1 to 5 of the paper at a basin; those of a limit, where one is given.

    References:
        Kunin et al., appendices A to C.
    """
    return Assumptions([*_noise(basin, limit), *_steps(basin, limit), *_shape(basin, limit)])


def _noise(basin: Any, limit: Any) -> list[Assumption]:
    """A1: normal noise, independent from step to step."""
    skew = excess = skew_error = excess_error = None
    batch = 1 if limit is None else limit.batch_size
    along = basin.projections
    if along is not None and np.any(along):
        z = along / along.std()
        skew, excess = abs(float(np.mean(z**3))) / batch**0.5, abs(float(np.mean(z**4)) - 3) / batch
        each = len(z) ** 0.5
        # To leading order in 1/N: of the third and fourth moments alone.
        skew_error, excess_error = float(np.std(z**3)) / each / batch**0.5, float(np.std(z**4)) / each / batch
    tied = None
    if limit is not None:
        tied = 0.0 if limit.sampling == "with-replacement" else 1.0
    of = "one example" if limit is None else f"a batch of {batch}"
    return [
        Assumption.judged(
            "A1 noise without skewness",
            skew,
            most=_SKEW,
            stderr=skew_error,
            meaning=f"|skewness| of the noise of {of} along the sharpest direction; covariances need no normal noise, "
            "densities do.",
        ),
        Assumption.judged(
            "A1 noise without heavy tails",
            excess,
            most=_KURTOSIS,
            stderr=excess_error,
            meaning=f"|excess kurtosis| of the noise of {of} along the sharpest direction.",
        ),
        Assumption.judged(
            "A1 independent batches",
            tied,
            most=_TIED,
            meaning="the share of a step's noise that the rest of its epoch takes back: 0 with replacement, 1 without.",
        ),
    ]


def _steps(basin: Any, limit: Any) -> list[Assumption]:
    """A2: small steps, long memory."""
    damping = friction = ratio = None
    if limit is not None:
        top = max(float(np.max(nodes)) for nodes, _ in limit.parts[0].noise.groups) + limit.weight_decay
        damping, friction = limit.step.eta * top, 1 - limit.step.beta
        ratio = 1 / (1 - damping / (2 * (1 + limit.step.beta)))
    return [
        Assumption.judged(
            "A2 small steps",
            damping,
            most=_DAMPING,
            meaning="the largest ηh; the exact forms in discrete time need none.",
        ),
        Assumption.judged(
            "A2 long memory",
            friction,
            most=_FRICTION,
            meaning="1 − β; the paper's fast rate is right for small ones only.",
        ),
        Assumption.judged(
            "A2 continuous time",
            ratio,
            most=_RATIO,
            meaning="the exact variance over that of the paper's equation along the sharpest direction.",
        ),
    ]


def _shape(basin: Any, limit: Any) -> list[Assumption]:
    """A3 to A5: noise that commutes, a quadratic minimum, noise in proportion to curvature."""
    noise, matrix = basin.noise, basin.noise.matrix
    has_directions = matrix is not None and len(basin.curvatures) > 0
    apart = commutator(basin.curvatures, matrix) if has_directions else None
    nodes, weights = (np.concatenate([group[i].ravel() for group in noise.groups]) for i in (0, 1))
    decay = 0.0 if limit is None else limit.weight_decay
    held = weights > 0
    least = float(nodes[held].min() + decay) if held.any() else None
    top = float(np.abs(nodes).max(initial=0.0)) or 1.0
    slope = basin.slope + decay * basin.center
    size = min(float(np.sum(basin.slope**2)), float(np.sum(slope**2))) / noise.trace if noise.trace > 0 else None
    curved = None
    if basin.growth is not None:
        # The weight of a band in the loss is that of its noise.
        band = np.clip(np.searchsorted(basin.growth.edges, nodes, side="right") - 1, 0, len(basin.growth.loss) - 1)
        shares = np.bincount(band, np.maximum(weights, 0), len(basin.growth.loss))
        curved = abs(float(shares @ basin.growth.loss)) / float(shares.sum()) if shares.sum() > 0 else None
    power, fit = _proportion(basin.curvatures, np.diag(matrix) if has_directions else np.zeros(0))
    return [
        Assumption.judged(
            "A3 noise and curvature commute",
            apart,
            most=_COMMUTE,
            meaning="|[H, Σ]|/(|H||Σ|) along the known directions; modified loss and current need it, the numbers of a "
            "limit do not.",
        ),
        Assumption.judged(
            "A4 strict minimum",
            None if least is None else least / top,
            least=basin.flat / top,
            meaning="the least curvature that has noise over the greatest; where it is 0 nothing settles.",
        ),
        Assumption.judged(
            "A4 at the minimum",
            size,
            most=_GRADIENT / (1 if limit is None else limit.batch_size),
            meaning="|g|²/tr Σ of the mean gradient.",
        ),
        Assumption.judged(
            "A4 quadratic loss",
            curved,
            most=_QUADRATIC,
            meaning="how far the loss over a cloud of typical size is from its quadratic, as a fraction of it.",
        ),
        Assumption.judged(
            "A5 noise in proportion to curvature, power",
            power,
            most=_SLOPE,
            meaning="|slope − 1| of log Σ_ll on log h_l; nothing here needs it, the paper's shortcuts do.",
        ),
        Assumption.judged(
            "A5 noise in proportion to curvature, correlation",
            fit,
            least=1 - _SLOPE,
            meaning="the correlation of log Σ_ll and log h_l.",
        ),
    ]


def _proportion(curvatures: np.ndarray, noise: np.ndarray) -> tuple[Any, Any]:
    """Return |slope − 1| and correlation of log Σ_ll on log h_l, of 3 and more directions with both."""
    held = (curvatures > 1e-10 * np.abs(curvatures).max(initial=0.0)) & (noise > 1e-12 * noise.max(initial=0.0))
    if held.sum() < 3:
        return None, None
    x, y = np.log(curvatures[held]), np.log(noise[held])
    if not x.std() or not y.std():
        return None, None
    return abs(float(np.polyfit(x, y, 1)[0]) - 1), float(np.corrcoef(x, y)[0, 1])
