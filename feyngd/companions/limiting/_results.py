"""What a limit returns: numbers and curves that carry how much the noise changes over the cloud of parameters."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...drawing import new_axes
from ...estimates import Estimate


@dataclass(frozen=True)
class LimitEstimate(Estimate):
    """A number in the stationary state.

    Attributes:
        truncation: by what fraction the noise's change over the cloud of parameters changes it, to leading order;
            `None` where there is no landscape to measure it.
    """

    truncation: float | None = None


@dataclass(frozen=True)
class AveragedEstimate(LimitEstimate):
    """The variance of an average of iterates, the sum over directions, in params².

    Attributes:
        ratio: over the variance of the iterates themselves.
        excess_loss: the loss of the average above the minimum's.
    """

    ratio: float = float("nan")
    excess_loss: Estimate | None = None


@dataclass(frozen=True, eq=False)
class Curve:
    """A mean over runs, at several numbers of steps.

    Attributes:
        steps: shape (n,).
        mean: shape (n,), in params².
        stderr: its standard error from sampling, shape (n,); `None` where it is exact.
        truncation: as in `LimitEstimate`.
    """

    steps: np.ndarray
    mean: np.ndarray
    stderr: np.ndarray | None = None
    truncation: float | None = None

    def plot(self, ax: Any = None) -> Any:
        """Plot the curve on logarithmic axes and return the axes."""
        ax = new_axes(ax)
        (line,) = ax.loglog(self.steps, self.mean)
        if self.stderr is not None:
            low, high = self.mean - 2 * self.stderr, self.mean + 2 * self.stderr
            ax.fill_between(self.steps, low, high, color=line.get_color(), alpha=0.25, lw=0)
        ax.set_xlabel("steps")
        ax.set_ylabel("mean squared displacement")
        return ax


@dataclass(frozen=True, eq=False)
class Modes:
    """The directions of a limit one by one: the greatest curvature first; all of shape (k,).

    Attributes:
        curvature: h, weight decay included.
        noise: Σ_ll, the variance of an example's gradient along the direction.
        zeta: ζ = (1 − β)/√(2η(1 + β)h), the paper's damping ratio; critical is 1 for small ηh.
        decay: −ln of `radius`: per step.
        frequency: the angle of the larger root, in radians per step.
        radius: the size of the larger root: what a step leaves of a deviation.
        regime: "underdamped", "critical", "overdamped", or "alternating" where the larger root is negative.
    """

    curvature: np.ndarray
    noise: np.ndarray
    zeta: np.ndarray
    decay: np.ndarray
    frequency: np.ndarray
    radius: np.ndarray
    regime: np.ndarray
