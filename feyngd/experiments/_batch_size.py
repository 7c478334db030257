"""Batch size: SGD on single points against gradient descent, and GDC, which makes gradient descent act like SGD."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from ..drawing import new_figure
from ..estimates import mean_and_stderr
from ..landscapes import Landscape
from ..prediction import Prediction, check_coefficient
from ..spacetimes import Spacetime
from ..training import gdc_gradient
from ._experiment import Experiment, Finding, Outcome, Setting
from ._networks import (
    COLOURS,
    START_COLOURS,
    Runs,
    convnet_at_starts,
    difference,
    prediction_from,
    rates_up_to,
    values_at,
)
from ._order_claims import order_claim
from ._verdicts import worst_agreement

_N = 10  # points, and steps: one epoch of SGD
_FRACTIONS = (0.25, 0.5, 0.75, 0.99, 2.0, 4.0)  # of the edge of the valid range


@dataclass(frozen=True)
class _Case:
    """One random start: SGD less gradient descent, predicted, and all three optimizers on the same training sets.

    Attributes:
        prediction: of SGD's test loss less that of gradient descent.
        edge: the learning rate up to which it and both test losses have converged.
        ends: test losses after gradient descent, SGD and GDC, shape (rates, training sets, 3).
    """

    prediction: Prediction
    edge: float
    ends: np.ndarray

    @property
    def rates(self) -> np.ndarray:
        """The learning rates."""
        return self.prediction.learning_rates

    @property
    def from_gd(self) -> np.ndarray:
        """SGD less gradient descent, shape (rates, training sets)."""
        return self.ends[..., 1] - self.ends[..., 0]

    @property
    def from_gdc(self) -> np.ndarray:
        """SGD less GDC, shape (rates, training sets)."""
        return self.ends[..., 1] - self.ends[..., 2]

    def ratio(self, i: int) -> tuple[float, float, float]:
        """Return at one learning rate how far SGD is from GDC in units of how far it is from gradient descent, and a
        95 % interval by the bootstrap over training sets."""
        picks = np.random.default_rng(0).integers(self.ends.shape[1], size=(4000, self.ends.shape[1]))
        top, bottom = (np.abs(one[i][picks].mean(axis=1)) for one in (self.from_gdc, self.from_gd))
        low, high = np.quantile(top / bottom, (0.025, 0.975))
        return float(abs(self.from_gdc[i].mean() / self.from_gd[i].mean())), float(low), float(high)


def _run(setting: Setting) -> Outcome:
    landscape, starts = convnet_at_starts(setting, 2 if setting.quick else 3)
    keys = jax.random.split(jax.random.fold_in(setting.key, 3), len(starts))

    def penalised(params: Any, batch: Any, rate: Any) -> Any:
        return gdc_gradient(landscape.loss, params, batch, learning_rate=rate)

    plain, gdc = Runs(landscape), Runs(landscape, penalised)
    cases = [_case(landscape, start, plain, gdc, setting, key) for start, key in zip(starts, keys, strict=True)]
    findings: list[Finding] = []
    for i, case in enumerate(cases, 1):
        findings += _findings(f"start {i}", case)
    return Outcome(findings, {"N": _N, "starts": [_record(case) for case in cases]}, _figure(cases))


def _case(landscape: Landscape, start: Any, plain: Runs, gdc: Runs, setting: Setting, key: jax.Array) -> _Case:
    for_values, for_runs = jax.random.split(key)
    values = values_at(landscape, start, setting, for_values)
    spacetimes = Spacetime.sgd(N=_N, B=1, E=1), Spacetime.gd(N=_N, T=_N)
    sgd, gd = (prediction_from(values, landscape, start, one, [1.0]) for one in spacetimes)
    edge = min(sgd.valid_up_to, gd.valid_up_to, difference(sgd, gd).valid_up_to)
    rates = rates_up_to(edge, _FRACTIONS)
    sgd, gd = (prediction_from(values, landscape, start, one, rates) for one in spacetimes)
    batches = _batches(landscape.num_examples, setting, for_runs)
    runs = partial(plain.ends, start, rates, progress=setting.progress)
    by_gd, by_sgd = runs(batches[0], label="gradient descent"), runs(batches[1], label="SGD")
    by_gdc = gdc.ends(start, rates, batches[0], label="GDC", progress=setting.progress)
    ends = np.concatenate([by_gd, by_sgd.mean(axis=-1, keepdims=True), by_gdc], axis=-1)
    return _Case(difference(sgd, gd), edge, ends)


def _batches(num_examples: int, setting: Setting, key: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Draw training sets and return the batches of gradient descent, shape (sets, 1, T, N), and of SGD on the same
    sets, shape (sets, runs, T, 1).

    SGD's runs are pairs, one in the reverse order of the other: every run is as likely, and to order η² what an order
    does by chance is undone by its reverse.
    """
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,))).tolist())
    count, pairs = (20, 1) if setting.quick else (150, 2)
    sets = rng.integers(0, num_examples, size=(count, _N))
    orders = rng.permuted(np.repeat(sets[:, None], pairs, axis=1), axis=-1)
    alone = np.concatenate([orders, orders[..., ::-1]], axis=1)[..., None]
    return np.broadcast_to(sets[:, None, None], (count, 1, _N, _N)), alone


