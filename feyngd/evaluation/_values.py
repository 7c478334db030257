"""The values of diagrams with their errors, which results keep and combine."""

from collections.abc import Iterator, Mapping

import numpy as np

from .._archive import Kept, keep, keep_attributes
from ..diagrams import CellDiagram, Diagram
from ..errors import ArgumentError
from ..estimates import Estimate
from ..kinks import Kink, kinks_note
from ..landscapes import Origin

keep(Diagram, str, Diagram.parse)
keep(CellDiagram, str, CellDiagram.parse)
keep_attributes(Origin)
keep_attributes(Kink)


class Values(Kept, Mapping[Diagram, Estimate]):
    """The values of diagrams at one point of a landscape, with the replicates behind them.

    Replicate number r of every diagram comes from the same draw of random pairings, so any combination of values has an
    honest standard error: that of its replicates.

    Attributes:
        basis: "moment" or "cumulant".
        root: in the conditional reading, where untied roots are measured: on "test" or on "train" data; "measured" for
            a measurement.
        origin: the loss, the data and the parameters they were evaluated at; `None` if they were made by hand.
        not_measured: why rounding could not be measured; `None` if it was measured or need not be.
        kinks: where the loss is not smooth within reach of the parameters.
    """

    def __init__(
        self,
        replicates: Mapping[Diagram, np.ndarray],
        basis: str,
        *,
        kinds: Mapping[Diagram, str] | None = None,
        rounding: Mapping[Diagram, np.ndarray] | None = None,
        root: str = "test",
        origin: Origin | None = None,
        not_measured: str | None = None,
        kinks: tuple[Kink, ...] = (),
    ) -> None:
        self._replicates = {diagram: np.asarray(rows, dtype=float) for diagram, rows in replicates.items()}
        self._kinds, self._rounding = dict(kinds or {}), dict(rounding or {})
        self.basis, self.root, self.origin, self.not_measured = basis, root, origin, not_measured
        self.kinks = tuple(kinks)

    def __getitem__(self, diagram: Diagram) -> Estimate:
        return Estimate.from_replicates(
            self.replicates(diagram), self._kinds.get(diagram), self._dtype_error({diagram: 1.0}), self.kinks
        )

    def __iter__(self) -> Iterator[Diagram]:
        return iter(self._replicates)

    def __len__(self) -> int:
        return len(self._replicates)

    def replicates(self, diagram: Diagram) -> np.ndarray:
        """Return the independent replicates of a value; one number if it is exact."""
        if diagram not in self._replicates:
            raise KeyError(f"{diagram!r} has not been evaluated; values are indexed by the diagrams given to evaluate.")
        return self._replicates[diagram]

    def rounding(self, diagram: Diagram) -> np.ndarray | None:
        """Return what floating-point arithmetic did to the value on a few samples of the data; `None` if not measured.

        The entries belong to the same samples for every diagram, so combinations of values can be measured too.
        """
        return self._rounding.get(diagram)

    def combine(self, weights: Mapping[Diagram, float]) -> Estimate:
        """Return a linear combination of values, with the standard error of the combination.

        Raises:
            ArgumentError: a diagram has not been evaluated.
        """
        total = np.zeros(1)
        for diagram, weight in weights.items():
            if diagram not in self._replicates:
                raise ArgumentError(f"The value of {diagram} is needed and was not evaluated: evaluate it too.")
            total = total + weight * self._replicates[diagram]
        return Estimate.from_replicates(total, dtype_error=self._dtype_error(weights), kinks=self.kinks)

    def _dtype_error(self, weights: Mapping[Diagram, float]) -> float | None:
        if not weights or any(diagram not in self._rounding for diagram in weights):
            return None
        total = sum(weight * self._rounding[diagram] for diagram, weight in weights.items())
        return float(np.sqrt(np.mean(np.square(total))))

    def __repr__(self) -> str:
        return f"<Values of {len(self)} diagrams, {self.basis} basis>"

    def __str__(self) -> str:
        width = max((len(str(diagram)) for diagram in self), default=0)
        lines = [f"{str(diagram).ljust(width)}   {self[diagram].figure}" for diagram in self]
        return "\n".join(lines) + kinks_note(self.kinks)
