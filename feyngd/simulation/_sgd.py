"""Simulations: ensembles of real SGD runs, each on a training set of its own."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, Shaped
from numpy.typing import ArrayLike

from .._arguments import check_integer
from .._keys import check_key
from .._learning_rates import check_learning_rates
from .._mesh import Devices, check_mesh
from ..derivatives import FrozenLoss, Loss, num_params, per_loss
from ..errors import ArgumentError
from ..landscapes import Landscape, check_landscape, check_reading, enter, metric_like, noise_words
from ..optimizers import PLAIN, Optimizer, check_optimizer
from ..progress import Progress, check_progress
from ..quantities import NUMBERS, Measurement, Variance, check_quantity, is_spread
from ..spacetimes import Spacetime, check_spacetime
from ._runs import compiled_measure
from ._simulated_curves import SimulatedCurves
from ._simulation import Simulation
from ._spread import ITERATE, check_spread, measured_by, spread_samples
from ._step_plan import LEAST_STEPS, StepPlan, check_times, rounded_up, with_room

BLOCK = 256  # runs of a device between two reports of progress, and between two chances to interrupt
_NOISE = 2  # of the streams of random numbers made from the key of a simulation: that of the noise at every use
_LEAST_DRAWN = 2**16  # training points: drawn together, with room for those of other spacetimes


@overload
def simulate(
    landscape: Landscape,
    params: Any,
    spacetime: Spacetime,
    learning_rates: ArrayLike,
    *,
    optimizer: Optimizer = PLAIN,
    times: None = None,
    runs: int = 2000,
    quantity: str = "test_loss",
    control: bool = False,
    chunk_size: int = 16,
    mesh: jax.sharding.Mesh | None = None,
    progress: Progress | None = None,
    key: jax.Array,
) -> Simulation: ...


@overload
def simulate(
    landscape: Landscape,
    params: Any,
    spacetime: Spacetime,
    learning_rates: ArrayLike,
    *,
    optimizer: Optimizer = PLAIN,
    times: Sequence[int] | np.ndarray | Literal["all"],
    runs: int = 2000,
    quantity: str = "test_loss",
    control: bool = False,
    chunk_size: int = 16,
    mesh: jax.sharding.Mesh | None = None,
    progress: Progress | None = None,
    key: jax.Array,
) -> SimulatedCurves: ...


def simulate(
    landscape: Landscape,
    params: Any,
    spacetime: Spacetime,
    learning_rates: ArrayLike,
    *,
    optimizer: Optimizer = PLAIN,
    times: Sequence[int] | np.ndarray | Literal["all"] | None = None,
    runs: int = 2000,
    quantity: str = "test_loss",
    control: bool = False,
    chunk_size: int = 16,
    mesh: jax.sharding.Mesh | None = None,
    progress: Progress | None = None,
    key: jax.Array,
) -> Simulation | SimulatedCurves:
    """Run SGD many times, every run with a fresh training set and fresh batches, and average.

    What a training set is depends on the landscape's reading. In the population reading it is N independent draws from
    the data, and the test loss is the mean over all data. In the unbiased reading it is N distinct examples, and the
    test loss is the mean over the others. In the conditional reading it is the data itself, and the test loss is the
    mean over the test data.

    Every step averages over its own batch, also where epochs end with a smaller one. With an optimizer that averages
    its iterates the loss is measured at their average.

    Args:
        landscape: the loss and the population from which training sets are drawn.
        params: the starting point, a pytree of floating-point arrays.
        spacetime: the concrete N, B, E, T and sampling.
        learning_rates: one or more learning rates, positive and finite.
        optimizer: what a step does with gradients: `sgd()`, `momentum(0.9)`, `schedule`, `averaged`, `preconditioned`,
            or `from_optax`, without symbols. Its multipliers are those of every learning rate.
        times: numbers of steps, 0 to T in increasing order, or "all", after each of which the quantity is measured in
            the same runs; by default after T. An average is then that of the steps up to there.
        runs: the number of runs at every learning rate, at least 2.
        quantity: "test_loss", "train_loss" or "gap", or a `measurement` with a function. How far runs spread:
            "test_loss_variance", "train_loss_variance", "test_loss_second_moment", the trace of the iterates'
            covariance, "covariance_trace", or the `variance` of a measurement. Standard errors of variances are the
            jackknife's.
        control: subtract from every run's loss what its batches do to first order by being better or worse than others,
            η Σ_s κ(T, s) G·(g_s − G) with the gradients at the start and the optimizer's kernel κ, 1 for plain SGD.
            That is zero on average, so that the mean stays, and most of the spread for small learning rates. Samples
            are then not losses of single runs.
        chunk_size: the number of runs that are vectorised together; memory grows with it.
        mesh: the devices that share the runs, a `jax.sharding.Mesh`; any number of runs is allowed. The runs are those
            of one device.
        progress: shows progress; silent by default.
        key: a JAX random key; the same key gives the same runs.

    Returns:
        A `Simulation`: mean and standard error at every learning rate. With `times` a `SimulatedCurves`: likewise at
        every learning rate and time.

    Raises:
        ArgumentError: a learning rate is not positive and finite, runs, chunk size, quantity, times or mesh are
            invalid, or a control is asked for in the gap; or the optimizer has symbols, another number of steps, a
            metric that does not suit the parameters, or no average at one of the times.
        SpacetimeError: the spacetime has symbols, or its N does not suit the reading.
        LandscapeError: the loss, data or parameters are invalid.

    Examples:
        >>> import feyngd as fd
        >>> landscape, start = fd.landscapes.toys.cosh()
        >>> simulate(landscape, start, fd.Spacetime.sgd(N=4), [0.1, 0.2], runs=8, key=jax.random.key(0)).samples.shape
        (2, 8)
        >>> options = {"optimizer": fd.momentum(0.9), "times": [0, 4], "runs": 8, "key": jax.random.key(0)}
        >>> simulate(landscape, start, fd.Spacetime.sgd(N=4), [0.1, 0.2], **options).mean.shape
        (2, 2)
    """
    rates = check_learning_rates(learning_rates)
    check_optimizer(optimizer)
    check_quantity(quantity, NUMBERS, measured=True, spreads=True)
    runs = check_integer("runs", runs, least=2)
    chunk_size = check_integer("chunk_size", chunk_size, least=1)
    check_mesh(mesh)
    check_key(key, "Training sets and batches are drawn at random")
    shown = check_progress(progress)
    check_spacetime(spacetime, concrete="SGD is simulated")
    looks = check_times(times, int(spacetime.T))
    plan = StepPlan.make(optimizer, _shares(spacetime), looks)
    if isinstance(quantity, (Measurement, Variance)):
        check_landscape(landscape)
        landscape = landscape.measuring(quantity.measurement if isinstance(quantity, Variance) else quantity)
    landscape, params = enter(landscape, params, forward=control, update=True, noise=True)
    count = 1 if looks is None else len(looks)
    check_spread(quantity, landscape, runs, count, num_params(params), control=control)
    check_reading(landscape, spacetime)
    if control and quantity == "gap":
        raise ArgumentError("A control subtracts what batches do to first order, and that is nothing in the gap.")
    if optimizer.metric is not None and landscape.update is not None:
        raise ArgumentError("A metric belongs to gradients: put it into the update, M · update(params, example).")
    metric = None if optimizer.metric is None else metric_like(params, optimizer.metric.tree)
    landscape.validate(params)
    training_sets, batches = _draw(landscape, spacetime, runs, key)
    noise = _noise_of_runs(landscape, runs, key)
    rows = with_room(batches, LEAST_STEPS, axis=1)
    # N is in the program only where a run is measured on its training set.
    where = landscape.reading if landscape.test_data is None else "apart"
    name = measured_by(quantity)
    needs_sets = name in ("train_loss", "gap") or where == "unbiased"
    sets = training_sets if needs_sets else training_sets[:, :0]
    devices = Devices(mesh)
    own = min(devices.each(runs), BLOCK)
    size = devices.size * own
    measure = compiled_measure(
        landscape.loss,
        name,
        where,
        min(chunk_size, own),
        devices,
        landscape.measured,
        landscape.update,
        landscape.per_use_noise,
    )
    luck = _luck(landscape, params)
    given = params, (landscape.data, landscape.test_data), metric, plan.with_room(), luck
    start, data, *others = devices.placed(given)  # once for all blocks
    samples = np.empty((len(rates), count, runs))
    with shown.task(len(rates) * runs, "runs of SGD") as task:
        for row, rate in enumerate(rates):
            found: list[np.ndarray] = []
            for first in range(0, runs, size):
                block = np.minimum(np.arange(first, first + size), runs - 1)  # the last block is filled up: one shape
                done = measure(start, rate, data, sets[block], rows[block], noise[block], *others)
                real = min(size, runs - first)
                found.append(np.asarray(done)[:real, :count])
                task.advance(real)
            measured = np.concatenate(found).astype(found[0].dtype if name == ITERATE else float)
            if quantity == "train_loss_variance":  # which the luck of the training set is part of
                measured += luck[training_sets].mean(axis=1, keepdims=True)
            samples[row] = (spread_samples(quantity, measured) if is_spread(quantity) else measured).T
    if control:
        gains = _gains(landscape, params, quantity, metric)
        luck_of_batches = np.einsum("rtb,tb->rt", (gains - gains.mean())[batches], plan.shares)
        samples += rates[:, None, None] * plan.moved(luck_of_batches)
    ran = optimizer.over_steps(int(spacetime.T)).in_floats()
    if looks is None:
        return Simulation(quantity, spacetime, rates, samples[:, 0], optimizer=ran)
    return SimulatedCurves(quantity, spacetime, rates, looks, samples, optimizer=ran)


def _draw(
    landscape: Landscape, spacetime: Spacetime, runs: int, key: PRNGKeyArray
) -> tuple[Int[np.ndarray, "runs points"], Int[np.ndarray, "runs steps slots"]]:
    """Return training sets, N examples for every run, and batches, B of these examples for every step."""
    for_sets, for_batches = jax.random.split(key)
    N, M = int(spacetime.N), landscape.num_examples
    if landscape.reading == "population":
        room = rounded_up(runs * N, _LEAST_DRAWN)
        training_sets = np.asarray(jax.random.randint(for_sets, (room,), 0, M))[: runs * N].reshape(runs, N)
    elif landscape.reading == "unbiased":
        keys = jax.random.split(for_sets, runs)
        training_sets = np.stack([np.asarray(jax.random.permutation(one, M)[:N]) for one in keys])
    else:
        training_sets = np.broadcast_to(np.arange(M), (runs, M))
    rng = np.random.default_rng(np.asarray(jax.random.bits(for_batches, (4,))).tolist())
    batches = training_sets[np.arange(runs)[:, None, None], spacetime.sample(rng, runs, fill=True)]
    return training_sets.astype(np.int32), batches.astype(np.int32)


def _noise_of_runs(landscape: Landscape, runs: int, key: PRNGKeyArray) -> Shaped[np.ndarray, "runs words"]:
    """Return the words of a key for every run, from which it draws noise at every use; none where there is no noise."""
    if not landscape.per_use_noise:
        return np.zeros((runs, 0), dtype=np.uint32)
    return np.asarray(noise_words(jax.random.fold_in(key, _NOISE), runs))


def _luck(landscape: Landscape, params: PyTree) -> Float[np.ndarray, " examples"]:
    """Return every example's loss at the start less the population's mean."""
    losses = np.asarray(landscape.losses(params), dtype=float)
    return losses - losses.mean()


def _gains(
    landscape: Landscape, params: PyTree, quantity: str, metric: PyTree | None
) -> Float[np.ndarray, " examples"]:
    """Return how much a step along every example's gradient lowers the loss to first order, G·Mg with the metric M."""
    is_tested = quantity not in ("train_loss", "gap") and landscape.test_data is not None
    tested, measured = (landscape.test_function, landscape.test_data) if is_tested else (landscape.loss, landscape.data)
    gains = _compiled_gains(landscape.loss, min(BLOCK, landscape.num_examples), tested, landscape.update)
    return np.asarray(gains(params, landscape.data, measured, metric), dtype=float)


