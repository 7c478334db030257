"""Paths over barriers: images with what a run meets there, and legs from one minimum over a saddle to the next."""

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from ...drawing import new_figure
from ._critical_point import CriticalPoint
from ._string import Curve
from ._surface import Surface


@dataclass(frozen=True, eq=False)
class EscapePath:
    """A path between two minima, as images at nearly equal distances.

    Attributes:
        images: a pytree with a leading axis of images.
        arc: the arc length up to each image, in the unit of the parameters, shape (images,), like all that follow.
        loss: the mean loss.
        slope: G·e with the unit tangent e.
        noise: C_e, the variance of one example's slope.
        curvature: H_e.
        turn: by how much the tangent has turned from that at the start, in radians.
        legs: from minimum to minimum, with the saddle between; a path of one leg is its leg's profile.
        off: the largest gradient across the path, in units of the largest along it.
    """

    images: Any
    arc: np.ndarray
    loss: np.ndarray
    slope: np.ndarray
    noise: np.ndarray
    curvature: np.ndarray
    turn: np.ndarray
    legs: tuple["Leg", ...] = field(default=(), repr=False)
    off: float = 0.0

    @property
    def barrier(self) -> float:
        """The highest loss on the path less that at its start."""
        saddles = [leg.saddle.loss for leg in self.legs]
        return float(max([*saddles, self.loss.max()]) - self.loss[0])

    def reversed(self) -> "EscapePath":
        """Return the path from its end to its start."""
        back = replace(
            self,
            images=jax.tree.map(lambda leaf: leaf[::-1], self.images),
            arc=self.arc[-1] - self.arc[::-1],
            loss=self.loss[::-1],
            slope=-self.slope[::-1],
            noise=self.noise[::-1],
            curvature=self.curvature[::-1],
            turn=self.turn[::-1],
            legs=tuple(leg.reversed() for leg in self.legs[::-1]),
        )
        if len(self.turn) > 1:
            object.__setattr__(back, "turn", np.abs(self.turn[-1] - self.turn)[::-1])
        return back

    def __str__(self) -> str:
        rows = []
        for i, leg in enumerate(self.legs):
            losses = " to ".join([f"{leg.minimum.loss:.6g} over {leg.saddle.loss:.6g}", f"{leg.far.loss:.6g}"])
            rows.append(f"{i + 1}. {losses}: barrier {leg.barrier:.4g}")
        first = f"path of length {self.arc[-1]:.4g} over a barrier of {self.barrier:.4g}, {len(self.arc)} images"
        return "\n".join([first, *rows])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        names = ("arc", "loss", "slope", "noise", "curvature", "turn")
        plain = {name: getattr(self, name).tolist() for name in names}
        return {**plain, "barrier": self.barrier, "off": self.off, "legs": [leg.to_dict() for leg in self.legs]}

    def plot(self, ax: Any = None) -> Any:
        """Plot the loss along the path with its minima and saddles, and the noise; returns the axes of the loss."""
        if ax is None:
            _, axes = new_figure()
            ax = axes[0, 0]
        ax.plot(self.arc, self.loss, color="#0072B2", label="loss")
        ends = 0.0
        for leg in self.legs:
            places = [ends, ends + leg.saddle_arc, ends + leg.profile.arc[-1]]
            losses = [leg.minimum.loss, leg.saddle.loss, leg.far.loss]
            ax.plot(places[::2], losses[::2], "o", color="#009E73", label=None if ends else "minimum")
            ax.plot(places[1:2], losses[1:2], "^", color="#E69F00", label=None if ends else "saddle")
            ends = places[-1]
        ax.set_xlabel("arc length")
        ax.set_ylabel("mean loss")
        other = ax.twinx()
        other.plot(self.arc, self.noise, color="#CC79A7", linestyle=(0, (3, 2)), label="noise C_e")
        other.set_ylabel("variance of one example's slope")
        other.set_ylim(0, 1.25 * max(float(self.noise.max()), 1e-300))
        lines = [*ax.get_lines(), *other.get_lines()]
        shown = [line for line in lines if not line.get_label().startswith("_")]
        ax.set_ylim(top=self.loss.min() + 1.35 * (np.ptp(self.loss) or 1.0))
        ax.legend(shown, [line.get_label() for line in shown], loc="upper left", ncols=2, frameon=False)
        return ax


@dataclass(frozen=True, eq=False)
class Leg:
    """One way out of a minimum: over a saddle of index 1 to the next minimum.

    Attributes:
        minimum: a, where runs start.
        saddle: b.
        far: the minimum beyond.
        profile: the path from a over b to the far minimum.
        at_saddle: the image of the profile that is the saddle.
        track: more points on the same path, as vectors, which integrals along it use.
        track_saddle: which of them is the saddle.
    """

    minimum: CriticalPoint
    saddle: CriticalPoint
    far: CriticalPoint
    profile: EscapePath
    at_saddle: int
    track: np.ndarray = field(repr=False)
    track_saddle: int = field(repr=False)

    @property
    def barrier(self) -> float:
        """ΔL = l_b − l_a."""
        return self.saddle.loss - self.minimum.loss

    @property
    def saddle_arc(self) -> float:
        """The arc length from the minimum to the saddle."""
        return float(self.profile.arc[self.at_saddle])

    def reversed(self) -> "Leg":
        """Return the leg from the far minimum back."""
        last, end = len(self.profile.arc) - 1, len(self.track) - 1
        back = replace(self.profile, legs=()).reversed()
        ends = self.far, self.saddle, self.minimum
        return Leg(*ends, back, last - self.at_saddle, self.track[::-1], end - self.track_saddle)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        points = {name: getattr(self, name).to_dict() for name in ("minimum", "saddle", "far")}
        return {**points, "barrier": self.barrier, "saddle_arc": self.saddle_arc}


def profile(surface: Surface, images: np.ndarray, legs: tuple[Leg, ...] = (), off: float = 0.0) -> EscapePath:
    """Return images with what a run meets there."""
    curve = Curve(images)
    tangents = curve.tangents(curve.arc)
    loss, slope, noise, curvature = surface.along(images, tangents)
    turn = np.arccos(np.clip(tangents @ tangents[0], -1, 1))
    return EscapePath(surface.shaped(images), curve.arc, loss, slope, noise, curvature, turn, legs, off)


def vectors_of(surface: Surface, path: EscapePath) -> np.ndarray:
    """Return the images of a path as vectors, shape (images, p)."""
    leaves = jax.tree.leaves(path.images)
    return np.concatenate([np.reshape(np.asarray(x, dtype=float), (len(path.arc), -1)) for x in leaves], axis=1)
