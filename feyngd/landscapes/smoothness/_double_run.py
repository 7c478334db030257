"""A run of a traced loss in double precision, whatever precision it was traced in, that watches its suspects.

Rounding to fewer digits on the way is left out, so that a model in bfloat16 becomes the smooth function that it stands
for. Functions with derivatives of their own are run as their formulas say, so that derivatives are those of the values.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from ...derivatives import bind, double_dtype, dtype_of
from ._suspects import (
    CALLS,
    COMPARISONS,
    INDEXED,
    Block,
    Step,
    Suspect,
    inner_jaxprs,
    is_opaque,
    smooth_by_definition,
)

_AS_THEY_ARE = {"bitcast_convert_type", "nextafter"}


class Watch:
    """What suspects do in one run: a number for each that shows on which side of its kinks it is.

    Attributes:
        suspects: the suspects that are watched.
        marks: one hash per suspect, that of all its decisions: which operand was the larger one, which branch was
            taken, how often a loop turned. It changes if and only if a decision changes.
        touching: the operands of operations that are singular at 0, outside of loops.
        margins: what is 0 where a suspect, by its number, decides otherwise, outside of loops; under -1 that of all
            comparisons.
    """

    def __init__(self, suspects: Sequence[Suspect]) -> None:
        self.suspects = list(suspects)
        self.marks = jnp.zeros(len(self.suspects), jnp.uint32)
        self.touching: dict[int, list[jax.Array]] = {}
        self.margins: dict[int, list[jax.Array]] = {}
        self.depth = 0

    def note(self, suspect: Suspect, decisions: jax.Array) -> None:
        """Mix decisions, an array of any type, into the mark of a suspect."""
        index = self.suspects.index(suspect)
        self.marks = self.marks.at[index].set(self.marks[index] * jnp.uint32(31) + _hash(decisions))

    def touch(self, suspect: Suspect, operand: jax.Array) -> None:
        """Keep the operand of an operation that is singular at 0."""
        if self.depth == 0:
            self.touching.setdefault(self.suspects.index(suspect), []).append(operand)
        self.measure(suspect, operand)

    def measure(self, suspect: Suspect | None, margin: jax.Array) -> None:
        """Keep a number that is 0 where a suspect, or a comparison, decides otherwise."""
        if self.depth == 0:
            self.margins.setdefault(-1 if suspect is None else self.suspects.index(suspect), []).append(margin)


def run(block: Block, consts: Sequence[Any], args: Sequence[Any], watch: Watch | None = None) -> list[Any]:
    """Run a jaxpr in double precision.

    Args:
        block: the plan of the jaxpr.
        consts: its constants.
        args: its arguments; floating-point numbers are taken to double precision.
        watch: what looks at the suspects, or `None`.

    Returns:
        Its results, with floating-point numbers in double precision; `None` for those that are not needed.
    """
    values: dict[core.Var, Any] = dict(zip(block.jaxpr.constvars, map(double, consts), strict=True))
    values.update(zip(block.jaxpr.invars, map(double, args), strict=True))

    def read(atom: Any) -> Any:
        return double(jnp.asarray(atom.val, dtype_of(atom))) if isinstance(atom, core.Literal) else values.get(atom)

    for step in block.steps:
        operands = [read(atom) for atom in step.eqn.invars]
        results = _run_step(step, operands, watch)
        if watch is not None and step.suspect is not None:
            _watch(watch, step, operands, results)
        if watch is not None and step.eqn.primitive.name in COMPARISONS and jnp.issubdtype(operands[0].dtype, float):
            watch.measure(None, operands[0] - operands[1])
        values.update(zip(step.eqn.outvars, results, strict=True))
    return [read(atom) for atom in block.jaxpr.outvars]


def double(value: Any) -> Any:
    """Take floating-point and complex numbers to double precision; leave integers, booleans and keys alone."""
    dtype = value.dtype if hasattr(value, "dtype") else np.result_type(value)
    return jnp.asarray(value, double_dtype(dtype)) if double_dtype(dtype) != dtype else value


def _run_step(step: Step, operands: list[Any], watch: Watch | None) -> list[Any]:
    eqn, name = step.eqn, step.eqn.primitive.name
    if (function := smooth_by_definition(eqn)) is not None:
        return [function(*operands)]
    if name in CALLS and not is_opaque(eqn):
        return run(step.inner[0], inner_jaxprs(eqn)[0].consts, operands, watch)
    if name == "cond":
        return _run_cond(step, operands, watch)
    if name == "scan":
        return _run_scan(step, operands, watch)
    if name == "while":
        return _run_while(step, operands, watch)
    if name == "reduce_precision":
        return operands
    if name in _AS_THEY_ARE or "callback" in name or is_opaque(eqn) or _runs_others(eqn):
        # What looks at bits, or has programs of its own, works in the precision that it was traced in.
        operands = [_cast(value, dtype_of(atom)) for value, atom in zip(operands, eqn.invars, strict=True)]
        return [double(result) for result in bind(eqn, operands)]
    return _bind(eqn, operands)


def _bind(eqn: core.JaxprEqn, operands: list[Any]) -> list[Any]:
    """Run an equation in double precision."""
    return bind(eqn, operands, {key: _doubled_param(value) for key, value in eqn.params.items()})


def _doubled_param(value: Any) -> Any:
    if isinstance(value, np.dtype):
        return double_dtype(value)
    if isinstance(value, core.Jaxpr):  # the combiner of a scatter
        function = core.jaxpr_as_fun(core.ClosedJaxpr(value, ()))
        zeros = [jnp.zeros((), double_dtype(dtype_of(atom))) for atom in value.invars]
        return jax.make_jaxpr(lambda *args: function(*args))(*zeros).jaxpr
    return value


def _runs_others(eqn: core.JaxprEqn) -> bool:
    """Whether an equation has programs inside, other than the combiner of a scatter."""
    return not eqn.primitive.name.startswith("scatter") and any(
        isinstance(leaf, (core.Jaxpr, core.ClosedJaxpr)) for leaf in jax.tree.leaves(list(eqn.params.values()))
    )


def _cast(value: Any, dtype: Any) -> Any:
    return value.astype(dtype) if jnp.issubdtype(dtype, jnp.inexact) else value


# ---- control flow, with the marks as part of what is carried


def _carrying(
    watch: Watch | None, function: Callable[[], list[Any]], marks: jax.Array | None
) -> tuple[list[Any], jax.Array | None]:
    """Run a part of a loop or branch from given marks, and return its results and marks."""
    if watch is None or marks is None:
        return function(), None
    outside, watch.marks = watch.marks, marks
    watch.depth += 1
    results = function()
    watch.depth -= 1
    marks, watch.marks = watch.marks, outside
    return results, marks


def _leave(watch: Watch | None, marks: jax.Array | None) -> None:
    if watch is not None and marks is not None:
        watch.marks = marks


def _marks(watch: Watch | None) -> jax.Array | None:
    return None if watch is None else watch.marks


def _run_cond(step: Step, operands: list[Any], watch: Watch | None) -> list[Any]:
    def branch(number: int) -> Callable[..., tuple[list[Any], jax.Array | None]]:
        consts = inner_jaxprs(step.eqn)[number].consts
        return lambda marks, *args: _carrying(watch, lambda: run(step.inner[number], consts, args, watch), marks)

    branches = [branch(number) for number in range(len(step.inner))]
    results, marks = jax.lax.switch(operands[0].astype(jnp.int32), branches, _marks(watch), *operands[1:])
    _leave(watch, marks)
    return list(results)


def _run_scan(step: Step, operands: list[Any], watch: Watch | None) -> list[Any]:
    params, closed = step.eqn.params, inner_jaxprs(step.eqn)[0]
    first = params["num_consts"]
    last = first + params["num_carry"]
    consts = operands[:first]

    def body(state: Any, slices: Any) -> Any:
        carry, marks = state
        results, marks = _carrying(
            watch, lambda: run(step.inner[0], closed.consts, [*consts, *carry, *slices], watch), marks
        )
        return (results[: last - first], marks), results[last - first :]

    start = [jnp.asarray(value) for value in operands[first:last]], _marks(watch)
    (carry, marks), stacked = jax.lax.scan(
        body, start, operands[last:], length=params["length"], reverse=params["reverse"]
    )
    _leave(watch, marks)
    return [*carry, *stacked]


def _run_while(step: Step, operands: list[Any], watch: Watch | None) -> list[Any]:
    params, (test, body) = step.eqn.params, inner_jaxprs(step.eqn)
    first = params["cond_nconsts"]
    last = first + params["body_nconsts"]
    for_test, for_body = operands[:first], operands[first:last]

    def goes_on(state: Any) -> Any:
        return run(step.inner[0], test.consts, [*for_test, *state[0]])[0]

    def turn(state: Any) -> Any:
        results, marks = _carrying(
            watch, lambda: run(step.inner[1], body.consts, [*for_body, *state[0]], watch), state[1]
        )
        return results, marks, state[2] + 1

    start = [jnp.asarray(value) for value in operands[last:]], _marks(watch), jnp.int32(0)
    carry, marks, turns = jax.lax.while_loop(goes_on, turn, start)
    _leave(watch, marks)
    if watch is not None and step.suspect is not None:
        watch.note(step.suspect, turns)
    return list(carry)


# ---- what a suspect decides


def _watch(watch: Watch, step: Step, operands: list[Any], results: list[Any]) -> None:
    eqn, suspect, name = step.eqn, step.suspect, step.eqn.primitive.name
    assert suspect is not None
    if suspect.singular:
        watch.touch(suspect, jnp.real(operands[0] * jnp.conj(operands[0])) if name == "abs" else operands[0])
    elif name in ("max", "min"):
        watch.note(suspect, operands[0] >= operands[1])
        watch.measure(suspect, operands[0] - operands[1])
    elif name in ("abs", "cbrt"):
        watch.note(suspect, operands[0] >= 0)
        watch.measure(suspect, operands[0])
    elif name == "clamp":
        low, value, high = operands
        watch.note(suspect, jnp.int32(1) * (value < low) + jnp.int32(2) * (value > high))
        watch.measure(suspect, value - low)
        watch.measure(suspect, high - value)
    elif name in ("select_n", "cond") or name == "convert_element_type":
        watch.note(suspect, operands[0])
    elif name in ("sign", "floor", "ceil", "round"):
        watch.note(suspect, results[0])
    elif name == "rem":
        watch.note(suspect, jnp.round((operands[0] - results[0]) / operands[1]))
    elif name != "while":
        for decision in _choices(eqn, operands):
            watch.note(suspect, decision)


def _choices(eqn: core.JaxprEqn, operands: list[Any]) -> list[jax.Array]:
    """Which entries go where: indices as they are, and the derivative of extrema and sorting, which is constant."""
    integers = [operand for operand in operands if not jnp.issubdtype(operand.dtype, jnp.inexact)]
    if not jnp.issubdtype(dtype_of(eqn.outvars[0]), jnp.inexact):
        return integers
    floats = [operand for operand in operands if jnp.issubdtype(operand.dtype, jnp.inexact)]
    if eqn.primitive.name in INDEXED:
        return integers
    first = [index for index, operand in enumerate(operands) if jnp.issubdtype(operand.dtype, jnp.inexact)]

    def function(*values: Any) -> list[Any]:
        filled = list(operands)
        for index, value in zip(first, values, strict=True):
            filled[index] = value
        return [r for r in _bind(eqn, filled) if jnp.issubdtype(r.dtype, jnp.inexact)]

    outputs, pull = jax.vjp(function, *floats)
    weights = [jnp.cos(jnp.arange(output.size, dtype=output.dtype)).reshape(output.shape) for output in outputs]
    return list(pull(weights))


def _hash(decisions: jax.Array) -> jax.Array:
    """A number that changes with any entry of an array."""
    flat = jnp.ravel(decisions)
    if jnp.issubdtype(flat.dtype, jnp.floating):
        bits = jax.lax.bitcast_convert_type(flat.astype(jnp.float32) + 0, jnp.uint32)
    else:
        bits = flat.astype(jnp.uint32)
    weights = (jnp.arange(flat.size, dtype=jnp.uint32) * jnp.uint32(2654435761)) | jnp.uint32(1)
    return jnp.sum((bits * jnp.uint32(2246822519) + jnp.uint32(1)) * weights, dtype=jnp.uint32)
