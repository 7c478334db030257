"""Predicted learning curves: an expected loss after every number of steps, from one series for each of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from .._arguments import check_integer
from ..diagrams import Diagram
from ..errors import ArgumentError
from ..estimates import PredictedCurve, finite_or_none
from ..evaluation import Values
from ..kinks import Kink, kinks_note
from ..optimizers import PLAIN, Optimizer
from ..series import expand_curve
from ..spacetimes import Spacetime
from ._convergence import tree_numbers, tree_of
from ._prediction import Prediction


@dataclass(frozen=True, eq=False, repr=False)
class LearningCurve(PredictedCurve):
    """The expected loss after some numbers of steps of one schedule at one learning rate.

    Every point is a `Prediction` with its three errors, and all share the values of diagrams: their errors go together.
    What updates do that are lost to the precision of the parameters is not measured along a curve.

    Attributes:
        quantity: "test_loss", "train_loss" or "gap".
        spacetime: the whole schedule.
        predictions: one for each number of steps, in their order, each at the one learning rate.
        optimizer: over the steps of the whole schedule, with numbers.
    """

    quantity: str
    spacetime: Spacetime
    predictions: Sequence[Prediction]
    optimizer: Optimizer = field(default=PLAIN, kw_only=True)

    axis: ClassVar[str] = "t"

    @property
    def times(self) -> np.ndarray:
        """The numbers of steps, shape (L,)."""
        return np.array([int(one.spacetime.T) for one in self.predictions])

    @property
    def points(self) -> np.ndarray:
        """The numbers of steps, shape (L,)."""
        return self.times

    @property
    def learning_rate(self) -> float:
        """The learning rate η, of which a schedule has multiples."""
        return float(self.predictions[0].learning_rates[0])

    def _at_points(self, name: str) -> np.ndarray:
        return np.array([getattr(one, name)[0] for one in self.predictions])

    @property
    def mean(self) -> np.ndarray:
        """The prediction after every number of steps, in the unit of the loss."""
        return self._at_points("mean")

    @property
    def stderr(self) -> np.ndarray:
        """The standard error of `mean` from the values' sampling."""
        return self._at_points("stderr")

    @property
    def truncation(self) -> np.ndarray:
        """The figure for what the cut leaves out, after every number of steps; nothing before the first."""
        return np.where(self.times == 0, 0.0, self._at_points("truncation"))

    @property
    def converged(self) -> np.ndarray:
        """Whether the learning rate is within the range of validity after every number of steps."""
        return np.array([one.converged[0] or int(one.spacetime.T) == 0 for one in self.predictions], dtype=bool)

    @property
    def last_term(self) -> np.ndarray:
        """The size of the highest order after every number of steps."""
        return self._at_points("last_term")

    @property
    def name_of_last(self) -> str:
        """What `last_term` is the size of, in words."""
        return self.predictions[0].name_of_last

    @property
    def meaning_of_converged(self) -> str:
        """When a point counts as converged, in words."""
        return self.predictions[0].meaning_of_converged

    @property
    def start(self) -> float:
        """The quantity at the start, in the unit of the loss."""
        return self.predictions[0].start

    @property
    def kinks(self) -> tuple[Kink, ...]:
        """Where the loss is not smooth; what kinks do is left out."""
        return self.predictions[0].kinks

    def columns(self) -> dict[str, list[str]]:
        """Return what a table shows of the prediction, by column."""
        return {f"order {self.predictions[0].order}": [f"{x:.5f}" for x in self.mean]}

    def select(self, points: np.ndarray) -> "LearningCurve":
        """Return the curve at some of its steps, in the order given.

        Raises:
            ArgumentError: it does not have such a step.
        """
        place = {int(time): one for time, one in zip(self.times, self.predictions, strict=True)}
        if missing := [int(point) for point in points if int(point) not in place]:
            raise ArgumentError(
                f"This learning curve has {len(place)} numbers of steps, {min(place)} to {max(place)}; got "
                f"{missing[0]}."
            )
        return replace(self, predictions=[place[int(point)] for point in points])

    def to_dict(self) -> dict[str, Any]:
        """Return the curve as plain lists and numbers, for JSON; what is not finite is `None`."""
        return {
            **super().to_dict(),
            "optimizer": str(self.optimizer),
            "learning_rate": self.learning_rate,
            "times": self.times.tolist(),
            "dtype_error": finite_or_none(self._at_points("dtype_error")),
        }

    def plot(self, ax: Any = None, *, label: str | None = None, colour: str | None = None) -> Any:
        """Draw the learning curve with two standard errors and the truncation figure as bands; dashed where it has not
        converged.

        Args:
            ax: matplotlib axes; new ones if there are none.
            label: of the curve; the spacetime by default.
            colour: of the curve.

        Returns:
            The matplotlib axes.
        """
        from ..drawing import plot_series_curve

        return plot_series_curve(self, ax, label, colour)

    def __repr__(self) -> str:
        return f"<LearningCurve of {self.quantity}, {len(self.predictions)} numbers of steps, {self.setting}>"

    def __str__(self) -> str:
        return (
            f"{self.quantity} after {self.times[-1]} steps, η = {self.learning_rate:.4g}, {self.setting}: "
            f"{self.mean[-1]:.6g} {self.errors_text(-1)}{kinks_note(self.kinks)}"
        )


