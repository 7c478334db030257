"""Whether the noise of SGD looks like the Hessian: figures 2, 8 and 9 on a small network, before and after training."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..companions import escape
from ..companions.escape import NoiseAlignment
from ..drawing import new_figure
from ..landscapes import Landscape
from ._escape_network import OURS, loss, trained
from ._escape_slopes import PAPER, SOURCE
from ._experiment import Experiment, Finding, Outcome, Setting

BATCHES = (1, 10, 20, 30)
EIGEN, COORDINATES = (1e-4, 0.5), (-0.03, 0.03)  # the paper's windows of curvatures
_PEARSON, _RIGHT, _MISALIGNED = 0.9, 0.1, 0.1


def run(setting: Setting) -> Outcome:
    """Compare C and H at a random start and after training, and for twice the loss."""
    landscape, start, after = trained(setting, setting.key)
    points = {"random start": start, "trained": after}
    found = {name: escape.noise_against_hessian(landscape, at, window=EIGEN) for name, at in points.items()}
    coordinates = {
        name: escape.noise_against_hessian(landscape, at, window=COORDINATES, basis="coordinates")
        for name, at in points.items()
    }
    twice = Landscape(lambda params, example: 2 * loss(params, example), landscape.data)
    doubled = escape.noise_against_hessian(twice, after, window=(2 * EIGEN[0], 2 * EIGEN[1]))
    findings = [finding for name, one in found.items() for finding in judged(f"{name}, eigenvectors", one)] + judged(
        "trained, coordinates", coordinates["trained"]
    )
    findings.append(no_law(found["trained"].slope, doubled.slope))
    data = {
        "paper": PAPER,
        "ours": {"network": OURS, "B": BATCHES, "windows": [EIGEN, COORDINATES]},
        "eigenvectors": {name: one.to_dict() for name, one in found.items()},
        "coordinates": {name: one.to_dict() for name, one in coordinates.items()},
    }
    return Outcome(findings, data, _figure([found["trained"], coordinates["trained"]]))


def judged(where: str, found: NoiseAlignment) -> list[Finding]:
    """Judge the paper's claims C ∝ H and C = H, and that C has no part off the diagonal."""
    return [
        Finding(f"{where}: C and H correlate", bool(found.pearson >= _PEARSON), {"Pearson": found.pearson}),
        Finding(f"{where}: the slope is 1, C = H", bool(abs(found.slope - 1) <= _RIGHT), {"slope": found.slope}),
        Finding(
            f"{where}: C is diagonal there",
            bool(found.misalignment <= _MISALIGNED),
            {"share off the diagonal": found.misalignment},
        ),
    ]


def no_law(slope: float, doubled: float) -> Finding:
    """Judge whether twice the loss has twice the slope, so that C = H cannot hold for both."""
    holds = bool(abs(doubled - 2 * slope) <= 1e-3 * abs(slope))
    return Finding("twice the loss has twice the slope: C = H is no law", holds, {"once": slope, "twice": doubled})


def _figure(found: Sequence[NoiseAlignment]) -> Any:
    figure, axes = new_figure(2, width=4.8)
    for ax, one in zip(axes[0], found, strict=True):
        shown = one.curvatures > 0  # axes are logarithmic, where lines through 0 are parallel
        curvatures, variances = one.curvatures[shown], one.variances[shown]
        ends = np.array([curvatures.min(initial=np.inf), curvatures.max(initial=0)])
        for batch, colour in zip(BATCHES, ("#0072B2", "#E69F00", "#009E73", "#CC79A7"), strict=True):
            ax.plot(curvatures, variances / batch, ".", ms=3, color=colour, label=f"B = {batch}")
            ax.plot(ends, one.slope / batch * ends, color=colour, linewidth=0.8)
        ax.plot(ends, ends, color="#000000", linewidth=0.8, linestyle="--", label="C = H, B = 1")
        ax.set(xlabel="curvature h", ylabel="variance c/B of a batch's slope", xscale="log", yscale="log")
        ax.set_title(f"{one.basis}: slope · B = {one.slope:.3f}, Pearson {one.pearson:.2f}", fontsize=10)
    axes[0, 0].legend(fontsize=8)
    return figure


EXPERIMENT = Experiment(
    "noise-against-hessian",
    "the noise of SGD against the Hessian, in eigenvectors and coordinates",
    f"{SOURCE}, sections 2 and 4, figures 2, 8 and 9",
    run,
)
