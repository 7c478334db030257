"""The check of random keys that several packages share."""

import reprlib
from typing import Any

import jax

from .errors import ArgumentError


def check_key(key: Any, why: str) -> None:
    """Raise `ArgumentError` unless `key` is one JAX random key, typed or raw; `why` begins the message."""
    try:
        jax.eval_shape(jax.random.split, key)  # which compiles nothing
        is_gone = isinstance(key, jax.Array) and not isinstance(key, jax.core.Tracer) and key.is_deleted()
    except Exception as error:  # JAX has one of its own for every way to be no key
        raise ArgumentError(f"{why}: give {_how_to_give(key)}, not {reprlib.repr(key)}.") from error
    if is_gone:
        raise ArgumentError(f"{why}: give {_how_to_give(key)}, not one that was donated or deleted.")


def _how_to_give(key: Any) -> str:
    shape = getattr(key, "shape", ())
    if hasattr(key, "__index__") and shape == () and not isinstance(key, bool):
        return f"key=jax.random.key({key})"  # a seed
    dtype = str(getattr(key, "dtype", ""))
    axes = 1 if dtype.startswith("key") else 2
    if dtype.startswith(("key", "uint32")) and len(shape) >= axes:
        return f"one key, such as key[{', '.join('0' * (len(shape) - axes + 1))}]"
    return "key=jax.random.key(seed)"
