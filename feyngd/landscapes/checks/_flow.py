"""What flows where in a traced loss: which values depend on which inputs, and which equations reach the result."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
from jax.extend import core

from ..smoothness import user_line

Line = Callable[[], str]  # finding a line takes time, and is needed only in messages
Note = Callable[[core.JaxprEqn, list[bool], bool, Line], None]

# Their derivatives are those that their authors gave; what is inside is not differentiated.
_OPAQUE = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")


def depends(traced: core.ClosedJaxpr, inputs: Sequence[bool], *, by_value: bool) -> bool:
    """Whether the result depends on the marked inputs, by its value or else by its derivatives."""
    return any(_outputs(traced.jaxpr, list(inputs), by_value))


def visit(traced: core.ClosedJaxpr, inputs: Sequence[bool], note: Note, *, by_value: bool) -> None:
    """Look at equations, also of inner functions.

    Args:
        traced: the trace.
        inputs: which of its inputs are marked.
        note: called with an equation, which of its operands depend on the marked inputs, whether any of its results
            does, and how to find the user's line.
        by_value: whether to follow values, and look at what the result depends on; or else what is differentiated,
            real numbers that are not stopped, and look at everything: JAX also differentiates what the result does not
            depend on.
    """
    _visit(traced.jaxpr, list(inputs), [True] * len(traced.jaxpr.outvars), note, by_value, str)


def _visit(jaxpr: core.Jaxpr, inputs: list[bool], wanted: list[bool], note: Note, by_value: bool, call: Line) -> None:
    marked = _spread(jaxpr, inputs, by_value)
    live = {atom for atom, wants in zip(jaxpr.outvars, wanted, strict=True) if wants and _is_variable(atom)}
    for eqn in reversed(jaxpr.eqns):
        outputs = [variable in live for variable in eqn.outvars]
        if by_value and not any(outputs):
            continue
        live.update(atom for atom in eqn.invars if _is_variable(atom))
        operands = [_is_variable(atom) and atom in marked for atom in eqn.invars]
        line = partial(_line, eqn, call)
        note(eqn, operands, any(variable in marked for variable in eqn.outvars), line)
        if by_value or eqn.primitive.name not in _OPAQUE:
            is_loop = eqn.primitive.name in ("scan", "while")
            for inner, given in _inner(eqn, operands, by_value):
                wants = [True] * len(inner.outvars) if is_loop else outputs
                _visit(inner, given, wants, note, by_value, line)


def _line(eqn: core.JaxprEqn, call: Line) -> str:
    """The user's line; inside what a library compiles none is the user's, but that of the call is."""
    return user_line(eqn) or call()


def _spread(jaxpr: core.Jaxpr, inputs: list[bool], by_value: bool) -> set[core.Var]:
    """Return which variables depend on the marked inputs."""
    marked = {variable for variable, marks in zip(jaxpr.invars, inputs, strict=True) if marks}
    for eqn in jaxpr.eqns:
        operands = [_is_variable(atom) and atom in marked for atom in eqn.invars]
        results = zip(eqn.outvars, _results(eqn, operands, by_value), strict=True)
        marked.update(variable for variable, marks in results if marks and (by_value or _is_real(variable)))
    return marked


def _results(eqn: core.JaxprEqn, operands: list[bool], by_value: bool) -> list[bool]:
    name, count = eqn.primitive.name, len(eqn.outvars)
    if not any(operands) or (not by_value and name == "stop_gradient"):
        return [False] * count
    if name in _OPAQUE and not by_value:
        return [True] * count
    inner = list(_inner(eqn, operands, by_value))
    if not inner or (by_value and name == "cond" and operands[0]):
        return [True] * count
    if by_value and name == "while" and any(_outputs(*inner[0], by_value)):
        return [True] * count
    bodies = inner[1:] if name == "while" else inner
    return [any(marks) for marks in zip(*(_outputs(*body, by_value) for body in bodies), strict=True)]


def _outputs(jaxpr: core.Jaxpr, inputs: list[bool], by_value: bool) -> list[bool]:
    marked = _spread(jaxpr, inputs, by_value)
    return [_is_variable(atom) and atom in marked for atom in jaxpr.outvars]


def _inner(eqn: core.JaxprEqn, operands: list[bool], by_value: bool) -> Iterator[tuple[core.Jaxpr, list[bool]]]:
    """Give the functions that an equation runs, with their marked inputs: a loop's condition, then its body."""
    name, params = eqn.primitive.name, eqn.params
    if name == "cond":
        for branch in params["branches"]:
            yield branch.jaxpr, operands[1:]
    elif name == "scan":
        body, constants, carried = params["jaxpr"].jaxpr, params["num_consts"], params["num_carry"]
        yield body, _settled(body, operands, constants, carried, by_value)
    elif name == "while":
        first, second = params["cond_nconsts"], params["body_nconsts"]
        body, rest = params["body_jaxpr"].jaxpr, operands[first:]
        settled = _settled(body, rest, second, len(rest) - second, by_value)
        yield params["cond_jaxpr"].jaxpr, operands[:first] + settled[second:]
        yield body, settled
    else:
        for value in params.values():
            jaxpr = getattr(value, "jaxpr", value)
            if isinstance(jaxpr, core.Jaxpr) and _fits(jaxpr, eqn):
                yield jaxpr, operands
                return


def _fits(jaxpr: core.Jaxpr, eqn: core.JaxprEqn) -> bool:
    return len(jaxpr.invars) == len(eqn.invars) and len(jaxpr.outvars) == len(eqn.outvars)


def _settled(body: core.Jaxpr, inputs: list[bool], constants: int, carried: int, by_value: bool) -> list[bool]:
    """Return the marked inputs of a loop's body after any number of turns."""
    while True:
        carry = inputs[constants : constants + carried]
        after = [a or b for a, b in zip(carry, _outputs(body, inputs, by_value)[:carried], strict=True)]
        if after == carry:
            return inputs
        inputs = inputs[:constants] + after + inputs[constants + carried :]


def _is_variable(atom: Any) -> bool:
    return not isinstance(atom, core.Literal)


def _is_real(atom: Any) -> bool:
    return bool(jnp.issubdtype(getattr(atom.aval, "dtype", bool), jnp.inexact))
