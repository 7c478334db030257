"""How experiments judge: a finding from predicted and simulated numbers with their errors.

`agreement` allows three standard errors, for one pair of numbers; `worst_agreement` does so for all learning rates of a
prediction at once, and `all_agree` for any list of pairs. `equivalence` asks for more: the two must be close, and the
simulation precise enough to show it. Verdicts on the highest order of a prediction are in `_order_claims`.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from ..prediction import Prediction
from ._experiment import Finding


def agreement(
    claim: str, prediction: float, simulation: float, *, stderr: float, within: float = 0.0, relative: float = 0.0
) -> Finding:
    """Judge whether a prediction and a simulation agree.

    Args:
        claim: the claim, in words.
        prediction: the predicted number.
        simulation: the simulated number.
        stderr: the combined standard error of the two; three of them are allowed.
        within: what is allowed in addition, such as a truncation figure, in the unit of the numbers.
        relative: what is allowed as a fraction of the simulated number, if that is more than the other two together.
    """
    allowed = max(3 * stderr + within, relative * abs(simulation))
    difference = abs(prediction - simulation)
    numbers = {"prediction": prediction, "simulation": simulation, "stderr": stderr, "allowed": allowed}
    return Finding(claim, bool(math.isfinite(difference) and difference <= allowed), numbers)


def worst_agreement(
    claim: str, prediction: Prediction, mean: np.ndarray, stderr: np.ndarray, edge: float | None = None
) -> Finding:
    """Judge whether prediction and simulation agree at all learning rates up to an edge.

    The numbers are those of the rate where they differ most, in units of what is allowed: three combined standard
    errors and the truncation figure.

    Args:
        claim: the claim, in words.
        prediction: the prediction.
        mean: the simulated means, one for every learning rate of the prediction.
        stderr: their standard errors.
        edge: the learning rate up to which they are judged; `valid_up_to` by default.
    """
    inside = np.flatnonzero(prediction.learning_rates < (prediction.valid_up_to if edge is None else edge))
    if not len(inside):
        return Finding(claim, False, {"rates inside the valid range": 0.0})
    combined = np.hypot(prediction.stderr, stderr)
    off = np.abs(prediction.mean - mean) / (3 * combined + prediction.truncation)
    worst = inside[np.argmax(np.nan_to_num(off[inside], nan=np.inf))]
    worst_pair = agreement(
        claim,
        float(prediction.mean[worst]),
        float(mean[worst]),
        stderr=float(combined[worst]),
        within=float(prediction.truncation[worst]),
    )
    about = {"rates": float(len(inside)), "worst at η": float(prediction.learning_rates[worst])}
    return Finding(claim, worst_pair.holds, {**about, **worst_pair.numbers})


def all_agree(
    claim: str, predictions: ArrayLike, simulations: ArrayLike, stderrs: ArrayLike, within: ArrayLike = 0.0
) -> Finding:
    """Judge whether many predictions and simulations agree, all together.

    They do if the largest deviation is one that chance exceeds once in 740 times. For a single pair that allows three
    standard errors, and for the largest of n more.

    Args:
        claim: the claim, in words.
        predictions: the predicted numbers, shape (n,).
        simulations: the simulated numbers, which may be correlated.
        stderrs: the standard errors of their differences.
        within: what is allowed in addition, such as a truncation figure, in the unit of the numbers.
    """
    off = np.abs(np.asarray(predictions, dtype=float) - np.asarray(simulations, dtype=float))
    scores = np.maximum(off - np.asarray(within), 0) / np.asarray(stderrs, dtype=float)
    allowed = float(norm.isf(norm.sf(3) / scores.size))
    numbers = {"largest deviation in standard errors": float(scores.max()), "allowed": allowed, "of": scores.size}
    return Finding(claim, bool(scores.max() <= allowed), numbers)


def equivalence(claim: str, prediction: float, simulation: float, *, stderr: float, relative: float) -> Finding:
    """Judge whether a prediction is close to a simulation, beyond doubt.

    It is if the difference and two standard errors together are within the tolerance. A simulation that is too noisy
    cannot support the claim.

    Args:
        claim: the claim, in words.
        prediction: the predicted number.
        simulation: the simulated number.
        stderr: the standard error of their difference.
        relative: the tolerance, as a fraction of the simulated number.
    """
    allowed = relative * abs(simulation)
    holds = bool(abs(prediction - simulation) + 2 * stderr <= allowed)
    numbers = {"prediction": prediction, "simulation": simulation, "stderr": stderr, "allowed": allowed}
    return Finding(claim, holds, numbers)
