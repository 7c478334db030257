"""The values that predictions need, as precisely as they need them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from ..diagrams import Diagram, diagrams
from ..estimates import mean_and_stderr
from ..evaluation import JOINED, MEASURED, MOST_TWINS, Aim, Effort, Goal, Values, evaluate, evaluate_for
from ..landscapes import Landscape
from ..optimizers import PLAIN, Optimizer
from ..progress import Progress
from ..quantities import Measurement, Variance, is_spread
from ..series import Series, expand
from ..spacetimes import Spacetime
from ._convergence import Orders, by_tree

_RTOL = 0.01  # standard error of a prediction, relative to the predicted change
_OF_TRUNCATION = 0.1  # or relative to the truncation figure, where that allows more
_NEARLY_ALL = 0.9
_SAFETY = 1.2  # twins of a difference beyond what its standard error asks for
_OF_COEFFICIENT = 0.25  # standard error of a coefficient, relative to its size: the range of validity depends on it


@dataclass(frozen=True)
class Question:
    """What is to be predicted.

    Attributes:
        parts: the series whose sum is the quantity, by where its untied roots are measured, with their signs.
        rates: the learning rates, shape (R,).
    """

    parts: Mapping[str, tuple[int, Series]]
    rates: np.ndarray


def values_for(
    questions: Sequence[Question],
    landscape: Landscape,
    params: Any,
    effort: Effort,
    *,
    fixed: bool,
    mesh: jax.sharding.Mesh | None = None,
    check_dtype: bool | None = None,
    progress: Progress | None = None,
    key: jax.Array | None = None,
) -> dict[str, Values]:
    """Evaluate all diagrams of some questions, by where untied roots are measured.

    Args:
        questions: what is to be predicted; all have the same roots.
        landscape: the loss and its population.
        params: the point.
        effort: how much to spend.
        fixed: whether `effort.replicates` is the number of pairings where no precision and no budget is given.
        mesh, check_dtype, progress, key: as in `evaluate`.
    """
    roots = list(questions[0].parts)
    wanted = {root: _wanted([question.parts[root][1] for question in questions]) for root in roots}
    basis = questions[0].parts[roots[0]][1].basis

    def evaluated(of_root: Callable[..., Values]) -> dict[str, Values]:
        found: dict[str, Values] = {}
        for root in roots:
            # The same key for all roots: their replicates share the pairings, and a difference its noise.
            # If rounding cannot be measured for one root, it is not tried for the other, nor warned about twice.
            measured = False if any(values.not_measured for values in found.values()) else check_dtype
            options: dict[str, Any] = {
                "basis": basis,
                "mesh": mesh,
                "check_dtype": measured,
                "progress": progress,
                "key": key,
            }
            found[root] = of_root(wanted[root], landscape, params, root=root, **options)
        return found

    if fixed and not effort.is_open:
        return evaluated(partial(evaluate, replicates=effort.replicates))
    least = -(-effort.replicates // 2)
    if len(roots) == 1:
        goals = partial(_goals, questions, effort.rtol)
        aim = Aim(goals, effort.budget, least, warns=effort.rtol is not None)
        return evaluated(partial(evaluate_for, aim))
    # A difference has goals that no root can judge by itself: all roots are evaluated with as many twins as it needs.
    found = evaluated(partial(evaluate_for, Aim(_no_goals, effort.budget, least)))
    excess = max(_excess(question, found, effort.rtol) for question in questions)
    if excess > 1 and effort.budget is None:
        least = min(MOST_TWINS, math.ceil(_SAFETY * excess * least))
        found = evaluated(partial(evaluate_for, Aim(_no_goals, least=least)))
    return found


def _wanted(series: Sequence[Series]) -> list[Diagram]:
    """Return the diagrams to evaluate: all of an order where nearly all are needed.

    Which ones vanish depends on the number of epochs. Left out, they would save next to nothing, and every number of
    epochs would have programs of its own.
    """
    found = {diagram for one in series for diagram in one}
    if any(one.has_cells or one.has_two_roots for one in series):
        return sorted(found)
    order = max(one.order for one in series)
    root_tied = any(one.quantity in ("train_loss", "gap") for one in series)
    every = {diagram for k in range(order + 1) for diagram in diagrams(k, root_tied=root_tied)}
    return sorted(found | every if len(found) >= _NEARLY_ALL * len(every) else found)


def _no_goals(values: Mapping[Diagram, np.ndarray]) -> list[Goal]:
    return []


def series_by_root(
    quantity: str, landscape: Landscape, spacetime: Spacetime, order: int, optimizer: Optimizer = PLAIN
) -> dict[str, tuple[int, Series]]:
    """Return the series whose sum is the quantity, by where its untied roots are measured, with their signs."""
    # The terms of a variance that cancel between moments are not there in cumulants.
    options: dict[str, Any] = {"per_use_noise": landscape.per_use_noise}
    if is_spread(quantity):
        options |= {
            "basis": "cumulant",
            "reading": "conditional" if landscape.reading == "conditional" else "population",
        }
    return {
        root: (
            sign,
            expand(name, order=order, spacetime=spacetime, optimizer=optimizer, **options),
        )
        for root, (sign, name) in roots_of(quantity, landscape.reading).items()
    }


def roots_of(quantity: str, reading: str) -> dict[str, tuple[int, str]]:
    """Return where untied roots are measured, each with the sign and the name of its series."""
    if isinstance(quantity, (Measurement, Variance)):
        return {MEASURED: (1, quantity)}
    if quantity == "covariance_trace":
        return {JOINED: (1, quantity)}
    if reading != "conditional" or quantity != "gap":
        return {"train" if quantity in ("train_loss", "train_loss_variance") else "test": (1, quantity)}
    return {"test": (1, "test_loss"), "train": (-1, "train_loss")}


def coefficients_of(series: Series, values: Values) -> np.ndarray:
    """Return the coefficient of every power of η, one replicate in each row, shape (replicates, order + 1)."""
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


@dataclass(frozen=True)
class _Allowed:
    """Standard errors that are small enough: of the prediction at every rate, and of every coefficient."""

    at_rates: np.ndarray
    of_coefficients: np.ndarray


def _allowed(coefficients: np.ndarray, trees: np.ndarray, rates: np.ndarray, rtol: float | None) -> _Allowed:
    """Return what is small enough, from replicates of the coefficients and what every tree adds to them."""
    uncancelled = np.sqrt(np.sum(trees**2, axis=1))
    orders = Orders(*mean_and_stderr(coefficients), np.zeros(len(uncancelled)), uncancelled)
    change = np.abs(rates[:, None] ** np.arange(1, len(uncancelled)) @ orders.coefficients[1:])
    at_rates = (_RTOL if rtol is None else rtol) * change
    if rtol is None:
        at_rates = np.maximum(at_rates, _OF_TRUNCATION * orders.next_term(rates))
    return _Allowed(at_rates, _OF_COEFFICIENT * np.maximum(orders.sizes, uncancelled / 2))


def _goals(questions: Sequence[Question], rtol: float | None, values: Mapping[Diagram, np.ndarray]) -> list[Goal]:
    """Return how precise predictions and coefficients have to be, from the values of their one root so far."""
    goals = []
    for question in questions:
        ((_, series),) = question.parts.values()
        known = Values({diagram: values[diagram] for diagram in series}, "moment")
        allowed = _allowed(coefficients_of(series, known), by_tree(series, known), question.rates, rtol)
        orders = [{diagram: float(c) for diagram, c in series.of_order(k).items()} for k in range(series.order + 1)]
        for rate, error in zip(question.rates, allowed.at_rates, strict=True):
            weights: dict[Diagram, float] = {}
            for k, of_order in enumerate(orders):
                for diagram, weight in of_order.items():
                    weights[diagram] = weights.get(diagram, 0.0) + weight * rate**k
            goals.append(Goal(weights, float(error)))
        goals += [Goal(of_order, float(e)) for of_order, e in zip(orders, allowed.of_coefficients, strict=True)][1:]
    return goals


def _excess(question: Question, found: Mapping[str, Values], rtol: float | None) -> float:
    """Return by how much the variance exceeds what is allowed, where it is worst, for a sum of several roots."""
    coefficients = sum(sign * coefficients_of(series, found[root]) for root, (sign, series) in question.parts.items())
    trees = sum(sign * by_tree(series, found[root]) for root, (sign, series) in question.parts.items())
    assert isinstance(coefficients, np.ndarray)
    assert isinstance(trees, np.ndarray)
    allowed = _allowed(coefficients, trees, question.rates, rtol)
    at_rates = mean_and_stderr(coefficients @ (question.rates[:, None] ** np.arange(coefficients.shape[1])).T)[1]
    errors = np.concatenate([at_rates, mean_and_stderr(coefficients)[1][1:]])
    enough = np.concatenate([allowed.at_rates, allowed.of_coefficients[1:]])
    excess = np.divide(errors, enough, out=np.full(len(errors), np.inf), where=enough > 0)
    return float(np.max(np.where(errors > 0, excess, 0.0)) ** 2)
