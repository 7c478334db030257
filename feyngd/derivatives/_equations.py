"""Single equations of a trace: what they hold, and running one again on other inputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import numpy as jnp
from jax.extend import core


def bind(eqn: core.JaxprEqn, inputs: Sequence[Any], params: dict[str, Any] | None = None) -> list[Any]:
    """Return the outputs of an equation for some inputs, with its own parameters or with others."""
    bound = eqn.primitive.get_bind_params(eqn.params if params is None else params)
    functions, options = bound if isinstance(bound, tuple) else ((), bound)  # a tuple before JAX 0.9
    result = eqn.primitive.bind(*functions, *inputs, **options)
    return list(result) if eqn.primitive.multiple_results else [result]


def dtype_of(atom: Any) -> Any:
    """Return the dtype of a variable or literal; `None` where it has none, as tokens have."""
    return getattr(atom.aval, "dtype", None)


def double_dtype(dtype: Any) -> Any:
    """Return the dtype of 64 bits for each real part, of floating-point and complex numbers; others stay."""
    if dtype is None or not jnp.issubdtype(dtype, jnp.inexact):
        return dtype
    return np.dtype(np.complex128 if jnp.issubdtype(dtype, jnp.complexfloating) else np.float64)
