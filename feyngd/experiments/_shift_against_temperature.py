"""Shift, curvature and losses of minima that training at several temperatures leads to."""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from scipy import stats

from ..companions.shift_curvature import Shift
from ..drawing import new_figure
from ..estimates import mean_and_stderr
from ._experiment import Experiment, Finding, Outcome, Setting
from ._shift_networks import HIDDEN, OURS, PAPER, shifts, split

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPERATURES = (0.003, 0.012, 0.05)
SEEDS = 2
_CLEAR = 0.01  # significance of a trend; several are judged
# What the paper finds of both networks when the temperature rises; of the shift it finds opposite signs.
_TRENDS = {
    "test loss at train minimum": "falls",
    "train loss": "rises",
    "test loss": "rises",
    "sᵀCs": "falls",
    "train curvature": "falls",
    "test curvature": "falls",
}

Table = dict[str, np.ndarray]  # every quantity at every temperature and seed, shape (temperatures, seeds)


def run(setting: Setting) -> Outcome:
    """Train both networks at all temperatures and seeds, and judge how their minima depend on the temperature."""
    names = list(HIDDEN)[:1] if setting.quick else list(HIDDEN)
    findings: list[Finding] = []
    temperatures = TEMPERATURES[::2] if setting.quick else TEMPERATURES
    data: dict[str, Any] = {"the paper's parameters": PAPER, "ours": OURS, "temperatures": temperatures}
    tables = {}
    for name in names:
        with jax.enable_x64(True):
            landscape, start = split(name, setting)
            found = shifts(landscape, start, temperatures, 2 if setting.quick else SEEDS, setting)
            tables[name] = data[name] = _table(found)
        findings += _claims(name, tables[name], found)
    return Outcome(findings, data, _figure(temperatures, tables))


def _table(found: dict[float, list[Shift]]) -> Table:
    columns = {
        "test loss at train minimum": lambda one: one.test.loss + one.rise,
        "test loss at test minimum + ½sᵀCs": lambda one: one.test.loss + one.shift_curvature,
        "train loss": lambda one: one.train.loss,
        "test loss": lambda one: one.test.loss,
        "sᵀCs": lambda one: 2 * one.shift_curvature,
        "|s|": lambda one: one.magnitude,
        "train curvature": lambda one: one.curvature_train,
        "test curvature": lambda one: one.curvature_test,
        "train fit": lambda one: one.symmetrised().train,
        "test fit": lambda one: one.symmetrised().test,
    }
    return {name: np.array([[value(one) for one in row] for row in found.values()]) for name, value in columns.items()}


def _claims(name: str, table: Table, found: dict[float, list[Shift]]) -> list[Finding]:
    """Judge equation 3, and every trend of the paper by the correlation with the temperature's logarithm."""
    shares = np.array([abs(one.remainder) / one.rise for trained in found.values() for one in trained])
    numbers = {"median share left out": float(np.median(shares)), "largest": float(shares.max()), "of": len(shares)}
    claim = f"{name}: equation 3 leaves out less than 10 % of the test loss's rise, at the median"
    judged = [Finding(claim, bool(np.median(shares) < 0.1), numbers)]
    half, depth = np.median(table["sᵀCs"]) / 2, np.median(table["test loss"])
    numbers = {"½sᵀCs": float(half), "test loss at its minimum": float(depth)}
    claim = f"{name}: ½sᵀCs is more of the test loss than the loss at its minimum"
    judged.append(Finding(claim, bool(half > depth), numbers))
    x = np.repeat(np.log(list(found)), table["sᵀCs"].shape[1])
    for quantity, way in _TRENDS.items():
        fit = stats.linregress(x, table[quantity].ravel())
        sign = fit.slope * (1 if way == "rises" else -1)
        holds = None if fit.pvalue > _CLEAR else bool(sign > 0)
        numbers = {"slope against log T": float(fit.slope), "stderr": float(fit.stderr), "p": float(fit.pvalue)}
        judged.append(Finding(f"{name}: the {quantity} {way} with the temperature, as in the paper", holds, numbers))
    return judged


def _figure(temperatures: tuple[float, ...], tables: dict[str, Table]) -> "Figure":
    figure, axes = new_figure(4, len(tables), width=3.6, height=3.0)
    panels = (
        ("test loss at train minimum", "test loss at test minimum + ½sᵀCs"),
        ("train loss", "test loss"),
        ("sᵀCs", "|s|"),
        ("train curvature", "test curvature", "train fit", "test fit"),
    )
    for row, (name, table) in zip(axes, tables.items(), strict=True):
        row[0].set_ylabel(name)
        for ax, quantities in zip(row, panels, strict=True):
            own = ax.twinx() if "|s|" in quantities else None
            for i, quantity in enumerate(quantities):
                mean, stderr = mean_and_stderr(table[quantity].T)
                style = {"fmt": "so^v"[i] + "-", "ms": 4, "capsize": 3, "color": f"C{i}", "label": quantity}
                (own if own is not None and quantity == "|s|" else ax).errorbar(temperatures, mean, 2 * stderr, **style)
            ax.set(xscale="log", xlabel="temperature T")
            ax.set_xticks(temperatures, [f"{rate:g}" for rate in temperatures])
            ax.minorticks_off()
            handles, labels = ax.get_legend_handles_labels()
            if own is not None:
                extra = own.get_legend_handles_labels()
                handles, labels = handles + extra[0], labels + [f"{label} (right)" for label in extra[1]]
            ax.legend(handles, labels, fontsize=6)
    return figure


EXPERIMENT = Experiment(
    "shift-curvature-temperature",
    "shift-curvature, shift and losses of the minima of two networks against the temperature of training",
    "Bradley et al., section 3, figures 2 and 3",
    run,
)
