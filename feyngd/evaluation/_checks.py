"""What a random key and a landscape may be, checked before JAX meets them."""

from typing import Any

import jax

from ..errors import ArgumentError
from ..landscapes import Landscape


def check_key(key: Any, why: str) -> None:
    """Raise `ArgumentError` unless `key` is one JAX random key; `why` begins the message."""
    try:
        jax.random.split(key)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{why}: give key=jax.random.key(seed), not {key!r}.") from error


def check_landscape(landscape: Any) -> None:
    """Raise `ArgumentError` unless it is a `Landscape`."""
    if not isinstance(landscape, Landscape):
        raise ArgumentError(f"A Landscape is made as fd.Landscape(loss, data); got {type(landscape).__name__}.")
