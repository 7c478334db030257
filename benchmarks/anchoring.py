"""Anchored learning curves against simulated SGD, from random initialisation to a trained model, on digits.

`python benchmarks/anchoring.py [SECTION ...] [MODEL ...]` prints a block of Markdown for each section and model, and
writes it into docs/benchmarks.md if that page has markers for it. The sections are configurations, large, cost,
conditional, small and estimators, the models logistic, mlp, convnet and small_convnet.
"""

import inspect
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from measuring import machine
from problems import problem
from tqdm import tqdm
from writing import paragraph, table, write

import feyngd as fd
from feyngd.anchoring import Anchored, AnchoredPrediction
from feyngd.landscapes import Landscape, digits
from feyngd.simulation import Simulation
from feyngd.spacetimes import Spacetime

LENGTHS = (10, 40)
TRAINING = 1280  # images, which batches of 8, 32 and 128 divide
SIMULATED = 1000  # runs of a configuration, at most
ON_GPU = jax.default_backend() != "cpu"
FINE = 4000 if ON_GPU else 1500  # runs, where effects are small
PROBED = 64  # runs that measure the time and the spread of more of them
TOGETHER = 256 if ON_GPU else 16  # simulated runs
CONTROL = inspect.signature(fd.anchor).parameters["control_directions"].default


@dataclass(frozen=True)
class Setting:
    """How long a model is trained, until its loss has fallen by more than 80 %, and how much is computed.

    Attributes:
        steps: T.
        rate: η.
        draws: draws of the noise along the path.
        examples: on a CPU, the examples in one step of all simulated runs of a configuration together.
    """

    steps: int = 160
    rate: float = 0.2
    draws: int = 512
    examples: int = 64_000


SETTINGS = {
    "logistic": Setting(rate=0.5),
    "mlp": Setting(),
    "convnet": Setting(),
    "small_convnet": Setting(),
}


