"""Figures, axes and colours that all plots share."""

from io import BytesIO
from typing import TYPE_CHECKING, Any

from ._matplotlib import require_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which can be distinguished with every common colour blindness.
PALETTE = ("#999999", "#E69F00", "#56B4E9", "#0072B2", "#CC79A7", "#009E73")

LABELS = {
    "test_loss": "expected test loss",
    "train_loss": "expected train loss",
    "gap": "expected gap, test − train",
    "test_loss_variance": "variance of the test loss",
    "train_loss_variance": "variance of the train loss",
    "covariance_trace": "Σ Var θ (params²)",
}


def label_of(quantity: str) -> str:
    """Return what an axis calls a quantity; a measurement by its own name."""
    return LABELS.get(quantity, f"expected {quantity}")


def new_axes(ax: Any = None) -> Any:
    """Return the axes given, or new ones.

    Raises:
        FeynGDError: matplotlib is missing.
    """
    if ax is not None:
        return ax
    require_matplotlib()
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(5.5, 4.0), layout="constrained")[1]


def new_figure(
    columns: int = 1, rows: int = 1, *, width: float = 5.2, height: float = 4.0, sharex: bool = False
) -> tuple["Figure", Any]:
    """Return a figure without a window and its axes, an array of shape (rows, columns).

    It is not made by pyplot, which would open a window and keep it in global state.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=sharex)


def drawn(figure: "Figure", kind: str) -> bytes:
    """Return a figure as the content of a file of a kind, such as "png"."""
    content = BytesIO()
    figure.savefig(content, format=kind)
    return content.getvalue()
