"""Limiting dynamics on digits: speed, variance and displacement of real runs against predictions.

Run with `python benchmarks/limiting.py`. Logistic regression on 400 digits, 650 parameters, momentum 0.9, with and
without replacement; the noise is averaged over the cloud. Rows agree within three combined standard errors and 3 %.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import feyngd as fd
from feyngd.companions import limiting
from feyngd.minima import minimum

RATE, BATCH, PENALTY, COUNT = 0.05, 20, 0.02, 400
WITHIN = 0.03


def ridge_loss(params: Any, example: Any) -> Any:
    """Return the cross-entropy of softmax regression with its penalty, so that the minimum is strict."""
    x, label = example
    scores = x @ params["W"] + params["b"]
    penalty = PENALTY / 2 * (jnp.sum(params["W"] ** 2) + jnp.sum(params["b"] ** 2))
    return jax.nn.logsumexp(scores) - scores[label] + penalty


def problem(pool: int = 1, count: int = COUNT) -> tuple[fd.Landscape, Any]:
    """Return the landscape of digits whose pixels are averaged in squares of `pool`, and a start."""
    images, labels = fd.landscapes.digits(count)
    side = 8 // pool
    pixels = np.asarray(images, dtype=float).reshape(count, side, pool, side, pool).mean(axis=(2, 4)).reshape(count, -1)
    data = pixels, np.asarray(labels)
    start = {"W": jnp.zeros((side**2, 10)), "b": jnp.zeros(10)}
    return fd.Landscape(ridge_loss, data, tuple(part[:10] for part in data), reading="conditional"), start


def compare(sampling: str, pool: int, runs: int, steps: int, draws: int = 16) -> limiting.Comparison:
    """Return predicted and simulated numbers; call it within `jax.enable_x64(True)`."""
    landscape, start = problem(pool)
    params = minimum(landscape, start, tolerance=1e-9, key=jax.random.key(0)).params
    basin = limiting.basin(landscape, params, key=jax.random.key(1))
    limit = basin.limit(RATE, BATCH, optimizer=fd.momentum(0.9), sampling=sampling)
    averaged = limit.over_cloud(landscape, num_draws=draws, key=jax.random.key(2))
    settled = int(np.ceil(5 * 0.1 / (RATE * PENALTY)))
    options = {"optimizer": fd.momentum(0.9), "sampling": sampling, "burn_in": settled, "key": jax.random.key(3)}
    found = limiting.trajectories(landscape, params, RATE, BATCH, steps, runs=runs, **options)
    return found.compare(averaged)


def main() -> None:
    """Print all rows, whether they agree, and the seconds they took."""
    with jax.enable_x64(True):
        for sampling in ("with-replacement", "reshuffled"):
            start = time.perf_counter()
            found = compare(sampling, 1, 32, 4000)
            verdict = "agree" if found.agree(WITHIN) else "DO NOT AGREE"
            print(f"{sampling}: {verdict} ({time.perf_counter() - start:.0f} s)\n{found}\n")


if __name__ == "__main__":
    main()
