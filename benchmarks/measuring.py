"""Times as ratios: everything is timed in turns within one run, in units of one gradient over the population."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import feyngd as fd
from feyngd.landscapes import Landscape

CHUNKS = (32, 64, 128, 256, 512)


def in_turns(functions: Mapping[str, Callable[[], Any]], rounds: int = 5) -> dict[str, float]:
    """Return the least seconds of every function, timed in turns after one call to compile."""
    for function in functions.values():
        function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(once(function))
    return {name: min(taken) for name, taken in times.items()}


def once(function: Callable[[], Any]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def gradient(landscape: Landscape, params: Any, chunk_size: int) -> Callable[[], Any]:
    """Return a compiled gradient of the summed loss, chunk by chunk: what a user would write by hand."""
    full = landscape.num_examples // chunk_size * chunk_size
    data = jax.tree.map(jnp.asarray, landscape.data)
    chunks = jax.tree.map(lambda leaf: leaf[:full].reshape(-1, chunk_size, *leaf.shape[1:]), data)
    rest = jax.tree.map(lambda leaf: leaf[full:], data)

    def total(params: Any, examples: Any) -> jax.Array:
        return jnp.sum(jax.vmap(partial(landscape.loss, params))(examples))

    @jax.jit
    def whole(params: Any, chunks: Any, rest: Any) -> Any:
        def add(sums: Any, chunk: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, sums, jax.grad(total)(params, chunk)), None

        none_left = full == landscape.num_examples
        first = jax.tree.map(jnp.zeros_like, params) if none_left else jax.grad(total)(params, rest)
        return jax.lax.scan(add, first, chunks)[0]

    return lambda: jax.block_until_ready(whole(params, chunks, rest))


def fastest_gradient(landscape: Landscape, params: Any) -> Callable[[], Any]:
    """Return the gradient with the fastest chunk size."""
    sizes = [size for size in CHUNKS if size <= landscape.num_examples]
    candidates = {size: gradient(landscape, params, size) for size in sizes}
    times = in_turns({str(size): run for size, run in candidates.items()})
    return candidates[min(sizes, key=lambda size: times[str(size)])]


def held_memory() -> float:
    """Return the most memory this process has held since the last `forget_memory`, in GiB; on Linux only."""
    # Not getrusage, which counts what the process that started this one held.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


def forget_memory() -> None:
    """Restart the measurement of the most memory that this process has held."""
    Path("/proc/self/clear_refs").write_text("5")


def machine() -> str:
    """Return the processor and the versions that matter."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{cores} cores ({platform.machine()}), Python {platform.python_version()}, JAX {jax.__version__}, "
        f"NumPy {np.__version__}, feyngd {fd.__version__}"
    )
