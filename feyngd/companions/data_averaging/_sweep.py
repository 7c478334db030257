"""Temperature sweeps: ensembles at many learning rates and batch sizes, kept one by one, and what they say together."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._files import check_writable, replace_file, write_json
from ..._store import Store, UnsoundError, beside, read_json, writing
from ..._version import __version__
from ...drawing import drawn, require_matplotlib
from ...errors import ArgumentError
from ...progress import Progress, check_progress
from ._ensemble import check_drawing
from ._plain import plain
from ._sweep_analysis import SweepGroup, SweepVerdict, across, analysed
from ._sweep_cells import CellResult, read_cell, run_cell, write_cell
from ._sweep_config import Cell, Config, read_config
from ._sweep_model import SweepModel

_RECORD = "sweep.json"  # what the folder holds


@dataclass(frozen=True)
class SweepCell:
    """What happened to a cell.

    Attributes:
        name: the cell's name, and that of its files.
        state: "done" by this call; "skipped", as it was complete; "elsewhere", as another process is running it.
        file: the JSON file; `None` elsewhere.
        words: what it is.
    """

    name: str
    state: str
    file: Path | None
    words: str

    def __str__(self) -> str:
        return f"{self.state:<9}  {self.words}"


@dataclass(frozen=True, eq=False)
class TemperatureSweep:
    """A temperature sweep; prints as a table with verdicts.

    Attributes:
        cells: what happened to every cell.
        groups: for every optimizer and drawing: levels against the temperature, fit, optimum, collapse, verdicts.
            Empty while cells are elsewhere.
        verdicts: on several groups together.
        seconds: that all cells took, in whichever call.
        gradients: of single examples, likewise.
        left_alone: the files that do not hold what their names say, with reasons.
    """

    cells: tuple[SweepCell, ...]
    groups: tuple[SweepGroup, ...]
    verdicts: tuple[SweepVerdict, ...]
    seconds: float
    gradients: int
    left_alone: Mapping[Path, str]

    @property
    def all_verdicts(self) -> tuple[SweepVerdict, ...]:
        """The verdicts of all groups, and those on several."""
        return tuple(verdict for group in self.groups for verdict in group.verdicts) + self.verdicts

    @property
    def passed(self) -> bool:
        """Whether real runs contradict no prediction; fits, optima and collapse are descriptions."""
        return all(verdict.holds is not False for verdict in self.all_verdicts if verdict.is_prediction)

    def count(self, state: str) -> int:
        """Return how many cells are "done", "skipped" or "elsewhere"."""
        return sum(cell.state == state for cell in self.cells)

    def __str__(self) -> str:
        lines = []
        for group in self.groups:
            lines += [f"{group.optimizer}, {group.drawing}", *_table(group)]
            if group.law is not None:
                lines.append(f"  {group.law}")
            if group.optimum is not None:
                lines.append(f"  {group.optimum}")
            lines += [f"  {verdict}" for verdict in group.verdicts]
        lines += map(str, self.verdicts)
        counts = ", ".join(f"{self.count(state)} {state}" for state in ("done", "skipped", "elsewhere"))
        cost = f"{self.seconds:.3g} s, {self.gradients:.3g} gradients of examples"
        lines.append(f"{len(self.cells)} cells: {counts}; {cost}")
        if not self.groups:
            lines.append("cells are being run elsewhere: call again when they are done")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the states of cells as plain values for JSON."""
        return {
            "groups": plain(self.groups),
            "verdicts": plain(self.verdicts),
            "passed": self.passed,
            "seconds": self.seconds,
            "gradients": self.gradients,
        }

    def plot(self) -> Any:
        """Draw gaps and losses against the temperature with fit and predictions, a column for every optimizer.

        Returns:
            The figure.

        Raises:
            FeynGDError: matplotlib is missing.
        """
        from ._sweep_plot import figure_of

        return figure_of(self.groups)


def _table(group: SweepGroup) -> list[str]:
    names = "".join(f"{name:<24}" for name in ("train loss", "test loss", "gap", "gap, no test data")).rstrip()
    rows = [f"  {'T':<10} {'λ':<10} {'B':<7} {names}"]
    for point in group.points:
        levels = [
            "diverged" if level is None else level.figure for level in (point.train, point.test, point.gap, point.cross)
        ]
        cells = "".join(f"{level:<24}" for level in levels).rstrip()
        rows.append(f"  {point.temperature:<10.4g} {point.learning_rate:<10.4g} {point.B:<7} {cells}")
    return rows


