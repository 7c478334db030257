"""Batches without replacement: what their noise sustains, exactly, for pairs of curvatures.

In units of Σ the noise of a step has the variance a = (N − B)/(B(N − 1)), that of two steps of one epoch the covariance
b = −1/(N − 1). `Reshuffled` draws a new order for every epoch, so that epochs are independent. `Fixed` keeps one, so
that every run ends in a cycle; covariances are over orders. Results are means over the m steps of an epoch.
Interface and units are those of `White`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from ._linear_step import LinearStep, grown, settled
from ._white import moving


def _outer(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return left[..., :, None] * right[..., None, :]


def _applied(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return np.einsum("...ab,...b->...a", matrix, vector)


def _phase_sums(
    left: np.ndarray, right: np.ndarray, entry: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return sums over r < m of Σ_{j<r} M^j e eᵀ (M'^j)ᵀ, of u_r u'_rᵀ, of u_r and of u'_r, by doubling m."""
    source = np.outer(entry, entry)
    power, other = left, right  # M^n and M'^n from n = 1 on
    alone = np.broadcast_to(source, np.broadcast_shapes(left.shape, right.shape))  # the inner sum for r = n
    pulse, pulse_ = (np.broadcast_to(entry, one.shape[:-1]) for one in (left, right))  # u_n and u'_n
    total, tied = 0 * alone, 0 * alone
    sums, sums_ = 0 * pulse, 0 * pulse_
    n = 1
    for bit in f"{steps:b}"[1:]:
        turned = np.swapaxes(other, -1, -2)
        far, far_ = _applied(power, sums), _applied(other, sums_)
        total = total + n * alone + power @ total @ turned
        tied = tied + n * _outer(pulse, pulse_) + _outer(pulse, far_) + _outer(far, pulse_) + power @ tied @ turned
        sums, sums_ = sums + n * pulse + far, sums_ + n * pulse_ + far_
        alone = alone + power @ alone @ turned
        pulse, pulse_ = pulse + _applied(power, pulse), pulse_ + _applied(other, pulse_)
        power, other, n = power @ power, other @ other, 2 * n
        if bit == "1":
            total, tied = total + alone, tied + _outer(pulse, pulse_)
            sums, sums_ = sums + pulse, sums_ + pulse_
            alone = source + left @ alone @ np.swapaxes(right, -1, -2)
            pulse, pulse_ = _applied(left, pulse) + entry, _applied(right, pulse_) + entry
            power, other, n = power @ left, other @ right, n + 1
    return total, tied, sums, sums_


