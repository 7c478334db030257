"""Kernels κ(t, s) over a number of steps, as a recurrence with one memory."""

from collections.abc import Iterable
from dataclasses import dataclass

from ._parameters import Number


@dataclass(frozen=True)
class Recurrence:
    """How far the gradient of step s has moved the iterate before step t, in units of −η.

    Every step keeps a memory u of gradients: θ ← θ − η (direct_t g_t + readout_t u), then u ← decay_t u + gain_t g_t.
    So κ(t, s) = direct_s + gain_s Σ_{s<v<t} (Π_{s<w<v} decay_w) readout_v.

    Attributes:
        direct: by how much a gradient moves the iterate in its own step, for every step.
        gain: how much of it enters the memory.
        decay: what a step leaves of the memory.
        readout: by how much the memory moves the iterate in a step.
    """

    direct: tuple[Number, ...]
    gain: tuple[Number, ...]
    decay: tuple[Number, ...]
    readout: tuple[Number, ...]

    @property
    def steps(self) -> int:
        """The number of steps."""
        return len(self.direct)

    @property
    def has_memory(self) -> bool:
        """Whether gradients move the iterate in later steps than their own."""
        return any(self.gain) and any(self.readout)

    def kernel(self, t: int, s: int) -> Number:
        """Return κ(t, s); zero unless s < t."""
        if not 0 <= s < t:
            return 0 * self.direct[0]
        total, memory = self.direct[s], self.gain[s]
        for step in range(s + 1, t):
            total, memory = total + memory * self.readout[step], memory * self.decay[step]
        return total

    def to_average(self, weights: Iterable[Number]) -> list[Number]:
        """Return Σ_t w_t κ(t, s) for every s, from the weights of the iterates after 1, 2, … steps.

        Backwards in time: `position` is what the weighted average gets of a unit of the iterate, `memory` of a unit of
        the memory.
        """
        of_iterates, found = list(weights), []
        position = memory = 0 * self.direct[0] if self.direct else 0
        for step in reversed(range(self.steps)):
            position = position + of_iterates[step]
            found.append(self.direct[step] * position + self.gain[step] * memory)
            memory = self.readout[step] * position + self.decay[step] * memory
        return found[::-1]
