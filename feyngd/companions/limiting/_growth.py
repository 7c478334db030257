"""How loss and noise change around a minimum, measured once, so that limits know how far to trust themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...spectra import Point
from ._settings import Part

_BANDS = 6
_CLOUD = 8  # pairs of offsets for every band
_LEVEL = 0.02  # the loss of an offset over tr Σ/h_max: that of a fast run with small batches


@dataclass(frozen=True, eq=False)
class Growth:
    """How loss and noise change over a cloud of parameters, band by band of curvatures.

    Attributes:
        edges: of the bands, shape (bands + 1,), from low to high.
        noise: by what fraction tr Σ grows, for a cloud of covariance c Σ inside the band, over c; shape (bands,).
        loss: how far the loss is from its quadratic, as a fraction of it, in clouds of typical size; shape (bands,).
    """

    edges: np.ndarray
    noise: np.ndarray
    loss: np.ndarray

    def over(self, parts: Sequence[Part], decay: float, flat: float) -> float:
        """Return by what fraction tr Σ changes over the cloud that noise sustains."""
        nodes, weights = (np.concatenate([group[i].ravel() for group in parts[0].noise.groups]) for i in (0, 1))
        held = (nodes + decay > flat) & (weights > 0)
        nodes, weights = nodes[held], weights[held]
        spread = parts[0].response.drops(nodes + decay)[0] / (nodes + decay)
        band = np.clip(np.searchsorted(self.edges, nodes, side="right") - 1, 0, len(self.noise) - 1)
        total = np.bincount(band, weights, len(self.noise))
        mean = np.bincount(band, weights * spread, len(self.noise)) / np.where(total > 0, total, 1)
        return abs(float(mean @ self.noise))


def growth(point: Point, trace: float) -> Growth:
    """Return how loss and noise change at offsets within bands of curvature.

    Args:
        point: the spectra at the minimum.
        trace: tr Σ there.
    """
    nodes, weights = point.cloud.quadrature()
    top = float(nodes.max())
    low = max(float(np.min(nodes[(nodes > point.rounding) & (weights > 0)], initial=top)), 1e-8 * top)
    edges = np.geomspace(low, 1.0001 * top, _BANDS + 1) if top > 0 else np.linspace(0, 1, _BANDS + 1)
    noise, loss = np.zeros(_BANDS), np.zeros(_BANDS)
    if top <= 0 or trace <= 0:
        return Growth(edges, noise, loss)
    start = point.moments(np.zeros((1, point.cloud.apply(np.ones_like).shape[1])))[0][0]
    for band in range(_BANDS):
        inside = partial(_inside, low=edges[band] if band else point.rounding, high=edges[band + 1])
        offsets = point.cloud.apply(inside)[:_CLOUD]
        energy = float(np.mean(np.sum(weights[:_CLOUD] * inside(nodes[:_CLOUD]) * nodes[:_CLOUD], axis=1))) / 2
        if energy <= 0:
            continue
        c = _LEVEL * trace / top / energy
        around = c**0.5 * np.concatenate([offsets, -offsets])
        losses, _, traces = point.moments(around)
        noise[band] = (traces.mean() / trace - 1) / c
        loss[band] = (losses.mean() - start) / (c * energy) - 1
    return Growth(edges, noise, loss)


def _inside(h: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return 1 where a curvature lies in a band, 0 elsewhere."""
    return ((h > low) & (h <= high)).astype(float)
