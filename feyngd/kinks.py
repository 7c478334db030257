"""Kinks: where a loss is not smooth in its parameters, and how results report it."""

from collections.abc import Sequence
from dataclasses import dataclass

from ._archive import keep_attributes


@keep_attributes
@dataclass(frozen=True)
class Kink:
    """An operation of a loss at which a derivative by the parameters jumps.

    Attributes:
        operation: the operation: "relu", "max", "cond", "comparison times a value" and so on.
        source: the user's line, as "model.py:12 (apply)"; "" if unknown.
        order: the lowest derivative of the loss that jumps; 0 if the loss itself does.
        near: how many of the examples looked at have the kink within reach: moving the parameters by up to half their
            norm, or down to where the example's own loss would be least, crosses it.
        examples: how many examples were looked at, at most 256; 0 if that failed, and the kink is only suspected.
    """

    operation: str
    source: str
    order: int
    near: int
    examples: int

    def __str__(self) -> str:
        place = f" at {self.source}" if self.source else ""
        if not self.examples:
            return f"{self.operation}{place} (not looked at closely: the loss does not run in double precision)"
        what = ("the loss itself", "the first derivative", "the second derivative", "the third derivative")[self.order]
        near = f"{self.near} of {self.examples} example{'s' if self.examples > 1 else ''}"
        return f"{self.operation}{place} ({what} jumps, within reach of {near})"


class SmoothnessWarning(UserWarning):
    """The loss is not smooth in its parameters, as series assume it to be."""


def kinks_note(kinks: Sequence[Kink]) -> str:
    """Return the line on kinks in a printed result; empty if there are none."""
    return f"\n  not smooth: {'; '.join(map(str, kinks))}; what kinks do is left out" if kinks else ""
