"""Mean escape times in logarithms, with their errors, and what was assumed for them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...estimates import CONVERGED, finite_or_none
from .._assumptions import Assumptions

LEAST_EXPONENT = 6.0  # below which escapes are not rare, and formulas not asymptotic
_NEVER = 15.0  # decimal powers of steps from which nobody waits


@dataclass(frozen=True, eq=False)
class EscapeTime:
    """Mean escape times at several learning rates; arrays have shape (R,).

    Attributes:
        learning_rates: η.
        log_time: the logarithm of the mean time τ, with t = η · steps.
        stderr: the standard error of `log_time` from sampling; 0 where nothing was sampled.
        truncation: the relative size of what is left out of τ, a figure.
        exponent: the part of `log_time` that grows as noise vanishes.
        log_prefactor: the rest of it.
        split: the share s of the barrier at the minimum's temperature, in the exponent ΔL(s/D_a + (1 − s)/D_b): the one
            that was given, or the one that the path amounts to; NaN where the two temperatures are one.
        time_steps: what time steps of a finite length add to `log_time`, a figure that is not part of it.
        assumptions: what was taken for granted, measured.
        noise: in words.
        method: how it was computed, in words.
    """

    learning_rates: np.ndarray
    log_time: np.ndarray
    stderr: np.ndarray
    truncation: np.ndarray
    exponent: np.ndarray
    log_prefactor: np.ndarray
    split: np.ndarray
    time_steps: np.ndarray
    assumptions: Assumptions = field(default_factory=Assumptions)
    noise: str = ""
    method: str = ""

    @property
    def time(self) -> np.ndarray:
        """τ = η · steps; infinite beyond the range of numbers."""
        with np.errstate(over="ignore"):
            return np.exp(self.log_time)

    @property
    def log_steps(self) -> np.ndarray:
        """The logarithm of the mean number of steps."""
        return self.log_time - np.log(self.learning_rates)

    @property
    def steps(self) -> np.ndarray:
        """The mean number of steps τ/η; infinite beyond the range of numbers, where `log_steps` is not."""
        with np.errstate(over="ignore"):
            return np.exp(self.log_steps)

    @property
    def rate(self) -> np.ndarray:
        """Escapes in one step, η/τ: what `Escapes.rate` measures."""
        return np.exp(-self.log_steps)

    @property
    def converged(self) -> np.ndarray:
        """Whether the exponent is at least 6, and truncation and the figure for time steps are below a fifth."""
        small = (self.truncation <= CONVERGED) & (np.abs(self.time_steps) <= CONVERGED)
        return (self.exponent >= LEAST_EXPONENT) & small

    def __str__(self) -> str:
        rows = []
        for i, rate in enumerate(self.learning_rates):
            doubt = "" if self.converged[i] else "   not converged"
            sampling = f" ± {self.stderr[i]:.2g} (sampling)" if self.stderr[i] else ""
            rows.append(
                f"η = {rate:g}: {in_words(self.log_steps[i])}, log τ = {self.log_time[i]:.6g}{sampling} "
                f"± {self.truncation[i]:.2g} (truncation), exponent {self.exponent[i]:.5g}{doubt}"
            )
        failing = [str(row) for row in self.assumptions.failing]
        return "\n".join([f"escape with {self.noise}, {self.method}", *rows, *(f"  {row}" for row in failing)])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is not finite is `None`."""
        names = (
            "learning_rates",
            "log_time",
            "stderr",
            "truncation",
            "exponent",
            "log_prefactor",
            "split",
            "time_steps",
        )
        numbers = {name: finite_or_none(getattr(self, name)) for name in names}
        derived = {"log_steps": finite_or_none(self.log_steps), "converged": self.converged.tolist()}
        about = {"noise": self.noise, "method": self.method, "assumptions": self.assumptions.to_dict()}
        return {**about, **numbers, **derived}


def in_words(log_steps: float) -> str:
    """Return a number of steps from its logarithm, however large.

    Examples:
        >>> in_words(6.2), in_words(30174.0)
        ('493 steps', 'never (10^13,104 steps)')
    """
    decimal = log_steps / np.log(10)
    if decimal >= _NEVER:
        return f"never (10^{decimal:,.0f} steps)"
    return f"{np.exp(log_steps):,.0f} steps" if decimal < 7 else f"{np.exp(log_steps):.3g} steps"
