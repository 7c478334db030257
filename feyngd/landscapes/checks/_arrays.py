"""Data and parameters as JAX arrays, checked, and the check of what a loss returns."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...derivatives import is_key_array
from ...errors import LandscapeError
from ._array_leaves import as_jax_array, leaves_with_names

_HOW_TO_SPLIT = (
    "Of an equinox model: params, static = eqx.partition(model, eqx.is_inexact_array), and eqx.combine(params, static) "
    "in the loss. Of a flax.nnx model: graph, params, rest = nnx.split(model, nnx.Param, ...), and "
    "nnx.merge(graph, params, rest, copy=True)."
)


def example_arrays(data: Any, name: str = "data") -> Any:
    """Return a pytree of array-likes as a pytree of JAX arrays that share a non-empty leading axis.

    Values stay what they are, up to the rounding of double precision where JAX is set to single. NumPy arrays are
    copied. Other axes may be empty, and a leaf may hold random keys.

    Args:
        data: a pytree of arrays of JAX or NumPy, or of what NumPy reads without loss: tables with columns of one type,
            tensors of other libraries, other byte orders.
        name: how messages call it.

    Raises:
        LandscapeError: a leaf is not an array of numbers or keys, or cannot be one without loss; there is no leaf or
            no example; or the leaves disagree on the number of examples.
    """
    named_leaves = leaves_with_names(data, name)
    if not named_leaves:
        raise LandscapeError(
            f"The {name} holds no arrays; a landscape needs a pytree of arrays whose leading axis counts the examples, "
            "for instance (images, labels)."
        )
    arrays = [as_jax_array(leaf, where) for where, leaf in named_leaves]
    for (where, _), array in zip(named_leaves, arrays, strict=True):
        if array.ndim == 0:
            raise LandscapeError(f"{where} {_why_no_examples(array)}")
    if len({array.shape[0] for array in arrays}) > 1:
        shapes = ", ".join(f"{where}: {array.shape}" for (where, _), array in zip(named_leaves, arrays, strict=True))
        raise LandscapeError(
            f"The leaves of the {name} disagree on the number of examples, their leading axis: {shapes}. "
            "Give every leaf one row per example."
        )
    if arrays[0].shape[0] == 0:
        raise LandscapeError(f"The {name} holds 0 examples (a leading axis of length 0); give at least one.")
    return jax.tree.unflatten(jax.tree.structure(data), arrays)


def _why_no_examples(scalar: jax.Array) -> str:
    if is_key_array(scalar):
        return "is a single random key; give every example a key of its own: jax.random.split(key, M)."
    return (
        "is a single number; every leaf of the data needs a leading axis of examples. "
        "A Python list is a pytree of its entries: wrap it in numpy.asarray(...)."
    )


def check_same_examples(data: Any, test_data: Any) -> None:
    """Raise unless the test data hold the same kind of examples: structure, shapes and dtypes."""

    def kind(arrays: Any) -> list[str]:
        leaves = jax.tree_util.tree_leaves_with_path(arrays)
        return [f"{_where('', path)}: {leaf.dtype}{list(leaf.shape[1:])}" for path, leaf in leaves]

    if kind(data) != kind(test_data):
        raise LandscapeError(
            f"The examples of test_data ({', '.join(kind(test_data))}) differ from those of data "
            f"({', '.join(kind(data))}): give both the same structure, shapes and dtypes."
        )


def param_arrays(params: Any) -> Any:
    """Return a pytree of numbers and array-likes as a pytree of strong-typed floating-point JAX arrays.

    NumPy arrays are copied. Traced arrays pass, without a look at their values.

    Raises:
        LandscapeError: a leaf is not an array of finite floating-point numbers, or an empty one, or there is no leaf.
    """
    named_leaves = leaves_with_names(params, "params")
    if not named_leaves:
        raise LandscapeError(
            f"The parameters {params!r} hold no numbers; give a pytree with at least one floating-point array."
        )
    arrays = [_param_array(leaf, where) for where, leaf in named_leaves]
    return jax.tree.unflatten(jax.tree.structure(params), arrays)


def _param_array(leaf: Any, where: str) -> jax.Array:
    if reason := _why_not_params(leaf):
        raise LandscapeError(f"{where} {reason}")
    array = as_jax_array(leaf, where)
    if is_key_array(array):
        raise LandscapeError(
            f"{where} is a random key, which is not trained; keep it outside the parameters, or in the data, one for "
            "each example, if every example draws its own."
        )
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise LandscapeError(
            f"{where} has dtype {array.dtype}; derivatives need floating-point parameters. Convert it with "
            f".astype(float), or keep it outside the parameters if it is not trained. {_HOW_TO_SPLIT}"
        )
    if array.size == 0:
        raise LandscapeError(
            f"{where} has shape {array.shape} and so holds no numbers; leave it out of the parameters, or look for a "
            "layer of width 0."
        )
    if not isinstance(array, jax.core.Tracer) and not np.isfinite(jax.device_get(array)).all():
        raise LandscapeError(f"{where} has entries that are not finite; start from finite parameters.")
    return array


def _why_not_params(leaf: Any) -> str | None:
    """Say what is wrong with a leaf that is no array, in the words of the library it comes from."""
    kind = type(leaf).__name__
    if isinstance(leaf, str | bytes):
        return (
            f"is {kind}, not an array; parameters are a pytree of floating-point arrays. Keep strings, functions and "
            "settings outside it."
        )
    if not callable(leaf) or hasattr(leaf, "__array__") or isinstance(leaf, jax.Array):
        return None
    if hasattr(leaf, "init") and hasattr(leaf, "apply"):
        return f"is a {kind}, a model and not its parameters; give what its init(key, example) returns."
    return (
        f"is a function ({getattr(leaf, '__name__', kind)}), not an array; parameters are a pytree of floating-point "
        f"arrays. Keep functions and settings outside it. {_HOW_TO_SPLIT}"
    )


def check_loss_value(value: Any) -> None:
    """Raise unless `value`, concrete, abstract or traced, is one real floating-point number."""
    leaves = jax.tree.leaves(value)
    if len(leaves) != 1 or not jax.tree_util.treedef_is_leaf(jax.tree.structure(value)):
        raise LandscapeError(
            f"The loss of one example must be one number; it returned a {type(value).__name__} of {len(leaves)} "
            "arrays. Return the loss alone, without auxiliary outputs."
        )
    shape, dtype = jnp.shape(value), jnp.result_type(value)
    if shape != ():
        raise LandscapeError(
            f"The loss of one example must be a scalar; it returned shape {shape}. "
            "Return jnp.mean(...) or jnp.sum(...) of it."
        )
    if not jnp.issubdtype(dtype, jnp.floating):
        raise LandscapeError(
            f"The loss must be a real floating-point number; it returned dtype {dtype}. "
            "Use a smooth loss (not an error count), and jnp.real(...) or jnp.abs(...) of complex values."
        )


def nonfinite_leaf(tree: Any, name: str) -> str:
    """Name the first leaf of a pytree of arrays that has a non-finite entry."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not bool(jnp.all(jnp.isfinite(leaf))):
            return _where(name, path)
    return name


def _where(name: str, path: tuple[Any, ...]) -> str:
    return name + jax.tree_util.keystr(path)
