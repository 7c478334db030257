"""Settled SGD on digits against the local steady state: softmax regression with a penalty, 650 parameters.

`python benchmarks/shift_curvature.py` writes the tables of docs/benchmarks.md; it takes about ten minutes.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from writing import table, write

import feyngd as fd
from feyngd.companions.shift_curvature import (
    local_steady_state,
    minimum,
    simulate_modified,
    stationarity,
)
from feyngd.landscapes import digits_landscape

PENALTY, TRAIN = 0.01, 1200
TEMPERATURES = (0.05, 0.025, 0.0125)
RELAXATIONS, RUNS = 6.0, 16  # of the flattest direction, 1/(ηα) steps each; the first half is left out
REPEATS = 200


def losses() -> str:
    """Return what fluctuations add to both losses, predicted and simulated, at three temperatures."""
    key = jax.random.key(0)
    whole, start = digits_landscape("logistic", key=key)
    order = np.random.default_rng(0).permutation(whole.num_examples)
    parts = (jax.tree.map(lambda leaf, rows=rows: leaf[rows], whole.data) for rows in (order[:TRAIN], order[TRAIN:]))
    landscape = fd.Landscape(whole.loss, *parts, reading="conditional")
    start = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), start)
    point = minimum(landscape, start, penalty=PENALTY, key=key)
    base = point.loss, float(landscape.test_loss(point.params))
    rows: list[list[Any]] = []
    for temperature in TEMPERATURES:
        begun = time.perf_counter()
        steps = round(RELAXATIONS / temperature / PENALTY)
        given: dict[str, Any] = {"batch_size": 1, "penalty": PENALTY}
        found = local_steady_state(landscape, point.params, learning_rate=temperature, time="discrete", **given)
        runs = simulate_modified(landscape, point.params, temperature, steps=steps, runs=RUNS, key=key, **given)
        predicted = found.train_excess.value, found.test_loss.value - base[1]
        for side, zero, ours, simulated in zip(
            ("train", "test"), base, predicted, runs.settled(steps // 2), strict=True
        ):
            added, error = simulated.value - zero, simulated.stderr or 0.0
            left = f"{(added - ours) / error:+.1f}"
            rows.append(
                [temperature, side, f"{ours:.5f}", f"{added:.5f} ± {error:.5f}", left, f"{added / ours - 1:+.1%}"]
            )
        print(f"T = {temperature}: {time.perf_counter() - begun:.0f} s", flush=True)
    header = ["T", "loss", "added, predicted", "simulated", "off, in standard errors", "relative"]
    return table(header, rows)


def coverage() -> str:
    """Return how often the 95 % intervals of `stationarity` hold 0, on a quadratic that has settled."""
    landscape = fd.Landscape(lambda theta, x: jnp.sum((theta - x) ** 2 * jnp.array([1.0, 0.4])) / 2, jnp.eye(2))
    covered = np.zeros(2)
    for seed in range(REPEATS):
        given = {"batch_size": 1, "steps": 60, "runs": 20, "measure_every": 60}
        runs = simulate_modified(landscape, jnp.full(2, 0.5), 0.2, key=jax.random.key(seed), **given)
        for i, number in enumerate(stationarity(runs)):
            low, high = number.interval()
            covered[i] += low <= 0 <= high
    return table(
        ["relation", "95 % intervals that hold 0"],
        [
            ["first: (θ − θ0)·∇U against the square of g", f"{covered[0] / REPEATS:.1%}"],
            ["second: the square of ∇U against gᵀCg", f"{covered[1] / REPEATS:.1%}"],
        ],
    )


if __name__ == "__main__":
    with jax.enable_x64(True):
        write("shift_curvature.py", f"{losses()}\n\n{coverage()}")
