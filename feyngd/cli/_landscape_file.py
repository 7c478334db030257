"""A landscape and parameters that a Python file of the user's defines."""

import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, FeynGDError
from ..quantities import Measurement


def landscape_from(path: str) -> tuple[Any, Any]:
    """Return landscape and start that a Python file defines.

    Raises:
        ArgumentError: the file cannot be read, raises an error, or does not define both.
    """
    landscape, params, _ = landscape_and_measurements_from(path)
    return landscape, params


def landscape_and_measurements_from(path: str) -> tuple[Any, Any, list[Any]]:
    """Return landscape, start, and the list of measurements if there is one, that a Python file defines.

    Raises:
        ArgumentError: the file cannot be read, raises an error, or does not define the first two.
    """
    from ..landscapes import Landscape

    if not Path(path).is_file():
        raise ArgumentError(f"There is no file {path!r}: name a Python file that defines `landscape` and `params`.")
    with _importing_from(Path(path).parent):
        try:
            found = runpy.run_path(path)
        except FeynGDError:
            raise
        except (Exception, SystemExit) as error:  # whatever the file does
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise ArgumentError(f"{path} failed with {text}. It has to run as `python {path}` does.") from error
    missing = [name for name in ("landscape", "params") if name not in found]
    if missing:
        raise ArgumentError(f"{path} does not define `{missing[0]}`: it has to define `landscape` and `params`.")
    if not isinstance(found["landscape"], Landscape):
        kind = type(found["landscape"]).__name__
        raise ArgumentError(f"`landscape` in {path} is a feyngd.Landscape; this one is of type {kind}.")
    measurements = found.get("measurements", [])
    if not isinstance(measurements, list | tuple) or not all(isinstance(one, Measurement) for one in measurements):
        raise ArgumentError(
            f"`measurements` in {path} is a list of what feyngd.measurement(name, function) makes; got "
            f"{measurements!r}."
        )
    return found["landscape"], found["params"], list(measurements)


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Let a file import its neighbours, as if Python had been started with it."""
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.resolve()))
