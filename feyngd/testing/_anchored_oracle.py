"""The oracle of whole training runs: exact series in the size of SGD's noise, along the path without noise.

Batch losses are l + ε (l_batch − l). Iterates are truncated power series in ε with rational coefficients, and the
expectation is a finite sum over all training sets and all draws of batches. Weights of the noise and propagators do not
appear here.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from ..errors import ArgumentError
from ..spacetimes import Spacetime
from ._enumerated_runs import (
    Kinds,
    Point,
    PowerSeries,
    Runner,
    check_options,
    check_reading,
    check_work,
    gradient,
    mean_of,
    substitute,
    weighted_runs,
)
from ._polynomials import Polynomial, PolynomialLandscape, combine

READINGS = ("population", "conditional")


def exact_anchored_series(
    quantity: str,
    landscape: PolynomialLandscape,
    theta: Sequence[Any],
    spacetime: Spacetime,
    learning_rate: Any,
    order: int,
    *,
    reading: str = "population",
    test: PolynomialLandscape | None = None,
) -> tuple[Fraction, ...]:
    """Return the exact Taylor coefficients in the size ε of the noise of an expected loss after SGD, by enumeration.

    Batch losses are l + ε (l_batch − l): ε = 0 is gradient descent on l, ε = 1 is SGD. In the population reading l is
    the mean loss of the landscape, training sets are independent draws, and the train loss is l + ε (l_train − l). In
    the conditional reading l is the train loss, the mean of the landscape. The work grows as that of `exact_series`.

    Args:
        quantity: "test_loss", "train_loss" or "gap".
        landscape: the population of polynomial losses.
        theta: the starting point, rational coordinates.
        spacetime: a concrete spacetime.
        learning_rate: η, a rational number, or one for every step.
        order: the highest power of ε.
        reading: "population" or "conditional".
        test: the test losses of the conditional reading.

    Returns:
        The coefficients of ε⁰ … ε^order.

    Raises:
        ArgumentError: an option is invalid, a learning rate is not an exact rational number, there is too much to
            enumerate, or the reading does not suit the landscape, the spacetime or `test`.
        SpacetimeError: the spacetime has symbols.
        LandscapeError: θ has the wrong number of coordinates.

    Examples:
        The gradients 2θ ± 1 are 3 and 1 at θ = 1. A step with η = 1/4 goes half of the way to the minimum, ± 1/4.

        >>> import feyngd as fd
        >>> landscape = fd.testing.PolynomialLandscape([{(2,): 1, (1,): 1}, {(2,): 1, (1,): -1}])
        >>> spacetime = fd.Spacetime.sgd(N=1)
        >>> fd.testing.exact_anchored_series("test_loss", landscape, [1], spacetime, "1/4", order=2)
        (Fraction(1, 4), Fraction(0, 1), Fraction(1, 16))
    """
    check_options(quantity, order, spacetime)
    if reading not in READINGS:
        raise ArgumentError(f"Unknown reading {reading!r}. Known: {', '.join(map(repr, READINGS))}.")
    check_reading(reading, landscape, spacetime, test)
    rates = _rates(learning_rate, int(spacetime.T))
    check_work(1 if reading == "conditional" else len(landscape.losses), spacetime)
    runner = _AnchoredRunner(landscape, theta, order, rates)
    tested = landscape.mean if test is None else test.mean
    total = [Fraction(0)] * (order + 1)
    for training_set, run, probability in weighted_runs(landscape, spacetime, reading):
        end = runner.after(run)
        for power, value in enumerate(_measured(quantity, landscape, tested, training_set, end, order)):
            total[power] += probability * value
    return tuple(total)


def _rates(learning_rate: Any, steps: int) -> tuple[Fraction, ...]:
    """Return the learning rate of every step."""
    several = isinstance(learning_rate, (list, tuple))
    given = list(learning_rate) if several else [learning_rate] * steps
    if len(given) != steps:
        raise ArgumentError(f"Give one learning rate, or one for each of {steps} steps; got {len(given)} of them.")
    exact = []
    for rate in given if several else [learning_rate]:
        if isinstance(rate, (bool, float)):
            raise ArgumentError(f"Learning rates are exact; write Fraction('{rate}') or a string, not {rate!r}.")
        try:
            exact.append(Fraction(rate))
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise ArgumentError(
                f"A learning rate is a rational number such as Fraction(1, 2); got {rate!r}."
            ) from error
    return tuple(exact) if several else tuple(exact * steps)


def _measured(
    quantity: str,
    landscape: PolynomialLandscape,
    tested: Polynomial,
    training_set: Kinds,
    end: Point,
    order: int,
) -> PowerSeries:
    """Return the quantity after a run, a power series in ε."""
    test = substitute(tested, end, order)
    if quantity == "test_loss":
        return test
    deviation = combine(
        [(Fraction(1), mean_of([landscape.losses[kind] for kind in training_set])), (Fraction(-1), landscape.mean)]
    )
    noise = [Fraction(0), *substitute(deviation, end, order)]
    train = [a + b for a, b in zip(substitute(landscape.mean, end, order), noise, strict=False)]
    return train if quantity == "train_loss" else [a - b for a, b in zip(test, train, strict=True)]


class _AnchoredRunner(Runner[Point]):
    """Takes steps of given sizes in power series in ε."""

    def __init__(
        self, landscape: PolynomialLandscape, theta: Sequence[Any], order: int, rates: tuple[Fraction, ...]
    ) -> None:
        super().__init__(landscape, theta, order)
        self._rates, self._mean_gradient = rates, gradient(landscape.mean, landscape.dimensions)

    def _begin(self) -> Point:
        return self.start

    def _moved(self, before: Point, batch_gradient: list[Polynomial], step: int) -> Point:
        """Return θ − η [∇l + ε (∇l_batch − ∇l)], every coordinate a power series in ε."""
        moved = []
        for coordinate, of_batch, of_mean in zip(before, batch_gradient, self._mean_gradient, strict=True):
            mean = substitute(of_mean, before, self._order)
            noise = substitute(combine([(Fraction(1), of_batch), (Fraction(-1), of_mean)]), before, self._order)
            derivative = [a + b for a, b in zip(mean, [Fraction(0), *noise], strict=False)]
            moved.append(
                [value - self._rates[step] * change for value, change in zip(coordinate, derivative, strict=True)]
            )
        return tuple(moved)
