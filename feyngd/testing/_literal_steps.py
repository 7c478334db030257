"""The steps of an optimizer, taken literally: velocities and averages as state, and every number exact.

Kernels do not appear here. Only the attributes of an optimizer are read.
"""

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from ..errors import ArgumentError
from ..optimizers import Average, Optimizer, check_optimizer
from ._enumerated_runs import Point, PowerSeries


@dataclass(frozen=True)
class LiteralOptimizer:
    """The numbers of an optimizer in a run of a known length, as fractions.

    Attributes:
        beta: the share β of the velocity that a step keeps.
        dampening: the share d of a gradient that does not enter the velocity.
        nesterov: whether steps look ahead.
        classical: whether the learning rate multiplies gradients as they enter the velocity.
        rates: the multiplier of the learning rate of every step.
        scales: the multiplier of the learning rate of every coordinate.
        keeps: what multiplies the average when the iterate after a step enters it, for every step; `None` if the last
            iterate is measured.
        takes: what multiplies an iterate as it enters the average, for θ_0 … θ_T.
    """

    beta: Fraction
    dampening: Fraction
    nesterov: bool
    classical: bool
    rates: tuple[Fraction, ...]
    scales: tuple[Fraction, ...]
    keeps: tuple[Fraction, ...] | None
    takes: tuple[Fraction, ...]

    @classmethod
    def read(cls, optimizer: Any, steps: int, dimensions: int) -> "LiteralOptimizer":
        """Read the attributes of an optimizer.

        Args:
            optimizer: made by `sgd`, `momentum`, `schedule`, `averaged` or `preconditioned`.
            steps: the number of steps T of the run.
            dimensions: the number of coordinates of θ.

        Raises:
            ArgumentError: the argument is no optimizer, has symbols, was measured by `from_optax`, or its schedule,
                average or metric does not suit the run.
        """
        given = check_optimizer(optimizer)
        if given.measured is not None:
            raise ArgumentError(
                f"The oracle takes the literal steps of an optimizer, and {given} (from_optax) is known by its kernel "
                "alone: name its steps with momentum, schedule, averaged or preconditioned."
            )
        return cls(
            beta=_exact("beta", given.beta),
            dampening=_exact("dampening", given.dampening),
            nesterov=given.nesterov,
            classical=given.classical,
            rates=_rates(given, steps),
            scales=_scales(given, dimensions),
            keeps=None if given.average is None else _keeps(given.average, steps),
            takes=() if given.average is None else _takes(given.average, steps),
        )


def _exact(name: str, value: Any) -> Fraction:
    """Return a number as a fraction; floats are what their bits say."""
    if isinstance(value, sympy.Basic):
        if symbols := sorted(map(str, value.free_symbols)):
            raise ArgumentError(
                f"{name} is {value}, and the oracle counts in numbers: replace {', '.join(symbols)} by numbers, with "
                f"optimizer.subs({{'{symbols[0]}': …}})."
            )
        if value.is_Rational:
            return Fraction(int(value.p), int(value.q))
    try:
        if isinstance(value, numbers.Rational) and not isinstance(value, bool):
            return Fraction(int(value.numerator), int(value.denominator))
        if not isinstance(value, (bool, np.bool_, str)):
            return Fraction(float(value))
    except (TypeError, ValueError, OverflowError):
        pass
    raise ArgumentError(f"{name} is a finite number, such as 2 or Fraction(1, 2); got {value!r}.")


def _rates(optimizer: Optimizer, steps: int) -> tuple[Fraction, ...]:
    """Return the multiplier of the learning rate of every step."""
    multipliers = optimizer.multipliers
    if multipliers is None:
        return (Fraction(1),) * steps
    listed = [multipliers(step) for step in range(steps)] if callable(multipliers) else multipliers
    if len(listed) != steps:
        raise ArgumentError(
            f"The schedule has {len(listed)} multipliers, and the run has T={steps} steps: give one for every step, or "
            "a function of the step."
        )
    rates = tuple(_exact(f"The multiplier of step {step}", rate) for step, rate in enumerate(listed))
    for step, rate in enumerate(rates):
        if rate < 0:
            raise ArgumentError(f"The multiplier of step {step} is {rate}: a learning rate is at least 0.")
    return rates


def _scales(optimizer: Optimizer, dimensions: int) -> tuple[Fraction, ...]:
    """Return the multiplier of the learning rate of every coordinate of θ."""
    if optimizer.metric is None:
        return (Fraction(1),) * dimensions
    tree = optimizer.metric.tree
    flat = tree if isinstance(tree, (list, tuple)) else [tree]
    if all(isinstance(leaf, np.ndarray) and leaf.ndim <= 1 for leaf in flat):
        given = np.concatenate([np.atleast_1d(leaf) for leaf in flat])
        if given.size == 1 and flat is not tree:
            given = np.repeat(given, dimensions)
        if given.size == dimensions:
            return tuple(Fraction(float(scale)) for scale in given)
    raise ArgumentError(
        f"θ of a polynomial landscape is a list of coordinates, here {dimensions}, and so is the metric of the oracle: "
        f"give one number, or a list of {dimensions}, to preconditioned; got {tree!r}."
    )


