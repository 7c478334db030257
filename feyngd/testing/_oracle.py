"""The oracle: exact series of SGD by running it on every training set in every order.

Nothing here knows of diagrams, embeddings or closed forms. Steps are taken in truncated power series in η with rational
coefficients, and the expectation is a finite sum over all training sets and all draws of batches.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import permutations, product
from math import factorial
from typing import Any

from ..errors import ArgumentError
from ..spacetimes import Spacetime
from ._polynomials import Polynomial, PolynomialLandscape, combine, differentiate

Kinds = tuple[int, ...]  # the kinds of datapoints in a batch or a training set, sorted
PowerSeries = list[Fraction]

_MAX_WORK = 5_000_000


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

    In the population reading training sets are independent draws. In the unbiased reading they are N distinct losses
    of the landscape, tested on the others. In the conditional reading the training set is all losses of the landscape,
    each once, tested on another landscape.

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
            the reading does not fit the landscape, the spacetime or `test`.
        SpacetimeError: the spacetime has symbols.
        LandscapeError: θ has the wrong number of coordinates.

    Examples:
        >>> import feyngd as fd
        >>> landscape = fd.testing.PolynomialLandscape([{(2,): 1, (1,): 1}, {(2,): 1, (1,): -1}])
        >>> fd.testing.exact_series("gap", landscape, [0], fd.Spacetime.sgd(N=2), order=1)
        (Fraction(0, 1), Fraction(1, 1))
    """
    if quantity not in ("test_loss", "train_loss", "gap"):
        raise ArgumentError(f"Unknown quantity {quantity!r}. Known: 'test_loss', 'train_loss', 'gap'.")
    if isinstance(order, bool) or not isinstance(order, int) or order < 0:
        raise ArgumentError(f"The order is an integer ≥ 0, got {order!r}.")
    spacetime.require_concrete("SGD can be enumerated")
    _check_reading(reading, landscape, spacetime, test)
    _check_work(1 if reading == "conditional" else len(landscape.losses), spacetime)
    start = tuple([coordinate] + [Fraction(0)] * order for coordinate in landscape.check_point(theta))
    runner = _Runner(landscape, start, order)
    total = [Fraction(0)] * (order + 1)
    for training_set, run, probability in _weighted_runs(landscape, spacetime, reading):
        end = runner.after(run)
        measured = _measure(quantity, landscape, training_set, reading, test)
        for power, value in enumerate(_at(measured, end, order)):
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
    if isinstance(order, bool) or not isinstance(order, int) or order < 0:
        raise ArgumentError(f"The order is an integer ≥ 0, got {order!r}.")
    spacetime.require_concrete("SGD can be enumerated")
    _check_work(len(landscape.losses), spacetime)
    start = tuple([coordinate] + [Fraction(0)] * order for coordinate in landscape.check_point(theta))
    runner = _Runner(landscape, start, order)
    total = [[-value for value in coordinate] for coordinate in start]
    for _, run, probability in _weighted_runs(landscape, spacetime, "population"):
        for coordinate, end in zip(total, runner.after(run), strict=True):
            for power, value in enumerate(end):
                coordinate[power] += probability * value
    return tuple(map(tuple, total))


def _check_work(kinds: int, spacetime: Spacetime) -> None:
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


def _check_reading(
    reading: str, landscape: PolynomialLandscape, spacetime: Spacetime, test: PolynomialLandscape | None
) -> None:
    if reading not in ("population", "unbiased", "conditional"):
        raise ArgumentError(f"Unknown reading {reading!r}. Known: 'population', 'unbiased', 'conditional'.")
    if (test is not None) != (reading == "conditional"):
        raise ArgumentError(
            f"The conditional reading, and no other, has test losses; got {reading!r} and test={test!r}."
        )
    count = len(landscape.losses)
    if reading != "population" and len(set(landscape.weights)) > 1:
        raise ArgumentError(f"In the {reading} reading every loss is one datapoint: give all the same weight.")
    N = int(spacetime.N)
    if reading == "unbiased" and count <= N:
        raise ArgumentError(f"The unbiased reading needs N < {count}, to leave losses for the test; got N={N}.")
    if reading == "conditional" and count != N:
        raise ArgumentError(f"The conditional reading needs N = {count}, all losses; got N={N}.")


