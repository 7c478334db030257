"""Mean estimation: how much descent overfits in minima of any curvature, from sharp to flat."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ..drawing import new_figure
from ..landscapes import toys
from ..minima import DenseMinimum
from ..simulation import simulate
from ..spacetimes import Spacetime
from ._experiment import Experiment, Finding, Outcome, Setting
from ._order_claims import pooled
from ._verdicts import all_agree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATE, STEPS, COUNT, NOISE = 0.1, 100, 10, 1.0
QUANTITIES = {"test_loss": "excess test loss", "gap": "gap, test − train loss"}
_COLOURS = {"test_loss": "#0072B2", "gap": "#E69F00"}


@dataclass(frozen=True)
class Overfitting:
    """One quantity at every curvature, all of shape (curvatures,), in the unit of the loss.

    Attributes:
        predicted: by the re-summed series.
        simulated: the mean over training sets.
        stderr: its standard error.
        endless: the prediction after enough steps to reach even the flattest minimum.
    """

    predicted: np.ndarray
    simulated: np.ndarray
    stderr: np.ndarray
    endless: np.ndarray


def run(setting: Setting) -> Outcome:
    """Descend on many samples of N points from the test minimum, for a range of curvatures at one ηT; predict it."""
    curvatures = np.geomspace(1e-3, 10, 3 if setting.quick else 17)
    runs = 2000 if setting.quick else 10_000
    keys = jax.random.split(setting.key, (len(QUANTITIES), len(curvatures)))
    with jax.enable_x64(True), setting.progress.task(keys.size, "curvatures") as task:
        found = {}
        for quantity, own_keys in zip(QUANTITIES, keys, strict=True):
            rows = []
            for hessian, key in zip(curvatures, own_keys, strict=True):
                rows.append(_at_curvature(quantity, float(hessian), runs, key))
                task.advance()
            found[quantity] = Overfitting(*np.array(rows).T)
    findings = [
        all_agree(f"the {name} is the series' at every curvature", one.predicted, one.simulated, one.stderr)
        for name, one in ((QUANTITIES[quantity], found[quantity]) for quantity in found)
    ]
    findings += [_multiple(QUANTITIES[quantity], one) for quantity, one in found.items()]
    findings += [_small_at_both_ends(found["test_loss"]), _not_singular(found["gap"])]
    data: dict[str, Any] = {"curvatures": curvatures}
    for quantity, one in found.items():
        data[QUANTITIES[quantity]] = {
            "predicted": one.predicted,
            "simulated": one.simulated,
            "stderr": one.stderr,
            "predicted without end": one.endless,
        }
    return Outcome(findings, data, _figure(curvatures, found))


def _at_curvature(quantity: str, hessian: float, runs: int, key: jax.Array) -> tuple[float, float, float, float]:
    """Return prediction, simulated mean, standard error, and the prediction for descent without end."""
    landscape, start = toys.mean_estimation(hessian, NOISE, x=toys.normal_population())
    minimum = DenseMinimum(landscape, start)
    at_start = float(landscape.test_loss(start)) if quantity == "test_loss" else 0.0
    short, endless = (
        minimum.expected(quantity, Spacetime.gd(COUNT, T), RATE) - at_start for T in (STEPS, 10_000 * STEPS)
    )
    spacetime = Spacetime.gd(COUNT, STEPS)
    runs_of_gd = simulate(
        landscape, start, spacetime, RATE, quantity=quantity, runs=runs, chunk_size=min(runs, 500), key=key
    )
    return short, float(runs_of_gd.mean[0]) - at_start, float(runs_of_gd.stderr[0]), endless


def _multiple(name: str, one: Overfitting) -> Finding:
    """Judge the series to the second power of the noise, which on a quadratic is the whole series."""
    return pooled(
        f"the {name} in standard errors, the mean over curvatures, is the series'",
        one.predicted,
        one.simulated,
        one.stderr,
        scales=one.stderr,
    )


def _small_at_both_ends(excess: Overfitting) -> Finding:
    """Sharpest and flattest minimum overfit less than a tenth of what the worst one does."""
    worst = int(np.argmax(excess.simulated))
    ends = {"flattest": 0, "sharpest": -1}
    margin = [
        excess.simulated[worst] / 10
        - excess.simulated[end]
        - 3 * np.hypot(excess.stderr[worst] / 10, excess.stderr[end])
        for end in ends.values()
    ]
    numbers = {"worst": float(excess.simulated[worst])} | {name: float(excess.simulated[i]) for name, i in ends.items()}
    return Finding("the test loss suffers little in both sharp and flat minima", min(margin) > 0, numbers)


def _not_singular(gap: Overfitting) -> Finding:
    """In the flattest minimum the gap stays below η T C/N, where that of an endless descent is beyond ten times it."""
    bound = RATE * STEPS * NOISE**2 / COUNT
    simulated, stderr, endless = float(gap.simulated[0]), float(gap.stderr[0]), float(gap.endless[0])
    holds = simulated <= bound + 3 * stderr and endless > 10 * simulated
    numbers = {"simulated": simulated, "stderr": stderr, "ηTC/N": bound, "without end": endless}
    return Finding("the gap has no singularity where the minimum is flat", holds, numbers)


def _figure(curvatures: np.ndarray, found: dict[str, Overfitting]) -> "Figure":
    figure, (axes,) = new_figure(2)
    for ax, (quantity, one) in zip(axes, found.items(), strict=True):
        colour, name = _COLOURS[quantity], QUANTITIES[quantity]
        ax.plot(curvatures, one.predicted, color=colour, lw=1.3, label=f"engine, re-summed, T = {STEPS}")
        ax.plot(curvatures, one.endless, color="#777777", ls=":", label="engine, T → ∞")
        ax.errorbar(curvatures, one.simulated, 2 * one.stderr, fmt="o", ms=4, color=colour, label="simulated, 2 s.e.")
        ax.axvline(1 / (RATE * STEPS), color="#bbbbbb", lw=0.8, zorder=0)
        ax.text(1.1 / (RATE * STEPS), 0.02, "1/(ηT)", transform=ax.get_xaxis_transform(), fontsize=8, color="#666666")
        ax.set_xscale("log")
        ax.set_ylim(0, 1.25 * one.predicted.max())
        ax.set_xlabel("curvature H of the minimum")
        ax.set_ylabel(f"{name} (unit of the loss)")
        ax.set_title(f"Gradient descent, N = {COUNT}, η = {RATE}, T = {STEPS}", fontsize=10)
        ax.legend(fontsize=8)
    return figure


EXPERIMENT = Experiment(
    "sharp-and-flat",
    "sharp and flat minima both overfit less than those in between",
    "Tenka, section 5.5 and corollary 2",
    run,
)
