"""How many rows go through a pass together, and what the loss of one example costs."""

import jax
import numpy as np
from jaxtyping import PyTree

from ...derivatives import CHUNK, Loss, TracedLoss, noted
from ..planning import ARITHMETIC_BOUND, MEMORY_BOUND, CostModel, vectors_in
from ._passes import Pass

_MEMORY = 2**28  # bytes for the vectors of all rows of one chunk
_MOST_ROWS = 4096  # of one chunk on an accelerator; none was measured
# On CPUs caches decide how many rows go together: as many as fit, within limits. They were set for the digits MLP and
# convnets on two cores; benchmarks/evaluation.py constants times chunks of 10 to 640 rows against this choice.
_CACHE = 2**23  # bytes
_MOST_ROWS_ON_CPU = 160
_LEAST_ROWS = {"one example": 40, "several examples": 80}
_MANY_USES = 2  # of a weight by one example, from which arithmetic and not memory takes the time


def rows_together(job: Pass, loss: Loss, params: PyTree, example: PyTree, room: int) -> int:
    """Return how many rows of a pass are fastest together.

    Args:
        job: the pass.
        loss: the loss.
        params: the parameters.
        example: the shapes of an example.
        room: the number of rows of a pass over everything.
    """
    items = (*(mean.of for mean in job.means), *job.numbers, *(v for pair in job.outers for v in pair))
    vectors = 2 + len({vector for item in items for vector in vectors_in(item)})
    # Factors double in number with every direction, and most vectors have one; outers write vectors out.
    numbers = 2 * row_size(loss, params, example)
    numbers += sum(leaf.size for leaf in jax.tree.leaves(params)) if job.outers else 0
    size = vectors * numbers * max(leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    most = max(1, min(_fastest(job, size), _MEMORY // size, room))
    # The largest number that makes no more chunks, so that the last one is not half empty.
    return -(-room // -(-room // most))


def gradients_together(params: PyTree, room: int) -> int:
    """Return how many gradients are computed together where each is written out."""
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    return max(1, min(CHUNK, _MEMORY // (2 * size), room))


def _fastest(job: Pass, size: int) -> int:
    """Return how many rows are fastest together, given the bytes of one."""
    if jax.default_backend() != "cpu":
        return _MOST_ROWS
    if job.is_shared_only:
        return _MOST_ROWS_ON_CPU
    least = _LEAST_ROWS["one example" if len(job.positions) == 1 else "several examples"]
    return min(max(least, _CACHE // size), _MOST_ROWS_ON_CPU)


def cost_model(loss: Loss, params: PyTree, example: PyTree) -> CostModel:
    """Return whether arithmetic takes the time, or reading and writing a vector of parameters for every example.

    Vectors are small where gradients of weights are kept as products. Otherwise it depends on how often one example
    uses a weight.
    """
    uses = _operations(loss, params, example) / (2 * row_size(loss, params, example))
    return ARITHMETIC_BOUND if uses > _MANY_USES else MEMORY_BOUND


def _operations(loss: Loss, params: PyTree, example: PyTree) -> float:
    """Return how many arithmetic operations the loss of one example takes."""

    def count() -> float:
        lowered = jax.jit(lambda p, e: loss(p, e)).lower(params, example)
        return float((lowered.cost_analysis() or {}).get("flops", 0.0))

    return noted(loss, "operations", count)


def row_size(loss: Loss, params: PyTree, example: PyTree) -> int:
    """Return how many numbers make the gradient of one example, with products counted by their factors."""

    def count() -> int:
        sizes = [int(np.size(leaf)) for leaf in jax.tree.leaves(params)]
        for site in TracedLoss(loss, params, example).sites:
            sizes[site.leaf] = site.rows * (site.inputs + site.outputs)
        return sum(sizes)

    return noted(loss, "row size", count)
