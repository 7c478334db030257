"""The linear screw: SGD climbs a valley of equally good minima for ever, at a speed that the series knows.

Re-summed to the second power of the noise the speed is η²/(6 − 4η) per step. That is not the speed itself: the fourth
power changes it by half a percent at η = 0.15.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ..drawing import new_figure
from ..estimates import mean_and_error
from ..landscapes import toys
from ..minima import DenseMinimum
from ..simulation import Ensemble
from ..spacetimes import Spacetime
from ._experiment import Experiment, Finding, Outcome, Setting
from ._order_claims import pooled
from ._verdicts import agreement, all_agree, equivalence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOLERANCE = 0.015
RATES = (0.02, 0.05, 0.1, 0.2)
LOOKS = 30
_ALONG = 2  # z, the coordinate along the valley
_COLOURS = ("#0072B2", "#009E73", "#E69F00", "#CC79A7")


@dataclass(frozen=True)
class Climb:
    """What SGD does at one learning rate: z at equally spaced looks, by the series and in simulations.

    Attributes:
        rate: η.
        steps: T.
        z: the simulated mean of z at every look, shape (looks,).
        stderr: its standard error.
        predicted: E z at every look from the re-summed displacement, to the second power of the noise.
        next_order: E z after all steps to the fourth power.
        halves: the mean movement in the first and second half of the steps, and the standard error of their difference.
    """

    rate: float
    steps: int
    z: np.ndarray
    stderr: np.ndarray
    predicted: np.ndarray
    next_order: float
    halves: tuple[float, float, float]

    @property
    def looks(self) -> np.ndarray:
        """The steps after which z is looked at."""
        return self.steps // len(self.z) * np.arange(1, len(self.z) + 1)


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
    findings = [*map(_speed, climbs), _without_tolerance(climbs), _last_noises(climbs), *map(_steadiness, climbs)]
    data: dict[str, Any] = {"curve": dict(zip(("rates", "drift over η²", "with the next order"), curve, strict=True))}
    for climb in climbs:
        data[f"η = {climb.rate:g}"] = {
            "steps": climb.looks,
            "z simulated": climb.z,
            "stderr": climb.stderr,
            "z predicted": climb.predicted,
            "z predicted to the next order, at the last": climb.next_order,
            "z to leading order": climb.rate**2 / 6 * climb.looks,
        }
    return Outcome(findings, data, _figure(climbs, curve))


def _climb(
    minimum: DenseMinimum, ensemble: Ensemble, rate: float, distance: float, units: float, key: jax.Array
) -> Climb:
    """Simulate for about the time to climb a distance; `units` is ηT times the number of runs, for the precision."""
    steps = LOOKS * round(6 * distance / rate**2 / LOOKS)
    z = ensemble.paths(rate, steps, runs=round(units / (rate * steps)), looks=LOOKS, key=key)[..., _ALONG]
    mean, stderr = mean_and_error(z, axis=1)
    middle = z[LOOKS // 2 - 1]
    halves = float(middle.mean()), float((z[-1] - middle).mean())
    _, difference = mean_and_error(z[-1] - 2 * middle)
    looks = steps // LOOKS * np.arange(1, LOOKS + 1)
    predicted = [minimum.displacement(Spacetime.sgd(int(T)), rate)[_ALONG] for T in looks]
    next_order = float(minimum.displacement(Spacetime.sgd(steps), rate, noises=4)[_ALONG])
    return Climb(rate, steps, mean, stderr, np.array(predicted), next_order, (*halves, float(difference)))


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
    return equivalence(
        f"the drift per step at η = {climb.rate:g} is the engine's, within {TOLERANCE:.1%}",
        float(climb.predicted[-1]) / climb.steps,
        float(climb.z[-1]) / climb.steps,
        stderr=float(climb.stderr[-1]) / climb.steps,
        relative=TOLERANCE,
    )


def _without_tolerance(climbs: list[Climb]) -> Finding:
    """Find whether the next power of the noise takes away what the first one lacks."""
    return all_agree(
        "with the next order of the noise the engine's drift is the simulated one within standard errors",
        [climb.next_order for climb in climbs],
        [climb.z[-1] for climb in climbs],
        [climb.stderr[-1] for climb in climbs],
    )


def _last_noises(climbs: list[Climb]) -> Finding:
    """Find whether what four noises add to two is there: it grows as η against the drift, and so on for six."""
    two, four = (np.array(z, dtype=float) for z in ([c.predicted[-1] for c in climbs], [c.next_order for c in climbs]))
    simulated, stderrs = np.array([[c.z[-1], c.stderr[-1]] for c in climbs]).T
    return pooled(
        "the simulated climb is beyond that of two noises by what the fourth power of the noise adds, over η",
        (four - two) / two,
        (simulated - two) / two,
        stderrs / two,
        [climb.rate for climb in climbs],
        within=((four - two) / two) ** 2,
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
