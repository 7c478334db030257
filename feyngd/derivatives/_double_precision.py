"""A loss in double precision: the equations of its trace, run again with wider numbers.

For parameters in double precision a loss is another function: carries of loops that it makes in single precision do not
match, random draws take more bits, and a model that computes in bfloat16 still does. So it is not traced a second time.
The equations of its one trace are interpreted, and every real or complex number in them is lifted to 64 bits for each
real part, whatever precision it was written in. Integers, booleans and random keys stay as they are.

- A random draw is made in its own precision and lifted afterwards, so that it stays the same draw.
- Operations on the bits of numbers (`bitcast_convert_type`), and callbacks and foreign functions, which are not made of
  equations, get numbers of the precision that they were traced with.
- A rule of `jax.custom_jvp` is traced in its own precision, and its equations are lifted like all others.
- Constants are those of the trace, rounded to the precision that they were written in.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jaxtyping import PyTree

from ._equations import bind, double_dtype, dtype_of
from ._frozen_loss import FrozenLoss
from ._loss import Loss

_CALLS = frozenset(
    ("jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint", "named_call", "custom_vmap_call")
)
_Leaf = jax.Array | np.ndarray | np.generic
_INNER = ("jaxpr", "call_jaxpr", "call", "fun_jaxpr")  # what calls call the jaxpr that they run
_AS_TRACED = frozenset(("bitcast_convert_type", "rng_uniform", "pure_callback", "io_callback", "ffi_call"))


class LiftingError(Exception):
    """A loss cannot be interpreted in double precision; the message says why."""


def lifted(loss: Loss, params: PyTree, example: PyTree) -> Loss:
    """Return the loss in double precision; to be called, traced and differentiated under `jax.enable_x64(True)`.

    Args:
        loss: the loss, whose `jaxpr` is used if it is frozen; otherwise it is traced here.
        params: parameters in the user's precision, arrays or shapes.
        example: one example, arrays or shapes.

    Returns:
        The same function of parameters and an example whose floating-point leaves are in double precision.
    """
    # A function of its own is traced, not the loss, as JAX keeps traces by the function.
    given = loss.jaxpr if isinstance(loss, FrozenLoss) else None
    closed = given or jax.make_jaxpr(lambda p, e: loss(p, e))(params, example)
    interpreter = _Interpreter(bool(jax.config.read("jax_enable_x64")))

    def double(params: PyTree, example: PyTree) -> Any:
        arguments = [*jax.tree.leaves(params), *jax.tree.leaves(example)]
        return interpreter.run(closed.jaxpr, closed.consts, arguments)[0]

    return double


def lifted_array(leaf: _Leaf) -> _Leaf:
    """Return an array with its floating-point numbers in double precision, and any other as it is."""
    return _cast(leaf, double_dtype(leaf.dtype))


def is_key_array(array: Any) -> bool:
    """Whether an array holds typed random keys."""
    return _is_key(array.dtype)


def is_double_throughout(jaxpr: core.Jaxpr) -> bool:
    """Whether a trace computes no number in less than double precision."""
    for eqn in jaxpr.eqns:
        if any(double_dtype(dtype_of(variable)) != dtype_of(variable) for variable in eqn.outvars):
            return False
        if not all(is_double_throughout(inner) for value in eqn.params.values() for inner in _jaxprs_in(value)):
            return False
    return True


class _Interpreter:
    """Runs jaxprs with all numbers in double precision.

    Args:
        x64: JAX's setting when the loss was traced, for rules that are traced later.
    """

    def __init__(self, x64: bool) -> None:
        self._x64 = x64

    def run(self, jaxpr: core.Jaxpr, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        """Return the outputs for lifted arguments, of which all but keys count as data or parameters."""
        moving = [not _is_key(dtype_of(variable)) for variable in jaxpr.invars]
        return self._run(jaxpr, consts, arguments, moving)[0]

    def _run(
        self, jaxpr: core.Jaxpr, consts: Sequence[Any], arguments: Sequence[Any], moving: Sequence[bool]
    ) -> tuple[list[Any], list[bool]]:
        """Return the outputs, and which of them depend on arguments that move."""
        values: dict[Any, Any] = dict(zip(jaxpr.invars, arguments, strict=True))
        values |= {v: lifted_array(const) for v, const in zip(jaxpr.constvars, consts, strict=True)}
        moved = {variable for variable, moves in zip(jaxpr.invars, moving, strict=True) if moves}

        def read(atom: Any) -> Any:
            if isinstance(atom, core.Literal):
                return lifted_array(np.asarray(atom.val, dtype=dtype_of(atom)))
            return values[atom]

        for eqn in jaxpr.eqns:
            if not eqn.outvars:
                continue  # prints and checks change no number, and should not be repeated
            flags = [not isinstance(atom, core.Literal) and atom in moved for atom in eqn.invars]
            outputs, moves = self._equation(eqn, [read(atom) for atom in eqn.invars], flags)
            _check_outputs(eqn, outputs)
            values |= zip(eqn.outvars, outputs, strict=True)
            moved.update(v for v, flag in zip(eqn.outvars, moves, strict=True) if flag)
        outs = jaxpr.outvars
        return [read(a) for a in outs], [not isinstance(a, core.Literal) and a in moved for a in outs]

    def _equation(
        self, eqn: core.JaxprEqn, inputs: list[Any], moving: Sequence[bool]
    ) -> tuple[Sequence[Any], Sequence[bool]]:
        name = eqn.primitive.name
        if name in _CALLS:
            inner, consts = _inner(eqn)
            if _is_draw(eqn, moving):
                closed = core.ClosedJaxpr(inner, list(consts))
                outputs = core.jaxpr_as_fun(closed)(*_as_traced(eqn, inputs))
                return [lifted_array(output) for output in outputs], [False] * len(outputs)
            return self._run(inner, consts, inputs, moving)
        if name == "custom_jvp_call":
            outputs = self._custom_jvp(eqn)(*inputs)
        elif name.startswith("custom_vjp_call"):
            outputs = self._custom_vjp(eqn)(*inputs)
        elif name in _AS_TRACED or _draws_numbers(eqn):
            outputs = [lifted_array(output) for output in bind(eqn, _as_traced(eqn, inputs))]
        elif name == "reduce_precision":
            outputs = inputs
        else:
            outputs = bind(eqn, inputs, {key: self._option(key, value) for key, value in eqn.params.items()})
        return outputs, [any(moving) and not _is_key(dtype_of(variable)) for variable in eqn.outvars]

    def _option(self, name: str, value: Any) -> Any:
        """Return an option of an equation for lifted numbers."""
        if name == "precision":
            return None  # that of products of narrow numbers
        if name == "weak_type":
            return False
        if isinstance(value, core.ClosedJaxpr):
            return self._lifted_jaxpr(value)
        if isinstance(value, core.Jaxpr):
            closed = self._lifted_jaxpr(core.ClosedJaxpr(value, []))
            if closed.consts:
                raise LiftingError("an inner function got constants")
            return closed.jaxpr
        if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
            return double_dtype(np.dtype(value))
        if isinstance(value, jax.core.ShapedArray):
            return value.update(dtype=double_dtype(value.dtype))
        if isinstance(value, (tuple, list)):
            items = [self._option("", item) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        return value

    def _lifted_jaxpr(self, closed: core.ClosedJaxpr) -> core.ClosedJaxpr:
        shapes = [jax.ShapeDtypeStruct(aval.shape, double_dtype(aval.dtype)) for aval in closed.in_avals]
        return jax.make_jaxpr(lambda *arguments: self.run(closed.jaxpr, closed.consts, arguments))(*shapes)

    def _custom_jvp(self, eqn: core.JaxprEqn) -> Callable[..., list[Any]]:
        """Return a function with the equation's own rule, both lifted."""
        inner, consts = _inner(eqn)
        differentiable = [_is_number(dtype_of(v)) for v in eqn.outvars]

        @jax.custom_jvp
        def call(*arguments: Any) -> list[Any]:
            return self.run(inner, consts, arguments)

        @call.defjvp
        def rule(primals: tuple, tangents: tuple) -> tuple[list[Any], list[Any]]:
            # Here and not before: rules may call the function that they belong to.
            traced = self._rule(eqn)
            slopes = [t for t, atom in zip(tangents, eqn.invars, strict=True) if _is_number(dtype_of(atom))]
            found = self.run(traced.jaxpr, traced.consts, [*primals, *slopes])
            values, rest = found[: len(eqn.outvars)], iter(found[len(eqn.outvars) :])
            return values, [
                next(rest) if moves else np.zeros(np.shape(value), jax.dtypes.float0)
                for value, moves in zip(values, differentiable, strict=True)
            ]

        return call

    def _rule(self, eqn: core.JaxprEqn) -> core.ClosedJaxpr:
        """Trace the derivative of an equation along a direction, in the precision of the equation."""
        numbers = [_is_number(dtype_of(atom)) for atom in eqn.invars]
        shapes = [jax.ShapeDtypeStruct(atom.aval.shape, dtype_of(atom)) for atom in eqn.invars]  # type: ignore[attr-defined]

        def along(arguments: list[Any], directions: list[Any]) -> list[Any]:
            def call(*given: Any) -> list[Any]:
                rest = iter(given)
                merged = [next(rest) if n else a for a, n in zip(arguments, numbers, strict=True)]
                return bind(eqn, merged)

            moving = [a for a, n in zip(arguments, numbers, strict=True) if n]
            values, slopes = jax.jvp(call, moving, directions)
            return [*values, *(slope for slope in slopes if slope.dtype != jax.dtypes.float0)]

        with jax.enable_x64(self._x64):
            return jax.make_jaxpr(along)(shapes, [s for s, n in zip(shapes, numbers, strict=True) if n])

    def _custom_vjp(self, eqn: core.JaxprEqn) -> Callable[..., list[Any]]:
        """Return the lifted function, without a derivative: its rule need not be that of the formula."""
        inner, consts = _inner(eqn)

        @jax.custom_jvp
        def call(*arguments: Any) -> list[Any]:
            return self.run(inner, consts, arguments)

        @call.defjvp
        def rule(primals: tuple, tangents: tuple) -> tuple[Any, Any]:
            raise LiftingError("a rule of jax.custom_vjp is not known in double precision")

        return call


