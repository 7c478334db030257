"""Diagrams with cells belong to landscapes that draw noise anew at every use, and to no others."""

from collections.abc import Iterable
from typing import Any

from ..diagrams import CellDiagram, Diagram
from ..errors import ArgumentError


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
