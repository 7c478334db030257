"""Spikes of plain SGD: at which batch sizes and learning rates they come, and where a run is cut: figure 8."""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ..companions.data_averaging import Ensemble, ensemble, records_before_spike
from ..drawing import new_figure
from ..spacetimes import Spacetime
from ._averaging import SOURCE, WEIGHT_DECAY, mlp_on_images, parameters
from ._experiment import Experiment, Finding, Outcome, Setting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, RECORDS = 800, 161
CASES = ((128, 2.5), (128, 1.5), (16, 2.5), (16, 1.5))  # B and λ: the batch is large, or the rate, or both, or none
QUICK_CASES = ((32, 3.0), (32, 1.0))
_SPIKE, _BEFORE = 10.0, 25  # a spike is ten times the median of the 25 records before it
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def run(setting: Setting) -> Outcome:
    """Train at large and small batches and rates, find spikes, and cut runs where one is under way at the end."""
    landscape, network, N = mlp_on_images(setting)
    datasets, steps, records = (4, 100, 51) if setting.quick else (16, STEPS, RECORDS)
    cases = QUICK_CASES if setting.quick else CASES
    runs: dict[tuple[int, float], Ensemble] = {}
    for number, (B, rate) in enumerate(cases):
        spacetime = Spacetime.sgd(N, B, T=steps, drop_last=None if N % B == 0 else False)
        runs[B, rate] = ensemble(
            landscape,
            network.init,
            spacetime,
            rate,
            drawing="split",
            datasets=datasets,
            weight_decay=WEIGHT_DECAY,
            records=records,
            progress=setting.progress,
            key=jax.random.fold_in(setting.key, number),
        )
    shares = {case: _spiking(one) for case, one in runs.items()}
    findings = [_cut_is_found(runs[cases[-1]])]
    if not setting.quick:
        (large_fast, large_slow, small_fast, small_slow) = (shares[case].mean() for case in cases)
        numbers = {
            "share of runs with spikes, B = 128, λ = 2.5": large_fast,
            "B = 128, λ = 1.5": large_slow,
            "B = 16, λ = 2.5": small_fast,
            "B = 16, λ = 1.5": small_slow,
        }
        findings.append(Finding("large batches at a large rate have spikes", bool(large_fast > 0), numbers))
        findings.append(Finding("at a smaller rate large batches have none", bool(large_slow == 0), numbers))
        findings.append(Finding("small batches have none at the smaller rate", bool(small_slow == 0), numbers))
    data: dict[str, Any] = parameters(setting, **{"steps": steps, "training sets": datasets})
    for (B, rate), one in runs.items():
        data[f"B = {B}, λ = {rate:g}"] = {
            "times": one.times,
            "train loss": one.train_loss[:, 0],
            "spiking": shares[B, rate],
            "records before a spike at the end": [_kept(row) for row in one.train_loss[:, 0]],
            "median train loss at the end": float(np.median(one.train_loss[:, 0, -1])),
        }
    return Outcome(findings, data, _figure(runs, shares))


def _spiking(runs: Ensemble) -> np.ndarray:
    """Return which runs have a spike in their last half: a record of ten times the median of those before it."""
    traces, first = runs.train_loss[:, 0].astype(float), max(len(runs.times) // 2, _BEFORE)
    found = ~np.isfinite(traces[:, first:]).all(axis=1)
    for t in range(first, traces.shape[1]):
        with np.errstate(invalid="ignore"):
            found |= traces[:, t] > _SPIKE * np.median(traces[:, t - _BEFORE : t], axis=1)
    return found


def _kept(trace: np.ndarray) -> int | None:
    return records_before_spike(trace) if np.all(np.isfinite(trace)) else None


def _cut_is_found(runs: Ensemble) -> Finding:
    """Judge the cut on a run whose end is made a spike of known beginning, as real ones have none."""
    calm = np.sort(runs.train_loss[0, 0].astype(float))[::-1]  # falling all the way
    begin = len(calm) - 9
    spiking = calm.copy()
    spiking[begin:] += 10 * calm[0] * np.linspace(1, 0.5, 9)
    numbers = {
        "records before the spike": float(begin),
        "kept": float(records_before_spike(spiking)),
        "kept without": float(records_before_spike(calm)),
        "records": float(len(calm)),
    }
    holds = numbers["kept"] == begin and numbers["kept without"] == len(calm)
    return Finding("a made-up spike at the end of a calm run is cut where it began", holds, numbers)


def _figure(runs: dict[tuple[int, float], Ensemble], shares: dict[tuple[int, float], np.ndarray]) -> "Figure":
    figure, axes = new_figure(2, (len(runs) + 1) // 2, height=3.2)
    for ax, ((B, rate), one) in zip(axes.flat, runs.items(), strict=True):
        spiking = shares[B, rate]
        chosen = np.argsort(~spiking, kind="stable")[: len(_COLOURS)]
        for row, colour in zip(chosen, _COLOURS, strict=False):
            trace = one.train_loss[row, 0]
            ax.plot(one.times, trace, lw=0.9, color=colour)
            kept = _kept(trace)
            if kept is not None and kept < len(trace):
                ax.axvline(one.times[kept], color=colour, ls=":", lw=1)
        ax.set_yscale("log")
        ax.set_xlabel("steps")
        ax.set_ylabel("train loss (unit of the loss)")
        ax.set_title(f"B = {B}, λ = {rate:g}: {spiking.sum()} of {len(spiking)} runs spike", fontsize=10)
    return figure


EXPERIMENT = Experiment(
    "averaging-spikes",
    "spikes of plain SGD, where they come, and where a run is cut (dotted)",
    f"{SOURCE}, sections 3.2 and E, figure 8",
    run,
)
