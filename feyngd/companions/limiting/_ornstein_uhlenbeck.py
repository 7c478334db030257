"""Ornstein–Uhlenbeck processes, dX = −A(X − μ)dt + √(2D/κ) dW, for any stable A and positive semidefinite D."""

from typing import Any, NamedTuple

import numpy as np
from scipy import linalg

from ..._arguments import check_integer
from ..._keys import check_key
from ...errors import ArgumentError, LandscapeError
from .._numbers import check_number, check_numbers, check_symmetric

_SINGULAR = 1e-12  # least eigenvalue of a covariance over its largest


class Decomposition(NamedTuple):
    """A = (D + Q)U: dissipation D, circulation Q = −Qᵀ, and the modified loss Ψ = ½(x − μ)ᵀU(x − μ).

    Attributes:
        A: the drift, shape (n, n).
        D: the diffusion.
        Q: antisymmetric.
        U: symmetric and positive definite, U = W⁻¹ with AW + WAᵀ = 2D.
        kappa: κ, so that the stationary density is that of Gibbs, exp(−κΨ).
    """

    A: np.ndarray
    D: np.ndarray
    Q: np.ndarray
    U: np.ndarray
    kappa: float


class OrnsteinUhlenbeck:
    """The process dX = −A(X − μ)dt + √(2D/κ) dW.

    Args:
        drift: A, shape (n, n), whose eigenvalues have positive real parts.
        diffusion: D, symmetric and positive semidefinite, shape (n, n).
        kappa: κ, the inverse temperature.
        mean: μ, shape (n,); 0 by default.

    Raises:
        ArgumentError: shapes or numbers are not allowed.
        LandscapeError: A is not stable, so that nothing settles.

    References:
        Kunin et al., equations (4), (6)–(11), (16)–(47). (31) lacks κ⁻¹. (23)–(25), Q_ij in the eigenbasis of A as
        (λ_i − λ_j)/(λ_i + λ_j) D_ij, need a symmetric A, which phase space has not.

    Examples:
        >>> process = OrnsteinUhlenbeck([[2.0, 0.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]])
        >>> process.decomposition().Q.round(3)
        array([[ 0.  , -0.25],
               [ 0.25,  0.  ]])
    """

    def __init__(self, drift: Any, diffusion: Any, *, kappa: float = 1.0, mean: Any = None) -> None:
        self.drift = np.atleast_2d(check_numbers("The drift", drift))
        size = len(self.drift)
        if self.drift.shape != (size, size) or not np.all(np.isfinite(self.drift)):
            raise ArgumentError(f"The drift is a square matrix of finite numbers; got shape {self.drift.shape}.")
        self.diffusion = check_symmetric("The diffusion", diffusion)
        if self.diffusion.shape != (size, size):
            raise ArgumentError(f"Drift and diffusion have one shape; got {(size, size)} and {self.diffusion.shape}.")
        if (lowest := np.linalg.eigvalsh(self.diffusion)[0]) < -1e-9 * np.abs(self.diffusion).max():
            raise ArgumentError(f"A diffusion has no negative eigenvalue; this one has {lowest:g}.")
        self.kappa = check_number("kappa", kappa, above=0)
        self.mean = np.zeros(size) if mean is None else self._state(mean, "mean")
        if (slowest := np.linalg.eigvals(self.drift).real.min()) <= 0:
            raise LandscapeError(
                f"The process settles where the eigenvalues of its drift have positive real parts; the least is "
                f"{slowest:.4g}. The drift is A of dX = −A(X − μ)dt: check its sign, or leave flat directions out."
            )
        # Twice, the second time for what is left over: residuals then are rounding alone.
        width = linalg.solve_continuous_lyapunov(self.drift, 2 * self.diffusion)
        rest = 2 * self.diffusion - self.drift @ width - width @ self.drift.T
        width = width + linalg.solve_continuous_lyapunov(self.drift, rest)
        self._width = (width + width.T) / 2

    def stationary_covariance(self) -> np.ndarray:
        """Return W/κ with AW + WAᵀ = 2D, shape (n, n)."""
        return self._width / self.kappa

    def mean_at(self, start: Any, time: float) -> np.ndarray:
        """Return E X_t = μ + e^(−At)(x_0 − μ)."""
        return self.mean + self._flow(time) @ (self._state(start, "start") - self.mean)

    def covariance_at(self, time: float, start: Any = None) -> np.ndarray:
        """Return Var X_t from a fixed start, or from one with a covariance of its own."""
        flow = self._flow(time)
        before = -self.stationary_covariance() if start is None else self._start(start) - self.stationary_covariance()
        return self.stationary_covariance() + flow @ before @ flow.T

    def cross_covariance(self, time: float, later: float, start: Any = None) -> np.ndarray:
        """Return Cov(X_T, X_S), T ≤ S, X_T in the rows.

        Raises:
            ArgumentError: `later` is earlier.
        """
        first, last = check_number("time", time, least=0), check_number("later", later, least=0)
        if last < first:
            raise ArgumentError(f"later is at least time={first:g}; got {last:g}.")
        return self.covariance_at(first, start) @ self._flow(last - first).T

    def decomposition(self) -> Decomposition:
        """Return A, D, Q = AW − D, U = W⁻¹ and κ.

        Raises:
            LandscapeError: W is singular: some direction gets no noise, not even by way of others.
        """
        sizes = np.linalg.eigvalsh(self._width)
        if sizes[0] <= _SINGULAR * sizes[-1]:
            raise LandscapeError(
                f"The stationary covariance is singular: its eigenvalues are {sizes[0]:.3g} to {sizes[-1]:.3g}. Leave "
                "directions without noise out, by subspace=k."
            )
        circulating = self.drift @ self._width - self.diffusion
        return Decomposition(
            self.drift, self.diffusion, (circulating - circulating.T) / 2, linalg.inv(self._width), self.kappa
        )

    def modified_loss(self, state: Any) -> float:
        """Return Ψ(x) = ½(x − μ)ᵀU(x − μ)."""
        away = self._state(state, "state") - self.mean
        return float(away @ self.decomposition().U @ away) / 2

    def current(self, state: Any) -> np.ndarray:
        """Return J/p = −QU(x − μ), the stationary probability current over the density, shape (n,)."""
        parts = self.decomposition()
        return -parts.Q @ parts.U @ (self._state(state, "state") - self.mean)

    def density(self, state: Any) -> float:
        """Return the stationary density at a point."""
        size = len(self.mean)
        log_volume = size * np.log(2 * np.pi) + np.linalg.slogdet(self.stationary_covariance())[1]
        return float(np.exp(-self.kappa * self.modified_loss(state) - log_volume / 2))

    def free_energy(self, time: float, start: Any = None, covariance: Any = None) -> float:
        """Return F(p_t) − F(p_ss) = KL(p_t‖p_ss)/κ, which only falls; infinite where p_t is a point.

        Args:
            time: t.
            start: the mean at time 0; μ by default.
            covariance: that at time 0, shape (n, n); 0, a point, by default.

        References:
            Kunin et al., equations (33)–(36) and theorems 2 and 3.
        """
        parts = self.decomposition()
        width = self.covariance_at(time, covariance)
        away = self.mean_at(self.mean if start is None else start, time) - self.mean
        inside = self.kappa * parts.U
        sign, log_size = np.linalg.slogdet(inside @ width)
        if sign <= 0:
            return float("inf")
        twice = np.trace(inside @ width) + away @ inside @ away - len(away) - log_size
        return float(twice) / 2 / self.kappa

    def sample(self, start: Any, times: Any, *, runs: int = 1, key: Any) -> np.ndarray:
        """Draw paths by exact transitions.

        Args:
            start: x_0, shape (n,).
            times: increasing, ≥ 0.
            runs: how many paths.
            key: a JAX random key.

        Returns:
            Shape (runs, times, n).
        """
        import jax

        clock = np.atleast_1d(check_numbers("Times", times))
        if clock.ndim != 1 or not np.all(np.isfinite(clock)) or clock[0] < 0 or np.any(np.diff(clock) < 0):
            raise ArgumentError(f"Times are finite, at least 0 and do not fall; got {times!r}.")
        count = check_integer("runs", runs, least=1)
        check_key(key, "Paths are drawn at random")
        rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,))).tolist())
        now = np.tile(self._state(start, "start"), (count, 1))
        found, before = np.empty((count, len(clock), len(self.mean))), 0.0
        for i, time in enumerate(clock):
            sizes, directions = np.linalg.eigh(self.covariance_at(time - before))
            noise = rng.normal(size=now.shape) * np.sqrt(np.maximum(sizes, 0)) @ directions.T
            now = self.mean + (now - self.mean) @ self._flow(time - before).T + noise
            found[:, i], before = now, time
        return found

    def _flow(self, time: float) -> np.ndarray:
        return linalg.expm(-self.drift * check_number("A time", time, least=0))

    def _start(self, covariance: Any) -> np.ndarray:
        found = check_symmetric("The covariance at the start", covariance)
        if found.shape != self.drift.shape:
            raise ArgumentError(f"The covariance at the start has shape {self.drift.shape}; got {found.shape}.")
        return found

    def _state(self, state: Any, name: str) -> np.ndarray:
        array = np.atleast_1d(check_numbers("A state", state))
        if array.shape != (len(self.drift),) or not np.all(np.isfinite(array)):
            raise ArgumentError(f"{name} is a vector of {len(self.drift)} finite numbers; got shape {array.shape}.")
        return array
