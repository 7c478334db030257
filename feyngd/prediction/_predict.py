"""Predictions: a series times the values of its diagrams, as a function of the learning rate."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, overload

import jax
import numpy as np
from numpy.typing import ArrayLike

from .._learning_rates import check_learning_rates
from ..errors import ArgumentError
from ..estimates import TruncationWarning
from ..evaluation import MEASURED, Effort, Values, check_forests
from ..landscapes import (
    Landscape,
    Origin,
    check_landscape,
    check_reading,
    check_updates_kept,
    enter,
    in_metric,
    lost_updates,
)
from ..optimizers import PLAIN, Optimizer, check_optimizer
from ..progress import Progress
from ..quantities import NUMBERS, Measurement, Variance, check_quantity, is_spread
from ..series import Series
from ..spacetimes import Spacetime, check_spacetime
from ._convergence import by_tree
from ._learning_curve import CurveTerms, LearningCurve, check_times, learning_curve
from ._prediction import Prediction
from ._values_needed import Question, coefficients_of, roots_of, series_by_root, values_for


@overload
def predict(
    landscape: Landscape,
    params: Any,
    spacetime: Spacetime,
    learning_rates: ArrayLike,
    *,
    order: int = 3,
    quantity: str = "test_loss",
    optimizer: Optimizer = PLAIN,
    times: None = None,
    values: Values | Mapping[str, Values] | None = None,
    replicates: int | None = None,
    rtol: float | None = None,
    budget: float | timedelta | None = None,
    mesh: jax.sharding.Mesh | None = None,
    check_dtype: bool | None = None,
    progress: Progress | None = None,
    key: jax.Array | None = None,
) -> Prediction: ...
@overload
def predict(
    landscape: Landscape,
    params: Any,
    spacetime: Spacetime,
    learning_rates: ArrayLike,
    *,
    order: int = 3,
    quantity: str = "test_loss",
    optimizer: Optimizer = PLAIN,
    times: Sequence[int] | str,
    values: Values | Mapping[str, Values] | None = None,
    replicates: int | None = None,
    rtol: float | None = None,
    budget: float | timedelta | None = None,
    mesh: jax.sharding.Mesh | None = None,
    check_dtype: bool | None = None,
    progress: Progress | None = None,
    key: jax.Array | None = None,
) -> LearningCurve: ...
def predict(
    landscape: Landscape,
    params: Any,
    spacetime: Spacetime,
    learning_rates: ArrayLike,
    *,
    order: int = 3,
    quantity: str = "test_loss",
    optimizer: Optimizer = PLAIN,
    times: Sequence[int] | str | None = None,
    values: Values | Mapping[str, Values] | None = None,
    replicates: int | None = None,
    rtol: float | None = None,
    budget: float | timedelta | None = None,
    mesh: jax.sharding.Mesh | None = None,
    check_dtype: bool | None = None,
    progress: Progress | None = None,
    key: jax.Array | None = None,
) -> Prediction | LearningCurve:
    """Predict an expected loss after SGD without running it.

    The landscape's reading is honoured: see `Landscape`. In the conditional reading N is the number of examples.

    Args:
        landscape: the loss and its population.
        params: the starting point, a pytree of floating-point arrays.
        spacetime: the concrete N, B, E, T and sampling.
        learning_rates: one or more learning rates, positive and finite.
        order: the highest power of η.
        quantity: "test_loss", "train_loss" or "gap", or a `measurement` with a function. How far runs spread:
            "test_loss_variance", "train_loss_variance", "test_loss_second_moment", the trace of the iterates'
            covariance, "covariance_trace", or the `variance` of a measurement.
        optimizer: plain SGD by default; see `feyngd.momentum`, `feyngd.schedule` and their relatives. Parameters are
            numbers.
        times: the numbers of steps of a learning curve, from 0 to T, or "all"; with one learning rate.
        values: moment values from `evaluate` at the same point, to be used again; computed without it. For the gap in
            the conditional reading a mapping with those of both roots, under "test" and "train".
        replicates: the number of random pairings behind every sampled value; with `rtol` or `budget` the least number.
            By default as many as are needed, from two on: until the standard error at every learning rate is below 1 %
            of the predicted change, or a tenth of the truncation figure where that is larger; and every coefficient is
            known to about a quarter, so that the range of validity is. At most 256.
        rtol: the standard error to reach at every learning rate, as a fraction of the predicted change; warns if it is
            not reached.
        budget: how much to spend on values at most, in gradients of the mean loss (by the plan's estimate), or a
            `timedelta`.
        mesh: devices to share the examples among.
        check_dtype: whether to measure what rounding does, see `evaluate`, and what updates do that are lost to the
            precision of the parameters; the default is to do so unless all is in double precision. Otherwise, and where
            it cannot be measured, `dtype_error` is not a number.
        progress: shows progress; silent by default.
        key: a JAX random key; needed when values are computed and some are sampled.

    Returns:
        A `Prediction`; with `times` a `LearningCurve`. Where orders do not fall off it warns, and says so in every form
        of output.

    Raises:
        ArgumentError: a learning rate is not positive and finite, the quantity, order or key is invalid, or the
            optimizer has symbols or does not fit the number of steps or the parameters.
        SpacetimeError: the spacetime has symbols.
        LandscapeError: the loss or data are invalid, a derivative is not finite, or parameters have less than single
            precision, in which updates are lost.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Theorem 1.

    Examples:
        >>> import feyngd as fd
        >>> landscape, start = fd.landscapes.toys.gauss_fit()
        >>> prediction = predict(landscape, start, fd.Spacetime.sgd(N=4), [0.01, 0.02], key=jax.random.key(0))
        >>> [f"{coefficient:.4f}" for coefficient in prediction.coefficients.mean(axis=0)[:3]]
        ['0.5000', '0.0000', '0.5000']
    """
    rates = check_learning_rates(learning_rates)
    check_quantity(quantity, NUMBERS, measured=True, spreads=True)
    check_spacetime(spacetime, concrete="SGD is predicted")
    check_landscape(landscape)
    check_reading(landscape, spacetime)
    if isinstance(quantity, (Measurement, Variance)):
        landscape = landscape.measuring(quantity.measurement if isinstance(quantity, Variance) else quantity)
    optimizer = check_optimizer(optimizer)
    if not optimizer.is_plain:
        optimizer = optimizer.over_steps(int(spacetime.T)).in_floats()
    moments = None if times is None else check_times(times, int(spacetime.T))
    if moments is not None and is_spread(quantity):
        raise ArgumentError(
            f"Learning curves are those of means: predict {str(quantity)!r} after each number of steps on its own, "
            "with Spacetime.sgd(N, B, T=…)."
        )
    if moments is not None and len(rates) > 1:
        raise ArgumentError(f"A learning curve has one learning rate; got {len(rates)}.")
    if optimizer.metric is not None and quantity == "covariance_trace":
        raise ArgumentError(
            "With learning rates of single parameters the trace of the covariance is not predicted: take the variance "
            "of a measurement, such as one coordinate of θ."
        )
    if optimizer.metric is not None:
        landscape, params = in_metric(landscape, params, optimizer.metric.tree)
    landscape, params = enter(landscape, params, update=True, noise=True)
    check_updates_kept(params, "A prediction")
    if is_spread(quantity) and landscape.per_use_noise:
        raise ArgumentError(f"There is no series of {str(quantity)!r} with noise drawn anew at every use.")
    parts = series_by_root(quantity, landscape, spacetime, order, optimizer)
    for root, (_, series) in parts.items():
        check_forests(series, landscape, None, root)
    effort = Effort.checked(2 if replicates is None else replicates, rtol, budget)
    if values is None:
        given = values_for(
            [Question(parts, rates)],
            landscape,
            params,
            effort,
            fixed=replicates is not None,
            mesh=mesh,
            check_dtype=check_dtype,
            progress=progress,
            key=key,
        )
        # If rounding cannot be measured for one root, it is not tried for the other, nor warned about twice.
        check_dtype = False if any(found.not_measured for found in given.values()) else check_dtype
    else:
        given = dict.fromkeys(parts, values) if isinstance(values, Values) else dict(values)
    for root, (_, series) in parts.items():
        _check_values(given[root], series, landscape, params, root)
    prediction: Prediction | LearningCurve
    if moments is None:
        prediction = _assembled(quantity, spacetime, rates, parts, given, with_rounding=check_dtype is not False)
        prediction = replace(prediction, optimizer=optimizer)
        if prediction.rounding is not None and landscape.update is None and not is_spread(quantity):
            prediction = replace(prediction, lost_updates=_lost_updates(prediction, landscape, params))
    else:
        roots = roots_of(quantity, landscape.reading)
        noise = landscape.per_use_noise
        terms = CurveTerms.expanded(roots, order, spacetime, optimizer, moments, per_use_noise=noise)
        prediction = learning_curve(
            quantity, spacetime, optimizer, rates, terms, given, with_rounding=check_dtype is not False
        )
    _warn(prediction, rates, order)
    return prediction


def _assembled(
    quantity: str,
    spacetime: Spacetime,
    rates: np.ndarray,
    parts: Mapping[str, tuple[int, Series]],
    given: Mapping[str, Values],
    *,
    with_rounding: bool,
) -> Prediction:
    """Return the prediction of a sum of series, from the values of their diagrams."""
    order = max(series.order for _, series in parts.values())
    coefficients, rounding, trees = np.zeros((1, order + 1)), np.zeros((1, order + 1)), np.zeros(())
    for root, (sign, series) in parts.items():
        coefficients = coefficients + sign * coefficients_of(series, given[root])
        rounding = rounding + sign * _rounding(series, given[root])
        trees = trees + sign * by_tree(series, given[root])
    kinks = tuple(dict.fromkeys(kink for root in parts for kink in given[root].kinks))
    measured = rounding if with_rounding and np.isfinite(rounding).all() else None
    return Prediction(quantity, spacetime, rates, coefficients, measured, trees=trees, kinks=kinks)


def _warn(prediction: Prediction | LearningCurve, rates: np.ndarray, order: int) -> None:
    """Warn where a prediction has not converged."""
    if prediction.converged.all():
        return
    if isinstance(prediction, LearningCurve):
        first = next(one for one, good in zip(prediction.predictions, prediction.converged, strict=True) if not good)
        where, why = f"after {int(first.spacetime.T)} steps and later", first.limited_by
    else:
        far, why = rates[~prediction.converged], prediction.limited_by
        where = "at learning rate(s) " + (
            f"{far.min():.3g}" if len(far) == 1 else f"{far.min():.3g} to {far.max():.3g}"
        )
    warnings.warn(
        f"The series to order {order} has not converged {where}, as {why}: there the prediction may be far off.",
        TruncationWarning,
        stacklevel=3,
    )


def _lost_updates(prediction: Prediction, landscape: Landscape, params: Any) -> np.ndarray:
    """Return what updates do to a prediction that are lost to the precision of the parameters, shape (R,).

    The first order is ηT|G|² of a loss and ηT(⟨|g|²⟩ − |G|²)/N of the gap, from which a squared gradient is known; that
    of a measurement says nothing of it. An optimizer counts as SGD at the learning rate that moves as far: η times the
    mean of κ over the steps.
    """
    spacetime, optimizer, squared = prediction.spacetime, prediction.optimizer, None
    steps = int(spacetime.T)
    scale = (
        1.0
        if optimizer.is_plain or not steps
        else abs(float(np.mean(np.array(optimizer.to_end(steps), dtype=float)))) or 1.0
    )
    if prediction.order and steps and not isinstance(prediction.quantity, Measurement):
        points = int(spacetime.N) if prediction.quantity == "gap" else 1
        squared = abs(float(prediction.coefficients.mean(axis=0)[1])) / steps / scale * points
    errors = (prediction.stderr, prediction.truncation, np.nan_to_num(prediction.dtype_error))
    return lost_updates(
        landscape,
        params,
        prediction.learning_rates * scale,
        steps=steps,
        batch_size=int(spacetime.B),
        squared_gradient=squared,
        mean_at=lambda rates: prediction.at(rates / scale)[0],
        errors=np.sqrt(np.sum(np.square(errors), axis=0)),
    )


def _check_values(values: Values, series: Series, landscape: Landscape, params: Any, root: str) -> None:
    if values.origin is not None:
        cure = "Call evaluate with this landscape and these parameters, or leave values out."
        values.origin.check(Origin.of(landscape, params), "These values", cure)
    if missing := [diagram for diagram in series if diagram not in values]:
        raise ArgumentError(
            f"The value of {missing[0]} is needed and was not evaluated: evaluate the series {series!r}."
        )
    if values.basis != series.basis:
        raise ArgumentError(
            f"Predictions of {str(series.quantity)!r} take values in the {series.basis} basis; these are in the "
            f"{values.basis} basis."
        )
    if (landscape.reading == "conditional" or MEASURED in (root, values.root)) and values.root != root:
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