def _inner(eqn: core.JaxprEqn) -> tuple[core.Jaxpr, Sequence[Any]]:
    """Return the jaxpr that a call runs, and its constants."""
    for name in _INNER:
        found = eqn.params.get(name)
        if isinstance(found, core.ClosedJaxpr):
            return found.jaxpr, found.consts
        if isinstance(found, core.Jaxpr):
            return found, ()
    raise LiftingError(f"the call {eqn.primitive.name} does not say what it runs")


def _is_draw(eqn: core.JaxprEqn, moving: Sequence[bool]) -> bool:
    """Whether a call draws random numbers by a key, from a distribution that depends on no parameter or datum."""
    return any(_is_key(dtype_of(atom)) for atom in eqn.invars) and not any(moving)


def _draws_numbers(eqn: core.JaxprEqn) -> bool:
    """Whether one primitive makes numbers by a key: how many bits it takes then depends on the precision."""
    inner = any(True for value in eqn.params.values() for _ in _jaxprs_in(value))
    return (
        not inner
        and any(_is_key(dtype_of(atom)) for atom in eqn.invars)
        and any(_is_number(dtype_of(v)) for v in eqn.outvars)
    )


def _as_traced(eqn: core.JaxprEqn, inputs: Sequence[Any]) -> list[Any]:
    return [_cast(x, dtype_of(atom)) for x, atom in zip(inputs, eqn.invars, strict=True)]


def _check_outputs(eqn: core.JaxprEqn, outputs: Sequence[Any]) -> None:
    for variable, output in zip(eqn.outvars, outputs, strict=True):
        wanted = double_dtype(dtype_of(variable))
        if wanted is not None and output.dtype != wanted:
            raise LiftingError(f"the operation {eqn.primitive.name} gives {output.dtype} instead of {wanted}")


def _jaxprs_in(value: Any) -> list[core.Jaxpr]:
    if isinstance(value, core.ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, core.Jaxpr):
        return [value]
    return [inner for item in value for inner in _jaxprs_in(item)] if isinstance(value, (tuple, list)) else []


def _cast(array: Any, dtype: Any) -> Any:
    if array.dtype == dtype or _is_key(array.dtype):
        return array
    return array.astype(dtype) if isinstance(array, np.ndarray) else jax.lax.convert_element_type(array, dtype)


def _is_number(dtype: Any) -> bool:
    return dtype is not None and bool(jnp.issubdtype(dtype, jnp.inexact))


def _is_key(dtype: Any) -> bool:
    return dtype is not None and bool(jnp.issubdtype(dtype, jax.dtypes.prng_key))
