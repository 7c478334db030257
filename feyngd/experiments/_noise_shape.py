"""Whether the noise of SGD is normal: across batches and across parameters, figures 1 and 7 on a small network."""

from typing import Any

import jax
import numpy as np

from ..companions import escape
from ..companions.escape import NoiseShape
from ..drawing import new_figure
from ..estimates import mean_and_stderr
from ._escape_network import OURS, trained
from ._escape_slopes import PAPER, SOURCE
from ._experiment import Experiment, Finding, Outcome, Setting
from ._verdicts import agreement

SIZES = (1, 50)
_TAILS, _EXCESS = 0.1, 0.1


def run(setting: Setting) -> Outcome:
    """Draw batches at a random start and after training, beside normal noise of the same covariance."""
    for_start, *keys = jax.random.split(setting.key, 5)
    landscape, start, after = trained(setting, for_start)
    batches = 500 if setting.quick else 3000
    places = [(name, at, size) for name, at in (("random start", start), ("trained", after)) for size in SIZES]
    shapes = {
        f"{name}, B = {size}": escape.noise_shape(landscape, at, size, batches=batches, key=key)
        for (name, at, size), key in zip(places, keys, strict=True)
    }
    findings = [finding for name, shape in shapes.items() for finding in judged(name, shape)]
    data = {
        "paper": PAPER,
        "ours": {"network": OURS, "B": SIZES, "batches": batches},
        "shapes": {name: shape.to_dict() for name, shape in shapes.items()},
    }
    return Outcome(findings, data, _figure(shapes))


def judged(where: str, shape: NoiseShape) -> list[Finding]:
    """Judge whether noise is normal, as the paper says, and whether it is as large as C/B has it.

    The index across parameters is in the file alone: of one batch it differs by ±0.3 from draw to draw.
    """
    (mean, stderr), (expected, error) = (mean_and_stderr(part**2) for part in (shape.norms, shape.gaussian_norms))
    excess = float(shape.kurtosis.mean())
    return [
        agreement(
            f"{where}: mean square norm, batches and normal draws",
            float(expected),
            float(mean),
            stderr=float(np.hypot(stderr, error)),
        ),
        Finding(
            f"{where}: normal across batches",
            bool(abs(excess) <= _EXCESS and abs(shape.index_across_batches - 2) <= _TAILS),
            {"mean excess kurtosis": excess, "stable index": shape.index_across_batches},
        ),
    ]


def _figure(shapes: dict[str, NoiseShape]) -> Any:
    figure, axes = new_figure(2, 2, width=4.8, height=3.4)
    for ax, (name, shape) in zip(axes.ravel(), shapes.items(), strict=True):
        shape.plot(ax)
        ax.set_title(name, fontsize=10)
    return figure


EXPERIMENT = Experiment(
    "noise-shape",
    "how the noise of batches is distributed, across batches and across parameters",
    f"{SOURCE}, section 2, figures 1 and 7",
    run,
)
