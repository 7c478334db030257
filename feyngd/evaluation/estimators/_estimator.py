"""The contract of estimators: ways to average a number over all tuples of examples.

An estimator splits a number into what it computes exactly and what is left to random pairings of examples,

    E[number] = fixed + share · E[rest],

with the expectation over one independent example at every position. The sampler does everything else: it asks which
estimators take a number and what they cost, pairs the examples, goes through the rows of all rests together, and
compares the spreads of the replicates. Nothing is compiled before `split`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax
import numpy as np

from ..engine import Engine, Rows
from ..planning import Number


@dataclass(frozen=True)
class Setting:
    """What is known before anything is computed.

    Attributes:
        num_examples: the number of examples, M.
        num_test_examples: the number of separate test examples.
        num_params: the number of parameters.
        ways: for every number all ways to compute it, itself among them.
        directed: whether steps follow an update that is no gradient, of which single rows and pairings are known.
    """

    num_examples: int
    num_test_examples: int
    num_params: int
    ways: Mapping[Number, Sequence[Number]]
    directed: bool = False


@dataclass(frozen=True)
class Cost:
    """What it takes to average numbers together, in passes over all examples, each about as long as one pairing.

    Attributes:
        once: the passes before the first replicate.
        each: the passes for every replicate; 0 if there is nothing left to sample.
    """

    once: float
    each: float

    @property
    def is_exact(self) -> bool:
        """Whether nothing is left to sample."""
        return self.each == 0

    def total(self, replicates: int) -> float:
        """Return the passes for a number of replicates."""
        return self.once + replicates * self.each


def as_paired(rows: Rows, filler: np.random.Generator) -> tuple[Rows, ...]:
    """Return the rows of a random pairing as they are."""
    return (rows,)


MakeRows = Callable[[Rows, np.random.Generator], Sequence[Rows]]


@dataclass(frozen=True)
class Split:
    """A number as fixed + share · (average of `rest` over rows).

    Attributes:
        fixed: the part that is computed exactly.
        rest: what is averaged over random rows; `None` if `fixed` is everything.
        share: what the average of `rest` is multiplied by.
        rows: makes the rows of one replicate from a random pairing, which holds an independent random permutation of
            the examples at every position, and a generator for what has to be drawn beyond that; the average is taken
            over all of them. Rests with the same function share their passes.
    """

    fixed: float = 0.0
    rest: Number | None = None
    share: float = 1.0
    rows: MakeRows = as_paired


class Estimator(ABC):
    """One way to average numbers over all tuples of examples.

    Attributes:
        name: what `evaluate(estimator=...)` calls it.
    """

    name: ClassVar[str]

    @property
    def kind(self) -> str:
        """What the kind of an `Estimate` calls it."""
        return self.name.replace("-", " ")

    @abstractmethod
    def takes(self, number: Number, setting: Setting) -> bool:
        """Whether it can average a number."""

    @abstractmethod
    def cost(self, numbers: Sequence[Number], setting: Setting) -> Cost:
        """Return what it takes to average numbers together."""

    def is_worth_preparing(self, setting: Setting) -> bool:
        """Whether to prepare it where nobody asked for it by name."""
        return True

    @abstractmethod
    def split(
        self,
        numbers: Sequence[Number],
        setting: Setting,
        engine: Engine,
        key: jax.Array | None,
        advance: Callable[[], None],
    ) -> dict[Number, Split]:
        """Split numbers into fixed parts and rests.

        Args:
            numbers: numbers that it takes.
            setting: what is known of them.
            engine: the engine, which knows all averaged vectors of the numbers.
            key: the random key of the whole evaluation; `None` only if no number is sampled.
            advance: to be called after every pass of `Cost.once`, to show progress.
        """
