"""Learning curves predicted along the noiseless path, with what each choice contributes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np

from ..diagrams import Diagram, diagrams
from ..errors import ArgumentError
from ..estimates import CONVERGED, Estimate, PredictedNoise
from ..kinks import Kink, kinks_note
from ..spacetimes import Spacetime

_MOST_EDGES = 3  # of a diagram with one tied pair: two leaves and a branching below the root


@cache
def noise_diagrams() -> tuple[Diagram, ...]:
    """Return the diagrams of order ε²: one tied pair, and a lone node only where the path's branches meet.

    Lone leaves and lone nodes with one child are not drawn: they are in the path and its propagator.
    """
    return tuple(
        diagram
        for order in range(1, _MOST_EDGES + 1)
        for diagram in diagrams(order)
        if sorted(map(len, diagram.parts))[-2:] == [1, 2]
        and len(diagram.parts[diagram.labels[0]]) == 1
        and diagram.is_irreducible
        and all(diagram.children[node] or len(diagram.parts[diagram.labels[node]]) == 2 for node in range(order + 1))
    )


@dataclass(frozen=True, eq=False, repr=False)
class AnchoredPrediction(PredictedNoise):
    """An expected loss at every step of SGD, to second order in the noise along the noiseless path.

    Attributes:
        quantity: "test_loss", "train_loss" or "gap".
        spacetime: the concrete spacetime.
        times: the steps t, shape (S,): 0 to T.
        noiseless: the quantity on the noiseless path, shape (S,), in the unit of the loss.
        parts: replicates of what is added to it, by name, each of shape (m, S): "minibatch noise" comes from the order
            of the data and the batches, "finite data" from the N draws of the training set, and "gap" from the
            measurement of the loss on it.
        truncation: the size of the next order, with its sampling error, shape (S,); NaN if it is not known.
        kinks: where the loss is not smooth; what kinks do is left out, so that nothing is called converged.
    """

    quantity: str
    spacetime: Spacetime
    times: np.ndarray
    noiseless: np.ndarray
    parts: Mapping[str, np.ndarray]
    truncation: np.ndarray
    kinks: tuple[Kink, ...] = ()

    axis: ClassVar[str] = "t"

    @property
    def points(self) -> np.ndarray:
        """The steps t, shape (S,)."""
        return self.times

    @property
    def replicates(self) -> np.ndarray:
        """Replicates of all that the noise adds, shape (m, S)."""
        return np.sum(list(self.parts.values()), axis=0)

    @property
    def mean(self) -> np.ndarray:
        """The prediction at every step, in the unit of the loss."""
        return self.noiseless + self.noise

    @property
    def contributions(self) -> dict[str, np.ndarray]:
        """The mean of every part, by name, with the noiseless path first."""
        return {"noiseless": self.noiseless} | {name: rows.mean(axis=0) for name, rows in self.parts.items()}

    @property
    def diagrams(self) -> dict[str, tuple[Diagram, ...]]:
        """The diagrams of every part that has few of them; edges carry the propagator of the path."""
        of_noise = dict.fromkeys(("minibatch noise", "finite data", "order 2"), noise_diagrams())
        known = {"gap": (Diagram.parse("a[a]"),)} | of_noise
        return {name: known[name] for name in self.parts if name in known}

    @property
    def final(self) -> Estimate:
        """The prediction after the last step."""
        return Estimate.from_replicates(self.noiseless[-1] + self.replicates[:, -1], kind="path", kinks=self.kinks)

    @property
    def converged(self) -> np.ndarray:
        """Whether the next order is below a fifth of what the noise adds, and the loss is smooth.

        It is false where the truncation figure is not known, and where noise is predicted to take a loss below zero
        that is above zero on the path.
        """
        small = self.truncation <= CONVERGED * np.abs(self.noise)
        senseless = (self.mean < 0) & (self.noiseless > 0) & (self.quantity != "gap")
        return small & ~senseless & (not self.kinks)

    @property
    def start(self) -> float:
        """The quantity at the first step of the curve, in the unit of the loss."""
        return float(self.mean[0])

    def columns(self) -> dict[str, list[str]]:
        """Return what a table shows of the prediction, by column."""
        return {
            "noiseless": [f"{x:.5f}" for x in self.noiseless],
            "anchored": [f"{x:.5f}" for x in self.mean],
        }

    def select(self, points: np.ndarray) -> "AnchoredPrediction":
        """Return the prediction at some of its steps, in the order given.

        Raises:
            ArgumentError: it does not have such a step.
        """
        place = {int(time): i for i, time in enumerate(self.times)}
        if missing := [int(point) for point in points if int(point) not in place]:
            raise ArgumentError(f"This learning curve has steps {self.times[0]} to {self.times[-1]}; got {missing[0]}.")
        chosen = [place[int(point)] for point in points]
        parts = {name: rows[:, chosen] for name, rows in self.parts.items()}
        return replace(
            self,
            times=self.times[chosen],
            noiseless=self.noiseless[chosen],
            parts=parts,
            truncation=self.truncation[chosen],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as plain lists and numbers, for JSON; what is not finite is `None`."""
        return {
            **super().to_dict(),
            "times": self.times.tolist(),
            "contributions": {name: curve.tolist() for name, curve in self.contributions.items()},
        }

    def plot(self, ax: Any = None, *, label: str | None = None, colour: str | None = None) -> Any:
        """Draw the learning curve with two standard errors and the truncation figure as bands.

        Args:
            ax: matplotlib axes; new ones, with the noiseless path, if there are none.
            label: of the curve; the spacetime by default.
            colour: of the curve.

        Returns:
            The matplotlib axes.
        """
        from ..drawing import plot_curve

        return plot_curve(self, ax, label, colour)

    def plot_contributions(self, ax: Any = None) -> Any:
        """Draw what each part adds to the noiseless path, at every step.

        Returns:
            The matplotlib axes.
        """
        from ..drawing import plot_contributions

        return plot_contributions(self, ax)

    def __repr__(self) -> str:
        return f"<AnchoredPrediction of {self.quantity}, {self.spacetime}>"

    def __str__(self) -> str:
        last = ", ".join(f"{name} {curve[-1]:.4g}" for name, curve in self.contributions.items())
        return (
            f"{self.quantity} after {self.times[-1]} steps, {self.spacetime}: {self.mean[-1]:.6g} "
            f"{self.errors_text(-1)}\n  {last}{kinks_note(self.kinks)}"
        )
