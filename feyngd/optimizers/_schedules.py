"""Multipliers of the learning rate, step by step: their check, and those in common use."""

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

from .._arguments import check_integer
from ..errors import ArgumentError
from ._parameters import Number, as_number, is_symbolic

Multipliers = tuple[Number, ...] | Callable[[int], Any]


def as_multipliers(given: Any) -> Multipliers:
    """Return multipliers as a tuple of numbers, or a function as it is.

    Raises:
        ArgumentError: they are neither, or a number among them is negative or not finite, or all are zero.
    """
    if callable(given):
        return given
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise ArgumentError(
            f"A schedule is a list of multipliers of the learning rate, one for every step, or a function of the step; "
            f"got {given!r}."
        )
    return checked(given)


def checked(values: Iterable[Any]) -> tuple[Number, ...]:
    """Return multipliers as numbers; arguments and errors of `as_multipliers`."""
    numbers = tuple(as_number(f"The multiplier of step {step}", value) for step, value in enumerate(values))
    for step, number in enumerate(numbers):
        if not is_symbolic(number) and number < 0:
            raise ArgumentError(f"The multiplier of step {step} is {number}: a learning rate is at least 0.")
    if numbers and all(number == 0 for number in numbers):
        raise ArgumentError(f"All {len(numbers)} multipliers are zero, so that nothing moves: give some above zero.")
    return numbers


def over_steps(multipliers: Multipliers, steps: int) -> tuple[Number, ...]:
    """Return the multipliers of some steps.

    Raises:
        ArgumentError: a list has another length, or a function gives what is not allowed.
    """
    if not callable(multipliers):
        if len(multipliers) != steps:
            raise ArgumentError(
                f"The schedule has {len(multipliers)} multipliers, and the run has T={steps} steps: give one for every "
                "step, or a function of the step."
            )
        return multipliers
    return checked(multipliers(step) for step in range(steps))


def cosine(steps: int, *, warmup: int = 0, final: float = 0.0) -> tuple[float, ...]:
    """Return multipliers that rise linearly from 0 and then fall along half a period of a cosine.

    Args:
        steps: how many multipliers.
        warmup: the number of steps that rise, k/warmup at step k.
        final: the multiplier that a step after the last would have.

    Raises:
        ArgumentError: there are no steps after the warm-up, or the numbers are not allowed.

    Examples:
        >>> [round(one, 3) for one in cosine(6, warmup=2)]
        [0.0, 0.5, 1.0, 0.854, 0.5, 0.146]
    """
    fall = check_integer("steps", steps, least=1) - check_integer("warmup", warmup, least=0)
    if fall < 1:
        raise ArgumentError(f"A warm-up of {warmup} steps leaves none of {steps} to fall in: take a shorter one.")
    end = _final(final)
    falling = [end + (1 - end) * (1 + math.cos(math.pi * k / fall)) / 2 for k in range(fall)]
    return (*(k / warmup for k in range(warmup)), *falling)


def linear(steps: int, *, first: Any = 1, final: Any = 0) -> tuple[Number, ...]:
    """Return multipliers on a straight line from the first to that of a step after the last.

    Examples:
        >>> [str(one) for one in linear(4)]
        ['1', '3/4', '1/2', '1/4']
    """
    steps = check_integer("steps", steps, least=1)
    begin, end = as_number("first", first), as_number("final", final)
    return checked(begin + (end - begin) * Fraction(step, steps) for step in range(steps))


def piecewise(lengths: Sequence[int], multipliers: Sequence[Any]) -> tuple[Number, ...]:
    """Return multipliers that are constant over stretches of steps.

    Args:
        lengths: the number of steps of each stretch.
        multipliers: the multiplier of each stretch.

    Raises:
        ArgumentError: there are not as many lengths as multipliers, or one is not allowed.

    Examples:
        >>> [str(one) for one in piecewise([2, 1], [1, Fraction(1, 10)])]
        ['1', '1', '1/10']
    """
    if len(lengths) != len(multipliers):
        raise ArgumentError(
            f"Every stretch has one multiplier; got {len(lengths)} lengths, {len(multipliers)} of them."
        )
    counts = [check_integer("A length", length, least=0) for length in lengths]
    return checked(value for count, value in zip(counts, multipliers, strict=True) for _ in range(count))


def warm_restarts(lengths: Sequence[int], *, final: float = 0.0) -> tuple[float, ...]:
    """Return multipliers that fall along half a period of a cosine again and again.

    Args:
        lengths: the number of steps of each cycle.
        final: the multiplier that a step after the end of a cycle would have.

    References:
        Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", equation 5.

    Examples:
        >>> [round(one, 3) for one in warm_restarts([2, 2])]
        [1.0, 0.5, 1.0, 0.5]
    """
    return tuple(one for length in lengths for one in cosine(length, final=final))


def _final(value: Any) -> float:
    number = as_number("final", value)
    if is_symbolic(number) or not 0 <= number <= 1:
        raise ArgumentError(f"The final multiplier is a number from 0 to 1; got {value!r}.")
    return float(number)
