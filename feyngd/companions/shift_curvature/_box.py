"""A grid on a box in up to three dimensions: Gauss points in panels, antiderivatives, minima and their basins."""

from functools import cache, cached_property
from itertools import product

import numpy as np
from numpy.polynomial import legendre

_POINTS = 8  # Gauss points of a panel


@cache
def _rule() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return nodes and weights on (−1, 1), and the matrix from values at nodes to integrals from −1 up to them."""
    nodes, weights = legendre.leggauss(_POINTS)
    to_coefficients = np.linalg.inv(legendre.legvander(nodes, _POINTS - 1))
    integrated = legendre.legint(to_coefficients, lbnd=-1, axis=0)
    return nodes, weights, legendre.legvander(nodes, _POINTS) @ integrated


class Axis:
    """One side of a box in panels.

    Args:
        edges: where panels begin and end, increasing, shape (panels + 1,).
    """

    def __init__(self, edges: np.ndarray) -> None:
        nodes, weights, _ = _rule()
        self.half = np.diff(edges) / 2
        self.centres = (edges[1:] + edges[:-1]) / 2
        self.points = (self.centres[:, None] + self.half[:, None] * nodes).ravel()
        self.weights = (self.half[:, None] * weights).ravel()
        self.middle = edges[len(self.half) // 2]

    def antiderivative(self, values: np.ndarray) -> np.ndarray:
        """Return integrals along the last axis, from the middle of the side to its points; shape as given."""
        _, weights, within = _rule()
        panels = values.reshape(*values.shape[:-1], len(self.half), _POINTS)
        inside = np.einsum("...kn,mn->...km", panels, within) * self.half[:, None]
        whole = (panels @ weights) * self.half
        start = np.cumsum(whole, axis=-1) - whole
        start = start - np.take(start, [len(self.half) // 2], axis=-1)  # 0 at the middle
        return (inside + start[..., None]).reshape(values.shape)


class Grid:
    """The points of a box, and where each lies between the minima of a function on them.

    Args:
        axes: one for every dimension.
    """

    def __init__(self, axes: list[Axis]) -> None:
        self.axes = axes
        self.shape = tuple(len(axis.points) for axis in axes)

    @classmethod
    def regular(cls, box: np.ndarray, panels: int) -> "Grid":
        """Return a grid with a number of equal panels on every side of a box of shape (p, 2)."""
        return cls([Axis(np.linspace(low, high, panels + 1)) for low, high in box])

    @cached_property
    def points(self) -> np.ndarray:
        """All points, shape (n, p), the last coordinate running fastest."""
        mesh = np.meshgrid(*(axis.points for axis in self.axes), indexing="ij")
        return np.stack([each.ravel() for each in mesh], axis=1)

    @cached_property
    def weights(self) -> np.ndarray:
        """The volume that each point stands for, shape (n,)."""
        total = np.ones(())
        for axis in self.axes:
            total = np.multiply.outer(total, axis.weights)
        return total.ravel()

    @cached_property
    def at_edge(self) -> np.ndarray:
        """Whether a point is among the outermost ones of a side, shape (n,)."""
        inside = np.zeros(self.shape, dtype=bool)
        inside[(slice(1, -1),) * len(self.shape)] = True
        return ~inside.ravel()

    def lines(self, number: int) -> np.ndarray:
        """Return points along one axis: earlier coordinates as on the grid, later ones at the middle of their sides."""
        sides = [axis.points for axis in self.axes[: number + 1]]
        mesh = np.meshgrid(*sides, *([axis.middle] for axis in self.axes[number + 1 :]), indexing="ij")
        return np.stack([each.ravel() for each in mesh], axis=1)

    def descents(self, values: np.ndarray) -> np.ndarray:
        """Return for every point the one at which steepest descent between neighbours ends, shape (n,).

        Args:
            values: of a function, shape (n,).
        """
        table = np.pad(values.reshape(self.shape), 1, constant_values=np.inf)
        places = [np.pad(axis.points, 1, constant_values=np.nan) for axis in self.axes]
        numbers = np.pad(np.arange(values.size).reshape(self.shape), 1)
        own = tuple(slice(1, -1) for _ in self.shape)
        steepest, target = np.zeros(self.shape), numbers[own].copy()
        for offset in product((-1, 0, 1), repeat=len(self.shape)):
            if any(offset):
                there = tuple(slice(1 + step, step - 1 or None) for step in offset)
                apart = np.zeros(())
                for place, step in zip(places, offset, strict=True):
                    moved = place[1 + step : step - 1 or None] - place[1:-1]
                    apart = np.add.outer(apart, moved**2)
                with np.errstate(invalid="ignore"):
                    slope = (table[own] - table[there]) / np.sqrt(apart)
                better = slope > steepest
                steepest, target = np.where(better, slope, steepest), np.where(better, numbers[there], target)
        ends = target.ravel()
        while not np.array_equal(following := ends[ends], ends):
            ends = following
        return ends

    def nearest(self, point: np.ndarray) -> int:
        """Return the number of the grid's point nearest to a point in the box."""
        at = [int(np.abs(axis.points - x).argmin()) for axis, x in zip(self.axes, point, strict=True)]
        return int(np.ravel_multi_index(at, self.shape))


def antiderivative(grid: Grid, slopes: list[np.ndarray]) -> np.ndarray:
    """Return a function on the grid from its gradient, 0 at the middle of the box, shape (n,).

    Args:
        grid: the points.
        slopes: for every axis the derivative along it on `Grid.lines`.
    """
    total = np.zeros(())
    for number, (axis, slope) in enumerate(zip(grid.axes, slopes, strict=True)):
        along = axis.antiderivative(slope.reshape(grid.shape[: number + 1]))
        total = total[..., None] + along
    return total.ravel()
