"""A study: predictions and simulations of one network on several spacetimes, kept on disk as they are finished."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from numpy.typing import ArrayLike

from .._arguments import check_integer
from .._files import check_writable, replace_file, write_json
from .._keys import check_key
from .._learning_rates import check_learning_rates
from .._mesh import check_mesh, is_writer
from ..drawing import drawn, new_figure, require_matplotlib
from ..estimates import TruncationWarning
from ..evaluation import Effort, Values
from ..landscapes import Landscape, check_landscape, check_reading, check_updates_kept, enter, in_metric
from ..optimizers import PLAIN, Optimizer, check_optimizer
from ..prediction import Comparison, Prediction, Question, compare, predict, series_by_root, values_for
from ..progress import Progress
from ..simulation import simulate
from ..spacetimes import Spacetime


def study(
    landscape: Landscape,
    params: Any,
    spacetimes: Sequence[Spacetime] | Spacetime,
    learning_rates: ArrayLike,
    out: str | os.PathLike[str],
    *,
    order: int = 3,
    quantity: str = "test_loss",
    optimizer: Optimizer = PLAIN,
    runs: int = 2000,
    replicates: int | None = None,
    check_dtype: bool | None = None,
    mesh: jax.sharding.Mesh | None = None,
    report: Callable[[str], None] = lambda text: None,
    progress: Progress | None = None,
    about: dict[str, Any] | None = None,
    key: jax.Array,
) -> list[Comparison]:
    """Predict and simulate SGD on several spacetimes and write `prediction.json` and `prediction.png` to a folder.

    Diagram values are computed once for all spacetimes. The files are replaced in one move after every simulation, so
    that an interrupted study leaves complete files with all finished work. Of several processes that share a mesh, the
    first one writes and reports.

    Args:
        landscape: the loss and its population.
        params: the starting point, a pytree of floating-point arrays.
        spacetimes: concrete spacetimes, or one; one panel each.
        learning_rates: positive and finite.
        out: the folder to write to; made if it is not there.
        order: the highest power of η.
        quantity: "test_loss", "train_loss" or "gap".
        optimizer: of all spacetimes; one with a list of multipliers takes spacetimes of as many steps.
        runs: the number of simulated runs at every learning rate.
        replicates: the number of random pairings behind every sampled value; by default as many as the predictions
            need, see `predict`.
        check_dtype: whether to measure what rounding does; see `predict`.
        mesh: devices to share examples and runs among.
        report: called with the table of each finished comparison.
        progress: shows progress; silent by default.
        about: anything to note in the JSON file, such as the name of the model.
        key: a JAX random key.

    Returns:
        One comparison for each spacetime.

    Raises:
        ArgumentError: `out` cannot be written to, or the optimizer does not fit a spacetime; this comes before
            anything is computed.
        FeynGDError: matplotlib is missing, likewise; or what `predict` and `simulate` raise.
    """
    check_mesh(mesh)
    writes = is_writer(mesh)
    folder = check_writable(out) if writes else Path(out)
    require_matplotlib()
    rates = check_learning_rates(learning_rates)
    check_integer("runs", runs, least=2)
    effort = Effort.checked(2 if replicates is None else replicates, None, None)
    check_key(key, "Training sets, batches and pairings are drawn at random")
    spacetimes = [spacetimes] if isinstance(spacetimes, Spacetime) else list(spacetimes)
    for spacetime in spacetimes:
        spacetime.require_concrete("SGD is predicted and simulated")
    check_optimizer(optimizer)
    optimizers = [optimizer.over_steps(int(spacetime.T)).in_floats() for spacetime in spacetimes]
    check_landscape(landscape)
    for spacetime in spacetimes:
        check_reading(landscape, spacetime)
    landscape, params = enter(landscape, params)
    check_updates_kept(params, "A prediction")
    series = [
        series_by_root(quantity, landscape, spacetime, order, one)
        for spacetime, one in zip(spacetimes, optimizers, strict=True)
    ]
    for_values, *for_panels = jax.random.split(key, 1 + len(spacetimes))
    panels: list[dict[str, Any]] = []
    record = {"about": about or {}, "quantity": quantity, "order": order, "complete": False, "panels": panels}
    place = (landscape, params) if optimizer.metric is None else in_metric(landscape, params, optimizer.metric.tree)
    values = values_for(
        [Question(parts, rates) for parts in series],
        *place,
        effort,
        fixed=replicates is not None,
        check_dtype=check_dtype,
        mesh=mesh,
        progress=progress,
        key=for_values,
    )
    check_dtype = False if any(found.not_measured for found in values.values()) else check_dtype  # said once
    record["values"] = {root: _values_record(found) for root, found in values.items()}
    given = rates, order, quantity, values, check_dtype
    predictions = predictions_of(landscape, params, list(zip(spacetimes, optimizers, strict=True)), *given)
    panels.extend({"prediction": prediction.to_dict(), "simulation": None} for prediction in predictions)
    if writes:
        write_json(folder / "prediction.json", record)
    done: list[Comparison] = []
    for panel, (prediction, spacetime) in enumerate(zip(predictions, spacetimes, strict=True)):
        simulation = simulate(
            landscape,
            params,
            spacetime,
            rates,
            optimizer=optimizer,
            runs=runs,
            quantity=quantity,
            mesh=mesh,
            progress=progress,
            key=for_panels[panel],
        )
        done.append(compare(prediction, simulation))
        if not writes:
            continue
        panels[panel] = done[-1].to_dict()
        record["complete"] = len(done) == len(spacetimes)
        write_json(folder / "prediction.json", record)
        _write_figure(folder / "prediction.png", done)
        report(str(done[-1]))
    return done


def predictions_of(
    landscape: Landscape,
    params: Any,
    runs: Sequence[tuple[Spacetime, Optimizer]],
    rates: ArrayLike,
    order: int,
    quantity: str,
    values: Mapping[str, Values],
    check_dtype: bool | None = None,
) -> list[Prediction]:
    """Predict several runs from the same values, without warnings of truncation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # table, file and figure show it
        return [
            predict(
                landscape,
                params,
                spacetime,
                rates,
                order=order,
                quantity=quantity,
                optimizer=optimizer,
                values=values,
                check_dtype=check_dtype,
            )
            for spacetime, optimizer in runs
        ]


def _values_record(values: Values) -> dict[str, Any]:
    return {str(D): {"value": values[D].value, "stderr": values[D].stderr, "kind": values[D].kind} for D in values}


def _write_figure(path: Path, comparisons: Sequence[Comparison]) -> None:
    figure, (axes,) = new_figure(len(comparisons), width=5.6, height=4.3)
    for ax, comparison in zip(axes, comparisons, strict=True):
        comparison.plot(ax)
    replace_file(path, drawn(figure, "png"))