@dataclass(frozen=True)
class _Epochs(ABC):
    """What both samplings share.

    Attributes:
        step: the optimizer's step.
        num_examples: N.
        batch_size: B.
    """

    step: LinearStep
    num_examples: int
    batch_size: int

    holds_flat = False  # noise cancels within an epoch: nothing is finite along a flat direction by itself

    @property
    def period(self) -> int:
        """The steps of an epoch, m."""
        return self.num_examples // self.batch_size

    def transition(self, h: np.ndarray) -> np.ndarray:
        """Return what a step makes of a state, M(h)."""
        return self.step.matrix(h)

    @property
    def level(self) -> float:
        """a, the variance of a step's noise in units of Σ."""
        if self.num_examples == 1:
            return 0.0
        return (self.num_examples - self.batch_size) / (self.batch_size * (self.num_examples - 1))

    @property
    def tie(self) -> float:
        """b, the covariance of the noise of two steps of one epoch."""
        return -1 / (self.num_examples - 1) if self.num_examples > 1 else 0.0

    def within(self, h: np.ndarray, g: np.ndarray, steps: int) -> np.ndarray:
        """Return Q_r, the covariance that the first r steps of an epoch add."""
        source = np.outer(self.step.entry, self.step.entry)
        alone = grown(self.step.matrix(h), self.step.matrix(g), source, steps)
        return (self.level - self.tie) * alone + self.tie * _outer(self.step.pulse(h, steps), self.step.pulse(g, steps))

    @abstractmethod
    def states(self, h: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return the covariance of (θ, v), shape (..., 2, 2)."""

    @abstractmethod
    def lagged(self, h: np.ndarray, g: np.ndarray, lags: np.ndarray) -> np.ndarray:
        """Return Cov(z_{t+k} along h, z_t along g) for every lag k, shape (lags, ..., 2, 2)."""

    @abstractmethod
    def steps(self, h: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return E[δ δ'] of the steps δ."""

    def drops(self, h: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return h Var θ, Cov(θ, v) and Var v along single directions."""
        states = self.states(h, h)
        return h * states[..., 0, 0], states[..., 0, 1], states[..., 1, 1]

    def speeds(self, h: np.ndarray) -> np.ndarray:
        """Return E δ² along single directions."""
        return self.steps(h, h)

    def displacements(self, h: np.ndarray, lags: np.ndarray) -> np.ndarray:
        """Return E(θ_k − θ_0)² between stationary states, shape (lags, ...)."""
        wanted = np.asarray(lags)
        both = self.lagged(h, h, np.append(wanted, 0))[..., 0, 0]
        return 2 * (both[-1] - both[:-1])


@dataclass(frozen=True)
class Reshuffled(_Epochs):
    """A new random order in every epoch."""

    def ends(self, h: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return the stationary covariance at the ends of epochs, P = M^m P (M^m)ᵀ + Q_m."""
        m = self.period
        return settled(self.step.power(h, m), self.step.power(g, m), self.within(h, g, m))

    def states(self, h: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return the covariance of (θ, v), shape (..., 2, 2)."""
        left, right, m = self.step.matrix(h), self.step.matrix(g), self.period
        passed = grown(left, right, self.ends(h, g), m)
        alone, tied, _, _ = _phase_sums(left, right, self.step.entry, m)
        return (passed + (self.level - self.tie) * alone + self.tie * tied) / m

    def steps(self, h: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return E[δ δ'] of the steps δ."""
        left, right, reach = moving(self.step, h), moving(self.step, g), self.step.reach
        one, other = self._mean_pulses(h, g)
        moved = np.einsum("...a,...ab,...b->...", left, self.states(h, g), right)
        # Earlier steps of the epoch are in the state, and the next one is tied to them.
        tied = np.sum(left * one, axis=-1) + np.sum(right * other, axis=-1)
        return moved + self.level * reach**2 + self.tie * reach * tied

    def ahead(self, h: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return E[θ δ'], θ along h, δ' the next step along g."""
        moved = np.einsum("...b,...b->...", self.states(h, g)[..., 0, :], moving(self.step, g))
        return moved + self.tie * self.step.reach * self._mean_pulses(h, g)[0][..., 0]

    def _mean_pulses(self, h: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the means of u_0 … u_{m−1} along h and along g."""
        _, _, one, other = _phase_sums(self.step.matrix(h), self.step.matrix(g), self.step.entry, self.period)
        return one / self.period, other / self.period

    def lagged(self, h: np.ndarray, g: np.ndarray, lags: np.ndarray) -> np.ndarray:
        """Return Cov(z_{t+k} along h, z_t along g) for every lag k, shape (lags, ..., 2, 2)."""
        m, matrix, states = self.period, self.step.matrix(h), self.states(h, g)
        ours, theirs = self.step.pulses(h, m), self.step.pulses(g, m)
        sums = np.cumsum(theirs[:m], axis=0)  # of u_0 … u_r
        wanted, found = {min(int(k), m) for k in lags}, {0: states}
        tied = np.zeros_like(states)  # from epochs that end between the two times
        for k in range(1, max(wanted) + 1):
            tied = matrix @ tied
            if k > 1:
                tied = tied + matrix @ _outer(ours[k - 1], theirs[m - k + 1])
            if k in wanted:
                inside = _outer(ours[k], sums[m - k])  # from those where k steps are left
                found[k] = self.step.power(h, k) @ states + self.tie / m * (inside + tied)
        return np.stack([self.step.power(h, max(int(k) - m, 0)) @ found[min(int(k), m)] for k in lags])

    def after(self, h: np.ndarray, g: np.ndarray, steps: int) -> np.ndarray:
        """Return the covariance of (θ, v) some steps after a start without noise, at the beginning of an epoch."""
        m = self.period
        epochs, r = divmod(steps, m)
        whole = grown(self.step.power(h, m), self.step.power(g, m), self.within(h, g, m), epochs)
        return self.step.power(h, r) @ whole @ np.swapaxes(self.step.power(g, r), -1, -2) + self.within(h, g, r)

    def between(self, h: np.ndarray, g: np.ndarray, first: int, later: int) -> np.ndarray:
        """Return Cov(z at `first` along h, z at `later` along g) from such a start."""
        m, r = self.period, first % self.period
        rest = later - first
        shared = min(rest, m - r)  # steps of the same epoch
        pulse = np.einsum("...ab,...b->...a", self.step.power(g, rest - shared), self.step.pulse(g, shared))
        moved = self.after(h, g, first) @ np.swapaxes(self.step.power(g, rest), -1, -2)
        return moved + self.tie * _outer(self.step.pulse(h, r), pulse)


@dataclass(frozen=True)
class Fixed(_Epochs):
    """One random order, kept for ever: the limit is a cycle, and all its phases are alike over orders."""

    repeats = True  # lags that differ by an epoch are alike

    def states(self, h: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return the covariance of (θ, v) over orders, F Q Fᵀ with F = (1 − M^m)⁻¹."""
        return self.lagged(h, g, np.array([0]))[0]

    def lagged(self, h: np.ndarray, g: np.ndarray, lags: np.ndarray) -> np.ndarray:
        """Return Cov(z_{t+k} along h, z_t along g) for every lag k, shape (lags, ..., 2, 2)."""
        m = self.period
        ours, theirs = self._pushes(h), self._pushes(g)
        total = self.tie * _outer(ours.sum(axis=0), theirs.sum(axis=0))
        found = {}
        for k in {int(k) % m for k in lags}:
            same = sum(_outer(ours[(d + k) % m], theirs[d]) for d in range(m))
            found[k] = (self.level - self.tie) * same + total
        return np.stack([found[int(k) % m] for k in lags])

    def steps(self, h: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return E[δ δ'] of the steps δ."""
        same, apart = self.lagged(h, g, np.array([0, 1]))[..., 0, 0]
        other = self.lagged(g, h, np.array([1]))[0, ..., 0, 0]
        return 2 * same - apart - other

    def ahead(self, h: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return E[θ δ'], θ along h, δ' the next step along g."""
        return self.lagged(g, h, np.array([1]))[0, ..., 0, 0] - self.states(h, g)[..., 0, 0]

    def after(self, h: np.ndarray, g: np.ndarray, steps: int) -> np.ndarray:
        """Return the covariance of (θ, v) over orders, some steps after a start at the beginning of an epoch."""
        return self.between(h, g, steps, steps)

    def between(self, h: np.ndarray, g: np.ndarray, first: int, later: int) -> np.ndarray:
        """Return Cov(z at `first` along h, z at `later` along g) from such a start."""
        ours, theirs = self._filled(h, first), self._filled(g, later)
        same = sum(_outer(one, other) for one, other in zip(ours, theirs, strict=True))
        total = _outer(ours.sum(axis=0), theirs.sum(axis=0))
        return (self.level - self.tie) * same + self.tie * total

    def _pushes(self, h: np.ndarray) -> np.ndarray:
        """Return F M^d e for d = 0 … m − 1, what a batch has done d + 1 steps after its turns, shape (m, ..., 2)."""
        inverse = np.linalg.inv(np.eye(2) - self.step.power(h, self.period))
        first = np.einsum("...ab,b->...a", inverse, self.step.entry)
        return self._moved(h, first, self.period)

    def _moved(self, h: np.ndarray, first: np.ndarray, count: int) -> np.ndarray:
        found, matrix = [first], self.step.matrix(h)
        for _ in range(count - 1):
            found.append(np.einsum("...ab,...b->...a", matrix, found[-1]))
        return np.stack(found)

    def _filled(self, h: np.ndarray, steps: int) -> np.ndarray:
        """Return what each of the m batches has done up to a step from a start at rest, shape (m, ..., 2)."""
        m = self.period
        epochs, r = divmod(steps, m)
        powers = self._moved(h, np.broadcast_to(self.step.entry, (*np.shape(h), 2)), m)
        whole = self._repeated(h, epochs)
        more = self._repeated(h, epochs + 1)
        # Batch j was used at steps j, j + m, …: it is in the running epoch if j < r.
        rows = [
            np.einsum("...ab,...b->...a", more if j < r else whole, powers[r - 1 - j if j < r else m + r - 1 - j])
            for j in range(m)
        ]
        return np.stack(rows)

    def _repeated(self, h: np.ndarray, epochs: int) -> np.ndarray:
        """Return Σ_{k<epochs} M^{mk}, by doubling."""
        one, turn = np.broadcast_to(np.eye(2), (*np.shape(h), 2, 2)), self.step.power(h, self.period)
        if not epochs:
            return np.zeros_like(one)
        total, power = one, turn
        for bit in f"{epochs:b}"[1:]:
            total, power = total + power @ total, power @ power
            if bit == "1":
                total, power = one + turn @ total, power @ turn
        return total
