"""Which operations of a traced loss could break its smoothness: a search that reads, and computes nothing.

What counts is how derivatives flow. An operation is suspect if its operand depends on the parameters, its result
reaches the loss, and it is not known to stay on one side of its kink by the signs of what goes in. Suspects are
not reported until numbers confirm them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend import core

from ...derivatives import dtype_of

_KINKED = {
    "max": "max",
    "min": "min",
    "clamp": "clip",
    "reduce_max": "max over an axis",
    "reduce_min": "min over an axis",
    "cummax": "cummax",
    "cummin": "cummin",
    "reduce_window_max": "max-pool",
    "reduce_window_min": "min-pool",
    "select_and_gather_add": "max-pool",
    "scatter-max": "max over segments",
    "scatter-min": "min over segments",
    "scatter_max": "max over segments",
    "scatter_min": "min over segments",
    "sort": "sort",
    "top_k": "top_k",
    "approx_top_k": "top_k",
    "cbrt": "cube root",
}
_DISCONTINUOUS = {"sign": "sign", "floor": "floor", "ceil": "ceil", "round": "round", "rem": "remainder"}
INDEXED = {  # the operands after which all are indices, and before which none is
    "gather": (1, 2),
    "dynamic_slice": (1, None),
    "dynamic_update_slice": (2, None),
    "scatter": (1, 2),
    "scatter-add": (1, 2),
    "scatter-mul": (1, 2),
    "scatter_add": (1, 2),
    "scatter_mul": (1, 2),
}
COMPARISONS = {"lt", "le", "gt", "ge"}
_PASSING = {  # what leaves signs alone
    *{"broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "slice", "rev", "concatenate", "copy"},
    *{"reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_window_sum", "cumsum", "cumprod", "cummax"},
    *{"cummin", "mul", "div", "min", "sort", "sqrt", "cbrt", "stop_gradient", "convert_element_type"},
    *{"reduce_precision"},
}
_POSITIVE = {"exp", "exp2", "logistic", "cosh", "erfc", "rsqrt"}
_SMOOTH_BY_DEFINITION = {"logaddexp": jnp.logaddexp, "logaddexp2": jnp.logaddexp2}
CALLS = {
    *{"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2"},
    *{"custom_jvp_call", "custom_vjp_call"},
}

UNKNOWN, NONNEGATIVE, POSITIVE = 0, 1, 2
DEAD, HELD, FULL = 0, 1, 2


@dataclass(frozen=True)
class Facts:
    """What is known of a value: whether it depends on the parameters, and its sign."""

    varies: bool = False
    sign: int = UNKNOWN


@dataclass(frozen=True)
class Suspect:
    """An operation that may break smoothness.

    Attributes:
        operation: what it is, in a user's words.
        source: the user's line, "" if unknown.
        held: whether only its value counts, since derivatives are stopped on the way to the loss.
        singular: whether it has an infinite slope at 0, so that it only matters where its operand touches 0.
    """

    operation: str
    source: str
    held: bool = False
    singular: bool = False


@dataclass(frozen=True)
class Step:
    """An equation, the suspect in it if any, and the plans of what it calls."""

    eqn: core.JaxprEqn
    suspect: Suspect | None = None
    inner: tuple["Block", ...] = ()


@dataclass(frozen=True)
class Block:
    """A jaxpr with its suspects: what there is to run and to watch.

    Attributes:
        jaxpr: the jaxpr.
        steps: its equations in order, without those whose results are not needed.
    """

    jaxpr: core.Jaxpr
    steps: tuple[Step, ...]

    def suspects(self) -> list[Suspect]:
        """All suspects, also of inner blocks, without repetition."""
        found: dict[Suspect, None] = {}
        for step in self.steps:
            if step.suspect is not None:
                found[step.suspect] = None
            for block in step.inner:
                found.update(dict.fromkeys(block.suspects()))
        return list(found)


@dataclass(frozen=True)
class _Context:
    """Where in the nest of calls the search is: the library function it is in, its line, whether it is trusted."""

    function: str = ""
    source: str | None = None
    trusted: bool = False


def find_suspects(closed: core.ClosedJaxpr, count: int) -> Block:
    """Search a traced loss.

    Args:
        closed: the loss; its first `count` inputs are the leaves of the parameters, the rest those of one example.
        count: how many leaves the parameters have.

    Returns:
        The plan of the loss.
    """
    facts = [Facts(varies=index < count) for index in range(len(closed.jaxpr.invars))]
    return _search(closed.jaxpr, facts, [FULL] * len(closed.jaxpr.outvars), _Context())


def inner_jaxprs(eqn: core.JaxprEqn) -> list[core.ClosedJaxpr]:
    """The jaxprs that an equation runs on its operands as they are: those of calls, branches and loops."""
    name, params = eqn.primitive.name, eqn.params
    if name in CALLS:
        found = [params["call_jaxpr"] if "call_jaxpr" in params else params["jaxpr"]]
    elif name == "cond":
        found = list(params["branches"])
    elif name == "scan":
        found = [params["jaxpr"]]
    elif name == "while":
        found = [params["cond_jaxpr"], params["body_jaxpr"]]
    else:
        found = []
    return [inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, ()) for inner in found]


def is_opaque(eqn: core.JaxprEqn) -> bool:
    """Whether a function with derivatives of its own must run as it is, since it calls back into Python."""
    return eqn.primitive.name in ("custom_jvp_call", "custom_vjp_call") and any(
        _calls_back(inner.jaxpr) for inner in inner_jaxprs(eqn)
    )


def smooth_by_definition(eqn: core.JaxprEqn) -> Callable[..., Any] | None:
    """JAX's own function that an equation calls, if that is smooth although its formula does not look like it."""
    if eqn.primitive.name != "custom_jvp_call":
        return None
    info = inner_jaxprs(eqn)[0].jaxpr.debug_info
    is_own = _package(Path(info.func_filename or "").parts) == "jax"
    return _SMOOTH_BY_DEFINITION.get(info.func_name) if is_own else None


