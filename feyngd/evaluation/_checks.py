"""What a random key and a landscape may be, checked before JAX meets them."""

import warnings
from typing import Any

import jax

from .._keys import check_key as check_key
from ..errors import ArgumentError
from ..landscapes import Landscape, SmoothnessWarning, kinks


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
