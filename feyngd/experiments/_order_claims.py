"""Claims on the highest order of a prediction, which fail if it is wrong. Each says how well the runs resolve it."""

import numpy as np
from numpy.typing import ArrayLike

from ..prediction import OrderCheck, decide
from ._experiment import Finding

_SIGMA, _ALLOWED = "one standard error in % of the predicted", "allowed in %"


def order_claim(name: str, check: OrderCheck) -> Finding:
    """Judge whether the predicted coefficient of the highest order is that of the simulated runs.

    It is undecided unless the runs distinguish the coefficient from half and twice of it, and so from zero.

    Args:
        name: what is predicted, in words.
        check: the predicted coefficient and the fitted one.
    """
    if (fit := check.fitted) is None:
        return Finding(f"{name}: the highest order is that of the runs", None, {"prediction": check.prediction})
    numbers = {
        "prediction": check.prediction,
        "fitted": fit.value,
        "stderr": check.stderr,
        "cut of the fit": fit.bias,
        "allowed": check.allowed,
        **_shares(check.prediction, check.stderr, check.allowed),
    }
    return Finding(f"{name}: the coefficient of η^{fit.order} is that of the runs", check.verdict, numbers)


def resolved(claim: str, prediction: float, simulation: float, *, stderr: float, within: float = 0.0) -> Finding:
    """Judge whether a predicted number is the simulated one; undecided where half of it would pass, too.

    Args:
        claim: the claim, in words.
        prediction: the predicted number.
        simulation: the simulated number.
        stderr: the combined standard error of the two.
        within: what is allowed beyond three of them, in the unit of the numbers.
    """
    allowed = 3 * stderr + within
    numbers = {
        "prediction": prediction,
        "simulation": simulation,
        "stderr": stderr,
        "allowed": allowed,
        **_shares(prediction, stderr, allowed),
    }
    return Finding(claim, decide(prediction, simulation, allowed), numbers)


def pooled(
    claim: str,
    predictions: ArrayLike,
    simulations: ArrayLike,
    stderrs: ArrayLike,
    scales: ArrayLike,
    within: ArrayLike = 0.0,
) -> Finding:
    """Judge whether small predicted numbers are the simulated ones, from many of them together.

    Both are fitted by a multiple of `scales`, by least squares: together they may resolve what each alone does not.

    Args:
        claim: the claim, in words.
        predictions: the predicted numbers, shape (n,).
        simulations: the simulated ones, of independent runs.
        stderrs: their standard errors.
        scales: how large the numbers are against each other, known apart from the prediction.
        within: what is allowed beyond three standard errors, such as a truncation figure, in the unit of the numbers.
    """
    errors, sizes = np.asarray(stderrs, dtype=float), np.asarray(scales, dtype=float)
    weights = sizes / errors**2 / np.sum((sizes / errors) ** 2)
    one, other = (float(weights @ np.asarray(numbers, dtype=float)) for numbers in (predictions, simulations))
    beyond = float(np.sum(np.abs(weights) * np.broadcast_to(np.abs(within), weights.shape)))
    return resolved(claim, one, other, stderr=float(np.sqrt(np.sum((weights * errors) ** 2))), within=beyond)


def _shares(prediction: float, stderr: float, allowed: float) -> dict[str, float]:
    """Return how well a number is resolved."""
    return {
        name: 100 * size / abs(prediction) if prediction else float("inf")
        for name, size in ((_SIGMA, stderr), (_ALLOWED, allowed))
    }
