"""Which of several minima generalizes best, from training data alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._arguments import check_integer
from ...errors import ArgumentError
from ...estimates import Estimate
from ...landscapes import Landscape
from .._numbers import check_temperature
from ._expected_shift import sampling_shift
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
    """

    train_loss: float
    expected_shift: Estimate
    covariance: float
    crossover: float
    criterion: float


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
        """Return the table as numbers, for JSON."""
        rows = [
            {**vars(row), "expected_shift": {"value": row.expected_shift.value, "stderr": row.expected_shift.stderr}}
            for row in self.rows
        ]
        return {"temperature": self.temperature, "rows": rows, "best": self.best}

    def __str__(self) -> str:
        lines = [f"T = {self.temperature:g}   train loss   shift (expected)   covariance   T×       criterion"]
        for i, row in enumerate(self.rows):
            mark = "*" if i == self.best else " "
            lines.append(
                f"{mark} {i:<9} {row.train_loss:<12.6g} {row.expected_shift.figure:<18} {row.covariance:<12.4g} "
                f"{row.crossover:<8.3g} {row.criterion:.6g}"
            )
        return "\n".join(lines)


def compare_minima(
    landscape: Landscape,
    minima: Sequence[Any],
    *,
    temperature: float,
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
    settings = {"penalty": penalty, "method": method, "num_samples": num_samples, "max_steps": max_steps, "key": key}
    rows = []
    for i, params in enumerate(minima):
        try:
            point = AtMinimum(landscape, params, **settings)
            shift = sampling_shift(point, math.inf).mean
        except ArgumentError as error:
            raise type(error)(f"Minimum {i}: {error}") from error
        noise, loss = point.noise.trace(), float(point.landscape.mean_loss(point.params))
        rows.append(
            ComparedMinimum(
                train_loss=loss,
                expected_shift=shift,
                covariance=rate / 4 * noise,
                crossover=4 * shift.value / noise if noise else math.inf,
                criterion=loss + 2 * shift.value + rate / 4 * noise,
            )
        )
    return ComparedMinima(rate, tuple(rows))
