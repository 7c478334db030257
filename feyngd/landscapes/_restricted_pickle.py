"""Reading pickled arrays of numbers without running anything that the pickle asks for.

NumPy pickles an array as calls of a few functions. Plain-Python stand-ins answer exactly those calls, so a file can
build containers, text, numbers and numeric arrays, and nothing else; any other name in it is refused.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LandscapeError


def load_arrays(path: Path) -> Any:
    """Unpickle containers, text, numbers and numeric arrays; Python 2 strings come as bytes.

    Raises:
        LandscapeError: the file asks for anything else, is truncated or is not a pickle.
    """
    try:
        with path.open("rb") as file:
            return _resolve(_ArrayUnpickler(file, encoding="bytes").load())
    except _RefusedError as error:
        raise LandscapeError(
            f"{path} is not a published data file: {error}. Only arrays of numbers are read, for a pickle that asks "
            "for more could run any program. Get the file from its publisher again."
        ) from error
    except Exception as error:  # a damaged pickle can raise almost any exception
        raise LandscapeError(
            f"{path} is truncated or not a pickle of number arrays ({type(error).__name__}: {error}). "
            "Unpack or copy it again."
        ) from error


class _RefusedError(pickle.UnpicklingError):
    """A pickle asks for a class or function that arrays of numbers do not need."""


class _PickledDType:
    """Stands in for `numpy.dtype` while unpickling."""

    def __init__(self, code: str | bytes, *flags: object) -> None:
        self.code = _text(code)
        self.byte_order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.byte_order = _text(state[1])

    def dtype(self) -> np.dtype:
        dtype = np.dtype(self.byte_order + self.code)
        if dtype.kind not in "biuf":
            raise _RefusedError(f"it holds an array of dtype {dtype}")
        return dtype


class _PickledArray:
    """Stands in for `numpy.ndarray` while unpickling; `value` is the array once the state is set."""

    def __init__(self, *prototype: object) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        self.value = _array(raw, dtype, shape, "F" if fortran else "C")


def _array(raw: Any, dtype: _PickledDType, shape: tuple[int, ...], order: Any) -> np.ndarray:
    return np.frombuffer(raw, dtype=dtype.dtype()).reshape(shape, order=order)


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into the older pickle protocols."""
    if encoding != "latin1":
        raise _RefusedError(f"it asks for the text encoding {encoding!r}")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    """How Python 3 writes b"" into the older pickle protocols."""
    return b""


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else value


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): "ndarray",  # only ever an argument of _reconstruct
    ("numpy", "dtype"): _PickledDType,
    ("numpy.core.multiarray", "_reconstruct"): _PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): _PickledArray,
    ("numpy.core.numeric", "_frombuffer"): _array,
    ("numpy._core.numeric", "_frombuffer"): _array,
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): _empty_bytes,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _STAND_INS[module_name, global_name]
        except KeyError:
            raise _RefusedError(f"it asks for {module_name}.{global_name}") from None


def _resolve(value: Any) -> Any:
    """Put arrays in the place of their stand-ins, in the top container; the data files nest no deeper."""
    if isinstance(value, dict):
        return {key: item.value if isinstance(item, _PickledArray) else item for key, item in value.items()}
    return value.value if isinstance(value, _PickledArray) else value
