"""The figure of a table of advice, in matplotlib: changes one below the other, with their effects and errors."""

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from ._axes import PALETTE, new_axes


class DrawnEffect(Protocol):
    """A number with its standard error, which is `None` if it is exact."""

    @property
    def value(self) -> float: ...
    @property
    def stderr(self) -> float | None: ...


class DrawnChange(Protocol):
    """A change of a run with its effect, its errors, and whether the effect is larger than they are."""

    @property
    def change(self) -> str: ...
    @property
    def effect(self) -> DrawnEffect: ...
    @property
    def truncation(self) -> float: ...
    @property
    def is_clear(self) -> bool: ...


class DrawnPlan(Protocol):
    """The run as planned."""

    @property
    def spacetime(self) -> Any: ...


class DrawnAdvice(Protocol):
    """What a figure needs of a table of advice; its rows are those that help most first."""

    @property
    def rows(self) -> Iterable[DrawnChange]: ...
    @property
    def planned(self) -> DrawnPlan: ...


def plot_advice(advice: DrawnAdvice, ax: Any = None) -> Any:
    """Draw every change's effect: thick bars of two standard errors, thin ones with the truncation figure added.

    Changes that help are blue, those that harm are orange; hollow points are no larger than their errors.
    """
    ax = new_axes(ax)
    rows = list(advice.rows)
    for place, row in enumerate(rows):
        value, sampling = row.effect.value, 2 * (row.effect.stderr or 0.0)
        colour = PALETTE[3] if value < 0 else PALETTE[1]
        reach = sampling + (row.truncation if np.isfinite(row.truncation) else 0.0)
        ax.plot([value - reach, value + reach], [place, place], color=colour, lw=1.2, alpha=0.6, zorder=2)
        ax.plot([value - sampling, value + sampling], [place, place], color=colour, lw=5.0, alpha=0.5, zorder=3)
        ax.plot(value, place, "o", ms=6, color=colour, mfc=colour if row.is_clear else "white", zorder=4)
        # Above its bar, since words beside the axes would leave little room for them.
        figure = f"{value:+.3g} ± {row.effect.stderr or 0.0:.1g}" + ("" if row.is_clear else " (unclear)")
        for x, words, side in ((0.01, row.change, "left"), (0.99, figure, "right")):
            where = {"transform": ax.get_yaxis_transform(), "ha": side, "va": "bottom"}
            ax.text(x, place - 0.2, words, fontsize=9, zorder=5, **where)
    ax.axvline(0, color=PALETTE[0], lw=1.0, zorder=1)
    ax.set_yticks([])
    ax.set_ylim(len(rows) - 0.5, -0.75)
    ax.set_xlabel("change of the test loss at the end: left is better")
    ax.set_title(f"instead of {advice.planned.spacetime}", fontsize=10)
    return ax
