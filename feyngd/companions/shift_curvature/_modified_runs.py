"""Real runs of the paper's modified SGD: a penalty, and a noise that is the same in all directions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._arguments import check_integer
from ..._keys import check_key
from ..._learning_rates import check_learning_rate
from ...derivatives import Loss, flat_loss, per_loss
from ...drawing import new_axes
from ...errors import ArgumentError, LandscapeError
from ...estimates import Estimate, mean_and_stderr
from ...landscapes import Landscape, enter
from ...minima import MeanLoss
from .._numbers import check_number
from ._at_a_point import Noise


@dataclass(frozen=True, eq=False)
class ModifiedRuns:
    """Independent runs from one start.

    Attributes:
        steps: after how many steps losses were measured, shape (K,).
        train_losses: U with the penalty, shape (K, runs).
        test_losses: V without it, shape (K, runs).
        params: where the runs ended, shape (runs, p).
    """

    steps: np.ndarray
    train_losses: np.ndarray
    test_losses: np.ndarray
    params: np.ndarray
    landscape: Landscape = field(repr=False)
    start: Any = field(repr=False)
    learning_rate: float
    batch_size: int
    penalty: float
    isotropic: float
    key: Any = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return settings, and means of the losses over runs with their standard errors, as plain numbers for JSON."""
        settings = ("learning_rate", "batch_size", "penalty", "isotropic")
        found: dict[str, Any] = {name: getattr(self, name) for name in settings}
        found |= {"runs": len(self.params), "steps": self.steps.tolist()}
        for name in ("train_losses", "test_losses"):
            mean, stderr = mean_and_stderr(getattr(self, name).T)
            found[name] = {"mean": mean.tolist(), "stderr": stderr.tolist()}
        return found

    def plot(self, ax: Any = None) -> Any:
        """Draw mean losses over steps with two standard errors, and return the Matplotlib axes."""
        ax = new_axes(ax)
        for name, losses in (("train", self.train_losses), ("test", self.test_losses)):
            mean, stderr = mean_and_stderr(losses.T)
            (drawn,) = ax.plot(self.steps, mean, label=f"{name} loss")
            ax.fill_between(self.steps, mean - 2 * stderr, mean + 2 * stderr, color=drawn.get_color(), alpha=0.3, lw=0)
        ax.set(xlabel="steps", ylabel=f"mean over {len(self.params)} runs")
        ax.legend()
        return ax

    def settled(self, burn_in: int) -> tuple[Estimate, Estimate]:
        """Return mean train and test loss after a number of steps, over time and runs; errors are from the runs.

        Raises:
            ArgumentError: nothing was measured after the burn-in.
        """
        late = self.steps > check_integer("burn_in", burn_in, least=0)
        if not late.any():
            raise ArgumentError(f"burn_in is below the last measured step, {self.steps[-1]}; got {burn_in}.")
        train, test = (
            Estimate.from_replicates(losses[late].mean(axis=0), "runs")
            for losses in (self.train_losses, self.test_losses)
        )
        return train, test


