"""What floating-point arithmetic does to values: the same rows in the user's precision and in double precision.

It is a diagnostic: whatever goes wrong here, the values are returned, and their rounding counts as not measured.
"""

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PyTree

from ..derivatives import (
    FrozenLoss,
    LiftingError,
    Loss,
    double_dtype,
    is_double_throughout,
    is_key_array,
    lifted,
    lifted_array,
    noted,
)
from ..diagrams import Diagram
from ..estimates import PrecisionWarning
from ..landscapes import Landscape
from .engine import Engine, NotFiniteError, Rows
from .planning import TEST, Number, Plan, part_of

# Samples of the data, and examples in each. Two take half of a small network's warm call; four took two thirds.
_SAMPLES, _SIZE = 2, 64


@dataclass(frozen=True)
class Rounding:
    """What rounding does to values.

    Attributes:
        differences: the user's precision minus double precision for every value, on a few samples; empty if not
            measured.
        not_measured: why it was not measured although it was asked for.
    """

    differences: dict[Diagram, np.ndarray] = field(default_factory=dict)
    not_measured: str | None = None


def is_double(landscape: Landscape, params: PyTree) -> bool:
    """Whether all parameters are in double precision, and the loss computes nothing in a lower one."""
    if any(jnp.result_type(leaf) != jnp.float64 for leaf in jax.tree.leaves(params)):
        return False
    loss = landscape.frozen(params).loss
    assert isinstance(loss, FrozenLoss)
    return noted(loss, "double throughout", lambda: is_double_throughout(loss.jaxpr.jaxpr))


class RoundingMeasurement:
    """A measurement of rounding, of which the half in double precision runs in another thread meanwhile; never raises.

    The loss is not traced again: the equations of its one trace are lifted to double precision. So random draws are the
    same in both, and what the model computes in a lower precision shows.

    Args:
        landscape: the landscape, whose loss is frozen.
        params: the point.
        plan: what is evaluated.
    """

    def __init__(self, landscape: Landscape, params: PyTree, plan: Plan) -> None:
        self._samples, self._plan = _samples(landscape), plan
        double = bool(jax.config.read("jax_enable_x64"))  # which holds for one thread

        def run() -> list[dict[Number, float]]:
            with jax.enable_x64(double):
                return _in_double(landscape, params, plan, self._samples)

        # A first call spends its time on compilation, which two processors share.
        pool = ThreadPoolExecutor(1)
        self._double = pool.submit(run)
        pool.shutdown(wait=False)

    def finish(self, engine: Engine) -> Rounding:
        """Return the difference that double precision makes to every value, on a few samples.

        Args:
            engine: the engine in the user's precision.

        Returns:
            The differences; or why there are none, which a `PrecisionWarning` says too, once in a call.
        """
        try:
            ours = [_numbers(engine.restricted(sample), self._plan) for sample in self._samples]
            return Rounding(_differences(self._plan, ours, self._double.result()))
        except Exception as error:  # of any kind: of JAX, of XLA, of the user's own rules and callbacks
            reason = _reason(error)
        warnings.warn(
            f"What rounding does to the values was not measured, and dtype_error is missing: {reason}. The values are "
            "not affected. check_dtype=False leaves the measurement out.",
            PrecisionWarning,
            stacklevel=4,
        )
        return Rounding(not_measured=reason)


def _reason(error: Exception) -> str:
    if isinstance(error, NotFiniteError):
        return "a value is not finite on a sample of the examples, or in double precision"
    said = (str(error).splitlines() or [""])[0].rstrip(". ")
    if isinstance(error, LiftingError):
        return said
    return f"the repetition in double precision failed ({type(error).__name__}: {said})"


def _in_double(landscape: Landscape, params: PyTree, plan: Plan, samples: Sequence[Rows]) -> list[dict[Number, float]]:
    """Return the numbers of every sample in double precision."""
    frozen = landscape.frozen(params)
    loss = noted(frozen.loss, "in double precision", lambda: _double_loss(frozen.loss, params, frozen.example_shapes))
    measured = frozen.measured and noted(
        frozen.measured,
        "in double precision",
        lambda: _double_loss(frozen.test_function, params, frozen.test_example_shapes),
    )
    update = frozen.update and noted(
        frozen.update,
        "in double precision",
        lambda: _double_loss(cast(Loss, frozen.update), params, frozen.example_shapes),
    )
    found = []
    for sample in samples:
        with jax.enable_x64(True):
            picked = {p: _double(_pick(landscape, p, examples)) for p, examples in sample.items()}
            double = frozen.with_functions(loss, measured, update=update, data=picked[0], test_data=picked.get(TEST))
            found.append(_numbers(Engine(double, _double(params), draft=True), plan))
    return found


def _differences(
    plan: Plan, ours: Sequence[Mapping[Number, float]], theirs: Sequence[Mapping[Number, float]]
) -> dict[Diagram, np.ndarray]:
    """Return the differences of the values, one for every sample."""
    columns = [
        plan.combine({number: np.array([one[number] - other[number]]) for number in plan.all_numbers})
        for one, other in zip(ours, theirs, strict=True)
    ]
    return {diagram: np.concatenate([column[diagram] for column in columns]) for diagram in plan.values}


def _double_loss(single: Loss, params: PyTree, example_shapes: PyTree) -> FrozenLoss:
    """Return the lifted loss, traced once so that its programs can be used again."""
    loss = lifted(single, params, example_shapes)
    with jax.enable_x64(True):
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, double_dtype(leaf.dtype)), params)
        example = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, double_dtype(leaf.dtype)), example_shapes)
        return FrozenLoss(jax.make_jaxpr(loss)(shapes, example), None, getattr(single, "__name__", "loss"))


def _samples(landscape: Landscape) -> list[Rows]:
    """Return disjoint samples of examples, as far as there are enough, spread over the data."""
    sizes = {0: landscape.num_examples, TEST: landscape.num_test_examples}
    count = max(1, min(_SAMPLES, sizes[0] // 2, *(size for size in sizes.values() if size)))
    return [
        {p: np.arange(first, size, max(count, size // _SIZE))[:_SIZE] for p, size in sizes.items() if size}
        for first in range(count)
    ]


def _numbers(engine: Engine, plan: Plan) -> dict[Number, float]:
    examples = engine.sample
    if engine.landscape.per_use_noise:  # every cell has a noise of its own, the same in both precisions
        engine = engine.restricted({p: examples[TEST if p == TEST else 0] for p in plan.all_positions})
    engine.average(plan.means)
    with engine.compiling(plan.paired, plan.positions):
        found = engine.exact(plan.exact)
    if plan.paired:
        # One step apart each: no randomness is needed to compare two runs of the same rows.
        rows = {p: examples[TEST if p == TEST else 0] for p in plan.positions}
        size = len(examples[0])
        found |= engine.rows(plan.paired, {p: np.resize(np.roll(index, part_of(p)), size) for p, index in rows.items()})
    return found


def _pick(landscape: Landscape, position: int, examples: Int[np.ndarray, " sample"]) -> PyTree:
    data = landscape.test_data if position == TEST else landscape.data
    # In NumPy, as JAX would compile a gather for every shape; typed keys are not NumPy arrays.
    return jax.tree.map(lambda leaf: leaf[examples] if is_key_array(leaf) else np.asarray(leaf)[examples], data)


def _double(arrays: PyTree) -> PyTree:
    return jax.tree.map(
        lambda leaf: leaf if is_key_array(leaf) else jnp.asarray(lifted_array(np.asarray(leaf))), arrays
    )
