"""Moments of runs on one training set: whether they have settled, and what the next step does to them on average."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...derivatives import Loss, flat_loss, per_loss
from ...errors import ArgumentError
from ...estimates import Estimate, mean_and_stderr
from .._heavy_ball import TIMES
from .._numbers import check_choice
from ._plain import Plain
from ._trained import Runs, in_blocks


@dataclass(frozen=True)
class Stationarity(Plain):
    """A test of whether runs have settled.

    Attributes:
        residual: 2E[θᵀw] − λE|w|² − T E tr(D + β²), in squared parameters over steps and λ: −1/λ times the mean change
            of |θ|² in the next step, zero in the steady state; with its error across training sets.
        passed: whether zero is inside its 95% interval. Few runs pass easily: look at the residual's error too.
        relaxation_steps: 1/(λα), the steps that weight decay takes; infinite without it.
    """

    residual: Estimate
    passed: bool
    relaxation_steps: float


@dataclass(frozen=True, eq=False)
class Rates(Plain):
    """What a step does on average on one training set, with standard errors across runs.

    Attributes:
        mean, mean_stderr: of θ, shape (p,).
        covariance, covariance_stderr: of the covariance of θ over runs, shape (p, p).
        train_loss, test_loss: of the losses U and U_e, without weight decay; the test loss is the pool's mean loss with
            "iid" and "overlap" drawings, and that of the examples outside the training set with "split".
    """

    mean: np.ndarray
    mean_stderr: np.ndarray
    covariance: np.ndarray
    covariance_stderr: np.ndarray
    train_loss: Estimate
    test_loss: Estimate


def stationarity(runs: Runs) -> Stationarity:
    """Return the test from the parameters at the end."""
    compiled = _compiled_dissipation(runs.landscape.loss)
    rate, T = runs.learning_rate, runs.temperature
    ends = runs.params_at(-1)
    sets, each, size = ends.shape
    rows = np.repeat(runs.training_sets, each, axis=0)
    found = in_blocks(
        lambda vectors, chosen: compiled(runs.template, vectors, chosen, runs.landscape.data, runs.weight_decay),
        ends.reshape(-1, size),
        rows,
    )
    pull, squared, noise = (part.reshape(sets, each) for part in found)
    residuals = 2 * pull - rate * squared - T * (noise + runs.noise**2 * size)
    residual = Estimate.from_replicates(residuals.mean(axis=1), "ensemble")
    low, high = residual.interval()
    steps = 1 / (rate * runs.weight_decay) if runs.weight_decay else float("inf")
    return Stationarity(residual, low <= 0 <= high, steps)


@per_loss
def _compiled_dissipation(example_loss: Loss) -> Callable[[Any, Any, Any, Any, float], tuple[jax.Array, ...]]:
    """Compile θᵀw, |w|² and tr D of many runs, each on its own training set, shape (runs,) each."""

    @jax.jit
    def dissipation(params: Any, ends: jax.Array, sets: jax.Array, data: Any, decay: float) -> tuple[jax.Array, ...]:
        _, loss = flat_loss(example_loss, params)

        def one(run: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
            theta, chosen = run

            def sums(total: tuple[jax.Array, jax.Array], row: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
                gradient = jax.grad(loss)(theta, jax.tree.map(lambda leaf: leaf[row], data))
                return (total[0] + gradient, total[1] + gradient @ gradient), None

            (total, squares), _ = jax.lax.scan(sums, (jnp.zeros_like(theta), jnp.zeros((), theta.dtype)), chosen)
            mean = total / len(chosen)
            w = mean + decay * theta
            return theta @ w, w @ w, squares / len(chosen) - mean @ mean

        return jax.vmap(one)((ends, sets))

    return dissipation


def rates(runs: Runs, dataset: int, time: str) -> Rates:
    """Return the rates on one training set from the parameters at the end."""
    is_discrete = check_choice("time", time, TIMES) == "discrete"
    ends = runs.params_at(-1)[dataset].astype(float)
    count, size = ends.shape
    if count < 3:
        raise ArgumentError(
            f"Rates with their errors take at least 3 runs on a training set; got {count}: give runs=3."
        )
    chosen = runs.training_sets[dataset]
    pool = np.arange(runs.landscape.num_examples)
    tested = np.setdiff1d(pool, chosen) if runs.drawing == "split" else pool
    train, test = (jax.tree.map(lambda leaf, rows=rows: leaf[rows], runs.landscape.data) for rows in (chosen, tested))
    rate, T = runs.learning_rate, runs.temperature
    w, noise, changes = np.empty((count, size)), np.empty((count, size, size)), np.empty((2, count))
    compiled = _compiled_derivatives(runs.landscape.loss)
    for place, theta in enumerate(runs.params_at(-1)[dataset]):
        gradients, bend = (np.asarray(part, float) for part in compiled(runs.template, theta, train))
        slope = gradients.mean(axis=0)
        w[place] = slope + runs.weight_decay * ends[place]
        noise[place] = np.cov(gradients.T, ddof=0).reshape(size, size) + runs.noise**2 * np.eye(size)
        unseen, bend_of_test = (np.asarray(part, float) for part in compiled(runs.template, theta, test))
        for side, (direction, curve) in enumerate(((slope, bend), (unseen.mean(axis=0), bend_of_test))):
            changes[side, place] = -rate * direction @ w[place] + rate * T / 2 * np.sum(curve * noise[place])
            if is_discrete:
                changes[side, place] += rate**2 / 2 * w[place] @ curve @ w[place]
    away, pulled = ends - ends.mean(axis=0), w - w.mean(axis=0)
    both = np.einsum("ri,rj->rij", pulled, away)
    spread = -rate * (both + both.transpose(0, 2, 1))
    if is_discrete:
        spread += rate**2 * np.einsum("ri,rj->rij", pulled, pulled)
    # Products of deviations from means of the same runs are short by (R − 1)/R.
    mean, covariance = mean_and_stderr(-rate * w), mean_and_stderr(spread * count / (count - 1) + rate * T * noise)
    losses = [Estimate.from_replicates(change, "ensemble") for change in changes]
    return Rates(*mean, *covariance, *losses)


@per_loss
def _compiled_derivatives(example_loss: Loss) -> Callable[[Any, Any, Any], tuple[jax.Array, jax.Array]]:
    """Compile all examples' gradients, shape (n, p), and the Hessian of their mean loss."""

    @jax.jit
    def derivatives(params: Any, theta: jax.Array, examples: Any) -> tuple[jax.Array, jax.Array]:
        _, loss = flat_loss(example_loss, params)

        def mean(theta: jax.Array) -> jax.Array:
            return jnp.mean(jax.vmap(loss, in_axes=(None, 0))(theta, examples))

        return jax.vmap(jax.grad(loss), in_axes=(None, 0))(theta, examples), jax.hessian(mean)(theta)

    return derivatives
