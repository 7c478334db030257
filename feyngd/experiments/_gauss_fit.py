"""The Gauss fit: what continuous time misses of SGD with skewed noise, to third order in the learning rate."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ..drawing import new_figure
from ..landscapes import toys
from ..prediction import FittedOrder, OrderCheck, fit_order
from ..series import expand, ode, sde
from ..simulation import simulate, simulate_sde
from ..spacetimes import Spacetime
from ..testing import ExactValues, PolynomialLandscape
from ._experiment import Experiment, Finding, Outcome, Setting
from ._gauss_quadrature import descend, diffuse, next_orders, three_points
from ._order_claims import order_claim, resolved
from ._verdicts import all_agree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = (1, 2, 4, 10)
TOLERANCE = 1e-3  # of the extrapolated coefficients of η³, a fraction
FOURTH_TOLERANCE = 2e-3  # of those of η⁴
SIMULATED_STEPS, RATES = 4, (0.05, 0.1, 0.15, 0.2)
FITTED_RATES = (0.0125, 0.025, *RATES)  # of SGD: with the first two a fit of η³ is cut low enough
_COLOURS = {"SGD": "#0072B2", "SDE": "#E69F00"}
_MARKS = {"SGD": "o", "SDE": "s"}


@dataclass(frozen=True)
class Simulated:
    """Simulated losses after T steps at every learning rate.

    Attributes:
        mean: their mean over runs.
        stderr: its standard error.
        allowed: the error of the time steps of the SDE.
        third: the coefficient of η³, fitted to runs of SGD.
    """

    mean: np.ndarray
    stderr: np.ndarray
    allowed: np.ndarray
    third: FittedOrder | None = None


def by_series(steps: int, order: int = 3) -> dict[str, tuple[Fraction, ...]]:
    """Return the exact coefficients of SGD, SDE and ODE; x² is 0, 1 or 6, with the moments of the normal that matter.

    Args:
        steps: T.
        order: the highest power of η, at most 4; at 4 the population is no longer as good as the normal.
    """
    taylor = [(-1) ** k * Fraction(1, 2 * factorial) for k, factorial in enumerate((1, 1, 2, 6, 24))]
    losses: list[dict[tuple[int, ...], Fraction]] = [
        {(k,): square * c + (Fraction(1, 2) if k == 1 else 0) for k, c in enumerate(taylor)} for square in (0, 1, 6)
    ]
    weights = [Fraction(1, 3), Fraction(3, 5), Fraction(1, 15)]
    values = ExactValues(PolynomialLandscape(losses, weights), [0])
    sgd = expand("test_loss", order=order, spacetime=Spacetime.sgd(steps), basis="cumulant")
    return {"SGD": values.sum(sgd), "SDE": values.sum(sde(order, T=steps)), "ODE": values.sum(ode(order, T=steps))}


def run(setting: Setting) -> Outcome:
    """Find the coefficients of η³ by extrapolation, simulate at finite learning rates, set both against the series."""
    steps = (1, SIMULATED_STEPS) if setting.quick else STEPS
    runs = 4000 if setting.quick else 200_000
    exact = {T: by_series(T, order=4) for T in steps}
    found = {T: {"SGD": next_orders(descend, T)[0], "SDE": next_orders(diffuse, T)[0]} for T in steps}
    by_points = partial(descend, x=three_points())
    fourth = {T: {"SGD": next_orders(by_points, T)[1], "SDE": next_orders(diffuse, T)[1]} for T in steps}
    with jax.enable_x64(True):
        simulated = _simulations(SIMULATED_STEPS, runs, setting)
    findings = [finding for T in steps for finding in _coefficients(T, exact[T], found[T])]
    findings += [_fourth(name, T, exact[T][name], value) for T in steps for name, value in fourth[T].items()]
    findings += [_losses(name, exact[SIMULATED_STEPS][name], simulated[name]) for name in simulated]
    third = OrderCheck(simulated["SGD"].third, float(exact[SIMULATED_STEPS]["SGD"][3]))
    findings += [order_claim(f"SGD at T = {SIMULATED_STEPS}", third), _gradient_flow(exact)]
    data: dict[str, Any] = {f"T = {T}": _numbers(exact[T], found[T]) for T in steps}
    for name, losses in simulated.items():
        data[f"{name}, T = {SIMULATED_STEPS}"] = {"rates": RATES, "loss": losses.mean, "stderr": losses.stderr}
    return Outcome(findings, data, _figure(exact, found, simulated))


def _simulations(steps: int, runs: int, setting: Setting) -> dict[str, Simulated]:
    landscape, start = toys.gauss_fit()
    options: dict[str, Any] = {"runs": runs, "chunk_size": 1000, "progress": setting.progress}
    keys = jax.random.split(setting.key)
    sgd = simulate(landscape, start, Spacetime.sgd(steps), FITTED_RATES, key=keys[0], **options)
    third, shown = fit_order(FITTED_RATES, sgd.samples, 3, start=0.5), slice(-len(RATES), None)
    paths = simulate_sde(landscape, start, Spacetime.sgd(steps), RATES, key=keys[1], **options)
    return {
        "SGD": Simulated(sgd.mean[shown], sgd.stderr[shown], np.zeros(len(RATES)), third),
        "SDE": Simulated(paths.mean, paths.stderr, paths.discretization),
    }


def _coefficients(steps: int, exact: Mapping[str, tuple[Fraction, ...]], found: Mapping[str, float]) -> list[Finding]:
    """Set the coefficients of η³ of SGD, the SDE and their difference against the extrapolated ones."""
    sgd, limit = float(exact["SGD"][3]), float(exact["SDE"][3])
    pairs = {
        f"the coefficient of η³ of SGD at T = {steps} is the series'": (sgd, found["SGD"]),
        f"the coefficient of η³ of its SDE at T = {steps} is the series'": (limit, found["SDE"]),
        f"the SDE misses −T/48 η³ of SGD at T = {steps}": (sgd - limit, found["SGD"] - found["SDE"]),
    }
    return [resolved(claim, *pair, stderr=0, within=TOLERANCE * abs(pair[1])) for claim, pair in pairs.items()]


def _fourth(name: str, steps: int, exact: tuple[Fraction, ...], found: float) -> Finding:
    """Set the coefficient of η⁴, by which simulated losses are allowed to be off, against the extrapolated one."""
    claim = f"the coefficient of η⁴ of {name} at T = {steps}, x² being 0, 1 or 6, is the series'"
    return resolved(claim, float(exact[4]), found, stderr=0, within=FOURTH_TOLERANCE * abs(found))


def _losses(name: str, exact: tuple[Fraction, ...], simulated: Simulated) -> Finding:
    """Set simulated losses against the series to η³, which may be off by its next term."""
    rates = np.array(RATES)
    series = np.polynomial.polynomial.polyval(rates, [float(c) for c in exact[:4]])
    within = abs(float(exact[4])) * rates**4 + simulated.allowed
    claim = f"simulated losses of {name} at T = {SIMULATED_STEPS} are the series', to its next term"
    return all_agree(claim, series, simulated.mean, simulated.stderr, within)


def _gradient_flow(exact: Mapping[int, Mapping[str, tuple[Fraction, ...]]]) -> Finding:
    landscape, start = toys.gauss_fit()
    slope = abs(float(jax.grad(landscape.mean_loss)(start)))
    change = max(abs(float(c)) for row in exact.values() for c in row["ODE"][1:])
    claim = "gradient flow stays at h = 0, in the series and by the gradient there"
    return Finding(claim, change == 0 and slope < 1e-6, {"largest coefficient": change, "gradient": slope})


def _numbers(exact: Mapping[str, tuple[Fraction, ...]], found: Mapping[str, float]) -> dict[str, dict[str, float]]:
    return {name: {"series": float(exact[name][3]), "extrapolated": value} for name, value in found.items()}


def _figure(
    exact: Mapping[int, Mapping[str, tuple[Fraction, ...]]],
    found: Mapping[int, Mapping[str, float]],
    simulated: Mapping[str, Simulated],
) -> "Figure":
    figure, ((left, right),) = new_figure(2)
    _draw_losses(left, exact[SIMULATED_STEPS], simulated)
    times = np.array(sorted(exact))
    right.plot(times, -times / 12, color="#777777", ls="--", lw=1, label="skew of the noise alone, −T/12")
    right.plot(times, times / 16, color="#777777", ls=":", lw=1, label="size of the steps alone, T/16")
    series = [float(exact[T]["SGD"][3] - exact[T]["SDE"][3]) for T in times]
    extrapolated = [found[T]["SGD"] - found[T]["SDE"] for T in times]
    right.plot(times, series, color="black", lw=1.2, label="both, by the series: −T/48")
    right.plot(times, extrapolated, "D", color="#009E73", ms=5, label="extrapolated from finite η")
    right.set_xlabel("steps T")
    right.set_ylabel("coefficient of η³, SGD − SDE")
    right.set_title("What continuous time misses", fontsize=10)
    right.legend(fontsize=8)
    return figure


def _draw_losses(axes: Any, exact: Mapping[str, tuple[Fraction, ...]], simulated: Mapping[str, Simulated]) -> None:
    """Draw (loss − ½ − η²T/8)/η³ against η: exact curves, simulations, and the series' coefficient at η = 0."""
    rates = np.linspace(0.01, 1.05 * max(RATES), 8)
    curves = {"SGD": partial(descend, x=toys.normal_population()), "SDE": partial(diffuse, nodes=100, deviations=6)}
    for name, losses in simulated.items():
        colour, known = _COLOURS[name], np.array([float(c) for c in exact[name][:3]])
        curve = np.array([curves[name](rate, SIMULATED_STEPS) for rate in rates])
        axes.plot(rates, _third(rates, curve, known), color=colour, lw=1.2, label=f"{name}, without sampling")
        points = np.array(RATES)
        bars = 2 * np.hypot(losses.stderr, losses.allowed) / points**3
        heights = _third(points, losses.mean, known)
        axes.errorbar(points, heights, bars, fmt=_MARKS[name], ms=4, color=colour, label=f"{name}, simulated")
        axes.plot(0, float(exact[name][3]), "*", ms=11, color=colour, clip_on=False, label=f"{name}, series")
    axes.set_xlim(0, rates[-1])
    axes.set_xlabel("learning rate η")
    axes.set_ylabel("(loss − ½ − η²T/8) / η³")
    axes.set_title(f"Beyond order η², T = {SIMULATED_STEPS}; bars: 2 s.e. and time steps", fontsize=10)
    axes.legend(fontsize=8)


def _third(rates: np.ndarray, losses: np.ndarray, known: np.ndarray) -> np.ndarray:
    return (losses - np.polynomial.polynomial.polyval(rates, known)) / rates**3


EXPERIMENT = Experiment(
    "gauss-fit",
    "SGD with skewed noise is neither its SDE nor its ODE",
    "Tenka, section 5.3 and corollary 3",
    run,
)
