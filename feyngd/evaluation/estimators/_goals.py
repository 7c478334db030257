"""Goals: how precise combinations of values have to be, whatever the errors of single values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...diagrams import Diagram
from ...estimates import mean_and_stderr


@dataclass(frozen=True)
class Goal:
    """A linear combination of values, and the standard error that it may have.

    Attributes:
        weights: the weight of every diagram.
        allowed: the standard error that is small enough, in the unit of the loss.
    """

    weights: Mapping[Diagram, float]
    allowed: float

    def excess(self, values: Mapping[Diagram, np.ndarray]) -> float:
        """Return the variance in units of the one that is allowed, from replicates of the values."""
        total = np.zeros(1)
        for diagram, weight in self.weights.items():
            total = total + weight * values[diagram]
        stderr = float(mean_and_stderr(total)[1])
        if not stderr:
            return 0.0
        return (stderr / self.allowed) ** 2 if self.allowed > 0 else np.inf


Goals = Callable[[Mapping[Diagram, np.ndarray]], Sequence[Goal]]
"""What is asked of values, as far as they are known: from their replicates so far to goals."""
