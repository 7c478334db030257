"""Which examples are drawn: at random, and more often those that matter more, with weights that make up for it.

As training goes on, a few examples come to dominate noise and curvature: those that the model gets wrong. Examples are
drawn in proportion to the size of their gradients, and count less the more often they are drawn. Means stay as they
are, and spreads become smaller.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from ..._mesh import ALONE, Devices
from ...derivatives import Loss, gradient_sizes, num_examples, per_loss
from ._shared_sums import SharedSums

# Tickets of an example: the same for all, and on average by size. So no weight is above 4, and examples of small
# gradients, which may be large in a later step, are drawn too.
_EQUAL, _BY_SIZE = 2, 6
_SURVEYED = 16  # steps of the path, at most, in which all gradients are looked at
_GRADIENTS = 2**24  # numbers that gradients of single examples may take at a time: 64 MB in single precision


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ExampleSampler:
    """Draws examples by tickets with their numbers; some examples have more tickets.

    Attributes:
        tickets: the example of every ticket; each of the M examples has some.
        weights: 1/(M p) for an example that is drawn with probability p; their average over draws is 1.
    """

    tickets: Int[Array, " tickets"]
    weights: Float[Array, " examples"]

    @classmethod
    def of_sizes(cls, sizes: Float[np.ndarray, " examples"], dtype: Any) -> "ExampleSampler":
        """Return a sampler that draws a quarter equally, and the rest by nonnegative sizes."""
        count, total = len(sizes), float(np.sum(sizes))
        shares = sizes / total if np.isfinite(total) and total > 0 else np.full(count, 1 / count)
        reached = np.append(0, np.rint(np.cumsum(shares) * _BY_SIZE * count)).astype(int)
        reached[-1] = _BY_SIZE * count
        tickets = _EQUAL + np.diff(reached)
        weights = (_EQUAL + _BY_SIZE) / tickets
        return cls(jnp.asarray(np.repeat(np.arange(count), tickets)), jnp.asarray(weights, dtype))

    def draw(self, key: PRNGKeyArray | None, size: int | None) -> tuple[Int[Array, " drawn"] | None, Array]:
        """Return a number of examples, drawn independently, and weights for their mean.

        The sum with these weights has the mean over all examples as its expectation. For `None` all examples count the
        same; they are returned as `None`, and the key is not used.
        """
        if size is None:
            return None, jnp.full_like(self.weights, 1 / len(self.weights))
        assert key is not None
        indices = self.tickets[jax.random.randint(key, (size,), 0, len(self.tickets))]
        return indices, self.weights[indices] / size

    def examples(self, key: PRNGKeyArray | None, data: PyTree, size: int | None) -> tuple[PyTree, Array]:
        """Return a number of examples of the data and their weights; all for `None`, or where there are no more."""
        indices, weights = self.draw(key, None if size is None or size >= len(self.weights) else size)
        return picked(data, indices), weights

    def signed(
        self, key: PRNGKeyArray, label: Int[Array, ""], size: int | None
    ) -> tuple[Int[Array, " drawn"] | None, Float[Array, " drawn"]]:
        """Return a number of examples, all for `None`, and weights w with random signs, the same for the same label.

        F = Σ w (l_x − l) has the covariance of l_x − l over all examples. Steps with a negative label have no noise.
        """
        for_examples, for_signs = jax.random.split(jax.random.fold_in(key, label))
        indices, shares = self.draw(for_examples, size)
        signs = jax.random.rademacher(for_signs, shares.shape, shares.dtype)
        weights = (signs - jnp.mean(signs) if size is None else signs) * jnp.sqrt(shares)
        return indices, jnp.where(label < 0, 0, weights)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ExampleSamplers:
    """What examples are drawn from.

    Attributes:
        noise: those that make the noise of a step.
        curvature: those that stand for all in derivatives of the mean loss.
        probe: those that stand for all test examples; the same without test data.
    """

    noise: ExampleSampler
    curvature: ExampleSampler
    probe: ExampleSampler


def picked(data: PyTree, indices: Int[Array, " drawn"] | None) -> PyTree:
    """Return some examples; all of them for `None`."""
    return data if indices is None else jax.tree.map(lambda leaf: leaf[indices], data)


def gradients_together(num_params: int) -> int:
    """Return how many gradients of single examples fit into the memory at a time."""
    return max(1, _GRADIENTS // num_params)


@dataclass(frozen=True)
class Survey:
    """The noiseless path, and how large gradients are along it.

    Attributes:
        losses: the mean loss at steps 0 to T.
        data: for every example |g_x − G|² over its mean over examples, averaged along the path.
        test_data: the same for test examples.
    """

    losses: Float[np.ndarray, " points"]
    data: Float[np.ndarray, " examples"]
    test_data: Float[np.ndarray, " tests"] | None

    def samplers(self, dtype: Any) -> ExampleSamplers:
        """Return samplers for noise, which is quadratic in gradients, and for curvature, about linear in them."""
        probed = self.data if self.test_data is None else self.test_data
        sizes = self.data, np.sqrt(self.data), np.sqrt(probed)
        return ExampleSamplers(*(ExampleSampler.of_sizes(size, dtype) for size in sizes))


def survey(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    test_data: PyTree,
    rates: Float[Array, " steps"],
    chunk_size: int,
    devices: Devices = ALONE,
) -> Survey:
    """Follow the noiseless path, with a look at all gradients in a few of its steps.

    Args:
        loss: `loss(params, example)`.
        params: the start.
        data: the examples of the mean loss.
        test_data: other examples to look at, or `None`.
        rates: the learning rate of every step.
        chunk_size: how many examples are differentiated together.
        devices: those that share the examples.
    """
    looked_at = np.zeros(len(rates) + 1, bool)
    looked_at[np.unique(np.linspace(0, len(rates), _SURVEYED).astype(int))] = True
    every = jnp.append(rates, jnp.zeros((), rates.dtype))
    surveyed = _compiled_survey(loss, chunk_size, devices)(params, data, test_data, every, jnp.asarray(looked_at))
    losses, sizes, test_sizes = jax.tree.map(lambda array: np.asarray(array, dtype=float), surveyed)
    return Survey(losses, sizes, test_sizes)


@per_loss
def _compiled_survey(loss: Loss, chunk_size: int, devices: Devices) -> Callable[..., Any]:
    def surveyed(
        params: PyTree,
        data: PyTree,
        test_data: PyTree,
        rates: Float[Array, " points"],
        looked_at: Bool[Array, " points"],
    ) -> tuple[Float[Array, " points"], Float[Array, " examples"], Float[Array, " tests"] | None]:
        sums = SharedSums(loss, params, chunk_size, devices)
        together = min(chunk_size, gradients_together(len(sums.start)))

        def sizes(point: Float[Array, " params"], examples: PyTree) -> Float[Array, " examples"]:
            """Return |g_x − G|² over its mean; ones where all gradients are the same."""
            mean = sums.mean_gradient(point, examples)[1]
            own = devices.own(examples)
            chunk = min(together, num_examples(own))
            each = gradient_sizes(lambda example: sums.example_gradient(point, example), mean, own, chunk)
            each = devices.collected(each, num_examples(examples))
            average = jnp.mean(each)
            return jnp.where(average > 0, each / jnp.where(average > 0, average, 1), 1)

        def step(carry: tuple[Float[Array, " params"], list[Float[Array, " _"]]], given: Any) -> Any:
            """Carry θ_t, and the sums of sizes of every set of examples over the steps that were looked at."""
            point, seen = carry
            rate, look = given
            value, gradient = sums.mean_gradient(point, data)
            every = [part for part in (data, test_data) if part is not None]
            seen = jax.lax.cond(
                look, lambda: [old + sizes(point, part) for old, part in zip(seen, every, strict=True)], lambda: seen
            )
            return (point - rate * gradient, seen), value

        zeros = [jnp.zeros(num_examples(part), sums.start.dtype) for part in (data, test_data) if part is not None]
        (_, seen), losses = jax.lax.scan(step, (sums.start, zeros), (rates, looked_at))
        seen = [total / jnp.sum(looked_at) for total in seen]
        return losses, seen[0], seen[1] if test_data is not None else None

    return devices.compiled(surveyed)
