"""What the experiments on escapes share: the paper's parameters, fitted lines, and verdicts on linearity and slope."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import polygamma

from ..companions.escape import Escapes
from ..drawing import new_figure
from ._experiment import Finding
from ._verdicts import agreement

SOURCE = "Xie, Sato and Sugiyama"
PAPER = {
    "Styblinski-Tang": "10 parameters, x ~ N(0, I), 50,000 samples, from −2.903534/√k until a θ_i ≥ 0.156731/√k",
    "logistic regression": "random labels, from 0 until a |θ_i| ≥ 0.1",
    "MLP": "ReLU, depth 3, width 10, from 0.1 + N(0, 0.01), box 0.05 to 0.15; UCI sets: depth 2, |Δθ_i| ≤ 0.05",
    "runs": "100",
    "learning rates, figure 10": "0.001, 0.015, 0.005, 0.0005, B = 1",
    "learning rates, figure 11": "0.02, 0.6, 0.18, 0.01",
    "SGLD, figures 13 to 16": "η 0.0001 to 0.001, B = 100; figure 16: B 50, 50, 1, D 0.2, 0.0005, 0.0003",
    "noise, figures 2, 8 and 9": "B = 1, 10, 20, 30; H in 1e-4 to 0.5 (eigenvectors), −0.03 to 0.03 (coordinates)",
    "noise, figure 7": "ResNet-18, B = 50",
    "printed": "slope · B ≈ 0.78, Pearson 0.94 to 0.95 (figure 8); 1.00 (figure 9)",
}
LINEAR = 0.95  # Pearson's r from which the paper, and we, call points a line
CLOSE = 0.1  # of a simulated slope, within which a predicted one is called right


@dataclass(frozen=True)
class Line:
    """A straight line through points: its slope with the standard error, and Pearson's correlation."""

    slope: float
    stderr: float
    pearson: float


def log_steps(runs: Escapes) -> tuple[np.ndarray, np.ndarray]:
    """Return −log γ of simulated runs and its standard error, √ψ′(n) for n escapes, whatever the rate is."""
    return -np.log(runs.rate), np.sqrt(polygamma(1, np.maximum(runs.count, 1)))


def joined(parts: Sequence[Escapes]) -> tuple[np.ndarray, np.ndarray]:
    """Return `log_steps` of several sets of runs, one after the other."""
    values, errors = zip(*(log_steps(part) for part in parts), strict=True)
    return np.concatenate(values), np.concatenate(errors)


def line(x: ArrayLike, y: ArrayLike, stderr: ArrayLike) -> Line:
    """Fit a line to points of about equal weight; a prediction is fitted to the same places, so that both compare."""
    x, y, stderr = (np.asarray(part, dtype=float) for part in (x, y, stderr))
    weights = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    return Line(float(weights @ y), float(np.sqrt(weights**2 @ stderr**2)), float(np.corrcoef(x, y)[0, 1]))


def is_linear(claim: str, x: ArrayLike, y: ArrayLike, stderr: ArrayLike) -> Finding:
    """Judge whether points lie on a line, as the paper does by eye: a correlation of 0.95 or more."""
    found = line(x, y, stderr)
    holds = bool(found.pearson >= LINEAR) if math.isfinite(found.pearson) else None
    return Finding(claim, holds, {"Pearson": found.pearson, "slope": found.slope, "stderr": found.stderr})


def has_slope(claim: str, x: ArrayLike, y: ArrayLike, stderr: ArrayLike, predicted: ArrayLike) -> Finding:
    """Judge whether predictions at the same places have the slope of the simulations, to three errors or 10 %."""
    found = line(x, y, stderr)
    expected = line(x, predicted, np.zeros_like(np.asarray(predicted, dtype=float)))
    return agreement(claim, expected.slope, found.slope, stderr=found.stderr, relative=CLOSE)


def judged(
    sweep: str, x: np.ndarray, y: np.ndarray, stderr: np.ndarray, curves: dict[str, np.ndarray]
) -> list[Finding]:
    """Judge whether −log γ is linear, as the paper says, and whether each prediction has its slope."""
    slopes = [has_slope(f"{sweep}: {name} has the slope", x, y, stderr, curve) for name, curve in curves.items()]
    return [is_linear(f"{sweep}: −log γ is linear", x, y, stderr), *slopes]


def same_runs(squeezed: np.ndarray, steps: np.ndarray, k: float) -> Finding:
    """Judge whether runs on f(√k θ) at η/k take the same steps as those on f at η."""
    same = float(np.mean(squeezed == steps))
    return Finding("SGD, k: the sweep is that over η, run by run", same == 1.0, {"share of equal runs": same, "k": k})


def plot_points(ax: Any, x: ArrayLike, y: np.ndarray, stderr: np.ndarray, label: str, style: str = "o") -> None:
    """Plot −log γ of simulated runs with two standard errors."""
    ax.errorbar(x, y, yerr=2 * stderr, fmt=style, color="#000000", capsize=2, ms=4, label=label)


def plot_curves(ax: Any, x: ArrayLike, curves: Mapping[str, np.ndarray], colours: Mapping[str, str]) -> None:
    """Plot predicted −log γ by name."""
    for name, values in curves.items():
        ax.plot(x, values, color=colours[name], label=name)


def sweeps_figure(sweeps: Mapping[str, tuple], colours: Mapping[str, str]) -> Any:
    """Return a figure with one panel for every sweep, predictions over simulated points.

    Args:
        sweeps: by method and variable, such as "SGD, 1/η": the variable, −log γ, its standard error, and predictions by
            name.
        colours: of the predictions, by name.
    """
    figure, axes = new_figure(len(sweeps), width=4.2)
    for ax, (name, (x, y, stderr, curves)) in zip(axes.flat, sweeps.items(), strict=True):
        plot_curves(ax, x, curves, colours)
        plot_points(ax, x, y, stderr, "simulated")
        method, variable = name.split(", ")
        ax.set(title=method, xlabel="batch size B" if variable == "B" else variable, ylabel="−log γ")
        if variable == "B":
            ax.set_xticks(x)
    axes[0, 0].legend(fontsize=8)
    return figure
