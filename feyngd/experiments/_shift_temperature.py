"""Test loss against the temperature: runs from a minimum at several learning rates and batch sizes, and formulas.

The paper trains a network in two stages. Here the first stage is the exact minimum of a penalised softmax regression,
for which the expected losses of the second stage are predicted.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ..companions.shift_curvature import local_steady_state, minimum, simulate_modified
from ..drawing import new_figure
from ..landscapes import Landscape
from ._experiment import Experiment, Finding, Outcome, Setting
from ._shift_sampling import COMPONENTS, PENALTY, components, loss, start
from ._verdicts import all_agree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCHES = (5, 20)
TEMPERATURES = (0.004, 0.01, 0.025)
RELAXATIONS = 3.0  # of the flattest direction, 1/(ηα) steps each; the first half is left out
_REMAINDER = 0.1  # of what fluctuations add: the next order in T
_MEASURED = 20  # times in a run

PAPER = {
    "network": "VGG9 on CIFAR10, weight decay 5e-4, 10 seeds",
    "stage 1": "B 4096, η 0.1 → 0.001, 300 epochs (text: drops at 0.5, 0.75; details: also at 0.9; resumed at 1200)",
    "stage 2": "1000 epochs at constant η, no momentum, T 2.44e-8 to 2.44e-5, median of the last 100 steps",
}
OURS = {
    "network": f"softmax regression on {COMPONENTS} components, 80 parameters, L2 {PENALTY:g}",
    "stage 1": "the exact minimum",
    "stage 2": f"{RELAXATIONS:g}/(ηα) steps with replacement, mean over the last half; B {BATCHES}",
}


@dataclass(frozen=True)
class Settled:
    """Losses of one setting: predicted, simulated and their standard errors, for train and test loss."""

    temperature: float
    batch: int
    predicted: tuple[float, float]
    simulated: tuple[float, float]
    stderr: tuple[float, float]


def run(setting: Setting) -> Outcome:
    """Run from the minimum at all temperatures and batch sizes, and predict both losses."""
    images, labels = setting.images
    features, labels = components(np.asarray(images, dtype=float)), np.asarray(labels)
    for_order, for_minimum, for_runs = jax.random.split(setting.key, 3)
    order = np.asarray(jax.random.permutation(for_order, len(labels)))
    half = len(order) // 2
    temperatures = TEMPERATURES[1:] if setting.quick else TEMPERATURES
    rows = []
    with jax.enable_x64(True), setting.progress.task(len(temperatures) * len(BATCHES), "settings") as task:
        parts = [(features[one], labels[one]) for one in (order[:half], order[half : 2 * half])]
        landscape = Landscape(loss, *parts, reading="conditional")
        point = minimum(landscape, start(), penalty=PENALTY, key=for_minimum)
        at_start = point.loss, float(landscape.test_loss(point.params))
        for temperature in temperatures:
            for batch in BATCHES:
                rows.append(_settled(landscape, point, temperature, batch, 12, for_runs))
                task.advance()
    findings = _claims(rows, at_start)
    data = {
        "the paper's parameters": PAPER,
        "ours": OURS,
        "losses at the minimum, train and test": at_start,
        "settings": [vars(row) for row in rows],
    }
    return Outcome(findings, data, _figure(rows, at_start))


def _settled(landscape: Landscape, point: Any, temperature: float, batch: int, runs: int, key: jax.Array) -> Settled:
    rate = temperature * batch
    steps = round(RELAXATIONS / (rate * PENALTY) / _MEASURED) * _MEASURED
    given: dict[str, Any] = {"batch_size": batch, "penalty": PENALTY}
    found = local_steady_state(landscape, point.params, learning_rate=rate, time="discrete", **given)
    key = jax.random.fold_in(key, batch)
    simulated = simulate_modified(
        landscape, point.params, rate, steps=steps, runs=runs, measure_every=steps // _MEASURED, key=key, **given
    ).settled(steps // 2)
    return Settled(
        temperature,
        batch,
        (point.loss + found.train_excess.value, found.test_loss.value),
        (simulated[0].value, simulated[1].value),
        (simulated[0].stderr or 0.0, simulated[1].stderr or 0.0),
    )


def _claims(rows: list[Settled], at_start: tuple[float, float]) -> list[Finding]:
    """Judge both predictions, and what the paper says of the temperature."""
    found = []
    for i, side in enumerate(("train", "test")):
        predicted, simulated, stderr = (
            np.array([getattr(row, name)[i] for row in rows]) for name in ("predicted", "simulated", "stderr")
        )
        within = _REMAINDER * np.array([row.predicted[0] - at_start[0] for row in rows])
        claim = f"the {side} loss is that of the local steady state, up to a tenth of what fluctuations add"
        found.append(all_agree(claim, predicted, simulated, stderr, within))
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    claim = "equal temperatures give equal test losses for both batch sizes, up to a tenth of what fluctuations add"
    found.append(
        all_agree(
            claim,
            [one.simulated[1] for one, _ in pairs],
            [other.simulated[1] for _, other in pairs],
            [float(np.hypot(one.stderr[1], other.stderr[1])) for one, other in pairs],
            [_REMAINDER * (one.predicted[0] - at_start[0]) for one, _ in pairs],
        )
    )
    low, high = rows[0], rows[-1]
    score = float((high.simulated[1] - low.simulated[1]) / np.hypot(high.stderr[1], low.stderr[1]))
    numbers = {"lowest T": low.simulated[1], "highest T": high.simulated[1], "difference in standard errors": score}
    holds = None if abs(score) < 3 else score < 0
    return [*found, Finding("the test loss falls with the temperature, as in the paper", holds, numbers)]


def _figure(rows: list[Settled], at_start: tuple[float, float]) -> "Figure":
    figure, (axes,) = new_figure(2)
    for i, (ax, side) in enumerate(zip(axes, ("train", "test"), strict=True)):
        ax.axhline(at_start[i], color="#777777", ls=":", label="at the train minimum")
        for batch, colour, mark in zip(BATCHES, ("#0072B2", "#D55E00"), "os", strict=True):
            own = [row for row in rows if row.batch == batch]
            at = [row.temperature for row in own]
            ax.plot(at, [row.predicted[i] for row in own], color=colour, lw=1, label=f"predicted, B = {batch}")
            errors = [2 * row.stderr[i] for row in own]
            label = f"simulated, B = {batch}, 2 s.e."
            ax.errorbar(at, [row.simulated[i] for row in own], errors, fmt=mark, ms=4, color=colour, label=label)
        ax.set(xscale="log", xlabel="temperature T = η/B", ylabel=f"{side} loss")
        ax.set_xticks(TEMPERATURES, [f"{rate:g}" for rate in TEMPERATURES])
        ax.minorticks_off()
        ax.legend(fontsize=7)
    return figure


EXPERIMENT = Experiment(
    "shift-temperature",
    "train and test loss of settled runs against the temperature, for several batch sizes",
    "Bradley et al., section G.1, figure 5, left",
    run,
)
