"""Checks of the trace of a loss: whether it is a function of parameters and one example that can be differentiated.

Each check takes the trace that `trace_loss` returns and how many of its inputs are leaves of the parameters.
"""

import inspect
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import ad

from ...derivatives import Loss, Update
from ...errors import FeynGDError, LandscapeError
from .._noise import OfPairs
from ._arrays import check_loss_value
from ._flow import Line, depends, visit

_DRAWS = ("random_bits", "random_gamma", "threefry2x32", "rng_bit_generator", "rng_uniform")
_CALLBACKS = ("pure_callback", "io_callback", "ffi_call")
_CUSTOM_VJP = ("custom_vjp_call", "custom_vjp_call_jaxpr")
_HAVE_RULES_OF_THEIR_OWN = ("jit", "call", "core_call", "closed_call", "custom_jvp_call", "shard_map", *_CUSTOM_VJP)
_SHAPES_OF_GAMMA = ("igamma", "igammac")  # their first operand has a first derivative, and no second one
_SHAPES_OF_BETA = ("regularized_incomplete_beta",)  # their first two operands have none
_SHOWN = 8  # leaves, in a message


def trace_loss(loss: Loss, params: Any, example: Any) -> core.ClosedJaxpr:
    """Trace a loss on shapes of parameters and of one example; its inputs are the leaves of both.

    Args:
        loss: the loss of one example, as a user wrote it.
        params: the parameters, arrays or their shapes.
        example: one example, arrays or their shapes.

    Raises:
        LandscapeError: the loss raised an error, whose cause the message names with what to do, or it does not return
            one real number.
    """
    try:
        # On a function of its own: JAX keeps traces by the function, and would return an old one.
        traced, value = jax.make_jaxpr(lambda p, e: loss(p, e), return_shape=True)(params, example)
        for const in traced.consts:
            if isinstance(const, jax.core.Tracer):
                jax.lax.optimization_barrier(const)  # raises if its trace is over
    except FeynGDError:
        raise
    except Exception as error:  # whatever a user's function raises
        raise LandscapeError(_what_went_wrong(loss, params, example, error)) from error
    check_loss_value(value)
    return traced


def trace_update(update: Update, params: Any, example: Any) -> core.ClosedJaxpr:
    """Trace an update on shapes of parameters and of one example; its output is one vector, its leaves in a row.

    Args:
        update: update(params, example), as a user wrote it.
        params: the parameters, arrays or their shapes.
        example: one example, arrays or their shapes.

    Raises:
        LandscapeError: it raised an error, or what it returns does not have the structure and shapes of the parameters.
    """

    def in_a_row(params: Any, example: Any) -> Any:
        found = update(params, example)
        _check_like(found, params)
        own = jax.tree.map(lambda leaf, given: jnp.asarray(leaf, given.dtype), found, params)
        return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(own)])

    try:
        return jax.make_jaxpr(in_a_row)(params, example)
    except FeynGDError:
        raise
    except Exception as error:  # whatever a user's function raises
        said = (str(error).strip().splitlines() or ["no message"])[0].split(" (https://")[0].rstrip(".")
        where = _at(partial(_line_of, error))
        raise LandscapeError(
            f"update(params, example) raised {type(error).__name__}{where} on one example, without its leading axis: "
            f"{said}. Given were {_shapes('params', params)}; {_shapes('example', example)}."
        ) from error