def _keeps(average: Average, steps: int) -> tuple[Fraction, ...]:
    """Return ρ of the exponential moving average for every step, and 1 for sums of weighted iterates."""
    return (Fraction(1) if average.ema is None else _exact("ema", average.ema),) * steps


def _takes(average: Average, steps: int) -> tuple[Fraction, ...]:
    """Return what multiplies each of θ_0 … θ_T as it enters the average."""
    if average.ema is not None:
        return (Fraction(1), *(1 - _exact("ema", average.ema),) * steps)  # the average starts at θ_0
    if average.tail is not None:
        length = steps if average.tail == "all" else average.tail
        if length > steps:
            raise ArgumentError(
                f"The mean of the last {length} iterates needs as many steps, and the run has T={steps}: take a "
                "shorter tail, or tail='all'."
            )
        if not length:
            return (Fraction(1),)  # without steps there is θ_0 alone
        return (Fraction(0),) * (steps + 1 - length) + (Fraction(1, length),) * length
    weights = tuple(_exact(f"The weight {index}", weight) for index, weight in enumerate(average.weights or ()))
    if len(weights) not in (steps, steps + 1):
        raise ArgumentError(
            f"The average has {len(weights)} weights, and the run has T={steps} steps: give those of θ_1 … θ_T, or of "
            "θ_0 … θ_T."
        )
    if sum(weights) != 1:
        raise ArgumentError(
            f"The weights of an average sum to 1; these {len(weights)} are exactly {sum(weights)}: floats are rounded, "
            "so use fractions.Fraction."
        )
    return (Fraction(0),) * (steps + 1 - len(weights)) + weights


@dataclass(frozen=True)
class State:
    """What an optimizer knows before a step, every coordinate a truncated power series in η.

    Attributes:
        point: the iterate θ.
        velocity: u.
        average: the average of the iterates so far.
    """

    point: Point
    velocity: Point
    average: Point


def begin(optimizer: LiteralOptimizer, start: Point) -> State:
    """Return the state before the first step, at θ_0 and at rest."""
    rest = tuple([Fraction(0)] * len(coordinate) for coordinate in start)
    average = rest if optimizer.keeps is None else tuple(_scaled(optimizer.takes[0], x) for x in start)
    return State(start, rest, average)


def take_step(optimizer: LiteralOptimizer, before: State, gradient: Sequence[PowerSeries], step: int) -> State:
    """Return the state after a step.

    u ← β u + (1 − d) g and θ ← θ − η u, where the first gradient is not damped; in the classical convention
    u ← β u − η (1 − d) g and θ ← θ + u. Nesterov's steps go by g + β u, or −η g + β u, with the new u.

    Args:
        optimizer: the numbers.
        before: the state before the step.
        gradient: g, the gradient of the batch at the iterate before the step.
        step: which step it is, from 0.
    """
    rate, beta, is_classical = optimizer.rates[step], optimizer.beta, optimizer.classical
    undamped = step == 0 and not is_classical
    points, velocities = [], []
    for x, u, g, scale in zip(before.point, before.velocity, gradient, optimizer.scales, strict=True):
        own = _scaled(scale, g)
        if is_classical:
            own = _times_eta(_scaled(-rate, own))
        entering = own if undamped else _scaled(1 - optimizer.dampening, own)
        velocity = _sum(_scaled(beta, u), entering)
        change = _sum(own, _scaled(beta, velocity)) if optimizer.nesterov else velocity
        if not is_classical:
            change = _times_eta(_scaled(-rate, change))
        points.append(_sum(x, change))
        velocities.append(velocity)
    average = before.average
    if optimizer.keeps is not None:
        keep, take = optimizer.keeps[step], optimizer.takes[step + 1]
        average = tuple(_sum(_scaled(keep, w), _scaled(take, x)) for w, x in zip(average, points, strict=True))
    return State(tuple(points), tuple(velocities), average)


def measured_point(optimizer: LiteralOptimizer, end: State) -> Point:
    """Return where the loss is measured after a run: at the iterate, or at the average."""
    return end.point if optimizer.keeps is None else end.average


def _scaled(factor: Fraction, series: PowerSeries) -> PowerSeries:
    return series if factor == 1 else [factor * value for value in series]


def _sum(a: PowerSeries, b: PowerSeries) -> PowerSeries:
    return [x + y for x, y in zip(a, b, strict=True)]


def _times_eta(series: PowerSeries) -> PowerSeries:
    return [Fraction(0), *series[:-1]]
