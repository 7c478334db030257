"""One sweep over rows of examples: everything a program asks for, summed over the rows in chunks.

Memory does not grow with the number of rows. Sums over chunks are compensated: a second array carries what rounding
takes away, so that single precision accumulates like double. On a mesh every device sums its share of the rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...derivatives import Loss, TracedLoss, per_loss
from ..planning import TEST, Given, Mean, Number, Vector
from ._compiler import compiled
from ._factored_vectors import Space
from ._row import Row, shared_vector


@dataclass(frozen=True)
class Program:
    """What a sweep computes.

    Attributes:
        shared: vectors to average whose directions are the same for every example: derivatives of the summed loss.
        means: other vectors to average, each depending on one example.
        numbers: the numbers to average.
        outers: pairs of vectors u, v of one example, to average (Q_a·u) v for stacked vectors Q, the last constant.
        constants: the means and given vectors they are made from.
        positions: the positions of a row.
    """

    shared: tuple[Mean, ...]
    means: tuple[Mean, ...]
    numbers: tuple[Number, ...]
    outers: tuple[tuple[Vector, Vector], ...]
    constants: tuple[Mean | Given, ...]
    positions: tuple[int, ...]


@per_loss
def compile_sweep(
    loss: Loss, program: Program, chunk_size: int, mesh: jax.sharding.Mesh | None, draft: bool = False
) -> Callable[..., tuple]:
    """Compile a sweep.

    Returns:
        A function of the parameters, the constants in order, the data and test data, the number of chunks to do, the
        rows (position → indices of shape (R,)) and the mask of shape (R,) that tells real rows from padding. R is a
        multiple of the chunk size times the number of devices. It returns the averages of the means, those of the
        outers, whether the former are finite, and the sums of the numbers with what rounding took from them.
    """

    axes = () if mesh is None else mesh.axis_names

    @jax.jit  # so that it is traced once, for its shapes and for the loop
    def chunk_sums(params: Any, constants: list, data: Any, test_data: Any, chunk: tuple) -> tuple:
        known = dict(zip(program.constants, constants, strict=True))
        indices, real = chunk
        examples = {
            position: jax.tree.map(lambda leaf, i=index: leaf[i], test_data if position == TEST else data)
            for position, index in indices.items()
        }
        traced = _traced(loss, params, next(iter(examples.values())))
        space = Space(traced, params)

        def whole(params: Any, example: Any) -> jax.Array:
            return traced(jax.tree.leaves(params), example)[0]

        shared = [shared_vector(whole, params, known, mean.of, _at(examples, mean), real) for mean in program.shared]

        def one_row(examples: dict[int, Any]) -> tuple:
            row = Row(space, known, examples)
            vectors = [row.vector(mean.of) for mean in program.means]
            pairs = [(row.components(program.constants[-1], u), row.dense(v)) for u, v in program.outers]
            return vectors, [row.number(number) for number in program.numbers], pairs

        if not program.means and not program.numbers and not program.outers:
            return shared, [], jnp.zeros(0), []
        vectors, numbers, pairs = jax.vmap(one_row)(examples)
        means = [space.sum_rows(rows, real) for rows in vectors]
        total = jnp.stack([jnp.sum(jnp.where(real, rows, 0)) for rows in numbers]) if numbers else jnp.zeros(0)
        return shared, means, total, [_outer_sum(real, *pair) for pair in pairs]

    def sweep(
        params: Any,
        constants: list,
        data: Any,
        test_data: Any,
        num_chunks: Any,
        rows: dict[int, jax.Array],
        mask: jax.Array,
    ) -> tuple:
        one_chunk = partial(chunk_sums, params, constants, data, test_data)
        chunks = jax.tree.map(lambda array: array.reshape(-1, chunk_size), (rows, mask))
        shapes = jax.eval_shape(one_chunk, jax.tree.map(lambda array: array[0], chunks))
        zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)

        def step(index: jax.Array, carry: tuple) -> tuple:
            return _add(carry, one_chunk(jax.tree.map(lambda array: array[index], chunks)))

        sums = jax.lax.fori_loop(0, num_chunks, step, (zeros, zeros))
        count = jnp.sum(mask)
        if axes:
            sums, count = jax.lax.psum((sums, count), axes)
        total, lost = sums
        shared, means, _, outers = jax.tree.map(lambda a, b: (a + b) / count.astype(a.dtype), total, lost)
        means = [*shared, *means]
        return means, outers, [_all_finite(mean) for mean in means], (total[2], lost[2])

    if mesh is None:
        return compiled(sweep, draft=draft)
    everywhere, split = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec(axes)
    specs = (*[everywhere] * 5, split, split)
    shared_out = jax.shard_map(sweep, mesh=mesh, in_specs=specs, out_specs=everywhere, check_vma=False)
    return compiled(shared_out, draft=draft)


def run_sweep(
    loss: Loss,
    program: Program,
    params: Any,
    constants: list,
    data: Any,
    test_data: Any,
    rows: Mapping[int, np.ndarray],
    *,
    chunk_size: int,
    room: int,
    mesh: jax.sharding.Mesh | None = None,
    draft: bool = False,
) -> tuple[dict[Mean, Any], np.ndarray, list, list[Mean]]:
    """Run a sweep.

    The rows are put into arrays with room for `room` rows, so that sweeps over fewer rows run the same program.

    Returns:
        The averages of the means, pytrees, of the numbers, doubles, and of the outers, stacked pytrees; and the means
        that are not finite.
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
    sweep = compile_sweep(loss, program, chunk_size, mesh, draft)
    arguments = (
        params,
        constants,
        data,
        test_data,
        np.int32(num_chunks),
        padded,
        share_out(np.ones(count, dtype=bool)),
    )
    means, outers, finite, (total, lost) = sweep(*(arguments if mesh is None else _placed(arguments, mesh)))
    names = (*program.shared, *program.means)
    numbers = (np.asarray(total, np.float64) + np.asarray(lost, np.float64)) / max(count, 1)
    bad = [mean for mean, good in zip(names, finite, strict=True) if not good]
    return dict(zip(names, means, strict=True)), numbers, outers, bad


def _traced(loss: Loss, params: Any, examples: Any) -> TracedLoss:
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    example = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), examples)
    return TracedLoss(loss, shapes, example)


def _placed(arguments: tuple, mesh: jax.sharding.Mesh) -> tuple:
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(mesh.axis_names))
    *shared, rows, mask = arguments
    return *(jax.device_put(item, everywhere) for item in shared), *jax.device_put((rows, mask), split)


def _at(examples: Mapping[int, Any], mean: Mean) -> Any:
    return examples[mean.of.position]


def _outer_sum(mask: jax.Array, components: jax.Array, vectors: Any) -> Any:
    kept = jnp.where(mask[:, None], components, 0)
    return jax.tree.map(lambda rows: jnp.einsum("xa,x...->a...", kept, rows), vectors)


def _all_finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _add(carry: tuple, values: Any) -> tuple:
    """Add to sums, and to what rounding has taken from them (Knuth's two-sum)."""
    total, lost = carry
    raised = jax.tree.map(jnp.add, total, values)
    taken = jax.tree.map(_rounding, total, values, raised)
    return raised, jax.tree.map(jnp.add, lost, taken)


def _rounding(a: jax.Array, b: jax.Array, rounded: jax.Array) -> jax.Array:
    part_of_b = rounded - a
    return (a - (rounded - part_of_b)) + (b - part_of_b)