def simulate_modified(
    landscape: Landscape,
    params: Any,
    learning_rate: float,
    *,
    batch_size: int,
    steps: int,
    penalty: float = 0.0,
    isotropic: float = 0.0,
    runs: int = 16,
    measure_every: int | None = None,
    key: Any,
) -> ModifiedRuns:
    """Run θ ← θ − η ḡ_B − ηαθ + √(ηT) β w with batches drawn with replacement, T = η/B and normal w.

    Args:
        landscape: the loss and its data; test losses are on the test data of the conditional reading.
        params: where all runs start.
        learning_rate: η.
        batch_size: B.
        steps: of each run.
        penalty: α.
        isotropic: β, of a noise like that of a gradients' covariance β²I.
        runs: how many, at least 2.
        measure_every: how many steps lie between measurements; by default a hundredth of the run.
        key: a JAX random key.

    Raises:
        ArgumentError: an argument is invalid; or there are flat directions with noise and no penalty to hold them,
            which is seen from α = 0 with β > 0 and a Hessian at the start that is singular along some direction.
        LandscapeError: loss or gradient are not finite, or a run leaves the finite numbers.

    References:
        Bradley et al., equation 13 (corrected: λ in front of the noise is missing in print).
    """
    rate, batch = check_learning_rate(learning_rate), check_integer("batch_size", batch_size, least=1)
    count, number = check_integer("steps", steps, least=1), check_integer("runs", runs, least=2)
    every = check_integer("measure_every", measure_every or max(1, count // 100), least=1)
    alpha, beta = check_number("penalty", penalty, least=0), check_number("isotropic", isotropic, least=0)
    check_key(key, "Runs draw batches and noise at random")
    landscape, params = enter(landscape, params)
    landscape.validate(params)
    if beta and not alpha:
        _check_held(MeanLoss(landscape, params), rate / batch * beta**2)
    blocks = count // every
    if not blocks:
        raise ArgumentError(f"measure_every={every} is more than the run's {count} steps.")
    run = _compiled_run(landscape.loss, batch, every, blocks)
    test = landscape.data if landscape.test_data is None else landscape.test_data
    keys = jax.random.split(key, number)
    ends, train_losses, test_losses = run(params, landscape.data, test, rate, alpha, beta, keys)
    if not np.isfinite(np.asarray(train_losses)).all():
        raise LandscapeError(
            f"A run left the finite numbers at learning_rate={rate:g}: give a smaller one, or a start nearer to a "
            "minimum."
        )
    return ModifiedRuns(
        steps=every * np.arange(1, blocks + 1),
        train_losses=np.asarray(train_losses, dtype=float).T,
        test_losses=np.asarray(test_losses, dtype=float).T,
        params=np.asarray(ends, dtype=float),
        landscape=landscape,
        start=params,
        learning_rate=rate,
        batch_size=batch,
        penalty=alpha,
        isotropic=beta,
        key=key,
    )


def stationarity(runs: ModifiedRuns) -> tuple[Estimate, Estimate]:
    """Return two numbers that are 0 where runs are stationary, with standard errors from independent runs.

    The first is E[(θ − θ0)·∇U] − (η/2) E|g_B|², which is 0 exactly in a stationary state, since |θ − θ0|² does not
    change in the mean. The second is E|∇U|² − (η/2) E[g_Bᵀ C g_B], from the train loss in place of the square: 0 on
    quadratic losses. Both are taken at the runs' ends. θ0 is the start; any fixed point would do.

    Args:
        runs: of `simulate_modified`, whose batches are drawn with replacement.

    References:
        Fluctuation-dissipation relations after Yaida; the project's own form for batches drawn with replacement.
    """
    rate, batch = runs.learning_rate, runs.batch_size
    replicates = []
    keys = jax.random.split(jax.random.fold_in(runs.key, 1), len(runs.params))
    surface = MeanLoss(runs.landscape, runs.start, "train", runs.penalty)
    for theta, key in zip(runs.params, keys, strict=True):
        noise = Noise(runs.landscape, surface.shaped(theta), runs.isotropic)
        gradient, v = surface(theta)[1], noise.samples(1, key)[0]  # E[v vᵀ] = D
        forms = [float(x @ surface.products(theta, x[None])[0]) for x in (gradient, v)]
        square = float(gradient @ gradient)
        first = float((theta - surface.start) @ gradient) - rate / 2 * (square + noise.trace() / batch)
        replicates.append((first, square - rate / 2 * (forms[0] + forms[1] / batch)))
    one, other = (Estimate.from_replicates(np.array(each), "runs") for each in zip(*replicates, strict=True))
    return one, other


def _check_held(surface: MeanLoss, speed: float) -> None:
    """Raise where noise in all directions meets flat ones: parameters would diffuse for ever."""
    size = len(surface.start)
    values = np.linalg.eigvalsh(surface.hessian(surface.start)) if size <= 1500 else np.zeros(0)
    flat = int(np.sum(np.abs(values) <= 10 * size**0.5 * surface.eps * np.abs(values).max(initial=0.0)))
    if flat:
        raise ArgumentError(
            f"{flat} directions are flat at the start, and isotropic noise with penalty=0 would carry the parameters "
            f"along them for ever, by a variance of {speed:.2g}·η a step: give penalty=α above 0."
        )


@per_loss
def _compiled_run(loss: Loss, batch: int, every: int, blocks: int) -> Callable[..., Any]:
    """Compile all runs: ends (runs, p), train and test losses (runs, blocks)."""

    def run(params: Any, data: Any, test: Any, rate: Any, alpha: Any, beta: Any, key: Any) -> Any:
        start, example_loss = flat_loss(loss, params)
        count = jax.tree.leaves(data)[0].shape[0]

        def mean(theta: jax.Array, examples: Any) -> jax.Array:
            return jnp.mean(jax.vmap(partial(example_loss, theta))(examples))

        def step(theta: jax.Array, key: Any) -> tuple[jax.Array, None]:
            for_batch, for_noise = jax.random.split(key)
            drawn = jax.random.randint(for_batch, (batch,), 0, count)
            gradient = jax.grad(mean)(theta, jax.tree.map(lambda leaf: leaf[drawn], data))
            noise = jax.random.normal(for_noise, theta.shape, theta.dtype)
            moved = theta - rate * (gradient + alpha * theta) + rate / batch**0.5 * beta * noise
            return moved.astype(theta.dtype), None

        def block(theta: jax.Array, key: Any) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            theta, _ = jax.lax.scan(step, theta, jax.random.split(key, every))
            return theta, (mean(theta, data) + alpha / 2 * theta @ theta, mean(theta, test))

        end, (train_losses, test_losses) = jax.lax.scan(block, start, jax.random.split(key, blocks))
        return end, train_losses, test_losses

    return jax.jit(jax.vmap(run, in_axes=(None, None, None, None, None, None, 0)))
