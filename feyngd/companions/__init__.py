"""Companion theories: what other papers say about the same SGD, beside the diagrams."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import data_averaging as data_averaging
    from . import escape as escape
    from . import limiting as limiting
    from . import shift_curvature as shift_curvature

__all__ = ["data_averaging", "escape", "limiting", "shift_curvature"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
