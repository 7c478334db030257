"""How XLA compiles a pass: fast, where the pass runs as fast (docs/benchmarks.md)."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax

# Large programs of small kernels, on a CPU: LLVM's later passes and XLA's newer emitters of fused loops take up to half
# of the time to compile, and the programs run no slower without them. A draft runs over few rows.
_OPTIONS: dict[str, Any] = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}
_DRAFT: dict[str, Any] = {**_OPTIONS, "xla_backend_optimization_level": 0}


def compiled(function: Callable[..., Any], *, draft: bool = False) -> Callable[..., Any]:
    """Return a function that XLA compiles fast rather than with every optimisation, a draft with none at all."""
    options = _DRAFT if draft else _OPTIONS
    return jax.jit(function, compiler_options={k: value for k, value in options.items() if _is_known(k, value)})


@cache
def _is_known(name: str, value: Any) -> bool:
    """Whether this XLA has an option: they come and go with its versions."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda: 0, compiler_options={name: value})()
    except jax.errors.JaxRuntimeError:
        return False
    return True