def _calls_back(jaxpr: core.Jaxpr) -> bool:
    return any(
        "callback" in eqn.primitive.name or any(_calls_back(inner.jaxpr) for inner in inner_jaxprs(eqn))
        for eqn in jaxpr.eqns
    )


# ---- facts, forwards


def _forward(jaxpr: core.Jaxpr, facts: Sequence[Facts]) -> dict[core.Var, Facts]:
    known: dict[core.Var, Facts] = dict(zip(jaxpr.invars, facts, strict=True))
    for eqn in jaxpr.eqns:
        known.update(zip(eqn.outvars, _outputs(eqn, [_facts(atom, known) for atom in eqn.invars]), strict=True))
    return known


def _facts(atom: Any, known: dict[core.Var, Facts]) -> Facts:
    if not isinstance(atom, core.Literal):
        return known.get(atom, Facts())
    value = np.asarray(atom.val)
    if value.dtype.kind not in "fiub" and not jnp.issubdtype(value.dtype, jnp.floating):
        return Facts()
    least = float(np.min(value.astype(np.float64)))
    return Facts(sign=POSITIVE if least > 0 else NONNEGATIVE if least >= 0 else UNKNOWN)


def _outputs(eqn: core.JaxprEqn, ins: list[Facts]) -> list[Facts]:
    """What is known of the results of an equation."""
    if inner := inner_jaxprs(eqn):
        return _call_outputs(eqn, inner, ins)
    varies = any(fact.varies for fact in ins) and not _is_settled(eqn, ins)
    return [Facts(varies, _sign(eqn, [fact.sign for fact in ins]))] * len(eqn.outvars)


def _call_outputs(eqn: core.JaxprEqn, inner: list[core.ClosedJaxpr], ins: list[Facts]) -> list[Facts]:
    name = eqn.primitive.name
    if name in CALLS:
        return _results(inner[0].jaxpr, ins)
    if name == "cond":
        branches = [_results(branch.jaxpr, ins[1:]) for branch in inner]
        return [
            Facts(ins[0].varies or any(f.varies for f in each), min(f.sign for f in each))
            for each in zip(*branches, strict=True)
        ]
    inputs = loop_facts(eqn, ins)
    results = _results(inner[-1].jaxpr, inputs[-1])
    if name == "while":
        turns = _results(inner[0].jaxpr, inputs[0])[0].varies
        return [Facts(fact.varies or turns) for fact in results]
    return [replace(fact, sign=UNKNOWN) for fact in results]


def _results(jaxpr: core.Jaxpr, facts: Sequence[Facts]) -> list[Facts]:
    known = _forward(jaxpr, facts)
    return [_facts(atom, known) for atom in jaxpr.outvars]


def loop_facts(eqn: core.JaxprEqn, ins: list[Facts]) -> list[list[Facts]]:
    """What is known of the inputs of a loop's jaxprs in every turn: carries vary once anything that feeds them does."""
    ins = [replace(fact, sign=UNKNOWN) for fact in ins]
    inner = inner_jaxprs(eqn)
    if eqn.primitive.name == "scan":
        first = eqn.params["num_consts"]
        last = first + eqn.params["num_carry"]
        consts, carry, rest = ins[:first], ins[first:last], ins[last:]
        while True:
            after = _results(inner[0].jaxpr, [*consts, *carry, *rest])[: len(carry)]
            if not (grown := _grown(carry, after)):
                return [[*consts, *carry, *rest]]
            carry = grown
    tests, bodies = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    for_test, for_body, carry = ins[:tests], ins[tests : tests + bodies], ins[tests + bodies :]
    while True:
        after = _results(inner[1].jaxpr, [*for_body, *carry])
        if not (grown := _grown(carry, after)):
            return [[*for_test, *carry], [*for_body, *carry]]
        carry = grown


