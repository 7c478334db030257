"""Which examples are drawn: at random, and more often those that matter more, with weights that make up for it.

On the way a few examples come to rule noise and curvature: those that the model gets wrong. Drawn as often as their
gradients are large, less often drawn ones counting more, they leave means as they are and make spreads smaller.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...derivatives import Loss, Sums, num_examples, per_loss

_EQUAL, _BY_SIZE = 2, 6  # tickets of an example: the same for all, and on average by size
_SURVEYED = 16  # steps of the path, at most, in which all gradients are looked at
_GRADIENTS = 2**24  # numbers that gradients of single examples may take at a time


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Urn:
    """Tickets with the numbers of examples; some examples have more of them.

    Attributes:
        tickets: the example of every ticket, all of M having some.
        weights: 1/(M p) for examples drawn with probability p, shape (M,); their average over draws is 1.
    """

    tickets: jax.Array
    weights: jax.Array

    @classmethod
    def of_sizes(cls, sizes: np.ndarray, dtype: Any) -> "Urn":
        """Return an urn of which a quarter is shared equally, and the rest by nonnegative sizes, shape (M,)."""
        count, total = len(sizes), float(np.sum(sizes))
        shares = sizes / total if np.isfinite(total) and total > 0 else np.full(count, 1 / count)
        reached = np.append(0, np.rint(np.cumsum(shares) * _BY_SIZE * count)).astype(int)
        reached[-1] = _BY_SIZE * count
        tickets = _EQUAL + np.diff(reached)
        weights = (_EQUAL + _BY_SIZE) / tickets
        return cls(jnp.asarray(np.repeat(np.arange(count), tickets)), jnp.asarray(weights, dtype))

    def draw(self, key: jax.Array, size: int | None) -> tuple[jax.Array | None, jax.Array]:
        """Return so many examples, drawn independently, and weights: a sum with them is on average that of the mean.

        All examples, with equal weights, are `None`.
        """
        if size is None:
            return None, jnp.full_like(self.weights, 1 / len(self.weights))
        indices = self.tickets[jax.random.randint(key, (size,), 0, len(self.tickets))]
        return indices, self.weights[indices] / size

    def examples(self, key: jax.Array, data: Any, size: int | None) -> tuple[Any, jax.Array]:
        """Return so many examples of the data and their weights; all of them for `None`, or where they are no more."""
        indices, weights = self.draw(key, None if size is None or size >= len(self.weights) else size)
        return picked(data, indices), weights

    def signed(self, key: jax.Array, size: int | None) -> tuple[jax.Array | None, jax.Array]:
        """Return so many examples, `None` being all, and weights w: F = Σ w (l_x − l) has the covariance of l_x − l."""
        for_examples, for_signs = jax.random.split(key)
        indices, shares = self.draw(for_examples, size)
        signs = jax.random.rademacher(for_signs, shares.shape, shares.dtype)
        return indices, (signs - jnp.mean(signs) if size is None else signs) * jnp.sqrt(shares)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Urns:
    """What examples are drawn from.

    Attributes:
        noise: those that make the noise of a step.
        curvature: those that stand for all in derivatives of the mean loss.
        probe: those that stand for all test examples; the same without test data.
    """

    noise: Urn
    curvature: Urn
    probe: Urn


def picked(data: Any, indices: jax.Array | None) -> Any:
    """Return some examples; all of them for `None`."""
    return data if indices is None else jax.tree.map(lambda leaf: leaf[indices], data)


def gradients_together(num_params: int) -> int:
    """Return how many gradients of single examples fit into the memory at a time."""
    return max(1, _GRADIENTS // num_params)


@dataclass(frozen=True)
class Survey:
    """The noiseless path, and how large gradients are along it.

    Attributes:
        losses: the mean loss at steps 0 to T, shape (T + 1,).
        data: for every example |g_x − G|² over its mean over examples, averaged along the path, shape (M,).
        test_data: the same for test examples.
    """

    losses: np.ndarray
    data: np.ndarray
    test_data: np.ndarray | None

    def urns(self, dtype: Any) -> Urns:
        """Return urns for noise, which is quadratic in gradients, and for curvature, which is about linear in them."""
        probed = self.data if self.test_data is None else self.test_data
        sizes = self.data, np.sqrt(self.data), np.sqrt(probed)
        return Urns(*(Urn.of_sizes(size, dtype) for size in sizes))


def survey(loss: Loss, params: Any, data: Any, test_data: Any, rates: jax.Array, chunk_size: int) -> Survey:
    """Follow the noiseless path, with a look at all gradients in a few of its steps.

    Args:
        loss: `loss(params, example)`.
        params: the start.
        data: the examples of the mean loss.
        test_data: other examples to look at, or `None`.
        rates: the learning rate of every step, shape (T,).
        chunk_size: how many examples are differentiated together.
    """
    looked_at = np.zeros(len(rates) + 1, bool)
    looked_at[np.unique(np.linspace(0, len(rates), _SURVEYED).astype(int))] = True
    every = jnp.append(rates, jnp.zeros((), rates.dtype))
    found = _compiled_survey(loss, chunk_size)(params, data, test_data, every, jnp.asarray(looked_at))
    losses, sizes, test_sizes = jax.tree.map(lambda array: np.asarray(array, dtype=float), found)
    return Survey(losses, sizes, test_sizes)


@per_loss
def _compiled_survey(loss: Loss, chunk_size: int) -> Callable[..., Any]:
    @jax.jit
    def surveyed(params: Any, data: Any, test_data: Any, rates: jax.Array, looked_at: jax.Array) -> Any:
        sums = Sums(loss, params, chunk_size)
        together = min(chunk_size, gradients_together(len(sums.start)))

        def sizes(point: jax.Array, examples: Any) -> jax.Array:
            mean = sums.mean_gradient(point, examples)[1]

            def size(example: Any) -> jax.Array:
                return jnp.sum((sums.example_gradient(point, example) - mean) ** 2)

            found = jax.lax.map(size, examples, batch_size=min(together, num_examples(examples)))
            total = jnp.mean(found)
            return jnp.where(total > 0, found / jnp.where(total > 0, total, 1), 1)

        def step(carry: Any, given: Any) -> Any:
            point, seen = carry
            rate, look = given
            value, slope = sums.mean_gradient(point, data)
            every = [part for part in (data, test_data) if part is not None]
            seen = jax.lax.cond(
                look, lambda: [old + sizes(point, part) for old, part in zip(seen, every, strict=True)], lambda: seen
            )
            return (point - rate * slope, seen), value

        zeros = [jnp.zeros(num_examples(part), sums.start.dtype) for part in (data, test_data) if part is not None]
        (_, seen), losses = jax.lax.scan(step, (sums.start, zeros), (rates, looked_at))
        seen = [total / jnp.sum(looked_at) for total in seen]
        return losses, seen[0], seen[1] if test_data is not None else None

    return surveyed
