"""Series as JSON: rational functions as lists of terms, other expressions as trees, nothing to be executed.

What makes a series goes in as arguments and comes back as a dict of them.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from fractions import Fraction
from os import PathLike, fspath
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import sympy
from sympy.polys.polyerrors import BasePolynomialError

from .._arguments import check_basis
from ..diagrams import CellDiagram, Diagram, Forest
from ..errors import ArgumentError
from ..optimizers import PLAIN, Average, Optimizer, Recurrence, averaged, momentum, schedule
from ..quantities import Measurement, Variance
from ..spacetimes import Spacetime
from ._expression_trees import dump_tree, load_tree

_FORMAT = "feyngd series 1"
_RESUMMED_FORMAT = "feyngd resummed series 1"
_OF_MOMENTUM = ("beta", "nesterov", "dampening", "classical")


def dump(
    coefficients: Mapping[Diagram, sympy.Expr],
    *,
    quantity: str,
    order: int,
    basis: str,
    spacetime: Spacetime | None,
    optimizer: Optimizer,
    reading: str,
) -> str:
    """Return the JSON text of a series.

    Raises:
        ArgumentError: two symbols share a name, a coefficient has a part that cannot be written, or the optimizer a
            metric, or a function as its schedule where the number of steps is a symbol.
    """
    if callable(optimizer.multipliers) and spacetime is not None and spacetime.T.is_Integer:
        optimizer = optimizer.over_steps(int(spacetime.T))
    symbols = optimizer.symbols | (spacetime.symbols if spacetime else set())
    ordered = sorted(symbols.union(*(value.atoms(sympy.Symbol) for value in coefficients.values())), key=str)
    if len({str(symbol) for symbol in ordered}) < len(ordered):
        raise ArgumentError(f"Two different symbols share a name among {ordered}: rename one before writing JSON.")
    return json.dumps(
        {
            "format": _FORMAT,
            "quantity": quantity.measurement if isinstance(quantity, Variance) else quantity,
            **({"is_measurement": True} if isinstance(quantity, Measurement) else {}),
            **({"is_variance": True} if isinstance(quantity, Variance) else {}),
            "order": order,
            "basis": basis,
            **({"has_cells": True} if any(isinstance(each, CellDiagram) for each in coefficients) else {}),
            **({"has_two_roots": True} if any(isinstance(each, Forest) for each in coefficients) else {}),
            "reading": reading,
            "symbols": {symbol.name: symbol.assumptions0 for symbol in ordered},
            "spacetime": None if spacetime is None else _dump_spacetime(spacetime, ordered),
            **({"optimizer": _dump_optimizer(optimizer, ordered)} if optimizer != PLAIN else {}),
            "terms": {str(diagram): _dump_coefficient(value, ordered) for diagram, value in coefficients.items()},
        },
        indent=1,
        sort_keys=False,
    )


def load(text: str, source: str = "This") -> dict[str, Any]:
    """Return the arguments of `dump`; `source` begins the message about a text that holds no series."""
    try:
        read = _parsed(text, _FORMAT)
        symbols = [sympy.Symbol(name, **assumptions) for name, assumptions in sorted(read["symbols"].items())]
        check_basis(read["basis"])
        kind = CellDiagram if read.get("has_cells") else Forest if read.get("has_two_roots") else Diagram
        named = Measurement(read["quantity"]) if read.get("is_measurement") or read.get("is_variance") else None
        return {
            "coefficients": {kind.parse(key): _load_coefficient(one, symbols) for key, one in read["terms"].items()},
            "quantity": read["quantity"] if named is None else Variance(named) if "is_variance" in read else named,
            "order": read["order"],
            "basis": read["basis"],
            "reading": read.get("reading", "population"),  # texts before 0.2 have none
            "spacetime": None if read["spacetime"] is None else _load_spacetime(read["spacetime"], symbols),
            "optimizer": _load_optimizer(read.get("optimizer", {}), symbols),
        }
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ArgumentError(f"{source} is not a series written by Series.to_json ({_FORMAT!r}): {error}.") from error


def dump_resummed(
    *, quantity: str, order: int, form: str, at_minimum: bool, spacetime: Spacetime, optimizer: Optimizer
) -> str:
    """Return the JSON text of a re-summed series: what it is made from, as coefficients are computed on demand.

    Raises:
        ArgumentError: the optimizer has a metric, or a function as its schedule.
    """
    symbols = sorted(spacetime.symbols | optimizer.symbols, key=str)
    return json.dumps(
        {
            "format": _RESUMMED_FORMAT,
            "quantity": quantity,
            "order": order,
            "form": form,
            "at_minimum": at_minimum,
            "symbols": {symbol.name: symbol.assumptions0 for symbol in symbols},
            "spacetime": _dump_spacetime(spacetime, symbols),
            "optimizer": _dump_optimizer(optimizer, symbols),
        },
        indent=1,
    )


def load_resummed(text: str, source: str = "This") -> dict[str, Any]:
    """Return the arguments of `dump_resummed`."""
    try:
        read = _parsed(text, _RESUMMED_FORMAT)
        symbols = [sympy.Symbol(name, **assumptions) for name, assumptions in sorted(read["symbols"].items())]
        return {name: read[name] for name in ("quantity", "order", "form", "at_minimum")} | {
            "spacetime": _load_spacetime(read["spacetime"], symbols),
            "optimizer": _load_optimizer(read.get("optimizer", {}), symbols),  # texts before 0.2 have none
        }
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ArgumentError(
            f"{source} is not a re-summed series written by ResummedSeries.to_json ({_RESUMMED_FORMAT!r}): {error}."
        ) from error


def _parsed(text: str, format_: str) -> dict[str, Any]:
    read = json.loads(text)
    if not isinstance(read, dict) or "format" not in read:
        raise ValueError("it has no format")
    if read["format"] != format_:
        raise ValueError(f"its format is {read['format']!r}")
    return read


def write(path: str | PathLike[str], text: str) -> None:
    """Write a text to a file; if that fails, no incomplete file is left."""
    target = Path(path)
    with NamedTemporaryFile("w", dir=target.parent, prefix=target.name, encoding="utf-8", delete=False) as file:
        try:
            file.write(text + "\n")
            file.close()
            Path(file.name).replace(target)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def read(path: str | PathLike[str]) -> tuple[str, str]:
    """Return the text of a file, and what to call the file in a message."""
    try:
        return Path(path).read_text(encoding="utf-8"), f"The file {fspath(path)!r}"
    except UnicodeDecodeError as error:
        raise ArgumentError(f"The file {fspath(path)!r} is not text, so it does not hold a series: {error}.") from error


def _dump_spacetime(spacetime: Spacetime, symbols: list[sympy.Symbol]) -> dict[str, Any]:
    if spacetime.explicit is not None:
        return {"sampling": "explicit", "N": int(spacetime.N), "batches": [list(batch) for batch in spacetime.explicit]}
    sizes = {"N": spacetime.N, "B": spacetime.B, "E": spacetime.E, "T": spacetime.T}
    written = {name: None if size is None else _dump_ratio(size, symbols) for name, size in sizes.items()}
    return {"sampling": spacetime.sampling, **written, "drop_last": spacetime.drop_last}


def _load_spacetime(read: dict[str, Any], symbols: list[sympy.Symbol]) -> Spacetime:
    if read["sampling"] == "explicit":
        return Spacetime.from_batches(read["batches"], read["N"])
    sizes = {name: None if read[name] is None else _load_ratio(read[name], symbols) for name in "NBET"}
    if read["sampling"] == "full-batch":
        return Spacetime.gd(sizes["N"], sizes["T"])
    length = {"T": sizes["T"]} if sizes["E"] is None else {"E": sizes["E"]}
    drop_last = read.get("drop_last")  # texts before 0.2 have none
    return Spacetime.sgd(sizes["N"], sizes["B"], sampling=read["sampling"], drop_last=drop_last, **length)


def _dump_optimizer(optimizer: Optimizer, symbols: list[sympy.Symbol]) -> dict[str, Any]:
    """Return what differs from plain SGD."""
    if optimizer.metric is not None or callable(optimizer.multipliers):
        raise ArgumentError(
            f"JSON holds optimizers without metrics, and schedules that are lists; this one is {optimizer}: pickle the "
            "series, or keep the call that made it."
        )

    def dumped(value: Any) -> Any:
        if isinstance(value, Fraction):
            return str(value)
        if isinstance(value, tuple):
            return [dumped(one) for one in value]
        if isinstance(value, (Average, Recurrence)):
            return {field.name: dumped(getattr(value, field.name)) for field in fields(value)}
        return {"ratio": _dump_ratio(value, symbols)} if isinstance(value, sympy.Expr) else value

    found = {field.name: getattr(optimizer, field.name) for field in fields(optimizer)}
    return {name: dumped(value) for name, value in found.items() if value != getattr(PLAIN, name)}


def _load_optimizer(read: dict[str, Any], symbols: list[sympy.Symbol]) -> Optimizer:
    def loaded(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(loaded(one) for one in value)
        if isinstance(value, dict):
            return _load_ratio(value["ratio"], symbols)
        return Fraction(value) if isinstance(value, str) else value

    parts = dict(read)
    average, measured = parts.pop("average", None), parts.pop("measured", None)
    numbers = {name: loaded(value) for name, value in parts.items()}
    made = momentum(**{name: numbers.get(name, getattr(PLAIN, name)) for name in _OF_MOMENTUM})
    if "multipliers" in numbers:
        made = schedule(numbers["multipliers"], made)
    if measured is not None:
        made = replace(made, measured=Recurrence(**{name: loaded(value) for name, value in measured.items()}))
    if average is None:
        return made
    tail = average.pop("tail")  # a number or "all"
    return averaged(made, tail=tail, **{name: loaded(value) for name, value in average.items()})


def _dump_coefficient(value: sympy.Expr, symbols: list[sympy.Symbol]) -> Any:
    """Return a rational function as its terms, and any other expression as a tree."""
    powers = all(power.exp.is_Integer for power in value.atoms(sympy.Pow))
    if powers and not value.atoms(sympy.Float, sympy.Function, sympy.NumberSymbol):
        return _dump_ratio(value, symbols)
    return {"tree": dump_tree(value)}


def _load_coefficient(read: Any, symbols: list[sympy.Symbol]) -> Any:
    if isinstance(read, dict):
        return load_tree(read["tree"], {symbol.name: symbol for symbol in symbols})
    return _load_ratio(read, symbols)


def _dump_ratio(value: sympy.Expr, symbols: list[sympy.Symbol]) -> list[list[list[Any]]]:
    try:
        halves = [sympy.Poly(half, *symbols, domain="QQ") if symbols else half for half in sympy.fraction(value)]
    except BasePolynomialError as error:
        raise ArgumentError(
            f"{value} is not a rational function with rational numbers, so it cannot be written."
        ) from error
    if not symbols:
        if not value.is_Rational:
            raise ArgumentError(f"The coefficient {value} is not a rational number.")
        return [[[str(half), []]] for half in halves]
    return [[[str(number), list(powers)] for powers, number in half.terms()] for half in halves]


def _load_ratio(read: list[list[list[Any]]], symbols: list[sympy.Symbol]) -> sympy.Expr:
    above, below = (
        sympy.Add(
            *(
                sympy.Mul(
                    sympy.Rational(number),
                    *(symbol ** int(power) for symbol, power in zip(symbols, powers, strict=True)),
                )
                for number, powers in half
            )
        )
        for half in read
    )
    return above / below
