"""Several epochs: what it costs to see the same points again, in test loss and in the gap."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ..drawing import new_figure
from ..estimates import mean_and_stderr
from ..evaluation import Values
from ..landscapes import Landscape
from ..prediction import Prediction, check_coefficient, check_highest_order
from ..simulation import Simulation, simulate
from ..spacetimes import Spacetime
from ._experiment import Experiment, Finding, Outcome, Setting
from ._networks import (
    ORDER,
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

_N = 10
_EPOCHS = (1, 2, 3)
_FRACTIONS = (0.3, 0.5, 0.7, 0.99, 1.5)
_GAP_FRACTIONS = (0.1, 0.2, 0.3, 0.45, 0.6, 0.99, 1.5)  # a fit of η³ in the gap is cut low enough at small rates only
_DASHED = (0, (3, 2))


@dataclass(frozen=True)
class _Repeats:
    """The test loss after E epochs through N points less that after one epoch through E·N points.

    Attributes:
        epochs: E.
        edge: the learning rate up to which the difference and both losses have converged.
        prediction: of the difference.
        samples: of the difference, one for every draw of training sets, shape (rates, draws).
    """

    epochs: int
    edge: float
    prediction: Prediction
    samples: np.ndarray


def _run(setting: Setting) -> Outcome:
    landscape, (start,) = convnet_at_starts(setting, 1)
    for_values, for_gaps, *for_repeats = jax.random.split(jax.random.fold_in(setting.key, 2), 2 + len(_EPOCHS))
    values = values_at(landscape, start, setting, for_values, gap=True)
    gaps = _gaps(landscape, start, values, setting, for_gaps)
    repeats = [
        _repeats(landscape, start, values, setting, epochs, key)
        for epochs, key in zip(_EPOCHS[1:], for_repeats, strict=False)
    ]
    findings = []
    for one in repeats:
        findings += _findings_on_repeats(one)
    for prediction, simulation in gaps:
        name = "the gap after " + ("1 epoch" if prediction.spacetime.E == 1 else f"{prediction.spacetime.E} epochs")
        claim = f"{name} agrees up to η = {prediction.valid_up_to:.3g}"
        findings.append(worst_agreement(claim, prediction, simulation.mean, simulation.stderr))
        findings.append(order_claim(name, check_highest_order(prediction, simulation)))
    data = {
        "gaps": [{"prediction": p.to_dict(), "simulation": s.to_dict()} for p, s in gaps],
        "several epochs less one": [_record(one) for one in repeats],
    }
    return Outcome(findings, data, _figure(repeats, gaps))


def _gaps(
    landscape: Landscape, start: Any, values: Values, setting: Setting, key: jax.Array
) -> list[tuple[Prediction, Simulation]]:
    """Predict and simulate the gap for every number of epochs."""
    found = []
    for epochs, for_runs in zip(_EPOCHS, jax.random.split(key, len(_EPOCHS)), strict=True):
        spacetime = Spacetime.sgd(N=_N, B=1, E=epochs)
        edge = prediction_from(values, landscape, start, spacetime, [1.0], "gap").valid_up_to
        rates = rates_up_to(edge, _GAP_FRACTIONS)
        simulation = simulate(
            landscape,
            start,
            spacetime,
            rates,
            runs=200 if setting.quick else 1700,
            quantity="gap",
            progress=setting.progress,
            key=for_runs,
        )
        found.append((prediction_from(values, landscape, start, spacetime, rates, "gap"), simulation))
    return found


def _repeats(
    landscape: Landscape, start: Any, values: Values, setting: Setting, epochs: int, key: jax.Array
) -> _Repeats:
    """Predict and simulate the difference that repeating points makes, at the same number of steps."""
    spacetimes = Spacetime.sgd(N=_N, B=1, E=epochs), Spacetime.sgd(N=epochs * _N, B=1, E=1)
    several, once = (prediction_from(values, landscape, start, one, [1.0]) for one in spacetimes)
    edge = min(several.valid_up_to, once.valid_up_to, difference(several, once).valid_up_to)
    rates = rates_up_to(edge, _FRACTIONS)
    several, once = (prediction_from(values, landscape, start, one, rates) for one in spacetimes)
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,))).tolist())
    batches = _coupled_batches(rng, landscape.num_examples, epochs, draws=30 if setting.quick else 400)
    label = f"runs of {epochs} epochs and of one"
    ends = Runs(landscape).ends(start, rates, batches, label=label, progress=setting.progress)
    samples = ends[..., 2:].mean(axis=-1) - ends[..., :2].mean(axis=-1)
    return _Repeats(epochs, edge, difference(several, once), samples)


def _coupled_batches(rng: np.random.Generator, num_examples: int, epochs: int, draws: int) -> np.ndarray:
    """Draw runs whose luck to first order cancels in the difference, shape (draws, 2 + 2·epochs, T, 1).

    In every draw, runs of one epoch go through E training sets of N points one after the other, and each of these sets
    has runs of E epochs of its own. Both kinds come with the same run backwards, which is as likely.
    """
    sets = rng.integers(0, num_examples, size=(draws, epochs, _N))
    once = rng.permuted(sets.reshape(draws, 1, epochs * _N), axis=-1)
    orders = rng.permuted(np.broadcast_to(sets[:, :, None], (draws, epochs, epochs, _N)), axis=-1)
    forwards = np.concatenate([once, orders.reshape(draws, epochs, epochs * _N)], axis=1)
    runs = np.stack([forwards, forwards[..., ::-1]], axis=2)
    return runs.reshape(draws, 2 + 2 * epochs, epochs * _N, 1)


def _findings_on_repeats(one: _Repeats) -> list[Finding]:
    mean, stderr = mean_and_stderr(one.samples, axis=-1)
    what = f"test loss of {one.epochs} epochs less 1 epoch of {one.epochs} times the points"
    check = check_coefficient(one.prediction, one.prediction.learning_rates, one.samples, lowest=2)
    inside = np.flatnonzero(one.prediction.learning_rates < one.edge)
    clearest = inside[np.argmax(np.abs(mean[inside]) / stderr[inside])]
    return [
        worst_agreement(f"{what} agrees up to η = {one.edge:.3g}", one.prediction, mean, stderr, one.edge),
        order_claim(what, check),
        Finding(
            f"{what}: the difference is there, with the predicted sign",
            bool(abs(mean[clearest]) > 3 * stderr[clearest] and mean[clearest] * one.prediction.mean[clearest] > 0),
            {
                "η": float(one.prediction.learning_rates[clearest]),
                "prediction": float(one.prediction.mean[clearest]),
                "simulation": float(mean[clearest]),
                "stderr": float(stderr[clearest]),
            },
        ),
    ]


def _record(one: _Repeats) -> dict[str, Any]:
    mean, stderr = mean_and_stderr(one.samples, axis=-1)
    return {
        "epochs": one.epochs,
        "prediction": one.prediction.to_dict(),
        "mean": mean,
        "stderr": stderr,
        "draws": one.samples.shape[1],
        "valid_up_to": one.edge,
    }


def _figure(repeats: list[_Repeats], gaps: list[tuple[Prediction, Simulation]]) -> Any:
    figure, (axes,) = new_figure(columns=2)
    left, right = axes
    for one in repeats:
        mean, stderr = mean_and_stderr(one.samples, axis=-1)
        _draw(left, one.prediction, mean, stderr, one.edge, one.epochs)
    left.set_title(f"Test loss: E epochs of {_N} points less 1 epoch of {_N}·E", fontsize=10)
    left.set_ylabel("difference of expected test losses, nats")
    for epochs, (prediction, simulation) in zip(_EPOCHS, gaps, strict=True):
        _draw(right, prediction, simulation.mean, simulation.stderr, prediction.valid_up_to, epochs)
    right.set_title(f"Gap after E epochs of {_N} points", fontsize=10)
    right.set_ylabel("expected gap, test − train, nats")
    for ax in axes:
        ax.axhline(0, color="#777777", lw=0.6)
        ax.plot([], [], color="black", ls=_DASHED, lw=1.5, label="not converged")
        ax.set_xlim(left=0)
        ax.set_xlabel("learning rate η")
        ax.legend(frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    return figure


def _draw(ax: Any, prediction: Prediction, mean: np.ndarray, stderr: np.ndarray, edge: float, epochs: int) -> None:
    colour, rates = START_COLOURS[epochs], prediction.learning_rates
    for which, style in ((np.linspace(0, edge, 100), "-"), (np.linspace(edge, 1.05 * rates.max(), 100), _DASHED)):
        ax.plot(which, prediction.at(which)[0], color=colour, ls=style, lw=1.5)
    ax.errorbar(rates, mean, yerr=2 * stderr, fmt="o", ms=4, color=colour, capsize=2.5, lw=1.2)
    label = f"E = {epochs}, order {ORDER} and simulation"
    ax.errorbar([], [], yerr=[], fmt="o-", ms=4, color=colour, capsize=2.5, lw=1.2, label=label)


EXPERIMENT = Experiment(
    name="multi-epoch",
    title="what several epochs do to the test loss and the gap of a convnet",
    source="Tenka, section 5.1",
    run=_run,
)
