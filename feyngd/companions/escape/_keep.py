"""Finished runs of a simulation, kept in a file so that an interrupted one goes on where it was."""

import io
import time
from pathlib import Path

import numpy as np

from ..._files import replace_file
from ...errors import ArgumentError

_SECONDS = 5.0  # between two writings


class Kept:
    """Steps of finished runs, in memory and, if there is a file, on disk.

    Args:
        path: the file, an NPZ; `None` for memory alone.
        digest: what decides the runs; a file with another one is refused.
        shape: (R, runs).

    Attributes:
        steps: shape (R, runs).
        escaped, done: likewise.

    Raises:
        ArgumentError: the file holds other runs, or cannot be read.
    """

    def __init__(self, path: str | Path | None, digest: str, shape: tuple[int, int]) -> None:
        self._path, self._digest = None if path is None else Path(path), digest
        self.steps = np.zeros(shape, dtype=np.int64)
        self.escaped, self.done = np.zeros((2, *shape), dtype=bool)
        self._written = time.monotonic()
        if self._path is not None and self._path.exists():
            self._read(self._path)

    def add(self, place: tuple, steps: int, escaped: bool) -> None:
        """Note a run that is done."""
        self.steps[place], self.escaped[place], self.done[place] = steps, escaped, True

    def save(self, *, last: bool = False) -> None:
        """Write the file, at most every few seconds unless it is the last time."""
        if self._path is None or (not last and time.monotonic() - self._written < _SECONDS):
            return
        content = io.BytesIO()
        np.savez(content, digest=self._digest, steps=self.steps, escaped=self.escaped, done=self.done)
        replace_file(self._path, content.getvalue())
        self._written = time.monotonic()

    def _read(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as kept:
                digest, found = str(kept["digest"]), [kept[name] for name in ("steps", "escaped", "done")]
        except (OSError, ValueError, KeyError) as error:
            raise ArgumentError(
                f"checkpoint={str(path)!r} is no file of simulated escapes: give another name."
            ) from error
        if digest != self._digest or found[0].shape != self.steps.shape:
            raise ArgumentError(
                f"checkpoint={str(path)!r} holds runs of another landscape, start, noise, end, key or number: give "
                "another name, or the same arguments."
            )
        self.steps, self.escaped, self.done = found
