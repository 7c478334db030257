"""What it costs to enter by the door: the trace of the loss, its fingerprint and the checks that every call begins by.

Run as `python benchmarks/door.py`. Times are medians in milliseconds; the last column is the share of a whole warm call
of `fd.evaluate`, two pairings of all diagrams of order 3 or less at other parameters.
"""

import itertools
import statistics
import time
import warnings
from collections.abc import Callable

import jax

import feyngd as fd
from feyngd.derivatives._fingerprint import fingerprint
from feyngd.landscapes import DIGITS_MODELS, digits_landscape, enter, kinks_at
from feyngd.landscapes.checks import trace_loss

_REPEATS = 9


def median(function: Callable[[], object]) -> float:
    """Return the median time of a few calls, in milliseconds."""
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def measure(model: str) -> str:
    """Return the row of a model on the digits."""
    wanted = [diagram for order in range(4) for diagram in fd.diagrams(order)]
    options = {"replicates": 2, "estimator": "pairing", "check_dtype": False, "key": jax.random.key(0)}
    landscape, params = digits_landscape(model, key=jax.random.key(1))
    traced = trace_loss(landscape.loss, params, landscape.example_shapes)
    fd.evaluate(wanted, landscape, params, **options)
    frozen, _ = enter(landscape, params)
    scales = itertools.count(1)

    def elsewhere() -> object:
        scale = 1 + 1e-3 * next(scales)
        return fd.evaluate(wanted, landscape, jax.tree.map(lambda leaf: leaf * scale, params), **options)[
            wanted[1]
        ].value

    parts = {
        "trace": lambda: trace_loss(landscape.loss, params, landscape.example_shapes),
        "fingerprint": lambda: fingerprint(traced),
        "whole door": lambda: enter(landscape, params)[1],
        "kinks": lambda: kinks_at(frozen, params),
        "warm call": elsewhere,
    }
    found = {name: median(function) for name, function in parts.items()}
    row = ", ".join(f"{name} {milliseconds:.1f}" for name, milliseconds in found.items())
    return f"{model}: {row}; door of the call {found['whole door'] / found['warm call']:.1%}"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for name in DIGITS_MODELS:
        print(measure(name), flush=True)
