"""How much the losses of test examples differ among each other, against their mean: figure 7 of the paper."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._arguments import check_integer
from ...drawing import new_axes
from ...errors import ArgumentError
from ...estimates import Estimate
from .._numbers import check_number
from ._jackknife import from_left_out
from ._plain import Plain
from ._trained import Runs


@dataclass(frozen=True, eq=False)
class LossSpread(Plain):
    """The standard deviation σ_l of test losses against their mean, late in runs.

    Attributes:
        losses: mean test losses, shape (points,), in the unit of the loss.
        spreads: σ_l, likewise.
        slope: of the line that fits spreads to losses best, without a unit; its error is a jackknife over training
            sets, as points of one run are not independent.
        intercept: of the same line, in the unit of the loss.
    """

    losses: np.ndarray
    spreads: np.ndarray
    slope: Estimate
    intercept: Estimate

    def plot(self, ax: Any = None) -> Any:
        """Draw the points and the line.

        Args:
            ax: matplotlib axes; new ones by default.

        Returns:
            The axes.

        Raises:
            FeynGDError: matplotlib is missing.
        """
        axes = new_axes(ax)
        ends = np.array([self.losses.min(), self.losses.max()])
        label = f"slope {self.slope.value:.3g} ± {self.slope.stderr:.1g}"
        axes.plot(ends, self.intercept.value + self.slope.value * ends, color="#333333", lw=1, label=label)
        axes.plot(self.losses, self.spreads, ".", ms=4, alpha=0.5, color="#0072B2")
        axes.set_xlabel("test loss (unit of the loss)")
        axes.set_ylabel("σ of the loss over test examples")
        axes.legend(fontsize=8)
        return axes


def loss_spread(runs: Runs | Sequence[Runs], *, points: int = 20, tail: float = 0.25) -> LossSpread:
    """Return σ_l against the test loss at records late in runs, and the slope of the line between them.

    Args:
        runs: an `Ensemble`, or several, such as those of several temperatures.
        points: how many records of every run are taken, at equal distances.
        tail: the share of the records that are late.

    Raises:
        ArgumentError: runs diverged, fewer records are late than asked for, there are fewer than three training sets in
            all, or all test losses are the same.

    References:
        "Studying Generalization Through Data Averaging", figure 7.
    """
    given = [runs] if isinstance(runs, Runs) else list(runs)
    count = check_integer("points", points, least=1)
    share = check_number("tail", tail, above=0, below=1 + 1e-12)
    rows: list[np.ndarray] = []
    for each in given:
        each.check_diverged()
        total = len(each.times)
        late = max(1, round(share * total))
        if late < count:
            raise ArgumentError(
                f"points={count} records are wanted, and {late} records are in the last {share:g} of a run: record "
                "more often, or give fewer points."
            )
        chosen = np.unique(np.round(np.linspace(total - late, total - 1, count)).astype(int))
        pairs = np.stack([each.test_loss[:, :, chosen], each.test_spread[:, :, chosen]], axis=1)
        rows += list(pairs.reshape(len(pairs), 2, -1).astype(float))
    if len(rows) < 3:
        raise ArgumentError(f"The error of a slope takes at least 3 training sets; got {len(rows)}.")
    whole = np.concatenate(rows, axis=1)
    if not np.ptp(whole[0]) > 0:
        raise ArgumentError("All test losses are the same, so that there is no slope: give runs at other temperatures.")
    left_out = np.array([_line(np.concatenate(rows[:k] + rows[k + 1 :], axis=1)) for k in range(len(rows))])
    slope, intercept = (from_left_out(value, values) for value, values in zip(_line(whole), left_out.T, strict=True))
    return LossSpread(whole[0], whole[1], slope, intercept)


def _line(pairs: np.ndarray) -> tuple[float, float]:
    """Return slope and intercept of the line from losses to spreads, shape (2, points)."""
    slope, intercept = np.polyfit(pairs[0], pairs[1], 1)
    return float(slope), float(intercept)
