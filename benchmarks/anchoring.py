"""Anchored learning curves against simulated SGD, from random initialisation to a trained model, on digits.

`python benchmarks/anchoring.py [SECTION ...] [MODEL ...]` prints tables in Markdown. The sections are configurations,
large, cost, conditional, small and estimators, the models logistic, mlp, convnet and small_convnet. Every table of
configurations comes from one computation.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from problems import problem

import feyngd as fd
from feyngd.anchoring import Anchored, AnchoredPrediction
from feyngd.anchoring._anchored import CONTROL
from feyngd.landscapes import Landscape, digits
from feyngd.simulation import Simulation
from feyngd.spacetimes import Spacetime

LENGTHS = (10, 40)
TRAINING = 1280  # images, which batches of 8, 32 and 128 divide
DRAWS = 512
SIMULATED, EXAMPLES = 1000, 64_000  # runs of a configuration, and on a CPU examples in all their batches of one step
FINE = 1500 if jax.default_backend() == "cpu" else 4000  # runs, where effects are small
PROBED = 64  # runs that tell the time and the spread of more of them
TOGETHER = 16 if jax.default_backend() == "cpu" else 256  # simulated runs


@dataclass(frozen=True)
class Setting:
    """How long a model is trained: until its loss has fallen by more than 80 %."""

    steps: int
    rate: float


SETTINGS = {
    "logistic": Setting(160, 0.5),
    "mlp": Setting(160, 0.2),
    "convnet": Setting(160, 0.2),
    "small_convnet": Setting(160, 0.2),
}


def spacetimes(steps: int) -> list[Spacetime]:
    """Return sixteen runs of so many steps: reshuffled, with replacement, and full batches."""
    found = [Spacetime.sgd(10 * B, B, steps // 10) for B in (20, 40, 80)]
    found += [Spacetime.sgd(40 * B, B, steps // 40) for B in (5, 10, 20, 40, 80)]
    found += [Spacetime.sgd(steps * B, B) for B in (5, 10)]
    found += [Spacetime.sgd(N, B, T=steps, sampling="with-replacement") for N in (400, 1600) for B in (10, 40)]
    return [*found, Spacetime.gd(400, steps), Spacetime.gd(1600, steps)]


def large(steps: int) -> list[Spacetime]:
    """Return fourteen runs of so many steps with batches of 64 and more of at least 1,000 points."""
    found = [Spacetime.sgd(10 * B, B, steps // 10) for B in (100, 160, 320)]
    found += [Spacetime.sgd(40 * B, B, steps // 40) for B in (64, 80, 160)]
    found += [Spacetime.sgd(steps * B, B) for B in (64, 160)]
    found += [Spacetime.sgd(N, B, T=steps, sampling="with-replacement") for N in (1600, 6400) for B in (64, 160)]
    return [*found, *(Spacetime.gd(N, steps) for N in (1000, 1600))]


def anchored(name: str, num_samples: int, **options: Any) -> Anchored:
    """Return the anchored run of a model."""
    landscape, params = problem(name)
    setting = SETTINGS[name]
    options = {"epoch_lengths": LENGTHS, "key": jax.random.key(1)} | options
    return fd.anchor(
        landscape, params, steps=setting.steps, learning_rate=setting.rate, num_samples=num_samples, **options
    )


def simulated(
    made: Anchored, spacetime: Spacetime, runs: int, quantity: str = "test_loss", seed: int = 2
) -> Simulation:
    """Simulate a spacetime with the learning rate of an anchored run."""
    options = {"runs": runs, "quantity": quantity, "chunk_size": TOGETHER, "key": jax.random.key(seed)}
    return fd.simulate(made.landscape, made.params, spacetime, float(made.rates[0]), **options)


def affordable(spacetime: Spacetime, quantity: str) -> int:
    """Return how many runs of a spacetime to simulate: half as many for gaps, in which runs are more alike."""
    if jax.default_backend() != "cpu":
        return SIMULATED
    return min(SIMULATED, EXAMPLES // int(spacetime.B)) // (2 if quantity == "gap" else 1)


def seconds(function: Callable[[], Any]) -> float:
    """Return the seconds of a call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compared(ours: AnchoredPrediction, run: Simulation, allowed: float) -> tuple[str, bool]:
    """Return a row of predicted and simulated effects, and whether they agree to that fraction or to 2.5 errors."""
    noiseless = ours.noiseless[-1]
    added, truth = ours.mean[-1] - noiseless, run.mean[0] - noiseless
    off = abs(added - truth) / np.hypot(ours.stderr[-1], run.stderr[0])
    agrees = bool(abs(added - truth) <= max(allowed * abs(truth), 2.5 * np.hypot(ours.stderr[-1], run.stderr[0])))
    row = (
        f"{added:.5f} ± {ours.stderr[-1]:.5f} | {ours.truncation[-1]:.5f} | {truth:.5f} ± {run.stderr[0]:.5f} | "
        f"{added / truth - 1:+.1%} | {off:.1f} | {'yes' if agrees else 'no'} |"
    )
    return row, agrees