def _grown(carry: list[Facts], after: list[Facts]) -> list[Facts]:
    """The facts of a carry after one more turn; empty if that adds nothing."""
    grown = [Facts(old.varies or new.varies) for old, new in zip(carry, after, strict=True)]
    return grown if any(g.varies != old.varies for g, old in zip(grown, carry, strict=True)) else []


def _is_settled(eqn: core.JaxprEqn, ins: list[Facts]) -> bool:
    """Whether the discrete result is the same for all finite parameters: tests for NaN, and signs that are known."""
    name = eqn.primitive.name
    if name == "is_finite":
        return True
    if name in ("eq", "ne"):
        return eqn.invars[0] is eqn.invars[1]
    if name not in COMPARISONS:
        return False
    large, small = (0, 1) if name in ("gt", "ge") else (1, 0)  # it says large > small, or large ≥ small
    strict = name in ("gt", "lt")
    if _literal_at_most_zero(eqn.invars[small]):
        return ins[large].sign == POSITIVE or (ins[large].sign == NONNEGATIVE and not strict)
    if _literal_at_most_zero(eqn.invars[large]):
        return ins[small].sign == POSITIVE or (ins[small].sign == NONNEGATIVE and strict)
    return False


def _literal_at_most_zero(atom: Any) -> bool:
    return isinstance(atom, core.Literal) and bool(np.all(np.asarray(atom.val).astype(np.float64) <= 0))


def _sign(eqn: core.JaxprEqn, signs: list[int]) -> int:
    name = eqn.primitive.name
    if name in _POSITIVE:
        return POSITIVE
    if name in ("abs", "square") or (name == "integer_pow" and eqn.params["y"] % 2 == 0):
        return max(NONNEGATIVE, signs[0]) if not jnp.issubdtype(dtype_of(eqn.invars[0]), jnp.complexfloating) else 1
    if name == "mul" and eqn.invars[0] is eqn.invars[1]:
        return max(NONNEGATIVE, signs[0])
    if name in ("add", "max"):
        return max(signs) if min(signs) >= NONNEGATIVE or (name == "max" and max(signs) >= NONNEGATIVE) else UNKNOWN
    if name == "select_n":
        return min(signs[1:])
    if name == "dot_general":
        return min(*signs, NONNEGATIVE)
    if name in ("integer_pow", "pow", "log1p", "expm1", "tanh"):
        return signs[0]
    return min(signs, default=UNKNOWN) if name in _PASSING else UNKNOWN


# ---- suspects, backwards


def _search(jaxpr: core.Jaxpr, facts: Sequence[Facts], wanted: Sequence[int], context: _Context) -> Block:
    """Note suspects on the way from inputs that vary with the parameters to outputs that are needed."""
    known = _forward(jaxpr, facts)
    needs: dict[core.Var, int] = {}

    def need(atom: Any, level: int) -> None:
        if not isinstance(atom, core.Literal):
            needs[atom] = max(level, needs.get(atom, DEAD))

    for atom, level in zip(jaxpr.outvars, wanted, strict=True):
        need(atom, level)
    steps: list[Step] = []
    for eqn in reversed(jaxpr.eqns):
        level = max((needs.get(variable, DEAD) for variable in eqn.outvars), default=DEAD)
        if level == DEAD:
            continue
        for atom in eqn.invars:
            need(atom, HELD if eqn.primitive.name == "stop_gradient" else level)
        ins = [_facts(atom, known) for atom in eqn.invars]
        outputs = [needs.get(variable, DEAD) for variable in eqn.outvars]
        steps.append(_step(eqn, ins, outputs, level, context))
    return Block(jaxpr, tuple(reversed(steps)))


def _step(eqn: core.JaxprEqn, ins: list[Facts], outputs: list[int], level: int, context: _Context) -> Step:
    inner = inner_jaxprs(eqn)
    suspect = None
    if any(fact.varies for fact in ins) and not context.trusted and (named := _suspicion(eqn, ins, level)):
        operation, singular = named
        source = user_line(eqn) if context.source is None else context.source
        suspect = Suspect(context.function or operation, source, level == HELD, singular)
    if not inner:
        return Step(eqn, suspect)
    within = _within(eqn, inner[0].jaxpr, context)
    name = eqn.primitive.name
    if name in CALLS:
        inputs, wants = [ins], [outputs]
    elif name == "cond":
        inputs, wants = [ins[1:]] * len(inner), [[level] * len(outputs)] * len(inner)
    else:
        inputs = loop_facts(eqn, ins)
        wants = [[level] * len(each.jaxpr.outvars) for each in inner]
    blocks = (_search(each.jaxpr, facts, want, within) for each, facts, want in zip(inner, inputs, wants, strict=True))
    return Step(eqn, suspect, tuple(blocks))


