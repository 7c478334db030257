"""Learning rates that cost the same: for every batch size and momentum the η of one excess loss."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize

from ..._arguments import check_integer
from ...drawing import PALETTE, new_axes
from ...errors import ArgumentError
from ...estimates import TruncationWarning, finite_or_none
from ...optimizers import momentum
from .._numbers import check_number, check_numbers
from ._limit import Limit
from ._linear_step import linear_step

_LEAST, _MOST = 1e-12, 1 - 1e-9  # of the learning rate at which steps stop being stable
_STEP = 1e-5  # relative, of differences
_PLACES = 60  # on the way up to it, where the excess loss is looked at


@dataclass(frozen=True, eq=False)
class EqualExcess:
    """Learning rates at which SGD has one excess loss; arrays of shape (batch sizes, momenta).

    Attributes:
        excess_loss: E L − L(μ), in the unit of the loss.
        batch_sizes: B, shape (b,).
        momenta: β, shape (m,).
        learning_rates: η; NaN where no stable one has as much.
        stderr: its standard error from sampling; `None` where the noise is known exactly.
        speed: E|δ|² there, in params².
        mixing_steps: after how many steps the slowest direction with noise keeps less than `tolerance` of a deviation.
        tolerance: as given.
    """

    excess_loss: float
    batch_sizes: np.ndarray
    momenta: np.ndarray
    learning_rates: np.ndarray
    stderr: np.ndarray | None
    speed: np.ndarray
    mixing_steps: np.ndarray
    tolerance: float

    @property
    def mixing_examples(self) -> np.ndarray:
        """How many examples are used until the slowest direction has forgotten, B times the steps."""
        return self.batch_sizes[:, None] * self.mixing_steps

    def __str__(self) -> str:
        heads = [f"β = {beta:g}" for beta in self.momenta]
        cells = [
            [f"{rate:.4g} ({steps:,.0f})" if np.isfinite(rate) else "none" for rate, steps in zip(*rows, strict=True)]
            for rows in zip(self.learning_rates, self.mixing_steps, strict=True)
        ]
        names = [f"B = {batch}" for batch in self.batch_sizes]
        first = max(map(len, names))
        widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
        lines = [
            "  ".join([name.ljust(first), *(cell.rjust(width) for cell, width in zip(row, widths, strict=True))])
            for name, row in zip(["", *names], [heads, *cells], strict=True)
        ]
        return "\n".join([f"learning rates of an excess loss of {self.excess_loss:g} (steps to forget)", *lines])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is not finite is `None`."""
        arrays = ("learning_rates", "speed", "mixing_steps")
        return {
            "excess_loss": self.excess_loss,
            "tolerance": self.tolerance,
            "batch_sizes": self.batch_sizes.tolist(),
            "momenta": self.momenta.tolist(),
            "stderr": None if self.stderr is None else [finite_or_none(row) for row in self.stderr],
            **{name: [finite_or_none(row) for row in getattr(self, name)] for name in arrays},
        }

    def plot(self, ax: Any = None) -> Any:
        """Plot the learning rate against the batch size for every momentum, and return the axes."""
        ax = new_axes(ax)
        for number, beta in enumerate(self.momenta):
            colour = PALETTE[(number + 1) % len(PALETTE)]
            ax.loglog(self.batch_sizes, self.learning_rates[:, number], "o-", color=colour, ms=4, label=f"β = {beta:g}")
        ax.set_xlabel("batch size B")
        ax.set_ylabel(f"learning rate of an excess loss of {self.excess_loss:g}")
        ax.legend(frameon=False)
        return ax


def equal_excess(
    basin: Any,
    excess_loss: float,
    batch_sizes: Any,
    momenta: Any,
    *,
    nesterov: bool,
    tolerance: float,
    settings: dict[str, Any],
) -> EqualExcess:
    """Return the table; see `Basin.equal_excess`."""
    target = check_number("excess_loss", excess_loss, above=0)
    share = check_number("tolerance", tolerance, above=0, below=1)
    batches = [check_integer("A batch size", size, least=1) for size in np.ravel(np.asarray(batch_sizes, object))]
    betas = np.ravel(check_numbers("momenta", momenta))
    if not batches or not betas.size:
        raise ArgumentError(f"Give at least one batch size and one momentum; got {batch_sizes!r} and {momenta!r}.")
    optimizers = [momentum(float(beta), nesterov=nesterov) for beta in betas]
    cells = [[_Cell(basin, batch, optimizer, settings) for optimizer in optimizers] for batch in batches]
    rates, errors, speeds, steps = np.full((4, len(batches), len(betas)), np.nan)
    for i, j in np.ndindex(rates.shape):
        cell = cells[i][j]
        rate = cell.rate(target)
        if rate is None:
            continue
        limit = cell.limit(rate)
        found = limit.excess_loss()  # warns of what makes the answer doubtful
        rates[i, j], speeds[i, j], steps[i, j] = rate, limit.speed().value, limit.mixing_steps(share)
        if found.stderr is not None:
            errors[i, j] = found.stderr / cell.slope(rate)
    stderr = None if basin.noise.is_exact else errors
    return EqualExcess(target, np.array(batches), betas, rates, stderr, speeds, steps, share)


class _Cell:
    """One batch size and one optimizer; settings that do not fit are refused here, before anything is searched."""

    def __init__(self, basin: Any, batch: int, optimizer: Any, settings: dict[str, Any]) -> None:
        self._basin, self._batch, self._optimizer, self._settings = basin, batch, optimizer, settings
        nodes = np.concatenate([group[0].ravel() for group in basin.noise.groups] + [basin.curvatures])
        largest = float(nodes.max()) + float(settings["weight_decay"])
        self._highest = linear_step(optimizer, 1.0).bound / largest if largest > 0 else 1.0
        self._excess(_MOST * self._highest)

    def limit(self, rate: float) -> Limit:
        found: Limit = self._basin.limit(rate, self._batch, optimizer=self._optimizer, **self._settings)
        return found

    def rate(self, target: float) -> float | None:
        """Return the smallest learning rate with an excess loss; `None` if no stable one has it."""
        places = self._highest * np.geomspace(_LEAST, _MOST, _PLACES)
        above = next((i for i, rate in enumerate(places) if self._excess(rate) >= target), None)
        if not above:
            return None
        ends = np.log(places[above - 1]), np.log(places[above])
        return float(np.exp(optimize.brentq(lambda log: self._excess(np.exp(log)) / target - 1, *ends, xtol=1e-13)))

    def slope(self, rate: float) -> float:
        """Return by how much the excess loss grows with the learning rate."""
        low, high = (self._excess(rate * (1 + sign * _STEP)) for sign in (-1, 1))
        return (high - low) / (2 * _STEP * rate)

    def _excess(self, rate: float) -> float:
        """Return the excess loss at a rate that is only tried, without warnings."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TruncationWarning)
            return float(self.limit(rate).excess_loss().value)
