"""What floating-point arithmetic does to values: the same rows in the user's precision and in double precision."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..diagrams import Diagram
from ..landscapes import Landscape
from ._engine import Engine
from ._expressions import TEST, Number
from ._plan import Plan
from ._rows import Rows

_SAMPLES, _SIZE = 4, 64


def is_double(params: Any) -> bool:
    """Whether all parameters are held in double precision."""
    return all(jnp.result_type(leaf) == jnp.float64 for leaf in jax.tree.leaves(params))


def measure_rounding(engine: Engine, landscape: Landscape, params: Any, plan: Plan) -> dict[Diagram, np.ndarray]:
    """Return the difference that double precision makes to every value, on a few samples; nothing if it cannot be told.

    Args:
        engine: the engine in the user's precision.
        landscape: its landscape.
        params: its point.
        plan: what is evaluated.
    """
    differences = []
    for sample in _samples(landscape):
        ours = _numbers(engine.restricted(sample), plan)
        with jax.enable_x64(True):
            picked = {p: _double(_pick(landscape, p, examples)) for p, examples in sample.items()}
            double = Landscape(landscape.loss, picked[0], picked.get(TEST), reading=landscape.reading)
            try:
                theirs = _numbers(Engine(double, _double(params), draft=True), plan)
            except TypeError as error:
                # JAX keeps NumPy constants of a loss in the precision that they were first traced in, and so can fail
                # to trace it in another. Then rounding is not measured.
                if "same dtypes" in str(error):
                    return {}
                raise
        differences.append({number: ours[number] - theirs[number] for number in plan.all_numbers})
    columns = [plan.combine({number: np.array([value]) for number, value in one.items()}) for one in differences]
    return {diagram: np.concatenate([column[diagram] for column in columns]) for diagram in plan.values}


def _samples(landscape: Landscape) -> list[Rows]:
    """Return disjoint samples of examples, as far as there are enough, spread over the data."""
    sizes = {0: landscape.num_examples, TEST: landscape.num_test_examples}
    count = max(1, min(_SAMPLES, sizes[0] // 2, *(size for size in sizes.values() if size)))
    return [
        {p: np.arange(first, size, max(count, size // _SIZE))[:_SIZE] for p, size in sizes.items() if size}
        for first in range(count)
    ]


def _numbers(engine: Engine, plan: Plan) -> dict[Number, float]:
    engine.average(plan.means)
    with engine.compiling(plan.paired, plan.positions):
        found = engine.exact(plan.exact)
    if plan.paired:
        # One step apart each: no randomness is needed to compare two runs of the same rows.
        rows = {p: engine.sample[TEST if p == TEST else 0] for p in plan.positions}
        size = len(engine.sample[0])
        found |= engine.rows(plan.paired, {p: np.resize(np.roll(index, p), size) for p, index in rows.items()})
    return found


def _pick(landscape: Landscape, position: int, examples: np.ndarray) -> Any:
    data = landscape.test_data if position == TEST else landscape.data
    return jax.tree.map(lambda leaf: np.asarray(leaf)[examples], data)


def _double(arrays: Any) -> Any:
    def one(leaf: Any) -> jax.Array:
        array = np.asarray(leaf)
        return jnp.asarray(array.astype(np.float64) if jnp.issubdtype(array.dtype, jnp.floating) else array)

    return jax.tree.map(one, arrays)
