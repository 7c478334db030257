"""Which of several minima generalizes best, from training data alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._arguments import check_integer
from ...drawing import new_axes
from ...errors import ArgumentError
from ...estimates import Estimate
from ...landscapes import Landscape
from ...training import stic
from .._numbers import check_temperature
from ._expected_shift import sampling_shift
from ._judgements import scaled
from ._local_settings import AtMinimum


@dataclass(frozen=True)
class ComparedMinimum:
    """One minimum, in the unit of the loss.

    Attributes:
        train_loss: U(θtr), without the penalty.
        expected_shift: E[½sᵀCs] for a large test set, half of Takeuchi's penalty.
        covariance: (T/4) tr D, what fluctuations add to the train loss, and to the test loss if curvatures agree.
        crossover: T× = 2sᵀCs/tr D with the expected shift: below this temperature the shift matters more.
        criterion: U(θtr) + 2 expected_shift + covariance, an estimate of the expected test loss.
        tic: Takeuchi's estimate of the gap, `feyngd.training.tic`: twice the expected shift up to N/(N − 1).
        stic: `feyngd.training.stic`, the gap after a number of steps; `None` if none was given.
    """

    train_loss: float
    expected_shift: Estimate
    covariance: float
    crossover: float
    criterion: float
    tic: Estimate
    stic: Estimate | None = None


@dataclass(frozen=True)
class ComparedMinima:
    """Several minima side by side.

    Attributes:
        temperature: T = η/B.
        rows: one for each, in the order given.
    """

    temperature: float
    rows: tuple[ComparedMinimum, ...]

    @property
    def best(self) -> int:
        """The number of the minimum with the lowest criterion."""
        return int(np.argmin([row.criterion for row in self.rows]))

    def to_dict(self) -> dict[str, Any]:
        """Return the table as numbers, for JSON; what is not finite is `None`."""
        return {"temperature": self.temperature, "rows": [_plain(row) for row in self.rows], "best": self.best}

    def __str__(self) -> str:
        lines = [
            f"T = {self.temperature:g}   train loss   shift (expected)   covariance   T×       criterion    TIC"
            f"                {'STIC' if self.rows[0].stic else ''}".rstrip()
        ]
        for i, row in enumerate(self.rows):
            mark = "*" if i == self.best else " "
            lines.append(
                f"{mark} {i:<9} {row.train_loss:<12.6g} {row.expected_shift.figure:<18} {row.covariance:<12.4g} "
                f"{row.crossover:<8.3g} {row.criterion:<12.6g} {row.tic.figure:<18} "
                f"{row.stic.figure if row.stic else ''}".rstrip()
            )
        return "\n".join(lines)

    def plot(self, ax: Any = None) -> Any:
        """Draw what each criterion is made of as stacked bars, and return the Matplotlib axes."""
        ax = new_axes(ax)
        places = np.arange(len(self.rows))
        base = np.array([row.train_loss for row in self.rows])
        ax.bar(places, base, label="train loss", color="0.7")
        shifts = 2 * np.array([row.expected_shift.value for row in self.rows])
        errors = np.array([4 * (row.expected_shift.stderr or 0.0) for row in self.rows])
        ax.bar(places, shifts, bottom=base, yerr=errors, capsize=4, label="2 × expected shift", color="C0")
        covariances = [row.covariance for row in self.rows]
        ax.bar(places, covariances, bottom=base + shifts, label="(T/4) tr D", color="C1")
        ax.set_xticks(places, [f"{i}{' (best)' if i == self.best else ''}" for i in places])
        ax.set(xlabel="minimum", ylabel="expected test loss", title=f"T = {self.temperature:g}")
        ax.legend()
        return ax


def _plain(row: ComparedMinimum) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in vars(row).items():
        if isinstance(value, Estimate):
            found[name] = {"value": value.value, "stderr": value.stderr}
        else:
            found[name] = value if value is not None and math.isfinite(value) else None
    return found


def compare_minima(
    landscape: Landscape,
    minima: Sequence[Any],
    *,
    temperature: float,
    learning_rate: float | None = None,
    steps: int | None = None,
    penalty: float = 0.0,
    method: str = "auto",
    num_samples: int = 16,
    max_steps: int = 64,
    key: Any = None,
) -> ComparedMinima:
    """Compare minima of the train loss by what the expected test loss is made of, without test data.

    Args:
        landscape: the loss and its training data.
        minima: parameters, each at a minimum of the train loss with the penalty.
        temperature: T = η/B of the run that would go on from there.
        learning_rate: η of the descent that led there, for `stic`; with
        steps: how many it took.
        penalty: α.
        method: "auto", "dense" or "krylov".
        num_samples: of random combinations of gradients without matrices.
        max_steps: the most Hessian-vector products for each.
        key: a JAX random key, needed without matrices; all minima use the same.

    Raises:
        ArgumentError: an argument is invalid, or there are no minima.
        LandscapeError: one is no minimum, or has a curvature that is not positive along a direction with noise.

    References:
        Bradley et al., equations 7 and 8; the shift by its expectation.
    """
    rate = check_temperature(temperature)
    check_integer("the number of minima", len(minima), least=1)
    if (learning_rate is None) != (steps is None):
        raise ArgumentError("STIC needs learning_rate= and steps= of the descent: give both, or neither for no STIC.")
    settings = {"penalty": penalty, "method": method, "num_samples": num_samples, "max_steps": max_steps, "key": key}
    rows = []
    for i, params in enumerate(minima):
        try:
            point = AtMinimum(landscape, params, **settings)
            shift = sampling_shift(point, math.inf).mean
        except ArgumentError as error:
            raise type(error)(f"Minimum {i}: {error}") from error
        noise, loss, count = point.noise.trace(), float(point.landscape.mean_loss(point.params)), landscape.num_examples
        descent = None if steps is None or learning_rate is None else (learning_rate, steps)
        rows.append(
            ComparedMinimum(
                train_loss=loss,
                expected_shift=shift,
                covariance=rate / 4 * noise,
                crossover=4 * shift.value / noise if noise else math.inf,
                criterion=loss + 2 * shift.value + rate / 4 * noise,
                tic=scaled(shift, 2 * count / (count - 1) if count > 1 else math.nan),
                stic=None if descent is None else _stic(point, *descent, settings),
            )
        )
    return ComparedMinima(rate, tuple(rows))


def _stic(point: AtMinimum, learning_rate: float, steps: int, settings: dict[str, Any]) -> Estimate:
    """Return the stabilized criterion on the loss with the penalty."""
    loss, penalty = point.landscape.loss, settings["penalty"]

    def penalised(params: Any, example: Any) -> Any:
        squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        return loss(params, example) + penalty / 2 * squares

    landscape = Landscape(penalised if penalty else loss, point.landscape.data)
    method = {"krylov": "lanczos"}.get(settings["method"], settings["method"])
    sampled = {name: settings[name] for name in ("num_samples", "max_steps", "key")}
    return stic(landscape, point.params, learning_rate=learning_rate, steps=steps, method=method, **sampled)
