"""The linear screw: SGD climbs a valley of equally good minima for ever, at a speed that the series predicts.

Re-summed to the second power of the noise the speed is η²/(6 − 4η) per step. That is not the speed itself: the fourth
power changes it by half a percent at η = 0.15.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ..drawing import new_figure
from ..estimates import mean_and_stderr
from ..landscapes import toys
from ..minima import DenseMinimum
from ..simulation import Ensemble
from ..spacetimes import Spacetime
from ._drift_along_valleys import Drift, fourth_power_claim, measure_drift, next_order_claim, speed_claim
from ._experiment import Experiment, Finding, Outcome, Setting
from ._verdicts import agreement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOLERANCE = 0.015
RATES = (0.02, 0.05, 0.1, 0.2)
LOOKS = 30
_ALONG = 2  # z, the coordinate along the valley
_COLOURS = ("#0072B2", "#009E73", "#E69F00", "#CC79A7")


@dataclass(frozen=True)
class Climb(Drift):
    """Movement along the screw at one learning rate.

    Attributes:
        halves: the mean movement in the first and second half of the steps, and the standard error of their difference.
    """

    halves: tuple[float, float, float]


def run(setting: Setting) -> Outcome:
    """Run SGD from θ = 0 for several learning rates, as long as it takes to climb many radians, and predict it."""
    rates = RATES[3:] if setting.quick else RATES
    distance, units = (3.0, 150_000) if setting.quick else (30.0, 1_600_000)
    climbs = []
    with jax.enable_x64(True), setting.progress.task(len(rates), "learning rates on the linear screw") as task:
        minimum, ensemble = DenseMinimum(*toys.linear_screw()), Ensemble(*toys.linear_screw(), block=128)
        for rate, key in zip(rates, jax.random.split(setting.key, len(rates)), strict=True):
            climbs.append(_climb(minimum, ensemble, rate, distance, units, key))
            task.advance()
        curve = _finite_rate_curve(minimum, np.linspace(0.01, 1.1, 2 if setting.quick else 12) * max(rates))
    findings = [*map(_speed, climbs), next_order_claim(climbs), _last_noises(climbs), *map(_steadiness, climbs)]
    data: dict[str, Any] = {"curve": dict(zip(("rates", "drift over η²", "with the next order"), curve, strict=True))}
    for climb in climbs:
        data[f"η = {climb.rate:g}"] = climb.data(climb.rate**2 / 6)
    return Outcome(findings, data, _figure(climbs, curve))


def _climb(
    minimum: DenseMinimum, ensemble: Ensemble, rate: float, distance: float, units: float, key: jax.Array
) -> Climb:
    """Simulate for about the time to climb a distance; `units` is ηT times the number of runs, for the precision."""
    steps = LOOKS * round(6 * distance / rate**2 / LOOKS)
    drift, z = measure_drift(minimum, ensemble, rate, steps, axis=_ALONG, looks=LOOKS, units=units, key=key)
    middle = z[LOOKS // 2 - 1]
    halves = float(middle.mean()), float((z[-1] - middle).mean())
    _, of_difference = mean_and_stderr(z[-1] - 2 * middle)
    return Climb(**vars(drift), halves=(*halves, float(of_difference)))


def _finite_rate_curve(minimum: DenseMinimum, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return learning rates, and the drift per step over η² after the burn-in to both powers of the noise."""
    speeds = []
    for rate in rates:
        early, late = round(30 / rate), round(60 / rate)
        for noises in (2, 4):
            z = [minimum.displacement(Spacetime.sgd(T), rate, noises=noises)[_ALONG] for T in (early, late)]
            speeds.append((z[1] - z[0]) / (late - early) / rate**2)
    return rates, np.array(speeds[::2]), np.array(speeds[1::2])


def _speed(climb: Climb) -> Finding:
    claim = f"the drift per step at η = {climb.rate:g} is the engine's, within {TOLERANCE:.1%}"
    return speed_claim(claim, climb, tolerance=TOLERANCE)


def _last_noises(climbs: list[Climb]) -> Finding:
    """Judge what four noises add to two: relative to the drift it grows like η."""
    return fourth_power_claim(
        "the simulated climb is beyond that of two noises by what the fourth power of the noise adds, over η",
        climbs,
        [climb.rate for climb in climbs],
    )


def _steadiness(climb: Climb) -> Finding:
    first, second, stderr = climb.halves
    burn_in = float(climb.predicted[-1] - 2 * climb.predicted[len(climb.z) // 2 - 1])
    claim = f"z moves on as fast in the second half of the steps as in the first, at η = {climb.rate:g}"
    return agreement(claim, first + burn_in, second, stderr=stderr)


def _figure(climbs: list[Climb], curve: tuple[np.ndarray, np.ndarray, np.ndarray]) -> "Figure":
    figure, ((left, right),) = new_figure(2)
    for climb, colour in zip(climbs, _COLOURS[-len(climbs) :], strict=True):
        turned = climb.rate**2 * climb.looks
        left.plot(turned, climb.predicted, color=colour, lw=1.2, zorder=2)
        label = f"η = {climb.rate:g}, {climb.steps:,} steps"
        left.errorbar(turned[::3], climb.z[::3], 2 * climb.stderr[::3], fmt="o", ms=3.5, color=colour, label=label)
        scale = 1 / (climb.rate**2 * climb.steps)
        right.errorbar(climb.rate, climb.z[-1] * scale, 2 * climb.stderr[-1] * scale, fmt="o", ms=4, color=colour)
    left.plot(turned, turned / 6, color="#777777", ls=":", label="leading order, η²T/6", zorder=1)
    left.set_xlabel("η² × steps")
    left.set_ylabel("mean of z (radians)")
    left.set_title("SGD climbs at constant speed (lines: engine)", fontsize=10)
    left.legend(fontsize=8)
    rates, speeds, next_speeds = curve
    right.plot(rates, speeds, color="black", label="engine, to the 2nd power of the noise", zorder=2)
    right.plot(rates, next_speeds, color="black", ls="--", lw=1, label="to the 4th power", zorder=2)
    right.fill_between(rates, speeds * (1 - TOLERANCE), speeds * (1 + TOLERANCE), color="#999999", alpha=0.3, lw=0)
    right.axhline(1 / 6, color="#777777", ls=":", label="leading order, 1/6")
    right.set_xlim(0, rates[-1])
    right.set_xlabel("learning rate η")
    right.set_ylabel("drift of z per step / η²")
    right.set_title(f"Speed against learning rate: bars 2 s.e., band ±{TOLERANCE:.1%}", fontsize=10)
    right.legend(fontsize=8)
    return figure


EXPERIMENT = Experiment(
    "linear-screw",
    "SGD climbs a valley of minima without end",
    "Tenka, section 5.4 and corollary 1",
    run,
)
