"""The oracle of variances: exact series of second moments over runs of SGD, by enumeration."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from ..errors import ArgumentError
from ..optimizers import PLAIN, Optimizer
from ..spacetimes import Spacetime, check_spacetime
from ._enumerated_runs import PowerSeries, check_power, check_reading, check_work, substitute, weighted_runs
from ._oracle import measure, runner_of
from ._polynomials import PolynomialLandscape

_MEASURED = {
    "test_loss_variance": "test_loss",
    "test_loss_second_moment": "test_loss",
    "train_loss_variance": "train_loss",
}


def exact_variance(
    quantity: str,
    landscape: PolynomialLandscape,
    theta: Sequence[Any],
    spacetime: Spacetime,
    order: int,
    *,
    reading: str = "population",
    test: PolynomialLandscape | None = None,
    optimizer: Optimizer = PLAIN,
) -> tuple[Fraction, ...]:
    """Return the exact Taylor coefficients in η of a variance over runs of SGD, by enumeration.

    Every training set is gone through and every draw of batches, and the loss after each, a power series in η, is
    squared. The expectation is over both, in the conditional reading over batches alone.

    Args:
        quantity: "test_loss_variance", "test_loss_second_moment" or "train_loss_variance".
        landscape, theta, spacetime, order, optimizer: as in `exact_series`.
        reading: "population" or "conditional".
        test: the test losses of the conditional reading; in the population reading, for the test loss, a polynomial of
            your own that takes its place.

    Returns:
        The coefficients of η⁰ … η^order.

    Raises:
        ArgumentError: the quantity or reading is unknown, or as in `exact_series`.
        SpacetimeError: the spacetime has symbols.
        LandscapeError: θ has the wrong number of coordinates.

    Examples:
        One step on one of two points: θ is η or −η, and so is the loss θ² + θ to first order.

        >>> import feyngd as fd
        >>> landscape = fd.testing.PolynomialLandscape([{(2,): 1, (1,): 1}, {(2,): 1, (1,): -1}])
        >>> theta = fd.testing.PolynomialLandscape([{(1,): 1}])
        >>> S = fd.Spacetime.sgd(N=1)
        >>> fd.testing.exact_variance("test_loss_variance", landscape, [0], S, order=2, test=theta)
        (Fraction(0, 1), Fraction(0, 1), Fraction(1, 1))
    """
    if quantity not in _MEASURED:
        raise ArgumentError(f"Unknown variance {quantity!r}. Known: {', '.join(map(repr, _MEASURED))}.")
    if reading == "unbiased":
        raise ArgumentError("Runs on one sample share its points: give reading='population' or 'conditional'.")
    of = _MEASURED[quantity]
    check_power(order)
    check_spacetime(spacetime, concrete="SGD can be enumerated")
    check_reading(reading, landscape, spacetime, test, of)
    check_work(1 if reading == "conditional" else len(landscape.losses), spacetime)
    runner = runner_of(landscape, theta, order, optimizer, spacetime)
    mean, squared = [Fraction(0)] * (order + 1), [Fraction(0)] * (order + 1)
    for training_set, run, probability in weighted_runs(landscape, spacetime, reading):
        found = substitute(measure(of, landscape, training_set, reading, test), runner.measured_after(run), order)
        for power, value in enumerate(found):
            mean[power] += probability * value
        for power, value in enumerate(_product(found, found)):
            squared[power] += probability * value
    if quantity == "test_loss_second_moment":
        return tuple(squared)
    return tuple(square - taken for square, taken in zip(squared, _product(mean, mean), strict=True))


def exact_covariance(
    landscape: PolynomialLandscape,
    theta: Sequence[Any],
    spacetime: Spacetime,
    order: int,
    *,
    optimizer: Optimizer = PLAIN,
) -> tuple[tuple[tuple[Fraction, ...], ...], ...]:
    """Return the exact Taylor coefficients in η of Cov(θ_T), by enumeration, in the population reading.

    Where the optimizer averages iterates, the average takes the place of θ_T.

    Args:
        landscape, theta, spacetime, order, optimizer: as in `exact_displacement`.

    Returns:
        For every pair of coordinates of θ the coefficients of η⁰ … η^order.

    Raises:
        ArgumentError, SpacetimeError, LandscapeError: as in `exact_displacement`.

    Examples:
        >>> import feyngd as fd
        >>> landscape = fd.testing.PolynomialLandscape([{(2,): 1, (1,): 1}, {(2,): 1, (1,): -1}])
        >>> fd.testing.exact_covariance(landscape, [0], fd.Spacetime.sgd(N=1), order=2)
        (((Fraction(0, 1), Fraction(0, 1), Fraction(1, 1)),),)
    """
    check_power(order)
    check_spacetime(spacetime, concrete="SGD can be enumerated")
    check_work(len(landscape.losses), spacetime)
    runner = runner_of(landscape, theta, order, optimizer, spacetime)
    size = landscape.dimensions
    mean = [[Fraction(0)] * (order + 1) for _ in range(size)]
    squared = [[[Fraction(0)] * (order + 1) for _ in range(size)] for _ in range(size)]
    for _, run, probability in weighted_runs(landscape, spacetime, "population"):
        end = runner.measured_after(run)
        for i in range(size):
            for power, value in enumerate(end[i]):
                mean[i][power] += probability * value
            for j in range(size):
                for power, value in enumerate(_product(end[i], end[j])):
                    squared[i][j][power] += probability * value
    return tuple(
        tuple(
            tuple(square - taken for square, taken in zip(squared[i][j], _product(mean[i], mean[j]), strict=True))
            for j in range(size)
        )
        for i in range(size)
    )


def _product(one: Sequence[Fraction], other: Sequence[Fraction]) -> PowerSeries:
    """Return the product of two power series, truncated as they are."""
    return [sum((one[k] * other[n - k] for k in range(n + 1)), Fraction(0)) for n in range(len(one))]
