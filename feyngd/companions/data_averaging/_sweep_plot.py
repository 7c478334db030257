"""The figure of a temperature sweep: gaps and losses against the temperature."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...drawing import new_figure
from ._sweep_analysis import SweepGroup, SweepPoint

_COLOURS = {"train": "#0072B2", "test": "#D55E00", "gap": "#333333", "cross": "#CC79A7"}
_NAMES = {"train": "train loss", "test": "test loss"}


def figure_of(groups: Sequence[SweepGroup]) -> Any:
    """Return a figure with a column for every optimizer, and two rows, gaps and losses, for every drawing."""
    optimizers = list(dict.fromkeys(group.optimizer for group in groups))
    drawings = list(dict.fromkeys(group.drawing for group in groups))
    figure, axes = new_figure(max(len(optimizers), 1), max(2 * len(drawings), 1), width=4.4, height=3.1)
    for group in groups:
        row, column = 2 * drawings.index(group.drawing), optimizers.index(group.optimizer)
        _gaps(axes[row, column], group)
        _losses(axes[row + 1, column], group)
    return figure


def _levels(points: Sequence[SweepPoint], name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return temperatures, levels and their standard errors, where there are any."""
    rows = []
    for point in points:
        level = getattr(point, name)
        if level is not None:
            rows.append((point.temperature, level.value, level.stderr or 0.0))
    T, values, errors = np.array(rows).reshape(-1, 3).T
    return T, values, errors


def _gaps(ax: Any, group: SweepGroup) -> None:
    T, values, errors = _levels(group.points, "gap")
    ax.errorbar(T, values, 2 * errors, fmt="o", ms=4, color=_COLOURS["gap"], label="test − train, 2 s.e.")
    T, values, errors = _levels(group.points, "cross")
    ax.errorbar(T * 1.08, values, 2 * errors, fmt="s", ms=3, color=_COLOURS["cross"], label="without test data")
    if group.law is not None and len(T):
        law, line = group.law, np.geomspace(T.min(), T.max(), 100)
        fitted = [law.predict(float(t)) for t in line]
        mean, error = (np.array([getattr(one, name) for one in fitted]) for name in ("value", "stderr"))
        ax.plot(line, mean, color="#E69F00", lw=1.3, label=f"fit: {law.shown}")
        ax.fill_between(line, mean - 2 * error, mean + 2 * error, color="#E69F00", alpha=0.2, lw=0)
    T, values, _ = _levels(group.points, "long_run")
    if len(T):
        ax.plot(T, values, color="#009E73", ls="--", lw=1.2, label="tr(C H⁻¹)/n")
    T, values, _ = _levels(group.points, "near_minimum")
    if len(T):
        ax.plot(T, values, "x", color="#56B4E9", ms=7, label="from the minimum")
    _finish(ax, group, "gap (unit of the loss)")


def _losses(ax: Any, group: SweepGroup) -> None:
    for name, label in _NAMES.items():
        T, values, errors = _levels(group.points, name)
        ax.errorbar(T, values, 2 * errors, fmt="o", ms=4, color=_COLOURS[name], label=f"{label}, 2 s.e.")
    found = group.optimum
    if found is not None and found.temperature is not None:
        ax.axvline(found.temperature, color="#777777", lw=0.8, ls=":", label=f"lowest at T = {found.temperature:.2g}")
        low, high = np.clip(found.interval, *found.range)
        ax.axvspan(low, high, color="#777777", alpha=0.12, lw=0)
    _finish(ax, group, "loss (unit of the loss)")


def _finish(ax: Any, group: SweepGroup, label: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("temperature T = λ/B")
    ax.set_ylabel(label)
    ax.set_title(f"{group.optimizer}, {group.drawing}", fontsize=10)
    ax.legend(fontsize=7, loc="upper left", ncols=2, columnspacing=1.0, handlelength=1.4)
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, 0.0), high + 0.5 * (high - min(low, 0.0)))  # room for the legend
