"""The files of a sweep: a pair for each configuration, and the values of diagrams that many configurations share."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._files import write_json
from .._store import UnsoundError, beside, read_json, read_npz, write_npz
from .._version import __version__
from ..diagrams import Diagram
from ..evaluation import Values
from ..prediction import Comparison, Prediction
from ..simulation import Simulation
from ._sweep_config import Configuration


def write_result(
    path: Path, configuration: Configuration, prediction: Prediction, comparison: Comparison | None
) -> None:
    """Write the arrays of a result to an NPZ file and its record to a JSON file; `path` is without extension."""
    arrays = {
        "configuration": np.array(json.dumps(configuration.to_dict())),
        "learning_rates": prediction.learning_rates,
        "coefficients": prediction.coefficients,
    }
    if prediction.rounding is not None:
        arrays["rounding"] = prediction.rounding
    record: dict[str, Any] = {
        "configuration": configuration.to_dict(),
        "version": __version__,
        "prediction": prediction.to_dict(),
        "simulation": None,
        "comparison": None,
    }
    if comparison is not None:
        assert isinstance(comparison.simulation, Simulation)
        arrays["samples"] = comparison.simulation.samples
        verdict = comparison.to_dict()
        record["simulation"] = verdict.pop("simulation")
        del verdict["prediction"]
        record["comparison"] = verdict
    write_npz(beside(path, "npz"), arrays)
    write_json(beside(path, "json"), record)  # last: it says that all is there


def read_result(path: Path, configuration: Configuration) -> dict[str, Any] | None:
    """Read a result.

    Returns:
        The content of the JSON file; `None` if there is no result, or only the arrays that a killed process left.

    Raises:
        UnsoundError: a file does not hold this configuration, or not all of it.
    """
    file = beside(path, "json")
    record, arrays = read_json(file), read_npz(beside(path, "npz"))
    if arrays is not None:
        _check_arrays(beside(path, "npz"), arrays, configuration)
    if record is None:
        return None
    if record.get("configuration") != configuration.to_dict():
        raise UnsoundError(file, "holds another configuration than its name says")
    if arrays is None:
        raise UnsoundError(file, "has lost the NPZ file next to it")
    try:
        verdict = record["comparison"]["verdict"] if configuration.runs else None
        whole = isinstance(record["prediction"], dict) and isinstance(verdict, str) == bool(configuration.runs)
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise UnsoundError(file, "lacks the prediction or the comparison")
    return record


def _check_arrays(path: Path, arrays: Mapping[str, np.ndarray], configuration: Configuration) -> None:
    if _text(arrays, "configuration") != configuration.to_dict():
        raise UnsoundError(path, "holds another configuration than its name says")
    shapes = {name: array.shape for name, array in arrays.items()}
    rates = len(configuration.learning_rates)
    whole = shapes.get("learning_rates") == (rates,) and shapes.get("coefficients", ())[1:] == (
        configuration.order + 1,
    )
    if not whole or (configuration.runs and shapes.get("samples") != (rates, configuration.runs)):
        raise UnsoundError(path, "lacks arrays of this configuration")


def _text(arrays: Mapping[str, np.ndarray], name: str) -> Any:
    """Return the JSON in an array of text; `None` if there is none."""
    try:
        return json.loads(str(arrays[name]))
    except (KeyError, ValueError, RecursionError):
        return None


def write_values(path: Path, description: dict[str, Any], values: Values) -> None:
    """Write values of diagrams, with the description of all that they depend on, to an NPZ file."""
    kinds = [values[diagram].kind for diagram in values]
    arrays = {"description": np.array(json.dumps(description)), "kinds": np.array(kinds)}
    for number, diagram in enumerate(values):
        arrays[f"replicates_{number}"] = values.replicates(diagram)
        if (rounding := values.rounding(diagram)) is not None:
            arrays[f"rounding_{number}"] = rounding
    write_npz(path, arrays)


def read_values(path: Path, description: dict[str, Any], wanted: list[Diagram]) -> Values | None:
    """Read the values of diagrams, or return `None` if there is no such file.

    Raises:
        UnsoundError: it does not open, has another description, or lacks values.
    """
    arrays = read_npz(path)
    if arrays is None:
        return None
    if _text(arrays, "description") != description:
        raise UnsoundError(path, "holds other values than its name says")
    try:
        kinds = dict(zip(wanted, arrays["kinds"].tolist(), strict=True))
        replicates = {diagram: arrays[f"replicates_{number}"] for number, diagram in enumerate(wanted)}
    except (KeyError, TypeError, ValueError) as error:
        raise UnsoundError(path, "lacks values that it should hold") from error
    rounding = {
        diagram: arrays[f"rounding_{number}"] for number, diagram in enumerate(wanted) if f"rounding_{number}" in arrays
    }
    return Values(replicates, description["basis"], kinds=kinds, rounding=rounding, root=description["root"])