@per_loss
def _compiled_gains(
    loss: Loss, chunk_size: int, tested: Loss, update: FrozenLoss | None = None
) -> Callable[[PyTree, PyTree, PyTree, PyTree | None], Float[Array, " examples"]]:
    """Compile G·Mg of every example, G being the gradient of the mean of `tested` over data of their own."""

    @jax.jit
    def gains(params: PyTree, data: PyTree, measured: PyTree, metric: PyTree | None) -> Float[Array, " examples"]:
        def mean(params: PyTree) -> Float[Array, ""]:
            return jnp.mean(jax.lax.map(partial(tested, params), measured, batch_size=chunk_size))

        direction = jax.grad(mean)(params)
        if metric is not None:
            direction = jax.tree.map(jnp.multiply, metric, direction)

        def gain(example: PyTree) -> Float[Array, ""]:
            if update is not None:
                return jnp.dot(ravel_pytree(direction)[0], update(params, example))
            return jax.jvp(lambda p: loss(p, example), (params,), (direction,))[1]

        return jax.lax.map(gain, data, batch_size=chunk_size)

    return gains


def _shares(spacetime: Spacetime) -> Float[np.ndarray, "steps slots"]:
    """Return the share of every slot in its step's mean: 1 by the size of the batch, and 0 for slots that fill up."""
    sizes = np.array(spacetime.batch_sizes(), dtype=int)[:, None]
    return np.where(np.arange(int(spacetime.B)) < sizes, 1 / sizes, 0.0)
