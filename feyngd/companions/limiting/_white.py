"""Batches that are independent draws: what their noise sustains in discrete time, exactly, for pairs of curvatures.

All is for noise of unit covariance between the two directions, divided by the batch size. Pairs are arrays h and g of
one shape; the state is (θ − μ, v), see `_linear_step`.
"""

from dataclasses import dataclass

import numpy as np

from ._linear_step import LinearStep, grown, settled


@dataclass(frozen=True)
class White:
    """With replacement, or fresh points: noise of different steps is independent.

    Attributes:
        step: the optimizer's step.
        level: the variance of a step's noise in units of Σ, 1/B.
    """

    step: LinearStep
    level: float

    period = 0  # steps over which noise is tied
    holds_flat = True

    def transition(self, h: np.ndarray) -> np.ndarray:
        """Return what a step makes of a state, M(h)."""
        return self.step.matrix(h)

    def states(self, h: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return the stationary covariance of (θ, v), shape (..., 2, 2)."""
        if self.step.is_heavy_ball:
            return self.level * _heavy_ball(self.step, h, g)
        return self.level * settled(self.step.matrix(h), self.step.matrix(g), self._source)

    def lagged(self, h: np.ndarray, g: np.ndarray, lags: np.ndarray) -> np.ndarray:
        """Return Cov(z_{t+k} along h, z_t along g) for every lag k, shape (lags, ..., 2, 2)."""
        states = self.states(h, g)
        return np.stack([self.step.power(h, int(k)) @ states for k in lags])

    def steps(self, h: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return E[δ δ'] of the steps δ = θ_k − θ_{k−1}."""
        states, left, right = self.states(h, g), moving(self.step, h), moving(self.step, g)
        return np.einsum("...a,...ab,...b->...", left, states, right) + self.level * self.step.reach**2

    def ahead(self, h: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return E[θ δ'], θ along h, δ' the next step along g."""
        return np.einsum("...b,...b->...", self.states(h, g)[..., 0, :], moving(self.step, g))

    def after(self, h: np.ndarray, g: np.ndarray, steps: int) -> np.ndarray:
        """Return the covariance of (θ, v) some steps after a start without noise."""
        return self.level * grown(self.step.matrix(h), self.step.matrix(g), self._source, steps)

    def between(self, h: np.ndarray, g: np.ndarray, first: int, later: int) -> np.ndarray:
        """Return Cov(z at `first` along h, z at `later` along g) from such a start."""
        return self.after(h, g, first) @ np.swapaxes(self.step.power(g, later - first), -1, -2)

    def drops(self, h: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return h Var θ, Cov(θ, v) and Var v along single directions, which are finite at h = 0 too."""
        beta, reach, drag = self.step.beta, self.step.reach, self.step.drag
        # The three Lyapunov equations, with h Var θ for Var θ.
        equations, h = np.zeros((*np.shape(h), 3, 3)), np.asarray(h, dtype=float)
        keep = 1 - reach * h
        equations[..., 0, :] = np.stack(
            [2 * reach - reach**2 * h, -2 * keep * drag, np.broadcast_to(-(drag**2), h.shape)], axis=-1
        )
        equations[..., 1, :] = np.stack(
            [keep, 1 - keep * beta + drag * h, np.broadcast_to(-drag * beta, h.shape)], axis=-1
        )
        equations[..., 2, :] = np.stack([-h, 2 * h * beta, np.broadcast_to(1 - beta**2, h.shape)], axis=-1)
        sources = self.level * np.array([reach**2, reach, 1.0])
        found = np.linalg.solve(equations, np.broadcast_to(sources[:, None], (*h.shape, 3, 1)))[..., 0]
        return found[..., 0], found[..., 1], found[..., 2]

    def speeds(self, h: np.ndarray) -> np.ndarray:
        """Return E δ² along single directions."""
        scaled, mixed, square = self.drops(h)
        reach, drag = self.step.reach, self.step.drag
        return reach**2 * (h * scaled + self.level) - 2 * reach * drag * h * mixed + drag**2 * square

    def displacements(self, h: np.ndarray, lags: np.ndarray) -> np.ndarray:
        """Return E(θ_k − θ_0)² from stationarity, shape (lags, ...), finite at h = 0 too."""
        scaled, mixed, _ = self.drops(h)
        # (1 − M^k) e_θ = h u_k leaves no difference of large numbers: u_k is what constant noise sums to.
        away = [
            self.step.pulse(h, int(k))[..., 0] * scaled - self.step.power(h, int(k))[..., 0, 1] * mixed for k in lags
        ]
        return 2 * np.stack(away)

    @property
    def _source(self) -> np.ndarray:
        return np.outer(self.step.entry, self.step.entry)


def moving(step: LinearStep, h: np.ndarray) -> np.ndarray:
    """Return how a state moves θ in the next step, (−η(a + b)h, ηbβ), shape (..., 2)."""
    found = np.empty((*np.shape(h), 2))
    found[..., 0], found[..., 1] = -step.reach * h, step.drag
    return found


def _heavy_ball(step: LinearStep, h: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Return the closed form for any noise that does not depend on θ: the paper's covariance is its limit ηh → 0."""
    eta, beta = step.eta, step.beta
    bottom = (1 - beta) ** 2 * ((1 + beta) * (h + g) - eta * h * g) + beta * eta * (h - g) ** 2
    found = np.empty((*np.shape(bottom), 2, 2))
    found[..., 0, 0] = eta * (1 - beta**2) / bottom
    found[..., 1, 1] = (1 - beta) * (h + g) / bottom
    # E[θ_i δ'_j] − E[θ_j δ'_i] gives the part that changes sign; the even part is half a step of velocity.
    odd = eta * (1 + beta) * (h - g) / (2 * bottom)
    even = eta * found[..., 1, 1] / 2
    found[..., 0, 1], found[..., 1, 0] = even + odd, even - odd
    return found
