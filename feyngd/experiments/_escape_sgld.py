"""Injected noise on Styblinski and Tang's function: escapes against 1/D and sharpness, beside exact times."""

import warnings
from typing import Any

import jax
import numpy as np

from ..companions import escape
from ..drawing import new_figure
from ..estimates import TruncationWarning
from ..landscapes import toys
from ._escape_slopes import PAPER, SOURCE, has_slope, is_linear, joined, plot_curves, plot_points
from ._experiment import Experiment, Finding, Outcome, Setting
from ._verdicts import all_agree

BARRIERS, QUICK_BARRIERS = (4.0, 4.5, 5.0, 5.5, 6.0), (3.5, 4.0, 4.5)  # ΔL/D
SHARPNESS, QUICK_SHARPNESS = (1.0, 2.0, 4.0), (1.0, 2.0)  # k
RATE, FINE, _LONGEST = 0.002, 0.001, 10**7  # FINE where k goes up to 4: steps are to be small there too
_K_BARRIER = 4.0
COLOURS = {"theorem 3.1": "#999999", "with the next order": "#0072B2"}


def run(setting: Setting) -> Outcome:
    """Simulate SGLD from the deeper to the other minimum at several D and k, beside formulas and the exact chain."""
    for_path, for_d, for_k = jax.random.split(setting.key, 3)
    landscape, start = toys.styblinski_tang(1, x=[0.0])
    leg = escape.find_path(landscape, start, np.array([2.7]), key=for_path).legs[0]
    barriers = np.array(QUICK_BARRIERS if setting.quick else BARRIERS)
    temperatures = leg.barrier / barriers
    runs = [_runs(landscape, leg.minimum.params, leg.far.params, 1.0, D, RATE, setting, for_d) for D in temperatures]
    y, stderr = joined(runs)
    places = leg.minimum.params, leg.far.params
    exact = np.array([np.log(escape.exact_steps(landscape, *places, escape.sgld(D), RATE)[0]) for D in temperatures])
    curves = {
        name: _predicted(landscape, leg, temperatures, order) for name, order in zip(COLOURS, (1, 2), strict=True)
    }
    sharpness = np.array(QUICK_SHARPNESS if setting.quick else SHARPNESS)
    by_k = [
        _runs(landscape, leg.minimum.params, leg.far.params, k, leg.barrier / _K_BARRIER, FINE, setting, for_k)
        for k in sharpness
    ]
    z, errors = joined(by_k)
    findings = [
        is_linear("−log γ is linear in 1/D", 1 / temperatures, y, stderr),
        *(has_slope(f"{name}: the slope ΔL in 1/D", 1 / temperatures, y, stderr, curves[name]) for name in curves),
        all_agree("runs take the steps of the exact chain", exact, y, stderr),
        is_proportional(sharpness, z, errors),
    ]
    data = {
        "paper": PAPER,
        "ours": {"problem": "1 parameter, f itself, from a to c", "η": RATE, "ΔL/D": barriers, "k": sharpness},
        "barrier": leg.barrier,
        "over D": {"simulated": [part.to_dict() for part in runs], "predicted": curves, "exact chain": exact},
        "over k": [part.to_dict() for part in by_k],
    }
    return Outcome(findings, data, _figure(temperatures, y, stderr, curves, exact, sharpness, z, errors))


def is_proportional(sharpness: np.ndarray, y: np.ndarray, stderr: np.ndarray) -> Finding:
    """Judge whether γ ∝ k: an identity of continuous time, which says nothing of sharp and flat minima."""
    shifted = y + np.log(sharpness)
    errors = np.hypot(stderr[1:], stderr[0])
    allowed = 0.1  # of γ, for steps of a finite length
    return all_agree(
        "γ is proportional to k, an identity", np.full(len(errors), shifted[0]), shifted[1:], errors, allowed
    )


def _predicted(landscape: Any, leg: Any, temperatures: np.ndarray, order: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # barriers are low, so that runs can be awaited
        return np.array(
            [escape.escape_time(landscape, leg, escape.sgld(D), RATE, order=order).log_steps[0] for D in temperatures]
        )


def _runs(landscape: Any, start: Any, far: Any, k: float, D: float, rate: float, setting: Setting, key: Any) -> Any:
    """Return runs on f(√k θ) that start in a and end at c."""
    narrow, begin = escape.rescale(landscape, start, k) if k != 1 else (landscape, start)
    until, count = escape.Halfspace(np.asarray(far) / k**0.5, np.ones(1)), 60 if setting.quick else 100
    options: dict[str, Any] = {"runs": count, "max_steps": _LONGEST, "chunk_size": count, "key": key}
    return escape.simulate(narrow, begin, escape.sgld(D), rate, until=until, progress=setting.progress, **options)


def _figure(temperatures: Any, y: Any, stderr: Any, curves: Any, exact: Any, k: Any, z: Any, errors: Any) -> Any:
    figure, axes = new_figure(2, width=4.8)
    plot_curves(axes[0, 0], 1 / temperatures, curves, COLOURS)
    axes[0, 0].plot(1 / temperatures, exact, color="#E69F00", linestyle="--", label="exact, in steps")
    plot_points(axes[0, 0], 1 / temperatures, y, stderr, "simulated")
    axes[0, 0].set(xlabel="1/D", ylabel="−log γ")
    axes[0, 0].legend(fontsize=8)
    axes[0, 1].plot(k, np.exp(-z[0]) * k / k[0], color="#0072B2", label="γ ∝ k")
    rates = np.exp(-z)
    axes[0, 1].errorbar(k, rates, yerr=2 * errors * rates, fmt="o", color="#000000", capsize=2, label="simulated")
    axes[0, 1].set(xlabel="sharpness k", ylabel="γ, escapes a step")
    axes[0, 1].legend(fontsize=8)
    return figure


EXPERIMENT = Experiment(
    "escape-sgld",
    "escapes with injected noise against its strength and the sharpness",
    f"{SOURCE}, section 4, figures 6 and 13 to 16",
    run,
)