def _measure(
    quantity: str, landscape: PolynomialLandscape, training_set: Kinds, reading: str, test: PolynomialLandscape | None
) -> Polynomial:
    train = _mean([landscape.losses[kind] for kind in training_set])
    if reading == "unbiased":
        tested = _mean([loss for kind, loss in enumerate(landscape.losses) if kind not in training_set])
    else:
        tested = landscape.mean if test is None else test.mean
    if quantity == "gap":
        return combine([(Fraction(1), tested), (Fraction(-1), train)])
    return tested if quantity == "test_loss" else train


def _mean(losses: Sequence[Polynomial]) -> Polynomial:
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


def _weighted_runs(
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
    """Return the distribution of independent draws strung together."""
    runs: dict[tuple[Kinds, ...], Fraction] = {(): Fraction(1)}
    for _ in range(times):
        longer: dict[tuple[Kinds, ...], Fraction] = {}
        for run, p in runs.items():
            for piece, q in pieces.items():
                longer[run + piece] = longer.get(run + piece, Fraction(0)) + p * q
        runs = longer
    return runs


class _Runner:
    """Runs SGD along sequences of batches, remembering the iterate after every prefix."""

    def __init__(self, landscape: PolynomialLandscape, start: tuple[PowerSeries, ...], order: int) -> None:
        self._order, self._coordinates = order, range(landscape.dimensions)
        self._gradients = [[differentiate(loss, c) for c in self._coordinates] for loss in landscape.losses]
        self._after: dict[tuple[Kinds, ...], tuple[PowerSeries, ...]] = {(): start}
        self._batch_gradients: dict[Kinds, list[Polynomial]] = {}

    def after(self, run: tuple[Kinds, ...]) -> tuple[PowerSeries, ...]:
        if run not in self._after:
            before, batch = self.after(run[:-1]), run[-1]
            if batch not in self._batch_gradients:
                share = Fraction(1, len(batch))
                self._batch_gradients[batch] = [
                    combine((share, self._gradients[kind][c]) for kind in batch) for c in self._coordinates
                ]
            moved = []
            for coordinate, gradient in zip(before, self._batch_gradients[batch], strict=True):
                push = _at(gradient, before, self._order)
                moved.append([old - new for old, new in zip(coordinate, [Fraction(0), *push], strict=False)])
            self._after[run] = tuple(moved)
        return self._after[run]


def _at(polynomial: Polynomial, point: tuple[PowerSeries, ...], order: int) -> PowerSeries:
    """Evaluate a polynomial at a point whose coordinates are truncated power series."""
    powers: list[list[PowerSeries]] = []
    for c, coordinate in enumerate(point):
        ladder = [[Fraction(1)] + [Fraction(0)] * order]
        for _ in range(max((exponents[c] for exponents in polynomial), default=0)):
            ladder.append(_times(ladder[-1], coordinate))
        powers.append(ladder)
    total = [Fraction(0)] * (order + 1)
    for exponents, value in polynomial.items():
        term = [value] + [Fraction(0)] * order
        for ladder, exponent in zip(powers, exponents, strict=True):
            if exponent:
                term = _times(term, ladder[exponent])
        for power, part in enumerate(term):
            total[power] += part
    return total


def _times(a: PowerSeries, b: PowerSeries) -> PowerSeries:
    product_ = [Fraction(0)] * len(a)
    for i, x in enumerate(a):
        if x:
            for j in range(len(a) - i):
                if b[j]:
                    product_[i + j] += x * b[j]
    return product_
