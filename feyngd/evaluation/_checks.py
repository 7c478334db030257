"""What a random key and a landscape may be, checked before JAX meets them."""

import reprlib
import warnings
from typing import Any

import jax

from ..errors import ArgumentError
from ..landscapes import Landscape, SmoothnessWarning, kinks


def check_key(key: Any, why: str) -> None:
    """Raise `ArgumentError` unless `key` is one JAX random key, typed or raw; `why` begins the message."""
    try:
        jax.random.split(key)
    except Exception as error:  # JAX has one of its own for every way to be no key
        raise ArgumentError(f"{why}: give {_how_to_give(key)}, not {reprlib.repr(key)}.") from error


def _how_to_give(key: Any) -> str:
    shape = getattr(key, "shape", ())
    if hasattr(key, "__index__") and shape == () and not isinstance(key, bool):
        return f"key=jax.random.key({key})"  # a seed
    dtype = str(getattr(key, "dtype", ""))
    axes = 1 if dtype.startswith("key") else 2
    if dtype.startswith(("key", "uint32")) and len(shape) >= axes:
        return f"one key, such as key[{', '.join('0' * (len(shape) - axes + 1))}]"
    return "key=jax.random.key(seed)"


def check_mesh(mesh: Any) -> None:
    """Raise `ArgumentError` unless it is a mesh of devices, or `None`."""
    if mesh is not None and not isinstance(mesh, jax.sharding.Mesh):
        raise ArgumentError(f"A mesh is made as jax.make_mesh((8,), ('examples',)) for 8 devices; got {mesh!r}.")


def warn_of_kinks(landscape: Landscape, params: Any) -> None:
    """Warn with `SmoothnessWarning` if the loss uses operations that are not smooth in the parameters."""
    if found := kinks(landscape.loss, params, landscape.example(0)):
        warnings.warn(
            f"The loss is not smooth in its parameters: it uses {', '.join(found)}. Values are computed as if kinks "
            "were not there, and a series misses what they do. Use tanh, gelu, softplus or average pooling.",
            SmoothnessWarning,
            stacklevel=3,
        )
