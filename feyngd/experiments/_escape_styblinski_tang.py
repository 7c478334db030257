"""Styblinski and Tang's function of one parameter, shifted at random: SGD's escapes against 1/η, B and k.

Straight lines say little: the printed slope, that along the path and that of all cumulants differ by factors, and every
sweep is a line. The sweep over k is that over η again, run by run.
"""

import warnings
from typing import Any

import jax
import numpy as np

from ..companions import escape
from ..companions.escape import EscapePath, Escapes
from ..drawing import new_figure
from ..estimates import TruncationWarning
from ..landscapes import Landscape, toys
from ._escape_slopes import PAPER, SOURCE, has_slope, is_linear, joined, log_steps, plot_curves, plot_points
from ._experiment import Experiment, Finding, Outcome, Setting

RATES, QUICK_RATES = (0.02, 0.016, 0.0125, 0.01, 0.008), (0.02, 0.016, 0.0125)
BATCHES = (1, 2, 3)
RATE, K = 0.03, 1.6
_EXAMPLES, _LONGEST = 1_000, 10**7
COLOURS = {"theorem 3.2, C = H": "#CC79A7", "along the path": "#56B4E9", "all cumulants": "#009E73"}


def run(setting: Setting) -> Outcome:
    """Simulate escapes at several η, B and k, and set three predictions beside them."""
    for_data, for_path, for_rates, for_batches = jax.random.split(setting.key, 4)
    shifts = np.asarray(jax.random.normal(for_data, (_EXAMPLES,)), dtype=float)
    landscape, _ = toys.styblinski_tang(1, x=shifts)
    path = escape.find_path(landscape, np.array([-2.35]), np.array([2.0]), key=for_path)
    rates = np.array(QUICK_RATES if setting.quick else RATES)
    runs = _escapes(landscape, path, 1, rates, setting, for_rates)
    curves = predicted(landscape, path, 1, rates)
    y, stderr = log_steps(runs)
    same = float(np.mean(_squeezed(landscape, path, rates, setting, for_rates).steps == runs.steps))
    findings = [
        *judged("1/η", 1 / rates, y, stderr, curves),
        Finding("the sweep over k is that over η, run by run", same == 1.0, {"share of equal runs": same, "k": K}),
    ]
    by_batch: list[Escapes] = []
    batch_curves: dict[str, np.ndarray] = {}
    batches = np.array([] if setting.quick else BATCHES)
    if not setting.quick:
        by_batch = [_escapes(landscape, path, batch, np.array([RATE]), setting, for_batches) for batch in BATCHES]
        over_b = [predicted(landscape, path, batch, np.array([RATE])) for batch in BATCHES]
        batch_curves = {name: np.array([one[name][0] for one in over_b]) for name in COLOURS}
        findings += judged("B", batches, *joined(by_batch), batch_curves)
    leg = path.legs[0]
    ours = f"1 parameter, x ~ N(0, 1), {_EXAMPLES:,} samples, from the averaged minimum until the saddle"
    data = {
        "paper": PAPER,
        "ours": {"problem": ours, "runs": runs.steps.shape[1], "η": rates, "B": batches, "η of the sweep over B": RATE},
        "minimum": leg.minimum.params,
        "saddle": leg.saddle.params,
        "barrier": leg.barrier,
        "over η": {"simulated": runs.to_dict(), "predicted": curves},
        "over B": {"simulated": [part.to_dict() for part in by_batch], "predicted": batch_curves},
    }
    return Outcome(findings, data, _figure(rates, y, stderr, curves, batches, by_batch, batch_curves))


def judged(
    sweep: str, x: np.ndarray, y: np.ndarray, stderr: np.ndarray, curves: dict[str, np.ndarray]
) -> list[Finding]:
    """Judge whether −log γ is linear, as the paper says, and whether each prediction has its slope."""
    first = is_linear(f"−log γ is linear in {sweep}", x, y, stderr)
    return [
        first,
        *(has_slope(f"{name}: the slope in {sweep}", x, y, stderr, curve) for name, curve in curves.items()),
    ]


