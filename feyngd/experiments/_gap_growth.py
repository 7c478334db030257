"""Figure 4, right: how the generalization gap grows with ηT, against its prediction to order η², for several starts."""

import warnings
from typing import Any

import jax
import numpy as np

from ..drawing import new_figure
from ..estimates import TruncationWarning
from ..prediction import predict
from ..simulation import simulate
from ..spacetimes import Spacetime
from ._experiment import Experiment, Finding, Outcome, Setting
from ._networks import START_COLOURS, convnet_at_starts
from ._verdicts import agreement

_T = 10  # steps on as many points, one at a time
_CLAIMED = 0.5  # ηT up to which the paper sees the prediction agree, by eye
_TIMES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
_QUICK_TIMES = (0.02, 0.1, 0.5)
_CLOSE = 0.1  # of the simulated gap: about what an eye sees in such a figure
PAPER = "CIFAR-10, T = 10, 12 starts; the prediction of degree 2 agrees through ηT ≈ 0.5 for all of them"


def _run(setting: Setting) -> Outcome:
    landscape, starts = convnet_at_starts(setting, 1 if setting.quick else 4)
    spacetime, times = Spacetime.sgd(N=_T), np.array(_QUICK_TIMES if setting.quick else _TIMES)
    rates, runs = times / _T, 400 if setting.quick else 3000
    findings, record = [], []
    for number, start in enumerate(starts):
        key, other = jax.random.split(jax.random.fold_in(setting.key, 1 + number))
        options: dict[str, Any] = {"quantity": "gap", "progress": setting.progress}
        with warnings.catch_warnings():  # where the series has not converged is what the figure shows
            warnings.simplefilter("ignore", TruncationWarning)
            found = predict(landscape, start, spacetime, rates, order=2, check_dtype=False, key=key, **options)
        seen = simulate(landscape, start, spacetime, rates, runs=runs, key=other, **options)
        errors = np.hypot(found.stderr, seen.stderr)
        findings.append(verdict(f"start {number + 1}", times, found.mean, seen.mean, errors))
        record.append(
            {
                "predicted": found.mean,
                "stderr of it": found.stderr,
                "truncation": found.truncation,
                "simulated": seen.mean,
                "stderr": seen.stderr,
                "valid up to ηT": found.valid_up_to * _T,
            }
        )
    data = {"paper": PAPER, "ours": "convnet on digits", "T": _T, "ηT": times, "starts": record}
    return Outcome(findings, data, _figure(times, record))


def verdict(name: str, times: np.ndarray, predicted: np.ndarray, simulated: np.ndarray, errors: np.ndarray) -> Finding:
    """Judge whether a prediction agrees up to ηT = 0.5, to three errors or a tenth of the gap; say up to where it does.

    The numbers are those of the largest ηT at which it agrees there and before, and of the first beyond.
    """
    each = [
        agreement("", float(p), float(s), stderr=float(e), relative=_CLOSE)
        for p, s, e in zip(predicted, simulated, errors, strict=True)
    ]
    good = next((i for i, one in enumerate(each) if not one.holds), len(each))
    reached = float(times[good - 1]) if good else 0.0
    judged = each[min(good, len(each) - 1)]
    claim = f"{name}: order 2 agrees through ηT = {_CLAIMED:g}, to three errors or {_CLOSE:.0%}"
    return Finding(claim, reached >= _CLAIMED, {"agrees through": reached, **judged.numbers})


def _figure(times: np.ndarray, record: list[dict[str, Any]]) -> Any:
    figure, axes = new_figure()
    ax = axes[0, 0]
    for number, (one, colour) in enumerate(zip(record, START_COLOURS, strict=False), 1):
        fine = np.linspace(0, times[-1], 60)
        first, second = np.linalg.lstsq(np.stack([times, times**2], axis=1), one["predicted"], rcond=None)[0]
        ax.plot(fine, first * fine + second * fine**2, color=colour, label=f"order 2, start {number}")
        ax.plot(fine, first * fine, color=colour, lw=0.8, ls=":")
        ax.errorbar(times, one["simulated"], yerr=2 * one["stderr"], fmt="o", ms=4, capsize=2, color=colour)
    ax.plot([], [], color="#555555", lw=0.8, ls=":", label="order 1")
    ax.errorbar([], [], yerr=[], fmt="o", ms=4, capsize=2, color="#555555", label="simulated, 2 standard errors")
    ax.set_ylim(0, 1.3 * max(float(np.max(one["simulated"])) for one in record))
    ax.set_xlabel("ηT")
    ax.set_ylabel("test loss less train loss, nats")
    ax.set_title(f"Generalization gap after {_T} steps on {_T} points", fontsize=11)
    ax.legend(frameon=False, fontsize=8)
    return figure


EXPERIMENT = Experiment(
    name="gap-growth",
    title="the generalization gap of a convnet against ηT, with its prediction to order 2, for several starts",
    source="Tenka, section 5.2, figure 4 (right)",
    run=_run,
)
