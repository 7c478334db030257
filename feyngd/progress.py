"""Progress of long work, as an object that is silent unless the user asks for a bar."""

import sys
from types import TracebackType
from typing import Any, Self

from ._terminal import fitting
from .errors import ArgumentError


class Progress:
    """Shows nothing; the default of every long computation, and the base of those that show something.

    A computation enters it as a context with `with progress.task(total, label) as task` and calls `task.advance()`.
    """

    def task(self, total: int, label: str) -> "Task":
        """Start a task of `total` steps."""
        return Task()

    def note(self, text: str) -> None:
        """Say something about the work in a line, such as how long it will take; this one says nothing."""


class Task:
    """One stretch of work; this one shows nothing."""

    def advance(self, steps: int = 1) -> None:
        """Report steps done."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class Tqdm(Progress):
    """Shows a tqdm bar for every task, in a terminal or a notebook.

    Labels and bars are spelled in ASCII where the bar's file cannot hold other characters.

    Args:
        **options: passed on to `tqdm`, such as `leave=False` or `file=sys.stdout`; not `total` and `desc`, which every
            computation gives for each of its tasks.

    Raises:
        ArgumentError: `total` or `desc` is given.

    Examples:
        >>> import feyngd as fd
        >>> bar = fd.Tqdm(disable=True)
        >>> with bar.task(2, "two steps") as task:
        ...     task.advance()
    """

    def __init__(self, **options: Any) -> None:
        if given := {"total", "desc"} & options.keys():
            raise ArgumentError(
                f"Tqdm takes {' and '.join(sorted(given))} from the computation that it shows: give other options of "
                "tqdm, such as leave=False."
            )
        self._options = options

    def task(self, total: int, label: str) -> Task:
        """Start a task of `total` steps with a bar."""
        return _TqdmTask(total, label, self._options)

    def note(self, text: str) -> None:
        """Write a line beside the bars, where bars are shown."""
        from tqdm.auto import tqdm

        file, disabled = self._options.get("file") or sys.stderr, self._options.get("disable", False)
        # As in tqdm, `None` shows something in a terminal only.
        if not (disabled or (disabled is None and not file.isatty())):
            tqdm.write(fitting(text, file), file=file)


class _TqdmTask(Task):
    def __init__(self, total: int, label: str, options: dict[str, Any]) -> None:
        from tqdm.auto import tqdm

        file = options.get("file") or sys.stderr  # where tqdm writes
        self._bar = tqdm(total=total, desc=fitting(label, file), **options)

    def advance(self, steps: int = 1) -> None:
        self._bar.update(steps)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()


def check_progress(progress: Any) -> Progress:
    """Return what shows the progress of a computation, from the argument `progress` of a public call.

    Args:
        progress: a `Progress`; `None` or `False` for none; `True` for bars, as `Tqdm()`.

    Raises:
        ArgumentError: it is something else.

    Examples:
        >>> from feyngd.progress import check_progress
        >>> check_progress("bar")
        Traceback (most recent call last):
            ...
        feyngd.errors.ArgumentError: progress='bar' shows nothing: give fd.Tqdm() or True for bars, None for none.
    """
    if progress is None or progress is False:
        return Progress()
    if progress is True:
        return Tqdm()
    if isinstance(progress, Progress):
        return progress
    shown = progress.__name__ if isinstance(progress, type) else repr(progress)
    called = " An object is needed, and this is a class: call it." if isinstance(progress, type) else ""
    raise ArgumentError(f"progress={shown} shows nothing: give fd.Tqdm() or True for bars, None for none.{called}")
