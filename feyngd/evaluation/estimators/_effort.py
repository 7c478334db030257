"""How much to spend on values: replicates, precision, budget."""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ..._arguments import check_integer
from ...errors import ArgumentError


@dataclass(frozen=True)
class Effort:
    """How much work to spend on sampled values; see `evaluate`."""

    replicates: int
    rtol: float | None
    budget: float | timedelta | None

    @classmethod
    def checked(cls, replicates: Any, rtol: Any, budget: Any) -> "Effort":
        """Make an effort from what a user gave, or raise `ArgumentError`."""
        replicates = check_integer("replicates", replicates, least=2)
        if rtol is not None and not (_is_number(rtol) and 0 < rtol < 1):
            raise ArgumentError(f"rtol is a fraction of the value between 0 and 1, such as 0.01; got {rtol!r}.")
        size = budget.total_seconds() if isinstance(budget, timedelta) else budget
        if size is not None and not (_is_number(size) and size > 0):
            raise ArgumentError(f"A budget is a positive number of gradients or a timedelta; got {budget!r}.")
        return cls(replicates, None if rtol is None else float(rtol), budget)

    @property
    def is_open(self) -> bool:
        """Whether a precision or a budget decides how many replicates are drawn."""
        return self.rtol is not None or self.budget is not None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
