"""What compiled runs do at every step, as arrays: the optimizer's kernel, its average, and where runs are looked at."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, Shaped

from .._arguments import check_integer
from ..errors import ArgumentError
from ..optimizers import Average, Optimizer, Recurrence

# Sizes that belong to the spacetime are rounded up in compiled programs, so that other spacetimes run the same ones.
LEAST_STEPS, _LEAST_LOOKS = 64, 64


class Memory(NamedTuple):
    """What makes memories u of gradients; see `VectorRecurrence`.

    Attributes:
        gain: how much of a step's gradient enters each, shape (steps, memories).
        decay: what a step makes of them, shape (steps, memories, memories).
        readout: by how much each moves the iterate in a step, shape (steps, memories).
    """

    gain: Any
    decay: Any
    readout: Any


class RunningAverages(NamedTuple):
    """Averages w ← keep_t w + take_t θ after every step, side by side where those of several looks overlap.

    Attributes:
        origin: the share of θ_0 that each begins with, shape (averages,).
        keep: what a step leaves of each, shape (steps, averages).
        take: how much of the new iterate enters each, likewise.
        of_look: which of them is that of a look, shape (looks,).
    """

    origin: Any
    keep: Any
    take: Any
    of_look: Any


class StepPlan(NamedTuple):
    """What every run does, beside its gradients. What is `None` is not in the compiled program.

    Attributes:
        shares: the share of every slot of a batch in its step's mean, shape (steps, slots).
        direct: by how much a gradient moves the iterate in its own step, shape (steps,); `None` for 1.
        memory: of earlier gradients.
        averages: at which the loss is measured.
        times: numbers of steps at which runs are looked at, increasing, shape (looks,); `None` for the end alone.
        count: the number of these looks; without them the number of steps.
    """

    shares: Any
    direct: Any
    memory: Memory | None
    averages: RunningAverages | None
    times: Any
    count: Any

    @classmethod
    def make(
        cls,
        optimizer: Optimizer,
        shares: Float[np.ndarray, "steps slots"],
        times: Int[np.ndarray, " looks"] | None,
    ) -> "StepPlan":
        """Make the plan of runs.

        Args:
            optimizer: without symbols.
            shares: the share of every slot of a batch in its step's mean.
            times: when runs are looked at; `None` for the end alone.

        Raises:
            ArgumentError: the optimizer has another number of steps, or no average after one of these.
        """
        steps, optimizer = len(shares), optimizer.in_floats()
        kernel = optimizer.realization(steps)
        parts = (kernel.direct, kernel.gain, kernel.decay, kernel.readout)
        direct, gain, decay, readout = (np.array(part, dtype=float) for part in parts)
        if isinstance(kernel, Recurrence):  # whose numbers are those of vectors of one
            gain, decay, readout = gain[:, None], decay[:, None, None], readout[:, None]
        memory = Memory(gain, decay, readout) if kernel.has_memory else None
        averages = None
        if optimizer.average is not None:
            looks = np.array([steps]) if times is None else times
            averages = _running_averages(optimizer.average, steps, looks, of_curve=times is not None)
        is_plain = memory is None and bool(np.all(direct == 1))
        count = np.int32(steps if times is None else len(times))
        return cls(shares, None if is_plain else direct, memory, averages, times, count)

    def with_room(self) -> "StepPlan":
        """Return the plan with its axes of steps and of looks filled up by zeros, to one of few lengths."""

        def roomy(leaf: np.ndarray, least: int = LEAST_STEPS) -> np.ndarray:
            return with_room(leaf, least)

        averages = self.averages
        if averages is not None:
            of_look = roomy(averages.of_look, _LEAST_LOOKS)
            averages = RunningAverages(averages.origin, roomy(averages.keep), roomy(averages.take), of_look)
        times = None if self.times is None else roomy(self.times.astype(np.int32), _LEAST_LOOKS)
        shares, direct, memory = jax.tree.map(roomy, (self.shares, self.direct, self.memory))
        return StepPlan(shares, direct, memory, averages, times, self.count)

    def moved(self, pushes: Float[np.ndarray, "runs steps"]) -> Float[np.ndarray, "looks runs"]:
        """Return what pushes at every step have moved the point of measurement by at every look: Σ_s κ(t, s) push_s.

        These are the runs of a single parameter whose gradients are the pushes, at the learning rate −1.
        """
        place = np.zeros(len(pushes))
        memory = np.zeros((0 if self.memory is None else self.memory.gain.shape[1], len(pushes)))
        averages = self.averages
        rows = np.zeros((0 if averages is None else len(averages.origin), len(pushes)))
        times = [pushes.shape[1]] if self.times is None else self.times.tolist()
        look_after = {time: look for look, time in enumerate(times)}
        found = np.zeros((len(times), len(pushes)))
        for step, push in enumerate(pushes.T):
            place = place + (push if self.direct is None else self.direct[step] * push)
            if self.memory is not None:
                gain, decay, readout = (part[step] for part in self.memory)
                place, memory = place + readout @ memory, decay @ memory + gain[:, None] * push
            if averages is not None:
                rows = averages.keep[step][:, None] * rows + averages.take[step][:, None] * place
            if (look := look_after.get(step + 1)) is not None:
                found[look] = place if averages is None else rows[averages.of_look[look]]
        return found


def _running_averages(
    average: Average, steps: int, looks: Int[np.ndarray, " looks"], *, of_curve: bool
) -> RunningAverages:
    """Return the recurrences that an average is; every look of a curve has the average of the steps up to it."""
    ones, which = np.ones((steps, 1)), np.zeros(len(looks), dtype=np.int32)
    if average.ema is not None:
        kept = float(average.ema)
        return RunningAverages(np.ones(1), kept * ones, (1 - kept) * ones, which)
    if average.tail == "all":
        number = np.arange(1, steps + 1)[:, None]
        return RunningAverages(np.ones(1), (number - 1) / number, 1 / number, which)
    if average.tail is None:
        if of_curve:
            raise ArgumentError(
                "The weights of an average are those of whole runs, so a learning curve has none on the way: use "
                "averaged with ema= or tail=, or leave times out."
            )
        weights = np.array(average.over_steps(steps), dtype=float)
        return RunningAverages(np.array([1 - weights.sum()]), ones, weights[:, None], which)
    length = average.tail
    if short := [int(time) for time in looks if time < length]:
        raise ArgumentError(
            f"The mean of the last {length} iterates needs as many steps; got t={short[0]}. Take a shorter tail"
            + (", later times, or tail='all'." if of_curve else ", a longer run, or tail='all'.")
        )
    # The windows of a look and of the next but `count` do not overlap, so that they can share an average.
    count = max(int(np.sum(looks[place:] - length < looks[place])) for place in range(len(looks)))
    keep, take = np.ones((steps, count)), np.zeros((steps, count))
    which = np.arange(len(looks), dtype=np.int32) % count
    for time, own in zip(looks, which, strict=True):
        keep[time - length, own] = 0
        take[time - length : time, own] = 1 / length
    return RunningAverages(np.zeros(count), keep, take, which)


def check_times(times: Any, steps: int) -> Int[np.ndarray, " looks"] | None:
    """Return the numbers of steps at which runs are looked at.

    Args:
        times: "all", or numbers from 0 to T in increasing order; `None` for the end alone.
        steps: T.

    Raises:
        ArgumentError: they are anything else.
    """
    if times is None:
        return None
    if isinstance(times, str) and times == "all":
        return np.arange(steps + 1)
    ask = f'times are numbers of steps, 0 to T={steps}, in increasing order, or "all"; got {times!r}.'
    if isinstance(times, (str, bytes)) or not isinstance(times, Iterable) or getattr(times, "shape", (1,)) == ():
        raise ArgumentError(ask)
    found = [check_integer("A time, a number of steps,", time, least=0) for time in times]
    if not found or found[-1] > steps or any(late <= early for early, late in pairwise(found)):
        raise ArgumentError(ask)
    return np.array(found)


def with_room(array: Shaped[np.ndarray, "length ..."], least: int, axis: int = 0) -> Shaped[np.ndarray, "room ..."]:
    """Return an array with an axis filled up by zeros, to one of few lengths."""
    widths = [(0, 0)] * array.ndim
    widths[axis] = 0, rounded_up(array.shape[axis], least) - array.shape[axis]
    return np.pad(array, widths)


def rounded_up(number: int, least: int) -> int:
    """Return the next power of two, at least `least`."""
    return max(least, 1 << max(number - 1, 0).bit_length())
