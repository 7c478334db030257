"""What the exact oracles share: enumeration of training sets and runs, and truncated power series.

Diagrams, embeddings and closed forms do not appear here. Expectations are finite sums over all training sets and all
draws of batches, and iterates are power series with rational coefficients, truncated at some power.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import permutations, product
from math import factorial
from typing import Any

from ..errors import ArgumentError
from ..quantities import check_quantity
from ..spacetimes import Spacetime, check_spacetime
from ._polynomials import Polynomial, PolynomialLandscape, combine, differentiate

Kinds = tuple[int, ...]  # the kinds of datapoints in a batch or a training set, sorted
PowerSeries = list[Fraction]

# Training sets times runs, which took 20 to 70 µs each on losses of two coordinates at order 3: minutes in all.
_MAX_WORK = 5_000_000


def check_options(quantity: str, order: Any, spacetime: Spacetime) -> None:
    """Raise an error unless the quantity is known, the order is an integer and the spacetime has numbers."""
    check_quantity(quantity)
    check_power(order)
    check_spacetime(spacetime, concrete="SGD can be enumerated")


def check_power(order: Any) -> None:
    """Raise `ArgumentError` unless the order is an integer ≥ 0."""
    if isinstance(order, bool) or not isinstance(order, int) or order < 0:
        raise ArgumentError(f"The order is an integer ≥ 0, got {order!r}.")


def check_work(kinds: int, spacetime: Spacetime) -> None:
    """Raise `ArgumentError` if enumeration would take minutes."""
    N, B, T = int(spacetime.N), int(spacetime.B), int(spacetime.T)
    listed = runs = 1
    if spacetime.sampling == "reshuffled":
        listed, epochs = factorial(N), T * B // N
        runs = (factorial(N) // factorial(B) ** (N // B)) ** epochs
    elif spacetime.sampling == "with-replacement":
        listed, runs = N**B, N ** (B * T)
    work = kinds**N * (listed + min(runs, kinds ** (B * T)))
    if work > _MAX_WORK:
        raise ArgumentError(
            f"Enumerating {kinds} kinds of datapoints on {spacetime} takes about {work:.1e} runs, the limit is "
            f"{_MAX_WORK:.0e}: use fewer points or steps, such as N ≤ 4."
        )


def check_reading(
    reading: str, landscape: PolynomialLandscape, spacetime: Spacetime, test: PolynomialLandscape | None
) -> None:
    """Raise `ArgumentError` unless the reading is known and suits the landscape, the spacetime and the test losses."""
    if reading not in ("population", "unbiased", "conditional"):
        raise ArgumentError(f"Unknown reading {reading!r}. Known: 'population', 'unbiased', 'conditional'.")
    if (test is not None) != (reading == "conditional"):
        raise ArgumentError(
            f"Test losses are given in the conditional reading and in no other; got {reading!r} and test={test!r}."
        )
    count = len(landscape.losses)
    if reading != "population" and len(set(landscape.weights)) > 1:
        raise ArgumentError(f"In the {reading} reading every loss is one datapoint: give all the same weight.")
    N = int(spacetime.N)
    if reading == "unbiased" and count <= N:
        raise ArgumentError(f"The unbiased reading needs N < {count}, to leave losses for the test; got N={N}.")
    if reading == "conditional" and count != N:
        raise ArgumentError(f"The conditional reading needs N = {count}, all losses; got N={N}.")
    if test is not None and test.dimensions != landscape.dimensions:
        raise ArgumentError(
            f"Test losses have {test.dimensions} coordinate(s) of θ, the training losses {landscape.dimensions}."
        )


def mean_of(losses: Sequence[Polynomial]) -> Polynomial:
    """Return the mean of losses."""
    return combine((Fraction(1, len(losses)), loss) for loss in losses)


def _training_sets(landscape: PolynomialLandscape, N: int, reading: str) -> Iterator[tuple[Kinds, Fraction]]:
    """Iterate over training sets, in order of their datapoints, with their probabilities."""
    kinds = range(len(landscape.losses))
    if reading == "population":
        for drawn in product(kinds, repeat=N):
            chance = Fraction(1)
            for kind in drawn:
                chance *= landscape.weights[kind]
            yield drawn, chance
        return
    distinct = [tuple(kinds)] if reading == "conditional" else list(permutations(kinds, N))
    for drawn in distinct:
        yield drawn, Fraction(1, len(distinct))


def weighted_runs(
    landscape: PolynomialLandscape, spacetime: Spacetime, reading: str
) -> Iterator[tuple[Kinds, tuple[Kinds, ...], Fraction]]:
    """Iterate over training sets, up to order, with every distinct run on them and its probability."""
    together: dict[tuple[Kinds, tuple[Kinds, ...]], Fraction] = {}
    for training_set, chance in _training_sets(landscape, int(spacetime.N), reading):
        for run, probability in _runs(training_set, spacetime).items():
            key = (tuple(sorted(training_set)), run)
            together[key] = together.get(key, Fraction(0)) + chance * probability
    for (members, run), probability in together.items():
        yield members, run, probability


def _runs(training_set: Kinds, spacetime: Spacetime) -> dict[tuple[Kinds, ...], Fraction]:
    """Return the distinct runs on a training set, each a sequence of batches of kinds, with their probabilities."""
    N, B, T = len(training_set), int(spacetime.B), int(spacetime.T)

    def batch(points: Sequence[int]) -> Kinds:
        return tuple(sorted(training_set[n] for n in points))

    if spacetime.explicit is not None:
        return {tuple(batch(points) for points in spacetime.explicit): Fraction(1)}
    if spacetime.sampling == "full-batch":
        return {(batch(range(N)),) * T: Fraction(1)}
    if spacetime.sampling == "with-replacement":
        draws = _distribution((batch(points),) for points in product(range(N), repeat=B))
        return _repeat(draws, T)
    epochs, length = T * B // N, N // B
    if spacetime.sampling == "fixed":
        epoch = tuple(batch(range(i * B, (i + 1) * B)) for i in range(length))
        return {epoch * epochs: Fraction(1)}
    shuffles = _distribution(
        tuple(batch(order[i * B : (i + 1) * B]) for i in range(length)) for order in permutations(range(N))
    )
    return _repeat(shuffles, epochs)


def _distribution(outcomes: Iterator[tuple[Kinds, ...]]) -> dict[tuple[Kinds, ...], Fraction]:
    counts = Counter(outcomes)
    return {outcome: Fraction(times, counts.total()) for outcome, times in counts.items()}


def _repeat(pieces: dict[tuple[Kinds, ...], Fraction], times: int) -> dict[tuple[Kinds, ...], Fraction]:
    """Return the distribution of a number of independent draws in a row."""
    runs: dict[tuple[Kinds, ...], Fraction] = {(): Fraction(1)}
    for _ in range(times):
        longer: dict[tuple[Kinds, ...], Fraction] = {}
        for run, p in runs.items():
            for piece, q in pieces.items():
                longer[run + piece] = longer.get(run + piece, Fraction(0)) + p * q
        runs = longer
    return runs


class Runner(ABC):
    """Runs SGD along sequences of batches and remembers the iterate after every prefix.

    Args:
        landscape: the population of polynomial losses.
        theta: the starting point, rational coordinates.
        order: the highest power that iterates are kept to.
    """

    def __init__(self, landscape: PolynomialLandscape, theta: Sequence[Any], order: int) -> None:
        self._order, self._coordinates = order, range(landscape.dimensions)
        self.start = tuple([coordinate] + [Fraction(0)] * order for coordinate in landscape.check_point(theta))
        self._gradients = [gradient(loss, landscape.dimensions) for loss in landscape.losses]
        self._after: dict[tuple[Kinds, ...], tuple[PowerSeries, ...]] = {(): self.start}
        self._batch_gradients: dict[Kinds, list[Polynomial]] = {}

    def after(self, run: tuple[Kinds, ...]) -> tuple[PowerSeries, ...]:
        """Return the iterate after a run."""
        if run not in self._after:
            before, batch = self.after(run[:-1]), run[-1]
            self._after[run] = self._moved(before, self._batch_gradient(batch), len(run) - 1)
        return self._after[run]

    @abstractmethod
    def _moved(
        self, before: tuple[PowerSeries, ...], batch_gradient: list[Polynomial], step: int
    ) -> tuple[PowerSeries, ...]:
        """Return the iterate after a step, from the iterate before it and the gradient of the batch's mean loss."""

    def _batch_gradient(self, batch: Kinds) -> list[Polynomial]:
        if batch not in self._batch_gradients:
            self._batch_gradients[batch] = [
                mean_of([self._gradients[kind][c] for kind in batch]) for c in self._coordinates
            ]
        return self._batch_gradients[batch]


