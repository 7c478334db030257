"""The gap taken apart over training sets: a covariance, which needs no test data, and a shift."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from ...derivatives import CHUNK, Loss, flat_loss, per_loss
from ...errors import ArgumentError
from ...estimates import Estimate
from ._jackknife import cross_gap, cross_gaps_without_one, from_left_out
from ._plain import Plain
from ._trained import Runs, in_blocks


@dataclass(frozen=True, eq=False)
class Decomposition(Plain):
    """E⟨U_e⟩ − E⟨U⟩ = −∫Cov(ρ, U) dθ + shift, estimated from runs; all in the unit of the loss.

    Errors come from few training sets: use `Estimate.interval`, which is Student's. Two standard errors covered 0.915
    of the time with 60.

    Attributes:
        train: E⟨U⟩.
        test: E⟨U_e⟩.
        averaged: ⟨⟨Ū⟩⟩, the loss of runs on training sets other than their own.
        covariance: ∫ Cov(ρ, U) dθ, train less averaged.
        gap: test less train, from test data.
        gap_cross: the same from training sets alone, −∫Cov, divided by 1 − N/M for split sets. Its error is smaller
            than that of `gap` where test sets are small, as it has no test sample of its own.
        shift: gap less gap_cross: what a difference between training and test distribution adds; zero within its error
            if there is none.
        cross: A_ij, the loss of the runs on training set i on training set j, shape (datasets, datasets).
    """

    train: Estimate
    test: Estimate
    averaged: Estimate
    covariance: Estimate
    gap: Estimate
    gap_cross: Estimate
    shift: Estimate
    cross: np.ndarray


def decomposed(runs: Runs, params: np.ndarray, record: int) -> Decomposition:
    """Return the decomposition at a record, from the parameters there, shape (datasets, runs, p)."""
    sets, each, _ = params.shape
    if sets < 3:
        raise ArgumentError(f"Taking a gap apart takes at least 3 training sets for its errors; got {sets}.")
    pool = runs.landscape.num_examples
    compiled = _compiled_losses(runs.landscape.loss, min(CHUNK, pool))
    vectors = params.reshape(sets * each, -1)
    (table,) = in_blocks(lambda some: (compiled(runs.template, some, runs.landscape.data),), vectors)
    of_sets = table.reshape(sets, each, pool).mean(axis=1)
    cross = np.stack([of_sets[:, chosen].mean(axis=1) for chosen in runs.training_sets], axis=1)
    factor = 1.0 if runs.drawing != "split" else 1 / (1 - runs.training_sets.shape[1] / pool)
    independent = cross_gap(cross)
    assert independent.stderr is not None
    of_gap = Estimate(independent.value * factor, independent.stderr * factor, sets, "jackknife")
    gaps = (runs.test_loss - runs.train_loss)[:, :, record].mean(axis=1)
    own = np.diag(cross)
    count = sets * (sets - 1)
    averaged = (cross.sum() - own.sum()) / count
    inner = cross.sum() - cross.sum(axis=0) - cross.sum(axis=1) + own - (own.sum() - own)
    gaps_without_one = (gaps.sum() - gaps) / (sets - 1)
    shifts = gaps_without_one - factor * cross_gaps_without_one(cross)
    return Decomposition(
        train=Estimate.from_replicates(runs.train_loss[:, :, record].mean(axis=1).astype(float), "ensemble"),
        test=Estimate.from_replicates(runs.test_loss[:, :, record].mean(axis=1).astype(float), "ensemble"),
        averaged=from_left_out(averaged, inner / ((sets - 1) * (sets - 2))),
        covariance=Estimate(-independent.value, independent.stderr, sets, "jackknife"),
        gap=Estimate.from_replicates(gaps.astype(float), "ensemble"),
        gap_cross=of_gap,
        shift=from_left_out(float(gaps.mean()) - of_gap.value, shifts),
        cross=cross,
    )


@per_loss
def _compiled_losses(example_loss: Loss, chunk_size: int) -> Callable[[Any, Any, Any], jax.Array]:
    """Compile the losses of all examples at parameters that are given as vectors, shape (vectors, M)."""

    @jax.jit
    def losses(params: Any, vectors: jax.Array, data: Any) -> jax.Array:
        _, loss = flat_loss(example_loss, params)

        def of_one(theta: jax.Array) -> jax.Array:
            return jax.lax.map(partial(loss, theta), data, batch_size=chunk_size)

        return jax.lax.map(of_one, vectors)

    return losses
