"""Axes to draw on: those given, or new ones."""

from typing import Any

from ...drawing import require_matplotlib


def axes(ax: Any = None) -> Any:
    """Return the axes given, or new ones.

    Raises:
        FeynGDError: Matplotlib is missing.
    """
    if ax is not None:
        return ax
    require_matplotlib()
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(5.5, 4.0), layout="constrained")[1]
