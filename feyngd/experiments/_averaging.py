"""What the experiments on data averaging share: an MLP on images, sweeps of temperatures, the paper's parameters."""

import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ..companions.data_averaging import SweepGroup, SweepVerdict, TemperatureSweep, temperature_sweep
from ..landscapes import Landscape, Model, tanh_mlp
from ._experiment import Finding, Setting
from ._networks import network_of

SOURCE = "Gomez-Uribe"
PAPER = {
    "network": "ResNet, 2,796,202 weights",
    "data": "CIFAR-10, 50,000 of 60,000 images",
    "weight decay": 5e-4,
    "momentum": "0.9 or none",
    "schedule": "none or a quarter cosine",
    "learning rates": "0.0075 to 0.1",
    "batch sizes": "20 to 2000",
    "epochs": "300 at T = 2e-4",
    "optimum near T": 2e-4,
}
WEIGHT_DECAY = 5e-4
POINTS, QUICK_POINTS = 256, 50
_QUICK_IMAGES = 100
MOMENTUM = 0.9
SCHEDULES = ("constant", "cosine")


def mlp_on_images(setting: Setting) -> tuple[Landscape, Model, int]:
    """Return an MLP's landscape on the images, a hundred of them if quick, the network, and N."""
    images, labels = setting.images
    used = _QUICK_IMAGES if setting.quick else len(images)
    network, loss = network_of(tanh_mlp, np.shape(images)[1:])
    most = QUICK_POINTS if setting.quick else POINTS
    return Landscape(loss, (images[:used], labels[:used])), network, min(most, used // 2)


def swept(
    setting: Setting,
    temperatures: Sequence[float],
    *,
    B: int,
    drawings: Sequence[str],
    datasets: int,
    epochs: int,
    long_run: bool,
) -> tuple[TemperatureSweep, ...]:
    """Run sweeps of temperatures on the images, without and with momentum; nothing of them is kept.

    With momentum temperatures are lower by 1 − μ, so that steps go as far. If quick, rates are constant without
    momentum and fall with it. The prediction for the long run is made without momentum alone: it is the same.
    """
    landscape, network, N = mlp_on_images(setting)
    sweeps = []
    for mu in (0.0, MOMENTUM):
        schedules = SCHEDULES[bool(mu) : 1 + bool(mu)] if setting.quick else SCHEDULES
        config = {
            "model": network.name,
            "N": N,
            "B": [B],
            "learning_rates": [float(f"{(1 - mu) * T * B:.4g}") for T in temperatures],
            "optimizers": [{"momentum": mu, "schedule": schedule} for schedule in schedules],
            "drawings": list(drawings),
            "datasets": datasets,
            "epochs": epochs,
            "weight_decay": WEIGHT_DECAY,
            "records": 40,
            "long_run": long_run and not mu,
            "seeds": [int(jax.random.randint(setting.key, (), 0, 2**31 - 1))],
        }
        with tempfile.TemporaryDirectory() as folder:
            sweeps.append(
                temperature_sweep(config, folder, landscape=landscape, start=network.init, progress=setting.progress)
            )
    return tuple(sweeps)


def parameters(setting: Setting, **ours: Any) -> dict[str, Any]:
    """Return the paper's parameters beside ours."""
    landscape, network, N = mlp_on_images(setting)
    count = sum(leaf.size for leaf in jax.tree.leaves(network.init(setting.key)))
    about = {
        "network": f"tanh MLP, {count:,} weights",
        "data": f"{N} of {landscape.num_examples} images",
        "weight decay": WEIGHT_DECAY,
    }
    return {"paper": PAPER, "ours": {**about, **ours}}


def findings_of(groups: Sequence[SweepGroup], wanted: Callable[[SweepVerdict], bool]) -> list[Finding]:
    """Return the verdicts of groups as findings, the group's name before each claim."""
    return [
        Finding(f"{group.optimizer}, {group.drawing}: {verdict.claim}", verdict.holds, verdict.numbers)
        for group in groups
        for verdict in group.verdicts
        if wanted(verdict)
    ]