def configurations(name: str, runs: Callable[[int], list[Spacetime]] = spacetimes) -> None:
    """Print predicted and simulated effects of all configurations on test loss and gap at the end."""
    made = anchored(name, DRAWS)
    print(f"\n### {name}: {made}\n")
    print("| quantity | run | predicted effect | truncation | simulated | off by | in errors | agrees |")
    print("|---|---|---|---|---|---|---|---|")
    for quantity, allowed in (("test_loss", 0.1), ("gap", 0.15)):
        good = 0
        listed = runs(made.steps)
        for spacetime in listed:
            run = simulated(made, spacetime, affordable(spacetime, quantity), quantity)
            row, agrees = compared(made.predict(spacetime, quantity=quantity), run, allowed)
            good += agrees
            print(f"| {quantity} | {spacetime} | {row}", flush=True)
        print(f"\n{quantity}: {good} of {len(listed)} agree\n")


def cost(name: str) -> None:
    """Print the time of one anchored computation, and that of simulating every run to the same standard error."""
    options = {"epoch_lengths": LENGTHS, "truncation_samples": 0}
    anchored(name, 64, **options)
    began = time.perf_counter()
    made = anchored(name, DRAWS, **options)
    ours = time.perf_counter() - began
    print(f"\n### {name}: anchored in {ours:.1f} s\n")
    print("| runs | simulated to the same error, s | anchored / simulated |\n|---|---|---|")
    for runs in (spacetimes, large):
        listed = runs(made.steps)
        arithmetic = seconds(lambda: list(map(made.predict, listed))) / len(listed)  # noqa: B023
        times = {}
        for spacetime in listed:
            run = simulated(made, spacetime, PROBED)
            spent = seconds(partial(simulated, made, spacetime, PROBED, seed=3))
            times[spacetime] = (run.stderr[0] / made.predict(spacetime).stderr[-1]) ** 2 * spent
            print(f"| {spacetime} | {times[spacetime]:.1f} | 1/{times[spacetime] / ours:.2g} |", flush=True)
        batches = {one: spent for one, spent in times.items() if one.sampling != "full-batch"}
        for what, group in ((f"all {len(listed)}", times), (f"the {len(batches)} that are not full batches", batches)):
            print(f"| **{what}** | {sum(group.values()):.0f} | **1/{sum(group.values()) / ours:.2g}** |")
        print(f"\nA prediction takes {arithmetic * 1e6:.0f} µs.\n")


def split(name: str) -> tuple[Landscape, Any]:
    """Return a landscape with 1,280 digits to train on and 517 to test on."""
    landscape, params = problem(name)
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(labels))
    parts = [(images[index], labels[index]) for index in (order[:TRAINING], order[TRAINING:])]
    return Landscape(landscape.loss, *parts, reading="conditional"), params


