"""Results in one file: an NPZ of arrays, with JSON for what holds them together. Nothing in it is ever executed."""

import io
import json
import math
import os
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from ._files import replace_file
from .errors import ArgumentError

_FORMAT = "feyngd result 1"
_PLAIN = (type(None), bool, int, str)
_NAMES: dict[type, str] = {}
_CODECS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {}


def keep(cls: type, state: Callable[[Any], Any], rebuild: Callable[[Any], Any]) -> None:
    """Say how objects of a class are kept.

    Args:
        cls: the class.
        state: from an object to what is kept of it: numbers, text, arrays, tuples, lists, dictionaries, and objects of
            classes that can be kept.
        rebuild: back again.
    """
    _NAMES[cls] = cls.__name__
    _CODECS[cls.__name__] = cls, state, rebuild


def keep_attributes(cls: type) -> type:
    """Decorate a class whose objects are kept by all their attributes.

    Files that were written before a class had an attribute are read with the default of its field.
    """

    def state(value: Any) -> dict[str, Any]:
        read = getattr(value, "__getstate__", None)
        return dict(read()) if read is not None and not is_dataclass(value) else _attributes(value)

    def rebuild(attributes: dict[str, Any]) -> Any:
        made: Any = object.__new__(cls)
        if is_dataclass(cls):
            attributes = {f.name: f.default for f in fields(cls) if f.default is not MISSING} | attributes
            if set(attributes) != {field.name for field in fields(cls)}:
                raise ValueError(f"{cls.__name__} has other attributes")
        made.__dict__.update(attributes)
        return made

    keep(cls, state, rebuild)
    return cls


class Kept:
    """A result that can be kept in a file; subclasses are kept by all their attributes."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        keep_attributes(cls)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to a file, in one move: an NPZ of arrays with their description in JSON, no pickle.

        Args:
            path: the file, which is written as it is named; one that exists is replaced.

        Raises:
            ArgumentError: the file cannot be written.
        """
        write(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a result that `save` has written.

        Args:
            path: the file.

        Raises:
            ArgumentError: there is no such file, or it does not hold a result of this class.
        """
        return read(path, cls)


def write(path: str | os.PathLike[str], value: Any) -> None:
    """Write an object of a class that can be kept to a file, in one move."""
    arrays: dict[str, np.ndarray] = {}
    description = json.dumps({"format": _FORMAT, "value": _encoded(value, arrays)})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, description=np.array(description), **arrays)  # type: ignore[arg-type]
    try:
        replace_file(Path(path), buffer.getvalue())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ArgumentError(f"Cannot write {os.fspath(path)!r} ({reason}): name a file that can be written.") from error


def read(path: str | os.PathLike[str], cls: type) -> Any:
    """Read an object of a class from a file.

    Raises:
        ArgumentError: there is no such file, or it does not hold one.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        content = json.loads(str(arrays.pop("description")))
        if content["format"] != _FORMAT:
            raise ValueError(f"the format is {content['format']!r}, not {_FORMAT!r}")
        value = _decoded(content["value"], arrays)
    except OSError as error:
        reason = error.strerror or "it is not an NPZ file"
        raise ArgumentError(
            f"Cannot read {os.fspath(path)!r} ({reason}): name a file that save has written."
        ) from error
    except Exception as error:  # whatever a damaged file does
        raise ArgumentError(
            f"{os.fspath(path)!r} is no file that save of this version has written ({error}): name another."
        ) from error
    if not isinstance(value, cls):
        found = type(value).__name__
        raise ArgumentError(f"{os.fspath(path)!r} holds a {found}, not a {cls.__name__}: use {found}.load.")
    return value


def _attributes(value: Any) -> dict[str, Any]:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return dict(value.__dict__)


def _encoded(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if type(value) in _NAMES:
        name = _NAMES[type(value)]
        return {"object": name, "state": _encoded(_CODECS[name][1](value), arrays)}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [_encoded(part, arrays) for part in value]}
    if isinstance(value, dict):
        return {"dict": [[_encoded(part, arrays) for part in item] for item in value.items()]}
    array = np.asarray(value)
    if array.dtype.kind not in "biufcSU":
        raise ArgumentError(
            f"A {type(value).__name__} cannot be kept in a file, only numbers, text, arrays and results."
        )
    name = f"array_{len(arrays)}"
    arrays[name] = array
    return {"array": name}


def _decoded(content: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(content, dict):
        return content
    if "object" in content:
        return _CODECS[content["object"]][2](_decoded(content["state"], arrays))
    ((kind, inside),) = content.items()
    if kind == "float":
        return float(inside)
    if kind == "array":
        return arrays[inside]
    if kind == "dict":
        return {_decoded(key, arrays): _decoded(part, arrays) for key, part in inside}
    return {"tuple": tuple, "list": list}[kind](_decoded(part, arrays) for part in inside)
