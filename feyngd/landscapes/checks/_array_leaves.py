"""One leaf of data or of parameters as a JAX array of the same values, or the reason why it cannot become one.

Array-likes of other libraries are recognised by their attributes, so that none of those libraries is imported.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...derivatives import is_key_array
from ...errors import LandscapeError


def leaves_with_names(tree: Any, name: str) -> list[tuple[str, Any]]:
    """Return the leaves of a pytree with the expressions that reach them; a sparse matrix counts as one leaf."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_sparse)
    return [(name + jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def as_jax_array(leaf: Any, where: str) -> jax.Array:
    """Return a strong-typed JAX array with the values of an array-like.

    What NumPy holds is copied, so that later writes change nothing here. Double precision becomes JAX's current
    precision by rounding, as everywhere in JAX; nothing else changes a value.

    Args:
        leaf: a JAX array, also a traced one or one of typed keys; or what NumPy converts to an array of numbers.
        where: how messages name it, for instance `data['x']`.

    Raises:
        LandscapeError: it is not an array of numbers, or it cannot become a JAX array without loss.
    """
    if isinstance(leaf, jax.core.Tracer):
        return leaf.astype(leaf.dtype) if getattr(jax.typeof(leaf), "weak_type", False) else leaf
    if isinstance(leaf, jax.Array):
        if leaf.is_deleted():
            raise LandscapeError(
                f"{where} is a JAX array that was deleted, as an argument given away by donate_argnums is; copy it "
                "with jnp.array(...) before it is given away."
            )
        if is_key_array(leaf):
            return leaf
        if jax.dtypes.canonicalize_dtype(leaf.dtype) == leaf.dtype:
            with jax.ensure_compile_time_eval():  # so that inside a trace it stays an array
                return leaf.astype(leaf.dtype) if leaf.weak_type else leaf
    given = as_numbers(leaf, where)
    with np.errstate(over="ignore", under="ignore"), jax.ensure_compile_time_eval():  # loss is reported below
        array = jnp.array(given)  # a copy, so that later writes to the caller's array change nothing here
    if array.dtype != given.dtype and not _same_values(given, np.asarray(array)):
        raise LandscapeError(
            f"{where} holds {given.dtype} values that JAX's {array.dtype} cannot hold; rescale them, or turn on "
            "jax.config.update('jax_enable_x64', True) first."
        )
    return array


def as_numbers(given: Any, where: str) -> np.ndarray:
    """Return an array-like as a NumPy array of numbers of a type that JAX knows too, or raise `LandscapeError`."""
    array = _as_numpy(given, where)
    if reason := _why_no_numbers(array):
        raise LandscapeError(f"{where} {reason}")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return _in_double(array, where) if array.dtype.char in "gG" else array


def _is_sparse(leaf: Any) -> bool:
    return callable(getattr(type(leaf), "todense", None)) and hasattr(leaf, "shape")


def _as_numpy(leaf: Any, where: str) -> np.ndarray:
    if reason := _why_not(leaf):
        raise LandscapeError(f"{where} {reason}")
    if isinstance(leaf, np.ma.MaskedArray):
        return np.asarray(np.ma.getdata(leaf))
    try:
        return np.asarray(leaf)
    except Exception as error:  # each library has errors of its own
        said = (str(error).splitlines() or [""])[0]
        raise LandscapeError(
            f"{where} is not a numeric array but {type(leaf).__name__}, which NumPy cannot read ({said}); give NumPy "
            "or JAX arrays of numbers."
        ) from error


def _why_not(leaf: Any) -> str | None:
    """Say what is wrong with a leaf that NumPy reads, but with another meaning."""
    kind = type(leaf).__name__
    if np.ma.is_masked(leaf):
        return (
            "is a masked array with masked entries, whose hidden values JAX would use; give .filled(value), or of data "
            "leave those examples out or give the mask as a leaf of its own, which the loss multiplies by."
        )
    if _is_sparse(leaf):
        return f"is a sparse matrix ({kind}); examples are rows of dense arrays: give .todense() of it."
    for value, unit in (("value", "unit"), ("magnitude", "units")):
        if hasattr(leaf, value) and hasattr(leaf, unit) and hasattr(leaf, "shape"):
            return f"is a {kind} in units of {getattr(leaf, unit)}; a loss takes plain numbers: give .{value} of it."
    if hasattr(leaf, "detach") and hasattr(leaf, "requires_grad"):
        if leaf.requires_grad:
            return f"is a {kind} that records gradients; give .detach().cpu().numpy() of it."
        if getattr(getattr(leaf, "device", None), "type", "cpu") != "cpu":
            return f"is a {kind} on the device {leaf.device}; give .cpu().numpy() of it."
    if hasattr(leaf, "columns") and hasattr(leaf, "dtypes") and len(kinds := {str(dtype) for dtype in leaf.dtypes}) > 1:
        return (
            f"is a table ({kind}) with columns of several types ({', '.join(sorted(kinds))}); give one array for each, "
            "as .to_numpy() of a column, or .to_numpy(dtype=float) of the table if all are numbers."
        )
    if callable(getattr(leaf, "isna", None)) and not _is_plain(leaf) and bool(np.any(np.asarray(leaf.isna()))):
        return f"is a {kind} with missing entries; fill them (.fillna(value)) or drop their examples (.dropna())."
    return None


def _is_plain(table: Any) -> bool:
    """Whether a column or a table of one type keeps its entries as NumPy does, where NaN is a number like others."""
    dtypes = list(table.dtypes) if hasattr(table, "columns") else [table.dtype]
    return all(isinstance(dtype, np.dtype) for dtype in dtypes)


def _why_no_numbers(given: np.ndarray) -> str | None:
    """Say what an array holds that is not numbers, and what to do."""
    dtype = given.dtype
    if dtype == jax.dtypes.float0:
        return "has dtype float0, which JAX gives as the gradient by integers and which holds no numbers; leave it out."
    if dtype.names is not None:
        return (
            f"is a structured array with the fields {', '.join(dtype.names)}; give its fields as separate arrays: "
            "{name: array[name] for name in array.dtype.names}."
        )
    if dtype.kind in "mM":
        return (
            f"holds dates or times ({dtype}); give numbers, for instance (times - times[0]) / np.timedelta64(1, 's')."
        )
    if dtype.kind == "O":
        if given.ndim == 0:
            return f"is not a numeric array but {type(given.item()).__name__}; give NumPy or JAX arrays of numbers."
        kinds = ", ".join(sorted({type(entry).__name__ for entry in given.flat[:1000]}))
        return (
            f"is not a numeric array but one of Python objects ({kinds}); give .astype(float) of it if all entries are "
            "numbers, encode text as integers, and pad rows of different lengths."
        )
    if dtype.kind in "UST":
        if given.ndim == 0:
            kind = "bytes" if dtype.kind == "S" else "str"
            return f"is not a numeric array but {kind}; give NumPy or JAX arrays of numbers."
        return (
            f"is not a numeric array but one of text ({dtype}); encode it as integers, for instance with "
            "np.unique(text, return_inverse=True)[1]."
        )
    if not (jnp.issubdtype(dtype, np.number) or dtype.kind == "b"):
        return f"is not a numeric array: its dtype is {dtype}; give NumPy or JAX arrays of numbers."
    return None


def _in_double(given: np.ndarray, where: str) -> np.ndarray:
    double = given.astype(np.complex128 if given.dtype.kind == "c" else np.float64)
    if not np.array_equal(double.astype(given.dtype), given, equal_nan=True):
        raise LandscapeError(
            f"{where} is in extended precision ({given.dtype}), which JAX does not have, and its values are not "
            f"{double.dtype} numbers; round them yourself: .astype(np.{double.dtype})."
        )
    return double


def _same_values(given: np.ndarray, kept: np.ndarray) -> bool:
    """Whether a narrower dtype kept integers exactly, and turned no finite number into an infinity nor all into 0."""
    if given.dtype.kind in "iu":
        return bool(np.array_equal(given, kept))
    return bool(np.array_equal(np.isfinite(given), np.isfinite(kept))) and bool(kept.any()) >= bool(given.any())
