"""Simulations of the stochastic differential equation that stands for SGD in continuous time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from .._arguments import check_integer
from .._keys import check_key
from .._learning_rates import check_learning_rates
from ..derivatives import flat_loss, per_loss
from ..errors import ArgumentError, SpacetimeError
from ..landscapes import Landscape, check_landscape, check_reading, enter
from ..progress import Progress, check_progress
from ..spacetimes import Spacetime
from ._sgd import _BLOCK
from ._simulation import Simulation


@dataclass(frozen=True, eq=False, repr=False)
class SDESimulation(Simulation):
    """The test loss after the SDE, averaged over independent paths; a `Simulation` with a figure for its time steps.

    Attributes:
        quantity: "test_loss".
        spacetime: the concrete spacetime whose T and B the SDE has.
        learning_rates: the learning rates, shape (R,).
        samples: for every path the loss extrapolated to endless substeps, shape (R, runs): twice the loss with all
            substeps less the loss with half as many on the same noise. The paths at different learning rates share
            their noise.
        substeps: the number of substeps in one step of SGD.
        refinements: what the extrapolation adds to the loss with all substeps, shape (R, runs).
    """

    substeps: int
    refinements: np.ndarray

    @property
    def discretization(self) -> np.ndarray:
        """A figure for the error of time steps: the size of the extrapolation, its own standard error included.

        The error of the extrapolated mean shrinks with the square of the substep, and this figure with the substep.
        """
        with np.errstate(invalid="ignore"):
            stderr = self.refinements.std(axis=1, ddof=1) / self.runs**0.5
            return np.hypot(self.refinements.mean(axis=1), stderr)

    def to_dict(self) -> dict[str, Any]:
        """Return the simulation as plain lists and numbers, for JSON; what is not finite is `None`."""
        figures = [float(x) if np.isfinite(x) else None for x in self.discretization]
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
    substeps: int = 4,
    runs: int = 2000,
    chunk_size: int = 16,
    progress: Progress | None = None,
    key: jax.Array,
) -> SDESimulation:
    """Run the SDE of SGD many times, dθ = −∇l dt + √(ηC(θ)/B) dW in Itô's sense for the time ηT, and average.

    This is what continuous time makes of SGD, and `feyngd.sde` its series; `simulate` runs SGD itself. Of the spacetime
    only T and B matter: the SDE sees fresh points all the time, as SGD does in one epoch. l and C are the mean loss and
    the covariance of the gradient over the data.

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
        substeps: the number of substeps in one step of SGD, even.
        runs: the number of paths at every learning rate, at least 2.
        chunk_size: the number of paths that are vectorised together; memory grows with it.
        progress: shows progress; silent by default.
        key: a JAX random key; the same key gives the same paths.

    Returns:
        An `SDESimulation`: mean, standard error and a figure for the time steps at every learning rate.

    Raises:
        ArgumentError: a learning rate is not positive and finite, substeps, runs or chunk size are unfit, or the
            landscape has the unbiased reading, which knows no distribution to take C from.
        SpacetimeError: the spacetime has symbols or batches of different sizes, or its N does not suit the reading.
        LandscapeError: the loss, data or parameters are unfit.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Corollary 3 and section 5.3.
    """
    rates = check_learning_rates(learning_rates)
    substeps = check_integer("substeps", substeps, least=2)
    if substeps % 2:
        raise ArgumentError(f"substeps is even, so that half as many can be compared; got {substeps}.")
    runs = check_integer("runs", runs, least=2)
    chunk_size = min(check_integer("chunk_size", chunk_size, least=1), runs)
    check_key(key, "The noise is drawn at random")
    shown = check_progress(progress)
    check_landscape(landscape)
    _check_spacetime(landscape, spacetime)
    landscape, params = enter(landscape, params, forward=False)
    landscape.validate(params)
    measure = _compiled_measure(landscape.loss, int(spacetime.T), int(spacetime.B), substeps, chunk_size)
    tested = landscape.data if landscape.test_data is None else landscape.test_data
    keys = jax.random.split(key, runs)
    ends = np.empty((2, len(rates), runs))
    size = chunk_size * max(1, min(runs, _BLOCK) // chunk_size)  # whole chunks, to compile them only
    with shown.task(len(rates) * runs, "paths of the SDE") as task:
        for row, rate in enumerate(rates):
            for first in range(0, runs, size):
                block = np.minimum(np.arange(first, first + size), runs - 1)  # the last one is filled up: one shape
                done = measure(params, rate, landscape.data, tested, keys[block])
                real = min(size, runs - first)
                ends[:, row, first : first + real] = np.asarray(done, dtype=float).T[:, :real]
                task.advance(real)
    fine, coarse = ends
    with np.errstate(invalid="ignore"):  # a path that has diverged is not finite
        return SDESimulation("test_loss", spacetime, rates, 2 * fine - coarse, substeps, fine - coarse)


def _check_spacetime(landscape: Landscape, spacetime: Spacetime) -> None:
    if not isinstance(spacetime, Spacetime):
        raise ArgumentError(f"A Spacetime is made by Spacetime.sgd, .gd or .from_batches; got {spacetime!r}.")
    spacetime.require_concrete("The SDE is simulated")
    if landscape.reading == "unbiased":
        raise ArgumentError(
            "In the unbiased reading the distribution is unknown, and so is the covariance C that drives the SDE: use "
            "a landscape with reading='population' or 'conditional'."
        )
    check_reading(landscape, spacetime)
    if sizes := {len(batch) for batch in spacetime.explicit or ()} - {int(spacetime.B)}:
        raise SpacetimeError(
            f"The SDE has one batch size, and these batches have {sorted({*sizes, int(spacetime.B)})}: give batches of "
            "one size."
        )


@per_loss
def _compiled_measure(
    example_loss: Callable[..., Any], steps: int, batch: int, substeps: int, chunk_size: int
) -> Callable[..., jax.Array]:
    """Compile paths of the SDE and the losses at their ends, with fine and with coarse steps."""

    @jax.jit
    def measure(params: Any, rate: Any, data: Any, tested: Any, keys: jax.Array) -> jax.Array:
        theta, loss = flat_loss(example_loss, params)
        run = _make_run(loss, steps, batch, substeps)
        rate = jnp.asarray(rate, dtype=theta.dtype)
        return jax.lax.map(partial(run, theta, rate, data, tested), keys, batch_size=chunk_size)

    return measure


def _make_run(loss: Callable[..., jax.Array], steps: int, batch: int, substeps: int) -> Callable[..., jax.Array]:
    def losses(theta: jax.Array, data: Any) -> jax.Array:
        return jax.vmap(partial(loss, theta))(data)

    def move(theta: jax.Array, rate: jax.Array, data: Any, step: jax.Array, increments: jax.Array) -> jax.Array:
        """Take one Euler–Maruyama step; `increments` are those of one Brownian motion for every example."""
        count = len(increments)
        noise = jnp.sqrt(rate / (batch * count)) * (increments - jnp.mean(increments))
        return theta + jax.grad(lambda theta: jnp.dot(noise - step / count, losses(theta, data)))(theta)

    def run(theta: jax.Array, rate: jax.Array, data: Any, tested: Any, key: jax.Array) -> jax.Array:
        step, count = rate / substeps, jax.tree.leaves(data)[0].shape[0]

        def two_steps(ends: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
            fine, coarse = ends
            first, second = jnp.sqrt(step) * jax.random.normal(key, (2, count), theta.dtype)
            fine = move(move(fine, rate, data, step, first), rate, data, step, second)
            return (fine, move(coarse, rate, data, 2 * step, first + second)), None

        ends, _ = jax.lax.scan(two_steps, (theta, theta), jax.random.split(key, steps * substeps // 2))
        return jnp.stack([jnp.mean(losses(end, tested)) for end in ends])

    return run
