"""How precise predictions have to be, and how many draws of noise that takes.

The number of draws is found from draws of their own, which are thrown away. A number that is found from the draws that
it counts stops where they happen to lie close together, and their spread is then too small.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Float

from ..errors import ArgumentError
from ..spacetimes import Spacetime
from ._anchored import Anchored

PILOT = 8  # draws that the number of draws is found from, and the fewest that are made afterwards
# Draws up to which it is cheaper to go without control variates: about as long takes finding their directions, on the
# MLP of benchmarks/anchoring.py.
WITHOUT_CONTROLS = 64
# By how much more draws are made than the pilot asks for: its spread is too small about every other time.
_MARGIN = 1.5


@dataclass(frozen=True)
class Effect:
    """What has to be known to a precision.

    Attributes:
        replicates: one number for every draw.
        controlled: whether control variates take part of its spread away.
        least: a size below which the effect does not matter.
    """

    replicates: Float[np.ndarray, " draws"]
    controlled: bool
    least: float = 0.0

    def draws(self, within: float) -> float:
        """Return how many draws have a standard error below `within` of the effect; infinity if it seems to be zero."""
        spread = float(np.std(self.replicates, ddof=1))
        allowed = within * max(abs(float(np.mean(self.replicates))), self.least)
        if not np.isfinite(spread):
            return np.inf
        return (spread / allowed) ** 2 * _MARGIN if allowed else np.inf if spread else 0.0


@dataclass(frozen=True)
class Goal:
    """Effects, and to which precision they have to be known.

    Attributes:
        within: the standard error, relative to the effect.
        effects: from functionals to the effects.
    """

    within: float
    effects: Callable[[Anchored], Iterator[Effect]]

    def __post_init__(self) -> None:
        if isinstance(self.within, bool) or not isinstance(self.within, Real) or not 0 < self.within < 1:
            raise ArgumentError(f"within is a share of the effect, between 0 and 1, such as 0.05; got {self.within!r}.")

    @classmethod
    def of(cls, within: Any, spacetimes: Sequence[Spacetime]) -> "Goal | None":
        """Return the goal for what noise adds to the test loss at the end of runs; `None` if there is none.

        Raises:
            ArgumentError: `within` is not between 0 and 1, or there are no spacetimes.
        """
        if within is None or isinstance(within, Goal):
            return within

        def effects(anchored: Anchored) -> Iterator[Effect]:
            for spacetime in spacetimes:
                prediction = anchored.predict(spacetime)
                yield Effect(prediction.replicates[:, -1], has_controls(spacetime))

        goal = cls(within, effects)
        if not spacetimes:
            raise ArgumentError(f"Give the spacetimes that are to be predicted within={within!r}, as spacetimes=[...].")
        return goal

    def draws(self, pilot: Anchored) -> tuple[float, float]:
        """Return how many draws all effects take, given functionals of few draws; and those with control variates."""
        needed = [(effect.controlled, effect.draws(self.within)) for effect in self.effects(pilot)]
        return (
            max((draws for _, draws in needed), default=0.0),
            max((draws for controlled, draws in needed if controlled), default=0.0),
        )


def has_controls(spacetime: Spacetime) -> bool:
    """Whether noise of a run has control variates: where the order is fixed, steps are tied that are far apart."""
    return bool(spacetime.sampling != "fixed" and not spacetime.last_batch)
