"""Predictions: a polynomial in the learning rate with its three errors."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .._learning_rates import check_learning_rates
from ..errors import ArgumentError
from ..estimates import CONVERGED, PredictedCurve, finite_or_none, in_table, mean_and_stderr
from ..kinks import Kink, kinks_note
from ..optimizers import PLAIN, Optimizer
from ..spacetimes import Spacetime
from ._convergence import Orders
from ._exponential_form import accelerates, jackknife


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(PredictedCurve):
    """The expected loss after SGD at several learning rates, from a series cut after some order.

    The sampling error of the values (`stderr`), the error of cutting the series (`truncation`) and that of
    floating-point arithmetic (`dtype_error`) are kept apart.

    Attributes:
        quantity: "test_loss", "train_loss" or "gap".
        spacetime: the concrete spacetime.
        learning_rates: the learning rates, shape (R,).
        coefficients: the coefficient of every power of η, one replicate in each row, shape (replicates, order + 1); one
            row if all values are exact.
        rounding: what floating-point arithmetic does to the coefficients on a few samples of the data, one in each row,
            shape (samples, order + 1); no rows if it was not measured.
        lost_updates: what updates that are lost to the precision of the parameters do at every learning rate, shape
            (R,); `None` if it was not measured.
        trees: what the diagrams of every rooted tree, tied in all ways, add to the coefficients, shape (order + 1,
            number of trees), filled up with zeros; `None` if it is not known. See `truncation`.
        kinks: where the loss is not smooth; what kinks do is left out, so that nothing is called converged.
        optimizer: over the steps of the spacetime, with numbers; plain SGD for files of earlier versions.
    """

    quantity: str
    spacetime: Spacetime
    learning_rates: np.ndarray
    coefficients: np.ndarray
    rounding: np.ndarray | None = None
    lost_updates: np.ndarray | None = None
    trees: np.ndarray | None = None
    kinks: tuple[Kink, ...] = ()
    optimizer: Optimizer = field(default=PLAIN, kw_only=True)

    @property
    def points(self) -> np.ndarray:
        """The learning rates, shape (R,)."""
        return self.learning_rates

    @property
    def order(self) -> int:
        """The highest power of η."""
        return self.coefficients.shape[1] - 1

    @property
    def mean(self) -> np.ndarray:
        """The prediction at every learning rate, in the unit of the loss."""
        return self.at(self.learning_rates)[0]

    @property
    def stderr(self) -> np.ndarray:
        """The standard error of `mean` from the values' sampling; zeros mean that all values are exact."""
        return self.at(self.learning_rates)[1]

    @property
    def terms(self) -> np.ndarray:
        """The term of every order at every learning rate, shape (order + 1, R)."""
        powers = np.arange(self.order + 1)
        return self.coefficients.mean(axis=0)[:, None] * self.learning_rates[None] ** powers[:, None]

    @property
    def truncation(self) -> np.ndarray:
        """The figure for what the cut leaves out, at every learning rate: the size of the last order that is not zero.

        Where trees of that order cancel, which those of the next one need not do, half the root of the sum of their
        squares counts if it is larger. If the order is lost in sampling errors it is two of these, and no less than
        what the two orders before extrapolate to. Nor is the figure ever less than what two successive orders
        extrapolate to for the next.
        """
        return self._orders.next_term(self.learning_rates)

    @property
    def dtype_error(self) -> np.ndarray:
        """What floating-point arithmetic adds at every learning rate; not a number if it was not measured.

        It is the root mean square, over a few samples of the data, of the difference that double precision makes;
        with what updates do that are lost where η times the gradient is not far above the spacing of the parameters.
        """
        if self.rounding is None or not len(self.rounding):
            return np.full(self.learning_rates.shape, np.nan)
        powers = self.learning_rates[:, None] ** np.arange(self.order + 1)
        lost = 0.0 if self.lost_updates is None else self.lost_updates
        return np.sqrt(np.mean((powers @ self.rounding.T) ** 2, axis=1) + np.square(lost))

    @property
    def valid_up_to(self) -> float:
        """The learning rate up to which every order is below a fifth of the one before it.

        A coefficient within two standard errors of zero, of sampling and rounding together, is not known to be small:
        its two errors may end the range, and orders around it, k apart, are compared by a fifth to the power k. Order 0
        is no measure, as a constant added to the loss changes it: with fewer than two known orders from 1 on,
        convergence cannot be judged and the edge is 0. A loss that starts above zero and would be below it, after any
        order, falls further than a loss can: the range ends there. Where the loss has kinks the edge is 0 too.
        """
        return self._edge[0]

    @property
    def converged(self) -> np.ndarray:
        """Whether each learning rate is below `valid_up_to`."""
        return self.learning_rates < self.valid_up_to

    @property
    def last_term(self) -> np.ndarray:
        """The size of the highest order at every learning rate; zeros if its coefficient is lost in its errors."""
        return np.abs(self.terms[-1]) if self.order in self._orders.known else np.zeros(self.learning_rates.shape)

    @property
    def limited_by(self) -> str:
        """What ends the range of validity, in words."""
        return self._edge[1]

    @property
    def _edge(self) -> tuple[float, str]:
        if self.kinks:
            return 0.0, "the loss has kinks, and what they do is left out"
        return self._orders.edge(falls=self.quantity in ("test_loss", "train_loss"))

    @property
    def _orders(self) -> Orders:
        rounding, zeros = self.rounding, np.zeros(self.order + 1)
        return Orders(
            *mean_and_stderr(self.coefficients),
            zeros if rounding is None or not len(rounding) else np.sqrt(np.mean(rounding**2, axis=0)),
            zeros if self.trees is None else np.sqrt(np.sum(self.trees**2, axis=1)),
        )

    def at(self, learning_rates: Any, *, order: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard error at any learning rates, with the series cut after `order`.

        Raises:
            ArgumentError: the order is not an integer from 0 to the prediction's order.
        """
        cut = self.order if order is None else order
        if isinstance(cut, bool) or not isinstance(cut, int) or not 0 <= cut <= self.order:
            raise ArgumentError(
                f"The prediction goes to order {self.order}, so order is 0 to {self.order}; got {order!r}."
            )
        powers = np.asarray(learning_rates, dtype=float)[..., None] ** np.arange(cut + 1)
        return mean_and_stderr(powers @ self.coefficients[:, : cut + 1].T, axis=-1)

    @property
    def can_accelerate(self) -> bool:
        """Whether `accelerated` has an answer: the order is 3, and its last two coefficients differ in sign."""
        return accelerates(self.coefficients.mean(axis=0))

    def accelerated(self, learning_rates: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard error of a form with the same coefficients that reaches further than the series.

        It is A(e^{−bη} − 1) + Cη added to the initial loss, as gradient descent on a quadratic suggests. Measured on
        twelve problems, its errors are a third of the plain series' at three times the learning rate at which order 3
        is a fifth of order 2 (docs/benchmarks.md).
        The difference between the two is a figure for the error of this form, and covered it there.

        Args:
            learning_rates: positive and finite; those of the prediction by default.

        Raises:
            ArgumentError: `can_accelerate` is false, or a learning rate is invalid.
        """
        if not self.can_accelerate:
            raise ArgumentError(
                "Only a prediction to order 3 whose coefficients of orders 2 and 3 differ in sign can be accelerated: "
                f"here the order is {self.order} and the coefficients are "
                f"{', '.join(f'{c:.3g}' for c in self.coefficients.mean(axis=0))}. Use .at(...)."
            )
        rates = self.learning_rates if learning_rates is None else check_learning_rates(learning_rates)
        return jackknife(self.coefficients, rates)

    def truncate(self, order: int) -> "Prediction":
        """Return the prediction of the series cut after a lower order."""
        self.at(self.learning_rates, order=order)
        rounding = None if self.rounding is None else self.rounding[:, : order + 1]
        coefficients = self.coefficients[:, : order + 1]
        trees = None if self.trees is None else self.trees[: order + 1]
        return replace(self, coefficients=coefficients, rounding=rounding, trees=trees)

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as plain lists and numbers, for JSON; what is not finite is `None`."""
        return {
            **super().to_dict(),
            "optimizer": str(self.optimizer),
            "order": self.order,
            "learning_rates": self.learning_rates.tolist(),
            "dtype_error": finite_or_none(self.dtype_error),
            "valid_up_to": self.valid_up_to,
            "mean_by_order": [self.at(self.learning_rates, order=k)[0].tolist() for k in range(self.order + 1)],
            "coefficients": self.coefficients.mean(axis=0).tolist(),
        }

    @property
    def start(self) -> float:
        """The quantity at the start, in the unit of the loss."""
        return float(self.coefficients.mean(axis=0)[0])

    @property
    def meaning_of_converged(self) -> str:
        """When a learning rate counts as converged, in words."""
        return f"every term up to order {self.order} below {CONVERGED:.0%} of the one before"

    @property
    def name_of_last(self) -> str:
        """What `last_term` is the size of, in words."""
        return f"order {self.order}"

    def columns(self) -> dict[str, list[str]]:
        """Return what a table shows of the prediction, by column."""
        rates, largest = self.learning_rates, float(np.abs(self.mean).max())
        return {
            f"order {k}": [in_table(x, largest) for x in self.at(rates, order=k)[0]] for k in range(1, self.order + 1)
        }

    def plot(self, ax: Any = None) -> Any:
        """Draw the prediction at every order against the learning rate; dashed where it has not converged.

        Returns:
            The matplotlib axes.
        """
        from ..drawing import plot_prediction

        return plot_prediction(self, ax)

    def __repr__(self) -> str:
        return (
            f"<Prediction of {self.quantity} to order {self.order}, {self.setting}, {len(self.learning_rates)} rates>"
        )

    def __str__(self) -> str:
        lines = [
            f"{self.quantity} predicted to order η^{self.order}, {self.setting}; valid up to η = {self.valid_up_to:.3g}"
        ]
        for i, (rate, mean, rounding) in enumerate(zip(self.points, self.mean, self.dtype_error, strict=True)):
            dtype = f" ± {rounding:.1g} (dtype)" if np.isfinite(rounding) else ""
            lines.append(f"  η = {rate:<9.4g} {mean:.6g} {self.errors_text(i, dtype)}")
        return "\n".join(lines) + kinks_note(self.kinks)
