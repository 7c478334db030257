"""The axis of a single parameter: Gauss points in panels, integrals, antiderivatives, and whether they are resolved."""

from functools import cache

import numpy as np
from numpy.polynomial import legendre

_POINTS = 16  # Gauss points of a panel
_TAIL = 3  # of a panel's Legendre coefficients, the last ones, which tell whether it is narrow enough


@cache
def _rule() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return nodes, weights, the matrix to integrals from −1 up to each node, and the one to the last coefficients."""
    nodes, weights = legendre.leggauss(_POINTS)
    to_coefficients = np.linalg.inv(legendre.legvander(nodes, _POINTS - 1))
    integrated = legendre.legint(to_coefficients, lbnd=-1, axis=0)
    return nodes, weights, legendre.legvander(nodes, _POINTS) @ integrated, to_coefficients[-_TAIL:]


class Axis:
    """Points on a domain, with a base point between two panels; both ends are points of weight 0.

    Args:
        low, high: the ends of the domain.
        base: the base point, inside.
        panels: the number of panels, each with 16 points.

    Attributes:
        points: θ, increasing, shape (G,).
        weights: the length that each stands for, shape (G,).
    """

    def __init__(self, low: float, high: float, base: float, panels: int) -> None:
        left = min(max(round(panels * (base - low) / (high - low)), 1), panels - 1)
        edges = np.concatenate([np.linspace(low, base, left + 1), np.linspace(base, high, panels - left + 1)[1:]])
        nodes, weights, _, _ = _rule()
        self._left, self._edges, self._half = left, edges, np.diff(edges) / 2
        inner = (edges[1:] + edges[:-1])[:, None] / 2 + self._half[:, None] * nodes
        self.points = np.concatenate([[low], inner.ravel(), [high]])
        self.weights = np.concatenate([[0.0], (self._half[:, None] * weights).ravel(), [0.0]])

    def _panels(self, values: np.ndarray) -> np.ndarray:
        return values[..., 1:-1].reshape(*values.shape[:-1], len(self._half), _POINTS)

    def antiderivative(self, values: np.ndarray) -> np.ndarray:
        """Return integrals along the last axis from the base point to every point, shape as given."""
        _, weights, within, _ = _rule()
        panels = self._panels(values)
        whole = (panels @ weights) * self._half
        ends = np.concatenate([np.zeros((*whole.shape[:-1], 1)), np.cumsum(whole, axis=-1)], axis=-1)
        ends -= ends[..., self._left, None]  # 0 at the base point
        inner = (panels @ within.T) * self._half[:, None] + ends[..., :-1, None]
        return np.concatenate([ends[..., :1], inner.reshape(*values.shape[:-1], -1), ends[..., -1:]], axis=-1)

    def unresolved(self, values: np.ndarray) -> np.ndarray:
        """Return by how much the integral over every panel may be wrong, shape (..., panels): its last coefficients."""
        last = _rule()[3]
        return np.abs(self._panels(values) @ last.T).max(axis=-1) * 2 * self._half

    def peaks(self, values: np.ndarray) -> np.ndarray:
        """Return the largest value in every panel, shape (..., panels)."""
        return self._panels(values).max(axis=-1)

    def value_at(self, values: np.ndarray, place: float) -> np.ndarray:
        """Return functions at a place in the domain from their values at the points, shape (...)."""
        panel = int(np.clip(np.searchsorted(self._edges, place) - 1, 0, len(self._half) - 1))
        nodes, _, _, _ = _rule()
        x = (place - self._edges[panel]) / self._half[panel] - 1
        row = legendre.legvander(np.array([x]), _POINTS - 1) @ np.linalg.inv(legendre.legvander(nodes, _POINTS - 1))
        return self._panels(values)[..., panel, :] @ row[0]
