"""Simulations: ensembles of real SGD runs, each on a training set of its own."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, Shaped
from numpy.typing import ArrayLike

from .._arguments import check_integer
from .._keys import check_key
from .._learning_rates import check_learning_rates
from .._mesh import Devices, check_mesh
from ..derivatives import Loss, flat_loss, per_loss
from ..errors import ArgumentError
from ..landscapes import Landscape, check_reading, enter
from ..progress import Progress, check_progress
from ..quantities import check_quantity
from ..spacetimes import Spacetime, check_spacetime
from ._simulation import Simulation

BLOCK = 256  # runs of a device between two reports of progress, and between two chances to interrupt
# Sizes that belong to the spacetime are rounded up in compiled programs, so that other spacetimes run the same ones.
_LEAST_STEPS, _LEAST_DRAWN = 64, 2**16


def simulate(
    landscape: Landscape,
    params: Any,
    spacetime: Spacetime,
    learning_rates: ArrayLike,
    *,
    runs: int = 2000,
    quantity: str = "test_loss",
    control: bool = False,
    chunk_size: int = 16,
    mesh: jax.sharding.Mesh | None = None,
    progress: Progress | None = None,
    key: jax.Array,
) -> Simulation:
    """Run SGD many times, every run with a fresh training set and fresh batches, and average.

    What a training set is depends on the landscape's reading. In the population reading it is N independent draws from
    the data, and the test loss is the mean over all data. In the unbiased reading it is N distinct examples, and the
    test loss is the mean over the others. In the conditional reading it is the data itself, and the test loss is the
    mean over the test data.

    Args:
        landscape: the loss and the population from which training sets are drawn.
        params: the starting point, a pytree of floating-point arrays.
        spacetime: the concrete N, B, E, T and sampling.
        learning_rates: one or more learning rates, positive and finite.
        runs: the number of runs at every learning rate, at least 2.
        quantity: "test_loss", "train_loss" or "gap".
        control: subtract from every run's loss what its batches do to first order by being better or worse than others,
            η Σ_t G·(g_t − G) with the gradients at the start. That is zero on average, so that the mean stays, and most
            of the spread for small learning rates. Samples are then not losses of single runs.
        chunk_size: the number of runs that are vectorised together; memory grows with it.
        mesh: the devices that share the runs, a `jax.sharding.Mesh`; any number of runs is allowed. The runs are those
            of one device.
        progress: shows progress; silent by default.
        key: a JAX random key; the same key gives the same runs.

    Returns:
        A `Simulation`: mean and standard error at every learning rate.

    Raises:
        ArgumentError: a learning rate is not positive and finite, runs, chunk size, quantity or mesh are invalid, or a
            control is asked for in the gap.
        SpacetimeError: the spacetime has symbols, or its N does not suit the reading.
        LandscapeError: the loss, data or parameters are invalid.

    Examples:
        >>> import feyngd as fd
        >>> landscape, start = fd.landscapes.toys.cosh()
        >>> simulate(landscape, start, fd.Spacetime.sgd(N=4), [0.1, 0.2], runs=8, key=jax.random.key(0)).samples.shape
        (2, 8)
    """
    rates = check_learning_rates(learning_rates)
    check_quantity(quantity)
    runs = check_integer("runs", runs, least=2)
    chunk_size = check_integer("chunk_size", chunk_size, least=1)
    check_mesh(mesh)
    check_key(key, "Training sets and batches are drawn at random")
    shown = check_progress(progress)
    check_spacetime(spacetime, concrete="SGD is simulated")
    landscape, params = enter(landscape, params, forward=control)
    check_reading(landscape, spacetime)
    if control and quantity == "gap":
        raise ArgumentError("A control subtracts what batches do to first order, and that is nothing in the gap.")
    landscape.validate(params)
    training_sets, batches = _draw(landscape, spacetime, runs, key)
    shares, steps = _shares(spacetime), int(spacetime.T)
    rows, slots = _with_room(batches, axis=1), _with_room(shares, axis=0)
    # N is in the program only where a run is measured on its training set.
    sets = training_sets if quantity != "test_loss" or landscape.reading == "unbiased" else training_sets[:, :0]
    devices = Devices(mesh)
    own = min(devices.each(runs), BLOCK)
    size = devices.size * own
    measure = _compiled_measure(landscape.loss, quantity, landscape.reading, min(chunk_size, own), devices)
    luck = _luck(landscape, params)
    start, data = devices.placed((params, (landscape.data, landscape.test_data)))  # once for all blocks
    samples = np.empty((len(rates), runs))
    with shown.task(len(rates) * runs, "runs of SGD") as task:
        for row, rate in enumerate(rates):
            for first in range(0, runs, size):
                block = np.minimum(np.arange(first, first + size), runs - 1)  # the last block is filled up: one shape
                done = measure(start, rate, data, sets[block], rows[block], slots, luck, np.int32(steps))
                real = min(size, runs - first)
                samples[row, first : first + real] = np.asarray(done, dtype=float)[:real]
                task.advance(real)
    if control:
        gains = _gains(landscape, params, quantity)
        samples += rates[:, None] * np.einsum("rtb,tb->r", (gains - gains.mean())[batches], shares)
    return Simulation(quantity, spacetime, rates, samples)


def _draw(
    landscape: Landscape, spacetime: Spacetime, runs: int, key: PRNGKeyArray
) -> tuple[Int[np.ndarray, "runs points"], Int[np.ndarray, "runs steps slots"]]:
    """Return training sets, N examples for every run, and batches, B of these examples for every step."""
    for_sets, for_batches = jax.random.split(key)
    N, M = int(spacetime.N), landscape.num_examples
    if landscape.reading == "population":
        room = _rounded_up(runs * N, _LEAST_DRAWN)
        training_sets = np.asarray(jax.random.randint(for_sets, (room,), 0, M))[: runs * N].reshape(runs, N)
    elif landscape.reading == "unbiased":
        keys = jax.random.split(for_sets, runs)
        training_sets = np.stack([np.asarray(jax.random.permutation(one, M)[:N]) for one in keys])
    else:
        training_sets = np.broadcast_to(np.arange(M), (runs, M))
    rng = np.random.default_rng(np.asarray(jax.random.bits(for_batches, (4,))).tolist())
    slots = _padded(spacetime, runs) if spacetime.explicit is not None else spacetime.sample(rng, runs)
    batches = training_sets[np.arange(runs)[:, None, None], slots]
    return training_sets.astype(np.int32), batches.astype(np.int32)


def _luck(landscape: Landscape, params: PyTree) -> Float[np.ndarray, " examples"]:
    """Return every example's loss at the start less the population's mean."""
    losses = np.asarray(landscape.losses(params), dtype=float)
    return losses - losses.mean()


def _gains(landscape: Landscape, params: PyTree, quantity: str) -> Float[np.ndarray, " examples"]:
    """Return how much a step along every example's gradient lowers the loss to first order, G·g."""
    is_tested = quantity == "test_loss" and landscape.test_data is not None
    gains = _compiled_gains(landscape.loss, min(BLOCK, landscape.num_examples))
    measured = landscape.test_data if is_tested else landscape.data
    return np.asarray(gains(params, landscape.data, measured), dtype=float)


