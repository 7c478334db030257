"""Runs over training sets: what was seen of them, and the levels that their losses have reached."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ...errors import ArgumentError
from ...estimates import Estimate, mean_and_stderr
from ...landscapes import Landscape
from ...optimizers import Optimizer
from ...spacetimes import Spacetime
from .._numbers import check_choice, check_number
from ._forms import records_before_spike

_LEAST_RECORDS = 10  # that a run keeps once a spike is cut off
_TOGETHER = 64  # runs that are evaluated together


@dataclass(frozen=True, eq=False, repr=False)
class Runs:
    """Runs of SGD on independently drawn training sets.

    Attributes:
        learning_rate, weight_decay, noise: λ, α, β.
        optimizer: momentum and schedule.
        spacetime: N, B, T and sampling.
        drawing: "iid", "split" or "overlap".
        times: the steps after which runs were looked at, shape (K,).
        train_loss, test_loss: shape (datasets, runs, K), in the unit of the loss and without weight decay.
        test_spread: the standard deviation of the loss over test examples, likewise.
        metrics: by name, "train" and "test", shaped likewise.
        training_sets: the examples of every training set, shape (datasets, N).
        diverged: whether a run has anything that is not finite, shape (datasets, runs).
        landscape: the loss and the pool.
        template: parameters that show the structure.
        flat_params: θ at the end, shape (datasets, runs, p), or at every record, shape (datasets, runs, K, p).
    """

    learning_rate: float
    weight_decay: float
    noise: float
    optimizer: Optimizer
    spacetime: Spacetime
    drawing: str
    times: np.ndarray
    train_loss: np.ndarray
    test_loss: np.ndarray
    test_spread: np.ndarray
    metrics: Mapping[str, Mapping[str, np.ndarray]]
    training_sets: np.ndarray
    diverged: np.ndarray
    landscape: Landscape
    template: Any
    flat_params: np.ndarray

    def __repr__(self) -> str:
        sets, runs = self.diverged.shape
        lost = f", {self.diverged.sum()} diverged" if self.diverged.any() else ""
        return (
            f"{type(self).__name__}({sets} training sets × {runs} runs, {self.spacetime}, T={self.temperature:g}{lost})"
        )

    @property
    def temperature(self) -> float:
        """T = λ/B, in the unit of the learning rate."""
        return self.learning_rate / int(self.spacetime.B)

    @property
    def effective_temperature(self) -> float:
        """T/(1 − μ)."""
        return self.temperature / (1 - float(self.optimizer.beta))

    @cached_property
    def params(self) -> Any:
        """The parameters at the end, or at every record: the structure of `start` with the runs' axes in front."""
        flat, unravel = self.flat_params, ravel_pytree(self.template)[1]
        rows = jax.vmap(unravel)(jnp.asarray(flat.reshape(-1, flat.shape[-1])))
        return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(*flat.shape[:-1], *leaf.shape[1:]), rows)

    # --- levels -------------------------------------------------------------------------------------------------------

    def curve(self, quantity: str) -> np.ndarray:
        """Return a quantity of every run at every record, shape (datasets, runs, K).

        Args:
            quantity: "train_loss", "test_loss", "gap", "test_spread", or a metric as "name/train" or "name/test".

        Raises:
            ArgumentError: there is no such quantity.
        """
        found = {"train_loss": self.train_loss, "test_loss": self.test_loss, "test_spread": self.test_spread}
        with np.errstate(invalid="ignore"):  # of runs that diverged
            found["gap"] = self.test_loss - self.train_loss
        found |= {f"{name}/{side}": values for name, both in self.metrics.items() for side, values in both.items()}
        return found[check_choice("quantity", quantity, tuple(found))]

    def mean_curve(self, quantity: str) -> tuple[np.ndarray, np.ndarray]:
        """Return a quantity at every record over training sets and its standard error, shape (K,) each.

        Runs that diverged are left out.
        """
        held = [
            row[~lost].mean(axis=0)
            for row, lost in zip(self.curve(quantity), self.diverged, strict=True)
            if not lost.all()
        ]
        if len(held) < 2:
            return np.full(len(self.times), np.nan), np.full(len(self.times), np.nan)
        return mean_and_stderr(np.array(held, dtype=float))

    def level(
        self,
        quantity: str,
        *,
        statistic: str = "median",
        tail: float = 0.25,
        drop_spikes: bool = False,
        skip_diverged: bool = False,
    ) -> Estimate:
        """Return the level of a quantity at the end of the runs: of each run, then over runs, then over training sets.

        Args:
            quantity: as for `curve`.
            statistic: of a run's last records: "median" or "mean".
            tail: the share of the records that are last; 0 for the very last.
            drop_spikes: cut a run where its train loss spikes at its end, by `records_before_spike`.
            skip_diverged: leave runs that diverged out, and say so in the kind of the estimate.

        Returns:
            The mean with its standard error across training sets.

        Raises:
            ArgumentError: an argument is not allowed, runs diverged and are not to be skipped, fewer than two training
                sets have one that did not, or a spike leaves fewer than 10 records.
        """
        values = self.tails(
            quantity, statistic=statistic, tail=tail, drop_spikes=drop_spikes, skip_diverged=skip_diverged
        )
        means = np.array([row[np.isfinite(row)].mean() for row in values if np.isfinite(row).any()])
        if len(means) < 2:
            raise ArgumentError(
                "A standard error across training sets takes two of them with runs that did not diverge."
            )
        lost = int(self.diverged.sum())
        kind = f"ensemble without {lost} diverged of {self.diverged.size} runs" if lost else "ensemble"
        return Estimate.from_replicates(means, kind)

    def tails(
        self, quantity: str, *, statistic: str, tail: float, drop_spikes: bool = False, skip_diverged: bool = False
    ) -> np.ndarray:
        """Return the level of every run, shape (datasets, runs), nan where it diverged; arguments as for `level`."""
        curve = self.curve(quantity)
        is_median = check_choice("statistic", statistic, ("median", "mean")) == "median"
        share = check_number("tail", tail, least=0, below=1 + 1e-12)
        self.check_diverged(skip_diverged)
        found = np.full(self.diverged.shape, np.nan)
        for place in np.argwhere(~self.diverged):
            dataset, run = place.tolist()
            kept = len(self.times)
            if drop_spikes:
                kept = records_before_spike(self.train_loss[dataset, run])
                if kept < _LEAST_RECORDS:
                    raise ArgumentError(
                        f"Run {run} on training set {dataset} spikes after {kept} records, and at least "
                        f"{_LEAST_RECORDS} are kept: record more often, or use drop_spikes=False."
                    )
            last = max(1, round(share * kept))
            values = curve[dataset, run, kept - last : kept]
            found[dataset, run] = np.median(values) if is_median else values.mean()
        return found

    def check_diverged(self, skip: bool = False) -> None:
        """Raise `ArgumentError` if runs diverged, unless they are to be skipped."""
        if self.diverged.any() and not skip:
            raise ArgumentError(
                f"{int(self.diverged.sum())} of {self.diverged.size} runs diverged: give a smaller learning rate, or "
                "skip_diverged=True to average over the others, which is then no average over all training sets."
            )

    def variances(self, quantity: str, *, statistic: str = "median", tail: float = 0.25) -> tuple[float, float]:
        """Return how much of a level's variance is between training sets and how much between runs on the same one.

        Args:
            quantity, statistic, tail: as for `level`.

        Returns:
            `(between_datasets, between_runs)`, unbiased; so the first may be negative.

        Raises:
            ArgumentError: there is one run on each training set, or runs diverged.
        """
        values = self.tails(quantity, statistic=statistic, tail=tail)
        count = values.shape[1]
        if count < 2:
            raise ArgumentError("The variance between runs takes at least 2 runs on every training set: give runs=2.")
        within = float(values.var(axis=1, ddof=1).mean())
        return float(values.mean(axis=1).var(ddof=1)) - within / count, within

    def params_at(self, at: int) -> np.ndarray:
        """Return the parameters at a record, shape (datasets, runs, p)."""
        number = range(len(self.times))[at]
        if self.flat_params.ndim == 4:
            return self.flat_params[:, :, number]
        if number != len(self.times) - 1:
            raise ArgumentError(
                f"Parameters were kept at the end alone, and record {at} is not the last of {len(self.times)}: run the "
                "ensemble with keep='records'."
            )
        return self.flat_params

    def check_plain(self, what: str) -> None:
        """Raise `ArgumentError` unless the runs are plain SGD with replacement; `what` is known for that alone."""
        if not self.optimizer.is_plain or self.spacetime.sampling != "with-replacement":
            raise ArgumentError(
                f"{what} is known for plain SGD at a constant rate with batches drawn with replacement; these runs are "
                f"{self.optimizer}, {self.spacetime.sampling}. Use sampling='with-replacement' without momentum."
            )


def in_blocks(function: Callable[..., tuple[Any, ...]], *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return what a compiled function makes of rows, in blocks of one size, so that it is compiled once.

    Args:
        function: of as many rows of every array; it returns a tuple of arrays with as many rows.
        arrays: with as many rows as each other.
    """
    count, found = len(arrays[0]), []
    for first in range(0, count, _TOGETHER):
        rows = np.minimum(np.arange(first, first + _TOGETHER), count - 1)  # the last block is filled up
        found.append([np.asarray(part, float) for part in function(*(array[rows] for array in arrays))])
    return tuple(np.concatenate(parts)[:count] for parts in zip(*found, strict=True))
