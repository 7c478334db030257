"""Predictions: a series times the values of its diagrams, as a function of the learning rate."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from .._learning_rates import check_learning_rates
from ..errors import ArgumentError
from ..estimates import TruncationWarning
from ..evaluation import Effort, Values
from ..kinks import Kink
from ..landscapes import Landscape, Origin, check_landscape, check_reading, check_updates_kept, enter, lost_updates
from ..progress import Progress
from ..quantities import check_quantity
from ..series import Series
from ..spacetimes import Spacetime, check_spacetime
from ._convergence import by_tree
from ._prediction import Prediction
from ._values_needed import Question, coefficients_of, series_by_root, values_for


def predict(
    landscape: Landscape,
    params: Any,
    spacetime: Spacetime,
    learning_rates: ArrayLike,
    *,
    order: int = 3,
    quantity: str = "test_loss",
    values: Values | Mapping[str, Values] | None = None,
    replicates: int | None = None,
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
        A `Prediction`. Where its orders do not fall off it warns, and says so in every form of output.

    Raises:
        ArgumentError: a learning rate is not positive and finite, or the quantity, order or key is invalid.
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
    check_quantity(quantity)
    check_spacetime(spacetime, concrete="SGD is predicted")
    check_landscape(landscape)
    check_reading(landscape, spacetime)
    landscape, params = enter(landscape, params)
    check_updates_kept(params, "A prediction")
    parts = series_by_root(quantity, landscape, spacetime, order)
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
    coefficients, rounding, trees = np.zeros((1, order + 1)), np.zeros((1, order + 1)), np.zeros(())
    kinks: tuple[Kink, ...] = ()
    for root, (sign, series) in parts.items():
        ready = given[root]
        _check_values(ready, series, landscape, params, root)
        coefficients = coefficients + sign * coefficients_of(series, ready)
        rounding = rounding + sign * _rounding(series, ready)
        trees = trees + sign * by_tree(series, ready)
        kinks = tuple(dict.fromkeys((*kinks, *ready.kinks)))
    measured = rounding if check_dtype is not False and np.isfinite(rounding).all() else None
    prediction = Prediction(quantity, spacetime, rates, coefficients, measured, trees=trees, kinks=kinks)
    if measured is not None:
        prediction = replace(prediction, lost_updates=_lost_updates(prediction, landscape, params))
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


def _lost_updates(prediction: Prediction, landscape: Landscape, params: Any) -> np.ndarray:
    """Return what updates do to a prediction that are lost to the precision of the parameters, shape (R,).

    The first order is ηT|G|² of a loss and ηT(⟨|g|²⟩ − |G|²)/N of the gap, from which a squared gradient is known.
    """
    spacetime, squared = prediction.spacetime, None
    steps = int(spacetime.T)
    if prediction.order and steps:
        points = int(spacetime.N) if prediction.quantity == "gap" else 1
        squared = abs(float(prediction.coefficients.mean(axis=0)[1])) / steps * points
    errors = (prediction.stderr, prediction.truncation, np.nan_to_num(prediction.dtype_error))
    return lost_updates(
        landscape,
        params,
        prediction.learning_rates,
        steps=steps,
        batch_size=int(spacetime.B),
        squared_gradient=squared,
        mean_at=lambda rates: prediction.at(rates)[0],
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
