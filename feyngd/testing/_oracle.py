"""The oracle: exact series of SGD by running it on every training set in every order.

Diagrams, embeddings, kernels and closed forms do not appear here. Steps are taken literally, in truncated power series
in η with rational coefficients, and the expectation is a finite sum over all training sets and all draws of batches.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from ..optimizers import PLAIN, Optimizer
from ..spacetimes import Spacetime, check_spacetime
from ._enumerated_runs import (
    Kinds,
    Point,
    Run,
    Runner,
    check_options,
    check_power,
    check_reading,
    check_work,
    mean_of,
    substitute,
    weighted_runs,
    with_noise,
)
from ._literal_steps import LiteralOptimizer, State, begin, measured_point, take_step
from ._polynomials import NoisyLandscape, Polynomial, PolynomialLandscape, combine


def exact_series(
    quantity: str,
    landscape: PolynomialLandscape | NoisyLandscape,
    theta: Sequence[Any],
    spacetime: Spacetime,
    order: int,
    *,
    reading: str = "population",
    test: PolynomialLandscape | None = None,
    optimizer: Optimizer = PLAIN,
) -> tuple[Fraction, ...]:
    """Return the exact Taylor coefficients in η of an expected loss after SGD, by enumeration.

    The work grows like (kinds of datapoints)^N times the number of distinct runs: keep N and T small.

    In the population reading, training sets are independent draws. In the unbiased reading, a training set is N
    distinct losses of the landscape, tested on the others. In the conditional reading, the training set is all losses
    of the landscape, each once, tested on another landscape.

    Velocities and averages of an optimizer are kept step by step. Its floats stand for the fractions that their bits
    are: 0.1 is not 1/10.

    Args:
        quantity: "test_loss", "train_loss" or "gap".
        landscape: the population of polynomial losses. Where it draws noise at every use, all outcomes of the noise of
            every slot of every batch are gone through, and what is measured is the mean over the noise.
        theta: the starting point, rational coordinates.
        spacetime: a concrete spacetime.
        order: the highest power of η.
        reading: "population", "unbiased" or "conditional".
        test: the test losses of the conditional reading. In any reading, for "test_loss", the mean of these is measured
            in its place: a polynomial of your own.
        optimizer: made by `sgd`, `momentum`, `schedule`, `averaged` or `preconditioned`, without symbols. A metric is
            one number, or one for each coordinate of θ.

    Returns:
        The coefficients of η⁰ … η^order.

    Raises:
        ArgumentError: the quantity is unknown, the order is not an integer ≥ 0, there is too much to enumerate, or
            the reading does not suit the landscape, the spacetime or `test`; or the optimizer has symbols, was measured
            by `from_optax`, or has a schedule, average or metric of the wrong length.
        SpacetimeError: the spacetime has symbols.
        LandscapeError: θ has the wrong number of coordinates.

    Examples:
        >>> import feyngd as fd
        >>> landscape = fd.testing.PolynomialLandscape([{(2,): 1, (1,): 1}, {(2,): 1, (1,): -1}])
        >>> fd.testing.exact_series("gap", landscape, [0], fd.Spacetime.sgd(N=2), order=1)
        (Fraction(0, 1), Fraction(1, 1))
    """
    check_options(quantity, order, spacetime)
    noisy = landscape if isinstance(landscape, NoisyLandscape) else None
    known = landscape.means if isinstance(landscape, NoisyLandscape) else landscape
    check_reading(reading, known, spacetime, test, quantity)
    visits = int(spacetime.B) * int(spacetime.T)
    outcomes = 1 if noisy is None else max(map(len, noisy.numbers)) ** visits
    check_work(1 if reading == "conditional" else len(known.losses), spacetime, outcomes)
    steps = LiteralOptimizer.read(optimizer, int(spacetime.T), known.dimensions)
    runner = _Runner(known if noisy is None else noisy.flat, theta, order, steps)
    total = [Fraction(0)] * (order + 1)
    runs = weighted_runs(known, spacetime, reading)
    for training_set, run, probability in runs if noisy is None else with_noise(runs, noisy):
        end = runner.measured_after(run)
        measured = measure(quantity, known, training_set, reading, test)
        for power, value in enumerate(substitute(measured, end, order)):
            total[power] += probability * value
    return tuple(total)


def exact_displacement(
    landscape: PolynomialLandscape,
    theta: Sequence[Any],
    spacetime: Spacetime,
    order: int,
    *,
    optimizer: Optimizer = PLAIN,
) -> tuple[tuple[Fraction, ...], ...]:
    """Return the exact Taylor coefficients in η of E[θ_T − θ_0], by enumeration, in the population reading.

    Where the optimizer averages iterates, the average takes the place of θ_T.

    Args:
        landscape: the population of polynomial losses.
        theta: the starting point, rational coordinates.
        spacetime: a concrete spacetime.
        order: the highest power of η.
        optimizer: as in `exact_series`.

    Returns:
        For every coordinate of θ the coefficients of η⁰ … η^order.

    Raises:
        ArgumentError: the order is not an integer ≥ 0, there is too much to enumerate, or the optimizer has symbols,
            was measured by `from_optax`, or has a schedule, average or metric of the wrong length.
        SpacetimeError: the spacetime has symbols.
        LandscapeError: θ has the wrong number of coordinates.

    Examples:
        The velocity keeps half of the first gradient, 2, at the second step: θ_1 = 1 − 2η, θ_2 = θ_1 − η (1 + 2θ_1).

        >>> import feyngd as fd
        >>> bowl, heavy = fd.testing.PolynomialLandscape([{(2,): 1}]), fd.momentum(Fraction(1, 2))
        >>> fd.testing.exact_displacement(bowl, [1], fd.Spacetime.gd(N=1, T=2), order=2, optimizer=heavy)
        ((Fraction(0, 1), Fraction(-5, 1), Fraction(4, 1)),)
    """
    check_power(order)
    check_spacetime(spacetime, concrete="SGD can be enumerated")
    check_work(len(landscape.losses), spacetime)
    runner = runner_of(landscape, theta, order, optimizer, spacetime)
    total = [[-value for value in coordinate] for coordinate in runner.start]
    for _, run, probability in weighted_runs(landscape, spacetime, "population"):
        for coordinate, end in zip(total, runner.measured_after(run), strict=True):
            for power, value in enumerate(end):
                coordinate[power] += probability * value
    return tuple(map(tuple, total))


def measure(
    quantity: str, landscape: PolynomialLandscape, training_set: Kinds, reading: str, test: PolynomialLandscape | None
) -> Polynomial:
    """Return what is measured at the end of a run on a training set, a polynomial in θ."""
    train = mean_of([landscape.losses[kind] for kind in training_set])
    if reading == "unbiased" and test is None:
        tested = mean_of([loss for kind, loss in enumerate(landscape.losses) if kind not in training_set])
    else:
        tested = landscape.mean if test is None else test.mean
    if quantity == "gap":
        return combine([(Fraction(1), tested), (Fraction(-1), train)])
    return tested if quantity == "test_loss" else train


def runner_of(
    landscape: PolynomialLandscape, theta: Sequence[Any], order: int, optimizer: Optimizer, spacetime: Spacetime
) -> "_Runner":
    """Return what takes the steps of an optimizer on a concrete spacetime."""
    steps = LiteralOptimizer.read(optimizer, int(spacetime.T), landscape.dimensions)
    return _Runner(landscape, theta, order, steps)


class _Runner(Runner[State]):
    """Takes the steps of an optimizer in power series in η."""

    def __init__(
        self, landscape: PolynomialLandscape, theta: Sequence[Any], order: int, optimizer: LiteralOptimizer
    ) -> None:
        self._optimizer = optimizer
        super().__init__(landscape, theta, order)

    def measured_after(self, run: Run) -> Point:
        """Return where the loss is measured after a run."""
        return measured_point(self._optimizer, self.after(run))

    def _begin(self) -> State:
        return begin(self._optimizer, self.start)

    def _moved(self, before: State, batch_gradient: list[Polynomial], step: int) -> State:
        gradient = [substitute(partial, before.point, self._order) for partial in batch_gradient]
        return take_step(self._optimizer, before, gradient, step)
