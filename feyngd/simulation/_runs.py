"""Compiled runs of SGD: the steps, what they carry from one to the next, and what is measured."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree, Shaped

from .._mesh import Devices
from ..derivatives import FrozenLoss, Loss, flat_loss, per_loss
from ._spread import ITERATE
from ._step_plan import StepPlan
from ._uses import TEST, TRAIN, Uses


@per_loss
def compiled_measure(
    example_loss: Loss,
    quantity: str,
    where: str,
    chunk_size: int,
    devices: Devices,
    measured: Loss | None = None,
    update: FrozenLoss | None = None,
    noisy: bool = False,
) -> Callable[..., Float[Array, "runs looks ..."]]:
    """Compile runs of SGD and their measurements, once for every loss, shape and question.

    Of the optimizer it matters only which parts it has. The numbers of steps and of looks are arguments; batches and
    the plan have room for more. Training sets are empty where the quantity does not depend on them.
    """

    def measure(
        params: PyTree,
        rate: Float[Array, ""],
        data: PyTree,
        training_sets: Int[Array, "runs points"],
        batches: Int[Array, "runs steps slots"],
        noise: Shaped[Array, "runs words"],
        metric: PyTree | None,
        plan: StepPlan,
        luck: Float[Array, " examples"],
    ) -> Float[Array, "runs looks ..."]:
        theta, loss = flat_loss(example_loss, params)
        tested = loss if measured is None else flat_loss(measured, params)[1]
        flat_update = None if update is None else flat_loss(update, params)[1]
        run = _make_run(loss, tested, quantity, where, flat_update, Uses(noisy, measured is None))
        rate, plan, luck = jax.tree.map(partial(_in_precision, theta.dtype), (rate, plan, luck))
        flat_metric = None if metric is None else ravel_pytree(metric)[0]
        one = partial(run, theta, rate, data, flat_metric, plan, luck)
        return devices.collected(jax.lax.map(one, (training_sets, batches, noise), batch_size=chunk_size))

    return devices.compiled(measure, rows=(3, 4, 5))  # every run has its own training set, batches and noise


def _in_precision(dtype: Any, numbers: Any) -> Array:
    """Return real numbers in the precision of the parameters, and integers as they are."""
    array = jnp.asarray(numbers)
    return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array


class _State(NamedTuple):
    """What a run carries from step to step.

    Attributes:
        theta: θ, the iterate.
        memory: u, of gradients, one a row; `None` if the optimizer has none.
        averages: of the iterates, one a row; `None` if there are none.
    """

    theta: Float[Array, " params"]
    memory: Float[Array, "memories params"] | None
    averages: Float[Array, "averages params"] | None


def _make_run(
    loss: Callable[[Float[Array, " params"], PyTree], Any],
    tested: Callable[[Float[Array, " params"], PyTree], Any],
    quantity: str,
    where: str,
    update: Callable[[Float[Array, " params"], PyTree], Any] | None,
    uses: Uses,
) -> Callable[..., Float[Array, "looks ..."]]:
    """Return a function that does one run of SGD and measures the quantity at its end, or whenever it is looked at.

    The quantity is a loss, or `ITERATE` for how far the iterate has moved.
    """

    def gradient(
        theta: Float[Array, " params"], examples: PyTree, shares: Float[Array, " slots"]
    ) -> Float[Array, " params"]:
        """Return what a step follows: the gradient of a batch's mean loss, or the mean of its updates."""
        if update is None:
            return jax.grad(lambda theta: jnp.dot(shares, losses(theta, examples)))(theta)
        return shares @ jax.vmap(partial(update, theta))(examples)

    def losses(theta: Float[Array, " params"], examples: PyTree) -> Float[Array, " some"]:
        return jax.vmap(partial(loss, theta))(examples)

    def test_loss(
        theta: Float[Array, " params"],
        data: PyTree,
        test_data: PyTree,
        training_set: Int[Array, " points"],
        luck: Float[Array, " examples"],
        words: Shaped[Array, " words"],
    ) -> Float[Array, ""]:
        if where == "apart":
            return jnp.mean(jax.vmap(partial(tested, theta))(uses.of_test(test_data, words)))
        population = jnp.arange(len(luck))
        everything = losses(theta, uses.of(data, population, words, TEST))
        if where == "population":
            return jnp.mean(everything)
        everything = everything - luck
        return (jnp.sum(everything) - jnp.sum(everything[training_set])) / (len(luck) - len(training_set))

    def measured(
        theta: Float[Array, " params"],
        both_data: tuple[PyTree, PyTree],
        training_set: Int[Array, " points"],
        luck: Float[Array, " examples"],
        words: Shaped[Array, " words"],
    ) -> Float[Array, ""]:
        data, test_data = both_data
        result = jnp.zeros(())
        if quantity != "train_loss":
            result += test_loss(theta, data, test_data, training_set, luck, words)
        if quantity != "test_loss":
            seen = losses(theta, uses.of(data, training_set, words, TRAIN))
            train_loss = jnp.mean(seen) - jnp.mean(luck[training_set])
            result += train_loss if quantity == "train_loss" else -train_loss
        return result

    def run(
        theta: Float[Array, " params"],
        rate: Float[Array, ""],
        both_data: tuple[PyTree, PyTree],
        metric: Float[Array, " params"] | None,
        plan: StepPlan,
        luck: Float[Array, " examples"],
        drawn: tuple[Int[Array, " points"], Int[Array, "steps slots"], Shaped[Array, " words"]],
    ) -> Float[Array, "looks ..."]:
        (training_set, batches, words), data = drawn, both_data[0]

        def step(time: Int[Array, ""], state: _State) -> _State:
            theta, memory, averages = state
            own = gradient(theta, uses.of(data, batches[time], words, time), plan.shares[time])
            moved = own if plan.direct is None else plan.direct[time] * own
            if plan.memory is not None:
                gain, decay, readout = (part[time] for part in plan.memory)
                moved, memory = moved + readout @ memory, decay @ memory + gain[:, None] * own
            theta = theta - rate * (moved if metric is None else metric * moved)
            if plan.averages is not None:
                averages = plan.averages.keep[time][:, None] * averages + plan.averages.take[time][:, None] * theta
            return _State(theta, memory, averages)

        def result(state: _State, look: Int[Array, ""] | int) -> Float[Array, "..."]:
            point = state.theta
            if plan.averages is not None and state.averages is not None:
                point = state.averages[plan.averages.of_look[look]]
            if quantity == ITERATE:
                return point - theta
            return measured(point, both_data, training_set, luck, words)

        memory = None if plan.memory is None else jnp.zeros((plan.memory.gain.shape[1], len(theta)), theta.dtype)
        averages = None if plan.averages is None else plan.averages.origin[:, None] * theta
        start = _State(theta, memory, averages)
        if plan.times is None:
            return result(jax.lax.fori_loop(0, plan.count, step, start), 0)[None]

        def next_look(
            look: Int[Array, ""], carry: tuple[_State, Float[Array, "looks ..."]]
        ) -> tuple[_State, Float[Array, "looks ..."]]:
            state, results = carry
            before = jnp.where(look > 0, plan.times[look - 1], 0)
            state = jax.lax.fori_loop(before, plan.times[look], step, state)
            return state, results.at[look].set(result(state, look))

        shape = (len(plan.times), *(theta.shape if quantity == ITERATE else ()))
        return jax.lax.fori_loop(0, plan.count, next_look, (start, jnp.zeros(shape)))[1]

    return run
