"""Figure 4, left: GDC against gradient descent as a copy of SGD, for two models, from zero and from random starts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..drawing import new_figure
from ..estimates import mean_and_stderr
from ..landscapes import Landscape, Model, convnet, logistic_regression
from ..training import gdc_gradient
from ._experiment import Experiment, Finding, Outcome, Setting
from ._networks import START_COLOURS, Runs, images_for, network_of

_N = 10  # points, and steps: one epoch of SGD, as in the paper
_RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
_QUICK_RATES = (0.003, 0.01, 0.1)
_RESAMPLED = 2000
_MARKERS = ("o", "s", "^", "D", "v")  # by learning rate
_MODELS: dict[str, Callable[..., Model]] = {"logistic": logistic_regression, "convnet": convnet}


@dataclass(frozen=True)
class _Start:
    """One model at one start.

    Attributes:
        model: the name of the model.
        name: of the start.
        rates: the learning rates.
        from_gd: test loss of SGD less that of gradient descent, shape (rates, training sets).
        from_gdc: SGD less GDC, likewise.
    """

    model: str
    name: str
    rates: tuple[float, ...]
    from_gd: np.ndarray
    from_gdc: np.ndarray


def _run(setting: Setting) -> Outcome:
    starts = [start for name in _MODELS for start in _starts(name, setting)]
    findings = [finding for name in _MODELS for finding in _findings(name, [s for s in starts if s.model == name])]
    return Outcome(findings, {"N": _N, "starts": [_record(start) for start in starts]}, _figure(starts))


def _starts(name: str, setting: Setting) -> list[_Start]:
    """Run one model from zero and from random starts."""
    images, labels = images_for(setting)
    network, loss = network_of(_MODELS[name], np.shape(images)[1:])
    landscape = Landscape(loss, (images, labels))
    own = jax.random.fold_in(setting.key, list(_MODELS).index(name))
    keys = jax.random.split(own, 1 if setting.quick else 2)
    drawn = [network.init(key) for key in keys]
    params = {"zero": jax.tree.map(jnp.zeros_like, drawn[0])} | {f"Glorot {i}": one for i, one in enumerate(drawn, 1)}
    for one in params.values():
        landscape.validate(one)

    def penalised(params: Any, batch: Any, rate: Any) -> Any:
        return gdc_gradient(landscape.loss, params, batch, learning_rate=rate)

    rates = _QUICK_RATES if setting.quick else _RATES
    plain, gdc = Runs(landscape), Runs(landscape, penalised)
    whole, alone = _batches(len(images), setting)
    found = []
    for start, one in params.items():
        ends = partial(plain.ends, one, rates, progress=setting.progress)
        by_gd = ends(whole, label=f"{name}, {start}: gradient descent")[..., 0]
        by_sgd = ends(alone, label=f"{name}, {start}: SGD").mean(axis=-1)
        by_gdc = gdc.ends(one, rates, whole, label=f"{name}, {start}: GDC", progress=setting.progress)[..., 0]
        found.append(_Start(name, start, rates, by_sgd - by_gd, by_sgd - by_gdc))
    return found


def _batches(num_images: int, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Draw training sets: the batches of gradient descent, shape (sets, 1, T, N), and of SGD, shape (sets, 4, T, 1).

    SGD's runs are pairs, one in the reverse order of the other: every run is as likely, and to order η² what an order
    does by chance is undone by its reverse.
    """
    key = jax.random.fold_in(setting.key, len(_MODELS))
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,))).tolist())
    count = 30 if setting.quick else 150
    sets = rng.integers(0, num_images, size=(count, _N))
    orders = rng.permuted(np.repeat(sets[:, None], 2, axis=1), axis=-1)
    alone = np.concatenate([orders, orders[..., ::-1]], axis=1)[..., None]
    return np.broadcast_to(sets[:, None, None], (count, 1, _N, _N)), alone


