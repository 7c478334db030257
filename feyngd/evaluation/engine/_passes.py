"""One pass over rows of examples: everything that is asked of it, summed over the rows in chunks.

Memory does not grow with the number of rows. Sums of vectors over chunks are compensated: a second array carries what
rounding takes away, so that single precision accumulates like double. Numbers are returned chunk by chunk, and added on
the host. On a mesh every device sums its share of the rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from ...derivatives import FrozenLoss, Loss, TracedLoss, per_loss
from ..planning import TEST, Given, Mean, Number, Vector
from ._compiler import compiled
from ._factored_vectors import TangentSpace
from ._field_space import FieldSpace, shared_update
from ._row import Measured, Row, Rows, Space, examples_at, shared_vector


@dataclass(frozen=True)
class Pass:
    """What a pass over rows computes.

    Attributes:
        shared: vectors to average whose directions are the same for every example: derivatives of the summed loss.
        means: other vectors to average, each depending on one example.
        numbers: the numbers to average.
        outers: pairs of vectors u, v of one example, to average (Q_a·u) v for stacked vectors Q, the last constant.
        constants: the means and given vectors they are made from.
        positions: the positions of a row.
        measured: the function of the position `TEST`; `None` where it is the loss.
        update: what a step follows, as one vector; `None` where it is the gradient.
        noisy: whether examples are pairs with a key, and rows number the draws of their noise too.
    """

    shared: tuple[Mean, ...]
    means: tuple[Mean, ...]
    numbers: tuple[Number, ...]
    outers: tuple[tuple[Vector, Vector], ...]
    constants: tuple[Mean | Given, ...]
    positions: tuple[int, ...]
    measured: Loss | None = None
    update: FrozenLoss | None = None
    noisy: bool = False

    @property
    def is_shared_only(self) -> bool:
        """Whether nothing has to be computed row by row."""
        return not (self.means or self.numbers or self.outers)


class Sums(NamedTuple):
    """Sums over rows, in the order of a `Pass`: of a chunk, of all chunks so far, or what rounding took from those.

    Attributes:
        shared: pytrees of parameters.
        means: pytrees of parameters.
        outers: Σ (Q_a·u) v, stacked pytrees of parameters.
    """

    shared: list[PyTree]
    means: list[PyTree]
    outers: list[PyTree]


class Compensated(NamedTuple):
    """The carry of the loop over chunks; the sum is `total` + `lost`.

    Attributes:
        total: the sums so far, each addition rounded.
        lost: what the roundings of `total` have taken away, with its sign.
    """

    total: Sums
    lost: Sums


class Averages(NamedTuple):
    """What a compiled pass returns.

    Attributes:
        means: the averages of the shared vectors, then of the other means.
        outers: the averages of the outers.
        are_finite: for every mean whether it is.
        numbers: the sum of every number over every chunk, to be added in double precision; zeros for unused chunks.
    """

    means: list[PyTree]
    outers: list[PyTree]
    are_finite: list[Bool[Array, ""]]
    numbers: Float[Array, "chunks numbers"]


@per_loss
def compile_pass(
    loss: Loss, job: Pass, chunk_size: int, mesh: jax.sharding.Mesh | None, draft: bool = False
) -> Callable[..., Averages]:
    """Compile a pass.

    Returns:
        A function of the parameters, the constants in order, the data and test data, the number of chunks to do, the
        rows (position → indices of shape (R,)) and the mask of shape (R,), true for real rows and false for padding. R
        is a multiple of the chunk size times the number of devices.
    """

    axes = () if mesh is None else mesh.axis_names

    @jax.jit  # so that it is traced once, for its shapes and for the loop
    def chunk_sums(
        params: PyTree, constants: list[PyTree], data: PyTree, test_data: PyTree, chunk: tuple
    ) -> tuple[Sums, Float[Array, " numbers"]]:
        known = dict(zip(job.constants, constants, strict=True))
        indices, real = chunk  # position → numbers of examples; which rows are real and which are padding
        examples = {
            position: examples_at(
                test_data if position == TEST else data,
                index,
                noise_of=position if job.noisy and not (position == TEST and job.measured is not None) else None,
            )
            for position, index in indices.items()
        }
        traced = _traced(loss, params, data)
        space: Space = TangentSpace(traced, params) if job.update is None else FieldSpace(loss, job.update, params)
        measured = Measured.at(job.measured, params)

        # Mean vectors with shared directions are derivatives of the summed loss: one reverse pass for the whole chunk.
        def whole(params: PyTree, example: PyTree) -> Float[Array, ""]:
            return traced(jax.tree.leaves(params), example)[0]

        shared = []
        for mean in job.shared:
            given = params, known, mean.of, examples[mean.of.position], real
            if job.update is not None:
                shared.append(shared_update(job.update, *given))
            else:
                own = job.measured if mean.of.position == TEST and job.measured is not None else whole
                shared.append(shared_vector(own, *given))

        def one_row(examples: dict[int, PyTree]) -> tuple:
            row = Row(space, known, examples, measured)
            vectors = [row.vector(mean.of) for mean in job.means]
            pairs = [(row.components(job.constants[-1], u), row.dense(v)) for u, v in job.outers]
            return vectors, [row.number(number) for number in job.numbers], pairs

        if job.is_shared_only:
            return Sums(shared, [], []), jnp.zeros(0)
        # Everything else is computed row by row: vectors, numbers, and pairs of (Q_a·u)_a and v.
        vectors, numbers, pairs = jax.vmap(one_row)(examples)
        means = [space.sum_rows(rows, real) for rows in vectors]
        total = jnp.stack([jnp.sum(jnp.where(real, rows, 0)) for rows in numbers]) if numbers else jnp.zeros(0)
        return Sums(shared, means, [_outer_sum(real, *pair) for pair in pairs]), total

    def run(
        params: PyTree,
        constants: list[PyTree],
        data: PyTree,
        test_data: PyTree,
        num_chunks: Int[Array, ""],
        rows: dict[int, Int[Array, " rows"]],
        mask: Bool[Array, " rows"],
    ) -> Averages:
        one_chunk = partial(chunk_sums, params, constants, data, test_data)
        chunks = jax.tree.map(lambda array: array.reshape(-1, chunk_size), (rows, mask))
        shapes, of_numbers = jax.eval_shape(one_chunk, jax.tree.map(lambda array: array[0], chunks))
        zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
        no_numbers = jnp.zeros((chunks[1].shape[0], *of_numbers.shape), of_numbers.dtype)

        # The number of chunks is an argument, so that passes over fewer rows run the same program.
        def step(index: Int[Array, ""], carry: tuple) -> tuple:
            vectors, numbers = one_chunk(jax.tree.map(lambda array: array[index], chunks))
            return _add(carry[0], vectors), carry[1].at[index].set(numbers)

        sums, numbers = jax.lax.fori_loop(0, num_chunks, step, (Compensated(zeros, zeros), no_numbers))
        count = jnp.sum(mask)
        if axes:  # over the devices of a mesh
            sums, count = jax.lax.psum((sums, count), axes)
            numbers = jax.lax.all_gather(numbers, axes, tiled=True)
        shared, means, outers = jax.tree.map(lambda a, b: (a + b) / count.astype(a.dtype), *sums)
        means = [*shared, *means]
        return Averages(means, outers, [_all_finite(mean) for mean in means], numbers)

    if mesh is None:
        return compiled(run, draft=draft)
    everywhere, split = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec(axes)
    specs = (*[everywhere] * 5, split, split)
    shared_out = jax.shard_map(run, mesh=mesh, in_specs=specs, out_specs=everywhere, check_vma=False)
    return compiled(shared_out, draft=draft)


def run_pass(
    loss: Loss,
    job: Pass,
    params: PyTree,
    constants: Sequence[PyTree],
    data: PyTree,
    test_data: PyTree,
    rows: Rows,
    *,
    chunk_size: int,
    room: int,
    mesh: jax.sharding.Mesh | None = None,
    draft: bool = False,
) -> tuple[dict[Mean, PyTree], Float[np.ndarray, "chunks numbers"], list[PyTree], list[Mean]]:
    """Run a pass.

    The rows are put into arrays with room for `room` rows, so that passes over fewer rows run the same program.

    Returns:
        The averages of the means, pytrees; what every chunk of successive rows adds to the averages of the numbers, in
        double precision; the averages of the outers, stacked pytrees; and the means that are not finite.
    """
    count = len(next(iter(rows.values())))
    devices = 1 if mesh is None else mesh.size
    # Every device gets the same number of chunks, full ones first, and skips those that hold nothing.
    num_chunks = -(-count // (chunk_size * devices))
    size = max(num_chunks, -(-room // (chunk_size * devices))) * chunk_size

    def share_out(array: np.ndarray) -> np.ndarray:
        used = np.pad(array, (0, num_chunks * chunk_size * devices - count)).reshape(devices, -1)
        return np.pad(used, ((0, 0), (0, size - used.shape[1]))).reshape(-1)

    padded = {position: share_out(index.astype(np.int32)) for position, index in rows.items()}
    mask = share_out(np.ones(count, dtype=bool))
    arguments = (params, list(constants), data, test_data, np.int32(num_chunks), padded, mask)
    run = compile_pass(loss, job, chunk_size, mesh, draft)
    found = run(*(arguments if mesh is None else _placed(arguments, mesh)))
    names = (*job.shared, *job.means)
    sums = np.asarray(found.numbers, np.float64).reshape(devices, size // chunk_size, -1)[:, :num_chunks]
    bad = [mean for mean, is_finite in zip(names, found.are_finite, strict=True) if not is_finite]
    by_chunk = sums.reshape(devices * num_chunks, len(job.numbers)) / max(count, 1)
    return dict(zip(names, found.means, strict=True)), by_chunk, found.outers, bad


def _traced(loss: Loss, params: PyTree, examples: PyTree) -> TracedLoss:
    """Trace the loss of one example."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    example = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), examples)
    return TracedLoss(loss, shapes, example)


