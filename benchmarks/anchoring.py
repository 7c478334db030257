"""Anchored learning curves against simulated SGD, from random initialisation to a trained model, on digits.

`python benchmarks/anchoring.py [logistic] [mlp] [convnet]` prints tables: every configuration, from one computation.
"""

import sys
import time
from typing import Any

import jax
import numpy as np
from problems import problem

import feyngd as fd
from feyngd.spacetimes import Spacetime

SETTINGS: dict[str, dict[str, Any]] = {
    "logistic": {"steps": 160, "rate": 0.5, "samples": 64, "runs": 400},
    "mlp": {"steps": 160, "rate": 0.2, "samples": 64, "runs": 400},
    "convnet": {"steps": 160, "rate": 0.05, "samples": 16, "runs": 100},
}
LENGTHS = (10, 40)


def spacetimes(steps: int) -> list[Spacetime]:
    """Return sixteen runs of so many steps, reshuffled, with replacement and full batch."""
    found = [Spacetime.sgd(length * B, B, steps // length) for length in LENGTHS for B in (10, 20, 40, 80)]
    found += [Spacetime.sgd(steps * B, B) for B in (5, 10)]
    found += [Spacetime.sgd(N, B, T=steps, sampling="with-replacement") for N in (400, 1600) for B in (10, 40)]
    return [*found, Spacetime.gd(400, steps), Spacetime.gd(1600, steps)]


def table(name: str) -> None:
    """Print predicted and simulated effects of all configurations on test loss and gap at the end."""
    landscape, params = problem(name)
    steps, rate = SETTINGS[name]["steps"], SETTINGS[name]["rate"]
    start = time.perf_counter()
    anchored = fd.anchor(
        landscape,
        params,
        steps=steps,
        learning_rate=rate,
        epoch_lengths=LENGTHS,
        num_samples=SETTINGS[name]["samples"],
        key=jax.random.key(1),
    )
    print(f"\n## {name}: {anchored}, {time.perf_counter() - start:.0f} s")
    total = 0.0
    for spacetime in spacetimes(steps):
        for quantity in ("test_loss", "gap"):
            ours = anchored.predict(spacetime, quantity=quantity)
            start = time.perf_counter()
            run = fd.simulate(
                landscape,
                params,
                spacetime,
                rate,
                runs=SETTINGS[name]["runs"],
                quantity=quantity,
                key=jax.random.key(2),
            )
            total += time.perf_counter() - start
            added, truth = ours.mean[-1] - ours.noiseless[-1], run.mean[0] - ours.noiseless[-1]
            off = abs(added - truth) / np.hypot(ours.stderr[-1], run.stderr[0])
            print(
                f"| {quantity} | {spacetime} | {added:.4f} ± {ours.stderr[-1]:.4f} ± {ours.truncation[-1]:.4f} | "
                f"{truth:.4f} ± {run.stderr[0]:.4f} | {added / truth - 1:+.0%} | {off:.1f} |",
                flush=True,
            )
    print(f"simulations: {total:.0f} s")


if __name__ == "__main__":
    for name in sys.argv[1:] or SETTINGS:
        table(name)