def check_times(times: Any, steps: int) -> list[int]:
    """Return numbers of steps, in order and each once.

    Args:
        times: "all", or a sequence of integers.
        steps: T.

    Raises:
        ArgumentError: they are none of these, or not from 0 to T.
    """
    if isinstance(times, str):
        if times != "all":
            raise ArgumentError(f"times is a list of numbers of steps, or 'all'; got {times!r}.")
        return list(range(steps + 1))
    chosen = sorted({check_integer("A number of steps", time, least=0) for time in times})
    if not chosen or chosen[-1] > steps:
        raise ArgumentError(f"times are numbers of steps from 0 to T={steps}; got {list(times)!r}.")
    return chosen


def until(spacetime: Spacetime, time: int) -> Spacetime:
    """Return the spacetime of the first steps of a run.

    Args:
        spacetime: of the whole run.
        time: the number of steps.
    """
    if spacetime.explicit is not None:
        return Spacetime.from_batches(spacetime.explicit[:time], int(spacetime.N))
    if spacetime.sampling == "full-batch":
        return Spacetime.gd(spacetime.N, time)
    drop_last = spacetime.drop_last
    return Spacetime.sgd(spacetime.N, spacetime.B, T=time, sampling=spacetime.sampling, drop_last=drop_last)


@dataclass(frozen=True)
class CurveTerms:
    """The coefficients of a learning curve's series, by where untied roots are measured.

    Attributes:
        order: the highest power of η.
        times: the numbers of steps, shape (L,).
        parts: the sign of each root's series, and for each diagram its coefficients, shape (L,).
    """

    order: int
    times: np.ndarray
    parts: Mapping[str, tuple[int, Mapping[Diagram, np.ndarray]]]

    @classmethod
    def expanded(
        cls,
        roots: Mapping[str, tuple[int, str]],
        order: int,
        spacetime: Spacetime,
        optimizer: Optimizer,
        times: list[int],
        *,
        per_use_noise: bool = False,
    ) -> "CurveTerms":
        """Expand the series of some roots.

        Args:
            roots: the sign and the quantity of each root's series.
            order: the highest power of η.
            spacetime: the whole run.
            optimizer: the optimizer.
            times: the numbers of steps.
            per_use_noise: whether every use of a datapoint draws noise of its own.
        """
        parts = {}
        for root, (sign, name) in roots.items():
            options: dict[str, Any] = {"spacetime": spacetime, "optimizer": optimizer, "per_use_noise": per_use_noise}
            whole = expand_curve(name, order=order, **options)
            parts[root] = sign, {diagram: coefficients[times] for diagram, coefficients in whole.items()}
        return cls(order, np.array(times), parts)

    def total(self, numbers: Callable[[str, Diagram], np.ndarray]) -> np.ndarray:
        """Return Σ_D coefficient · number by order, shape (rows, L, order + 1), from each diagram's rows of numbers."""
        total = np.zeros((1, len(self.times), self.order + 1))
        for root, (sign, terms) in self.parts.items():
            for diagram, coefficients in terms.items():
                rows = np.atleast_1d(numbers(root, diagram))
                if len(rows) > len(total):
                    total = np.repeat(total, len(rows), axis=0)
                total[:, :, diagram.order] += sign * rows[:, None] * coefficients
        return total

    def by_tree(self, numbers: Callable[[str, Diagram], np.ndarray]) -> np.ndarray:
        """Return what the diagrams of every tree add, shape (L, order + 1, trees); see `by_tree`."""
        known = [tree_numbers(order) for order in range(self.order + 1)]
        found = np.zeros((len(self.times), self.order + 1, max(map(len, known))))
        for root, (sign, terms) in self.parts.items():
            for diagram, coefficients in terms.items():
                value = float(np.mean(numbers(root, diagram)))
                found[:, diagram.order, known[diagram.order][tree_of(diagram)]] += sign * coefficients * value
        return found


def learning_curve(
    quantity: str,
    spacetime: Spacetime,
    optimizer: Optimizer,
    rates: np.ndarray,
    terms: CurveTerms,
    given: Mapping[str, Values],
    *,
    with_rounding: bool,
) -> LearningCurve:
    """Return the learning curve of a series and the values of its diagrams.

    Args:
        quantity: the quantity.
        spacetime: the whole run.
        optimizer: over its steps.
        rates: the one learning rate, shape (1,).
        terms: the coefficients.
        given: the values, by where untied roots are measured.
        with_rounding: whether the values' rounding was measured.
    """

    def rounding(root: str, diagram: Diagram) -> np.ndarray:
        measured = given[root].rounding(diagram)
        return np.array([np.nan]) if measured is None else measured

    def replicates(root: str, diagram: Diagram) -> np.ndarray:
        return given[root].replicates(diagram)

    coefficients, trees = terms.total(replicates), terms.by_tree(replicates)
    rounded = terms.total(rounding) if with_rounding else None
    if rounded is not None and not np.isfinite(rounded).all():
        rounded = None
    kinks = tuple(dict.fromkeys(kink for values in given.values() for kink in values.kinks))
    predictions = [
        Prediction(
            quantity,
            until(spacetime, int(time)),
            rates,
            coefficients[:, row],
            None if rounded is None else rounded[:, row],
            trees=trees[row],
            kinks=kinks,
            optimizer=optimizer.over_steps(int(time)),
        )
        for row, time in enumerate(terms.times)
    ]
    return LearningCurve(quantity, spacetime, predictions, optimizer=optimizer)