@per_loss
def _compiled_gains(loss: Loss, chunk_size: int) -> Callable[[PyTree, PyTree, PyTree], Float[Array, " examples"]]:
    """Compile G·g of every example, G being the gradient of the mean loss over data of their own."""

    @jax.jit
    def gains(params: PyTree, data: PyTree, measured: PyTree) -> Float[Array, " examples"]:
        def mean(params: PyTree) -> Float[Array, ""]:
            return jnp.mean(jax.lax.map(partial(loss, params), measured, batch_size=chunk_size))

        gradient = jax.grad(mean)(params)
        return jax.lax.map(
            lambda example: jax.jvp(lambda p: loss(p, example), (params,), (gradient,))[1], data, batch_size=chunk_size
        )

    return gains


def _padded(spacetime: Spacetime, runs: int) -> Int[np.ndarray, "runs steps slots"]:
    """Return explicit batches, the same in every run, smaller ones filled up with their first point."""
    batches = [[*batch, *batch[:1] * (int(spacetime.B) - len(batch))] for batch in spacetime.explicit or ()]
    array = np.array(batches, dtype=int).reshape(len(batches), int(spacetime.B))
    return np.broadcast_to(array, (runs, *array.shape))


def _shares(spacetime: Spacetime) -> Float[np.ndarray, "steps slots"]:
    """Return the share of every slot in its step's mean: 1/B, and 0 for slots that only fill up."""
    sizes = [len(batch) for batch in spacetime.explicit or ()] or [int(spacetime.B)] * int(spacetime.T)
    slots = np.arange(int(spacetime.B))
    return np.array([np.where(slots < size, 1 / size, 0.0) for size in sizes]).reshape(len(sizes), len(slots))


