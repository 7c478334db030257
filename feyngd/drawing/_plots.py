"""Figures of predictions, learning curves and comparisons, in matplotlib.

The protocols say what a figure needs of a result. No class of results is imported: whatever has these attributes can be
drawn.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from ..diagrams import Diagram
from ..estimates import PredictedCurve, mean_and_stderr
from ._axes import PALETTE, label_of, new_axes
from ._diagram_box import diagram_box

_OF_PARTS = {"minibatch noise": PALETTE[3], "finite data": PALETTE[1], "gap": PALETTE[4]}


_DASHED = (0, (3, 2))
_FEW = 12  # steps that are marked one by one


class DrawnResult(Protocol):
    """What every figure of a prediction needs; see `PredictedCurve`."""

    @property
    def quantity(self) -> str: ...
    @property
    def spacetime(self) -> Any: ...
    @property
    def points(self) -> np.ndarray: ...
    @property
    def mean(self) -> np.ndarray: ...
    @property
    def stderr(self) -> np.ndarray: ...
    @property
    def truncation(self) -> np.ndarray: ...
    @property
    def converged(self) -> np.ndarray: ...
    @property
    def kinks(self) -> tuple[Any, ...]: ...
    @property
    def start(self) -> float: ...


class DrawnSeries(DrawnResult, Protocol):
    """A power series in the learning rate that can be cut after every order."""

    @property
    def order(self) -> int: ...
    @property
    def valid_up_to(self) -> float: ...
    def at(self, learning_rates: Any, *, order: int | None = None) -> tuple[np.ndarray, np.ndarray]: ...
    def truncate(self, order: int) -> "DrawnSeries": ...


class DrawnCurve(DrawnResult, Protocol):
    """A learning curve: the noiseless path, and replicates of what each part adds to it."""

    @property
    def noiseless(self) -> np.ndarray: ...
    @property
    def parts(self) -> Mapping[str, np.ndarray]: ...
    @property
    def diagrams(self) -> Mapping[str, tuple[Diagram, ...]]: ...


class DrawnSimulation(Protocol):
    """Means over runs."""

    @property
    def points(self) -> np.ndarray: ...
    @property
    def mean(self) -> np.ndarray: ...
    @property
    def stderr(self) -> np.ndarray: ...
    @property
    def runs(self) -> int: ...


class DrawnCurves(Protocol):
    """Means over runs at several learning rates and steps."""

    @property
    def quantity(self) -> str: ...
    @property
    def setting(self) -> str: ...
    @property
    def learning_rates(self) -> np.ndarray: ...
    @property
    def times(self) -> np.ndarray: ...
    @property
    def mean(self) -> np.ndarray: ...
    @property
    def stderr(self) -> np.ndarray: ...


class DrawnComparison(Protocol):
    """A prediction that draws itself, and a simulation."""

    @property
    def prediction(self) -> PredictedCurve: ...
    @property
    def simulation(self) -> DrawnSimulation: ...


def plot_prediction(prediction: DrawnSeries, ax: Any = None) -> Any:
    """Draw every order against the learning rate, each dashed from where it stops converging."""
    ax = new_axes(ax)
    rates = np.linspace(0, prediction.points.max() * 1.04, 400)
    for order in range(1, prediction.order + 1):
        cut = prediction.truncate(order)
        mean, stderr = cut.at(rates)
        edge = cut.valid_up_to
        inside = rates <= edge
        colour, last = PALETTE[order % len(PALETTE)], order == prediction.order
        width = 2.0 if last else 1.3
        ax.plot(rates[inside], mean[inside], color=colour, lw=width, label=f"order {order}", zorder=3)
        ax.plot(rates[~inside], mean[~inside], color=colour, lw=width, ls=_DASHED, zorder=3)
        if last:
            ax.fill_between(rates, mean - 2 * stderr, mean + 2 * stderr, color=colour, alpha=0.25, lw=0, zorder=2)
            if edge < rates[-1]:
                ax.axvspan(edge, rates[-1], color="#777777", alpha=0.12, lw=0, zorder=0, label=_doubt(prediction))
    ax.set_xlim(0, rates[-1])
    ax.set_xlabel("learning rate η")
    ax.set_ylabel(label_of(prediction.quantity))
    ax.set_title(str(prediction.spacetime), fontsize=10)
    return ax


def plot_resummed(prediction: DrawnResult, ax: Any = None) -> Any:
    """Draw a re-summed prediction with its errors as bands, and the loss at the start."""
    ax = new_axes(ax)
    rates, mean = prediction.points, prediction.mean
    order = np.argsort(rates)
    rates, mean = rates[order], mean[order]
    sampling, reach = 2 * prediction.stderr[order], prediction.truncation[order]
    colour = PALETTE[3]
    ax.axhline(prediction.start, color=PALETTE[0], lw=1.0, ls=":", label="at the start", zorder=1)
    ax.plot(rates, mean, color=colour, lw=2.0, marker="." if len(rates) < 8 else None, label="re-summed", zorder=3)
    ax.fill_between(rates, mean - sampling, mean + sampling, color=colour, alpha=0.35, lw=0, zorder=2)
    band = sampling + reach
    ax.fill_between(rates, mean - band, mean + band, color=colour, alpha=0.15, lw=0, zorder=2, label="± truncation")
    far = rates[~prediction.converged[order]]
    if len(far):
        ax.axvspan(far[0], rates[-1], color="#777777", alpha=0.12, lw=0, zorder=0, label=_doubt(prediction))
    ax.set_xlabel("learning rate η")
    ax.set_ylabel(label_of(prediction.quantity))
    ax.set_title(str(prediction.spacetime), fontsize=10)
    return ax


def _doubt(prediction: DrawnResult) -> str:
    return "not smooth: no claim" if prediction.kinks else "not converged"


def plot_curve(prediction: DrawnCurve, ax: Any, label: str | None, colour: str | None) -> Any:
    """Draw a learning curve; on new axes with the noiseless path."""
    alone = ax is None
    ax = new_axes(ax)
    if alone:
        ax.plot(prediction.points, prediction.noiseless, color=PALETTE[0], lw=1.2, ls="--", label="noiseless", zorder=1)
    return _with_bands(prediction, ax, label, colour, np.full(len(prediction.points), not prediction.kinks), alone)


def plot_series_curve(prediction: DrawnResult, ax: Any, label: str | None, colour: str | None) -> Any:
    """Draw a learning curve of series, dashed where it has not converged."""
    return _with_bands(prediction, new_axes(ax), label, colour, prediction.converged, ax is None)


def plot_simulated_curves(curves: DrawnCurves, ax: Any = None) -> Any:
    """Draw simulated learning curves, one for every learning rate, with two standard errors as a band."""
    ax = new_axes(ax)
    few = len(curves.times) < _FEW
    for number, rate in enumerate(curves.learning_rates):
        colour, mean, reach = PALETTE[(number + 1) % len(PALETTE)], curves.mean[number], 2 * curves.stderr[number]
        ax.plot(curves.times, mean, color=colour, lw=1.6, marker="." if few else None, label=f"η = {rate:.3g}")
        ax.fill_between(curves.times, mean - reach, mean + reach, color=colour, alpha=0.25, lw=0)
    ax.set_xlabel("step t")
    ax.set_ylabel(label_of(curves.quantity))
    ax.set_title(curves.setting, fontsize=10)
    ax.legend(frameon=False, fontsize=8)
    return ax


def _with_bands(
    prediction: DrawnResult, ax: Any, label: str | None, colour: str | None, solid: np.ndarray, alone: bool
) -> Any:
    """Draw a curve with two standard errors and the truncation figure as bands; dashed where it is not solid."""
    colour = colour or PALETTE[3]
    times, mean = prediction.points, prediction.mean
    sampling = 2 * prediction.stderr
    reach = sampling + prediction.truncation
    label = (label or str(prediction.spacetime)) + (" (not smooth: no claim)" if prediction.kinks else "")
    for part, style in ((solid, "-"), (~solid, _DASHED)):
        if part.any():
            first = style == "-" or not solid.any()
            shown = np.where(part | np.append(part[1:], False), mean, np.nan)  # up to where the other style begins
            ax.plot(times, shown, color=colour, lw=1.8, ls=style, label=label if first else "not converged", zorder=3)
    ax.fill_between(times, mean - reach, mean + reach, color=colour, alpha=0.12, lw=0, zorder=2)
    ax.fill_between(times, mean - sampling, mean + sampling, color=colour, alpha=0.3, lw=0, zorder=2)
    ax.set_xlabel("step t")
    ax.set_ylabel(label_of(prediction.quantity))
    if alone:
        ax.legend(frameon=False, fontsize=8)
    return ax


def plot_contributions(prediction: DrawnCurve, ax: Any) -> Any:
    """Draw what each part adds, with two standard errors; above, its diagrams beside its name."""
    ax = new_axes(ax)
    times, key = prediction.points, []
    for number, (name, rows) in enumerate(prediction.parts.items()):
        colour = _OF_PARTS.get(name, PALETTE[(number + 2) % len(PALETTE)])
        mean, stderr = mean_and_stderr(rows)
        ax.plot(times, mean, color=colour, lw=1.8, label=name)
        ax.fill_between(times, mean - 2 * stderr, mean + 2 * stderr, color=colour, alpha=0.25, lw=0)
        key.append(_named(name, colour, prediction.diagrams.get(name, ())))
    ax.axhline(0, color=PALETTE[0], lw=0.8)
    ax.set_xlim(times[0], max(times[-1], 1))
    ax.set_xlabel("step t")
    ax.set_ylabel("added to the noiseless path")
    ax.add_artist(_above(prediction, key, ax))
    return ax


def _named(name: str, colour: str, diagrams: tuple[Diagram, ...]) -> Any:
    """Return the name of a part in its colour, and its diagrams."""
    from matplotlib.offsetbox import HPacker, TextArea

    label = TextArea(name, textprops={"color": colour, "fontsize": 9, "fontweight": "bold"})
    return HPacker(children=[label, *map(diagram_box, diagrams)], align="center", pad=0, sep=5)


def _above(prediction: DrawnCurve, key: list[Any], ax: Any) -> Any:
    """Return the spacetime and the key, to stand above the axes."""
    from matplotlib.offsetbox import AnchoredOffsetbox, TextArea, VPacker

    title = TextArea(str(prediction.spacetime), textprops={"fontsize": 10})
    return AnchoredOffsetbox(
        loc="lower left",
        child=VPacker(children=[title, *key], align="left", pad=0, sep=3),
        frameon=False,
        pad=0.2,
        borderpad=0,
        bbox_to_anchor=(0.0, 1.0),
        bbox_transform=ax.transAxes,
    )


def plot_comparison(comparison: DrawnComparison, ax: Any = None) -> Any:
    """Draw the prediction, and the simulation with error bars of two standard errors."""
    prediction, simulation = comparison.prediction, comparison.simulation
    ax = prediction.plot(ax)
    ax.errorbar(
        simulation.points,
        simulation.mean,
        yerr=2 * simulation.stderr,
        fmt="o",
        ms=4,
        color="black",
        capsize=2.5,
        lw=1.2,
        label=f"{simulation.runs} runs of SGD",
        zorder=4,
    )
    finite = np.isfinite(simulation.mean)
    seen = list(prediction.mean[prediction.converged])
    for sign in (-2, 2):
        seen += list(simulation.mean[finite] + sign * simulation.stderr[finite])
    seen.append(prediction.start)
    low, high = min(seen), max(seen)
    pad = 0.05 * (high - low or 1.0)
    ax.set_ylim(low - pad, high + pad)
    # Below the axes, where it covers no point whatever the losses do.
    ax.legend(frameon=False, fontsize=8, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.13), columnspacing=1.2)
    return ax
