"""Measure the evaluation engine and write docs/benchmarks.md: `python benchmarks/evaluation.py [section ...]`.

Every section's results are kept in benchmarks/results.json as soon as it is finished. Parts of the page that need
others stay as they are.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import acceleration
import accuracy
import baselines
import constants
import pages
import targets
from measuring import machine
from tqdm import tqdm

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE.parent / "docs" / "benchmarks.md"

SECTIONS: dict[str, Callable[[], Any]] = {
    "vectors": lambda: {name: targets.single_vectors(name) for name in ("convnet", "wide convnet", "mlp")},
    "plans": lambda: {name: targets.plans(name) for name in ("convnet", "wide convnet", "mlp")},
    "compilation": lambda: {name: targets.compilation(name) for name in ("convnet", "wide convnet", "mlp")},
    "memory": lambda: [json.loads(targets.in_own_process(f"memory({count})")) for count in (6_000, 60_000)],
    "examples": lambda: [targets.sizes(count, 32) for count in (450, 1_800, 7_200, 28_800)],
    "parameters": lambda: [targets.sizes(1_797, width) for width in (8, 32, 128, 512)],
    "devices": lambda: [json.loads(targets.in_own_process(f"devices({n})", n)) for n in (1, 2, 4, 8)],
    "deflation": lambda: {name: targets.deflation(name) for name in ("mlp", "convnet")},
    "constants": constants.all_constants,
    "disjoint": lambda: {str(n): baselines.disjoint_batches("convnet", n) for n in (1, 4, 16, 64)},
    "simulations": lambda: {name: baselines.simulations(name, runs=500) for name in ("mlp", "convnet")},
    "orders": lambda: {name: accuracy.orders(name) for name in accuracy.RUNS},
    "acceleration": acceleration.all_problems,
    "batch sizes": lambda: {name: accuracy.batch_sizes(name) for name in accuracy.RUNS},
}


def main(chosen: list[str]) -> None:
    """Run sections, all by default, and write the page."""
    if unknown := set(chosen) - set(SECTIONS):
        raise SystemExit(f"Unknown sections: {', '.join(sorted(unknown))}. There are: {', '.join(SECTIONS)}.")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in tqdm(chosen or SECTIONS):
        start = time.perf_counter()
        found = SECTIONS[name]()
        results[name] = {"machine": machine(), "seconds": time.perf_counter() - start, "found": found}
        RESULTS.write_text(json.dumps(results, indent=1))
        PAGE.write_text(pages.page(results, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