def spacetimes(steps: int) -> list[Spacetime]:
    """Return sixteen runs of that length: reshuffled, with replacement, and full batches."""
    found = [Spacetime.sgd(10 * B, B, steps // 10) for B in (20, 40, 80)]
    found += [Spacetime.sgd(40 * B, B, steps // 40) for B in (5, 10, 20, 40, 80)]
    found += [Spacetime.sgd(steps * B, B) for B in (5, 10)]
    found += [Spacetime.sgd(N, B, T=steps, sampling="with-replacement") for N in (400, 1600) for B in (10, 40)]
    return [*found, Spacetime.gd(400, steps), Spacetime.gd(1600, steps)]


def large(steps: int) -> list[Spacetime]:
    """Return fourteen runs of that length with batches of 64 and more of at least 1,000 points."""
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


def affordable(name: str, spacetime: Spacetime, quantity: str) -> int:
    """Return how many runs of a spacetime to simulate: half as many for gaps, in which runs are more alike."""
    if ON_GPU:
        return SIMULATED
    return max(2, min(SIMULATED, SETTINGS[name].examples // int(spacetime.B)) // (2 if quantity == "gap" else 1))


def seconds(function: Callable[[], Any]) -> float:
    """Return the seconds of a call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Effect:
    """What noise adds at the end, predicted and simulated, and whether the two agree to a fraction or 2.5 errors."""

    ours: AnchoredPrediction
    run: Simulation
    allowed: float

    @property
    def predicted(self) -> float:
        """The predicted effect."""
        return float(self.ours.mean[-1] - self.ours.noiseless[-1])

    @property
    def simulated(self) -> float:
        """The simulated effect."""
        return float(self.run.mean[0] - self.ours.noiseless[-1])

    @property
    def stderr(self) -> float:
        """The combined standard error."""
        return float(np.hypot(self.ours.stderr[-1], self.run.stderr[0]))

    @property
    def apart(self) -> float:
        """The distance of the two."""
        return abs(self.predicted - self.simulated)

    @property
    def agrees(self) -> bool:
        """Whether they agree."""
        return self.apart <= max(self.allowed * abs(self.simulated), 2.5 * self.stderr)

    def cells(self) -> dict[str, str]:
        """Return the cells of a row."""
        return {
            "predicted": f"{self.predicted:.5f} ± {self.ours.stderr[-1]:.5f}",
            "truncation": f"{self.ours.truncation[-1]:.5f}",
            "simulated": f"{self.simulated:.5f} ± {self.run.stderr[0]:.5f}",
            "off by": f"{self.predicted / self.simulated - 1:+.1%}",
            "in errors": f"{self.apart / self.stderr:.1f}",
            "agrees": "yes" if self.agrees else "no",
        }


def configurations(name: str, runs: Callable[[int], list[Spacetime]] = spacetimes) -> str:
    """Return predicted and simulated effects of all configurations on test loss and gap at the end."""
    made = anchored(name, SETTINGS[name].draws)
    rows, good, listed = [], {"test_loss": 0, "gap": 0}, runs(made.steps)
    for spacetime in tqdm(listed, desc=name):
        effects = {}
        for quantity, allowed in (("test_loss", 0.1), ("gap", 0.15)):
            run = simulated(made, spacetime, affordable(name, spacetime, quantity), quantity)
            effects[quantity] = Effect(made.predict(spacetime, quantity=quantity), run, allowed)
            good[quantity] += effects[quantity].agrees
        loss, gap = (effect.cells() for effect in effects.values())
        cells = [loss[column] for column in ("predicted", "truncation", "simulated", "off by", "agrees")]
        rows.append([spacetime, *cells, *(gap[column] for column in ("predicted", "simulated", "off by", "agrees"))])
    header = ["run", "test loss: predicted", "truncation", "simulated", "off by", "agrees"]
    header += ["gap: predicted", "simulated", "off by", "agrees"]
    start, end = made.test_loss[[0, -1]]
    counts = paragraph(
        f"{SETTINGS[name].draws} draws. The loss falls from {start:.3g} to {end:.3g}. Effects that agree: "
        f"{good['test_loss']} of {len(listed)} on the test loss, {good['gap']} of {len(listed)} on the gap."
    )
    return f"{counts}\n\n{table(header, rows)}"


def cost(name: str) -> str:
    """Return the time of one anchored computation, in that of simulating runs to the same standard error."""
    options = {"epoch_lengths": LENGTHS, "truncation_samples": 0}
    anchored(name, 64, **options)
    began = time.perf_counter()
    made = anchored(name, SETTINGS[name].draws, **options)
    ours = time.perf_counter() - began
    rows: list[list[Any]] = []
    for what, listed in (("the sixteen of the tables", spacetimes(made.steps)), ("fourteen large", large(made.steps))):
        times = {}
        for spacetime in tqdm(listed, desc=name):
            run = simulated(made, spacetime, PROBED)
            spent = seconds(partial(simulated, made, spacetime, PROBED, seed=3))
            times[spacetime] = (run.stderr[0] / made.predict(spacetime).stderr[-1]) ** 2 * spent
        batches = [spent for spacetime, spent in times.items() if spacetime.sampling != "full-batch"]
        rows.append([what, f"1/{sum(times.values()) / ours:.2g}"])
        rows.append([f"{what}, without full batches", f"1/{sum(batches) / ours:.2g}"])
    return f"Anchored in {ours:.0f} s, {SETTINGS[name].draws} draws.\n\n{table(['runs', 'anchored / simulated'], rows)}"


def split(name: str) -> tuple[Landscape, Any]:
    """Return a landscape with 1,280 digits to train on and 517 to test on."""
    landscape, params = problem(name)
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(labels))
    parts = [(images[index], labels[index]) for index in (order[:TRAINING], order[TRAINING:])]
    return Landscape(landscape.loss, *parts, reading="conditional"), params


def conditional(name: str) -> str:
    """Return what the order of the training data does to the test loss along training."""
    landscape, params = split(name)
    steps, setting = 320, SETTINGS[name]
    options = {"epoch_lengths": (*LENGTHS, 160), "num_samples": setting.draws, "key": jax.random.key(1)}
    made = fd.anchor(landscape, params, steps=steps, learning_rate=setting.rate, **options)
    sizes = [(128, 4), (128, 8), (128, 16), (128, 32), (32, 1), (32, 2), (32, 4), (32, 8), (8, 1), (8, 2)]
    rows = []
    for B, epochs in tqdm(sizes, desc=name):
        spacetime = Spacetime.sgd(TRAINING, B, epochs)
        effect = Effect(made.predict(spacetime), simulated(made, spacetime, FINE), 0.15)
        rows.append([spacetime, *effect.cells().values()])
    header = ["run", "predicted effect", "truncation", "simulated", "off by", "in errors", "agrees"]
    return f"{setting.draws} draws, {FINE:,} runs.\n\n{table(header, rows)}"


def small(name: str) -> str:
    """Return the orders in the noise at batches of 8, one epoch, beside simulation."""
    landscape, params = split(name)
    setting, count = SETTINGS[name], 128
    options = {"num_samples": setting.draws, "key": jax.random.key(1)}
    made = fd.anchor(landscape, params, steps=setting.steps, learning_rate=setting.rate, **options)
    spacetime = Spacetime.sgd(TRAINING, 8)
    effect = Effect(made.predict(spacetime), simulated(made, spacetime, FINE), 0.15)
    cells = effect.cells()
    rows = [["simulated", cells["simulated"], ""], ["anchored, order ε²", cells["predicted"], cells["off by"]]]
    found = made.orders(spacetime, order=4, num_samples=count, key=jax.random.key(3))
    sums = np.cumsum([parts[:, -1] for parts in found.parts.values()], axis=0)
    for label, ends in zip(found.parts, sums, strict=True):
        error = ends.std(ddof=1) / count**0.5
        off = f"{ends.mean() / effect.simulated - 1:+.1%}"
        rows.append([f"noise of real batches, to {label}", f"{ends.mean():.5f} ± {error:.5f}", off])
    return table(["", f"effect, {spacetime}", "off by"], rows)


def estimators(name: str) -> str:
    """Return what a draw takes and how far draws are spread, for noises, sizes of samples and control variates."""
    everything = problem(name)[0].num_examples
    sizes = [(q, m, k, 64) for q, m in ((8, 8), (32, 32), (64, 64)) for k in (0, CONTROL)]
    rows = []
    for q, m, k, count in tqdm([*sizes, (64, 64, CONTROL // 2, 64), (everything, 64, 0, 16)], desc=name):
        options = {"epoch_lengths": [40], "truncation_samples": 0, "noise_examples": q, "curvature_examples": m}
        made = anchored(name, count, control_directions=k, **options)
        each = seconds(partial(anchored, name, count, control_directions=k, **options)) / count
        ends = [draws[:, -1] for draws in (*made.second.values(), made.influence)]
        spreads = [f"{end.std(ddof=1) / abs(end.mean()):.2f}" for end in ends]
        rows.append([q, m, k, f"{1000 * each:.1f}", *spreads])
    header = ["noise of", "Hessians of", "control", "ms a draw", "steps alone", "whole run", "epochs of 40 steps"]
    return table([*header, "influence"], rows)


SECTIONS: dict[str, Callable[[str], str]] = {
    "configurations": configurations,
    "large": partial(configurations, runs=large),
    "cost": cost,
    "conditional": conditional,
    "small": small,
    "estimators": estimators,
}


def main(words: list[str]) -> None:
    """Run sections on models, all by default."""
    if unknown := set(words) - set(SECTIONS) - set(SETTINGS):
        known = ", ".join([*SECTIONS, *SETTINGS])
        raise SystemExit(f"Unknown sections or models: {', '.join(sorted(unknown))}. There are: {known}.")
    warnings.simplefilter("ignore", fd.TruncationWarning)
    for section in [word for word in words if word in SECTIONS] or SECTIONS:
        for model in [word for word in words if word in SETTINGS] or SETTINGS:
            write(f"anchoring.py {section} {model}", f"{SECTIONS[section](model)}\n\n*{machine()}*")


if __name__ == "__main__":
    main(sys.argv[1:])