def _suspicion(eqn: core.JaxprEqn, ins: list[Facts], level: int) -> tuple[str, bool] | None:
    """The name of what may be broken by an equation whose operands vary, and whether it is a singular point."""
    name = eqn.primitive.name
    if name == "select_n" and ins[0].varies:
        return "where on a condition that depends on the parameters", False
    if name == "cond" and ins[0].varies:
        return "cond", False
    if name == "while" and _results(inner_jaxprs(eqn)[0].jaxpr, loop_facts(eqn, ins)[0])[0].varies:
        return "while_loop", False
    if name in INDEXED:
        first, last = INDEXED[name]
        return ("indexing by what depends on the parameters", False) if any(f.varies for f in ins[first:last]) else None
    if name == "convert_element_type" and _is_float(eqn.outvars[0]) and not _is_inexact(eqn.invars[0]):
        was_bool = dtype_of(eqn.invars[0]) == jnp.bool_
        return ("comparison times a value" if was_bool else "integer cast"), False
    if name in _DISCONTINUOUS and _is_float(eqn.outvars[0]):
        return _DISCONTINUOUS[name], False
    if level == HELD or not _is_inexact(eqn.invars[0]):
        return None
    return _continuous_suspicion(eqn, ins)


def _continuous_suspicion(eqn: core.JaxprEqn, ins: list[Facts]) -> tuple[str, bool] | None:
    name = eqn.primitive.name
    if name in ("max", "min") and _is_one_sided(eqn, ins):
        return None
    if name in _KINKED:
        return None if name == "cbrt" and ins[0].sign == POSITIVE else (_KINKED[name], False)
    if name == "abs" and ins[0].sign == UNKNOWN:
        return "abs", not _is_float(eqn.invars[0])
    fractional = name == "pow" and isinstance(eqn.invars[1], core.Literal) and float(eqn.invars[1].val) % 1 != 0
    if (name == "sqrt" or fractional) and ins[0].sign != POSITIVE:
        return ("square root" if name == "sqrt" else "fractional power"), True
    return None


def _is_one_sided(eqn: core.JaxprEqn, ins: list[Facts]) -> bool:
    """Whether max(0, x) has an x that is never negative, or a bound is infinite."""
    for bound, other in ((0, 1), (1, 0)):
        atom = eqn.invars[bound]
        if isinstance(atom, core.Literal):
            value = np.asarray(atom.val).astype(np.float64)
            if bool(np.all(np.isinf(value))) or (_literal_at_most_zero(atom) and ins[other].sign >= NONNEGATIVE):
                return True
    return False


def _is_float(atom: Any) -> bool:
    return bool(jnp.issubdtype(dtype_of(atom), jnp.floating))


def _is_inexact(atom: Any) -> bool:
    return bool(jnp.issubdtype(dtype_of(atom), jnp.inexact))


# ---- names and lines


def _within(eqn: core.JaxprEqn, jaxpr: core.Jaxpr, context: _Context) -> _Context:
    """The context inside a call: what a library compiles carries the name of its function and the line of its call."""
    if eqn.primitive.name not in CALLS:
        return context
    if smooth_by_definition(eqn) is not None:
        return replace(context, trusted=True)
    library = _library(jaxpr)
    if library is None:
        return context
    # What a library traced once keeps the lines of whoever came first, so only the line of the call is right.
    source = user_line(eqn) if context.source is None else context.source
    name = jaxpr.debug_info.func_name
    function = context.function or (name if library in ("jax", "optax") and not name.startswith(("_", "<")) else "")
    return replace(context, source=source, function=function)


def _library(jaxpr: core.Jaxpr) -> str | None:
    """The name of the installed package that a jaxpr was traced from; `None` for the user's own functions."""
    parts = Path(jaxpr.debug_info.func_filename or "").parts
    return _package(parts)


def _package(parts: Sequence[str]) -> str | None:
    for folder in ("site-packages", "dist-packages"):
        if folder in parts:
            return parts[parts.index(folder) + 1].removesuffix(".py")
    return None


_OURS = str(Path(__file__).parents[1])


def user_line(eqn: core.JaxprEqn) -> str:
    """The innermost line of the user's own code that an equation comes from, "" if there is none."""
    traceback = eqn.source_info.traceback
    frames: list[Any] = [] if traceback is None else list(traceback.frames)
    for frame in frames:
        path = Path(frame.file_name)
        is_library = _package(path.parts) is not None or frame.file_name.startswith((_OURS, "<frozen"))
        if not is_library and "lib/python3" not in frame.file_name:
            return f"{path.name}:{frame.line_num} ({frame.function_name})"
    return ""
