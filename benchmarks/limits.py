"""SGD, its SDE and its ODE on the Gauss fit, l_x(h) = ½(h + x² e^(−h)) with x ~ N(0, 1), from h = 0.

Three ways that share nothing: the series; expected losses at finite learning rates without sampling, by quadrature over
x for SGD and by Kolmogorov's backward equation for the SDE, from which a fit in η takes the coefficients; simulations.
Gradient flow stays at h = 0, where the loss is ½.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import numpy as np
from numpy.polynomial import chebyshev
from numpy.polynomial.hermite_e import hermegauss
from scipy.linalg import expm

import feyngd as fd
from feyngd.landscapes import toys
from feyngd.prediction import simulate_sde
from feyngd.series import ode, sde
from feyngd.testing import ExactValues, PolynomialLandscape

STEPS = (1, 2, 4, 10)
RATES = np.array([0.008, 0.012, 0.016, 0.024, 0.032, 0.04, 0.05, 0.06])
SIMULATED, RUNS = 0.1, 40_000


def loss(h: Any) -> Any:
    """Return the mean loss at h."""
    return (h + np.exp(-h)) / 2


def descend(rate: float, steps: int, nodes: int = 48, points: int = 28) -> float:
    """Return the expected loss after SGD: mean over x by Gauss–Hermite, step after step from the last to the first.

    The loss after k more steps is a smooth function of h, kept by its Chebyshev interpolant on all h in reach.
    """
    x, weights = hermegauss(points)
    weights = weights / weights.sum()

    def move(h: Any) -> Any:
        return h[..., None] - rate / 2 * (1 - np.multiply.outer(np.exp(-h), x**2))

    reach = [(0.0, 0.0)]
    for _ in range(steps - 1):
        low, high = reach[-1]
        reach.append((low - rate / 2, high + rate / 2 * (x.max() ** 2 * np.exp(-low) - 1)))
    after = loss
    for low, high in reversed(reach[1:]):

        def mean(h: Any, after: Any = after) -> Any:
            return after(move(h)) @ weights

        after = chebyshev.Chebyshev.interpolate(mean, nodes, domain=(low, high))
    return float(after(move(np.zeros(1))[0]) @ weights)


def diffuse(rate: float, steps: int, nodes: int = 64) -> float:
    """Return the expected loss after the SDE: ∂u/∂t = −l′u′ + (η/2)C u″ for the time ηT, by Chebyshev collocation.

    C = e^(−2h)/2. The ends are eight standard deviations away, and what is done there does not matter.
    """
    grid = np.cos(np.pi * np.arange(nodes + 1) / nodes)
    ends = np.where((np.arange(nodes + 1) % nodes) == 0, 2.0, 1.0) * (-1.0) ** np.arange(nodes + 1)
    apart = grid[:, None] - grid[None, :] + np.eye(nodes + 1)
    first = ends[:, None] / ends[None, :] / apart
    first -= np.diag(first.sum(axis=1))
    width = 8 * rate * (steps / 2) ** 0.5
    h, first = width * grid, first / width
    generator = -((1 - np.exp(-h)) / 2)[:, None] * first + (rate / 4 * np.exp(-2 * h))[:, None] * (first @ first)
    generator[[0, -1]] = 0
    return float((expm(rate * steps * generator) @ loss(h))[nodes // 2])


def third_order(expected: Callable[[float, int], float], steps: int) -> float:
    """Return the coefficient of η³, from losses less the known ½ + η²T/8, by a polynomial in η through them."""
    rates = RATES / steps**0.5
    losses = np.array([expected(rate, steps) for rate in rates])
    return float(np.polynomial.polynomial.polyfit(rates, (losses - 0.5 - rates**2 * steps / 8) / rates**3, 5)[0])


def by_series(steps: int) -> dict[str, tuple[Fraction, ...]]:
    """Return the exact coefficients of SGD, SDE and ODE to order 3; x² is 0, 1 or 6, with the moments that are used."""
    taylor = [(-1) ** k * Fraction(1, 2 * factorial) for k, factorial in enumerate((1, 1, 2, 6, 24))]
    losses = [
        {(k,): square * c + (Fraction(1, 2) if k == 1 else 0) for k, c in enumerate(taylor)} for square in (0, 1, 6)
    ]
    weights = [Fraction(1, 3), Fraction(3, 5), Fraction(1, 15)]
    values = ExactValues(PolynomialLandscape(losses, weights), [0])
    sgd = fd.expand("test_loss", order=3, spacetime=fd.Spacetime.sgd(steps), basis="cumulant")
    return {"SGD": values.sum(sgd), "SDE": values.sum(sde(3, T=steps)), "ODE": values.sum(ode(3, T=steps))}


def check(rate: float) -> float:
    """Return how far one step of SGD by quadrature is from ½ e^(η/2)/√(1 + η)."""
    return abs(descend(rate, 1) - np.exp(rate / 2) / (1 + rate) ** 0.5 / 2)


def main() -> None:
    """Print the coefficients of η³ in both ways, then losses at one learning rate in all ways."""
    print(f"one step against its closed form: {max(check(rate) for rate in RATES):.1e}")
    print("\ncoefficient of η³        SGD                  SDE                  SGD − SDE")
    print("  T     series   finite η    series   finite η    series   finite η   −T/48, without skew T/16")
    for steps in STEPS:
        exact = by_series(steps)
        assert exact["SGD"][:3] == exact["SDE"][:3] == (Fraction(1, 2), 0, Fraction(steps, 8))
        assert exact["ODE"] == (Fraction(1, 2), 0, 0, 0)
        sgd, limit = third_order(descend, steps), third_order(diffuse, steps)
        pairs = [(exact["SGD"][3], sgd), (exact["SDE"][3], limit)]
        pairs.append((pairs[0][0] - pairs[1][0], sgd - limit))
        cells = "  ".join(f"{float(series):9.6f}  {found:9.6f}" for series, found in pairs)
        print(f"{steps:3d}  {cells}   {-steps / 48:9.6f} {steps / 16:9.6f}")
    landscape, start = toys.gauss_fit()
    print(f"\nlosses at η = {SIMULATED}: {RUNS} runs on 30 values of x with the first seven moments of the normal")
    print("  T   SGD: series   quadrature   simulation           SDE: series    equation   simulation ± s.e. ± steps")
    for steps in STEPS:
        exact, spacetime = by_series(steps), fd.Spacetime.sgd(steps)
        options = {"runs": RUNS, "chunk_size": 1000}
        runs = fd.simulate(landscape, start, spacetime, SIMULATED, key=jax.random.key(0), **options)
        paths = simulate_sde(landscape, start, spacetime, SIMULATED, key=jax.random.key(1), **options)
        series = {name: sum(float(c) * SIMULATED**k for k, c in enumerate(exact[name])) for name in ("SGD", "SDE")}
        sgd, limit = descend(SIMULATED, steps), diffuse(SIMULATED, steps, nodes=160)
        print(
            f"{steps:3d}     {series['SGD']:.6f}     {sgd:.6f}   {runs.mean[0]:.6f} ± {runs.stderr[0]:.6f}      "
            f"{series['SDE']:.6f}    {limit:.6f}   {paths.mean[0]:.6f} ± {paths.stderr[0]:.6f} ± "
            f"{paths.discretization[0]:.6f}"
        )


if __name__ == "__main__":
    main()
