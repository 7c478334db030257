"""The paper's stochastic differential equation along eigenvectors, which is the limit of heavy ball for small ηh.

With the time τ = ηk, γ = (1 − β)/(η(1 + β)) and ω² = 2h/(η(1 + β)): dθ = v dτ, dv = −(ω²θ + 2γv) dτ + noise of the
strength 4(1 − β)Σ/(η(1 + β)κ), κ = B(1 − β²). Interface and units are those of `White`: times are steps.
"""

from dataclasses import dataclass

import numpy as np

from ._linear_step import LinearStep

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_SHORT = 0.25  # |A|τ up to which sixteen nodes integrate the noise to rounding
_FAR = 20.0  # ατ above which the smaller exponential is below rounding


@dataclass(frozen=True)
class PaperSDE:
    """Batches drawn with replacement, in continuous time.

    Attributes:
        step: heavy ball's step.
        level: 1/B.
    """

    step: LinearStep
    level: float

    period = 0
    holds_flat = True

    def transition(self, h: np.ndarray) -> np.ndarray:
        """Return what the time of a step makes of a state."""
        return self.flow(h, 1.0)

    @property
    def gamma(self) -> float:
        """γ, the rate at which an oscillation decays."""
        return (1 - self.step.beta) / (self.step.eta * (1 + self.step.beta))

    @property
    def kappa(self) -> float:
        """κ = B(1 − β²), the inverse temperature."""
        return (1 - self.step.beta**2) / self.level

    def stiffness(self, h: np.ndarray) -> np.ndarray:
        """Return ω², the square of the frequency without friction."""
        return 2 * np.asarray(h, dtype=float) / (self.step.eta * (1 + self.step.beta))

    def flow(self, h: np.ndarray, steps: float) -> np.ndarray:
        """Return e^(−Aτ) for τ = η · steps, in all three regimes of damping, shape (..., 2, 2)."""
        time, gamma, omega2 = self.step.eta * steps, self.gamma, self.stiffness(h)
        even, odd = _damped(gamma, gamma**2 - omega2, time)
        found = np.empty((*omega2.shape, 2, 2))
        found[..., 0, 0], found[..., 0, 1] = even + gamma * odd, odd
        found[..., 1, 0], found[..., 1, 1] = -omega2 * odd, even - gamma * odd
        return found

    def states(self, h: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return the stationary covariance of (θ, v), shape (..., 2, 2)."""
        eta, beta = self.step.eta, self.step.beta
        bottom = (1 - beta) ** 2 * (1 + beta) * (h + g) + eta * (1 + beta) ** 2 * (h - g) ** 2 / 4
        found = np.empty((*np.shape(bottom), 2, 2))
        found[..., 0, 0] = eta * (1 - beta**2) / bottom
        found[..., 1, 1] = (1 - beta) * (h + g) / bottom
        found[..., 0, 1] = eta * (1 + beta) * (h - g) / (2 * bottom)
        found[..., 1, 0] = -found[..., 0, 1]
        return self.level * found

    def lagged(self, h: np.ndarray, g: np.ndarray, lags: np.ndarray) -> np.ndarray:
        """Return Cov(z_{t+k} along h, z_t along g) for every lag k, shape (lags, ..., 2, 2)."""
        states = self.states(h, g)
        return np.stack([self.flow(h, float(k)) @ states for k in lags])

    def steps(self, h: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return E[δ δ'] as the paper has it, η² times the covariance of velocities."""
        return self.step.eta**2 * self.states(h, g)[..., 1, 1]

    def ahead(self, h: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return η E[θ v'], θ along h, v' along g."""
        return self.step.eta * self.states(h, g)[..., 0, 1]

    def after(self, h: np.ndarray, g: np.ndarray, steps: float) -> np.ndarray:
        """Return the covariance of (θ, v) some steps after a start without noise, flat directions included."""
        largest = float(np.max(self.stiffness(np.maximum(np.abs(h), np.abs(g))), initial=0.0))
        size = 1 + 2 * self.gamma + largest  # a bound on the norm of A
        doublings = max(0, int(np.ceil(np.log2(max(self.step.eta * steps * size / _SHORT, 1)))))
        short = steps / 2**doublings
        total = np.zeros((*np.broadcast_shapes(np.shape(h), np.shape(g)), 2, 2))
        strength = 4 * (1 - self.step.beta) / (self.step.eta * (1 + self.step.beta) * self.kappa)
        for node, weight in zip(_NODES, _WEIGHTS, strict=True):
            left, right = (self.flow(x, short * (1 + node) / 2)[..., :, 1] for x in (h, g))
            total += weight * self.step.eta * short / 2 * strength * left[..., :, None] * right[..., None, :]
        for doubled in range(doublings):
            left, right = (self.flow(x, short * 2**doubled) for x in (h, g))
            total = total + left @ total @ np.swapaxes(right, -1, -2)
        return total

    def between(self, h: np.ndarray, g: np.ndarray, first: float, later: float) -> np.ndarray:
        """Return Cov(z at `first` along h, z at `later` along g) from such a start."""
        return self.after(h, g, first) @ np.swapaxes(self.flow(g, later - first), -1, -2)

    def drops(self, h: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return h Var θ, Cov(θ, v) and Var v along single directions, which do not depend on h."""
        one = np.ones(np.shape(h))
        beta, eta = self.step.beta, self.step.eta
        return self.level * eta / (2 * (1 - beta)) * one, 0 * one, self.level / (1 - beta**2) * one

    def speeds(self, h: np.ndarray) -> np.ndarray:
        """Return E δ² along single directions, η² Var v."""
        return self.step.eta**2 * self.drops(h)[2]

    def displacements(self, h: np.ndarray, lags: np.ndarray) -> np.ndarray:
        """Return E(θ_k − θ_0)² from stationarity, shape (lags, ...), finite at h = 0 too."""
        omega2, variance = self.stiffness(h), self.drops(h)[0]
        shares = [_unkept(self.gamma, omega2, self.step.eta * float(k)) for k in lags]
        return 2 * np.stack(shares) * variance * 2 / (self.step.eta * (1 + self.step.beta))


def _damped(gamma: float, square: np.ndarray, time: float) -> tuple[np.ndarray, np.ndarray]:
    """Return e^(−γτ) c and e^(−γτ) σ, with α² = `square`: hyperbolic, linear or circular functions of ατ."""
    alpha = np.sqrt(np.abs(square))
    angle = alpha * time
    fade = np.exp(-gamma * time)
    even, odd = fade * np.cos(angle), fade * time * np.sinc(angle / np.pi)
    over = (square > 0) & (angle <= _FAR)
    reach = np.where(over, angle, 0.0)
    # sinh(x)/x by its series where the difference of exponentials would lose digits.
    ratio = np.where(reach < 1e-4, 1 + reach**2 / 6, np.sinh(reach) / np.where(reach == 0, 1, reach))
    even, odd = np.where(over, fade * np.cosh(reach), even), np.where(over, fade * time * ratio, odd)
    far = (square > 0) & (angle > _FAR)
    # α − γ = −ω²/(α + γ) without cancellation.
    slow = np.exp(-(gamma**2 - square) / (gamma + np.where(far, alpha, 1.0)) * time) / 2
    return np.where(far, slow, even), np.where(far, slow / np.where(far, alpha, 1.0), odd)


def _unkept(gamma: float, omega2: np.ndarray, time: float) -> np.ndarray:
    """Return (1 − r(τ))/ω² of the autocorrelation r = e^(−γτ)(c + γσ), without loss of digits for small ω²."""
    square = gamma**2 - omega2
    even, odd = _damped(gamma, square, time)
    direct = np.divide(1 - (even + gamma * odd), omega2, out=np.zeros_like(omega2), where=omega2 != 0)
    small = omega2 < gamma**2 / 4
    alpha = np.sqrt(np.where(small, square, 1.0))
    slow, fast = omega2 / (gamma + alpha), gamma + alpha
    # (1 − e^(−rτ))/r for the slow rate, which may be zero, less that of the fast one.
    decayed = np.where(slow * time == 0, time, -np.expm1(-slow * time) / np.where(slow == 0, 1, slow))
    return np.where(small, (decayed + np.expm1(-fast * time) / fast) / (2 * alpha), direct)
