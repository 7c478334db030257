"""The cubic valley: noise moves SGD along a valley of minima towards its flatter side, however it is oriented."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import numpy as np

from ..drawing import new_figure
from ..landscapes import toys
from ..minima import DenseMinimum
from ..simulation import Ensemble
from ._drift_along_valleys import Drift, fourth_power_claim, measure_drift, next_order_claim, speed_claim
from ._experiment import Experiment, Finding, Outcome, Setting

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
class Slide(Drift):
    """Movement along one valley at one learning rate.

    Attributes:
        valley: the valley.
    """

    valley: Valley


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
    findings = [*map(_speed, slides), next_order_claim(slides), _last_noises(slides)]
    findings += [_direction(slide) for slide in slides if slide.rate == rates[0]]
    data = {f"{slide.valley}, η = {slide.rate:g}": slide.data(slide.valley.leading(slide.rate)) for slide in slides}
    return Outcome(findings, data, _figure(slides, rates[0]))


def _slide(
    valley: Valley, minimum: DenseMinimum, ensemble: Ensemble, rate: float, units: float, key: jax.Array
) -> Slide:
    """Predict and simulate 4/η² steps; `units` is ηT times the number of runs, for the precision."""
    steps = LOOKS * max(1, round(4 / rate**2 / LOOKS))
    drift, _ = measure_drift(minimum, ensemble, rate, steps, axis=_ALONG, looks=LOOKS, units=units, key=key)
    return Slide(**vars(drift), valley=valley)


def _speed(slide: Slide) -> Finding:
    claim = f"the drift per step with {slide.valley} at η = {slide.rate:g} is the engine's, within {TOLERANCE:.0%}"
    return speed_claim(claim, slide, tolerance=TOLERANCE)


def _last_noises(slides: list[Slide]) -> Finding:
    """Judge what four noises add to two: it goes as s²h1²/h0², by which valleys widen in 4/η² steps."""
    return fourth_power_claim(
        "the simulated drift is beyond that of two noises by what the fourth power of the noise adds, over s²h1²/h0²",
        slides,
        [(slide.valley.s * slide.valley.h1 / slide.valley.h0) ** 2 for slide in slides],
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
