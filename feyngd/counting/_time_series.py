"""Arithmetic on numbers that change from step to step: floats in NumPy's loops, exact numbers one by one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Arithmetic:
    """How numbers of a kind are made and summed over steps.

    Attributes:
        number: turns an exact number, a float or an expression into one of the kind.
        is_exact: whether numbers are objects, and not floats.
    """

    number: Callable[[Any], Any]
    is_exact: bool

    def array(self, values: Sequence[Any]) -> np.ndarray:
        """Return numbers as an array over steps."""
        if not self.is_exact:
            return np.array([float(value) for value in values])
        found = np.empty(len(values), dtype=object)
        for index, value in enumerate(values):
            found[index] = self.number(value)
        return found

    def full(self, shape: tuple[int, ...], value: Any) -> np.ndarray:
        """Return an array with the same number everywhere."""
        found = np.empty(shape, dtype=object if self.is_exact else float)
        found.fill(self.number(value))
        return found

    def accumulated(self, inputs: np.ndarray, factors: np.ndarray | None, first: Any, epoch: int | None) -> np.ndarray:
        """Solve a_(t+1) = factor_t a_t + input_t over the last axis.

        Args:
            inputs: shape (..., T).
            factors: shape (T,); `None` if all are 1.
            first: a_0.
            epoch: a number of steps after which a starts at zero again; `None` if it never does.

        Returns:
            a_0 … a_T, shape (..., T + 1). With `epoch`, a_t is 0 at the start of every epoch.
        """
        steps = inputs.shape[-1]
        found = self.full((*inputs.shape[:-1], steps + 1), 0)
        found[..., 0] = self.number(first)
        if self.is_exact or (factors is not None and np.any(factors != factors[:1])):
            for t in range(steps):
                before = found[..., t] if factors is None else found[..., t] * factors[t]
                found[..., t + 1] = inputs[..., t] + before
                if epoch is not None and (t + 1) % epoch == 0:
                    found[..., t + 1] = self.number(0)
            return found
        factor = 1.0 if factors is None or not steps else float(factors[0])
        if epoch is None:
            found[..., 1:] = _filtered(inputs, factor)
            if first:
                found[..., 1:] += float(first) * factor ** np.arange(1, steps + 1)
            return found
        rest = -steps % epoch
        padded = np.concatenate([inputs, np.zeros((*inputs.shape[:-1], rest))], axis=-1)
        by_epoch = _filtered(padded.reshape(*inputs.shape[:-1], -1, epoch), factor)
        by_epoch[..., -1] = 0.0
        found[..., 1:] = by_epoch.reshape(*inputs.shape[:-1], -1)[..., :steps]
        return found


def _filtered(inputs: np.ndarray, factor: float) -> np.ndarray:
    """Return a_1, a_2, … of a_(t+1) = factor · a_t + input_t with a_0 = 0."""
    if factor == 1.0:
        return np.cumsum(inputs, axis=-1)
    from scipy.signal import lfilter  # here, as it takes longer to import than everything else of a symbolic call

    return lfilter([1.0], [1.0, -factor], inputs, axis=-1)


FLOATS = Arithmetic(float, is_exact=False)
FRACTIONS = Arithmetic(lambda value: value if isinstance(value, Fraction) else Fraction(value), is_exact=True)
