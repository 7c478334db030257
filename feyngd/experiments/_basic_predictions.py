"""Basic predictions: the test loss of vanilla SGD on a convnet against the learning rate, order by order."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ..drawing import new_figure
from ..estimates import CONVERGED
from ..landscapes import Landscape
from ..prediction import Prediction, check_highest_order, compare
from ..simulation import Simulation, simulate
from ..spacetimes import Spacetime
from ._experiment import Experiment, Finding, Outcome, Setting
from ._networks import COLOURS, ORDER, convnet_at_starts, prediction_from, rates_up_to, values_at
from ._order_claims import order_claim
from ._verdicts import worst_agreement

_STEPS = 10  # as in the paper, from as many training points one at a time
_NEAR_EDGE = 0.99  # of the valid range
_FRACTIONS = (0.2, 0.4, 0.6, 0.99, 1.5, 2.5)  # of where the last order is a fifth of the one before it
_MARKERS = ("o", "s", "^", "D")


@dataclass(frozen=True)
class _Case:
    """One random start: the prediction and the simulation, at the same learning rates."""

    prediction: Prediction
    simulation: Simulation

    def error(self, order: int) -> tuple[np.ndarray, np.ndarray]:
        """Return how far the prediction to an order is from the simulation, and the standard error of that."""
        mean, stderr = self.prediction.at(self.prediction.learning_rates, order=order)
        return mean - self.simulation.mean, np.hypot(stderr, self.simulation.stderr)

    def closer(self, order: int) -> tuple[int, int]:
        """Return at how many learning rates inside the valid range an order is closer to the simulation than the one
        before it, and at how many one of them is closer by more than three standard errors."""
        (low, low_stderr), (high, high_stderr) = self.error(order - 1), self.error(order)
        # The simulation is closer to `high` if it lies on that side of the middle between the two.
        beyond_middle = np.sign(low - high) * (low + high) / 2
        clear = self.prediction.converged & (np.abs(beyond_middle) > 3 * np.maximum(low_stderr, high_stderr))
        return int(np.sum(clear & (beyond_middle > 0))), int(np.sum(clear))


def _run(setting: Setting) -> Outcome:
    landscape, starts = convnet_at_starts(setting, 2 if setting.quick else 4)
    keys = jax.random.split(jax.random.fold_in(setting.key, 1), len(starts))
    cases = [_case(landscape, start, setting, key) for start, key in zip(starts, keys, strict=True)]
    findings = [
        worst_agreement(
            f"start {i}: order {ORDER} agrees with simulation up to η = {case.prediction.valid_up_to:.3g}",
            case.prediction,
            case.simulation.mean,
            case.simulation.stderr,
        )
        for i, case in enumerate(cases, 1)
    ]
    findings += [
        order_claim(f"start {i}", check_highest_order(c.prediction, c.simulation)) for i, c in enumerate(cases, 1)
    ]
    findings += [_closer(cases, order) for order in range(2, ORDER + 1)]
    data = {
        "spacetime": str(cases[0].prediction.spacetime),
        "starts": [{"prediction": c.prediction.to_dict(), "simulation": c.simulation.to_dict()} for c in cases],
    }
    return Outcome(findings, data, _figure(cases))


def _case(landscape: Landscape, start: Any, setting: Setting, key: jax.Array) -> _Case:
    for_values, for_runs = jax.random.split(key)
    spacetime = Spacetime.sgd(N=_STEPS, B=1, E=1)
    values = values_at(landscape, start, setting, for_values)
    rates = _rates(prediction_from(values, landscape, start, spacetime, [1.0]))
    simulation = simulate(
        landscape,
        start,
        spacetime,
        rates,
        runs=600 if setting.quick else 2000,
        control=True,
        progress=setting.progress,
        key=for_runs,
    )
    return _Case(prediction_from(values, landscape, start, spacetime, rates), simulation)


def _rates(prediction: Prediction) -> list[float]:
    """Return the learning rate near the edge of the valid range, and those from which the last order can be fitted.

    Lower orders may end the range where the last one is still below what single precision shows.
    """
    before, last = np.abs(prediction.coefficients.mean(axis=0)[-2:])
    near = rates_up_to(prediction.valid_up_to, [_NEAR_EDGE])
    further = rates_up_to(CONVERGED * float(before / last), _FRACTIONS) if last else []
    return sorted({*near, *further} - {0.0})


def _closer(cases: list[_Case], order: int) -> Finding:
    counts = [case.closer(order) for case in cases]
    closer, clear = sum(count for count, _ in counts), sum(count for _, count in counts)
    return Finding(
        f"order {order} is closer to the simulation than order {order - 1} wherever the two can be told apart",
        closer == clear if clear else None,
        {"rates told apart": float(clear), f"order {order} closer": float(closer)},
    )


def _figure(cases: list[_Case]) -> Any:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, (axes,) = new_figure(columns=2)
    curves, errors = axes
    compare(cases[0].prediction, cases[0].simulation).plot(curves)
    curves.set_title("Test loss of a convnet after ten steps of SGD, first start", fontsize=10)
    curves.set_ylabel("expected test loss, nats")
    for case, marker in zip(cases, _MARKERS, strict=False):
        _draw_errors(errors, case, marker)
    noise = min(float(case.error(ORDER)[1].min()) for case in cases)
    errors.set(
        xscale="log",
        yscale="log",
        ylim=(noise / 3, None),
        xlabel="learning rate η",
        ylabel="|prediction − simulation|, nats",
    )
    errors.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    errors.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:.3g}"))
    errors.xaxis.set_minor_formatter(NullFormatter())
    errors.set_title(f"Error of every order at {len(cases)} random starts, one marker each", fontsize=10)
    for order, colour in COLOURS.items():
        errors.plot([], [], "o", color=colour, ms=4, label=f"order {order}")
    errors.plot([], [], "o", color="black", mfc="white", ms=4, label="open: not converged")
    errors.legend(frameon=False, fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    return figure


def _draw_errors(ax: Any, case: _Case, marker: str) -> None:
    rates, inside = case.prediction.learning_rates, case.prediction.converged
    for order, colour in COLOURS.items():
        error, stderr = (np.abs(numbers) for numbers in case.error(order))
        for which, face in ((inside, colour), (~inside, "white")):
            # A log scale has no zero: bars that reach it go down to the edge of the figure.
            bars = [np.minimum(2 * stderr, (1 - 1e-9) * error)[which], 2 * stderr[which]]
            ax.errorbar(
                rates[which], error[which], yerr=bars, fmt=marker, ms=4, color=colour, mfc=face, lw=0.8, capsize=2
            )


EXPERIMENT = Experiment(
    name="basic-predictions",
    title="the test loss of a convnet against the learning rate, predicted to orders 1 to 3",
    source="Tenka, section 5.1",
    run=_run,
)
