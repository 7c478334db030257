"""What the constants of the engine and of the estimators do: one is changed at a time, the others stay."""

from typing import Any
from unittest import mock

import jax
import numpy as np
from measuring import in_turns
from problems import problem, trained
from targets import up_to, work

import feyngd as fd
from feyngd.evaluation.estimators import _deflation, _strata

REPLICATES = 12


def rows_together(name: str, sizes: tuple[int, ...] = (10, 20, 40, 80, 160, 320, 640)) -> dict[str, dict[str, float]]:
    """Return the time of all values of order ≤ 3 by the number of rows in a chunk, in that of the number chosen."""
    one = problem(name)
    chosen = dict(zip(("exact", "pairing"), work(one, up_to(3)), strict=True))
    timed = {f"{part}, chosen": run for part, run in chosen.items()}
    for size in sizes:
        exact, paired = work(one, up_to(3), chunk_size=size)
        timed |= {f"exact, {size}": exact, f"pairing, {size}": paired}
    times = in_turns(timed)
    return {part: {str(size): times[f"{part}, {size}"] / times[f"{part}, chosen"] for size in sizes} for part in chosen}


def _errors(name: str, estimator: str) -> dict[str, float]:
    landscape, params = trained(name)
    values = fd.evaluate(
        up_to(3),
        landscape,
        params,
        estimator=estimator,
        replicates=REPLICATES,
        check_dtype=False,
        key=jax.random.key(0),
    )
    return {str(d): values[d].stderr for d in values if values[d].kind == estimator}


def _typical(errors: dict[str, float], others: dict[str, float]) -> float:
    """Return the geometric mean of the ratio of errors to those of other estimators."""
    return float(np.exp(np.mean([np.log(error / others[name]) for name, error in errors.items()])))


def ranks(name: str, sizes: tuple[int, ...] = (4, 8, 16, 32)) -> dict[str, float]:
    """Return the standard errors of deflation by its rank at a trained point, in those of pairing."""
    pairing, found = _errors(name, "pairing"), {}
    for rank in sizes:
        with mock.patch.object(_deflation, "_RANK", rank):
            found[str(rank)] = _typical(_errors(name, "deflation"), pairing)
    return found


def iterations(name: str, counts: tuple[int, ...] = (1, 2, 3, 5)) -> dict[str, float]:
    """Return the standard errors of deflation by its number of subspace iterations, in those of pairing."""
    pairing, found = _errors(name, "pairing"), {}
    for count in counts:
        with mock.patch.object(_deflation, "_ITERATIONS", count):
            found[str(count)] = _typical(_errors(name, "deflation"), pairing)
    return found


def heavy_examples(name: str, counts: tuple[int, ...] = (16, 32, 64, 128)) -> dict[str, float]:
    """Return the standard errors of strata by the number of examples taken one by one, in those of pairing."""
    pairing, found = _errors(name, "pairing"), {}
    for count in counts:
        with mock.patch.object(_strata, "_MOST", count):
            found[str(count)] = _typical(_errors(name, "strata"), pairing)
    return found


def all_constants() -> dict[str, Any]:
    """Measure them all."""
    return {
        "rows together": {name: rows_together(name) for name in ("convnet", "wide convnet", "mlp")},
        "rank": {name: ranks(name) for name in ("mlp", "convnet")},
        "iterations": {name: iterations(name) for name in ("mlp", "convnet")},
        "heavy examples": {name: heavy_examples(name) for name in ("mlp", "convnet")},
    }
