"""Twin pairings: two passes over the same examples whose difference shows the error of their mean.

A random pairing has M rows, one example at every position, and goes through them chunk by chunk. Its twin has the same
examples in every chunk, but those of position j moved by j rows within it. So no two examples meet in both. A number
averaged over a chunk is a sum of what each example does by itself, and of what pairs and larger groups of examples do
together. The first is the same in twins; the second is as good as independent in different rows. So with the sums S of
a chunk and S′ of its twin

    Var[Σ (S + S′) / 2] = Σ E[((S − S′) / 2)²] (1 + O(1/M)),

where the sums go over chunks. Two passes thus give a standard error with as many degrees of freedom as there are
chunks, where the spread of two independent pairings has one.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from scipy.linalg import helmert

from ..engine import Engine, Rows
from ..planning import Number, positions_of
from ._draws import by_rows
from ._estimator import MakeRows, Split
from ._random_rows import filler_of, random_rows

# Degrees of freedom of a standard error: at most, as further ones say little, and the chunks that are wished for.
_MOST_GROUPS, _CHUNKS = 31, 24
_LEAST_ROWS = 8  # of a chunk: shorter ones leave a processor idle


class Twins:
    """Twin pairings of numbers that are split into fixed parts and rests.

    Args:
        engine: the engine, which knows everything that the rests are made from.
        splits: the numbers with their splits, which can be exchanged.
        key: the random key of the whole evaluation.
        chunk_size: how many rows go together; chosen for the numbers if `None`.

    Attributes:
        count: the number of twins so far.
        seconds_per_twin: what one takes; infinite before the first.
    """

    def __init__(
        self,
        engine: Engine,
        splits: Mapping[Number, Split],
        key: jax.Array | None,
        chunk_size: int | None = None,
    ) -> None:
        self._engine, self._splits, self._key = engine, dict(splits), key
        self._means: dict[Number, list[float]] = {number: [] for number in splits}
        self._differences: dict[Number, list[np.ndarray]] = {number: [] for number in splits}
        self.count, self.seconds_per_twin = 0, math.inf
        self._chunk_size = self._chosen_size() if chunk_size is None else chunk_size

    @property
    def replicates(self) -> dict[Number, np.ndarray]:
        """As many numbers as there are groups of chunks, and one more, with the mean and standard error of the twins.

        For every combination of numbers likewise. They stand for independent replicates: a t interval of theirs has as
        many degrees of freedom as there are groups.
        """
        return {
            number: np.array([split.fixed]) if split.rest is None else self._spread_out(number)
            for number, split in self._splits.items()
        }

    @property
    def degrees_of_freedom(self) -> int:
        """The number of groups of chunks; 0 before the first twin, and where nothing is sampled."""
        return max((len(self._grouped(number)) for number in self._differences), default=0)

    def stderr(self, number: Number) -> float:
        """Return the standard error of a number; 0 if nothing is sampled."""
        return float(np.sqrt(np.sum(self._grouped(number) ** 2)))

    def add(self, count: int, advance: Callable[[], None], numbers: Sequence[Number] | None = None) -> None:
        """Draw more twins.

        Args:
            count: how many.
            advance: called after each of their passes.
            numbers: those that are drawn; the others keep the twins that they have. All by default.
        """
        wanted = self._splits if numbers is None else {number: self._splits[number] for number in numbers}
        for replicate in range(self.count, self.count + count):
            start = time.perf_counter()
            for number, (mean, difference) in self._draw(replicate, wanted, advance).items():
                self._means[number].append(mean)
                self._differences[number].append(difference)
            # The first one compiles; the fastest one shows what a twin takes.
            self.seconds_per_twin = min(self.seconds_per_twin, time.perf_counter() - start)
            self.count += 1

    def redrawn(self, splits: Mapping[Number, Split]) -> "Twins":
        """Return the same twins of some numbers with other splits."""
        again = Twins(self._engine, splits, self._key, self._chunk_size)
        again.add(self.count, lambda: None)
        return again

    def take_over(self, other: "Twins", number: Number) -> None:
        """Exchange the split of a number and its twins for those of others."""
        self._splits[number] = other._splits[number]
        self._means[number], self._differences[number] = other._means[number], other._differences[number]

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Compile the passes in other threads meanwhile."""
        with ExitStack() as stack:
            for _, _, rests in _passes(self._splits):
                stack.enter_context(self._engine.compiling(rests, positions_of(rests), self._chunk_size))
            yield

    @staticmethod
    def chunks(num_examples: int) -> int:
        """Return how many chunks a pass has at least."""
        return -(-num_examples // _wished_size(num_examples))

    def _chosen_size(self) -> int:
        """Return how many rows go together: as many as are fast, but enough chunks for a good standard error."""
        fastest = (self._engine.chunk_size(rests, positions_of(rests)) for _, _, rests in _passes(self._splits))
        return min((_wished_size(self._engine.sizes[0]), *fastest))

    def _draw(
        self, replicate: int, splits: Mapping[Number, Split], advance: Callable[[], None]
    ) -> dict[Number, tuple[float, Float[np.ndarray, " chunks"]]]:
        """Return the mean of twin averages of every number, and half of their difference for every chunk."""
        found: dict[Number, tuple[float, Any]] = {}
        assert self._key is not None
        for make_rows, numbers, rests in _passes(splits):
            halves = []
            for is_twin in (False, True):
                filler = filler_of(self._key, replicate, twin=is_twin)
                pairing = random_rows(self._key, replicate, positions_of(rests), *self._engine.sizes, filler)
                passes = make_rows(pairing, filler)
                passes = [twin(rows, self._chunk_size) for rows in passes] if is_twin else passes
                halves.append([self._engine.rows_by_chunk(rests, rows, self._chunk_size) for rows in passes])
                advance()
            for number, rest in zip(numbers, rests, strict=True):
                one, other = (sum(by_chunk[rest] for by_chunk in half) / len(half) / 2 for half in halves)
                share = splits[number].share
                found[number] = splits[number].fixed + share * float(np.sum(one + other)), share * (one - other)
        return found

    def _grouped(self, number: Number) -> Float[np.ndarray, " groups"]:
        """Return independent numbers of mean zero whose squares add up to the variance of a number's mean."""
        if not self._differences[number]:
            return np.zeros(0)
        found = self._differences[number]
        each = np.concatenate(found) / len(found)
        # As many groups for every number, so that they line up: all numbers have the first twins in common.
        shared = min(len(differences) for differences in self._differences.values() if differences)
        groups = min(_MOST_GROUPS, shared * len(found[0]))
        return np.pad(each, (0, -len(each) % groups)).reshape(-1, groups).sum(axis=0)

    def _spread_out(self, number: Number) -> Float[np.ndarray, " replicates"]:
        each = self._grouped(number)
        size = len(each)
        # Helmert's rows are orthonormal, and orthogonal to the mean.
        return np.mean(self._means[number]) + np.sqrt(size * (size + 1)) * each @ helmert(size + 1)


def _wished_size(num_examples: int) -> int:
    return max(_LEAST_ROWS, -(-num_examples // _CHUNKS))


def _passes(splits: Mapping[Number, Split]) -> Iterator[tuple[MakeRows, tuple[Number, ...], tuple[Number, ...]]]:
    """Iterate over what makes rows, with the numbers whose rests go through them, and the rests."""
    for make_rows, numbers in by_rows(splits).items():
        yield make_rows, numbers, tuple(rest for number in numbers if (rest := splits[number].rest) is not None)


def twin(rows: Rows, chunk_size: int) -> Rows:
    """Return rows with the same examples in every chunk, those of position number j moved by j within it."""
    moved = {}
    for shift, (position, index) in enumerate(rows.items()):
        whole = len(index) // chunk_size * chunk_size
        full = np.roll(index[:whole].reshape(-1, chunk_size), shift, axis=1).ravel()
        moved[position] = np.concatenate([full, np.roll(index[whole:], shift)])
    return moved
