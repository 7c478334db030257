"""Simulations of the stochastic differential equation that stands for SGD in continuous time."""

from collections.abc import Callable
from dataclasses import dataclass
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
from ..errors import ArgumentError, SpacetimeError
from ..estimates import finite_or_none, mean_and_stderr
from ..landscapes import Landscape, check_landscape, check_reading, enter
from ..optimizers import PLAIN, Optimizer, check_optimizer
from ..progress import Progress, check_progress
from ..spacetimes import Spacetime, check_spacetime
from ._sgd import BLOCK
from ._simulation import Simulation


@dataclass(frozen=True, eq=False, repr=False)
class SDESimulation(Simulation):
    """The test loss after the SDE, averaged over independent paths; a `Simulation` with a figure for its time steps.

    Attributes:
        quantity: "test_loss".
        spacetime: the concrete spacetime whose T and B the SDE has.
        learning_rates: the learning rates, shape (R,).
        samples: for every path the loss extrapolated to infinitely many substeps, shape (R, runs): twice the loss with
            all substeps less the loss with half as many on the same noise. The paths at different learning rates share
            their noise.
        substeps: the number of substeps in one step of SGD.
        refinements: what the extrapolation adds to the loss with all substeps, shape (R, runs).
    """

    substeps: int
    refinements: Float[np.ndarray, "rates runs"]

    @property
    def discretization(self) -> np.ndarray:
        """A figure for the error of time steps: the size of the extrapolation, its own standard error included.

        The error of the extrapolated mean shrinks with the square of the substep, and this figure with the substep.
        """
        return np.hypot(*mean_and_stderr(self.refinements, axis=1))

    def to_dict(self) -> dict[str, Any]:
        """Return the simulation as plain lists and numbers, for JSON; what is not finite is `None`."""
        figures = finite_or_none(self.discretization)
        return {**super().to_dict(), "limit": "SDE", "substeps": self.substeps, "discretization": figures}

    def __repr__(self) -> str:
        return f"<SDE{super().__repr__()[1:-1]}, {self.substeps} substeps>"

    def __str__(self) -> str:
        first, *rows = super().__str__().splitlines()
        figures = (f"   ± {figure:.2g} (time steps)" for figure in self.discretization)
        rows = [row + figure for row, figure in zip(rows, figures, strict=True)]
        return "\n".join([f"SDE {first}, {self.substeps} substeps a step", *rows])