def _with_room(array: Shaped[np.ndarray, "..."], *, axis: int) -> Shaped[np.ndarray, "..."]:
    """Return an array with its axis of steps filled up by zeros, to one of few lengths."""
    steps = array.shape[axis]
    widths = [(0, 0)] * array.ndim
    widths[axis] = 0, _rounded_up(steps, _LEAST_STEPS) - steps
    return np.pad(array, widths)


def _rounded_up(number: int, least: int) -> int:
    """Return the next power of two, at least `least`."""
    return max(least, 1 << max(number - 1, 0).bit_length())


@per_loss
def _compiled_measure(
    example_loss: Loss, quantity: str, reading: str, chunk_size: int, devices: Devices
) -> Callable[..., Float[Array, " runs"]]:
    """Compile runs of SGD and their measurement, once for every loss, shape and question.

    The number of steps is an argument; batches and shares have room for more. Training sets are empty where the
    quantity does not depend on them.
    """

    def measure(
        params: PyTree,
        rate: Float[Array, ""],
        data: PyTree,
        training_sets: Int[Array, "runs points"],
        batches: Int[Array, "runs steps slots"],
        shares: Float[Array, "steps slots"],
        luck: Float[Array, " examples"],
        steps: Int[Array, ""],
    ) -> Float[Array, " runs"]:
        theta, loss = flat_loss(example_loss, params)
        run = _make_run(loss, quantity, reading)
        rate, shares, luck = (jnp.asarray(numbers, dtype=theta.dtype) for numbers in (rate, shares, luck))
        own = jax.lax.map(
            partial(run, theta, rate, data, shares, luck, steps), (training_sets, batches), batch_size=chunk_size
        )
        return devices.collected(own)

    return devices.compiled(measure, rows=(3, 4))  # every run has its own training set and batches


def _make_run(
    loss: Callable[[Float[Array, " params"], PyTree], Any], quantity: str, reading: str
) -> Callable[..., Float[Array, ""]]:
    """Return a function that does one run of SGD and measures the quantity at its end."""

    def losses(theta: Float[Array, " params"], data: PyTree, indices: Int[Array, " some"]) -> Float[Array, " some"]:
        examples = jax.tree.map(lambda leaf: leaf[indices], data)
        return jax.vmap(partial(loss, theta))(examples)

    def mean_loss(theta: Float[Array, " params"], data: PyTree, indices: Int[Array, " some"]) -> Float[Array, ""]:
        return jnp.mean(losses(theta, data, indices))

    def test_loss(
        theta: Float[Array, " params"],
        data: PyTree,
        test_data: PyTree,
        training_set: Int[Array, " points"],
        luck: Float[Array, " examples"],
    ) -> Float[Array, ""]:
        if reading == "conditional":
            return mean_loss(theta, test_data, jnp.arange(jax.tree.leaves(test_data)[0].shape[0]))
        population = jnp.arange(len(luck))
        if reading == "population":
            return mean_loss(theta, data, population)
        everything = losses(theta, data, population) - luck
        return (jnp.sum(everything) - jnp.sum(everything[training_set])) / (len(luck) - len(training_set))

    def run(
        theta: Float[Array, " params"],
        rate: Float[Array, ""],
        both_data: tuple[PyTree, PyTree],
        shares: Float[Array, "steps slots"],
        luck: Float[Array, " examples"],
        steps: Int[Array, ""],
        drawn: tuple[Int[Array, " points"], Int[Array, "steps slots"]],
    ) -> Float[Array, ""]:
        training_set, batches = drawn
        data, test_data = both_data

        def step(time: Int[Array, ""], theta: Float[Array, " params"]) -> Float[Array, " params"]:
            gradient = jax.grad(lambda theta: jnp.dot(shares[time], losses(theta, data, batches[time])))(theta)
            return theta - rate * gradient

        end = jax.lax.fori_loop(0, steps, step, theta)
        result = jnp.zeros(())
        if quantity != "train_loss":
            result += test_loss(end, data, test_data, training_set, luck)
        if quantity != "test_loss":
            train_loss = mean_loss(end, data, training_set) - jnp.mean(luck[training_set])
            result += train_loss if quantity == "train_loss" else -train_loss
        return result

    return run
