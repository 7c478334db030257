"""Figures of predictions and simulations, in matplotlib."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ._axes import LABELS, PALETTE, new_axes

if TYPE_CHECKING:
    from ..minima import ResummedPrediction
    from ..prediction import Comparison, Prediction


def plot_prediction(prediction: "Prediction", ax: Any = None) -> Any:
    """Draw every order against the learning rate, each dashed from where it stops converging."""
    ax = new_axes(ax)
    rates = np.linspace(0, prediction.learning_rates.max() * 1.04, 400)
    for order in range(1, prediction.order + 1):
        cut = prediction.truncate(order)
        mean, stderr = cut.at(rates)
        edge = cut.valid_up_to
        inside = rates <= edge
        colour, last = PALETTE[order % len(PALETTE)], order == prediction.order
        width = 2.0 if last else 1.3
        ax.plot(rates[inside], mean[inside], color=colour, lw=width, label=f"order {order}", zorder=3)
        ax.plot(rates[~inside], mean[~inside], color=colour, lw=width, ls=(0, (3, 2)), zorder=3)
        if last:
            ax.fill_between(rates, mean - 2 * stderr, mean + 2 * stderr, color=colour, alpha=0.25, lw=0, zorder=2)
            if edge < rates[-1]:
                ax.axvspan(edge, rates[-1], color="#777777", alpha=0.12, lw=0, zorder=0, label=_doubt(prediction))
    ax.set_xlim(0, rates[-1])
    ax.set_xlabel("learning rate η")
    ax.set_ylabel(LABELS[prediction.quantity])
    ax.set_title(str(prediction.spacetime), fontsize=10)
    return ax


def plot_resummed(prediction: "ResummedPrediction", ax: Any = None) -> Any:
    """Draw a re-summed prediction with its errors as bands, and the loss at the start."""
    ax = new_axes(ax)
    rates, mean = prediction.learning_rates, prediction.mean
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
    ax.set_ylabel(LABELS[prediction.quantity])
    ax.set_title(str(prediction.spacetime), fontsize=10)
    return ax


def _doubt(prediction: "Prediction | ResummedPrediction") -> str:
    return "not smooth: no claim" if prediction.kinks else "not converged"


def plot_comparison(comparison: "Comparison", ax: Any = None) -> Any:
    """Draw the prediction, and the simulation with error bars of two standard errors."""
    prediction, simulation = comparison.prediction, comparison.simulation
    ax = prediction.plot(ax)
    ax.errorbar(
        simulation.learning_rates,
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
