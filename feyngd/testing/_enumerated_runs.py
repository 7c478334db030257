"""What the exact oracles share: enumeration of training sets and runs, and truncated power series.

Diagrams, embeddings and closed forms do not appear here. Expectations are finite sums over all training sets and all
draws of batches, and iterates are power series with rational coefficients, truncated at some power.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import permutations, product
from math import factorial, perm, prod
from typing import Any, Generic, TypeVar

from ..errors import ArgumentError
from ..quantities import check_quantity
from ..spacetimes import Spacetime, check_spacetime
from ._polynomials import NoisyLandscape, Polynomial, PolynomialLandscape, combine, differentiate

Kinds = tuple[int, ...]  # the kinds of datapoints in a batch or a training set, sorted
Run = tuple[Kinds, ...]  # the batch of every step
Runs = dict[Run, Fraction]  # their probabilities
PowerSeries = list[Fraction]
Point = tuple[PowerSeries, ...]  # a point whose coordinates are truncated power series

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


def check_work(kinds: int, spacetime: Spacetime, outcomes: int = 1) -> None:
    """Raise `ArgumentError` if enumeration would take minutes, with so many outcomes of the noise in every run."""
    N, B, T = int(spacetime.N), int(spacetime.B), int(spacetime.T)
    listed, runs, visits = 1, 1, B * T
    if spacetime.sampling == "reshuffled":
        epochs = [tuple(map(len, epoch)) for epoch in _slots_of_epochs(spacetime)]  # the sizes of the batches
        visits = sum(map(sum, epochs))
        listed = sum(perm(N, sum(sizes)) for sizes in set(epochs))
        runs = prod(perm(N, sum(sizes)) // prod(map(factorial, sizes)) for sizes in epochs)
    elif spacetime.sampling == "with-replacement":
        listed, runs = N**B, N**visits
    work = kinds**N * (listed + min(runs, kinds**visits) * outcomes)
    if work > _MAX_WORK:
        noise = f" and {outcomes} outcomes of noise" if outcomes > 1 else ""
        raise ArgumentError(
            f"Enumerating {kinds} kinds of datapoints{noise} on {spacetime} takes about {Decimal(work):.1e} runs, the "
            f"limit is {_MAX_WORK:.0e}: use fewer points or steps, such as N ≤ 4."
        )


def check_reading(
    reading: str,
    landscape: PolynomialLandscape,
    spacetime: Spacetime,
    test: PolynomialLandscape | None,
    quantity: str = "gap",
) -> None:
    """Raise `ArgumentError` unless the reading is known and suits the landscape, the spacetime and the test losses."""
    if reading not in ("population", "unbiased", "conditional"):
        raise ArgumentError(f"Unknown reading {reading!r}. Known: 'population', 'unbiased', 'conditional'.")
    is_needed = reading == "conditional"
    if (test is None and is_needed) or (test is not None and not is_needed and quantity != "test_loss"):
        raise ArgumentError(
            "Test losses are given in the conditional reading; in the others, for the quantity 'test_loss' alone, a "
            f"measurement that takes its place. Got reading={reading!r}, quantity={quantity!r} and test={test!r}."
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
) -> Iterator[tuple[Kinds, Run, Fraction]]:
    """Iterate over training sets, up to order, with every distinct run on them and its probability."""
    together: dict[tuple[Kinds, Run], Fraction] = {}
    for training_set, chance in _training_sets(landscape, int(spacetime.N), reading):
        for run, probability in _runs(training_set, spacetime).items():
            key = (tuple(sorted(training_set)), run)
            together[key] = together.get(key, Fraction(0)) + chance * probability
    for (members, run), probability in together.items():
        yield members, run, probability


def with_noise(
    runs: Iterator[tuple[Kinds, Run, Fraction]], landscape: NoisyLandscape
) -> Iterator[tuple[Kinds, Run, Fraction]]:
    """Iterate over runs with every outcome of the noise: each slot of each batch takes one of its kind's losses.

    Yields:
        The training set, the run with batches of the numbers of losses of `landscape.flat`, and its probability.
    """
    drawn: dict[Kinds, Runs] = {}  # by the batch of a step
    for training_set, run, probability in runs:
        noisy: Runs = {(): Fraction(1)}
        for batch in run:
            if batch not in drawn:
                choices = product(*(landscape.numbers[kind] for kind in batch))
                drawn[batch] = _distribution((tuple(sorted(chosen)),) for chosen in choices)
            noisy = _followed_by(noisy, drawn[batch])
        for steps, chance in noisy.items():
            yield training_set, steps, probability * chance


def _runs(training_set: Kinds, spacetime: Spacetime) -> Runs:
    """Return the distinct runs on a training set, each a sequence of batches of kinds, with their probabilities."""
    N, B, T = len(training_set), int(spacetime.B), int(spacetime.T)

    def batch(points: Sequence[int]) -> Kinds:
        return tuple(sorted(training_set[n] for n in points))

    runs: Runs = {(): Fraction(1)}
    if spacetime.explicit is not None:
        return {tuple(batch(points) for points in spacetime.explicit): Fraction(1)}
    if spacetime.sampling == "full-batch":
        return {(batch(range(N)),) * T: Fraction(1)}
    if spacetime.sampling == "with-replacement":
        draws = _distribution((batch(points),) for points in product(range(N), repeat=B))
        for _ in range(T):
            runs = _followed_by(runs, draws)
        return runs
    epochs = _slots_of_epochs(spacetime)
    if spacetime.sampling == "fixed":
        return {tuple(batch(slots) for epoch in epochs for slots in epoch): Fraction(1)}
    shuffles: dict[int, Runs] = {}  # by the number of steps
    for epoch in epochs:
        if len(epoch) not in shuffles:
            orders = permutations(range(N), epoch[-1].stop)  # the order of the points after the last step is not seen
            shuffles[len(epoch)] = _distribution(
                tuple(batch([order[slot] for slot in slots]) for slots in epoch) for order in orders
            )
        runs = _followed_by(runs, shuffles[len(epoch)])
    return runs


def _slots_of_epochs(spacetime: Spacetime) -> list[list[range]]:
    """Return, for every epoch and every step of it, where in the order of the epoch the points of its batch stand.

    The points after the last full batch are a batch of their own, unless they are dropped; a last epoch may be cut.
    """
    N, B, T = int(spacetime.N), int(spacetime.B), int(spacetime.T)
    epoch = [range(first, min(first + B, N)) for first in range(0, N, B)]
    if spacetime.drop_last:
        epoch = [slots for slots in epoch if len(slots) == B]
    return [epoch[: T - first] for first in range(0, T, len(epoch))]


def _distribution(outcomes: Iterator[Run]) -> Runs:
    counts = Counter(outcomes)
    return {outcome: Fraction(times, counts.total()) for outcome, times in counts.items()}


def _followed_by(runs: Runs, pieces: Runs) -> Runs:
    """Return the distribution of runs that go on with an independent draw."""
    longer: Runs = {}
    for run, p in runs.items():
        for piece, q in pieces.items():
            longer[run + piece] = longer.get(run + piece, Fraction(0)) + p * q
    return longer


S = TypeVar("S")  # what a run knows between two steps: the iterate, and what else the steps need


class Runner(ABC, Generic[S]):
    """Runs SGD along sequences of batches and remembers the state after every prefix.

    Args:
        landscape: the population of polynomial losses.
        theta: the starting point, rational coordinates.
        order: the highest power that iterates are kept to.
    """

    def __init__(self, landscape: PolynomialLandscape, theta: Sequence[Any], order: int) -> None:
        self._order, self._coordinates = order, range(landscape.dimensions)
        self.start: Point = tuple([coordinate] + [Fraction(0)] * order for coordinate in landscape.check_point(theta))
        updates = landscape.updates
        self._gradients: Sequence[Sequence[Polynomial]] = (
            [gradient(loss, landscape.dimensions) for loss in landscape.losses] if updates is None else updates
        )
        self._after: dict[Run, S] = {(): self._begin()}
        self._batch_gradients: dict[Kinds, list[Polynomial]] = {}

    def after(self, run: Run) -> S:
        """Return the state after a run."""
        known = len(run)
        while run[:known] not in self._after:
            known -= 1
        state = self._after[run[:known]]
        for step in range(known, len(run)):
            state = self._moved(state, self._batch_gradient(run[step]), step)
            self._after[run[: step + 1]] = state
        return state

    @abstractmethod
    def _begin(self) -> S:
        """Return the state before the first step."""

    @abstractmethod
    def _moved(self, before: S, batch_gradient: list[Polynomial], step: int) -> S:
        """Return the state after a step, from the state before it and the gradient of the batch's mean loss."""

    def _batch_gradient(self, batch: Kinds) -> list[Polynomial]:
        if batch not in self._batch_gradients:
            self._batch_gradients[batch] = [
                mean_of([self._gradients[kind][c] for kind in batch]) for c in self._coordinates
            ]
        return self._batch_gradients[batch]


def gradient(loss: Polynomial, dimensions: int) -> list[Polynomial]:
    """Return the partial derivatives of a loss."""
    return [differentiate(loss, c) for c in range(dimensions)]


def substitute(polynomial: Polynomial, point: Point, order: int) -> PowerSeries:
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