def _findings(name: str, case: _Case) -> list[Finding]:
    mean, stderr = mean_and_stderr(case.from_gd, axis=-1)
    # To first order all runs on one training set end alike.
    check = check_coefficient(case.prediction, case.rates, case.from_gd, lowest=2)
    ratios = {float(rate): case.ratio(i) for i, rate in enumerate(case.rates) if rate < case.edge}
    worst, (ratio, low, high) = max(ratios.items(), key=lambda item: item[1][2])
    return [
        worst_agreement(
            f"{name}: SGD less gradient descent agrees up to η = {case.edge:.3g}",
            case.prediction,
            mean,
            stderr,
            case.edge,
        ),
        order_claim(f"{name}: SGD less gradient descent", check),
        Finding(
            f"{name}: SGD is closer to GDC than to gradient descent up to η = {case.edge:.3g}",
            high < 1,
            {"worst at η": worst, "ratio of distances": ratio, "95 % from": low, "to": high},
        ),
    ]


def _record(case: _Case) -> dict[str, Any]:
    (sgd, sgd_stderr), (rest, rest_stderr) = (
        mean_and_stderr(case.from_gd, axis=-1),
        mean_and_stderr(case.from_gdc, axis=-1),
    )
    return {
        "prediction": case.prediction.to_dict(),
        "valid_up_to": case.edge,
        "training sets": case.ends.shape[1],
        "SGD less gradient descent": {"mean": sgd, "stderr": sgd_stderr},
        "SGD less GDC": {"mean": rest, "stderr": rest_stderr},
        "distances' ratio and its 95 % interval": [case.ratio(i) for i in range(len(case.rates))],
    }


def _figure(cases: list[_Case]) -> Any:
    figure, axes = new_figure(columns=len(cases))
    for i, (ax, case) in enumerate(zip(axes[0], cases, strict=True), 1):
        _draw(ax, case)
        ax.set_title(f"Start {i}", fontsize=10)
    axes[0, 0].set_ylabel("difference of expected test losses / η², nats")
    figure.suptitle(f"Test loss after {_N} steps on {_N} points, less that of gradient descent", fontsize=11)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, ncols=5, loc="outside lower center")
    return figure


def _draw(ax: Any, case: _Case) -> None:
    """Draw differences over η²: order 2 is a constant then, and order 3 a straight line."""
    lines = np.linspace(case.rates.min() / 20, 1.05 * case.rates.max(), 200)
    for order in (2, 3):
        ax.plot(
            lines,
            case.prediction.at(lines, order=order)[0] / lines**2,
            color=COLOURS[order],
            label=f"SGD, order {order}",
        )
    by_gdc = case.ends[..., 2] - case.ends[..., 0]
    for samples, colour, marker, label in (
        (case.from_gd, "black", "o", "SGD, simulated"),
        (by_gdc, START_COLOURS[1], "s", "GDC, simulated"),
    ):
        mean, stderr = mean_and_stderr(samples / case.rates[:, None] ** 2, axis=-1)
        ax.errorbar(case.rates, mean, yerr=2 * stderr, fmt=marker, ms=4, color=colour, capsize=2.5, lw=1.2, label=label)
    ax.axhline(0, color="#777777", lw=0.8)
    ax.axvspan(case.edge, lines[-1], color="#777777", alpha=0.12, lw=0, label="not converged")
    ax.set_xlim(0, lines[-1])
    ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel("learning rate η")


EXPERIMENT = Experiment(
    name="batch-size",
    title="SGD on single points against gradient descent and GDC, on a convnet",
    source="Tenka, section 5.2",
    run=_run,
)