def _check_like(found: Any, params: Any) -> None:
    """Raise `LandscapeError` unless an update has the structure, shapes and kind of numbers of the parameters."""
    shapes = [
        {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (found, params)
    ]
    if str(jax.tree.structure(found)) != str(jax.tree.structure(params)) or shapes[0] != shapes[1]:
        raise LandscapeError(
            f"An update has the structure and the shapes of the parameters, {_shapes('params', params)}; this one "
            f"returns {_shapes('', found) or repr(found)}."
        )
    for leaf in jax.tree.leaves(found):
        if jnp.issubdtype(jnp.result_type(leaf), jnp.complexfloating):
            raise LandscapeError(f"An update is real; this one has {jnp.result_type(leaf)}.")


# --- what a trace must be ------------------------------------------------------------------------


def check_depends_on_params(traced: core.ClosedJaxpr, num_param_leaves: int) -> None:
    """Raise `LandscapeError` unless the loss depends on a parameter, and not by stopped gradients alone."""
    of_params, of_example = _inputs(traced, num_param_leaves), _inputs(traced, num_param_leaves, example=True)
    if depends(traced, of_params, by_value=False):
        return
    if depends(traced, of_params, by_value=True):
        raise LandscapeError(
            "The gradient of the loss is 0 everywhere: it depends on the parameters only through stopped gradients, "
            "comparisons or integers. Use a loss that changes smoothly with them, such as a cross-entropy instead of a "
            "count of errors, and look for stop_gradient."
        )
    hint = (
        " It depends on the example alone; are the arguments swapped? They are loss(params, example)."
        if depends(traced, of_example, by_value=True)
        else ""
    )
    raise LandscapeError(
        f"The loss does not depend on the parameters, so that there is nothing to train.{hint} Use the parameters that "
        "loss(params, example) is given, not some that it reads from outside."
    )


def check_depends_on_key(traced: core.ClosedJaxpr) -> None:
    """Raise `LandscapeError` unless the loss depends on its last input, the words of the key of a use."""
    last = [index == len(traced.jaxpr.invars) - 1 for index in range(len(traced.jaxpr.invars))]
    if not depends(traced, last, by_value=True):
        raise LandscapeError(
            "The loss does not depend on the key that it is given at every use, loss(params, example, key): draw the "
            "noise from it (jax.random.bernoulli(key, …), rngs={'dropout': key}, with dropout switched on), or leave "
            "per_use_noise out."
        )


def check_reverse_mode(traced: core.ClosedJaxpr, num_param_leaves: int) -> None:
    """Raise `LandscapeError` if something on the way from the parameters to the loss has no gradient."""

    def note(eqn: core.JaxprEqn, operands: list[bool], flows: bool, line: Line) -> None:
        name = eqn.primitive.name
        if flows and name == "while":
            raise LandscapeError(
                f"The loss has a loop{_at(line)} whose number of turns is not known beforehand, and JAX has no "
                "gradient of it. Use jax.lax.scan, or jax.lax.fori_loop with Python integers as its bounds and "
                "jnp.where in it, or give its result a derivative with jax.custom_jvp. If none is meant, use "
                "jax.lax.stop_gradient on what goes into it."
            )
        has_none = eqn.primitive not in ad.primitive_jvps and name not in _HAVE_RULES_OF_THEIR_OWN
        has_none |= name in _SHAPES_OF_BETA and any(operands[:2])
        if any(operands) and (has_none or name in _CALLBACKS):
            raise LandscapeError(
                f"The loss uses {name}{_at(line)}, of which JAX has no derivative. Write it with jax.numpy, or give it "
                "a derivative with jax.custom_jvp. If none is meant, use jax.lax.stop_gradient on what goes into it, "
                "or compute it beforehand, as data."
            )

    visit(traced, _inputs(traced, num_param_leaves), note, by_value=False)


def check_forward_mode(traced: core.ClosedJaxpr, num_param_leaves: int) -> None:
    """Raise `LandscapeError` if something on the way has gradients alone, as a `jax.custom_vjp` has."""

    def note(eqn: core.JaxprEqn, operands: list[bool], flows: bool, line: Line) -> None:
        if eqn.primitive.name in _SHAPES_OF_GAMMA and operands[0]:
            raise LandscapeError(
                f"The loss uses the incomplete gamma function{_at(line)} with a first argument that depends on the "
                "parameters; JAX has no second derivative by it. Keep that argument fixed, or give the function a "
                "derivative in jax.numpy with jax.custom_jvp."
            )
        if flows and eqn.primitive.name in _CUSTOM_VJP:
            function = eqn.params["call_jaxpr"].jaxpr.debug_info.func_name
            raise LandscapeError(
                f"The loss calls {function}{_at(line)}, a jax.custom_vjp, which has derivatives in reverse mode only; "
                "values of diagrams need forward mode too. Give its derivative with jax.custom_jvp instead, which "
                "serves both, or use the plain formula: JAX differentiates it. If no derivative is meant, use "
                "jax.lax.stop_gradient on what goes into it."
            )

    visit(traced, _inputs(traced, num_param_leaves), note, by_value=False)


def check_no_constant_key(traced: core.ClosedJaxpr, *, per_use_noise: bool = False) -> None:
    """Raise `LandscapeError` if random numbers that the loss depends on are drawn from a constant key."""
    cure = (
        "Draw them from the key that loss(params, example, key) is given. Or leave them out (deterministic=True, "
        "inference mode)."
        if per_use_noise
        else "For noise that belongs to an example put a key of its own beside it in the data, (x, "
        "jax.random.split(key, M)): it is the same at every visit. For noise anew at every use see per_use_noise. "
        "Or leave dropout out (deterministic=True, inference mode)."
    )

    def note(eqn: core.JaxprEqn, operands: list[bool], flows: bool, line: Line) -> None:
        if eqn.primitive.name in _DRAWS and not any(operands):
            raise LandscapeError(
                f"The loss draws random numbers from a constant key{_at(line)}, so that every example at every step "
                f"gets the same ones: dropout is one fixed sub-network then. {cure} If one fixed draw is what you "
                "mean, draw it once outside the loss."
            )

    visit(traced, [True] * len(traced.jaxpr.invars), note, by_value=True)


def _inputs(traced: core.ClosedJaxpr, num_param_leaves: int, *, example: bool = False) -> list[bool]:
    """Return which inputs are leaves of the parameters, or else of the example."""
    return [(index >= num_param_leaves) == example for index in range(len(traced.jaxpr.invars))]


def _at(line: Line) -> str:
    found = line()
    return f" at {found}" if found else ""


# --- what went wrong -----------------------------------------------------------------------------


def _what_went_wrong(loss: Loss, params: Any, example: Any, error: Exception) -> str:
    said = (str(error).strip().splitlines() or ["no message"])[0].split(" (https://")[0].rstrip(".")
    where = _at(partial(_line_of, error))
    noisy = isinstance(loss, OfPairs)
    given = f"{_shapes('example', example[0])}; a random key" if noisy else _shapes("example", example)
    return (
        f"loss(params, example{', key' if noisy else ''}) raised {type(error).__name__}{where} on one example, without "
        f"its leading axis: {said}. Given were {_shapes('params', params)}; {given}. "
        f"{_cure(loss, params, example, error)}"
    )


def _shapes(name: str, tree: Any) -> str:
    leaves = [
        f"{name}{jax.tree_util.keystr(path)}: {jnp.result_type(leaf)}{list(jnp.shape(leaf))}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]
    more = [f"{len(leaves) - _SHOWN} more"] if len(leaves) > _SHOWN else []
    return ", ".join(leaves[:_SHOWN] + more)


def _line_of(error: Exception) -> str:
    """The innermost line of a traceback that is not in a library."""
    ours = str(Path(__file__).parents[2])
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        parts = Path(frame.filename).parts
        if not {"site-packages", "dist-packages"} & set(parts) and not frame.filename.startswith((ours, "<frozen")):
            return f"{parts[-1]}:{frame.lineno} ({frame.name})"
    return ""


def _cure(loss: Loss, params: Any, example: Any, error: Exception) -> str:
    if not _takes_two(loss):
        return "A loss takes two arguments, parameters and one example: wrap it, as in lambda params, example: …"
    for kind, cure in _CURES.items():
        if kind in (base.__name__ for base in type(error).__mro__):
            return cure
    if "not a valid JAX type" in str(error):
        return "Return one real number."
    if _is_loss_of(loss, example, params):
        return "It works with its arguments swapped: define loss(params, example)."
    alone = example[0] if isinstance(loss, OfPairs) else example
    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype), alone)
    if isinstance(loss, OfPairs):
        batch = batch, example[1]
    if _is_loss_of(loss, params, batch):
        return (
            "It works on a batch of one: give the loss of a single example, or wrap it, as in "
            "lambda params, example: loss(params, jax.tree.map(lambda leaf: leaf[None], example))."
        )
    return "Give parameters and data of the shapes and names that the loss expects; it is called on one example."


