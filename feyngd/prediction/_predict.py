"""Predictions: a series times the values of its diagrams, as a function of the learning rate."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from .._archive import Kept
from ..diagrams import Diagram
from ..errors import ArgumentError
from ..evaluation import Values, evaluate
from ..landscapes import Kink, Landscape, Origin, check_landscape, enter, kinks_note
from ..progress import Progress
from ..series import QUANTITIES, Series, expand
from ..spacetimes import Spacetime
from ._acceleration import accelerates, jackknife
from ._convergence import CONVERGED, Orders, by_tree
from ._lost_updates import check_updates_kept, lost_updates
from ._readings import check_reading


class TruncationWarning(UserWarning):
    """The orders kept in a prediction do not fall off: the series has not converged there."""


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Kept):
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
    """

    quantity: str
    spacetime: Spacetime
    learning_rates: np.ndarray
    coefficients: np.ndarray
    rounding: np.ndarray | None = None
    lost_updates: np.ndarray | None = None
    trees: np.ndarray | None = None
    kinks: tuple[Kink, ...] = ()

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
        return self._orders.edge(falls=self.quantity != "gap")

    @property
    def _orders(self) -> Orders:
        count, rounding = len(self.coefficients), self.rounding
        zeros = np.zeros(self.order + 1)
        return Orders(
            self.coefficients.mean(axis=0),
            self.coefficients.std(axis=0, ddof=1) / count**0.5 if count > 1 else zeros,
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
        rows = powers @ self.coefficients[:, : cut + 1].T
        count = self.coefficients.shape[0]
        spread = rows.std(axis=-1, ddof=1) / count**0.5 if count > 1 else np.zeros(rows.shape[:-1])
        return rows.mean(axis=-1), spread

    @property
    def can_accelerate(self) -> bool:
        """Whether `accelerated` has an answer: the order is 3, and its last two coefficients differ in sign."""
        return accelerates(self.coefficients.mean(axis=0))

    def accelerated(self, learning_rates: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard error of a form with the same coefficients that reaches further than the series.

        It is A(e^{−bη} − 1) + Cη added to the initial loss, as gradient descent on a quadratic suggests. Measured on
        twelve problems, its errors are a third of the plain series' at three times the learning rate at which order 3
        is a fifth of order 2 (docs/benchmarks.md).
        How far the two are apart is a figure for the error of this form, and covered it there.

        Args:
            learning_rates: positive and finite; those of the prediction by default.

        Raises:
            ArgumentError: `can_accelerate` is false, or a learning rate is unfit.
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
        """Return the prediction as plain lists and numbers, for JSON."""
        return {
            "quantity": self.quantity,
            "spacetime": str(self.spacetime),
            "order": self.order,
            "learning_rates": self.learning_rates.tolist(),
            "mean": self.mean.tolist(),
            "stderr": self.stderr.tolist(),
            "truncation": self.truncation.tolist(),
            "dtype_error": [float(x) if np.isfinite(x) else None for x in self.dtype_error],
            "valid_up_to": self.valid_up_to,
            "converged": self.converged.tolist(),
            "mean_by_order": [self.at(self.learning_rates, order=k)[0].tolist() for k in range(self.order + 1)],
            "coefficients": self.coefficients.mean(axis=0).tolist(),
            "kinks": [str(kink) for kink in self.kinks],
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
        rates = self.learning_rates
        return {f"order {k}": [f"{x:.5f}" for x in self.at(rates, order=k)[0]] for k in range(1, self.order + 1)}

    def plot(self, ax: Any = None) -> Any:
        """Draw the prediction at every order against the learning rate; dashed where it has not converged.

        Returns:
            The matplotlib axes.
        """
        from ._plots import plot_prediction

        return plot_prediction(self, ax)

    def __repr__(self) -> str:
        return (
            f"<Prediction of {self.quantity} to order {self.order}, {self.spacetime}, {len(self.learning_rates)} rates>"
        )

    def __str__(self) -> str:
        lines = [
            f"{self.quantity} predicted to order η^{self.order}, {self.spacetime}; "
            f"valid up to η = {self.valid_up_to:.3g}"
        ]
        columns = (self.learning_rates, self.mean, self.stderr, self.truncation, self.dtype_error, self.converged)
        for rate, mean, stderr, cut, rounding, good in zip(*columns, strict=True):
            note = f" ± {rounding:.1g} (dtype)" if np.isfinite(rounding) else ""
            note += "" if good else "   not converged"
            lines.append(f"  η = {rate:<9.4g} {mean:.6g} ± {stderr:.2g} (sampling) ± {cut:.2g} (truncation){note}")
        return "\n".join(lines) + kinks_note(self.kinks)


def predict(
    landscape: Landscape,
    params: Any,
    spacetime: Spacetime,
    learning_rates: ArrayLike,
    *,
    order: int = 3,
    quantity: str = "test_loss",
    values: Values | Mapping[str, Values] | None = None,
    replicates: int = 16,
    rtol: float | None = None,
    budget: float | timedelta | None = None,
    mesh: jax.sharding.Mesh | None = None,
    check_dtype: bool | None = None,
    progress: Progress | None = None,
    key: jax.Array | None = None,
) -> Prediction:
    """Predict an expected loss after SGD without running it.

    The landscape's reading is honoured: see `Landscape`. In the conditional reading N is the number of examples.

    Args:
        landscape: the loss and its population.
        params: the starting point, a pytree of floating-point arrays.
        spacetime: the concrete N, B, E, T and sampling.
        learning_rates: one or more learning rates, positive and finite.
        order: the highest power of η.
        quantity: "test_loss", "train_loss" or "gap".
        values: moment values from `evaluate` at the same point, to be used again; computed without it. For the gap in
            the conditional reading a mapping with those of both roots, under "test" and "train".
        replicates: the number of random pairings behind every sampled value.
        rtol: the relative standard error that every value should reach; see `evaluate`.
        budget: how much to spend on values at most, in gradients or as a `timedelta`; see `evaluate`.
        mesh: devices to share the examples among.
        check_dtype: whether to measure what rounding does, see `evaluate`, and what updates do that are lost to the
            precision of the parameters; the default is to do so unless all is in double precision. Otherwise, and where
            it cannot be measured, `dtype_error` is not a number.
        progress: shows progress; silent by default.
        key: a JAX random key; needed when values are computed and some are sampled.

    Returns:
        A `Prediction`. Where its orders do not fall off it warns, and says so in every form of output.

    Raises:
        ArgumentError: a learning rate is not positive and finite, or the quantity, order or key is unfit.
        SpacetimeError: the spacetime has symbols.
        LandscapeError: the loss or data are unfit, a derivative is not finite, or parameters have less than single
            precision, in which updates are lost.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Theorem 1.
    """
    rates = check_learning_rates(learning_rates)
    if quantity not in QUANTITIES:
        raise ArgumentError(f"Unknown quantity {quantity!r}. Known: {', '.join(map(repr, QUANTITIES))}.")
    if not isinstance(spacetime, Spacetime):
        raise ArgumentError(f"spacetime is made by Spacetime.sgd, .gd or .from_batches; got {spacetime!r}.")
    spacetime.require_concrete("SGD is predicted")
    check_landscape(landscape)
    check_reading(landscape, spacetime)
    landscape, params = enter(landscape, params)
    check_updates_kept(params, "A prediction")
    parts = series_by_root(quantity, landscape, spacetime, order)
    given = dict.fromkeys(parts, values) if isinstance(values, Values) or values is None else dict(values)
    coefficients, rounding, trees = np.zeros((1, order + 1)), np.zeros((1, order + 1)), np.zeros(())
    kinks: tuple[Kink, ...] = ()
    for root, (sign, series) in parts.items():
        ready = given.get(root)
        if ready is None:
            # The same key for both roots: their replicates share the pairings, and the difference its noise.
            ready = evaluate(
                series,
                landscape,
                params,
                root=root,
                replicates=replicates,
                rtol=rtol,
                budget=budget,
                mesh=mesh,
                check_dtype=check_dtype,
                progress=progress,
                key=key,
            )
            # One root that cannot be measured is enough to know, and to be told once.
            check_dtype = False if ready.not_measured else check_dtype
        _check_values(ready, series, landscape, params, root)
        coefficients = coefficients + sign * _coefficients(series, ready)
        rounding = rounding + sign * _rounding(series, ready)
        trees = trees + sign * by_tree(series, ready)
        kinks = tuple(dict.fromkeys((*kinks, *ready.kinks)))
    measured = rounding if check_dtype is not False and np.isfinite(rounding).all() else None
    prediction = Prediction(quantity, spacetime, rates, coefficients, measured, trees=trees, kinks=kinks)
    if measured is not None:
        prediction = replace(prediction, lost_updates=lost_updates(prediction, landscape, params))
    if not prediction.converged.all():
        far = rates[~prediction.converged]
        where = f"{far.min():.3g}" if len(far) == 1 else f"{far.min():.3g} to {far.max():.3g}"
        warnings.warn(
            f"The series to order {order} has not converged at learning rate(s) {where}, as {prediction.limited_by}: "
            "there the prediction may be far off.",
            TruncationWarning,
            stacklevel=2,
        )
    return prediction


def series_by_root(
    quantity: str, landscape: Landscape, spacetime: Spacetime, order: int
) -> dict[str, tuple[int, Series]]:
    """Return the series whose sum is the quantity, by where its untied roots are measured, with their signs."""
    if landscape.reading != "conditional" or quantity != "gap":
        root = "train" if quantity == "train_loss" else "test"
        return {root: (1, expand(quantity, order=order, spacetime=spacetime))}
    test, train = (expand(name, order=order, spacetime=spacetime) for name in ("test_loss", "train_loss"))
    return {"test": (1, test), "train": (-1, train)}


def _check_values(values: Values, series: Series, landscape: Landscape, params: Any, root: str) -> None:
    if values.origin is not None:
        cure = "Call evaluate with this landscape and these parameters, or leave values out."
        values.origin.check(Origin.of(landscape, params), "These values", cure)
    if missing := [diagram for diagram in series if diagram not in values]:
        raise ArgumentError(
            f"The value of {missing[0]} is needed and was not evaluated: evaluate the series {series!r}."
        )
    if values.basis != "moment":
        raise ArgumentError(f"predict takes values in the moment basis; these are in the {values.basis} basis.")
    if landscape.reading == "conditional" and values.root != root:
        raise ArgumentError(
            f"The untied roots of these values are measured on {values.root} data, and {series.quantity} needs them on "
            f"{root} data: evaluate with root={root!r}."
        )


def _rounding(series: Series, values: Values) -> np.ndarray:
    """Return what rounding does to every coefficient, one sample in each row; not a number if it was not measured."""
    columns = []
    for k in range(series.order + 1):
        total = np.zeros(1)
        for diagram, weight in series.of_order(k).items():
            measured = values.rounding(diagram)
            total = total + float(weight) * (np.array([np.nan]) if measured is None else measured)
        columns.append(total)
    rows = max(len(column) for column in columns)
    return np.stack([np.broadcast_to(column, rows) for column in columns], axis=1)


def _coefficients(series: Series, values: Values) -> np.ndarray:
    by_order: list[Mapping[Diagram, float]] = [
        {diagram: float(c) for diagram, c in series.of_order(k).items()} for k in range(series.order + 1)
    ]
    columns = []
    for weights in by_order:
        total = np.zeros(1)
        for diagram, weight in weights.items():
            total = total + weight * values.replicates(diagram)
        columns.append(total)
    rows = max(len(column) for column in columns)
    return np.stack([np.broadcast_to(column, rows) for column in columns], axis=1)


def check_learning_rates(learning_rates: ArrayLike, *, schedule: bool = False) -> np.ndarray:
    """Return the learning rates as an array.

    Args:
        learning_rates: one or more.
        schedule: whether they are those of the steps of one run, of which some may be zero.

    Raises:
        ArgumentError: there are none, or one is not a positive finite number.
    """
    try:
        rates = np.atleast_1d(np.asarray(learning_rates, dtype=float))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"Learning rates are positive numbers, got {learning_rates!r}.") from error
    if rates.ndim != 1 or not len(rates):
        raise ArgumentError(f"Give one learning rate or a list of them, got an array of shape {rates.shape}.")
    zeros = schedule and bool(np.any(rates > 0))
    bad = rates[~(np.isfinite(rates) & ((rates >= 0) if zeros else (rates > 0)))]
    if len(bad):
        allowed = "positive and finite" + (", and in a schedule some of them zero" if schedule else "")
        raise ArgumentError(f"Learning rates are {allowed}, got {', '.join(f'{rate:g}' for rate in bad)}.")
    return rates
