"""Linear regression: the limit with noise that changes with θ, exactly, for batches that are independent draws."""

from typing import Any

import numpy as np

from ...errors import ArgumentError, LandscapeError
from ...optimizers import momentum
from .._numbers import check_number, check_numbers
from ._basin import dense_basin
from ._limit import Limit
from ._linear_step import linear_step
from ._settings import check_stable, response_of

_MOST = 30  # parameters: the equation has as many unknowns as pairs of them


def regression_limit(
    X: Any, Y: Any, learning_rate: float, batch_size: int, *, optimizer: Any = None, weight_decay: float = 0.0
) -> Limit:
    """Return the limiting dynamics of linear regression with the loss ½|θᵀx − y|², exactly.

    Its noise is quadratic in θ. In the stationary state its mean is Σ_0 + R(P), Σ_0 being that at the minimum μ of the
    loss with weight decay, P the covariance of θ, and R(P) = mean(xxᵀPxxᵀ) − HPH. The limit has that mean as its noise:
    everything stationary is exact. From a start of its own, noise would be that of its own distance from μ.

    Args:
        X: the inputs x, shape (N, d).
        Y: the targets y, shape (N,), or (N, q) for q of them with d·q parameters, row by row of θ of shape (d, q).
        learning_rate: η.
        batch_size: B; batches are drawn with replacement.
        optimizer: `momentum(0.9)` by default.
        weight_decay: λ.

    Raises:
        ArgumentError: shapes do not fit, numbers are not finite, or there are more than 30 parameters.
        LandscapeError: the learning rate is not stable, in the mean or in the mean square, or noise meets flat
            directions.

    References:
        The project's own; Kunin et al., section 5, have the noise at the minimum.

    Examples:
        >>> import numpy as np
        >>> x = np.array([[1.0], [2.0], [1.0], [2.0]])
        >>> found = regression_limit(x, np.array([1.0, -1.0, -1.0, 1.0]), 0.1, 1)
        >>> print(f"{found.position_variance().value:.4f} {found.basin.noise.trace:.4f}")
        1.0326 4.8234
    """
    x, y = check_numbers("X", X), check_numbers("Y", Y)
    y = y[:, None] if y.ndim == 1 else y
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
        raise ArgumentError(f"X has the shape (N, d) and Y (N,) or (N, q); got {np.shape(X)} and {np.shape(Y)}.")
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(y))):
        bad = [int(np.sum(~np.isfinite(each))) for each in (x, y)]
        raise ArgumentError(
            f"X and Y are finite numbers; {bad[0]} of X and {bad[1]} of Y are not. Leave those rows out."
        )
    size = x.shape[1] * y.shape[1]
    if size > _MOST:
        raise ArgumentError(
            f"The noise of up to {_MOST} parameters is solved for exactly; there are {size}. Use basin(…).limit(…) and "
            "over_cloud, or fewer inputs."
        )
    decay = check_number("weight_decay", weight_decay, least=0)
    step = linear_step(momentum(0.9) if optimizer is None else optimizer, learning_rate)
    response = response_of(
        step,
        batch_size,
        num_examples=None,
        reading=None,
        sampling="with-replacement",
        drop_last=False,
        time="discrete",
    )
    # The example's Hessian is JᵀJ for the Jacobian J = xᵀ ⊗ 1 of its q predictions.
    jacobians = np.einsum("nd,qr->nqdr", x, np.eye(y.shape[1])).reshape(len(x), y.shape[1], size)
    squares = np.einsum("nqi,nqj->nij", jacobians, jacobians)
    hessian = squares.mean(axis=0)
    curvatures, turns = np.linalg.eigh(hessian)
    check_stable(step, float(curvatures[0]) + decay, float(curvatures[-1]) + decay, "discrete")
    k = hessian + decay * np.eye(size)
    target = np.einsum("nqi,nq->i", jacobians, y) / len(x)
    middle = np.linalg.lstsq(k, target, rcond=None)[0]
    gradients = np.einsum("nqi,nq->ni", jacobians, jacobians @ middle - y)
    slope = gradients.mean(axis=0)
    start = (gradients - slope).T @ (gradients - slope) / len(x)
    h = curvatures + decay
    flat = 10 * size**0.5 * float(np.finfo(float).eps) * h[-1]
    if np.any((h <= flat) & (np.diag(turns.T @ start @ turns) > 1e-14 * np.trace(start))):
        raise LandscapeError("There is noise along directions without curvature: give weight_decay, or fewer inputs.")
    held = h > flat
    turns, h = turns[:, held], h[held]
    gain = response.states(h[:, None], h[None])[..., 0, 0]  # of the covariance of θ, in units of the noise
    total = _mean_noise(turns.T @ start @ turns, np.einsum("ia,nij,jb->nab", turns, squares, turns), gain)
    noise = turns @ total @ turns.T
    rounding = 10 * float(np.finfo(float).eps)
    basin = dense_basin(hessian, noise, middle, slope, num_examples=len(x), eps=rounding)
    return basin.limit(
        learning_rate, batch_size, optimizer=momentum(0.9) if optimizer is None else optimizer, weight_decay=decay
    )


def _mean_noise(start: np.ndarray, squares: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Return S = Σ_0 + R(gain · S) in the eigenbasis, or raise where the mean square runs away."""
    size = len(start)
    mean = squares.mean(axis=0)
    spread = np.einsum("nab,ncd->acbd", squares, squares, optimize=True) / len(squares)
    spread = (spread - np.einsum("ab,cd->acbd", mean, mean)).reshape(size**2, size**2)
    passed = spread * gain.ravel()
    radius = float(np.abs(np.linalg.eigvals(passed)).max(initial=0.0))
    if radius >= 1:
        raise LandscapeError(
            f"The mean settles, the mean square does not: noise that grows with the distance feeds itself by "
            f"{radius:.3g} of what is lost. Give a smaller learning rate or larger batches."
        )
    return np.linalg.solve(np.eye(size**2) - passed, start.ravel()).reshape(size, size)