def conditional(name: str) -> None:
    """Print what the order of the training data does to the test loss along training."""
    landscape, params = split(name)
    steps, rate = 320, SETTINGS[name].rate
    options = {"epoch_lengths": (*LENGTHS, 160), "num_samples": DRAWS, "key": jax.random.key(1)}
    made = fd.anchor(landscape, params, steps=steps, learning_rate=rate, **options)
    print(f"\n### {name}, {TRAINING} images to train on: {made}\n")
    print("| run | predicted effect | truncation | simulated | off by | in errors | agrees |")
    print("|---|---|---|---|---|---|---|")
    for B, epochs in ((128, (4, 8, 16, 32)), (32, (1, 2, 4, 8)), (8, (1, 2))):
        for E in epochs:
            spacetime = Spacetime.sgd(TRAINING, B, E)
            row, _ = compared(made.predict(spacetime), simulated(made, spacetime, FINE), 0.15)
            print(f"| {spacetime} | {row}", flush=True)


def small(name: str) -> None:
    """Print the orders in the noise at batches of 8, one epoch, beside simulation."""
    landscape, params = split(name)
    options = {"num_samples": DRAWS, "key": jax.random.key(1)}
    made = fd.anchor(landscape, params, steps=160, learning_rate=SETTINGS[name].rate, **options)
    spacetime, count = Spacetime.sgd(TRAINING, 8), 128
    run = simulated(made, spacetime, FINE)
    truth = run.mean[0] - made.test_loss[-1]
    print(f"\n{name}, {spacetime}: simulated effect {truth:.5f} ± {run.stderr[0]:.5f}; anchored to order 2:")
    print(compared(made.predict(spacetime), run, 0.15)[0])
    found = made.orders(spacetime, order=4, num_samples=count, key=jax.random.key(3))
    sums = np.cumsum([rows[:, -1] for rows in found.parts.values()], axis=0)
    for label, rows in zip(found.parts, sums, strict=True):
        print(f"  to {label}: {rows.mean():.5f} ± {rows.std(ddof=1) / count**0.5:.5f}, {rows.mean() / truth - 1:+.1%}")


def estimators(name: str) -> None:
    """Print what a draw takes and how far draws are spread, for fields, sizes of samples and control variates."""
    everything = problem(name)[0].num_examples
    print(f"\n### {name}\n")
    print("| noise | curvature | control | ms a draw | spread: step | run | epoch of 40 steps | influence |")
    print("|---|---|---|---|---|---|---|---|")
    sizes = [(q, m, k, 64) for q, m in ((8, 8), (32, 32), (64, 64)) for k in (0, CONTROL)]
    for q, m, k, count in [*sizes, (64, 64, CONTROL // 2, 64), (everything, 64, 0, 16)]:
        options = {"epoch_lengths": [40], "truncation_samples": 0, "noise_examples": q, "curvature_examples": m}
        made = anchored(name, count, control_directions=k, **options)
        each = seconds(partial(anchored, name, count, control_directions=k, **options)) / count
        ends = [rows[:, -1] for rows in (*made.second.values(), made.influence)]
        spreads = " | ".join(f"{end.std(ddof=1) / abs(end.mean()):.2f}" for end in ends)
        print(f"| {q} | {m} | {k} | {1000 * each:.1f} | {spreads} |", flush=True)
    spacetime, count = Spacetime.sgd(400, 10, 4), 32
    real = partial(made.orders, spacetime, order=2, num_samples=count)
    end = real(key=jax.random.key(1)).replicates[:, -1]
    each = seconds(partial(real, key=jax.random.key(2))) / count
    print(f"\nFields of real runs, {spacetime}, Hessians of all: {1000 * each:.1f} ms a draw, ", end="")
    print(f"spread {end.std(ddof=1) / abs(end.mean()):.2f}")


SECTIONS = {
    "configurations": configurations,
    "large": partial(configurations, runs=large),
    "cost": cost,
    "conditional": conditional,
    "small": small,
    "estimators": estimators,
}


if __name__ == "__main__":
    print(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}")
    for section in [word for word in sys.argv[1:] if word in SECTIONS] or SECTIONS:
        for model in [word for word in sys.argv[1:] if word in SETTINGS] or SETTINGS:
            begun = time.perf_counter()
            SECTIONS[section](model)
            print(f"({section}, {model}: {time.perf_counter() - begun:.0f} s)", flush=True)
