"""What makes data, parameters and a loss a landscape, checked before any long computation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import LandscapeError

Loss = Callable[[Any, Any], Any]


def example_arrays(data: Any, name: str = "data") -> Any:
    """Copy a pytree of array-likes into JAX arrays that share a non-empty leading axis, or say why that fails."""
    paths_and_leaves = jax.tree_util.tree_leaves_with_path(data)
    if not paths_and_leaves:
        raise LandscapeError(
            f"The {name} holds no arrays; a landscape needs a pytree of arrays whose leading axis counts the examples, "
            "for instance (images, labels)."
        )
    arrays = [_as_array(leaf, _where(name, path)) for path, leaf in paths_and_leaves]
    for (path, _), array in zip(paths_and_leaves, arrays, strict=True):
        if array.ndim == 0:
            raise LandscapeError(
                f"{_where('data', path)} is a single number; every leaf of the data needs a leading axis of examples. "
                "A Python list is a pytree of its entries: wrap it in numpy.asarray(...)."
            )
    if len({array.shape[0] for array in arrays}) > 1:
        shapes = ", ".join(
            f"{_where('data', path)}: {array.shape}" for (path, _), array in zip(paths_and_leaves, arrays, strict=True)
        )
        raise LandscapeError(
            f"The leaves of the data disagree on the number of examples, their leading axis: {shapes}. "
            "Give every leaf one row per example."
        )
    if arrays[0].shape[0] == 0:
        raise LandscapeError(f"The {name} holds 0 examples (a leading axis of length 0); give at least one.")
    return jax.tree.unflatten(jax.tree.structure(data), arrays)


def hashable(loss: Loss) -> Loss:
    """Return the loss, as a function of its own where it cannot be hashed, such as a method of a module with arrays.

    Compiled programs are kept by the loss that they were made from.
    """
    try:
        hash(loss)
    except TypeError:
        return lambda params, example: loss(params, example)
    return loss


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


def _as_array(leaf: Any, where: str) -> jax.Array:
    if isinstance(leaf, jax.Array):
        return leaf
    try:
        given = np.asarray(leaf)
        with np.errstate(over="ignore"):  # reported below
            array = jnp.array(given)  # a copy, so that later writes to the caller's array change nothing here
    except (TypeError, ValueError) as error:
        raise LandscapeError(
            f"{where} is not a numeric array but {type(leaf).__name__}; give NumPy or JAX arrays of numbers."
        ) from error
    if array.dtype != given.dtype and not _same_values(given, np.asarray(array)):
        raise LandscapeError(
            f"{where} holds {given.dtype} values that JAX's {array.dtype} cannot hold; rescale them, or turn on "
            "jax.config.update('jax_enable_x64', True) first."
        )
    return array


def _same_values(given: np.ndarray, kept: np.ndarray) -> bool:
    """Whether a narrower dtype kept integers exactly and turned no finite number into an infinity."""
    if given.dtype.kind in "iu":
        return bool(np.array_equal(given, kept))
    return bool(np.array_equal(np.isfinite(given), np.isfinite(kept)))


def check_params(params: Any) -> None:
    """Raise unless the parameters are a pytree of finite floating-point arrays with at least one entry."""
    paths_and_leaves = jax.tree_util.tree_leaves_with_path(params)
    total = 0
    for path, leaf in paths_and_leaves:
        where = _where("params", path)
        try:
            array = jnp.asarray(leaf)
        except (TypeError, ValueError) as error:
            raise LandscapeError(
                f"{where} is {type(leaf).__name__}, not an array; parameters are a pytree of floating-point arrays. "
                "Keep strings, functions and settings outside it."
            ) from error
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise LandscapeError(
                f"{where} has dtype {array.dtype}; derivatives need floating-point parameters. Convert it with "
                ".astype(float), or keep it outside the parameters if it is not trained."
            )
        if not bool(jnp.all(jnp.isfinite(array))):
            raise LandscapeError(f"{where} has entries that are not finite; start from finite parameters.")
        total += array.size
    if total == 0:
        raise LandscapeError(
            f"The parameters {params!r} hold no numbers; give a pytree with at least one floating-point array."
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


def check_loss_shape(loss: Loss, params: Any, example: Any) -> None:
    """Trace the loss on one example, without computing it, and raise unless it returns a real scalar."""
    try:
        value = jax.eval_shape(loss, params, example)
    except LandscapeError:
        raise
    except Exception as error:
        shapes = jax.tree.map(jnp.shape, example)
        error.add_note(
            f"This arose in loss(params, example) on one example, without its leading axis; shapes {shapes}."
        )
        raise
    check_loss_value(value)


def nonfinite_leaf(tree: Any, name: str) -> str:
    """Name the first leaf of a pytree of arrays that has a non-finite entry."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not bool(jnp.all(jnp.isfinite(leaf))):
            return _where(name, path)
    return name


def _where(name: str, path: tuple[Any, ...]) -> str:
    return name + jax.tree_util.keystr(path)
