"""Where a loss has kinks: series use higher derivatives, and a relu hides its kink from them."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from ._checks import Loss

_KINKED = {
    "max": "max",
    "min": "min",
    "abs": "abs",
    "sign": "sign",
    "floor": "floor",
    "ceil": "ceil",
    "round": "round",
    "rem": "remainder",
    "clamp": "clip",
    "reduce_max": "max over an axis",
    "reduce_min": "min over an axis",
    "reduce_window_max": "max-pool",
    "reduce_window_min": "min-pool",
    "select_and_gather_add": "max-pool",
    "sort": "sort",
    "top_k": "top_k",
}
_KINKED_CALLS = ("relu", "relu6", "hard_tanh", "hard_sigmoid", "hard_swish", "leaky_relu", "elu", "celu", "selu")


class SmoothnessWarning(UserWarning):
    """The loss is not smooth in its parameters, but series take it to be."""


def kinks(loss: Loss, params: Any, example: Any) -> list[str]:
    """Return the names of operations in a loss that are not smooth in the parameters, without repetition.

    What derivatives do not flow through does not count: maxima inside a stopped gradient, as in a log-sum-exp, or
    comparisons. Functions with derivatives of their own are taken at their word unless they are known for a kink.
    """
    traced = jax.make_jaxpr(loss)(params, example)
    count = len(jax.tree.leaves(params))
    inputs = [index < count for index in range(len(traced.jaxpr.invars))]
    found: dict[str, None] = {}
    _search(traced.jaxpr, inputs, [True] * len(traced.jaxpr.outvars), found)
    return list(found)


def _search(jaxpr: core.Jaxpr, varying: list[bool], wanted: list[bool], found: dict[str, None]) -> None:
    """Note kinks on the way from inputs that vary with the parameters to outputs that are differentiated."""
    moved = {variable for variable, varies in zip(jaxpr.invars, varying, strict=True) if varies}
    for eqn in jaxpr.eqns:
        if any(atom in moved for atom in eqn.invars if not isinstance(atom, core.Literal)):
            moved.update(eqn.outvars)
    live = {atom for atom, wants in zip(jaxpr.outvars, wanted, strict=True) if wants and _is_variable(atom)}
    for eqn in reversed(jaxpr.eqns):
        outputs = [variable in live for variable in eqn.outvars]
        if not any(outputs) or eqn.primitive.name == "stop_gradient":
            continue
        inputs = [_is_variable(atom) and atom in moved for atom in eqn.invars]
        live.update(atom for atom in eqn.invars if _is_variable(atom) and _is_real(atom))
        if any(inputs) and not _is_under_log(jaxpr, eqn):
            _note(eqn, inputs, outputs, found)


def _note(eqn: core.JaxprEqn, inputs: list[bool], outputs: list[bool], found: dict[str, None]) -> None:
    name = str(eqn.params.get("name", ""))
    if name in _KINKED_CALLS:
        found[name] = None
    elif eqn.primitive.name in _KINKED:
        found[_KINKED[eqn.primitive.name]] = None
    elif eqn.primitive.name == "select_n" and inputs[0]:
        found["where on a condition that depends on the parameters"] = None
    elif eqn.primitive.name in ("jit", "pjit", "checkpoint", "remat2"):
        inner = eqn.params["jaxpr"]
        _search(getattr(inner, "jaxpr", inner), inputs, outputs, found)
    elif eqn.primitive.name == "custom_jvp_call":
        # Its own derivative may be smooth where its formula is not, as for softplus: only known names count.
        names = [str(inner.params.get("name", "")) for inner in eqn.params["call_jaxpr"].jaxpr.eqns]
        found.update(dict.fromkeys(name for name in names if name in _KINKED_CALLS))
    elif eqn.primitive.name == "scan":
        inner = eqn.params["jaxpr"].jaxpr
        # Whatever varies at all may vary in every turn.
        _search(inner, [True] * len(inner.invars), [True] * len(inner.outvars), found)


def _is_under_log(jaxpr: core.Jaxpr, eqn: core.JaxprEqn) -> bool:
    """Whether an absolute value goes into logarithms only, as in a log-sum-exp: log |x| has no kink."""
    if eqn.primitive.name != "abs":
        return False
    users = [other for other in jaxpr.eqns if eqn.outvars[0] in [atom for atom in other.invars if _is_variable(atom)]]
    return bool(users) and all(other.primitive.name == "log" for other in users)


def _is_variable(atom: Any) -> bool:
    return not isinstance(atom, core.Literal)


def _is_real(atom: Any) -> bool:
    return bool(jnp.issubdtype(atom.aval.dtype, jnp.inexact))
