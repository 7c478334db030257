"""The train loss is steep along q_1 and flat along q_30; does SGD feel both alike, as if in another loss? Figure 4."""

from typing import Any

import jax
import numpy as np

from ..companions.limiting import Basin
from ..drawing import new_figure
from ..optimizers import momentum
from ._experiment import Experiment, Finding, Outcome, Setting
from ._limiting import BATCH, BETA, DECAY, OURS, PAPER, RATE, SHARP, SOURCE, WEAK, problem, runs_of, settled
from ._verdicts import all_agree

_BEYOND, _SHOWN = 0.05, 40


def run(setting: Setting) -> Outcome:
    """Measure variances along the sharpest 40 directions, and the loss over the plane of q_1 and q_30."""
    steps, runs, side = (400, 16, 8) if setting.quick else (4000, 48, 20)
    for_runs, for_cloud = jax.random.split(setting.key)
    with jax.enable_x64(True):
        given = problem(setting)
        limit = given.basin.limit(RATE, BATCH, optimizer=momentum(BETA), weight_decay=DECAY)
        averaged = limit.over_cloud(given.landscape, num_draws=8 if setting.quick else 24, key=for_cloud)
        found = runs_of(given, steps, runs, for_runs, burn_in=settled())
        plane = _losses(given, found, side)
    count, vectors = given.basin.num_params, given.basin.vectors[:_SHOWN]
    width = averaged.covariance()[:count, :count]
    predicted = np.einsum("kp,pq,kq->k", vectors, width, vectors)
    positions = found.positions[:, :, :_SHOWN]
    each = np.var(positions, axis=1)  # of every run, around its own mean
    simulated, errors = each.mean(axis=0), each.std(axis=0, ddof=1) / runs**0.5
    # A finite run's own mean takes some of the variance: that of a tail average.
    kept = 1 - _share_of_mean(limit, steps)[:_SHOWN]
    h = given.basin.curvatures[:_SHOWN] + DECAY
    slope, slope_error = _power(h, each / kept)
    ratio_h, ratio_v = h[SHARP] / h[WEAK], simulated[SHARP] / kept[SHARP] / simulated[WEAK] * kept[WEAK]
    findings = [
        all_agree(
            "variances along the 40 sharpest directions are the predicted ones",
            kept * predicted,
            simulated,
            errors,
            within=_BEYOND * predicted,
        ),
        Finding(
            "the variance is the same along all directions, as noise in proportion to curvature would have it",
            None if slope_error > 0.1 else bool(abs(slope) <= 3 * slope_error + 0.05),
            {"slope of log variance on log curvature": slope, "stderr": slope_error},
        ),
        Finding(
            "variances along q_1 and q_30 differ less than curvatures do, as they would not with white noise",
            bool(max(ratio_v, 1 / ratio_v) < ratio_h),
            {"ratio of curvatures": float(ratio_h), "ratio of variances": float(ratio_v)},
        ),
    ]
    data = {
        "the paper's parameters": PAPER,
        "ours": OURS,
        "curvatures": h,
        "predicted variances": predicted,
        "simulated variances": simulated / kept,
        "stderr": errors / kept,
    }
    return Outcome(findings, data, _figure(h, predicted, simulated / kept, errors / kept, plane, found))


def _share_of_mean(limit: Any, steps: int) -> np.ndarray:
    """Return the variance of a run's mean over that of its positions, along every direction."""
    shares = []
    for h in limit.curvatures:
        one = Basin.from_matrices([[h]], [[1.0]]).limit(limit.step.eta, 1, optimizer=momentum(BETA))
        shares.append(one.averaged(tail=steps).ratio)
    return np.array(shares)


def _power(h: np.ndarray, each: np.ndarray) -> tuple[float, float]:
    """Return the slope of log variance on log curvature, and its error by leaving out runs."""
    runs = len(each)

    def slope(rows: np.ndarray) -> float:
        return float(np.polyfit(np.log(h), np.log(rows.mean(axis=0)), 1)[0])

    left = np.array([slope(np.delete(each, i, axis=0)) for i in range(runs)])
    return slope(each), float(np.sqrt((runs - 1) * np.mean((left - left.mean()) ** 2)))


def _losses(given: Any, found: Any, side: int) -> Any:
    """Return a grid over the plane of q_1 and q_30 and the loss with weight decay above the minimum's on it."""
    theta, flat = given.landscape.flatten(given.params)
    q = given.basin.vectors
    reach = 4 * max(float(found.positions[:, :, i].std()) for i in (SHARP, WEAK))
    grid = np.linspace(-reach, reach, side)

    def loss(point: Any) -> Any:
        mean = jax.numpy.mean(jax.vmap(flat, in_axes=(None, 0))(point, given.landscape.data))
        return mean + DECAY / 2 * point @ point

    points = np.array([[np.asarray(theta) + x * q[SHARP] + y * q[WEAK] for x in grid] for y in grid])
    values = np.asarray(jax.lax.map(loss, jax.numpy.asarray(points.reshape(side * side, -1)))).reshape(side, side)
    return grid, values - float(loss(theta))


def _figure(h: np.ndarray, predicted: Any, simulated: Any, errors: Any, plane: Any, found: Any) -> Any:
    figure, grid = new_figure(2, width=5.0)
    left, right = grid[0]
    shown = left.contourf(*[plane[0]] * 2, plane[1], levels=12, cmap="Greys")
    figure.colorbar(shown, ax=left, label="loss above the minimum")
    left.plot(found.positions[0, :, SHARP], found.positions[0, :, WEAK], color="#0072B2", lw=0.5)
    left.set(xlabel="along $q_1$", ylabel="along $q_{30}$", title="train loss, and one run")
    left.set(xlim=plane[0][[0, -1]], ylim=plane[0][[0, -1]])
    left.set_aspect("equal")
    right.errorbar(h, simulated, 2 * errors, fmt="o", ms=3, color="#0072B2", label="runs, 2 s.e.")
    right.plot(h, predicted, "kx", ms=5, label="predicted")
    right.loglog(h, predicted[0] * h[0] / h, color="#bbbbbb", label="∝ 1/h, white noise")
    right.set(xlabel="curvature h", ylabel="variance of position (params²)", title="the 40 sharpest directions")
    right.set_xticks(ticks := [0.03, 0.06, 0.1, 0.2], map(str, ticks))
    right.xaxis.set_minor_formatter("")
    right.legend(fontsize=8)
    return figure


EXPERIMENT = Experiment(
    "limiting-isotropy",
    "variances along sharp and weak directions: the loss that SGD feels",
    f"{SOURCE}, section 4, figure 4",
    run,
)