def predicted(landscape: Landscape, path: EscapePath, batch: int, rates: np.ndarray) -> dict[str, np.ndarray]:
    """Return −log γ by the printed theorem, along the path, and with all cumulants, until the saddle."""
    printed = escape.sgd(batch, model="hessian", rho=1.0)
    whole = escape.sgd(batch, model="cumulants")
    noises: list[tuple[Any, str]] = [(printed, "two-temperature"), (escape.sgd(batch), "path"), (whole, "path")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # the verdicts are on what the formulas are worth here
        times = [
            escape.escape_time(landscape, path.legs[0], noise, rates, form=form, stop="saddle")
            for noise, form in noises
        ]
    return {name: time.log_steps for name, time in zip(COLOURS, times, strict=True)}


def _escapes(
    landscape: Landscape, path: EscapePath, batch: int, rates: np.ndarray, setting: Setting, key: jax.Array
) -> Escapes:
    """Return runs from the minimum until they are beyond the saddle."""
    leg, count = path.legs[0], 60 if setting.quick else 100
    until = escape.Halfspace(leg.saddle.params, np.ones(1))
    options: dict[str, Any] = {"until": until, "runs": count, "max_steps": _LONGEST, "chunk_size": count, "key": key}
    return escape.simulate(
        landscape, leg.minimum.params, escape.sgd(batch), rates, progress=setting.progress, **options
    )


def _squeezed(landscape: Landscape, path: EscapePath, rates: np.ndarray, setting: Setting, key: jax.Array) -> Escapes:
    """Return runs on f(√k θ) at η/k, with the same batches as those on f at η."""
    leg, count = path.legs[0], 60 if setting.quick else 100
    narrow, start = escape.rescale(landscape, leg.minimum.params, K)
    until = escape.Halfspace(np.asarray(leg.saddle.params) / K**0.5, np.ones(1))
    options: dict[str, Any] = {"until": until, "runs": count, "max_steps": _LONGEST, "chunk_size": count, "key": key}
    return escape.simulate(narrow, start, escape.sgd(1), rates / K, progress=setting.progress, **options)


def _figure(
    rates: np.ndarray, y: np.ndarray, stderr: np.ndarray, curves: Any, batches: Any, by_batch: Any, batch_curves: Any
) -> Any:
    figure, axes = new_figure(2 if by_batch else 1, width=4.8)
    _panel(axes[0, 0], 1 / rates, y, stderr, curves)
    axes[0, 0].set(xlabel="1/η", title="B = 1")
    if by_batch:
        _panel(axes[0, 1], batches, *joined(by_batch), batch_curves)
        axes[0, 1].set(xlabel="batch size B", title=f"η = {RATE:g}")
        axes[0, 1].set_xticks(batches)
    return figure


def _panel(ax: Any, x: np.ndarray, y: np.ndarray, stderr: np.ndarray, curves: dict[str, np.ndarray]) -> None:
    """Plot a sweep on a linear axis, where lines are lines; the printed theorem, ten times higher, is cut off."""
    printed, *others = COLOURS
    plot_curves(ax, x, {name: curves[name] for name in others}, COLOURS)
    plot_points(ax, x, y, stderr, "simulated")
    low, high = curves[printed].min(), curves[printed].max()
    ax.plot([], [], color=COLOURS[printed], label=f"{printed}: {low:.0f} to {high:.0f}, above")
    ax.set(ylabel="−log γ", ylim=(0, 1.5 * max(curves[name].max() for name in others)))
    ax.legend(fontsize=8, loc="upper left")


EXPERIMENT = Experiment(
    "escape-styblinski-tang",
    "escapes of SGD on Styblinski and Tang's function against learning rate, batch size and sharpness",
    f"{SOURCE}, section 4, figures 4, 5, 10 and 11",
    run,
)