def temperature_sweep(
    config: str | os.PathLike[str] | Mapping[str, Any],
    out: str | os.PathLike[str],
    *,
    landscape: Any = None,
    start: Any = None,
    progress: Progress | bool | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> TemperatureSweep:
    """Run ensembles at many temperatures λ/B, keep each as it is finished, and set theory beside them.

    Every cell is an `ensemble` with a JSON file of levels and an NPZ file that `Ensemble.load` reads. What is complete
    is skipped, so that a sweep that was stopped goes on where it was, and several processes may share a folder. At the
    end there are `results.json`, `results.txt` and `results.png`: for every optimizer and drawing the fit of law (1),
    the predictions tr(C H⁻¹)/n and, for runs that start at the minimum, those of `near_minimum`; the temperature of the
    lowest test loss; whether λ/B alone matters. Levels are medians over the last quarter of a run, as in the paper.

    Cells have training sets of their own, so that fits and tests may take them as independent; those that differ in
    the drawing alone have the same runs. The numbers of a cell depend on it alone.

    Args:
        config: the path of a TOML file, or a mapping. It needs `model` ("logistic", "mlp" or "convnet" on digits, or
            "mean-estimation"), `N`, the lists `B` and `learning_rates`, `datasets`, the number of training sets, and
            `steps` or `epochs`: a number, or a rule {reference = [T, number], rule = "printed" or "equal-time", cap =
            4}. It may have the lists `optimizers`, tables of `momentum`, `form` and `schedule` ("constant" or
            "cosine"), `drawings` ("iid", "split", "overlap") and `seeds`; and `weight_decay`, `noise`, `runs` on each
            training set, `sampling` ("reshuffled" or "with-replacement"), `start` ("random" or "minimum", that of the
            pool's loss), `test_size`, `records` and `limit`, of the digits used; and `long_run = false` to leave out
            tr(C H⁻¹)/n, for which the minimum of the pool's loss is searched.
        out: the folder to write to; made if it is not there.
        landscape: the loss and the pool of a model of your own; `model` is then a name.
        start: its parameters, or `init(key)`.
        progress: shows progress, such as `fd.Tqdm()`, or `True` for that; silent by default.
        report: called with a line for each cell as it is finished, and for each file that was left alone.

    Returns:
        A `TemperatureSweep`.

    Raises:
        ArgumentError: the configuration is invalid, `out` cannot be written to, or it holds a sweep with other entries;
            before anything is run.
        FeynGDError: the system has no file locks, the disk is full, or matplotlib is missing.

    References:
        "Studying Generalization Through Data Averaging", section 3.1, figures 1–6 and 9–12, appendix B.
    """
    bars = check_progress(progress)
    settings = read_config(config, own_model=landscape is not None)
    model = SweepModel(settings, landscape, start)
    cells = settings.cells(model.digest)
    for drawing in settings.drawings:
        check_drawing(model.landscape, settings.N, drawing, settings.test_size)
    require_matplotlib()
    store = Store(check_writable(out), report)
    _check_folder(store, settings, model)
    states: dict[Cell, tuple[SweepCell, CellResult | None]] = {}
    with bars.task(len(cells), "cells") as task:
        # Twice: in the second pass what was elsewhere may be complete, or free as the other process was killed.
        for _ in range(2):
            for cell in cells:
                if cell not in states or states[cell][1] is None:
                    states[cell] = _run(cell, model, store, bars, report)
                    if states[cell][1] is not None:
                        task.advance()
    results = [result for _, result in states.values() if result is not None]
    groups: list[SweepGroup] = []
    verdicts: list[SweepVerdict] = []
    if len(results) == len(cells):
        groups = analysed(results, model.minimum(store) if settings.long_run else None, model.landscape.num_examples)
        verdicts = across(groups, settings.N, model.landscape.num_examples)
    sweep = TemperatureSweep(
        tuple(states[cell][0] for cell in cells),
        tuple(groups),
        tuple(verdicts),
        sum(result.seconds for result in results),
        sum(result.gradients for result in results),
        store.left_alone,
    )
    if groups:
        _write(store, settings, sweep)
    return sweep


def _run(
    cell: Cell, model: SweepModel, store: Store, progress: Progress, report: Callable[[str], None]
) -> tuple[SweepCell, CellResult | None]:
    name = cell.name

    def kept() -> tuple[CellResult | None, Path]:
        return store.find(name, lambda path: read_cell(path, cell))

    found, path = kept()
    if found is None:
        with store.lock(name) as held:
            if not held:
                return SweepCell(name, "elsewhere", None, cell.words), None
            found, path = kept()  # again: another process may just have finished it
            if found is None:
                store.clean(name)
                found, runs = run_cell(cell, model, store, progress)
                with writing(store.folder):
                    write_cell(path, found, runs)
                done = SweepCell(name, "done", beside(path, "json"), cell.words)
                gap = found.level("gap")
                report(f"{done}, gap {'diverged' if gap is None else gap.figure}, {found.seconds:.1f} s")
                return done, found
    return SweepCell(name, "skipped", beside(path, "json"), cell.words), found


def _check_folder(store: Store, config: Config, model: SweepModel) -> None:
    """Note in the folder what it holds, or raise `ArgumentError` if that is another sweep."""
    content = {**config.entries, "landscape": model.digest}
    path = store.folder / _RECORD
    with store.lock("sweep", wait=True):
        try:
            found = read_json(path)
        except UnsoundError as error:
            raise ArgumentError(f"{error}: give another folder.") from None
        if found is None:
            with writing(store.folder):
                write_json(path, content)
            return
    changed = [key for key in content if found.get(key) != content[key]]
    if changed:
        key = changed[0]
        shown = "another landscape" if key == "landscape" else f"{key} = {found.get(key)!r}"
        ours = "" if key == "landscape" else f"; this one has {content[key]!r}"
        others = f" Other entries that differ: {', '.join(changed[1:])}." if changed[1:] else ""
        raise ArgumentError(
            f"{str(store.folder)!r} holds a temperature sweep with {shown}{ours}.{others} Give another folder, or the "
            "entries of that sweep; what is finished there stays."
        )


def _write(store: Store, config: Config, sweep: TemperatureSweep) -> None:
    record = {"config": dict(config.entries), "version": __version__, **sweep.to_dict()}
    with writing(store.folder):
        write_json(store.folder / "results.json", record)
        replace_file(store.folder / "results.txt", f"{sweep}\n".encode())
        replace_file(store.folder / "results.png", drawn(sweep.plot(), "png"))
