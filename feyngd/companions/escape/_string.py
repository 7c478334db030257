"""A string of images between two points, relaxed until the gradient points along it: the path of least climb."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import integrate
from scipy.interpolate import CubicSpline

from ._surface import Surface

_SECOND_ORDER = 200  # parameters up to which images move by their Hessians
_REFRESHED = 10  # steps between Hessians
_DAMPING = 0.8  # of a step across the string
_FLOOR = 0.02  # of the largest curvature, added to all before they are inverted
_PATIENCE = 60  # steps without gain before shorter ones
_POWERS = 8  # steps of the power method
_PUSH = 1e-4  # of the length of a leg, by which descent starts beside a saddle
_SLOW = 1e-5  # of the largest gradient, at which descent has arrived
_TIMES = 1e7  # over the largest curvature, the longest time of descent


class Curve:
    """A smooth curve through images, by arc length.

    Args:
        images: shape (K, p).
    """

    def __init__(self, images: np.ndarray) -> None:
        self.arc = arc_lengths(images)
        self._spline = CubicSpline(self.arc, images)

    @property
    def length(self) -> float:
        """The whole arc length, as the images see it."""
        return float(self.arc[-1])

    def points(self, arc: np.ndarray) -> np.ndarray:
        """Return points at arc lengths, shape (n, p)."""
        return self._spline(arc)

    def tangents(self, arc: np.ndarray) -> np.ndarray:
        """Return unit tangents."""
        slopes = self._spline(arc, 1)
        return slopes / np.linalg.norm(slopes, axis=1, keepdims=True)

    def speeds(self, arc: np.ndarray) -> np.ndarray:
        """Return |dθ/ds| for the parameter s that `arc` measures: nearly 1."""
        return np.linalg.norm(self._spline(arc, 1), axis=1)


def arc_lengths(images: np.ndarray) -> np.ndarray:
    """Return the lengths of the polygon up to each image."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(images, axis=0), axis=1))])


def evenly(images: np.ndarray, count: int) -> np.ndarray:
    """Return images at equal arc lengths on the curve through some."""
    curve = Curve(images)
    fine = np.linspace(0, curve.length, 20 * count)
    points = curve.points(fine)
    true = arc_lengths(points)
    found = curve.points(np.interp(np.linspace(0, true[-1], count), true, fine))
    found[0], found[-1] = images[0], images[-1]
    return found


def relax(
    surface: Surface,
    images: np.ndarray,
    *,
    max_steps: int,
    rtol: float,
    tick: Callable[[], None] = lambda: None,
) -> tuple[np.ndarray, float]:
    """Move interior images down across the string, and keep them at equal distances, until the gradient is along it.

    A kink in a string travels along it with the speed of descent G·e. So a step of an image at distance d from the next
    is no longer than d/2(G·e) in time, which adds 2(G·e)/d to curvatures. Up to 200 parameters a step is a damped
    Newton step with absolute curvatures; beyond, one over the largest.

    Args:
        surface: the landscape.
        images: shape (K, p); the ends stay.
        max_steps: the most steps.
        rtol: the largest gradient across the string at which to stop, in units of the largest gradient along it.
        tick: called after every step.

    Returns:
        The images, and the largest gradient across the string in the same units.
    """
    count, size = images.shape
    images = evenly(images, count)
    if size == 1:
        return images, 0.0
    best, best_images, since, damping = np.inf, images, 0, _DAMPING
    curvatures: Any = None
    for step in range(max_steps):
        length = arc_lengths(images)[-1]
        losses, slopes = surface.gradients(images)
        slopes, tangents = slopes[1:-1], _uphill(images, losses)
        along = np.sum(slopes * tangents, axis=1)
        across = slopes - along[:, None] * tangents
        off = float(np.linalg.norm(across, axis=1).max() / max(np.abs(along).max(), 1e-300))
        since = 0 if off < best else since + 1
        if off < best:
            best, best_images = off, images
        if off <= rtol:
            break
        if since > _PATIENCE:  # it swings: shorter steps, from the best string so far
            damping, images, since, curvatures = damping / 2, best_images, 0, None
            if damping < _DAMPING / 30:
                break
            continue
        if curvatures is None or step % _REFRESHED == 0:
            curvatures = _curvatures(surface, images)
        moving = 2 * np.abs(along) * count / length
        move = damping * _across(curvatures, moving, across)
        move -= np.sum(move * tangents, axis=1, keepdims=True) * tangents
        longest = 0.5 * length / count
        move *= np.minimum(1, longest / np.maximum(np.linalg.norm(move, axis=1), 1e-300))[:, None]
        moved = images.copy()
        moved[1:-1] -= move
        images = evenly(moved, count)
        tick()
    return best_images, best