_CURES = {
    "TracerArrayConversionError": "NumPy, and libraries built on it, cannot see traced arrays: use jax.numpy.",
    "TracerIntegerConversionError": (
        "A traced number cannot be a size or index a Python list: index an array with jnp.take, or make the list one."
    ),
    "NonConcreteBooleanIndexError": "A mask cannot change a shape: use jnp.where(mask, x, 0) or multiply by the mask.",
    "ConcretizationTypeError": (
        "Python's if, while, int and float cannot look at traced values: use jnp.where or jax.lax.cond."
    ),
    "UnexpectedTracerError": (
        "An earlier trace left a value in an object or a global: return values instead of storing them."
    ),
    "TraceContextError": (
        "A flax.nnx model counts its random draws and calls in itself: split it, "
        "graph, params, rest = nnx.split(model, nnx.Param, ...), and use nnx.merge(graph, params, rest, copy=True) in "
        "the loss, without dropout (model.eval())."
    ),
    "InvalidRngError": (
        "Dropout needs a key: switch it off with deterministic=True, or put a key beside every example in the data and "
        "give rngs={'dropout': key}."
    ),
    "ModifyScopeVariableError": "A loss changes no state: use running averages as they are, or normalise by layer.",
    "KeyError": "Give parameters and examples with the names that the loss looks up.",
    "ScopeParamNotFoundError": "Give the parameters that init made for this model.",
    "ScopeCollectionNotFound": "Close over what is not trained: model.apply({'params': params, **rest}, …).",
}


def _takes_two(loss: Loss) -> bool:
    try:
        inspect.signature(loss).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # a built-in function without a signature
        return True
    return True


def _is_loss_of(loss: Loss, params: Any, example: Any) -> bool:
    """Whether the loss gives one real number for these shapes."""
    try:
        values = jax.tree.leaves(jax.eval_shape(lambda p, e: loss(p, e), params, example))
    except Exception:  # whatever a user's function raises
        return False
    return len(values) == 1 and values[0].size == 1 and bool(jnp.issubdtype(values[0].dtype, jnp.floating))
