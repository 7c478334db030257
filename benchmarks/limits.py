"""SGD, its SDE and its ODE on the Gauss fit, l_x(h) = ½(h + x² e^(−h)) with x ~ N(0, 1), from h = 0.

Three ways that share nothing: the series; expected losses at finite learning rates without sampling, by quadrature over
x for SGD and by Kolmogorov's backward equation for the SDE, from which a fit in η takes the coefficients; simulations.
Gradient flow stays at h = 0, where the loss is ½. `feyngd reproduce gauss-fit` is made of the same parts.
"""

from fractions import Fraction

import jax
import numpy as np

import feyngd as fd
from feyngd.experiments._gauss_fit import by_series
from feyngd.experiments._gauss_quadrature import descend, diffuse, next_orders
from feyngd.landscapes import toys
from feyngd.simulation import simulate_sde

STEPS = (1, 2, 4, 10)
SIMULATED, RUNS = 0.1, 40_000


def check(rate: float) -> float:
    """Return how far one step of SGD by quadrature is from ½ e^(η/2)/√(1 + η)."""
    return abs(descend(rate, 1) - np.exp(rate / 2) / (1 + rate) ** 0.5 / 2)


def main() -> None:
    """Print the coefficients of η³ in both ways, then losses at one learning rate in all ways."""
    print(f"one step against its closed form: {max(check(rate) for rate in np.linspace(0.01, 0.06, 6)):.1e}")
    print("\ncoefficient of η³        SGD                  SDE                  SGD − SDE")
    print("  T     series   finite η    series   finite η    series   finite η   −T/48, without skew T/16")
    for steps in STEPS:
        exact = by_series(steps)
        assert exact["SGD"][:3] == exact["SDE"][:3] == (Fraction(1, 2), 0, Fraction(steps, 8))
        assert exact["ODE"] == (Fraction(1, 2), 0, 0, 0)
        sgd, limit = next_orders(descend, steps)[0], next_orders(diffuse, steps)[0]
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
