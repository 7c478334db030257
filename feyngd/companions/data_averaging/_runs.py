"""Runs of SGD on training sets of their own, looked at on the way: losses, metrics and where they end."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ...derivatives import CHUNK, Loss, flat_loss, per_loss
from ...optimizers import Optimizer


class Plan(NamedTuple):
    """What every run does at every step, as arrays.

    Attributes:
        shares: of every slot of a batch in its step's mean, shape (T, B).
        direct, gain, decay, readout: of the optimizer, shape (T,): θ ← θ − λ (direct g + readout u), then
            u ← decay u + gain g.
        times: the steps after which runs are looked at, increasing, shape (K,).
        rate: λ.
        weight_decay: α, with which αθ joins every gradient.
        noise: what is injected into every gradient, β/√B times a standard normal draw.
    """

    shares: Any
    direct: Any
    gain: Any
    decay: Any
    readout: Any
    times: Any
    rate: Any
    weight_decay: Any
    noise: Any

    @classmethod
    def make(
        cls,
        optimizer: Optimizer,
        sizes: tuple[int, ...],
        times: np.ndarray,
        rate: float,
        weight_decay: float,
        noise: float,
    ) -> "Plan":
        """Return the plan of an optimizer whose steps have batches of some sizes; `noise` is β."""
        counts = np.array(sizes, dtype=int)[:, None]
        shares = np.where(np.arange(counts.max()) < counts, 1 / counts, 0.0)
        kernel = optimizer.in_floats().recurrence(len(sizes))
        parts = (np.array(part, dtype=float) for part in (kernel.direct, kernel.gain, kernel.decay, kernel.readout))
        direct, gain, decay, readout = parts
        return cls(shares, direct, gain, decay, readout, times, rate, weight_decay, noise / counts.max() ** 0.5)


class Drawn(NamedTuple):
    """What is drawn for some runs, an axis of runs first.

    Attributes:
        start: θ_0, as one vector.
        training_set: the indices of its examples, shape (N,).
        test_set: likewise; `None` where the whole pool tests.
        batches: the indices of the examples of every step, shape (T, B).
        key: of the injected noise.
    """

    start: Any
    training_set: Any
    test_set: Any
    batches: Any
    key: Any


class Seen(NamedTuple):
    """What was seen of some runs at K looks, an axis of runs first.

    Attributes:
        train: mean losses on the training set and metrics behind them, shape (1 + metrics, K).
        test: likewise on the test set.
        spread: the standard deviation of the losses over the test set, shape (K,).
        params: θ at the end, or at every look, shape (p,) or (K, p).
    """

    train: Any
    test: Any
    spread: Any
    params: Any


@per_loss
def compiled_runs(
    example_loss: Loss, metrics: tuple[Callable[[Any, Any], Any], ...], keep_all: bool, is_noisy: bool
) -> Callable[[Any, Any, Plan, Drawn], Seen]:
    """Compile runs, vectorised, as a function of parameters that show the structure, the pool, the plan and draws."""

    @jax.jit
    def runs(params: Any, data: Any, plan: Plan, drawn: Drawn) -> Seen:
        theta, loss = flat_loss(example_loss, params)
        unravel = ravel_pytree(params)[1]
        plan = jax.tree.map(lambda part: _in_precision(theta.dtype, part), plan)
        count = jax.tree.leaves(data)[0].shape[0]

        def measured(theta: jax.Array, one: Drawn) -> tuple[jax.Array, jax.Array, jax.Array]:
            def of_example(example: Any) -> jax.Array:
                values = [loss(theta, example), *(metric(unravel(theta), example) for metric in metrics)]
                return jnp.stack([jnp.asarray(value, theta.dtype) for value in values])

            table = jax.lax.map(of_example, data, batch_size=min(CHUNK, count))
            tested = table if one.test_set is None else table[one.test_set]
            return table[one.training_set].mean(axis=0), tested.mean(axis=0), tested[:, 0].std()

        def step(t: jax.Array, state: tuple[jax.Array, jax.Array], one: Drawn) -> tuple[jax.Array, jax.Array]:
            theta, memory = state

            def mean_loss(theta: jax.Array) -> jax.Array:
                examples = jax.tree.map(lambda leaf: leaf[one.batches[t]], data)
                return jnp.dot(plan.shares[t], jax.vmap(partial(loss, theta))(examples))

            gradient = jax.grad(mean_loss)(theta) + plan.weight_decay * theta
            if is_noisy:
                gradient += plan.noise * jax.random.normal(jax.random.fold_in(one.key, t), theta.shape, theta.dtype)
            theta = theta - plan.rate * (plan.direct[t] * gradient + plan.readout[t] * memory)
            return theta, plan.decay[t] * memory + plan.gain[t] * gradient

        def run(one: Drawn) -> Seen:
            looks = len(plan.times)

            def next_look(look: jax.Array, carry: tuple[Any, Seen]) -> tuple[Any, Seen]:
                state, seen = carry
                before = jnp.where(look > 0, plan.times[look - 1], 0)
                state = jax.lax.fori_loop(before, plan.times[look], partial(step, one=one), state)
                train, test, spread = measured(state[0], one)
                params = seen.params.at[look].set(state[0]) if keep_all else state[0]
                train, test = seen.train.at[:, look].set(train), seen.test.at[:, look].set(test)
                return state, Seen(train, test, seen.spread.at[look].set(spread), params)

            empty = jnp.zeros((1 + len(metrics), looks), theta.dtype)
            kept = jnp.zeros((looks, len(theta)), theta.dtype) if keep_all else theta
            begin = (one.start, jnp.zeros_like(theta)), Seen(empty, empty, empty[0], kept)
            return jax.lax.fori_loop(0, looks, next_look, begin)[1]

        return jax.vmap(run)(drawn)

    return runs


def _in_precision(dtype: Any, numbers: Any) -> jax.Array:
    array = jnp.asarray(numbers)
    return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array
