"""Anomalous diffusion: how far SGD goes from where training has ended, and with which exponent. Figure 1."""

from typing import Any

import jax
import numpy as np

from ..drawing import new_figure
from ..optimizers import momentum
from ._experiment import Experiment, Finding, Outcome, Setting
from ._limiting import BATCH, BETA, DECAY, OURS, PAPER, RATE, SOURCE, Problem, problem, runs_of, settled
from ._verdicts import all_agree

_BEYOND = 0.03  # of a prediction: what the cloud changes beyond its mean noise
_EARLY = (10, 60)  # steps in which runs from zero still train


def run(setting: Setting) -> Outcome:
    """Follow runs that have settled, and runs that still train; predict both exponents."""
    steps, runs = (300, 16) if setting.quick else (3000, 64)
    for_settled, for_training, for_cloud = jax.random.split(setting.key, 3)
    with jax.enable_x64(True):
        given = problem(setting)
        limit = given.basin.limit(RATE, BATCH, optimizer=momentum(BETA), weight_decay=DECAY)
        averaged = limit.over_cloud(given.landscape, num_draws=8 if setting.quick else 24, key=for_cloud)
        stationary = runs_of(given, steps, runs, for_settled, burn_in=settled())
        untrained = jax.tree.map(lambda leaf: 0 * leaf, given.params)
        training = runs_of(Problem(given.landscape, untrained, given.basin), steps, runs, for_training)
    window = (steps // 3, steps)  # the last two thirds, as in the paper
    at = np.unique(np.geomspace(1, steps, 12).astype(int))
    predicted = averaged.displacement(at)
    moved = stationary.displacement[:, at - 1]
    errors = moved.std(axis=0, ddof=1) / runs**0.5
    measured = {"settled": stationary.fit_exponent(window), "training": training.fit_exponent(_EARLY)}
    early = stationary.fit_exponent(_EARLY)
    expected = averaged.exponent(window, every=max(1, steps // 300))
    bound = window[0] / (window[0] - 2 * BETA / (1 - BETA**2))
    gap = measured["training"].value - early.value
    spread = float(np.hypot(measured["training"].stderr or 0, early.stderr or 0))
    findings = [
        all_agree(
            "settled runs move as far as predicted, at all lags",
            predicted.mean,
            moved.mean(axis=0),
            np.hypot(errors, 0 if predicted.stderr is None else predicted.stderr),
            within=_BEYOND * predicted.mean,
        ),
        _exponent("settled runs have the predicted exponent", expected, measured["settled"]),
        Finding(
            "from stationarity the exponent stays below its bound, so that more than 1 is drift",
            bool(expected <= bound),
            {"predicted": expected, "bound": bound},
        ),
        Finding(
            "runs that still train have a larger exponent than settled ones have over the same steps",
            bool(gap > 3 * spread),
            {"training": measured["training"].value, "settled": early.value, "stderr": spread},
        ),
    ]
    curves = {"settled": stationary.mean_displacement(), "training": training.mean_displacement()}
    data = {
        "the paper's parameters": PAPER,
        "ours": OURS,
        "lags": at,
        "predicted": predicted.mean,
        "settled": moved.mean(axis=0),
        "settled, stderr": errors,
        "training": training.displacement[:, at - 1].mean(axis=0),
        "window": window,
    }
    return Outcome(findings, data, _figure(curves, at, predicted.mean, moved.mean(axis=0), errors, measured))


def _exponent(claim: str, expected: float, measured: Any) -> Finding:
    stderr = measured.stderr or 0.0
    holds = abs(expected - measured.value) <= 3 * stderr
    return Finding(claim, bool(holds), {"prediction": expected, "simulation": measured.value, "stderr": stderr})


def _figure(curves: Any, at: np.ndarray, mean: np.ndarray, moved: np.ndarray, errors: np.ndarray, found: Any) -> Any:
    figure, grid = new_figure(1, width=6.0)
    ax = grid[0, 0]
    for (name, (steps, mean_of)), color in zip(curves.items(), ("#0072B2", "#E69F00"), strict=True):
        exponent = found[name]
        part = "last two thirds" if name == "settled" else f"k {_EARLY[0]} to {_EARLY[1]}"
        label = f"{name}: c = {exponent.value:.2f} ± {exponent.stderr or 0:.2f}, {part}"
        ax.loglog(steps, mean_of, color=color, lw=1.2, label=label)
    ax.errorbar(at, moved, 2 * errors, fmt="o", ms=3, color="#0072B2")
    ax.loglog(at, mean, "k--", lw=1.2, label="predicted, stationary")
    ax.set(xlabel="steps k", ylabel="mean |Δ|² (params²)", title="How far SGD with momentum goes")
    ax.legend(fontsize=8)
    return figure


EXPERIMENT = Experiment(
    "limiting-displacement",
    "how far SGD with momentum goes after training, and with which exponent",
    f"{SOURCE}, section 1, figure 1",
    run,
)
