"""Which temperature has the lowest test loss, with an interval; that there is none in range is an answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from numpy.typing import ArrayLike

from ..._arguments import check_integer
from ..._keys import check_key
from ...errors import ArgumentError
from .._numbers import check_number
from ._collapse import same_temperature
from ._plain import Plain


@dataclass(frozen=True)
class Optimum(Plain):
    """Where the test loss is lowest among temperatures.

    Attributes:
        temperature: of the lowest point of the parabola in ln T through the lowest mean loss and its neighbours; `None`
            if the lowest mean is at an end, so that there is no optimum in range.
        loss: the parabola's lowest value, in the unit of the loss; `None` likewise.
        interval: of the optimum, by the bootstrap over training sets. An end is 0 or infinite where the data do not
            show that the optimum is in range on that side.
        inside: the share of resamples whose optimum is in range.
        confidence: of the interval.
        range: the lowest and the highest temperature.
        end: "lower" or "upper", at which of them the loss is lowest; `None` if it is between.
    """

    temperature: float | None
    loss: float | None
    interval: tuple[float, float]
    inside: float
    confidence: float
    range: tuple[float, float]
    end: str | None = None

    def __str__(self) -> str:
        low, high = self.interval
        if self.temperature is None:
            return (
                f"no optimum in range, {self.range[0]:.3g} to {self.range[1]:.3g}: the loss is lowest at the "
                f"{self.end} end, and in {1 - self.inside:.0%} of resamples at one of the ends"
            )
        return f"optimum at T = {self.temperature:.3g}, {self.confidence:.0%} interval {low:.3g} to {high:.3g}"


def optimal_temperature(
    temperatures: ArrayLike,
    losses: Sequence[ArrayLike],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    paired: bool = False,
    key: jax.Array | None = None,
) -> Optimum:
    """Find the temperature of the lowest mean test loss, with a bootstrap interval over training sets.

    Between temperatures the loss is taken as a parabola in ln T, and the interval has no error of that: give them at
    ratios of 2 or less around the optimum.

    Args:
        temperatures: T = λ/B, positive, of at least three different values.
        losses: for each, the test loss of every training set, in the unit of the loss.
        confidence: of the interval.
        resamples: how often training sets are drawn again.
        paired: whether the training sets are the same at all temperatures, and drawn again together.
        key: a JAX random key.

    Raises:
        ArgumentError: lengths differ, a number is not finite or a temperature not positive, fewer than three
            temperatures differ, there are fewer than two training sets at one, paired losses differ in number, or a key
            is missing.

    Examples:
        >>> import jax
        >>> losses = [[0.5, 0.6], [0.3, 0.4], [0.7, 0.9]]
        >>> print(optimal_temperature([0.1, 0.2, 0.4], losses, key=jax.random.key(0)))
        optimum at T = 0.175, 95% interval 0.162 to 0.189
    """
    T = np.asarray(temperatures, dtype=float)
    rows = [np.asarray(row, dtype=float) for row in losses]
    level = check_number("The confidence", confidence, above=0, below=1)
    count = check_integer("resamples", resamples, least=100)
    check_key(key, "The bootstrap draws training sets")
    assert key is not None
    _check(T, rows, paired)
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,))).tolist())
    alike = same_temperature(T)
    groups = [np.flatnonzero(row) for row in np.unique(alike, axis=0)]
    groups.sort(key=lambda group: T[group[0]])
    x = np.log([T[group].mean() for group in groups])
    if len(x) < 3:
        raise ArgumentError(f"An optimum is looked for among at least three different temperatures; got {len(x)}.")

    def vertex(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _vertex(x, np.stack([means[:, group].mean(axis=1) for group in groups], axis=1))

    (place,), (loss,) = vertex(np.array([[row.mean() for row in rows]]))
    drawn = np.empty((count, len(rows)))
    together = rng.integers(0, len(rows[0]), size=(count, len(rows[0])))
    for k, row in enumerate(rows):
        again = together if paired else rng.integers(0, len(row), size=(count, len(row)))
        drawn[:, k] = row[again].mean(axis=1)
    places, _ = vertex(drawn)
    tail = (1 - level) / 2
    low, high = np.quantile(places, tail, method="lower"), np.quantile(places, 1 - tail, method="higher")
    is_inside = bool(np.isfinite(place))
    return Optimum(
        float(np.exp(place)) if is_inside else None,
        float(loss) if is_inside else None,
        (float(np.exp(low)), float(np.exp(high))),
        float(np.isfinite(places).mean()),
        level,
        (float(np.exp(x[0])), float(np.exp(x[-1]))),
        None if is_inside else "lower" if place < 0 else "upper",
    )


def _check(T: np.ndarray, rows: list[np.ndarray], paired: bool) -> None:
    if T.shape != (len(rows),) or not np.all((T > 0) & np.isfinite(T)):
        raise ArgumentError(f"Every one of {len(rows)} lists of losses has a positive temperature; got {T.tolist()}.")
    for k, row in enumerate(rows):
        if row.ndim != 1 or len(row) < 2 or not np.all(np.isfinite(row)):
            raise ArgumentError(
                f"At every temperature there are finite losses of at least 2 training sets; those at {T[k]:g} have "
                f"shape {row.shape}. Leave out runs that diverged."
            )
    if paired and len({len(row) for row in rows}) > 1:
        raise ArgumentError("Paired losses are of the same training sets at every temperature; their numbers differ.")


def _vertex(x: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where parabolas through the lowest value and its neighbours are lowest, and their values there.

    Args:
        x: the places, increasing, shape (G,).
        values: shape (rows, G).

    Returns:
        A place for every row, infinite if the lowest value is at an end; and the parabola's value.
    """
    rows = np.arange(len(values))
    k = np.argmin(values, axis=1)
    middle = np.clip(k, 1, len(x) - 2)
    here, low = x[middle], values[rows, middle]
    left, right = x[middle - 1] - here, x[middle + 1] - here
    below, above = values[rows, middle - 1] - low, values[rows, middle + 1] - low
    bend = (above / right - below / left) / (right - left)
    slope = below / left - bend * left
    is_bent = bend > 0  # not three equal values
    shift = np.where(is_bent, -slope / np.where(is_bent, 2 * bend, 1.0), 0.0)
    places = np.where(k == 0, -np.inf, np.where(k == len(x) - 1, np.inf, here + shift))
    return places, low + slope * shift + bend * shift**2