def simulate_sde(
    landscape: Landscape,
    params: Any,
    spacetime: Spacetime,
    learning_rates: ArrayLike,
    *,
    optimizer: Optimizer = PLAIN,
    substeps: int = 4,
    runs: int = 2000,
    chunk_size: int = 16,
    mesh: jax.sharding.Mesh | None = None,
    progress: Progress | None = None,
    key: jax.Array,
) -> SDESimulation:
    """Run the SDE of SGD many times, dθ = −∇l dt + √(ηC(θ)/B) dW in Itô's sense for the time ηT, and average.

    This is what continuous time makes of SGD, and `feyngd.sde` its series; `simulate` runs SGD itself. Of the spacetime
    only T and B matter: the SDE never sees a point twice, like SGD in one epoch. l and C are the mean loss and
    the covariance of the gradient over the data. It is the limit of plain SGD with batches of one size.

    The equation is integrated by Euler's and Maruyama's method in `substeps` substeps a step, and in half as many on
    the same noise, and extrapolated (Richardson, Talay and Tubaro). C is never formed: for independent normal ξ_n the
    vector `M^(−½) Σ_n (ξ_n − ξ̄) ∇l_n(θ)` has covariance C(θ), so that a substep takes one gradient of a weighted mean.
    A path costs 3/2 · T · `substeps` gradients over the data. Where gradients or their noise grow faster than θ, single
    paths can blow up although those of the SDE do not, which shows in `discretization`: use smaller learning rates.

    Args:
        landscape: the loss and the data; in the conditional reading the test loss is that of its test data.
        params: the starting point, a pytree of floating-point arrays.
        spacetime: a concrete spacetime, of which T and B are used.
        learning_rates: one or more learning rates, positive and finite.
        optimizer: `sgd()`; others are refused.
        substeps: the number of substeps in one step of SGD, even.
        runs: the number of paths at every learning rate, at least 2.
        chunk_size: the number of paths that are vectorised together; memory grows with it.
        mesh: the devices that share the paths, a `jax.sharding.Mesh`; any number of paths is allowed.
        progress: shows progress; silent by default.
        key: a JAX random key; the same key gives the same paths.

    Returns:
        An `SDESimulation`: mean, standard error and a figure for the time steps at every learning rate.

    Raises:
        ArgumentError: a learning rate is not positive and finite, substeps, runs, chunk size or mesh are invalid, the
            optimizer is not plain SGD, or the landscape has the unbiased reading, in which the distribution, and so C,
            is unknown.
        SpacetimeError: the spacetime has symbols or batches of different sizes, or its N does not suit the reading.
        LandscapeError: the loss, data or parameters are invalid.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Corollary 3 and section 5.3.
    """
    rates = check_learning_rates(learning_rates)
    if check_optimizer(optimizer) != PLAIN:
        raise ArgumentError(
            f"The SDE is that of plain SGD; got the optimizer {optimizer}. Simulate real runs with it, by "
            "simulate(..., optimizer=...), or leave optimizer out here; at small η "
            "momentum β is close to plain SGD at η/(1 − β)."
        )
    substeps = check_integer("substeps", substeps, least=2)
    if substeps % 2:
        raise ArgumentError(f"substeps is even, so that half as many can be compared; got {substeps}.")
    runs = check_integer("runs", runs, least=2)
    chunk_size = check_integer("chunk_size", chunk_size, least=1)
    check_mesh(mesh)
    check_key(key, "The noise is drawn at random")
    shown = check_progress(progress)
    check_landscape(landscape)
    _check_spacetime(landscape, spacetime)
    landscape, params = enter(landscape, params, forward=False)
    landscape.validate(params)
    devices = Devices(mesh)
    own = devices.each(runs)
    chunk_size = min(chunk_size, own)
    measure = _compiled_measure(landscape.loss, substeps, chunk_size, devices)
    sizes = np.int32(spacetime.T), np.int32(spacetime.B)
    tested = landscape.data if landscape.test_data is None else landscape.test_data
    start, data, tested = devices.placed((params, landscape.data, tested))  # once for all blocks
    keys = jax.random.split(key, runs)
    ends = np.empty((2, len(rates), runs))
    size = devices.size * chunk_size * max(1, min(own, BLOCK) // chunk_size)  # whole chunks, to compile them only
    with shown.task(len(rates) * runs, "paths of the SDE") as task:
        for row, rate in enumerate(rates):
            for first in range(0, runs, size):
                block = np.minimum(np.arange(first, first + size), runs - 1)  # the last block is filled up: one shape
                done = measure(start, rate, data, tested, keys[block], *sizes)
                real = min(size, runs - first)
                ends[:, row, first : first + real] = np.asarray(done, dtype=float).T[:, :real]
                task.advance(real)
    fine, coarse = ends
    with np.errstate(invalid="ignore"):  # a path that has diverged is not finite
        return SDESimulation("test_loss", spacetime, rates, 2 * fine - coarse, substeps, fine - coarse)


def _check_spacetime(landscape: Landscape, spacetime: Spacetime) -> None:
    check_spacetime(spacetime, concrete="The SDE is simulated")
    if landscape.reading == "unbiased":
        raise ArgumentError(
            "In the unbiased reading the distribution is unknown, and so is the covariance C that drives the SDE: use "
            "a landscape with reading='population' or 'conditional'."
        )
    check_reading(landscape, spacetime)
    if len(sizes := sorted(set(spacetime.batch_sizes()))) > 1:
        cure = (
            "give batches of one size" if spacetime.explicit is not None else "leave the last one out, drop_last=True"
        )
        raise SpacetimeError(f"The SDE has one batch size, and these batches have {sizes}: {cure}.")


@per_loss
def _compiled_measure(
    example_loss: Loss, substeps: int, chunk_size: int, devices: Devices
) -> Callable[..., Float[Array, "runs 2"]]:
    """Compile paths of the SDE and the losses at their ends, with fine and with coarse substeps.

    T and B are arguments, so that all spacetimes run the same program.
    """

    def measure(
        params: PyTree,
        rate: Float[Array, ""],
        data: PyTree,
        tested: PyTree,
        keys: Shaped[Array, " runs *raw"],
        steps: Int[Array, ""],
        batch: Int[Array, ""],
    ) -> Float[Array, "runs 2"]:
        theta, loss = flat_loss(example_loss, params)
        run = _make_run(loss, steps, batch, substeps)
        rate = jnp.asarray(rate, dtype=theta.dtype)
        return devices.collected(jax.lax.map(partial(run, theta, rate, data, tested), keys, batch_size=chunk_size))

    return devices.compiled(measure, rows=(4,))  # every path has its own key


def _make_run(
    loss: Callable[[Float[Array, " params"], PyTree], Any], steps: Int[Array, ""], batch: Int[Array, ""], substeps: int
) -> Callable[..., Float[Array, "2"]]:
    """Return a function that follows one path of the SDE, for the time ηT, twice at once.

    The state is θ with fine substeps of length h = η/substeps, and θ with coarse ones of length 2h, both driven by the
    same Brownian motions W_n, one for every example n. With M examples, l their mean loss and l_n that of one,

        θ ← θ − h ∇l(θ) + √(η/(BM)) Σ_n (ΔW_n − mean of ΔW) ∇l_n(θ),    ΔW_n ~ N(0, h),

    has the covariance ηhC/B in each substep. It is one gradient of a weighted sum of the examples' losses.
    """

    def losses(theta: Float[Array, " params"], data: PyTree) -> Float[Array, " examples"]:
        return jax.vmap(partial(loss, theta))(data)

    def move(
        theta: Float[Array, " params"],
        rate: Float[Array, ""],
        data: PyTree,
        h: Float[Array, ""],
        increments: Float[Array, " examples"],
    ) -> Float[Array, " params"]:
        """Take one Euler–Maruyama substep of length h; `increments` are ΔW."""
        count = len(increments)  # M
        noise = jnp.sqrt(rate / batch / count) * (increments - jnp.mean(increments))
        return theta + jax.grad(lambda theta: jnp.dot(noise - h / count, losses(theta, data)))(theta)

    def run(
        theta: Float[Array, " params"], rate: Float[Array, ""], data: PyTree, tested: PyTree, key: PRNGKeyArray
    ) -> Float[Array, "2"]:
        h, count = rate / substeps, jax.tree.leaves(data)[0].shape[0]

        def two_substeps(
            time: Int[Array, ""], ends: tuple[Float[Array, " params"], Float[Array, " params"]]
        ) -> tuple[Float[Array, " params"], Float[Array, " params"]]:
            fine, coarse = ends
            normal = jax.random.normal(jax.random.fold_in(key, time), (2, count), theta.dtype)
            first, second = jnp.sqrt(h) * normal  # ΔW of the two fine substeps
            fine = move(move(fine, rate, data, h, first), rate, data, h, second)
            return fine, move(coarse, rate, data, 2 * h, first + second)

        ends = jax.lax.fori_loop(0, steps * (substeps // 2), two_substeps, (theta, theta))
        return jnp.stack([jnp.mean(losses(end, tested)) for end in ends])

    return run
