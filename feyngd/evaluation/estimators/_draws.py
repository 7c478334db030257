"""Replicates of many numbers, drawn together from the same random pairings."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import jax
import numpy as np

from ..engine import Engine
from ..planning import Number, positions_of
from ._estimator import MakeRows, Split
from ._random_rows import filler_of, random_rows


class Draws:
    """The replicates of numbers that are split into fixed parts and rests.

    Args:
        engine: the engine, which knows everything that the rests are made from.
        splits: the numbers with their splits, which can be exchanged.
        key: the random key of the whole evaluation.

    Attributes:
        seconds_per_draw: what one replicate of all numbers takes; infinite before the first.
    """

    def __init__(self, engine: Engine, splits: Mapping[Number, Split], key: jax.Array | None) -> None:
        self._engine, self._splits, self._key = engine, dict(splits), key
        self._rows: dict[Number, list[float]] = {number: [] for number in splits}
        self._forgotten = 0
        self.seconds_per_draw = math.inf

    @property
    def replicates(self) -> dict[Number, np.ndarray]:
        """The replicates so far; one number where nothing is sampled."""
        return {
            number: np.array([split.fixed] if split.rest is None else self._rows[number])
            for number, split in self._splits.items()
        }

    @property
    def count(self) -> int:
        """The number of replicates so far."""
        return max(map(len, self._rows.values()))

    def relative_error(self, number: Number) -> float:
        """Return the relative standard error of the mean of a number's replicates."""
        return relative_error(self._rows[number])

    def spread(self, number: Number) -> float:
        """Return the standard deviation of a number's replicates; 0 if nothing is sampled."""
        return 0.0 if self._splits[number].rest is None else float(np.std(self._rows[number]))

    def add(self, count: int, advance: Callable[[], None]) -> None:
        """Draw more replicates."""
        if all(split.rest is None for split in self._splits.values()):
            return
        first = self._forgotten + self.count
        for replicate in range(first, first + count):
            start = time.perf_counter()
            for number, value in self._draw(replicate, self._splits).items():
                self._rows[number].append(value)
            # The first draw compiles; the fastest one shows what a draw takes.
            self.seconds_per_draw = min(self.seconds_per_draw, time.perf_counter() - start)
            advance()

    def start_over(self) -> None:
        """Forget the replicates so far; those drawn later are others.

        A number of replicates that was found from replicates, and joins them, stops where they happen to lie close
        together: their spread would be too small.
        """
        self._forgotten += self.count
        self._rows = {number: [] for number in self._rows}

    def redrawn(self, splits: Mapping[Number, Split]) -> "Draws":
        """Return the same replicates of some numbers with other splits."""
        again = Draws(self._engine, splits, self._key)
        again._forgotten = self._forgotten
        again.add(self.count, lambda: None)
        return again

    def take_over(self, other: "Draws", number: Number) -> None:
        """Exchange the split of a number and its replicates for those of other draws."""
        self._splits[number] = other._splits[number]
        # Where the other split leaves nothing to sample, the pilot's replicates stay, to be counted.
        self._rows[number] = other._rows[number] or self._rows[number]

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Compile the passes of a replicate in other threads meanwhile."""
        with ExitStack() as stack:
            for numbers in by_rows(self._splits).values():
                rests = [rest for number in numbers if (rest := self._splits[number].rest) is not None]
                stack.enter_context(self._engine.compiling(rests, positions_of(rests)))
            yield

    def _draw(self, replicate: int, splits: Mapping[Number, Split]) -> dict[Number, float]:
        values: dict[Number, float] = {}
        for make_rows, numbers in by_rows(splits).items():
            rests = tuple(rest for number in numbers if (rest := splits[number].rest) is not None)
            assert self._key is not None
            pairing = random_rows(self._key, replicate, positions_of(rests), *self._engine.sizes)
            filler = filler_of(self._key, replicate)
            passes = [self._engine.rows(rests, rows) for rows in make_rows(pairing, filler)]
            for number, rest in zip(numbers, rests, strict=True):
                average = sum(averages[rest] for averages in passes) / len(passes)
                values[number] = splits[number].fixed + splits[number].share * average
        return values


def relative_error(rows: Sequence[float]) -> float:
    """Return the relative standard error of a mean."""
    error = float(np.std(rows, ddof=1)) / len(rows) ** 0.5
    return error / abs(float(np.mean(rows))) if error else 0.0


def by_rows(splits: Mapping[Number, Split]) -> dict[MakeRows, tuple[Number, ...]]:
    """Group numbers whose rests go through the same rows, and so share their passes."""
    groups: dict[MakeRows, tuple[Number, ...]] = {}
    for number, split in splits.items():
        if split.rest is not None:
            groups[split.rows] = (*groups.get(split.rows, ()), number)
    return groups
