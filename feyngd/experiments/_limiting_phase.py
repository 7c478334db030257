"""Phase space: position and velocity of settled runs along a sharp and a weak direction. Figures 3 and 4."""

from typing import Any

import jax
import numpy as np

from ..drawing import new_figure
from ..optimizers import momentum
from ._experiment import Experiment, Finding, Outcome, Setting
from ._limiting import BATCH, BETA, DECAY, OURS, PAPER, RATE, SHARP, SOURCE, WEAK, problem, runs_of, settled
from ._verdicts import all_agree

_BEYOND = 0.05  # of a prediction: what the cloud changes
_SHOWN = 400  # steps of one run


def run(setting: Setting) -> Outcome:
    """Record settled runs along q_1 and q_30, and set their covariances beside the exact ones."""
    steps, runs = (400, 16) if setting.quick else (4000, 48)
    for_runs, for_cloud = jax.random.split(setting.key)
    with jax.enable_x64(True):
        given = problem(setting)
        limit = given.basin.limit(RATE, BATCH, optimizer=momentum(BETA), weight_decay=DECAY)
        averaged = limit.over_cloud(given.landscape, num_draws=8 if setting.quick else 24, key=for_cloud)
        found = runs_of(given, steps, runs, for_runs, burn_in=settled())
    assert found.velocities is not None
    vectors, count = given.basin.vectors, given.basin.num_params
    covariance = averaged.covariance()
    predicted, simulated, errors, ellipses = [], [], [], []
    middle = vectors @ (np.asarray(given.landscape.flatten(limit.minimum)[0]) - given.basin.center)
    for i in (SHARP, WEAK):
        q = vectors[i]
        blocks = [[covariance[a : a + count, b : b + count] for b in (0, count)] for a in (0, count)]
        width = np.array([[q @ block @ q for block in row] for row in blocks])
        ellipses.append((i, middle[i], width))
        position, velocity = found.positions[:, :, i] - middle[i], found.velocities[:, :, i]
        for ours, values in (
            (width[0, 0], position**2),
            (width[1, 1], velocity**2),
            (width[0, 1], position * velocity),
        ):
            each = values.mean(axis=1)
            predicted.append(ours)
            simulated.append(each.mean())
            errors.append(each.std(ddof=1) / runs**0.5)
    scale = np.repeat([[ellipse[2][0, 0], ellipse[2][1, 1]] for ellipse in ellipses], 1, axis=0)
    sizes = np.concatenate([[x, v, (x * v) ** 0.5] for x, v in scale])
    mixed = [(predicted[3 * k + 2], simulated[3 * k + 2], errors[3 * k + 2]) for k in range(2)]
    findings = [
        all_agree(
            "variances of position and velocity, and their covariance, are the exact ones",
            predicted,
            simulated,
            errors,
            within=_BEYOND * sizes,
        ),
        Finding(
            "E[θv] = ηE[v²]/2 > 0 along q_1, where the paper has 0",
            bool(mixed[0][1] > 3 * mixed[0][2]),
            {"prediction": mixed[0][0], "simulation": float(mixed[0][1]), "stderr": float(mixed[0][2])},
        ),
    ]
    data = {
        "the paper's parameters": PAPER,
        "ours": OURS,
        "curvatures": given.basin.curvatures[[SHARP, WEAK]],
        "predicted variances and covariance, q_1 and q_30": predicted,
        "simulated": simulated,
        "stderr": errors,
    }
    return Outcome(findings, data, _figure(found, ellipses, given.basin.curvatures + DECAY))


def _figure(found: Any, ellipses: Any, curvatures: np.ndarray) -> Any:
    figure, grid = new_figure(2, width=5.0)
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    for ax, (i, middle, width) in zip(grid[0], ellipses, strict=True):
        found.plot_phase(i, ax=ax, most=_SHOWN)
        for size in (1, 2):
            x, v = size * np.linalg.cholesky(width) @ circle
            ax.plot(middle + x, v, color="#D55E00", lw=1.2, label="predicted, 1 and 2 σ" if size == 1 else None)
        ax.set_title(f"$q_{{{i + 1}}}$, curvature {curvatures[i]:.3g}", fontsize=10)
        ax.legend(fontsize=8, loc="upper right")
    return figure


EXPERIMENT = Experiment(
    "limiting-phase",
    "phase space of settled runs along a sharp and a weak direction",
    f"{SOURCE}, section 4, figures 3 and 4",
    run,
)
