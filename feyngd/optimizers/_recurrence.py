"""Kernels κ(t, s) over a number of steps, as recurrences with one memory or several."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

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


@dataclass(frozen=True)
class VectorRecurrence:
    """How far the gradient of step s has moved the iterate before step t, with a vector u of m memories, in floats.

    Every step θ ← θ − η (direct_t g_t + readout_t · u), then u ← decay_t u + gain_t g_t, with a vector for readout and
    gain and a matrix for decay. See `Recurrence`, which has one memory.

    Attributes:
        direct: by how much a gradient moves the iterate in its own step, for every step.
        gain: how much of it enters every memory, for every step a tuple of m.
        decay: what a step makes of the memories, for every step m rows of m.
        readout: by how much every memory moves the iterate in a step, for every step a tuple of m.
    """

    direct: tuple[float, ...]
    gain: tuple[tuple[float, ...], ...]
    decay: tuple[tuple[tuple[float, ...], ...], ...]
    readout: tuple[tuple[float, ...], ...]

    @property
    def steps(self) -> int:
        """The number of steps."""
        return len(self.direct)

    @property
    def memories(self) -> int:
        """The number of memories m."""
        return len(self.gain[0]) if self.gain else 0

    @property
    def has_memory(self) -> bool:
        """Whether gradients move the iterate in later steps than their own."""
        return bool(np.any(self.gain) and np.any(self.readout))

    def kernel(self, t: int, s: int) -> float:
        """Return κ(t, s); zero unless s < t."""
        if not 0 <= s < t:
            return 0.0
        total, memory = self.direct[s], np.array(self.gain[s])
        for step in range(s + 1, t):
            total += float(memory @ np.array(self.readout[step]))
            memory = np.array(self.decay[step]) @ memory
        return total

    def to_average(self, weights: Iterable[Number]) -> list[Number]:
        """Return Σ_t w_t κ(t, s) for every s, backwards in time as `Recurrence.to_average` does."""
        of_iterates, found = list(weights), list[Number]()
        position, memory = 0.0, np.zeros(self.memories)
        for step in reversed(range(self.steps)):
            position += float(of_iterates[step])
            found.append(self.direct[step] * position + float(memory @ np.array(self.gain[step])))
            memory = np.array(self.readout[step]) * position + memory @ np.array(self.decay[step])
        return found[::-1]
