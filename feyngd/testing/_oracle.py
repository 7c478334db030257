"""The oracle: exact series of SGD by running it on every training set in every order.

Diagrams, embeddings and closed forms do not appear here. Steps are taken in truncated power series in η with rational
coefficients, and the expectation is a finite sum over all training sets and all draws of batches.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from ..spacetimes import Spacetime, check_spacetime
from ._enumerated_runs import (
    Kinds,
    PowerSeries,
    Runner,
    check_options,
    check_power,
    check_reading,
    check_work,
    mean_of,
    substitute,
    weighted_runs,
)
from ._polynomials import Polynomial, PolynomialLandscape, combine


def exact_series(
    quantity: str,
    landscape: PolynomialLandscape,
    theta: Sequence[Any],
    spacetime: Spacetime,
    order: int,
    *,
    reading: str = "population",
    test: PolynomialLandscape | None = None,
) -> tuple[Fraction, ...]:
    """Return the exact Taylor coefficients in η of an expected loss after SGD, by enumeration.

    The work grows like (kinds of datapoints)^N times the number of distinct runs: keep N and T small.

    In the population reading, training sets are independent draws. In the unbiased reading, a training set is N
    distinct losses of the landscape, tested on the others. In the conditional reading, the training set is all losses
    of the landscape, each once, tested on another landscape.

    Args:
        quantity: "test_loss", "train_loss" or "gap".
        landscape: the population of polynomial losses.
        theta: the starting point, rational coordinates.
        spacetime: a concrete spacetime.
        order: the highest power of η.
        reading: "population", "unbiased" or "conditional".
        test: the test losses of the conditional reading.

    Returns:
        The coefficients of η⁰ … η^order.

    Raises:
        ArgumentError: the quantity is unknown, the order is not an integer ≥ 0, there is too much to enumerate, or
            the reading does not suit the landscape, the spacetime or `test`.
        SpacetimeError: the spacetime has symbols.
        LandscapeError: θ has the wrong number of coordinates.

    Examples:
        >>> import feyngd as fd
        >>> landscape = fd.testing.PolynomialLandscape([{(2,): 1, (1,): 1}, {(2,): 1, (1,): -1}])
        >>> fd.testing.exact_series("gap", landscape, [0], fd.Spacetime.sgd(N=2), order=1)
        (Fraction(0, 1), Fraction(1, 1))
    """
    check_options(quantity, order, spacetime)
    check_reading(reading, landscape, spacetime, test)
    check_work(1 if reading == "conditional" else len(landscape.losses), spacetime)
    runner = _Runner(landscape, theta, order)
    total = [Fraction(0)] * (order + 1)
    for training_set, run, probability in weighted_runs(landscape, spacetime, reading):
        end = runner.after(run)
        measured = _measure(quantity, landscape, training_set, reading, test)
        for power, value in enumerate(substitute(measured, end, order)):
            total[power] += probability * value
    return tuple(total)


def exact_displacement(
    landscape: PolynomialLandscape, theta: Sequence[Any], spacetime: Spacetime, order: int
) -> tuple[tuple[Fraction, ...], ...]:
    """Return the exact Taylor coefficients in η of E[θ_T − θ_0], by enumeration, in the population reading.

    Args:
        landscape: the population of polynomial losses.
        theta: the starting point, rational coordinates.
        spacetime: a concrete spacetime.
        order: the highest power of η.

    Returns:
        For every coordinate of θ the coefficients of η⁰ … η^order.

    Raises:
        ArgumentError: the order is not an integer ≥ 0, or there is too much to enumerate.
        SpacetimeError: the spacetime has symbols.
        LandscapeError: θ has the wrong number of coordinates.
    """
    check_power(order)
    check_spacetime(spacetime, concrete="SGD can be enumerated")
    check_work(len(landscape.losses), spacetime)
    runner = _Runner(landscape, theta, order)
    total = [[-value for value in coordinate] for coordinate in runner.start]
    for _, run, probability in weighted_runs(landscape, spacetime, "population"):
        for coordinate, end in zip(total, runner.after(run), strict=True):
            for power, value in enumerate(end):
                coordinate[power] += probability * value
    return tuple(map(tuple, total))


def _measure(
    quantity: str, landscape: PolynomialLandscape, training_set: Kinds, reading: str, test: PolynomialLandscape | None
) -> Polynomial:
    train = mean_of([landscape.losses[kind] for kind in training_set])
    if reading == "unbiased":
        tested = mean_of([loss for kind, loss in enumerate(landscape.losses) if kind not in training_set])
    else:
        tested = landscape.mean if test is None else test.mean
    if quantity == "gap":
        return combine([(Fraction(1), tested), (Fraction(-1), train)])
    return tested if quantity == "test_loss" else train


class _Runner(Runner):
    """Takes steps in power series in η."""

    def _moved(
        self, before: tuple[PowerSeries, ...], batch_gradient: list[Polynomial], step: int
    ) -> tuple[PowerSeries, ...]:
        """Return θ − η ∇l_batch, every coordinate a power series in η."""
        moved = []
        for coordinate, partial in zip(before, batch_gradient, strict=True):
            derivative = substitute(partial, before, self._order)
            moved.append(
                [value - change for value, change in zip(coordinate, [Fraction(0), *derivative], strict=False)]
            )
        return tuple(moved)
