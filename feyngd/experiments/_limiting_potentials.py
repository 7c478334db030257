"""A process whose density is that of another potential than its drift has, and a current that turns. Appendix H.4."""

from typing import Any

import numpy as np

from ..companions.limiting import OrnsteinUhlenbeck
from ..drawing import new_figure
from ._experiment import Experiment, Finding, Outcome, Setting
from ._limiting import PAPER, SOURCE

B = np.array([-0.1, 0.05])
NOISE = 1e4  # κ; illegible in the paper
_REACH = 0.1


def run(setting: Setting) -> Outcome:
    """Solve the process, draw paths, and set original and modified potential side by side."""
    runs = 2000 if setting.quick else 20000
    one, other = np.array([-1.0, 1.0]), np.array([1.0, 1.0])
    drift = 4 * np.outer(one, one) / 2 + np.outer(other, other) / 2
    process = OrnsteinUhlenbeck(drift, np.diag([4.0, 1.0]), kappa=NOISE, mean=np.linalg.solve(drift, B))
    a, d, q, u, kappa = process.decomposition()
    residual = float(np.abs((d + q) @ u - a).max())
    paths = process.sample(process.mean, [0.0, 20.0], runs=runs, key=setting.key)[:, 1]
    found, width = np.cov(paths.T), process.stationary_covariance()
    errors = np.sqrt((width**2 + np.outer(np.diag(width), np.diag(width))) / runs)
    plain = np.linalg.inv(a) / kappa  # of the original potential, with noise D = 1
    findings = [
        Finding("A = (D + Q)U, to rounding", residual < 1e-12, {"residual": residual, "Q_12": float(q[0, 1])}),
        Finding(
            "paths have the covariance W/κ",
            bool(np.all(np.abs(found - width) <= 3.5 * errors)),
            {"largest deviation in standard errors": float(np.max(np.abs(found - width) / errors))},
        ),
        Finding(
            "the original potential's covariance is another",
            bool(np.max(np.abs(plain - width) / errors) > 10),
            {"W_11": float(kappa * width[0, 0]), "of the original": float(kappa * plain[0, 0])},
        ),
        Finding(
            "the potentials are centred on A⁻¹b, not on b",
            bool(np.all(np.abs(paths.mean(axis=0) - process.mean) <= 4 * np.sqrt(np.diag(width) / runs))),
            {"first": float(process.mean[0]), "second": float(process.mean[1])},
        ),
    ]
    data = {
        "the paper's parameters": PAPER["appendix H.4"],
        "ours": f"κ {NOISE:g}, {runs} paths, exact transitions",
        "Q": q,
        "W": kappa * width,
        "U": u,
        "mean": process.mean,
    }
    return Outcome(findings, data, _figure(process, a, u, paths[:500]))


def _figure(process: OrnsteinUhlenbeck, a: np.ndarray, u: np.ndarray, paths: np.ndarray) -> Any:
    figure, axes = new_figure(2, width=4.8)
    grid = np.linspace(-_REACH, _REACH, 40)
    x, y = np.meshgrid(grid, grid)
    away = np.stack([x - process.mean[0], y - process.mean[1]], axis=-1)
    for ax, form, name in zip(axes[0], (a, u), ("original potential", "modified potential Ψ and current"), strict=True):
        psi = np.einsum("xyi,ij,xyj->xy", away, form, away) / 2
        levels = np.arange(1, 12) ** 2 / (2 * NOISE)  # where Gibbs' density has 1, 2, … standard deviations
        ax.contour(x, y, psi, levels=levels, colors="#777777", linewidths=0.7)
        ax.plot(*paths.T, ".", ms=2, color="#0072B2", alpha=0.5, label="stationary states")
        ax.plot(*process.mean, "+", color="#D55E00", ms=9, label="A⁻¹b")
        ax.set(title=name, xlim=(-_REACH, _REACH), ylim=(-_REACH, _REACH))
        ax.set_xticks(ticks := [-0.1, -0.05, 0, 0.05, 0.1], map(str, ticks))
        ax.set_aspect("equal")
    parts = process.decomposition()
    flow = -np.einsum("ij,xyj->xyi", parts.Q @ parts.U, away)
    skip = slice(None, None, 4)
    axes[0, 1].quiver(x[skip, skip], y[skip, skip], flow[skip, skip, 0], flow[skip, skip, 1], color="#009E73")
    axes[0, 0].legend(fontsize=8)
    return figure


EXPERIMENT = Experiment(
    "limiting-potentials",
    "original and modified potential of a process with a current",
    f"{SOURCE}, section 4 and appendix H.4",
    run,
)
