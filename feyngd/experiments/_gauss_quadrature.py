"""Expected losses on the Gauss fit without series and without sampling, at any learning rate.

The Gauss fit is l_x(h) = ½(h + x² e^(−h)) with x ~ N(0, 1), from h = 0. SGD is done by quadrature over x, the SDE by
Kolmogorov's backward equation; a fit in η takes their coefficients.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.polynomial.hermite_e import hermegauss
from scipy.linalg import expm

_RATES = np.array([0.008, 0.012, 0.016, 0.024, 0.032, 0.04, 0.05, 0.06])


def mean_loss(h: Any) -> Any:
    """Return the mean loss at h."""
    return (h + np.exp(-h)) / 2


def descend(rate: float, steps: int, *, nodes: int = 48, x: np.ndarray | None = None) -> float:
    """Return the expected loss after SGD with B = 1: mean over x, step after step from the last to the first.

    The loss after k more steps is a smooth function of h, kept by its Chebyshev interpolant on all h in reach.

    Args:
        rate: η.
        steps: T.
        nodes: the degree of the interpolants.
        x: equally likely values of x in place of the normal distribution, with E x² = 1, shape (M,).
    """
    x, weights = hermegauss(28) if x is None else (x, np.ones(len(x)))
    weights = weights / weights.sum()

    def move(h: Any) -> Any:
        return h[..., None] - rate / 2 * (1 - np.multiply.outer(np.exp(-h), x**2))

    reach = [(0.0, 0.0)]
    for _ in range(steps - 1):
        low, high = reach[-1]
        reach.append((low - rate / 2, high + rate / 2 * (np.max(x**2) * np.exp(-low) - 1)))
    after: Callable[[Any], Any] = mean_loss
    for low, high in reversed(reach[1:]):

        def mean(h: Any, after: Any = after) -> Any:
            return after(move(h)) @ weights

        after = chebyshev.Chebyshev.interpolate(mean, nodes, domain=(low, high))
    return float(after(move(np.zeros(1))[0]) @ weights)


def diffuse(rate: float, steps: int, *, nodes: int = 64, deviations: float = 8) -> float:
    """Return the expected loss after the SDE: ∂u/∂t = −l′u′ + (η/2)C u″ for the time ηT, by Chebyshev collocation.

    C = e^(−2h)/2. What is done at the ends does not matter if they are far away; but the noise grows towards the left,
    and where it has grown much the matrices get stiff: both are well done while η √(T/2) is below about 0.3.

    Args:
        rate: η.
        steps: T.
        nodes: the number of intervals of the grid.
        deviations: how far the ends are away, in standard deviations η √(T/2).
    """
    grid = np.cos(np.pi * np.arange(nodes + 1) / nodes)
    ends = np.where((np.arange(nodes + 1) % nodes) == 0, 2.0, 1.0) * (-1.0) ** np.arange(nodes + 1)
    apart = grid[:, None] - grid[None, :] + np.eye(nodes + 1)
    first = ends[:, None] / ends[None, :] / apart
    first -= np.diag(first.sum(axis=1))
    width = deviations * rate * (steps / 2) ** 0.5
    h, first = width * grid, first / width
    generator = -((1 - np.exp(-h)) / 2)[:, None] * first + (rate / 4 * np.exp(-2 * h))[:, None] * (first @ first)
    generator[[0, -1]] = 0
    return float((expm(rate * steps * generator) @ mean_loss(h))[nodes // 2])


def three_points() -> np.ndarray:
    """Return equally likely values of x with x² = 0, 1 or 6, which has the first three moments of the normal's x²."""
    return np.repeat([0.0, 1.0, 6**0.5], (5, 9, 1))


def next_orders(expected: Callable[[float, int], float], steps: int) -> tuple[float, float]:
    """Return the coefficients of η³ and η⁴, from losses less the known ½ + η²T/8, by a polynomial in η through them."""
    rates = _RATES / steps**0.5
    losses = np.array([expected(rate, steps) for rate in rates])
    rest = (losses - 0.5 - rates**2 * steps / 8) / rates**3
    third, fourth, *_ = np.polynomial.polynomial.polyfit(rates, rest, 5)
    return float(third), float(fourth)