def _placed(arguments: tuple, mesh: jax.sharding.Mesh) -> tuple:
    """Put the rows and the mask on the devices in shares, and everything else on each of them."""
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(mesh.axis_names))
    *shared, rows, mask = arguments
    return *(jax.device_put(item, everywhere) for item in shared), *jax.device_put((rows, mask), split)


def _outer_sum(mask: Bool[Array, " rows"], components: Float[Array, "rows stacked"], vectors: PyTree) -> PyTree:
    """Return Σ_x (Q_a·u_x) v_x for every a."""
    kept = jnp.where(mask[:, None], components, 0)
    return jax.tree.map(lambda rows: jnp.einsum("xa,x...->a...", kept, rows), vectors)


def _all_finite(tree: PyTree) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _add(carry: Compensated, values: Sums) -> Compensated:
    """Add the sums of a chunk, and keep what rounding takes from the total (Knuth's two-sum)."""
    total = jax.tree.map(jnp.add, carry.total, values)
    taken = jax.tree.map(_rounding, carry.total, values, total)
    return Compensated(total, jax.tree.map(jnp.add, carry.lost, taken))


def _rounding(
    a: Float[Array, "*shape"], b: Float[Array, "*shape"], rounded: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Return a + b − fl(a + b), exactly."""
    part_of_b = rounded - a  # what of b arrived in the sum
    return (a - (rounded - part_of_b)) + (b - part_of_b)