def _uphill(images: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Return unit tangents at interior images toward the higher neighbour, from where kinks come; blended at extrema.

    Henkelman and Jónsson, "Improved tangent estimate in the nudged elastic band method", J. Chem. Phys. 113, 9978.
    """
    forth, back = np.diff(images, axis=0)[1:], np.diff(images, axis=0)[:-1]
    before, here, after = losses[:-2], losses[1:-1], losses[2:]
    rises = np.sort(np.abs(np.stack([after - here, before - here])), axis=0)
    up, is_slope = after > before, (after > here) == (here > before)
    weight = np.where(is_slope, 1.0, rises[1] / np.maximum(rises.sum(axis=0), 1e-300))
    weight = np.where(up, weight, 1 - weight)[:, None]
    tangents = weight * forth + (1 - weight) * back
    return tangents / np.linalg.norm(tangents, axis=1, keepdims=True)


def _curvatures(surface: Surface, images: np.ndarray) -> Any:
    """Return curvatures in size with their vectors at interior images; beyond 200 parameters the largest alone."""
    if surface.size > _SECOND_ORDER:
        return np.array([max(largest_curvature(surface, point) for point in images[1:-1:3])])
    values, vectors = np.linalg.eigh(np.stack([surface.hessian(point) for point in images[1:-1]]))
    return np.abs(values) + _FLOOR * np.abs(values).max(axis=1, keepdims=True), vectors


def _across(curvatures: Any, moving: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Return gradients divided by curvatures that the motion along the string is added to."""
    if not isinstance(curvatures, tuple):
        return across / (curvatures + moving)[:, None]
    sizes, vectors = curvatures
    shares = np.einsum("kij,ki->kj", vectors, across) / (sizes + moving[:, None])
    return np.einsum("kij,kj->ki", vectors, shares)


def largest_curvature(surface: Surface, point: np.ndarray) -> float:
    """Return the largest curvature in size at a point, nearly, by power steps."""
    vector, size = np.ones(surface.size) / surface.size**0.5, 0.0
    for _ in range(_POWERS):
        image = surface.products(point, vector[None])[0]
        size = float(np.linalg.norm(image))
        vector = image / max(size, 1e-300)
    return max(size, 1e-300)


def descent(surface: Surface, saddle: np.ndarray, direction: np.ndarray, length: float) -> np.ndarray:
    """Return points on the path of steepest descent from beside a saddle to near a minimum, the saddle first.

    The equation θ' = −G is stiff, and solved with its Jacobian −H: this is the path that a string tends to.

    Args:
        surface: the landscape.
        saddle: where it starts.
        direction: the side.
        length: of the leg, against which the first push is short.
    """
    start = saddle + _PUSH * length * direction
    largest = 0.0

    def slow(_: float, point: np.ndarray) -> float:
        nonlocal largest
        size = float(np.linalg.norm(surface.gradient(point)[1]))
        largest = max(largest, size)
        return size - _SLOW * largest

    slow.terminal = True  # type: ignore[attr-defined]
    slow.direction = -1  # type: ignore[attr-defined]
    horizon = _TIMES / largest_curvature(surface, saddle)
    found = integrate.solve_ivp(
        lambda _, point: -surface.gradient(point)[1],
        (0.0, horizon),
        start,
        method="LSODA",
        jac=lambda _, point: -surface.hessian(point),
        events=slow,
        rtol=1e-7,
        atol=1e-8 * length,
    )
    return np.concatenate([saddle[None], found.y.T])


def without_doubles(rows: np.ndarray) -> np.ndarray:
    """Return rows without those that (nearly) repeat the one before; the last is kept."""
    lengths = np.linalg.norm(np.diff(rows, axis=0), axis=1)
    shortest, kept = 1e-5 * lengths.sum(), [0]
    for i in range(1, len(rows) - 1):
        if np.linalg.norm(rows[i] - rows[kept[-1]]) > shortest and np.linalg.norm(rows[-1] - rows[i]) > shortest:
            kept.append(i)
    return rows[[*kept, len(rows) - 1]]