def gradient(loss: Polynomial, dimensions: int) -> list[Polynomial]:
    """Return the partial derivatives of a loss."""
    return [differentiate(loss, c) for c in range(dimensions)]


def substitute(polynomial: Polynomial, point: tuple[PowerSeries, ...], order: int) -> PowerSeries:
    """Evaluate a polynomial at a point whose coordinates are truncated power series."""
    powers: list[list[PowerSeries]] = []
    for c, coordinate in enumerate(point):
        ladder = [[Fraction(1)] + [Fraction(0)] * order]
        for _ in range(max((exponents[c] for exponents in polynomial), default=0)):
            ladder.append(times(ladder[-1], coordinate))
        powers.append(ladder)
    total = [Fraction(0)] * (order + 1)
    for exponents, value in polynomial.items():
        term = [value] + [Fraction(0)] * order
        for ladder, exponent in zip(powers, exponents, strict=True):
            if exponent:
                term = times(term, ladder[exponent])
        for power, part in enumerate(term):
            total[power] += part
    return total


def times(a: PowerSeries, b: PowerSeries) -> PowerSeries:
    """Return the truncated product of power series."""
    product_ = [Fraction(0)] * len(a)
    for i, x in enumerate(a):
        if x:
            for j in range(len(a) - i):
                if b[j]:
                    product_[i + j] += x * b[j]
    return product_
