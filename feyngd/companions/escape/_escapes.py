"""Simulated escapes: when every run left, and the rate with its exact interval."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import stats

from .._numbers import check_number

_TABLE = 4000  # samples behind the distribution of the distance from an exponential with a fitted rate
_MOST = 2000  # runs up to which that table is made for their own number


@dataclass(frozen=True, eq=False)
class Escapes:
    """Runs that were followed until they escaped, or for as many steps as were allowed.

    Attributes:
        steps: how many each run took, shape (R, runs); of a run that did not escape, how many it was followed for.
        escaped: whether it did.
        learning_rates: η, shape (R,).
        sampling: how batches were drawn; "" without minibatches.
        noise: in words.
    """

    steps: np.ndarray
    escaped: np.ndarray
    learning_rates: np.ndarray | None = None
    sampling: str = ""
    noise: str = ""

    @property
    def count(self) -> np.ndarray:
        """n, how many runs escaped at each rate, shape (R,)."""
        return np.sum(self.escaped, axis=-1)

    @property
    def exposure(self) -> np.ndarray:
        """S, all steps of all runs, shape (R,)."""
        return np.sum(np.asarray(self.steps, dtype=float), axis=-1)

    @property
    def rate(self) -> np.ndarray:
        """(n − 1)/S, escapes in one step, without bias; NaN below two escapes, where `interval` still bounds it."""
        return np.where(self.count >= 2, (self.count - 1) / self.exposure, np.nan)

    @property
    def least_squares_rate(self) -> np.ndarray:
        """(n − 2)/S, the printed estimate (84): the least mean square error, biased by −1/(n − 1); NaN below three."""
        return np.where(self.count >= 3, (self.count - 2) / self.exposure, np.nan)

    def interval(self, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Return the exact interval of the rate, χ²_{2n}/2S; its upper end χ²_{2n+2}/2S where runs were cut off.

        Without any escape it is the one-sided bound, from 0.

        Args:
            confidence: between 0 and 1.

        Raises:
            ArgumentError: it is not.

        References:
            Replaces (85) of Xie, Sato and Sugiyama, which covers 94.0 % for 100 escapes and 83 % for 10.
        """
        confidence = check_number("The confidence", confidence, above=0, below=1)
        n, exposure = self.count, self.exposure
        rest = (1 - confidence) / 2
        whole = np.all(self.escaped, axis=-1)
        lower = np.where(n > 0, stats.chi2.ppf(rest, np.maximum(2 * n, 1)) / (2 * exposure), 0.0)
        tail = np.where(n > 0, 1 - rest, confidence)
        return lower, stats.chi2.ppf(tail, 2 * n + np.where(whole, 0, 2)) / (2 * exposure)

    @property
    def exponential(self) -> np.ndarray:
        """The p-value of Kolmogorov's and Smirnov's test that times are exponential, with the rate fitted, shape (R,).

        NaN where a run was cut off, or fewer than five escaped.
        """
        rows = np.atleast_2d(self.steps)
        whole = np.atleast_1d(np.all(self.escaped, axis=-1))
        return np.array(
            [_p_value(row) if ok and len(row) >= 5 else np.nan for row, ok in zip(rows, whole, strict=True)]
        )

    @property
    def lag(self) -> np.ndarray:
        """The delay t₀ of a shifted exponential, in steps: before it nothing escapes; NaN where a run was cut off."""
        rows = np.asarray(self.steps, dtype=float)
        first, runs = rows.min(axis=-1), rows.shape[-1]
        found = np.maximum(first - (rows.mean(axis=-1) - first) / max(runs - 1, 1), 0.0)
        return np.where(np.all(self.escaped, axis=-1), found, np.nan)

    def __str__(self) -> str:
        lower, upper = (np.atleast_1d(end) for end in self.interval())
        rates = np.full(len(lower), np.nan) if self.learning_rates is None else self.learning_rates
        rows = []
        for i, rate in enumerate(np.atleast_1d(self.rate)):
            found = f"{rate:.4g} escapes a step" if np.isfinite(rate) else "too few escapes for a rate"
            runs = f"{np.atleast_1d(self.count)[i]} of {self.steps.shape[-1]} runs"
            rows.append(f"η = {rates[i]:g}: {found}, 95 % from {lower[i]:.4g} to {upper[i]:.4g} ({runs})")
        return "\n".join([f"simulated escapes with {self.noise}", *rows])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is not finite is `None`."""
        lower, upper = (np.atleast_1d(end).tolist() for end in self.interval())
        rates = None if self.learning_rates is None else self.learning_rates.tolist()
        finite = [float(x) if np.isfinite(x) else None for x in np.atleast_1d(self.rate)]
        counts = np.atleast_1d(self.count).tolist()
        about = {"noise": self.noise, "sampling": self.sampling, "learning_rates": rates, "escaped": counts}
        return {
            **about,
            "rate": finite,
            "lower": lower,
            "upper": upper,
            "exposure": np.atleast_1d(self.exposure).tolist(),
        }


def _p_value(steps: np.ndarray) -> float:
    """Return the p-value with the fitted rate accounted for: its distribution does not depend on the rate."""
    count = len(steps)
    distance = _distances(np.asarray(steps, dtype=float)[None])[0]
    return float(np.mean(_table(min(count, _MOST)) >= distance * (count / min(count, _MOST)) ** 0.5))


def _distances(rows: np.ndarray) -> np.ndarray:
    count = rows.shape[1]
    expected = -np.expm1(-np.sort(rows, axis=1) / rows.mean(axis=1, keepdims=True))
    above = np.arange(1, count + 1) / count - expected
    return np.maximum(above, 1 / count - above).max(axis=1)


@lru_cache(maxsize=16)
def _table(count: int) -> np.ndarray:
    return _distances(np.random.default_rng(count).exponential(size=(_TABLE, count)))
