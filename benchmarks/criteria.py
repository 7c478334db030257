"""AIC, TIC and STIC against simulations: the gap itself, the choice of a penalty by them, and what STIC costs.

python benchmarks/criteria.py [gap] [selection] [descent] [cost]
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from measuring import fastest_gradient, in_turns
from problems import num_params, trained

from feyngd.training import stic, stic_value, tic_value

RATE = 0.1
STEPS = 300  # for the choice of a penalty
PENALTIES = np.geomspace(1e-4, 10, 31)  # descent with penalties above 2/η = 20 diverges


# --- the gap ------------------------------------------------------------------------------------------------------


def gap(steps: int, time: str, sets: int = 4000, count: int = 200) -> dict[str, float]:
    """Return simulated gap and excess test loss of linear regression, and STIC from every training set, over formulas.

    Gradient descent starts from the test minimum θ* = 0: y = noise, l = ½(x·θ − y)². Then H = E x xᵀ and C = σ²H;
    to leading order in 1/N the gap is tr[C φ(H)]/N, the excess test loss tr[C φ(H) H φ(H)]/2N.
    """
    spectrum, noise = np.array([2.0, 1.0, 0.5, 0.1, 0.01]), 0.7
    rng = np.random.default_rng(0)
    x = rng.normal(size=(sets, count, 5)) * np.sqrt(spectrum)
    y = noise * rng.normal(size=(sets, count))

    def loss(theta: jax.Array, example: Any) -> jax.Array:
        return 0.5 * (theta @ example[0] - example[1]) ** 2

    @jax.jit
    @jax.vmap
    def run(x: jax.Array, y: jax.Array) -> tuple[jax.Array, ...]:
        theta = descended(loss, jnp.zeros(5), (x, y), steps)
        excess = 0.5 * jnp.sum(spectrum * theta**2)
        at_start = jnp.mean(y**2) / 2 - noise**2 / 2  # the luck of the training set, zero on average
        train = jnp.mean((x @ theta - y) ** 2) / 2 - noise**2 / 2 - at_start
        return excess - train, excess, stic_value(loss, theta, (x, y), learning_rate=RATE, steps=steps, time=time)

    found = [np.asarray(column) for column in run(x, y)]
    left = (1 - RATE * spectrum) ** steps if time == "discrete" else np.exp(-RATE * steps * spectrum)
    formulas = [noise**2 * np.sum(1 - left) / count, noise**2 * np.sum((1 - left) ** 2) / (2 * count)]
    formulas.append(found[0].mean())  # the mean of STIC is set against the simulated gap
    ratios = {}
    for name, column, formula in zip(("gap", "excess", "STIC"), found, formulas, strict=True):
        ratios[name], ratios[f"{name} ±"] = column.mean() / formula, column.std(ddof=1) / sets**0.5 / formula
    return ratios


# --- the choice of a penalty --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """A quadratic task with a penalty ½λ‖θ‖² to choose; its truth θ* is drawn for every trial, from N(0, 1).

    Attributes:
        kind: "mean" for l = ½ Σ h_i (θ_i − θ*_i)² + noise·x·θ, "regression" for l = ½(x·θ − y)².
        spectrum: the eigenvalues of the Hessian.
        noise: the noise of the gradients (mean estimation) or of y (regression).
        count: N.
    """

    kind: str
    spectrum: tuple[float, ...]
    noise: float
    count: int

    def draw(self, trials: int, seed: int = 0) -> tuple[np.ndarray, Any]:
        """Return the truths, and the training sets."""
        rng = np.random.default_rng(seed)
        truth = rng.normal(size=(trials, len(self.spectrum)))
        x = rng.normal(size=(trials, self.count, len(self.spectrum)))
        if self.kind == "mean":
            return truth, (x, np.repeat(truth[:, None], self.count, axis=1), np.broadcast_to(self.spectrum, x.shape))
        x = x * np.sqrt(self.spectrum)
        y = np.einsum("rnd,rd->rn", x, truth) + self.noise * rng.normal(size=(trials, self.count))
        return truth, (x, y)

    def loss(self, theta: jax.Array, example: Any) -> jax.Array:
        """Return the loss of one example without the penalty."""
        if self.kind == "mean":
            x, truth, h = example
            return 0.5 * jnp.sum(h * (theta - truth) ** 2) + self.noise * x @ theta
        x, y = example
        return 0.5 * (x @ theta - y) ** 2

    def outcomes(self, penalty: jax.Array, truth: jax.Array, data: Any) -> tuple[jax.Array, ...]:
        """Return excess test loss and training loss after descent from 0 with a penalty, STIC and TIC there."""
        spectrum = jnp.asarray(self.spectrum)
        if self.kind == "regression":
            return self._outcomes(penalty, spectrum, truth, data)
        # Nothing couples the directions: losses and traces are sums over problems with one parameter each.
        columns = jax.tree.map(lambda leaf: leaf.T[:, :, None], data)
        each = jax.vmap(self._outcomes, in_axes=(None, 0, 0, 0))(penalty, spectrum[:, None], truth[:, None], columns)
        return tuple(jnp.sum(one) for one in each)

    def _outcomes(self, penalty: jax.Array, spectrum: jax.Array, truth: jax.Array, data: Any) -> tuple[jax.Array, ...]:
        def penalized(theta: jax.Array, example: Any) -> jax.Array:
            return self.loss(theta, example) + 0.5 * penalty * theta @ theta

        theta = descended(penalized, jnp.zeros(len(truth)), data, STEPS)
        excess = 0.5 * jnp.sum(spectrum * (theta - truth) ** 2)
        train = jnp.mean(jax.vmap(partial(self.loss, theta))(data))
        gap = stic_value(penalized, theta, data, learning_rate=RATE, steps=STEPS)
        return excess, train, gap, tic_value(penalized, theta, data)


def selection(task: Task, trials: int = 1000) -> dict[str, tuple[float, float]]:
    """Return mean and standard error of the excess test loss where λ minimizes training loss + criterion on a grid.

    "best" takes the λ of least test loss in every trial. Those that begin with "−" are paired differences to STIC.
    """
    truth, data = task.draw(trials)
    over_grid = jax.vmap(task.outcomes, in_axes=(0, None, None))
    run = jax.jit(lambda *trial: jax.lax.map(lambda one: over_grid(PENALTIES, *one), trial, batch_size=20))
    excess, train, by_stic, by_tic = (np.asarray(column) for column in run(truth, data))
    scores = {"STIC": train + by_stic, "TIC": train + by_tic, "AIC": train, "best": excess}  # AIC is the same for all λ
    rows = np.arange(trials)
    losses = {name: excess[rows, np.argmin(score, axis=1)] for name, score in scores.items()}
    losses["best fixed λ"] = excess[:, np.argmin(excess.mean(axis=0))]
    losses |= {f"{name} − STIC": losses[name] - losses["STIC"] for name in ("TIC", "AIC")}
    return {name: (column.mean(), column.std(ddof=1) / trials**0.5) for name, column in losses.items()}


def descent(task: Task, trials: int = 200, updates: int = 150) -> dict[str, float]:
    """Return excess test loss and objective where log λ descends on training loss + STIC, and those of the grid."""
    truth, data = task.draw(trials)
    optimizer = optax.adam(0.1)

    def objective(log_penalty: jax.Array, truth: jax.Array, data: Any) -> tuple[jax.Array, jax.Array]:
        excess, train, gap, _ = task.outcomes(jnp.exp(log_penalty), truth, data)
        return train + gap, excess

    @jax.jit
    @jax.vmap
    def tune(truth: jax.Array, data: Any) -> tuple[jax.Array, jax.Array]:
        def update(carry: tuple, _: None) -> tuple[tuple, None]:
            log_penalty, state = carry
            slope, _ = jax.grad(objective, has_aux=True)(log_penalty, truth, data)
            change, state = optimizer.update(slope, state)
            return (log_penalty + change, state), None

        start = jnp.log(0.1)
        (log_penalty, _), _ = jax.lax.scan(update, (start, optimizer.init(start)), length=updates)
        return objective(log_penalty, truth, data)

    @jax.jit
    @jax.vmap
    def grid(truth: jax.Array, data: Any) -> tuple[jax.Array, jax.Array]:
        values, excess = jax.vmap(objective, in_axes=(0, None, None))(jnp.log(PENALTIES), truth, data)
        return jnp.min(values), excess[jnp.argmin(values)]

    (ours, excess), (theirs, grid_excess) = tune(truth, data), grid(truth, data)
    return {
        "excess by descent": float(jnp.mean(excess)),
        "excess by grid": float(jnp.mean(grid_excess)),
        "no worse than the grid": float(jnp.mean(ours <= theirs + 1e-3 * jnp.abs(theirs))),
    }


def descended(loss: Callable[[jax.Array, Any], jax.Array], theta: jax.Array, data: Any, steps: int) -> jax.Array:
    """Return the parameters after full-batch gradient descent on a quadratic loss."""

    def mean(theta: jax.Array) -> jax.Array:
        return jnp.mean(jax.vmap(partial(loss, theta))(data))

    # The gradient of a quadratic is affine: two derivatives serve all steps.
    slope, hessian = jax.grad(mean)(theta), jax.hessian(mean)(theta)

    def step(moved: jax.Array, _: None) -> tuple[jax.Array, None]:
        return moved - RATE * (slope + hessian @ moved), None

    return theta + jax.lax.scan(step, jnp.zeros_like(theta), length=steps)[0]


# --- what it costs ------------------------------------------------------------------------------------------------


def cost(name: str) -> dict[str, Any]:
    """Return what matrix-free STIC takes at a trained point, in gradients over the data."""
    landscape, params = trained(name)
    key = jax.random.key(0)
    call = partial(stic, landscape, params, learning_rate=0.5, steps=300, method="lanczos", key=key)
    times = in_turns({"g": fastest_gradient(landscape, params), "STIC": call}, 2)
    value = call()
    return {
        "parameters": num_params(params),
        "STIC": str(value),
        "relative error": value.stderr / value.value,
        "in g": times["STIC"] / times["g"],
        "in s": times["STIC"],
    }


WIDE = tuple(np.geomspace(1, 1e-3, 100))
TASKS = {
    name: Task(kind, spectrum, noise, count)
    for name, kind, spectrum, noise, count in [
        ("1 direction, h = 0.01, little noise", "mean", (0.01,), 0.03, 10),
        ("1 direction, h = 0.01, more noise", "mean", (0.01,), 0.3, 10),
        ("100 directions, h = 0.03", "mean", (0.03,) * 100, 0.1, 10),
        ("100 directions, h = 1 … 0.001, noise 0.03", "mean", WIDE, 0.03, 10),
        ("100 directions, h = 1 … 0.001, noise 0.1", "mean", WIDE, 0.1, 10),
        ("100 directions, h = 1 … 0.001, noise 0.2", "mean", WIDE, 0.2, 10),
        ("100 directions, h = 1 … 0.001, noise 1", "mean", WIDE, 1.0, 10),
        ("regression, N = 15, noise 0.3", "regression", WIDE[::11], 0.3, 15),
        ("regression, N = 15, noise 1", "regression", WIDE[::11], 1.0, 15),
        ("regression, N = 15, noise 3", "regression", WIDE[::11], 3.0, 15),
        ("regression, N = 500, noise 1", "regression", WIDE[::11], 1.0, 500),
    ]
}


def main(sections: list[str]) -> None:
    """Print the sections that are asked for, all by default."""
    with jax.enable_x64(True):
        if not sections or "gap" in sections:
            for steps in (50, 1000):
                for time in ("continuous", "discrete"):
                    print(f"T = {steps}, {time}:", rounded(gap(steps, time)))
        if not sections or "selection" in sections:
            for name, task in TASKS.items():
                print(name, {key: f"{mean:.3g} ± {error:.1g}" for key, (mean, error) in selection(task).items()})
        if not sections or "descent" in sections:
            for name in list(TASKS)[4::4]:
                print(name, rounded(descent(TASKS[name])))
    if not sections or "cost" in sections:
        for name in ("mlp", "convnet"):
            print(name, cost(name))


def rounded(numbers: dict[str, float]) -> dict[str, float]:
    """Return the numbers with four digits."""
    return {name: float(f"{number:.4g}") for name, number in numbers.items()}


if __name__ == "__main__":
    main(sys.argv[1:])
