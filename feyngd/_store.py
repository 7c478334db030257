"""A folder that several processes write to: complete files, locks that end with their process, nothing overwritten."""

import glob
import hashlib
import io
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from ._files import replace_file
from .errors import FeynGDError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_DAY = 24 * 3600.0
# The names that `replace_file` gives its temporary files, so that no other file is mistaken for one of them.
_TEMPORARY = re.compile(r"(.*-[0-9a-f]{12}|[0-9a-f]{64})(-\d+)?\.(json|npz)\w+\.part")

Content = TypeVar("Content")


class UnsoundError(Exception):
    """A file that does not hold what its name says."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path, self.reason = path, reason


class Store:
    """A folder of results that several processes share.

    Args:
        folder: a folder that can be written to.
        report: called with a line for every file that is left alone because it does not hold what its name says.

    Attributes:
        folder: the folder.
        left_alone: the reason for every such file.

    Raises:
        FeynGDError: the system has no file locks.
    """

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        if fcntl is None:
            raise FeynGDError(
                "A sweep claims its configurations with POSIX file locks (fcntl), which this system does not have: run "
                "it on Linux or macOS, or call predict and simulate for each configuration."
            )
        self.folder, self.left_alone = folder, dict[Path, str]()
        self._report = report
        with writing(folder):
            for name in ("locks", "values"):
                (folder / name).mkdir(exist_ok=True)
            self._clean_old()

    @contextmanager
    def lock(self, name: str, *, wait: bool = False) -> Iterator[bool]:
        """Claim a name among all processes; gives whether it was free.

        The kernel drops the claim when the process ends, however it ends. Lock files stay: whoever deletes one may
        delete it between another process's opening and locking it, and then two would hold the same name.

        Args:
            name: what to claim.
            wait: wait until it is free.

        Raises:
            FeynGDError: the lock file cannot be made, or the file system has no locks.
        """
        with writing(self.folder):
            handle = os.open(self.folder / "locks" / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            held = True
            with writing(self.folder):
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    held = False
            yield held
        finally:
            os.close(handle)

    def find(self, stem: str, read: Callable[[Path], Content | None]) -> tuple[Content | None, Path]:
        """Return what was kept under a name, and the path to which it goes if nothing was.

        Files that do not hold what they should are reported and skipped: the next path has the suffix -2, and so on.

        Args:
            stem: the path in the folder, without extension.
            read: returns what is at such a path, or `None` if it can be written to; raises `UnsoundError`.
        """
        for number in count(1):
            path = self.folder / (stem if number == 1 else f"{stem}-{number}")
            try:
                return read(path), path
            except UnsoundError as error:
                if error.path not in self.left_alone:
                    self.left_alone[error.path] = error.reason
                    self._report(f"left alone: {error}")
        raise AssertionError("there are infinitely many names")

    def clean(self, stem: str) -> None:
        """Delete the temporary files of a name; only its holder may call this.

        Only the holder of the lock writes under the name. That is the caller, so that the process that left these files
        has ended. A process number in their names would prove less: numbers are reused, and differ between machines.
        """
        path = self.folder / stem
        with writing(self.folder):
            for left in path.parent.glob(f"{glob.escape(path.name)}*.part"):
                if _TEMPORARY.fullmatch(left.name):
                    left.unlink(missing_ok=True)

    def _clean_old(self) -> None:
        """Delete temporary files that no name of this sweep will clean; writing one takes seconds, not a day."""
        for folder in (self.folder, self.folder / "values"):
            for left in folder.glob("*.part"):
                with suppress(OSError):  # another process was faster, or it is another user's
                    if _TEMPORARY.fullmatch(left.name) and time.time() - left.stat().st_mtime > _DAY:
                        left.unlink()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a failure of the file system into a `FeynGDError` that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FeynGDError(
            f"Cannot write to {str(folder)!r} ({reason}). What was finished is there and complete: make room, or use a "
            "file system with locks, and start the same sweep again."
        ) from error


def digest(content: Any) -> str:
    """Return the sha256 of plain lists, dicts, numbers and strings, as hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def digest_of_arrays(tree: Any) -> str:
    """Return the sha256 of a pytree of arrays: paths, dtypes, shapes and bytes."""
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        array = np.asarray(leaf)
        found.update(f"{jax.tree_util.keystr(path)} {array.dtype.str} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def beside(path: Path, extension: str) -> Path:
    """Return the path with an extension put on; `with_suffix` would cut a name at its last dot."""
    return path.with_name(f"{path.name}.{extension}")


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to an NPZ file in one move."""
    content, named = io.BytesIO(), dict[str, Any](arrays)
    np.savez(content, **named)
    replace_file(path, content.getvalue())


def read_npz(path: Path) -> dict[str, np.ndarray] | None:
    """Read all arrays of an NPZ file, or return `None` if it is not there.

    Raises:
        UnsoundError: it does not open, or an array in it does not.
    """
    try:
        with np.load(path, allow_pickle=False) as loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        return None
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds on a file that is not theirs
        raise UnsoundError(path, f"does not open ({type(error).__name__})") from error


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object from a file, or return `None` if it is not there.

    Raises:
        UnsoundError: it does not parse, is no object or cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise UnsoundError(path, "is not JSON") from error
    except OSError as error:
        raise UnsoundError(path, f"cannot be read ({error.strerror})") from error
    if not isinstance(content, dict):
        raise UnsoundError(path, "is not a JSON object")
    return content
