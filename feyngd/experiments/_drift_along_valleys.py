"""What the experiments on valleys share: where noise carries SGD along a valley, predicted and simulated."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from ..estimates import mean_and_stderr
from ..minima import DenseMinimum
from ..simulation import Ensemble
from ..spacetimes import Spacetime
from ._experiment import Finding
from ._order_claims import pooled
from ._verdicts import all_agree, equivalence


@dataclass(frozen=True)
class Drift:
    """Movement along a valley at one learning rate, at equally spaced looks.

    Attributes:
        rate: η.
        steps: T.
        z: the simulated mean of z, the coordinate along the valley, at every look, shape (looks,).
        stderr: its standard error.
        predicted: E z at every look from the re-summed displacement, to the second power of the noise.
        next_order: E z after all steps to the fourth power of the noise.
    """

    rate: float
    steps: int
    z: np.ndarray
    stderr: np.ndarray
    predicted: np.ndarray
    next_order: float

    @property
    def looks(self) -> np.ndarray:
        """The steps after which z is looked at."""
        return self.steps // len(self.z) * np.arange(1, len(self.z) + 1)

    def data(self, leading: float) -> dict[str, object]:
        """Return what a file keeps of the movement; `leading` is the drift per step to leading order."""
        return {
            "steps": self.looks,
            "z simulated": self.z,
            "stderr": self.stderr,
            "z predicted": self.predicted,
            "z predicted to the next order, at the last": self.next_order,
            "z to leading order": leading * self.looks,
        }


def measure_drift(
    minimum: DenseMinimum,
    ensemble: Ensemble,
    rate: float,
    steps: int,
    *,
    axis: int,
    looks: int,
    units: float,
    key: jax.Array,
) -> tuple[Drift, np.ndarray]:
    """Predict and simulate the movement from a minimum along a valley.

    Args:
        minimum: the start.
        ensemble: simulates runs from there.
        rate: η.
        steps: T, a multiple of `looks`.
        axis: which parameter is z.
        looks: at how many times z is looked at.
        units: ηT times the number of runs, which fixes the precision.
        key: a JAX random key.

    Returns:
        The movement, and z at every look in every run, shape (looks, runs).
    """
    z = ensemble.paths(rate, steps, runs=round(units / (rate * steps)), looks=looks, key=key)[..., axis]
    mean, stderr = mean_and_stderr(z, axis=1)
    times = steps // looks * np.arange(1, looks + 1)
    predicted = [minimum.displacement(Spacetime.sgd(int(T)), rate)[axis] for T in times]
    next_order = float(minimum.displacement(Spacetime.sgd(steps), rate, noises=4)[axis])
    return Drift(rate, steps, mean, stderr, np.array(predicted), next_order), z


def speed_claim(claim: str, drift: Drift, *, tolerance: float) -> Finding:
    """Judge whether the drift per step is the engine's, within a tolerance."""
    return equivalence(
        claim,
        float(drift.predicted[-1]) / drift.steps,
        float(drift.z[-1]) / drift.steps,
        stderr=float(drift.stderr[-1]) / drift.steps,
        relative=tolerance,
    )


def next_order_claim(drifts: Sequence[Drift]) -> Finding:
    """Judge whether the prediction to the next power of the noise deviates by no more than chance."""
    return all_agree(
        "with the next order of the noise the engine's drift is the simulated one within standard errors",
        [drift.next_order for drift in drifts],
        [drift.z[-1] for drift in drifts],
        [drift.stderr[-1] for drift in drifts],
    )


def fourth_power_claim(claim: str, drifts: Sequence[Drift], scales: Iterable[float]) -> Finding:
    """Judge whether what four noises add to two is in the simulations.

    Args:
        claim: the claim, in words.
        drifts: the movements.
        scales: how large the addition is for each of them, relative to the drift, up to a common factor.
    """
    two = np.array([drift.predicted[-1] for drift in drifts], dtype=float)
    four = np.array([drift.next_order for drift in drifts], dtype=float)
    simulated, stderrs = np.array([[drift.z[-1], drift.stderr[-1]] for drift in drifts]).T
    return pooled(
        claim,
        (four - two) / two,
        (simulated - two) / two,
        stderrs / np.abs(two),
        list(scales),
        within=((four - two) / two) ** 2,
    )
