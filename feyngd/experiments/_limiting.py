"""What the experiments on limiting dynamics share: a softmax regression at its minimum, and the paper's parameters."""

from typing import Any, NamedTuple

import jax
import numpy as np

from ..companions import limiting
from ..companions.shift_curvature import minimum
from ..landscapes import Landscape
from ..optimizers import momentum
from ._experiment import Setting
from ._shift_sampling import COMPONENTS, components, loss, start

SOURCE = "Kunin et al."
RATE, BATCH, BETA, DECAY = 0.05, 10, 0.9, 0.01
SHARP, WEAK = 0, 29  # q_1 and q_30
_QUICK = 100  # images

PAPER = {
    "figure 1": "ImageNet, SGDM, S 256, β 0.9, 10 epochs; VGG-16, VGG-11-BN, VGG-16-BN η 1e-5, λ 5e-4; ResNet-18/34 "
    "η = λ = 1e-4; every 250 steps, mean over 15 points, fit on the last two thirds",
    "figure 2": "CIFAR-10 one-hot regression, S 512, η 1e-5, β 0.9 or 0.99, λ 0, 4 epochs, top eigenvector",
    "figures 3 to 5": "ResNet-18, S 256, η = λ = 1e-4, β 0.9, 5 epochs; q_1 and q_30, ρ differ 6 times; 20×20 losses",
    "figure 6": "as figures 1 and 3, 2 epochs, one of S 32 to 1024, η 1e-5 to 1e-3, β 0.8 to 0.99 in 20 even steps",
    "figure 7": "c against the length of the fit",
    "appendix H.4": "b (−0.1, 0.05), A with 4 on (−1, 1) and 1 on (1, 1), D diag(4, 1)",
}
OURS = {
    "network": f"softmax regression on {COMPONENTS} components of digits, {10 * (COMPONENTS + 1)} parameters",
    "runs": f"B {BATCH} with replacement, η {RATE:g}, β {BETA:g}, λ {DECAY:g} unless it is said",
    "curvature": "exact eigenvectors for subspace iteration",
}


class Problem(NamedTuple):
    """A landscape, its minimum with weight decay, and what was measured there."""

    landscape: Landscape
    params: Any
    basin: limiting.Basin


def problem(setting: Setting) -> Problem:
    """Return the regression on the images, in double precision; call it within `jax.enable_x64(True)`."""
    images, labels = setting.images
    used = min(_QUICK if setting.quick else len(labels), len(labels))
    features = components(np.asarray(images, dtype=float))[:used]
    labels = np.asarray(labels)[:used]
    few = min(10, used)
    landscape = Landscape(loss, (features, labels), (features[:few], labels[:few]), reading="conditional")
    found = minimum(landscape, start(), penalty=DECAY, tolerance=1e-9, key=setting.key)
    return Problem(landscape, found.params, limiting.basin(landscape, found.params, key=setting.key))


def runs_of(
    given: Problem, steps: int, runs: int, key: jax.Array, *, rate: float = RATE, batch: int = BATCH, **options: Any
) -> limiting.Trajectories:
    """Return real runs from the minimum with the experiments' settings."""
    settings = {"optimizer": momentum(BETA), "weight_decay": DECAY, "directions": given.basin.eigenpairs, **options}
    return limiting.trajectories(given.landscape, given.params, rate, batch, steps, runs=runs, key=key, **settings)


def settled(rate: float = RATE, beta: float = BETA) -> int:
    """Return after how many steps even directions that weight decay alone holds have settled."""
    return round(4 * (1 - beta) / (rate * DECAY))
