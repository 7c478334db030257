"""Functions of one number as polynomials on panels, fine enough for double precision, with panels split at jumps."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

Functions = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

_DEGREE = 16
_NODES = np.cos(np.pi * (2 * np.arange(_DEGREE) + 1) / (2 * _DEGREE))  # Chebyshev's
_INVERSE = np.linalg.inv(np.polynomial.chebyshev.chebvander(_NODES, _DEGREE - 1))
_CHECKS = np.array([-0.93, -0.51, 0.13, 0.71])
_TOLERANCE = 1e-12
_ROUNDS = 14
_GRID = 4001  # places among which jumps are looked for
_SPLITS = 60


class Resolved:
    """Two functions of one number, evaluated until polynomials on panels agree with them; callable at places.

    Args:
        functions: from places to the values of both.
        first: the left end.
        last: the right end.

    Attributes:
        first, last: the ends.
        jumps: where one of the functions jumps, to double precision.
    """

    def __init__(self, functions: Functions, first: float, last: float) -> None:
        self._functions, self.first, self.last = functions, first, last
        self.jumps = _jumps(functions, first, last)
        cuts = np.unique(np.concatenate([[first], self.jumps, [last]]))
        self._edges = np.unique(np.concatenate([np.linspace(a, b, 9) for a, b in pairwise(cuts)]))
        self._fit()

    def __call__(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return both functions at places."""
        panel = np.clip(np.searchsorted(self._edges, places, side="right") - 1, 0, len(self._edges) - 2)
        left, right = self._edges[panel], self._edges[panel + 1]
        powers = np.polynomial.chebyshev.chebvander((2 * places - left - right) / (right - left), _DEGREE - 1)
        first, second = np.einsum("nk,fnk->fn", powers, self._coefficients[:, panel])
        return first, second

    def refined(
        self, left: float, cuts: list[float], slope: Callable[[np.ndarray, np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """Return edges of panels from a place to the right end, on each of which the integral of a slope is small.

        Args:
            left: the first edge.
            cuts: more places that have to be edges.
            slope: from both functions to the slope, not negative.
        """
        ends = np.unique(np.concatenate([[left, self.last], cuts, self.jumps, self._edges]))
        ends = ends[(ends >= left) & (ends <= self.last)]
        inside = ends[:-1, None] + np.diff(ends)[:, None] * np.linspace(0.02, 0.98, 9)
        steep = slope(*self(inside.ravel())).reshape(inside.shape).max(axis=1)
        numbers = np.maximum(np.ceil(1.5 * steep * np.diff(ends)), 1).astype(int)
        parts = [np.linspace(*pair, n + 1)[:-1] for pair, n in zip(pairwise(ends), numbers, strict=True)]
        return np.concatenate([*parts, ends[-1:]])

    def _fit(self) -> None:
        """Split panels until the polynomials agree with the functions between their nodes."""
        for _ in range(_ROUNDS):
            left, right = self._edges[:-1, None], self._edges[1:, None]
            at = np.concatenate([_NODES, _CHECKS])
            places = (left + right) / 2 + (right - left) / 2 * at
            values = np.stack(self._functions(places.ravel())).reshape(2, *places.shape)
            self._coefficients = values[:, :, :_DEGREE] @ _INVERSE.T
            guesses = self._coefficients @ np.polynomial.chebyshev.chebvander(_CHECKS, _DEGREE - 1).T
            scale = np.abs(values).max(axis=(1, 2), keepdims=True) + 1e-300
            off = np.abs(values[:, :, _DEGREE:] - guesses) / scale
            bad = np.any(off > _TOLERANCE, axis=(0, 2)) & (np.diff(self._edges) > 1e-6 * (self.last - self.first))
            if not bad.any():
                return
            middles = (self._edges[:-1] + self._edges[1:])[bad] / 2
            self._edges = np.sort(np.concatenate([self._edges, middles]))
        self._edges = np.setdiff1d(self._edges, middles)  # those of the last round have no polynomials yet


def _jumps(functions: Functions, first: float, last: float) -> np.ndarray:
    """Return where a function jumps: the change between two places does not shrink when they move together."""
    places = np.linspace(first, last, _GRID)
    values = np.stack(functions(places))
    change = np.abs(np.diff(values, axis=1))
    scale = np.abs(values).max(axis=1, keepdims=True) + 1e-300
    high = np.any(change > 1e-9 * scale + 8 * np.median(change, axis=1, keepdims=True), axis=0)
    left, right = places[:-1][high], places[1:][high]
    if not left.size:
        return left
    at_left, at_right, before = values[:, :-1][:, high], values[:, 1:][:, high], change[:, high]
    for _ in range(_SPLITS):
        middle = (left + right) / 2
        at_middle = np.stack(functions(middle))
        at_the_left, at_the_right = (
            (np.abs(part) / scale).max(axis=0) for part in (at_middle - at_left, at_right - at_middle)
        )
        is_left = at_the_left >= at_the_right
        right, at_right = np.where(is_left, middle, right), np.where(is_left, at_middle, at_right)
        left, at_left = np.where(is_left, left, middle), np.where(is_left, at_left, at_middle)
    is_jump = np.any((np.abs(at_right - at_left) > 0.5 * before) & (before > 1e-9 * scale), axis=0)
    return np.unique(right[is_jump])
