"""Uses of examples in a run: with noise that is drawn anew at each, or as they are."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree, Shaped

from ..landscapes import other_use

TEST, TRAIN = 2**31 - 1, 2**31 - 2  # what measurements have in the place of the number of a step


@dataclass(frozen=True)
class Uses:
    """How examples are taken from data.

    Attributes:
        noisy: whether data are pairs, of examples and the words of keys, and noise is drawn anew at every use.
        tests_are_noisy: whether that holds for separate test data too, where there are any.
    """

    noisy: bool
    tests_are_noisy: bool

    def of(self, data: PyTree, indices: Int[Array, " some"], words: Shaped[Array, " words"], time: Any) -> PyTree:
        """Return examples, each with noise of its own.

        Args:
            data: the data.
            indices: the numbers of the examples.
            words: of the key of the run.
            time: the number of the step, or `TEST` or `TRAIN`.
        """
        if not self.noisy:
            return jax.tree.map(lambda leaf: leaf[indices], data)
        return jax.tree.map(lambda leaf: leaf[indices], data[0]), _fresh(words, time, len(indices))

    def of_test(self, test_data: PyTree, words: Shaped[Array, " words"]) -> PyTree:
        """Return all separate test examples, each with noise of its own."""
        if not (self.noisy and self.tests_are_noisy):
            return test_data
        return test_data[0], _fresh(words, TEST, len(test_data[1]))


def _fresh(words: Shaped[Array, " words"], time: Any, count: int) -> Shaped[Array, "some words"]:
    """Return the words of a key for every example that is used at a time."""
    return jax.vmap(lambda slot: other_use(other_use(words, time), slot))(jnp.arange(count))
