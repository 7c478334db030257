"""Speed and exponent against batch size, learning rate and momentum, all predicted from one basin. Figure 6."""

import warnings
from typing import Any

import jax
import numpy as np

from ..drawing import new_figure
from ..estimates import TruncationWarning
from ..optimizers import momentum
from ._experiment import Experiment, Finding, Outcome, Setting
from ._limiting import BATCH, BETA, DECAY, OURS, PAPER, RATE, SOURCE, problem, runs_of, settled
from ._verdicts import all_agree

_BEYOND = 0.03
_RANGES: dict[str, tuple[float, ...]] = {
    "batch size": (5, 10, 20, 40, 80),
    "learning rate": (0.0125, 0.025, 0.05, 0.1, 0.2),
    "momentum": (0.8, 0.85, 0.9, 0.94, 0.96),
}


def run(setting: Setting) -> Outcome:
    """Change one setting at a time; predict the speed at all of them, by the cloud and from one run."""
    steps, runs = (300, 16) if setting.quick else (1500, 32)
    findings, rows = [], {}
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # how far the cloud's noise serves is judged
        given = problem(setting)
        for number, (name, values) in enumerate(_RANGES.items()):
            used = values[::2] if setting.quick else values
            keys = jax.random.split(jax.random.fold_in(setting.key, number), len(used))
            rows[name] = [
                _one(given, setting, name, value, steps, runs, key) for value, key in zip(used, keys, strict=True)
            ]
    for name, found in rows.items():
        columns = {key: np.array([row[key] for row in found]) for key in found[0]}
        findings.append(
            all_agree(
                f"speeds at all {name}s are as predicted",
                columns["predicted"],
                columns["speed"],
                np.hypot(columns["stderr"], columns["predicted, stderr"]),
                within=_BEYOND * columns["predicted"],
            )
        )
        findings.append(_transfer(name, columns))
    data = {"the paper's parameters": PAPER, "ours": OURS, "settings": rows}
    return Outcome(findings, data, _figure(rows))


def _one(
    given: Any, setting: Setting, name: str, value: float, steps: int, runs: int, key: jax.Array
) -> dict[str, float]:
    batch = int(value) if name == "batch size" else BATCH
    rate = value if name == "learning rate" else RATE
    beta = value if name == "momentum" else BETA
    for_runs, for_cloud = jax.random.split(key)
    limit = given.basin.limit(rate, batch, optimizer=momentum(beta), weight_decay=DECAY)
    averaged = limit.over_cloud(given.landscape, num_draws=8 if setting.quick else 16, key=for_cloud)
    options: dict[str, Any] = {"optimizer": momentum(beta), "burn_in": settled(rate, beta), "directions": None}
    found = runs_of(given, steps, runs, for_runs, rate=rate, batch=batch, **options)
    speed, exponent = found.mean_speed(), found.fit_exponent((steps // 10, steps))
    predicted = averaged.speed()
    return {
        "value": value,
        "speed": speed.value,
        "stderr": speed.stderr or 0.0,
        "predicted": predicted.value,
        "predicted, stderr": predicted.stderr or 0.0,
        "at the minimum": limit.speed().value,
        "leading order": rate**2 * given.basin.noise.trace / (batch * (1 - beta**2)),
        "exponent": exponent.value,
        "exponent, stderr": exponent.stderr or 0.0,
        "predicted exponent": averaged.exponent((steps // 10, steps), every=max(1, steps // 100)),
    }


def _transfer(name: str, columns: dict[str, np.ndarray]) -> Finding:
    """Judge (12) with σ² tr H from one run, in the middle: does it predict the other speeds to 10 %?"""
    middle = len(columns["speed"]) // 2
    scale = columns["speed"][middle] / columns["leading order"][middle]
    off = np.abs(scale * columns["leading order"] / columns["speed"] - 1)
    return Finding(
        f"(12) with its constant from one run predicts the speed at other {name}s to 10 %",
        bool(off.max() <= 0.1),
        {"largest difference": float(off.max())},
    )


def _figure(rows: Any) -> Any:
    figure, grid = new_figure(3, 2, width=3.6, height=2.8)
    for column, (name, found) in enumerate(rows.items()):
        columns = {key: np.array([row[key] for row in found]) for key in found[0]}
        top, bottom = grid[:, column]
        top.errorbar(
            columns["value"],
            columns["speed"],
            2 * columns["stderr"],
            fmt="o",
            ms=4,
            color="#0072B2",
            label="runs, 2 s.e.",
        )
        top.plot(columns["value"], columns["predicted"], "k-", lw=1, label="predicted, cloud")
        top.plot(columns["value"], columns["leading order"], "--", color="#999999", lw=1, label="(12), leading order")
        top.set(ylabel="speed |δ|² (params²)")
        top.set_yscale("log")
        bottom.errorbar(
            columns["value"], columns["exponent"], 2 * columns["exponent, stderr"], fmt="o", ms=4, color="#0072B2"
        )
        bottom.plot(columns["value"], columns["predicted exponent"], "k-", lw=1)
        bottom.set(xlabel=name, ylabel="exponent c")
        for ax in (top, bottom):
            if name != "momentum":
                ax.set_xscale("log")
                ax.set_xticks(columns["value"], [f"{value:g}" for value in columns["value"]])
                ax.xaxis.set_minor_formatter("")
    grid[0, 0].legend(fontsize=7)
    return figure


EXPERIMENT = Experiment(
    "limiting-sweep",
    "speed and exponent against batch size, learning rate and momentum",
    f"{SOURCE}, section 5, figure 6",
    run,
)
