"""Averages of the iterates, at which a loss is measured."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from .._arguments import check_integer
from ..errors import ArgumentError
from ._parameters import Number, as_number, is_symbolic

_SUM_WITHIN = 1e-9  # of weights that are floats


@dataclass(frozen=True)
class Average:
    """Weights w_t of the iterates θ_t, of which the loss is measured at Σ_t w_t θ_t.

    Exactly one of the attributes is given.

    Attributes:
        ema: ρ of w ← ρ w + (1 − ρ) θ, which starts at θ_0.
        tail: the mean of this many last iterates, or of all of θ_1 … θ_T ("all").
        weights: those of θ_1 … θ_T, or of θ_0 … θ_T.
    """

    ema: Number | None = None
    tail: int | Literal["all"] | None = None
    weights: tuple[Number, ...] | None = None

    @classmethod
    def make(cls, ema: Any, tail: Any, weights: Any) -> "Average":
        """Check the arguments.

        Raises:
            ArgumentError: not exactly one is given, ρ is outside [0, 1), or weights do not sum to 1.
        """
        given = [name for name, value in (("ema", ema), ("tail", tail), ("weights", weights)) if value is not None]
        if len(given) != 1:
            raise ArgumentError(
                f"An average is one of ema=ρ, tail=n and weights=[…]; got {' and '.join(given) or 'none'}."
            )
        if ema is not None:
            decay = as_number("ema", ema)
            if not is_symbolic(decay) and not 0 <= decay < 1:
                raise ArgumentError(f"ema is the share ρ that a step keeps, 0 ≤ ρ < 1; got {decay}.")
            return cls(ema=decay)
        if tail is not None:
            return cls(tail="all" if tail == "all" else check_integer("tail", tail, least=1))
        if isinstance(weights, (str, bytes)) or not isinstance(weights, Iterable):
            raise ArgumentError(f"weights is a list of numbers, one for every iterate; got {weights!r}.")
        numbers = tuple(as_number(f"The weight {index}", value) for index, value in enumerate(weights))
        total = sum(numbers, Fraction(0))
        if not is_symbolic(total) and abs(total - 1) > (_SUM_WITHIN if isinstance(total, float) else 0):
            raise ArgumentError(f"The weights of an average sum to 1; these {len(numbers)} sum to {total}.")
        return cls(weights=numbers)

    def in_floats(self) -> "Average":
        """Return the average with floats in place of fractions."""
        ema = None if self.ema is None else float(self.ema)
        weights = None if self.weights is None else tuple(map(float, self.weights))
        return Average(ema, self.tail, weights)

    def over_steps(self, steps: int) -> tuple[Number, ...]:
        """Return the weights of θ_1 … θ_T; what is missing to 1 is that of θ_0.

        Raises:
            ArgumentError: there are more or fewer weights than iterates.
        """
        if self.ema is not None:
            from_the_last = [1 - self.ema]
            for _ in range(steps - 1):
                from_the_last.append(from_the_last[-1] * self.ema)
            return tuple(from_the_last[::-1]) if steps else ()
        if self.tail is not None:
            length = steps if self.tail == "all" else self.tail
            if length > steps:
                raise ArgumentError(
                    f"The mean of the last {length} iterates needs as many steps; the run has T={steps}."
                )
            return (0,) * (steps - length) + (Fraction(1, length),) * length if length else ()
        weights = self.weights or ()
        if len(weights) not in (steps, steps + 1):
            raise ArgumentError(
                f"The average has {len(weights)} weights, and the run has T={steps} steps: give those of θ_1 … θ_T, "
                "or of θ_0 … θ_T."
            )
        return weights[len(weights) - steps :]

    def __str__(self) -> str:
        if self.ema is not None:
            return f"exponential average, ρ={self.ema}"
        if self.tail is not None:
            return "average of all iterates" if self.tail == "all" else f"average of the last {self.tail} iterates"
        return "weighted average"
