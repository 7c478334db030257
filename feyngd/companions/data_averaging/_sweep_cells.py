"""One cell of a temperature sweep: run, predicted, and kept as a JSON and an NPZ file."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..._files import write_json
from ..._store import Store, UnsoundError, beside, digest, read_json, read_npz
from ..._version import __version__
from ...errors import FeynGDError
from ...estimates import Estimate
from ...progress import Progress
from ._ensemble import ensemble
from ._plain import plain
from ._settled import Ensemble
from ._sweep_config import Cell
from ._sweep_model import SweepModel

QUANTITIES = ("train_loss", "test_loss", "gap")
_KEPT = (*QUANTITIES, "mean_gap")


@dataclass(frozen=True, eq=False)
class CellResult:
    """What a cell gave.

    Attributes:
        cell: which one.
        levels: by quantity, the level of every training set that has a run which did not diverge, shape (datasets,):
            the median of the last quarter; "mean_gap" is the mean gap there, in which conversions are exact.
        diverged: the number of runs that diverged.
        cross: the gap without test data.
        stationary: whether the fluctuation–dissipation test passed; `None` where it is not known to hold.
        predicted: the gap by re-summed runs from the minimum; `None` where that does not apply.
        truncation: of the same.
        reason: why there is no such prediction.
        seconds: what the cell took.
        gradients: of single examples.
    """

    cell: Cell
    levels: Mapping[str, np.ndarray]
    diverged: int
    cross: Estimate | None
    stationary: bool | None
    predicted: Estimate | None
    truncation: float
    reason: str
    seconds: float
    gradients: int

    def level(self, quantity: str) -> Estimate | None:
        """Return the mean level over training sets with its standard error; `None` if fewer than two are left."""
        values = self.levels[quantity]
        return Estimate.from_replicates(values, "ensemble") if len(values) > 1 else None


def run_cell(cell: Cell, model: SweepModel, store: Store, progress: Progress) -> tuple[CellResult, Ensemble]:
    """Run a cell and predict its gap."""
    began = time.perf_counter()
    is_random = cell.start == "random"
    start = model.start if is_random else model.minimum(store).params
    runs = ensemble(
        model.landscape,
        start,
        cell.spacetime,
        cell.learning_rate,
        datasets=cell.datasets,
        runs=cell.runs,
        drawing=cell.drawing,
        test_size=cell.test_size,
        weight_decay=cell.weight_decay,
        noise=cell.noise,
        momentum=cell.recipe.momentum,
        form=cell.recipe.form,
        schedule=cell.recipe.schedule,
        records=cell.records,
        progress=progress,
        key=_key(cell),
    )
    lost = int(runs.diverged.sum())
    predicted, truncation, reason = _predicted(cell, model, store, runs)
    is_known = runs.optimizer.is_plain and cell.sampling == "with-replacement" and not lost
    result = CellResult(
        cell=cell,
        levels={name: _levels(runs, name) for name in _KEPT},
        diverged=lost,
        cross=None if lost else runs.decompose().gap_cross,
        stationary=runs.stationarity().passed if is_known else None,
        predicted=predicted,
        truncation=truncation,
        reason=reason,
        seconds=time.perf_counter() - began,
        gradients=sum(cell.spacetime.batch_sizes()) * runs.diverged.size,
    )
    return result, runs


def _levels(runs: Ensemble, quantity: str) -> np.ndarray:
    how = ("gap", "mean") if quantity == "mean_gap" else (quantity, "median")
    values = runs.tails(how[0], statistic=how[1], tail=0.25, skip_diverged=True)
    return np.array([row[np.isfinite(row)].mean() for row in values if np.isfinite(row).any()])


def _predicted(cell: Cell, model: SweepModel, store: Store, runs: Ensemble) -> tuple[Estimate | None, float, str]:
    if cell.start != "minimum":
        return None, 0.0, "runs start at random, not at a minimum"
    try:
        found, truncation = model.from_minimum(store).gap(
            cell.spacetime, cell.learning_rate, runs.optimizer, cell.drawing
        )
    except FeynGDError as error:
        return None, 0.0, str(error)
    return found, truncation, ""


def _key(cell: Cell) -> jax.Array:
    """Return a key of the seed and of what decides the runs, so that other temperatures have other training sets."""
    key, content = jax.random.key(cell.seed), digest(cell.draws)
    for first in (0, 8):
        key = jax.random.fold_in(key, int(content[first : first + 8], 16))
    return key


# --- files ------------------------------------------------------------------------------------------------------------


def write_cell(path: Path, result: CellResult, runs: Ensemble) -> None:
    """Write the runs to an NPZ file, then the result to a JSON file, which says that all is there."""
    runs.save(beside(path, "npz"))
    record = {
        "cell": result.cell.to_dict(),
        "version": __version__,
        "temperature": result.cell.temperature,
        "effective_temperature": result.cell.effective_temperature,
        "levels": {name: plain(values) for name, values in result.levels.items()},
        "diverged": result.diverged,
        "cross": _packed(result.cross),
        "stationary": result.stationary,
        "predicted": _packed(result.predicted),
        "truncation": result.truncation,
        "reason": result.reason,
        "seconds": result.seconds,
        "gradients": result.gradients,
    }
    write_json(beside(path, "json"), record)


def read_cell(path: Path, cell: Cell) -> CellResult | None:
    """Read what was kept of a cell; `None` if it is not complete.

    Raises:
        UnsoundError: a file does not hold this cell, or not all of it.
    """
    file = beside(path, "json")
    record = read_json(file)
    if record is None:
        return None
    if record.get("cell") != cell.to_dict():
        raise UnsoundError(file, "holds another cell than its name says")
    if read_npz(beside(path, "npz")) is None:
        raise UnsoundError(file, "has lost the NPZ file next to it")
    try:
        return CellResult(
            cell=cell,
            levels={name: np.array(record["levels"][name], dtype=float) for name in _KEPT},
            diverged=int(record["diverged"]),
            cross=_unpacked(record["cross"]),
            stationary=record["stationary"],
            predicted=_unpacked(record["predicted"]),
            truncation=float(record["truncation"]),
            reason=str(record["reason"]),
            seconds=float(record["seconds"]),
            gradients=int(record["gradients"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnsoundError(file, "lacks numbers that it should hold") from error


def _packed(estimate: Estimate | None) -> list[Any] | None:
    return None if estimate is None else [estimate.value, estimate.stderr, estimate.num_samples, estimate.kind]


def _unpacked(parts: Any) -> Estimate | None:
    return None if parts is None else Estimate(*parts)
