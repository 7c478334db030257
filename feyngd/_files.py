"""Folders that can be written to, and files that are whole at any moment."""

import json
import os
import tempfile
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
