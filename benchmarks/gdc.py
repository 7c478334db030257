"""GDC: what its gradient costs, and whether descent by it ends where SGD does.

`python benchmarks/gdc.py [section ...]` prints Markdown tables and keeps nothing.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from measuring import fastest_gradient, forget_memory, held_memory, in_turns, machine
from problems import Problem, images, num_params, problem
from writing import table

from feyngd.training import gdc_gradient

CHUNKS = (8, 32, 128)


def gradient(one: Problem, **options: Any) -> Callable[[], Any]:
    """Return a compiled gradient of GDC's loss over all data."""
    landscape, params = one
    whole = jax.jit(lambda params, data: gdc_gradient(landscape.loss, params, data, learning_rate=0.1, **options))
    return lambda: jax.block_until_ready(whole(params, landscape.data))


def times(name: str, one: Problem) -> list[Any]:
    """Return the time of GDC's gradient by chunk size, in units of the fastest plain gradient."""
    found = in_turns({"g": fastest_gradient(*one), **{str(c): gradient(one, chunk_size=c) for c in CHUNKS}}, 9)
    return [name, num_params(one[1]), *(found[str(c)] / found["g"] for c in CHUNKS), 1000 * found["g"]]


def memory(count: int, kind: str) -> float:
    """Return by how much a gradient over noisy images, plain or GDC's in the same chunks, raises the memory, in MiB.

    Batches of the whole data are emulated by the plain gradient.
    """
    run = gradient(images(count), emulate_batch_size=count if kind == "plain" else 1)
    forget_memory()
    before = held_memory()
    run()
    return 1024 * (held_memory() - before)


def in_own_process(call: str) -> Any:
    """Return what a call gives in a fresh process, so that no memory is left over from others."""
    code = f"import json, gdc; print(json.dumps(gdc.{call}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    return json.loads(done.stdout)


def cost() -> None:
    """Print the time of GDC's gradient, and its memory."""
    problems = {name: problem(name) for name in ("convnet", "mlp", "logistic")} | {"mlp 784-256-10": images(1_024)}
    header = ["network", "parameters", *(f"chunks of {c}, g" for c in CHUNKS), "g in ms"]
    print(table(header, [times(name, one) for name, one in problems.items()]), flush=True)
    kinds = ("plain", "GDC")
    rows = [[count, *(in_own_process(f"memory({count}, {kind!r})") for kind in kinds)] for count in (1_000, 10_000)]
    print(table(["examples, mlp 784-256-10", "plain gradient, MiB", "GDC, MiB"], rows), flush=True)


def ends(one: Problem, N: int, b: int, epochs: int, rates: Sequence[float], sets: int, pairs: int = 2) -> np.ndarray:
    """Return test losses after GD, SGD on batches of b, and GDC that emulates them, shape (rates, sets, 3).

    All three run on the same training sets of N distinct examples, for the same number of steps, and are tested on all
    other examples. SGD is averaged over pairs of runs, one in the reverse order of the other: every run is as likely,
    and to order η² what an order does by chance is undone by its reverse.
    """
    landscape, start = one
    rng = np.random.default_rng(0)
    chosen = np.stack([rng.permutation(landscape.num_examples) for _ in range(sets)])
    drawn = rng.permuted(np.broadcast_to(np.arange(N), (sets, pairs, epochs, N)), axis=-1)
    drawn = drawn.reshape(sets, pairs, epochs * N // b, b)
    orders = np.concatenate([drawn, drawn[:, :, ::-1]], axis=1)

    def mean_loss(params: Any, batch: Any) -> jax.Array:
        return jnp.mean(jax.vmap(partial(landscape.loss, params))(batch))

    def one_set(data: Any, rate: jax.Array, drawn: tuple[jax.Array, jax.Array]) -> jax.Array:
        training, others = (
            jax.tree.map(lambda leaf, part=part: leaf[part], data) for part in (drawn[0][:N], drawn[0][N:])
        )

        def after(slope: Callable[[Any, Any], Any], batches: jax.Array) -> jax.Array:
            def step(params: Any, batch: jax.Array) -> tuple[Any, None]:
                gradient = slope(params, jax.tree.map(lambda leaf: leaf[batch], training))
                return jax.tree.map(lambda p, g: p - rate * g, params, gradient), None

            return mean_loss(jax.lax.scan(step, start, batches)[0], others)

        def penalised(params: Any, batch: Any) -> Any:
            return gdc_gradient(landscape.loss, params, batch, learning_rate=rate, emulate_batch_size=b)

        plain, whole = jax.grad(mean_loss), jnp.broadcast_to(jnp.arange(N), (epochs * N // b, N))
        by_sgd = jnp.mean(jax.lax.map(partial(after, plain), drawn[1]))
        return jnp.stack([after(plain, whole), by_sgd, after(penalised, whole)])

    every = jax.jit(lambda data, rate: jax.lax.map(partial(one_set, data, rate), (chosen, orders)))
    return np.stack([np.asarray(every(landscape.data, rate), dtype=float) for rate in rates])


def ratio(top: np.ndarray, bottom: np.ndarray) -> str:
    """Return the ratio of two means over training sets with a 95 % interval by the bootstrap, if the lower is not 0."""
    if abs(bottom.mean()) < 4 * stderr(bottom):
        return "SGD − GD is near 0"
    picks = np.random.default_rng(1).integers(len(top), size=(4000, len(top)))
    low, high = np.quantile(top[picks].mean(axis=1) / bottom[picks].mean(axis=1), (0.025, 0.975))
    return f"{top.mean() / bottom.mean():.2f} [{low:.2f}, {high:.2f}]"


def stderr(differences: np.ndarray) -> float:
    """Return the standard error of the mean over training sets."""
    return float(differences.std(ddof=1) / len(differences) ** 0.5)


def emulation(N: int, b: int, epochs: int, sets: int, rates: Sequence[float]) -> None:
    """Print how far SGD's test loss is from those of GD and GDC."""
    start = time.perf_counter()
    found = ends(problem("convnet"), N, b, epochs, rates, sets)

    def shown(differences: np.ndarray) -> str:
        return f"{differences.mean():.3g} ± {stderr(differences):.1g}"

    rows = []
    for rate, (gd, sgd, gdc) in zip(rates, np.moveaxis(found, -1, 1), strict=True):
        rows.append([rate, shown(sgd), shown(sgd - gd), shown(sgd - gdc), ratio(sgd - gdc, sgd - gd)])
    print(f"convnet, N = {N}, b = {b}, {epochs} epochs, {sets} training sets, {time.perf_counter() - start:.0f} s")
    print(table(["η", "SGD's test loss", "SGD − GD", "SGD − GDC", "their ratio, 95 %"], rows), flush=True)


SECTIONS: dict[str, Callable[[], None]] = {
    "cost": cost,
    "one epoch": partial(emulation, 20, 1, 1, 30, (0.001, 0.003, 0.03, 0.1)),
    "many epochs": partial(emulation, 20, 1, 20, 10, (0.001,)),
    "batches": partial(emulation, 40, 4, 1, 20, (0.1, 0.3)),
    "batches in many epochs": partial(emulation, 40, 4, 10, 10, (0.03, 0.1)),
}


if __name__ == "__main__":
    if unknown := set(sys.argv[1:]) - set(SECTIONS):
        raise SystemExit(f"Unknown sections: {', '.join(sorted(unknown))}. There are: {', '.join(SECTIONS)}.")
    print(machine())
    for name in sys.argv[1:] or SECTIONS:
        SECTIONS[name]()
