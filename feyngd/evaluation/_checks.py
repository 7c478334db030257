"""What a random key and a mesh may be, checked before JAX meets them."""

from typing import Any

import jax

from .._keys import check_key as check_key
from ..errors import ArgumentError


def check_mesh(mesh: Any) -> None:
    """Raise `ArgumentError` unless it is a mesh of devices, or `None`."""
    if mesh is not None and not isinstance(mesh, jax.sharding.Mesh):
        raise ArgumentError(f"A mesh is made as jax.make_mesh((8,), ('examples',)) for 8 devices; got {mesh!r}.")
