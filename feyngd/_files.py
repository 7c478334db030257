"""Folders that can be written to, files that are whole at any moment, and TOML that is given."""

import json
import os
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from .errors import ArgumentError


def check_writable(out: str | os.PathLike[str]) -> Path:
    """Make a folder if need be and return it, having written to it once.

    Raises:
        ArgumentError: it cannot be made or written to.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ArgumentError(
            f"Cannot write to {str(folder)!r} ({reason}): name a folder that can be written to."
        ) from error
    return folder


def read_toml(path: str | os.PathLike[str], what: str) -> dict[str, Any]:
    """Read a TOML file that describes something, such as a "sweep".

    Raises:
        ArgumentError: it cannot be read, or is not TOML.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentError(f"A {what} is given as the path of a TOML file or as a mapping; got {path!r}.")
    shown = repr(os.fspath(path))
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ArgumentError(f"Cannot read {shown} ({error.strerror}): name the TOML file of the {what}.") from error
    except ValueError as error:  # that of TOML, and that of text which is no UTF-8
        raise ArgumentError(f"{shown} is not TOML ({error}): correct it there.") from error


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write JSON to a file in one move: readers see the old file or the new one, never half of one."""
    replace_file(path, json.dumps(record, indent=1).encode())


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one move: readers see the old file or the new one, never half of one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
