"""What the experiments on shifts of networks share: training at a temperature, and both minima from where it ends."""

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ..companions.shift_curvature import Shift, shift, simulate_modified
from ..estimates import PrecisionWarning, TruncationWarning
from ..landscapes import Landscape, Model, cross_entropy, tanh_mlp
from ._experiment import Setting

CLASSES, BATCH, PENALTY = 10, 10, 3e-3
_QUICK = 100  # images
_GRADIENT = 1e-5  # at a minimum
LENGTH = 60.0  # η times the number of steps, the same at every temperature, as in the paper
HIDDEN = {"one hidden layer": (8,), "two hidden layers": (6, 6)}

PAPER = {
    "networks": "VGG16 with dense layers of 512 (figure 2), Resnet10 with 2 blocks a group (figure 3); no batch norm",
    "data": "CIFAR10, 50000 training images, no augmentation",
    "training": "B 100, several η and seeds, epochs · T = 400 · 5e-5, L2 1e-5",
    "minima": "descent, η 1e-4, 10000 epochs, B 10000 (Resnet) or 5000 (VGG); L2 1e-5, also in the test loss",
}
OURS = {
    "networks": "tanh networks with one hidden layer of 8, or two of 6",
    "data": "half of the images for training, half as test data",
    "training": f"B {BATCH} with replacement, one start and several seeds, η · steps = {LENGTH:g}, L2 {PENALTY:g}",
    "minima": f"Newton-CG on all data, L2 {PENALTY:g}, also in the test loss; the search for the test minimum starts "
    "at the train minimum (the paper: at the end of training)",
}


@cache
def network(name: str, shape: tuple[int, ...]) -> tuple[Model, Any]:
    """Return a network by name, and its loss, the same objects in every experiment."""
    model = tanh_mlp(shape, CLASSES, HIDDEN[name])
    return model, cross_entropy(model)


def split(name: str, setting: Setting) -> tuple[Landscape, Any]:
    """Return a network's landscape on halves of the images, at random, and a start in double precision."""
    images, labels = setting.images
    for_order, for_start = jax.random.split(jax.random.fold_in(setting.key, 0))
    model, loss = network(name, np.shape(images)[1:])
    order = np.asarray(jax.random.permutation(for_order, len(labels)))[: _QUICK if setting.quick else None]
    half = len(order) // 2
    pixels, labels = np.asarray(images, dtype=float), np.asarray(labels)
    parts = [(pixels[rows], labels[rows]) for rows in (order[:half], order[half : 2 * half])]
    start = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), model.init(for_start))
    return Landscape(loss, *parts, reading="conditional"), start


def shifts(
    landscape: Landscape, start: Any, temperatures: Sequence[float], seeds: int, setting: Setting
) -> dict[float, list[Shift]]:
    """Train at every temperature and seed, and find both minima from where training ends.

    Args:
        landscape: of `split`, in double precision.
        start: likewise.
        temperatures: T = η/B.
        seeds: how many runs at each temperature.
        setting: of the experiment.
    """
    found: dict[float, list[Shift]] = {}
    length = LENGTH / (4 if setting.quick else 1)
    with warnings.catch_warnings(), setting.progress.task(len(temperatures) * seeds, "minima") as task:
        warnings.simplefilter("ignore", TruncationWarning)  # what third derivatives do is judged
        warnings.simplefilter("ignore", PrecisionWarning)  # and so is the gradient that is left
        for i, temperature in enumerate(temperatures):
            keys = jax.random.split(jax.random.fold_in(setting.key, i + 1), 2)
            rate = temperature * BATCH
            steps = round(length / rate)
            runs = simulate_modified(
                landscape,
                start,
                rate,
                batch_size=BATCH,
                steps=steps,
                penalty=PENALTY,
                runs=max(seeds, 2),
                measure_every=steps,
                key=keys[0],
            )
            found[float(temperature)] = []
            for end in runs.params[:seeds]:
                shaped = _shaped(start, end)
                one = shift(landscape, shaped, penalty=PENALTY, tolerance=_GRADIENT, max_steps=100, key=keys[1])
                found[float(temperature)].append(one)
                task.advance()
    return found


def _shaped(start: Any, flat: np.ndarray) -> Any:
    return ravel_pytree(start)[1](jnp.asarray(flat))
