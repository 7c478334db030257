"""Updates that are lost to the precision of the parameters, which no series contains.

A step θ ← θ − ηg moves every entry of θ by a whole number of units in the last place (ulps). Where η|g| is below half
an ulp nothing moves, step after step. Otherwise a part of the step is lost or won; the more ulps, the smaller the part.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..derivatives import CHUNK, full_blocks, per_loss
from ..errors import LandscapeError
from ._landscape import Landscape

_BATCHES = 8
_MATTERS = 0.1  # of the other errors of a prediction: a bound below this is not worth a measurement
_LEAST = 4  # bytes of a number, below which single steps are as coarse as the series is not


def check_updates_kept(params: Any, what: str) -> None:
    """Raise unless the parameters are precise enough to be trained in small steps.

    Args:
        params: parameters, a pytree of arrays.
        what: what is asked for, as the beginning of a sentence.

    Raises:
        LandscapeError: a leaf has fewer than 32 bits.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        dtype = jnp.result_type(leaf)
        if dtype.itemsize < _LEAST:
            raise LandscapeError(
                f"{what} would not hold for params{jax.tree_util.keystr(path)} in {dtype}: steps below half a unit in "
                f"the last place ({float(jnp.finfo(dtype).eps) / 2:.1g} of the parameter) are lost in training, which "
                f"the calculus does not know. Keep parameters in float32 and cast inside the loss, "
                f"params.astype(jnp.{dtype})."
            )


def lost_updates(
    landscape: Landscape,
    params: Any,
    learning_rates: np.ndarray,
    *,
    steps: int,
    batch_size: int,
    squared_gradient: float | None,
    mean_at: Callable[[np.ndarray], np.ndarray],
    errors: np.ndarray,
) -> np.ndarray:
    """Return what lost and won parts of updates do to an expected loss, at every learning rate; never raises.

    If the fraction f of every update is lost, SGD at the learning rate η does what it would do at (1 − f)η. The
    fraction is that of the first step, measured on a few batches: of the movement along the gradient, or along the mean
    gradient if that is larger. Where a bound says that it cannot matter beside the other errors it is not measured, and
    counts as zero. Random rounding of θ, whose mean over steps is zero, is not part of it.

    Args:
        landscape: the landscape, with its loss frozen.
        params: the starting point, arrays.
        learning_rates: η, shape (R,).
        steps: T.
        batch_size: B.
        squared_gradient: an estimate of the squared norm of the gradient that moves the parameters; `None` if unknown.
        mean_at: the expected loss as a function of the learning rates.
        errors: the other errors of the expected loss, shape (R,).

    Returns:
        The size of the change of the expected loss, shape (R,), in its unit; not a number if it could not be measured.
    """

    def change(lost: np.ndarray) -> np.ndarray:
        return np.abs(mean_at(learning_rates) - mean_at(learning_rates * (1 - lost)))

    try:
        most = _most_lost(params, learning_rates, squared_gradient) if steps else np.zeros(learning_rates.shape)
        matters = np.maximum(change(most), change(-most)) > _MATTERS * errors
        if not matters.any():
            return np.zeros(learning_rates.shape)
        gradients = _batch_gradients(landscape, params, batch_size)
        fractions = [
            _lost_fraction(params, gradients, rate) if use else 0.0
            for rate, use in zip(learning_rates, matters, strict=True)
        ]
        return change(np.array(fractions))
    except Exception:  # a diagnostic: the prediction stands
        return np.full(learning_rates.shape, np.nan)


def _most_lost(params: Any, rates: np.ndarray, squared_gradient: float | None) -> np.ndarray:
    """Return the largest fraction of an update that can be lost, by Cauchy's inequality, at most 1."""
    if squared_gradient is None:
        return np.ones(rates.shape)
    half_ulps = np.sqrt(sum(float(np.sum((_ulps(leaf) / 2) ** 2)) for leaf in jax.tree.leaves(params)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.minimum(half_ulps / (rates * np.sqrt(squared_gradient)), 1.0), nan=1.0)


def _ulps(leaf: Any) -> np.ndarray:
    return np.abs(np.spacing(np.asarray(leaf))).astype(np.float64)


def _batch_gradients(landscape: Landscape, params: Any, size: int) -> list[list[np.ndarray]]:
    """Return the gradients of a few batches, spread over the data: for each its leaves."""
    count = landscape.num_examples
    gradient, chunk = _compiled_batch_gradient(landscape.loss), min(CHUNK, count)
    found = []
    for batch in range(min(_BATCHES, count)):
        examples, repeats = np.unique(np.resize(np.arange(batch, count, _BATCHES), size), return_counts=True)
        totals = [np.zeros(jnp.shape(leaf)) for leaf in jax.tree.leaves(params)]
        for block in full_blocks(len(examples), chunk):  # of one shape, whatever the size of a batch
            is_first = np.diff(block, prepend=-1) > 0
            weights = np.where(is_first, repeats[block] / size, 0.0)
            parts = jax.tree.leaves(gradient(params, landscape.data, examples[block], weights))
            totals = [total + np.asarray(part) for total, part in zip(totals, parts, strict=True)]
        found.append([total.astype(leaf.dtype) for total, leaf in zip(totals, jax.tree.leaves(params), strict=True)])
    return found


@per_loss
def _compiled_batch_gradient(loss: Callable[[Any, Any], jax.Array]) -> Callable[..., Any]:
    """Compile the gradient of a weighted sum of the losses of a few examples, chosen by their numbers."""

    @jax.jit
    def gradient(params: Any, data: Any, examples: jax.Array, weights: jax.Array) -> Any:
        batch = jax.tree.map(lambda leaf: leaf[examples], data)
        return jax.grad(lambda p: jnp.sum(weights * jax.vmap(loss, in_axes=(None, 0))(p, batch)))(params)

    return gradient


def _lost_fraction(params: Any, gradients: list[list[np.ndarray]], rate: float) -> float:
    """Return which fraction of updates is lost, negative if updates are longer than they should be."""
    along, along_mean = np.zeros(2), np.zeros(2)  # of the movements that are made, and that should be made
    for place, leaf in enumerate(jax.tree.leaves(params)):
        theta, steps = np.asarray(leaf), np.stack([leaves[place] for leaves in gradients])  # steps: g of every batch
        after = theta - (np.asarray(rate, theta.dtype) * steps).astype(theta.dtype)
        moved = theta.astype(np.float64) - after.astype(np.float64)
        wanted, steps = rate * steps.astype(np.float64), steps.astype(np.float64)
        mean = steps.mean(axis=0)
        along += [np.sum(moved * steps), np.sum(wanted * steps)]
        along_mean += [np.sum(moved.mean(axis=0) * mean), np.sum(wanted.mean(axis=0) * mean)]
    fractions = [1 - made / asked for made, asked in (along, along_mean) if asked > 0]
    return float(np.clip(max(fractions, key=abs, default=0.0), -1, 1))
