"""Finding a path between two minima: strings, the minima on the way, and the saddle of every leg."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..._arguments import check_integer
from ..._keys import check_key
from ...errors import ArgumentError, LandscapeError
from ...landscapes import Landscape
from ...progress import Progress, check_progress
from .._numbers import check_number
from ._align import aligned
from ._critical_point import CriticalPoint, check_minimum, check_saddle, describe, to_minimum, to_saddle
from ._escape_path import EscapePath, Leg, profile, vectors_of
from ._string import descent, evenly, largest_curvature, relax, without_doubles
from ._surface import Surface

_NEAR = 0.1  # of the distance between the ends, by which polishing may move one
_SAME = 1e-3  # of the length of a leg, within which two minima are one
_MOST_LEGS = 24
EXACT = 500  # parameters up to which paths of descent from saddles are integrated, and not relaxed as strings
_ROUGH = 0.1  # the tolerance of strings that only have to find minima and saddles
_FINER = 8  # points between two images, for integrals
_DESCENT = 200  # gentle steps down from a saddle before longer ones
_PUSH = 0.01  # of the length of a leg, by which they start beside a saddle
_ABOVE = 0.1  # of the range of losses on a string, by which its saddle may lie outside


def find_path(
    landscape: Landscape,
    start: Any,
    end: Any,
    *,
    images: int = 31,
    max_steps: int = 2000,
    rtol: float = 1e-3,
    align: str | None = None,
    max_eigen_steps: int = 128,
    chunk_size: int = 64,
    progress: Progress | bool | None = None,
    key: Any,
) -> EscapePath:
    """Find the path of least climb between two minima of the mean loss, with the minima and saddles on it.

    A string of images is relaxed until the gradient points along it. It is split at minima on the way. The highest
    image of each piece is refined to a saddle of index 1, from which descent on both sides has to end in the minima of
    the piece; otherwise it is split again. At the end every leg is a string through its saddle.

    All of it is in double precision, whatever the parameters are in. A string costs images × steps gradients of the
    mean loss, see `plan`.

    Args:
        landscape: the loss and its data.
        start: near a minimum, a pytree of parameters.
        end: near another one.
        images: of every leg, at least 5.
        max_steps: the most steps of every string.
        rtol: the largest gradient across a string, in units of the largest along it.
        align: "permutation" matches the hidden units of the end to those of the start first.
        max_eigen_steps: the most steps of Lanczos' method, beyond 1,500 parameters.
        chunk_size: how many examples are differentiated together.
        progress: shows progress; silent by default.
        key: a JAX random key, for Lanczos' method.

    Returns:
        An `EscapePath`; its `legs` are what `escape_time` takes.

    Raises:
        ArgumentError: an argument is not allowed, or an end is not near a minimum, or both are one.
        LandscapeError: a minimum on the way is flat, or a piece has no saddle of index 1 between its minima.

    References:
        E, Ren and Vanden-Eijnden, "Simplified and improved string method", J. Chem. Phys. 126, 164103 (2007).

    Examples:
        >>> import jax
        >>> from feyngd.companions import escape as esc
        >>> from feyngd.landscapes import toys
        >>> well, _ = toys.double_well()
        >>> print(esc.find_path(well, -1.0, 0.9, key=jax.random.key(0)))
        path of length 1.992 over a barrier of 0.3574, 31 images
        1. -0.352386 over 0.00502552 to -0.152639: barrier 0.3574
    """
    check_integer("images", images, least=5)
    check_integer("max_steps", max_steps, least=1)
    check_integer("max_eigen_steps", max_eigen_steps, least=2)
    check_number("rtol", rtol, above=0)
    check_key(key, "Lanczos' method starts at random")
    shown = check_progress(progress)
    surface = Surface(landscape, start, chunk_size)
    first, last = surface.start, surface.flat(end)
    if align is not None:
        last = aligned(surface, first, last, align)
    if np.array_equal(first, last):
        raise ArgumentError("Start and end are the same point: a path leads from one minimum to another.")
    distance = float(np.linalg.norm(last - first))
    search = _Search(surface, images, max_steps, rtol, max_eigen_steps, key)
    a, c = search.polished_ends(first, last, distance)
    with shown.task(max_steps, "steps of the string") as task:
        search.tick = task.advance
        legs = search.legs(a, c)
    if len(legs) == 1:
        return replace(legs[0].profile, legs=legs)
    vectors = [vectors_of(surface, leg.profile) for leg in legs]
    joined = np.concatenate([vectors[0], *(part[1:] for part in vectors[1:])])
    return profile(surface, joined, legs, max(leg.profile.off for leg in legs))


class _Search:
    """What finds the legs of one path."""

    def __init__(
        self, surface: Surface, images: int, max_steps: int, rtol: float, max_eigen_steps: int, key: Any
    ) -> None:
        self.surface, self.images, self.max_steps, self.rtol = surface, images, max_steps, rtol
        self.max_eigen_steps, self.key = max_eigen_steps, key
        self.tick: Any = lambda: None
        self._made, self.off = 0, 0.0

    def point(self, at: np.ndarray, steps: int = 0) -> CriticalPoint:
        return describe(self.surface, at, self.key, steps, self.max_eigen_steps)

    def polished_ends(self, first: np.ndarray, last: np.ndarray, distance: float) -> list[CriticalPoint]:
        """Return the minima near both ends, or raise unless they are near and two."""
        found = [to_minimum(self.surface, at, distance) for at in (first, last)]
        if np.linalg.norm(found[0][0] - found[1][0]) <= _SAME * distance:
            raise ArgumentError("Start and end descend to the same minimum: give two that a barrier separates.")
        points = []
        for name, at, (end, steps) in zip(("start", "end"), (first, last), found, strict=True):
            moved = float(np.linalg.norm(end - at)) / distance
            if not moved <= _NEAR:
                raise ArgumentError(
                    f"The {name} is not near a minimum: descent moves it by {moved:.3g} of the distance between the "
                    f"ends, and {_NEAR:g} is allowed. Descend first, with feyngd.minima.minimum, or train for longer."
                )
            points.append(self.point(end, steps))
            check_minimum(points[-1], f"The {name} of a path")
        return points

    def legs(self, a: CriticalPoint, c: CriticalPoint) -> tuple[Leg, ...]:
        """Return the legs between two minima."""
        self._made += 1
        if self._made > _MOST_LEGS:
            raise LandscapeError(
                f"The path was split {_MOST_LEGS} times without an end: the landscape is too rough, or nearly flat, on "
                "the way. Add a penalty to the loss, or give ends that are closer."
            )
        ends = [self.surface.flat(point.params) for point in (a, c)]
        string = np.linspace(ends[0], ends[1], self.images)
        rtol = max(self.rtol, _ROUGH) if self.surface.size <= EXACT else self.rtol
        string, _ = relax(self.surface, string, max_steps=self.max_steps, rtol=rtol, tick=self.tick)
        losses = self.surface.losses(string)
        between = self._minima_between(string, losses, ends)
        if between:
            chain = [a, *between, c]
            return tuple(leg for one, other in pairwise(chain) for leg in self.legs(one, other))
        return self._leg(a, c, string, losses)

    def _minima_between(self, string: np.ndarray, losses: np.ndarray, ends: list[np.ndarray]) -> list[CriticalPoint]:
        """Return minima at the dips of a string, in order, without its ends and each once."""
        length = float(np.linalg.norm(np.diff(string, axis=0), axis=1).sum())
        deep = 1e-6 * np.ptp(losses)
        dips = [
            i
            for i in range(1, len(losses) - 1)
            if losses[i] < min(losses[:i].max(), losses[i + 1 :].max()) - deep
            and losses[i] <= losses[i - 1]
            and losses[i] <= losses[i + 1]
        ]
        found: list[CriticalPoint] = []
        known = list(ends)
        for i in dips:
            at, steps = to_minimum(self.surface, string[i], length)
            if all(np.linalg.norm(at - other) > _SAME * length for other in known):
                point = self.point(at, steps)
                check_minimum(point, "A minimum on the path")
                known.append(at)
                found.append(point)
        return found

    def _leg(self, a: CriticalPoint, c: CriticalPoint, string: np.ndarray, losses: np.ndarray) -> tuple[Leg, ...]:
        """Refine the saddle of a piece, and split the piece if descent from it ends elsewhere."""
        surface = self.surface
        length = float(np.linalg.norm(np.diff(string, axis=0), axis=1).sum())
        top = int(np.argmax(losses[1:-1])) + 1
        tangent = string[top + 1] - string[top - 1]
        tangent = tangent / np.linalg.norm(tangent)
        at, steps = to_saddle(
            surface,
            string[top],
            tangent,
            radius=0.05 * length,
            max_steps=500,
            max_eigen_steps=self.max_eigen_steps,
        )
        saddle = self.point(at, steps)
        self._check_refined(saddle, a, c, losses)
        ways = surface.flat(saddle.direction)
        ways = ways if ways @ tangent > 0 else -ways
        tracks = [self._down(at, sign * ways, length) for sign in (-1, 1)]
        minima = [surface.flat(point.params) for point in (a, c)]
        near = [[float(np.linalg.norm(track[-1] - end)) <= _SAME * length for end in minima] for track in tracks]
        if near[0][1] and near[1][0]:  # the string came over the saddle sideways
            tracks, near = tracks[::-1], [near[1], near[0]]
        if near[0][0] and near[1][1]:
            return (self._through(a, saddle, c, tracks),)
        if np.linalg.norm(tracks[0][-1] - tracks[1][-1]) <= _SAME * length:
            raise LandscapeError(
                f"Descent from both sides of the saddle at l = {saddle.loss:.6g} ends in one minimum: it is not "
                "between these two. Give more images, or other ends."
            )
        inner = [self.point(track[-1]) for track in tracks]
        for point in inner:
            check_minimum(point, "A minimum beside a saddle")
        through = self._through(inner[0], saddle, inner[1], tracks)
        before = () if near[0][0] else self.legs(a, inner[0])
        after = () if near[1][1] else self.legs(inner[1], c)
        return (*before, through, *after)

    def _check_refined(self, saddle: CriticalPoint, a: CriticalPoint, c: CriticalPoint, losses: np.ndarray) -> None:
        check_saddle(saddle)
        if not saddle.is_critical:
            raise LandscapeError(
                f"The saddle of a leg was refined to ‖G‖ = {saddle.gradient_norm:.2g} only, "
                f"{saddle.relative_gradient:.1g} of rms‖∇l_n‖: give more images or steps, or add a penalty to the loss."
            )
        slack = _ABOVE * np.ptp(losses)
        if not max(a.loss, c.loss) - slack <= saddle.loss <= losses.max() + slack:
            raise LandscapeError(
                f"The refinement left the leg: its saddle would be at l = {saddle.loss:.6g}, and the leg's losses are "
                f"{losses.min():.6g} to {losses.max():.6g}. Give more images={self.images} or steps."
            )

    def _down(self, at: np.ndarray, direction: np.ndarray, length: float) -> np.ndarray:
        """Return the path of descent from a saddle to the minimum on one side, both included."""
        surface = self.surface
        if surface.size <= EXACT:
            track = descent(surface, at, direction, length)
        else:
            track = self._coarse_descent(at, direction, length)
        end, _ = to_minimum(surface, track[-1], 0.1 * length)
        track = without_doubles(np.concatenate([track, end[None]]))
        if surface.size <= EXACT:
            return track
        relaxed, self.off = relax(
            surface, evenly(track, self.images), max_steps=self.max_steps, rtol=self.rtol, tick=self.tick
        )
        return relaxed

    def _coarse_descent(self, at: np.ndarray, direction: np.ndarray, length: float) -> np.ndarray:
        """Descend by plain steps, gently, so that the nearest minimum is found."""
        track, point = [at], at + _PUSH * length * direction
        rate = 0.5 / largest_curvature(self.surface, at)
        for _ in range(_DESCENT):
            move = -rate * self.surface.gradient(point)[1]
            size = float(np.linalg.norm(move))
            if size < 1e-7 * length:
                break
            point = point + move * min(1.0, 0.05 * length / size)
            track.append(point)
        return np.stack(track)

    def _through(self, a: CriticalPoint, saddle: CriticalPoint, c: CriticalPoint, tracks: list[np.ndarray]) -> Leg:
        """Return the leg whose profile passes through its saddle, from the paths of descent on both sides."""
        counts = (self.images + 1) // 2, self.images - (self.images + 1) // 2 + 1
        back, forth = tracks[0][::-1], tracks[1]

        def joined(numbers: Sequence[int]) -> np.ndarray:
            return np.concatenate([evenly(back, numbers[0]), evenly(forth, numbers[1])[1:]])

        fine = joined([_FINER * (count - 1) + 1 for count in counts])
        shown = profile(self.surface, joined(counts), off=self.off)
        return Leg(a, saddle, c, shown, counts[0] - 1, fine, _FINER * (counts[0] - 1))
