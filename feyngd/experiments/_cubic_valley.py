"""The cubic valley: noise moves SGD along a valley of minima towards its flatter side, however it is oriented."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
from ._verdicts import all_agree, equivalence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOLERANCE = 0.01
RATES = (0.05, 0.1, 0.2, 0.4)
LOOKS = 10
_ALONG = 1  # z, the coordinate along the valley
_COLOURS = ("#0072B2", "#E69F00", "#009E73")
_MARKS = ("o", "s", "^")


@dataclass(frozen=True)
class Valley:
    """One cubic valley, ½(h0 + h1 z)w² + x s w. It widens slowly, so that z meets about the same one all along."""

    h0: float
    h1: float
    s: float

    def leading(self, rate: float) -> float:
        """Return the drift of z per step to leading order in η, corollary 1."""
        return -(rate**2) * self.s**2 * self.h1 / (4 * self.h0)

    def __str__(self) -> str:
        return f"h0 = {self.h0:g}, h1 = {self.h1:g}, s = {self.s:g}"


VALLEYS = (Valley(1.0, 0.05, 1.0), Valley(1.0, -0.05, 1.0), Valley(2.0, 0.1, 1.5))


@dataclass(frozen=True)
class Slide:
    """Movement along one valley at one learning rate: means of z at equally spaced looks, simulated and predicted.

    The prediction is that to the second power of the noise; `next_order` is that after all steps to the fourth.
    """

    valley: Valley
    rate: float
    steps: int
    z: np.ndarray
    stderr: np.ndarray
    predicted: np.ndarray
    next_order: float

    @property
    def looks(self) -> np.ndarray:
        """The steps after which z is looked at."""
        return self.steps // len(self.z) * np.arange(1, len(self.z) + 1)


def run(setting: Setting) -> Outcome:
    """Run SGD from z = 0 in several valleys at several learning rates, and predict where it goes."""
    valleys, rates = (VALLEYS[:2], RATES[2:3]) if setting.quick else (VALLEYS, RATES)
    units = 600_000 if setting.quick else 3_000_000
    slides = []
    with jax.enable_x64(True), setting.progress.task(len(valleys) * len(rates), "cubic valleys") as task:
        for valley, key in zip(valleys, jax.random.split(setting.key, len(valleys)), strict=True):
            landscape, start = toys.cubic_valley(valley.h0, valley.h1, valley.s)
            minimum, ensemble = DenseMinimum(landscape, start), Ensemble(landscape, start, block=5000)
            for rate, own_key in zip(rates, jax.random.split(key, len(rates)), strict=True):
                slides.append(_slide(valley, minimum, ensemble, rate, units, own_key))
                task.advance()
    findings = [*map(_speed, slides), _without_tolerance(slides), _last_noises(slides)]
    findings += [_direction(slide) for slide in slides if slide.rate == rates[0]]
    data = {
        f"{slide.valley}, η = {slide.rate:g}": {
            "steps": slide.looks,
            "z simulated": slide.z,
            "stderr": slide.stderr,
            "z predicted": slide.predicted,
            "z predicted to the next order, at the last": slide.next_order,
            "z to leading order": slide.valley.leading(slide.rate) * slide.looks,
        }
        for slide in slides
    }
    return Outcome(findings, data, _figure(slides, rates[0]))


def _slide(
    valley: Valley, minimum: DenseMinimum, ensemble: Ensemble, rate: float, units: float, key: jax.Array
) -> Slide:
    """Simulate for 4/η² steps; `units` is ηT times the number of runs, for the precision."""
    steps = LOOKS * max(1, round(4 / rate**2 / LOOKS))
    z = ensemble.paths(rate, steps, runs=round(units / (rate * steps)), looks=LOOKS, key=key)[..., _ALONG]
    mean, stderr = mean_and_error(z, axis=1)
    looks = steps // LOOKS * np.arange(1, LOOKS + 1)
    predicted = [minimum.displacement(Spacetime.sgd(int(T)), rate)[_ALONG] for T in looks]
    next_order = float(minimum.displacement(Spacetime.sgd(steps), rate, noises=4)[_ALONG])
    return Slide(valley, rate, steps, mean, stderr, np.array(predicted), next_order)


def _speed(slide: Slide) -> Finding:
    return equivalence(
        f"the drift per step with {slide.valley} at η = {slide.rate:g} is the engine's, within {TOLERANCE:.0%}",
        float(slide.predicted[-1]) / slide.steps,
        float(slide.z[-1]) / slide.steps,
        stderr=float(slide.stderr[-1]) / slide.steps,
        relative=TOLERANCE,
    )


def _without_tolerance(slides: list[Slide]) -> Finding:
    """Find whether the next power of the noise takes away what the first one lacks."""
    return all_agree(
        "with the next order of the noise the engine's drift is the simulated one within standard errors",
        [slide.next_order for slide in slides],
        [slide.z[-1] for slide in slides],
        [slide.stderr[-1] for slide in slides],
    )


def _last_noises(slides: list[Slide]) -> Finding:
    """Find whether what four noises add to two is there: valleys widen by about s²h1²/h0² on the way, as 4/η² steps."""
    two, four = (np.array(z, dtype=float) for z in ([s.predicted[-1] for s in slides], [s.next_order for s in slides]))
    simulated, stderrs = np.array([[s.z[-1], s.stderr[-1]] for s in slides]).T
    return pooled(
        "the simulated drift is beyond that of two noises by what the fourth power of the noise adds, over s²h1²/h0²",
        (four - two) / two,
        (simulated - two) / two,
        stderrs / np.abs(two),
        [(s.valley.s * s.valley.h1 / s.valley.h0) ** 2 for s in slides],
        within=((four - two) / two) ** 2,
    )


def _direction(slide: Slide) -> Finding:
    change = slide.valley.h1 * float(slide.z[-1])
    stderr = abs(slide.valley.h1) * float(slide.stderr[-1])
    claim = f"with {slide.valley} SGD moves to where the valley is flatter"
    return Finding(claim, change < -3 * stderr, {"change of curvature": change, "stderr": stderr})


def _figure(slides: list[Slide], shown_rate: float) -> "Figure":
    figure, ((left, right),) = new_figure(2)
    for number, valley in enumerate(dict.fromkeys(slide.valley for slide in slides)):
        style = {"color": _COLOURS[number], "marker": _MARKS[number], "ms": (8, 4, 5)[number], "ls": "", "mfc": "none"}
        own = [slide for slide in slides if slide.valley == valley]
        rates = np.array([slide.rate for slide in own])
        scale = np.array([1 / (slide.steps * valley.leading(slide.rate)) for slide in own])
        left.plot(rates, [slide.predicted[-1] for slide in own] * scale, color=_COLOURS[number], lw=1.2)
        heights, bars = np.array([[slide.z[-1], slide.stderr[-1]] for slide in own]).T * scale
        left.errorbar(rates, heights, 2 * abs(bars), label=str(valley), **style)
        slide = next(slide for slide in own if slide.rate == shown_rate)
        right.plot(slide.looks, slide.predicted, color=_COLOURS[number], lw=1.2)
        right.errorbar(slide.looks, slide.z, 2 * slide.stderr, label=str(valley), **style)
    left.axhline(1, color="#777777", ls=":", label="leading order, −η²s²h1/(4h0)")
    left.set_xlabel("learning rate η")
    left.set_ylabel("drift per step / leading order")
    left.set_title("Mean drift in 4/η² steps: points with 2 s.e., lines engine", fontsize=10)
    left.legend(fontsize=8)
    right.axhline(0, color="#777777", lw=0.8)
    right.set_xlabel("steps")
    right.set_ylabel("mean of z (unit of the parameter)")
    right.set_title(f"Along the valley at η = {shown_rate:g}: always to the flatter side", fontsize=10)
    right.legend(fontsize=8)
    return figure


EXPERIMENT = Experiment(
    "cubic-valley",
    "noise moves SGD towards the flatter side of a valley",
    "Tenka, section 4.1 and corollary 1",
    run,
)
