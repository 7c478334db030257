"""The noise of gradients along the curvature: sums over directions of a function of h, exact or by quadrature."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...estimates import Estimate

NOISY = 1e-7  # of tr Σ: noise along flat directions below is rounding

PerMode = Callable[[np.ndarray], np.ndarray]  # from curvatures (n,) to values (n,) or (points, n)


@dataclass(frozen=True, eq=False)
class Noise:
    """Σ as seen along the eigenvectors of the Hessian.

    Attributes:
        groups: curvatures and weights, shape (replicates, nodes) each: Σ weights · f(h) is a replicate of tr[Σ f(H)].
        trace: tr Σ, exact.
        is_exact: whether there is a single replicate, the eigenvalues themselves.
        matrix: Σ along the directions, shape (k, k); `None` if there are none.
        is_centred: whether sampled sums are corrected by the exact trace.
    """

    groups: Sequence[tuple[np.ndarray, np.ndarray]]
    trace: float
    is_exact: bool
    matrix: np.ndarray | None
    is_centred: bool = True

    @classmethod
    def exact(cls, curvatures: np.ndarray, matrix: np.ndarray) -> "Noise":
        """Return noise that is known as a matrix."""
        weights = np.diag(matrix)
        return cls([(curvatures[None], weights[None])], float(weights.sum()), True, matrix)

    def flat_share(self, decay: float, flat: float, *, falling: bool = False) -> tuple[int, int, float]:
        """Return how many directions have no curvature, or a negative one; of how many; and their share of noise."""
        count = total = 0
        share = 0.0
        for nodes, weights in self.groups:
            bad = nodes + decay < -flat if falling else nodes + decay <= flat
            count, total = count + int(bad.sum()), total + nodes.size
            share += float(weights[bad].sum())
        replicates = sum(len(nodes) for nodes, _ in self.groups)
        return count, total, share / replicates / self.trace if self.trace > 0 else 0.0

    def replicates(self, function: PerMode, decay: float, flat: float, at_zero: PerMode | None) -> np.ndarray:
        """Return replicates of tr[Σ f(H + λ)], shape (replicates, ...).

        Args:
            function: f, of positive curvatures.
            decay: λ.
            flat: curvatures up to here count as none.
            at_zero: f where it is finite without curvature, called with zeros: then flat directions count as h = 0,
                and sampled noise is corrected by its exact trace. `None`: they have no noise and are left out.
        """
        rows = []
        for nodes, weights in self.groups:
            h = nodes + decay
            held = h > flat
            inside = np.where(held, h, 0.0 if at_zero is not None else h.max())
            values = function(inside.ravel())
            values = values.reshape(*values.shape[:-1], *h.shape)
            if at_zero is None:
                rows.append(np.moveaxis(np.sum(values * np.where(held, weights, 0.0), axis=-1), -1, 0))
                continue
            start = at_zero(np.zeros(1))
            rest = np.sum((values - start[..., None]) * weights, axis=-1)
            total = self.trace if self.is_centred else weights.sum(axis=-1)
            rows.append(np.moveaxis(rest + start * total, -1, 0))
        return np.concatenate(rows)


def summed(parts: Sequence[np.ndarray], is_exact: bool) -> Estimate:
    """Return the sum of parts with independent replicates."""
    if is_exact:
        return Estimate(float(sum(part[0] for part in parts)), None, 0, "exact")
    value = float(sum(part.mean() for part in parts))
    variance = sum(float(part.var(ddof=1)) / len(part) for part in parts if len(part) > 1)
    return Estimate(value, float(variance**0.5), min(len(part) for part in parts), "lanczos")
