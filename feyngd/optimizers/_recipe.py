"""Optimizers in the words of files and of command lines, for runs of any number of steps."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

from .._arguments import check_integer
from ..errors import ArgumentError
from ._optimizer import Optimizer, averaged, momentum, schedule
from ._parameters import Number, as_number, is_symbolic
from ._schedules import as_multipliers, cosine, linear

SCHEDULES = ("cosine", "linear")


@dataclass(frozen=True)
class Recipe:
    """How to make an optimizer once the number of steps is known.

    Attributes:
        momentum: β of heavy ball, or of Nesterov's steps.
        nesterov: whether steps look ahead.
        schedule: "cosine" or "linear", which end at 0 after the last step, or a multiplier for every step; `None` for a
            constant rate.
        warmup: the number of steps in which the rate rises from 0, before the cosine or the line.
        ema: ρ of the exponential average at which the loss is measured; `None` for the last iterate.
    """

    momentum: Number = Fraction(0)
    nesterov: bool = False
    schedule: str | tuple[Number, ...] | None = None
    warmup: int = 0
    ema: Number | None = None

    @classmethod
    def read(cls, entries: Any) -> "Recipe":
        """Make a recipe from a mapping with some of the attributes, and check all of it.

        Raises:
            ArgumentError: it is no mapping, or an entry is unknown or not allowed.

        Examples:
            >>> Recipe.read({"momentum": 0.9, "schedule": "linear", "warmup": 2}).make(4).kernel(4, 2)
            1.45
        """
        known = [field.name for field in fields(cls)]
        if not isinstance(entries, Mapping):
            raise ArgumentError(f"An optimizer is a table with entries among {', '.join(known)}; got {entries!r}.")
        if unknown := [key for key in entries if key not in known]:
            raise ArgumentError(f"Unknown entry {unknown[0]!r} of an optimizer: there are {', '.join(known)}.")
        given = dict(entries)
        for name in ("momentum", "ema"):
            if given.get(name) is not None:
                given[name] = as_number(name, given[name])
        form = given.get("schedule")
        if isinstance(form, str) and form not in SCHEDULES:
            raise ArgumentError(
                f"schedule is 'cosine', 'linear' or a list with a multiplier for every step; got {form!r}."
            )
        if form is not None and not isinstance(form, str):
            if callable(form):
                raise ArgumentError("A schedule that is a function has no words: list its multipliers.")
            given["schedule"] = as_multipliers(form)
        given["warmup"] = check_integer("warmup", given.get("warmup", 0), least=0)
        if given["warmup"] and not isinstance(form, str):
            raise ArgumentError(
                "A warm-up comes before a cosine or a line: give schedule='cosine' or 'linear' with it."
            )
        made = cls(**given)
        made._of_steps(None)
        return made

    def make(self, steps: Any) -> Optimizer:
        """Return the optimizer for runs of a number of steps.

        Args:
            steps: T; an expression with symbols is enough without a schedule.

        Raises:
            ArgumentError: there is a schedule, and the number of steps is a symbol or not that of the schedule.
        """
        if self.schedule is None:
            return self._of_steps(None)
        try:
            number = int(steps)
        except TypeError:
            raise ArgumentError(
                f"A schedule has a multiplier for every step, and there are T={steps}: give numbers."
            ) from None
        return self._of_steps(self._multipliers(number)).over_steps(number)

    def _multipliers(self, steps: int) -> tuple[Number, ...]:
        if isinstance(self.schedule, tuple):
            return self.schedule
        if self.schedule == "cosine":
            return cosine(steps, warmup=self.warmup)
        if self.warmup >= steps:
            raise ArgumentError(
                f"A warm-up of {self.warmup} steps leaves none of {steps} to fall in: take a shorter one."
            )
        return (*(Fraction(k, self.warmup) for k in range(self.warmup)), *linear(steps - self.warmup))

    def _of_steps(self, multipliers: tuple[Number, ...] | None) -> Optimizer:
        made = momentum(self.momentum, nesterov=self.nesterov)
        if multipliers is not None:
            made = schedule(multipliers, made)
        return made if self.ema is None else averaged(made, ema=self.ema)

    def to_dict(self) -> dict[str, Any]:
        """Return what differs from plain SGD as plain numbers, lists and strings, for JSON.

        Raises:
            ArgumentError: a number is a symbol.
        """
        found = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                found[field.name] = _plain(value)
        return found

    def __str__(self) -> str:
        words = []
        for name, value in self.to_dict().items():
            shown = "listed" if isinstance(value, list) else f"{value}" if name != "nesterov" else ""
            words.append(shown if name == "schedule" else f"{name}{shown}")
        return "-".join(words) or "sgd"


def _plain(value: Any) -> Any:
    if isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if is_symbolic(value):
        raise ArgumentError(f"{value} is a symbol, and here parameters are numbers.")
    return float(value)
