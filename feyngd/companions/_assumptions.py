"""Assumptions as code: what a theory takes for granted, measured at a point instead of assumed."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, SupportsIndex, overload

_CLEAR = 2.0  # standard errors between a measurement and its limit: less is no verdict


@dataclass(frozen=True)
class Assumption:
    """One assumption of a theory.

    Attributes:
        name: what is assumed.
        holds: whether the measured number is allowed; `None` where it was not measured, or where its standard error
            leaves that open.
        measured: the number; NaN where it was not measured.
        allowed: its limit: the most, or the least where `is_least`.
        stderr: the standard error of `measured`; `None` where it is exact.
        meaning: what the number is, and what goes wrong where it is not allowed.
        is_least: whether the limit is from below.
    """

    name: str
    holds: bool | None
    measured: float
    allowed: float
    stderr: float | None = None
    meaning: str = ""
    is_least: bool = False

    @classmethod
    def judged(
        cls,
        name: str,
        measured: float | None,
        *,
        most: float | None = None,
        least: float | None = None,
        stderr: float | None = None,
        meaning: str = "",
    ) -> "Assumption":
        """Compare a number with its limit, the most or the least that is allowed.

        A number within two standard errors of its limit is undecided.

        Args:
            name: what is assumed.
            measured: the number; `None` or NaN where it was not measured.
            most: the limit from above, or
            least: the limit from below; one of the two.
            stderr: the standard error of the number; `None` where it is exact.
            meaning: what the number is, and what goes wrong where it is not allowed.
        """
        is_least = least is not None
        limit = least if least is not None else most
        assert limit is not None
        value = math.nan if measured is None else float(measured)
        room = (value - limit) if is_least else (limit - value)
        is_open = math.isnan(room) or (stderr is not None and abs(room) < _CLEAR * stderr)
        return cls(name, None if is_open else room >= 0, value, float(limit), stderr, meaning, is_least)

    @property
    def limit(self) -> float:
        """The limit, `allowed`."""
        return self.allowed

    def __str__(self) -> str:
        word = {True: "holds", False: "fails", None: "not measured" if math.isnan(self.measured) else "undecided"}
        error = "" if self.stderr is None else f" ± {self.stderr:.1g}"
        bound = "at least" if self.is_least else "at most"
        number = "" if math.isnan(self.measured) else f"measured {self.measured:.3g}{error}, "
        return f"{self.name}: {word[self.holds]} ({number}allowed {bound} {self.allowed:g})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what was not measured is `None`."""
        return {
            "name": self.name,
            "holds": self.holds,
            "measured": self.measured if math.isfinite(self.measured) else None,
            "allowed": self.allowed,
            "limit_from": "below" if self.is_least else "above",
            "stderr": self.stderr,
            "meaning": self.meaning,
        }


class Assumptions(tuple[Assumption, ...]):
    """All assumptions of a theory at one point: a tuple whose members are found by name too.

    Examples:
        >>> found = Assumptions([Assumption.judged("small steps", 0.3, most=0.2)])
        >>> found["small steps"].holds, found.hold
        (False, False)
        >>> print(found)
        small steps: fails (measured 0.3, allowed at most 0.2)
    """

    __slots__ = ()

    def __new__(cls, rows: Iterable[Assumption] = ()) -> "Assumptions":
        return super().__new__(cls, rows)

    @property
    def failing(self) -> "Assumptions":
        """Those that do not hold, were not measured or are undecided."""
        return Assumptions(row for row in self if not row.holds)

    @property
    def hold(self) -> bool:
        """Whether all of them hold."""
        return not self.failing

    def keys(self) -> list[str]:
        """Return the names."""
        return [row.name for row in self]

    def values(self) -> list[Assumption]:
        """Return the assumptions."""
        return list(self)

    def items(self) -> list[tuple[str, Assumption]]:
        """Return names with their assumptions."""
        return [(row.name, row) for row in self]

    @overload
    def __getitem__(self, which: str | SupportsIndex) -> Assumption: ...
    @overload
    def __getitem__(self, which: slice) -> tuple[Assumption, ...]: ...
    def __getitem__(self, which: str | SupportsIndex | slice) -> Assumption | tuple[Assumption, ...]:
        if isinstance(which, str):
            for row in self:
                if row.name == which:
                    return row
            raise KeyError(f"No assumption {which!r}. Known: {', '.join(map(repr, self.keys()))}.")
        return super().__getitem__(which)

    def __contains__(self, which: object) -> bool:
        return which in self.keys() if isinstance(which, str) else super().__contains__(which)

    def __str__(self) -> str:
        return "\n".join(map(str, self)) if self else "all assumptions hold"

    def to_dict(self) -> list[dict[str, Any]]:
        """Return plain values for JSON."""
        return [row.to_dict() for row in self]
