"""Old names that still work and say what replaces them; docs/policy.md has the rules.

`moved` makes a module's `__getattr__`, for functions, classes, constants and modules at their old places. `renamed`
makes the old name of a function or a method. A class goes through `moved`, even when its new name is in the same
module: the old name then gives the very same class, and `isinstance`, subclasses and pickles go on working.
"""

import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

_LEAST_MINOR_RELEASES = 2


@dataclass(frozen=True)
class Deprecation:
    """A public name that will be removed.

    Args:
        old: the name, in full, such as "feyngd.prediction.simulate".
        new: what to write instead, in full.
        since: the release that deprecates the old name, such as "0.2".
        until: the release that removes it, at least two minor releases later.

    Raises:
        ValueError: the releases are not of the form "0.2", or too close.
    """

    old: str
    new: str
    since: str
    until: str

    def __post_init__(self) -> None:
        since, until = _release(self.since), _release(self.until)
        # A new major version may come at any time, so that only minor releases within one can be counted.
        if until <= since or (until[0] == since[0] and until[1] - since[1] < _LEAST_MINOR_RELEASES):
            raise ValueError(
                f"{self.old} is deprecated since {self.since} and cannot be removed in {self.until}: an old name stays "
                f"for at least {_LEAST_MINOR_RELEASES} minor releases. Use until='{since[0]}.{since[1] + 2}' or later."
            )

    @property
    def message(self) -> str:
        """What users read."""
        return (
            f"{self.old} is deprecated since feyngd {self.since} and will be removed in {self.until}; "
            f"use {self.new} instead."
        )

    def warn(self, depth: int = 1) -> None:
        """Warn at the line that asked for the old name.

        Args:
            depth: how many calls away that line is: 1 for the caller of the function that calls `warn`.
        """
        warnings.warn(self.message, DeprecationWarning, stacklevel=depth + 2)

    def is_overdue(self, version: str) -> bool:
        """Whether a version, such as "0.4.0", should no longer have the old name."""
        return _release(version) >= _release(self.until)


DEPRECATIONS: list[Deprecation] = []
"""What the modules imported so far have deprecated, for the test that finds what is overdue."""


def moved(
    module: str,
    names: Mapping[str, str],
    *,
    since: str,
    until: str,
    otherwise: Callable[[str], Any] | None = None,
) -> Callable[[str], Any]:
    """Make the `__getattr__` of a module whose public names have moved.

    Nothing is imported before an old name is used. An old name gives the very object that the new name gives, and warns
    every line that uses it, by attribute or by `from … import`.

    Args:
        module: the module's `__name__`.
        names: from old names in this module to new names in full: "feyngd.simulation.simulate", or
            "feyngd.simulation" for a module.
        since: the release that deprecates the old names.
        until: the release that removes them.
        otherwise: the `__getattr__` for all other names, for example another `moved` with other releases. Without it
            they raise `AttributeError`.

    Returns:
        A function to be assigned to `__getattr__` in that module.

    Raises:
        ValueError: the releases are too close, see `Deprecation`.

    Examples:
        >>> __getattr__ = moved("package", {"join": "os.path.join"}, since="0.2", until="0.4")
        >>> import os, warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     __getattr__("join") is os.path.join
        True
        >>> print(caught[0].message)
        package.join is deprecated since feyngd 0.2 and will be removed in 0.4; use os.path.join instead.
    """
    deprecations = {name: Deprecation(f"{module}.{name}", new, since, until) for name, new in names.items()}
    DEPRECATIONS.extend(deprecations.values())

    def __getattr__(name: str) -> Any:
        if name in deprecations:
            depth, caller = _reader()
            # `from package import name` first asks whether the package has the name, then reads it: warn once.
            if caller != "_handle_fromlist":
                deprecations[name].warn(depth)
            return _named(deprecations[name].new)
        if otherwise is not None:
            return otherwise(name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return __getattr__


def renamed(old: str, new: Callable[_P, _R], *, since: str, until: str) -> Callable[_P, _R]:
    """Make the old name of a function or a method, which warns at every call and then calls the new one.

    Args:
        old: the old name, in full, such as "feyngd.Landscape.flat_loss".
        new: the function that replaces it in the same module or, in the body of a class, the same class.
        since: the release that deprecates the old name.
        until: the release that removes it.

    Returns:
        A function with the signature of `new`.

    Raises:
        TypeError: `new` is a class.
        ValueError: the releases are too close, see `Deprecation`.

    Examples:
        >>> class Counter:
        ...     def count(self):
        ...         return 3
        ...     number = renamed("package.Counter.number", count, since="0.2", until="0.4")
        >>> print(Counter.number.__doc__.partition("; ")[2])
        use package.Counter.count instead.
    """
    if isinstance(new, type):
        raise TypeError(
            f"{old} would no longer be the class {new.__qualname__}, and isinstance would fail. "
            "Deprecate the old name of a class with moved()."
        )
    home, _, last = old.rpartition(".")
    deprecation = Deprecation(old, f"{home}.{new.__name__}", since, until)
    DEPRECATIONS.append(deprecation)

    @functools.wraps(new)
    def alias(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        deprecation.warn()
        return new(*args, **kwargs)

    alias.__name__ = last
    alias.__qualname__ = f"{new.__qualname__.removesuffix(new.__name__)}{last}"
    alias.__doc__ = deprecation.message
    return alias


def _release(version: str) -> tuple[int, int]:
    major, dot, rest = version.partition(".")
    minor = rest.partition(".")[0]
    if not (dot and major.isdecimal() and minor.isdecimal()):
        raise ValueError(f"{version!r} is not a release such as '0.2'.")
    return int(major), int(minor)


def _reader() -> tuple[int, str]:
    """How many calls away, and in which function, the line is that reads a module's attribute.

    A module's `__getattr__` may hand over to another one; these calls are not the user's.
    """
    depth, frame = 1, sys._getframe(2)
    while frame.f_back and frame.f_code.co_name == "__getattr__" and frame.f_code.co_argcount == 1:
        depth, frame = depth + 1, frame.f_back
    return depth, frame.f_code.co_name


def _named(name: str) -> Any:
    """The object with a full name; the last part may be a module."""
    home, _, last = name.rpartition(".")
    module = import_module(home) if home else None
    return getattr(module, last) if hasattr(module, last) else import_module(name)
