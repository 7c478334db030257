"""Which kinds of diagrams have values on a landscape: those with cells, and those with two roots."""

from collections.abc import Iterable
from typing import Any

from ..diagrams import CellDiagram, Diagram, Forest
from ..errors import ArgumentError
from .planning import JOINED


def check_cells(diagrams: Iterable[Diagram], landscape: Any, basis: str) -> None:
    """Raise `ArgumentError` unless diagrams have cells where noise is drawn anew at every use, and there alone."""
    has_noise = bool(getattr(landscape, "per_use_noise", False))
    for diagram in diagrams:
        if isinstance(diagram, CellDiagram) is not has_noise:
            raise ArgumentError(
                f"The landscape draws noise anew at every use, and {diagram} has no cells: expand with "
                "per_use_noise=True, or give CellDiagrams."
                if has_noise
                else f"{diagram} has cells, and the landscape keeps the noise of its examples: make it as "
                "Landscape(loss, data, per_use_noise=True)."
            )
    if has_noise and basis != "moment":
        raise ArgumentError("Where noise is drawn anew at every use values are moments: leave basis out.")


def check_forests(diagrams: Iterable[Diagram], landscape: Any, reading: str | None, root: str) -> None:
    """Raise `ArgumentError` unless diagrams with two roots have values on a landscape.

    Args:
        diagrams: the diagrams.
        landscape: the loss and its data.
        reading: that of their series; `None` if they are of no series.
        root: where untied roots are.
    """
    own = getattr(landscape, "reading", "population")
    for diagram in diagrams:
        if not isinstance(diagram, Forest):
            if root == JOINED:
                raise ArgumentError(f"Loose ends are joined where there are two, and {diagram} has one root.")
            continue
        if getattr(landscape, "per_use_noise", False):
            raise ArgumentError(
                "The landscape draws noise anew at every use, where variances have no series: simulate that of a "
                "measurement, or 'covariance_trace'."
            )
        if root == JOINED and getattr(landscape, "update", None) is not None:
            raise ArgumentError(
                "The trace of the covariance is that of steps along gradients, and the landscape has an update: take "
                "the variance of a measurement, such as one coordinate of θ."
            )
        if reading is not None and (own == "conditional") != (reading == "conditional"):
            raise ArgumentError(
                f"The landscape is in the {own} reading, the series in the {reading} one: expand it with "
                f"reading={'conditional' if own == 'conditional' else 'population'!r}."
            )
        if root == JOINED:
            diagram.joined  # noqa: B018 - raises
