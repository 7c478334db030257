"""What the steady state gives: losses, densities, what is left of moment equations, temperatures that stand out."""

from dataclasses import dataclass, field

import numpy as np

from ...estimates import Estimate
from .._assumptions import Assumptions
from ._plain import Plain


@dataclass(frozen=True)
class Losses(Plain):
    """Losses, or their slopes in the temperature, on average over training sets and the steady state.

    Attributes:
        train: E⟨U⟩.
        test: E⟨U_e⟩; ⟨⟨Ū⟩⟩ where training sets are independent draws.
        gap: test less train.
        failing: the assumptions of the steady state that do not hold at this temperature.
    """

    train: Estimate
    test: Estimate
    gap: Estimate
    failing: Assumptions = field(default_factory=Assumptions)

    def __str__(self) -> str:
        failing = f"\n{self.failing}" if self.failing else ""
        return f"train {self.train}, test {self.test}, gap {self.gap}{failing}"


@dataclass(frozen=True, eq=False)
class Density(Plain):
    """Densities of the parameter, in its inverse unit.

    Attributes:
        theta: θ, shape (G,).
        weights: the length that each stands for, so that integrals are sums.
        values: ρ(θ|x) of every training set, shape (datasets, G).
        mean: ρ̄, over training sets, shape (G,).
        spread: σ_ρ.
    """

    theta: np.ndarray
    weights: np.ndarray
    values: np.ndarray
    mean: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True)
class Residuals(Plain):
    """What is left of four stationary moment equations, divided by λ: the largest over training sets, in size.

    Attributes:
        mean: ⟨w⟩, equation (34), with w = ∇U + αθ.
        covariance: −2⟨w (θ − ⟨θ⟩)⟩ + T⟨D + β²⟩, (35).
        train_loss: −⟨∇U w⟩ + ½T⟨∇²U (D + β²)⟩, (36).
        test_loss: −⟨∇Ū w⟩ + ½T⟨∇²Ū (D + β²)⟩, (37).
    """

    mean: float
    covariance: float
    train_loss: float
    test_loss: float


@dataclass(frozen=True)
class Stationary(Plain):
    """A temperature at which the test loss stops falling or rising.

    Attributes:
        temperature: T.
        kind: "minimum" or "maximum".
        test_loss: there.
    """

    temperature: float
    kind: str
    test_loss: Estimate
