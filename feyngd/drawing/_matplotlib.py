"""The library that figures are drawn with, which is installed on demand."""

from importlib.util import find_spec

from ..errors import FeynGDError


def require_matplotlib() -> None:
    """Raise `FeynGDError` unless matplotlib is installed."""
    if find_spec("matplotlib") is None:
        raise FeynGDError("Figures need matplotlib: pip install 'feyngd[plotting]'.")
