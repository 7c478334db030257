"""The exponent of displacement against the length of the fit, from stationarity and while training. Figure 7."""

import jax
import numpy as np

from ..drawing import new_figure
from ..optimizers import momentum
from ._experiment import Experiment, Finding, Outcome, Setting
from ._limiting import BATCH, BETA, DECAY, OURS, PAPER, RATE, SOURCE, problem, runs_of, settled


def run(setting: Setting) -> Outcome:
    """Fit exponents to windows [k, 2k] of settled runs, and predict them."""
    steps, runs = (400, 16) if setting.quick else (4000, 64)
    for_runs, for_cloud = jax.random.split(setting.key)
    with jax.enable_x64(True):
        given = problem(setting)
        limit = given.basin.limit(RATE, BATCH, optimizer=momentum(BETA), weight_decay=DECAY)
        averaged = limit.over_cloud(given.landscape, num_draws=8 if setting.quick else 24, key=for_cloud)
        found = runs_of(given, steps, runs, for_runs, burn_in=settled())
    starts = np.unique(np.geomspace(3, steps // 2, 8).astype(int))
    fits = [found.fit_exponent((k, 2 * k)) for k in starts]
    predicted = np.array([averaged.exponent((k, 2 * k), every=max(1, k // 50)) for k in starts])
    measured, errors = np.array([fit.value for fit in fits]), np.array([fit.stderr or 0.0 for fit in fits])
    late = starts >= 10 / (1 - BETA)
    bound = starts[late] / (starts[late] - 2 * BETA / (1 - BETA**2))
    scores = np.abs(predicted - measured) / errors
    findings = [
        Finding(
            "exponents of all windows are as predicted",
            bool(scores.max() <= 3.5),
            {"largest deviation in standard errors": float(scores.max()), "windows": float(len(starts))},
        ),
        Finding(
            "the longer the window, the smaller the exponent: a single c does not describe it",
            bool(predicted[-1] < predicted[0] and measured[-1] + 3 * errors[-1] < measured[0]),
            {"first": float(measured[0]), "last": float(measured[-1]), "stderr": float(errors[-1])},
        ),
    ]
    if late.any():
        above = measured[late] - 3 * errors[late] - bound
        findings.append(
            Finding(
                "from stationarity no late window has an exponent above its bound",
                bool(above.max() <= 0),
                {"windows": float(late.sum()), "largest exponent": float(measured[late].max())},
            )
        )
    figure, grid = new_figure(1, width=6.0)
    ax = grid[0, 0]
    ax.errorbar(starts, measured, 2 * errors, fmt="o", ms=4, color="#0072B2", label="settled runs, 2 s.e.")
    ax.plot(starts, predicted, "k--", label="predicted")
    if late.any():
        ax.plot(starts[late], bound, color="#D55E00", lw=1, label="bound k/(k − 2β/(1 − β²))")
    ax.set_xscale("log")
    ax.set(xlabel="window [k, 2k] of the fit, k", ylabel="exponent c", title="The exponent depends on the window")
    ax.legend(fontsize=8)
    data = {
        "the paper's parameters": PAPER,
        "ours": OURS,
        "windows": starts,
        "predicted": predicted,
        "measured": measured,
        "stderr": errors,
    }
    return Outcome(findings, data, figure)


EXPERIMENT = Experiment(
    "limiting-window",
    "the exponent of displacement against the window that it is fitted to",
    f"{SOURCE}, section 5 and appendix H, figure 7",
    run,
)