def _findings(model: str, starts: list[_Start]) -> list[Finding]:
    """Return the figure's claim for one model at each learning rate: heights vary less than widths."""
    found = []
    for rate, (ratio, low, high) in zip(starts[0].rates, ratios(starts), strict=True):
        found.append(
            Finding(
                f"{model}, η = {rate:g}: SGD is closer to GDC than to gradient descent over the starts",
                True if high < 1 else False if low > 1 else None,
                {"ratio of distances": ratio, "95 % from": low, "to": high},
            )
        )
    return found


def ratios(starts: list[_Start]) -> list[tuple[float, float, float]]:
    """Return for each learning rate how far SGD is from GDC in units of how far it is from gradient descent.

    Distances are root mean squares over the starts, and the two other numbers an interval of 95 % by the bootstrap over
    training sets, which the starts share. A start from which the three hardly differ weighs as little as in the figure.
    """
    tops, bottoms = (np.stack(one) for one in zip(*((s.from_gdc, s.from_gd) for s in starts), strict=True))
    count = tops.shape[-1]
    picks = np.random.default_rng(0).integers(count, size=(_RESAMPLED, count))

    def distance(differences: np.ndarray) -> np.ndarray:
        """Return root mean squares, for the sample itself first."""
        drawn = np.stack([differences.mean(axis=-1), *(differences[..., pick].mean(axis=-1) for pick in picks)])
        return np.sqrt(np.mean(drawn**2, axis=1))

    found = distance(tops) / distance(bottoms)
    low, high = np.quantile(found[1:], (0.025, 0.975), axis=0)
    return [(float(a), float(b), float(c)) for a, b, c in zip(found[0], low, high, strict=True)]


def _record(start: _Start) -> dict[str, Any]:
    gd, gdc = (mean_and_stderr(one, axis=-1) for one in (start.from_gd, start.from_gdc))
    return {
        "model": start.model,
        "start": start.name,
        "learning rates": start.rates,
        "training sets": start.from_gd.shape[1],
        "SGD less gradient descent": {"mean": gd[0], "stderr": gd[1]},
        "SGD less GDC": {"mean": gdc[0], "stderr": gdc[1]},
    }


def _figure(starts: list[_Start]) -> Any:
    figure, axes = new_figure(columns=len(_MODELS))
    for ax, model in zip(axes[0], _MODELS, strict=True):
        _draw(ax, [start for start in starts if start.model == model])
        ax.set_title(model, fontsize=10)
        ax.set_xlabel("SGD less gradient descent, / η²")
    axes[0, 0].set_ylabel("SGD less GDC, / η²")
    figure.suptitle(f"Expected test losses after {_N} steps on {_N} points, nats; equal scales", fontsize=11)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, ncols=5, loc="outside lower center")
    return figure


def _draw(ax: Any, starts: list[_Start]) -> None:
    """Draw one point with 95 % bars for every start and learning rate, colours by start, markers by learning rate."""
    for start, colour in zip(starts, START_COLOURS, strict=False):
        squares = np.square(start.rates)[:, None]
        (x, dx), (y, dy) = (mean_and_stderr(one / squares, axis=-1) for one in (start.from_gd, start.from_gdc))
        ax.plot([], [], "o", color=colour, label=f"start {start.name}")
        for i in range(len(start.rates)):
            ax.errorbar(
                x[i], y[i], xerr=1.96 * dx[i], yerr=1.96 * dy[i], fmt=_MARKERS[i], ms=5, color=colour, lw=1, alpha=0.85
            )
    for rate, marker in zip(starts[0].rates, _MARKERS, strict=False):
        ax.plot([], [], marker, color="#555555", label=f"η = {rate:g}")
    ax.axhline(0, color="#777777", lw=0.8)
    ax.axvline(0, color="#777777", lw=0.8)
    ax.axline((0, 0), slope=1, color="#777777", lw=0.8, ls=":", label="no better than descent")
    ax.set_aspect("equal", adjustable="datalim")


EXPERIMENT = Experiment(
    name="emulated-batches",
    title="GDC against gradient descent as a copy of SGD, logistic regression and a convnet, zero and random starts",
    source="Tenka, section 5.2, figure 4 (left)",
    run=_run,
)
