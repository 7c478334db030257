"""Progress of long work, as an object that is silent unless the user asks for a bar."""

from types import TracebackType
from typing import Any, Self


class Progress:
    """Shows nothing; the default of every long computation, and the base of those that show something.

    A computation enters it as a context with `with progress.task(total, label) as task` and calls `task.advance()`.
    """

    def task(self, total: int, label: str) -> "Task":
        """Start a task of `total` steps."""
        return Task()


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

    Args:
        **options: passed on to `tqdm`, such as `leave=False` or `file=sys.stdout`.

    Examples:
        >>> import feyngd as fd
        >>> bar = fd.Tqdm(disable=True)
        >>> with bar.task(2, "two steps") as task:
        ...     task.advance()
    """

    def __init__(self, **options: Any) -> None:
        self._options = options

    def task(self, total: int, label: str) -> Task:
        """Start a task of `total` steps with a bar."""
        return _TqdmTask(total, label, self._options)


class _TqdmTask(Task):
    def __init__(self, total: int, label: str, options: dict[str, Any]) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(total=total, desc=label, **options)

    def advance(self, steps: int = 1) -> None:
        self._bar.update(steps)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
