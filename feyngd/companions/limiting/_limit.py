"""The limiting dynamics of SGD with momentum around a minimum: numbers and curves, by arithmetic alone."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..._arguments import check_integer
from ...errors import ArgumentError, LandscapeError
from ...estimates import Estimate, TruncationWarning
from .._assumptions import Assumptions
from .._numbers import check_number
from . import _along, _continuous
from ._averages import exponential_variance, tail_variance
from ._linear_step import LinearStep
from ._noise import NOISY, Noise, PerMode, summed
from ._ornstein_uhlenbeck import Decomposition, OrnsteinUhlenbeck
from ._paper_sde import PaperSDE
from ._results import AveragedEstimate, Curve, LimitEstimate, Modes
from ._settings import Part, Response, check_steps
from ._white import White

_WORTH_A_WARNING = 0.1
Quantity = Callable[[Response, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Limit:
    """Where SGD with momentum settles around a minimum, and how it moves there. Made by `Basin.limit`.

    Numbers are in params² per step; losses in the unit of the loss. In discrete time they are exact on a quadratic loss
    with noise that does not depend on θ. Nothing here uses JAX, except `over_cloud`.

    Attributes:
        basin: what was measured.
        step: η, β and the form of the momentum.
        parts: the noise and the response to it.
        weight_decay: λ, which is added to every curvature.
        sampling: of the batches.
        time: "discrete" or "continuous".
        subspace: how many of the sharpest directions are looked at; `None` for all.
        truncation: by what fraction tr Σ changes over the cloud of parameters, to leading order; `None` where there is
            no landscape to measure it.
    """

    basin: Any = field(repr=False)
    step: LinearStep
    parts: Sequence[Part] = field(repr=False)
    batch_size: int
    weight_decay: float
    sampling: str
    time: str
    subspace: int | None
    truncation: float | None = None

    @property
    def response(self) -> Response:
        """What a unit of the noise at the minimum sustains."""
        return self.parts[0].response

    @property
    def num_directions(self) -> int:
        """How many directions vector-valued results have."""
        return len(self.basin.curvatures) if self.subspace is None else self.subspace

    @property
    def curvatures(self) -> np.ndarray:
        """The curvatures of the directions, weight decay included, the greatest first."""
        return self.basin.curvatures[: self.num_directions] + self.weight_decay

    @property
    def flat(self) -> float:
        """The size below which a curvature counts as 0."""
        return self.basin.flat

    @property
    def minimum(self) -> Any:
        """μ = θ* − K⁻¹(g* + λθ*), around which θ fluctuates on a quadratic loss; flat directions stay where they are.

        A vector, or of the structure of the parameters; along directions alone it is θ* moved along those.
        """
        return self.basin.shaped(_along.center(self))

    @property
    def modes(self) -> Modes:
        """The directions one by one."""
        return _along.modes(self)

    def speed(self) -> Estimate:
        """Return E|δ|², the mean square of a step, in params². It is finite along flat directions too.

        References:
            Kunin et al., equation (12), which is the leading order in ηh.
        """
        return self._number("speed", lambda response, h: response.speeds(h), regular=True)

    def excess_loss(self) -> Estimate:
        """Return E L − L(μ), L with the weight decay's λ|θ|²/2."""
        return self._number("excess_loss", lambda response, h: response.drops(h)[0] / 2)

    def kinetic_energy(self) -> Estimate:
        """Return η(1 + β)E|v|²/4 with v = δ/η; for heavy ball and independent batches the excess loss, exactly.

        References:
            Kunin et al., appendix G.3.
        """
        share = (1 + self.step.beta) / (4 * self.step.eta)
        return self._number("kinetic_energy", lambda response, h: share * response.speeds(h), regular=True)

    def position_variance(self) -> Estimate:
        """Return E|θ − μ|², in params²."""
        return self._number(
            "position_variance", lambda response, h: response.drops(h)[0] / np.where(h > 0, h, 1), at_zero=False
        )

    def displacement(self, steps: Any, *, start: Any = "stationary") -> Curve:
        """Return E|θ_k − θ_0|² at several numbers of steps k.

        Args:
            steps: k, one or more.
            start: "stationary"; "minimum", at rest at μ; or a pair (params, velocity). Epochs begin at the start,
                except for "stationary", which is a mean over the phases of an epoch.

        Raises:
            ArgumentError: steps or start are not allowed, or the start needs a basin with matrices.
            LandscapeError: from stationarity, noisy directions are flat and noise is not independent.

        References:
            Kunin et al., equations (1) and (13) (corrected: (13) needs τ = ηk, and its sum of sampled velocities grows
            without bound; this is the exact autocorrelation of positions).
        """
        lags = check_steps(steps)
        if isinstance(start, str) and start == "stationary":
            return self._curve("displacement", lags, lambda response, h: response.displacements(h, lags), regular=True)

        def from_rest(response: Response, h: np.ndarray) -> np.ndarray:
            return np.stack([response.after(h, h, int(k))[..., 0, 0] for k in lags])

        if isinstance(start, str):
            if start != "minimum":
                raise ArgumentError(f"start is 'stationary', 'minimum' or a pair (params, velocity); got {start!r}.")
            return self._curve("displacement", lags, from_rest, regular=True, finite=True)
        if not isinstance(start, tuple | list) or len(start) != 2:
            raise ArgumentError("start is 'stationary', 'minimum' or a pair (params, velocity).")
        moved = _along.mean_moves(self, start, lags)
        noise = self._curve("displacement", lags, from_rest, regular=True, finite=True)
        return replace(noise, mean=noise.mean + moved)

    def exponent(self, window: Any, *, every: int = 1, start: Any = "stationary") -> float:
        """Return the slope of log E|Δ_k|² on log k by least squares.

        Args:
            window: the first and the last k, both included; or three and more steps.
            every: how many steps lie between those that are used.
            start: as in `displacement`.

        Raises:
            ArgumentError: the window holds fewer than 3 steps, or one is not positive.

        References:
            Kunin et al., equation (1). From stationarity the slope over [k, 2k], k ≥ 10/(1 − β), stays below
            k/(k − 2β/(1 − β²)): a larger one is a drift of the mean.
        """
        given = check_steps(window, "The steps of a window")
        stride = check_integer("every", every, least=1)
        lags = np.arange(given[0], given[-1] + 1, stride) if len(given) == 2 else given[::stride]
        if len(lags) < 3 or lags.min() < 1:
            raise ArgumentError(f"A window holds at least 3 steps, all ≥ 1; got {window!r} with every={stride}.")
        mean = _moving(self.displacement(lags, start=start).mean)
        return float(np.polyfit(np.log(lags), np.log(mean), 1)[0])

    def local_exponent(self, steps: Any, *, start: Any = "stationary") -> np.ndarray:
        """Return the slope of log E|Δ|² on log k between k − 1 and k + 1 (k and k + 1 for k = 1), for every step."""
        lags = check_steps(steps)
        if lags.min() < 1:
            raise ArgumentError(f"Exponents are those of steps ≥ 1; got {steps!r}.")
        low, high = np.maximum(lags - 1, 1), lags + 1
        mean = np.log(_moving(self.displacement(np.concatenate([low, high]), start=start).mean))
        return (mean[len(lags) :] - mean[: len(lags)]) / np.log(high / low)

    def mean(self, params: Any, velocity: Any, steps: int) -> tuple[Any, Any]:
        """Return the mean of (θ, v) some steps after a start: vectors, or of the structure that was given.

        Where there are directions alone, both are coordinates along these, θ counted from μ.

        Args:
            params: θ_0.
            velocity: v_0 = −u_0, PyTorch's velocity with the other sign; for heavy ball δ_0/η.
            steps: k.

        References:
            Kunin et al., equation (5) and appendix F.2, in continuous time.
        """
        return _along.mean(self, params, velocity, steps)

    def covariance(self, steps: Any = None, later: Any = None) -> np.ndarray:
        """Return the covariance of (θ, v) after some steps from a fixed start, or between two times.

        Args:
            steps: k; `None` for the stationary covariance.
            later: a later time, whose state stands in the columns.

        Returns:
            Shape (2p, 2p), θ before v, in params²; along directions (2k, 2k).

        References:
            Kunin et al., equations (6) and (19)–(28).
        """
        return _along.covariance(self, steps, later)

    def correlation(self, lags: Any) -> np.ndarray:
        """Return the autocorrelation of positions along every direction, shape (lags, k)."""
        return _along.correlation(self, check_steps(lags, "lags"))

    def spectrum(self, frequencies: Any, of: str = "velocity") -> np.ndarray:
        """Return the spectral density along every direction, shape (frequencies, k).

        Its mean over frequencies from −π to π is the variance: E δ² for "velocity", Var θ for "position", in params².

        Args:
            frequencies: in radians per step.
            of: "velocity", which is that of the steps δ, or "position".
        """
        return _along.spectrum(self, frequencies, of)

    def circulation(self) -> np.ndarray:
        """Return ½E[θ_i δ'_j − θ_j δ'_i], δ' the next step, along directions, shape (k, k), in params².

        It is zero, and position paths are time-reversible, if and only if Hessian and noise commute.
        """
        return _along.circulation(self)

    def averaged(self, *, ema: float | None = None, tail: int | None = None) -> AveragedEstimate:
        """Return the variance of an average of the iterates.

        Args:
            ema: ρ of w ← ρ w + (1 − ρ) θ, or
            tail: the number of last iterates whose mean is taken.

        Raises:
            ArgumentError: not exactly one of both is given, or it is not allowed.
        """
        if (ema is None) == (tail is None):
            raise ArgumentError(f"Give ema=ρ or tail=n, one of both; got ema={ema!r}, tail={tail!r}.")
        if ema is not None:
            rho = check_number("ema", ema, least=0, below=1)

            def variance(response: Response, h: np.ndarray) -> np.ndarray:
                return exponential_variance(response, h, rho)
        else:
            count = check_integer("tail", tail, least=1)

            def variance(response: Response, h: np.ndarray) -> np.ndarray:
                return tail_variance(response, h, count)

        found = self._number("averaged", variance, at_zero=False)
        excess = self._number("averaged", lambda response, h: h * variance(response, h) / 2, at_zero=False)
        ratio = found.value / self.position_variance().value if found.value else math.nan
        return AveragedEstimate(
            found.value, found.stderr, found.num_samples, found.kind, truncation=found.truncation, ratio=ratio,
            excess_loss=excess,
        )  # fmt: skip

    def mixing_steps(self, tolerance: float) -> int:
        """Return after how many steps the slowest direction with noise keeps less than a share of a deviation."""
        share = check_number("tolerance", tolerance, above=0, below=1)
        radius = 0.0
        self._check_curved("mixing_steps")
        for nodes, weights in self.parts[0].noise.groups:
            noisy = (weights > 0) & (nodes + self.weight_decay > self.flat)
            transition = self.response.transition(nodes[noisy] + self.weight_decay)
            radius = max(radius, float(np.abs(np.linalg.eigvals(transition)).max(initial=0.0)))
        return 0 if not radius else math.ceil(math.log(share) / math.log(radius))

    def process(self) -> OrnsteinUhlenbeck:
        """Return the paper's process of (θ, v) in the time τ = ηk, for any noise; in continuous time only."""
        return _continuous.process(self)

    def decomposition(self) -> Decomposition:
        """Return A, D, Q, U and κ with A = (D + Q)U, in continuous time.

        Raises:
            ArgumentError: time is discrete.
            LandscapeError: Hessian and noise do not commute, or the noise is singular.

        References:
            Kunin et al., equations (7)–(9).
        """
        return _continuous.decomposition(self)

    def modified_loss(self, params: Any, velocity: Any) -> float:
        """Return Ψ = ½(x − μ)ᵀU(x − μ), the loss whose Gibbs density is the stationary one; errors as there."""
        return _continuous.modified_loss(self, params, velocity)

    def current(self, params: Any, velocity: Any) -> tuple[Any, Any]:
        """Return J/p = −QU(x − μ), the probability current over the density: (v, −2K(θ − μ)/(η(1 + β)))."""
        return _continuous.current(self, params, velocity)

    def over_cloud(self, landscape: Any, *, num_draws: int = 16, key: Any) -> "Limit":
        """Return the limit with the noise averaged over the cloud of parameters, see `feyngd.companions.limiting`.

        Args:
            landscape: that of the basin.
            num_draws: pairs μ ± ξ of parameters, for each of two rounds.
            key: a JAX random key.
        """
        from ._cloud import over_cloud

        return over_cloud(self, landscape, num_draws=num_draws, key=key)

    def assumptions(self) -> Assumptions:
        """Return what the theory takes for granted, measured: `Basin.assumptions` and the size of steps."""
        from ._assumptions import assumptions

        return assumptions(self.basin, self)

    def _number(self, name: str, quantity: Quantity, *, regular: bool = False, at_zero: bool = True) -> LimitEstimate:
        """Return the sum over directions of a quantity.

        Args:
            name: what errors call it.
            quantity: of a response and curvatures.
            regular: whether it exists along flat directions, where noise is independent.
            at_zero: whether it has a limit there, by which sampled noise is corrected.
        """
        parts = self._parts(name, quantity, regular=regular, at_zero=at_zero)
        found = summed(parts, self.parts[0].noise.is_exact)
        truncation = self._truncation(name, quantity, found.value, regular, at_zero)
        return LimitEstimate(found.value, found.stderr, found.num_samples, found.kind, truncation=truncation)

    def _curve(self, name: str, lags: np.ndarray, quantity: Quantity, *, regular: bool, finite: bool = False) -> Curve:
        parts = self._parts(name, quantity, regular=regular, at_zero=True, finite=finite)
        sums = [summed([part[:, i] for part in parts], self.parts[0].noise.is_exact) for i in range(len(lags))]
        mean = np.array([one.value for one in sums])
        exact = sums[0].stderr is None
        stderr = None if exact else np.array([one.stderr for one in sums])
        return Curve(lags, mean, stderr, self.truncation)

    def _parts(
        self, name: str, quantity: Quantity, *, regular: bool, at_zero: bool, finite: bool = False
    ) -> list[np.ndarray]:
        """Return replicates of every source of noise, summed over its parts."""
        sums: dict[int, Any] = {}
        for part in self.parts:
            free = finite or (regular and part.response.holds_flat)
            if not free:
                self._check_curved(name, part.noise)
            elif not finite:
                self._check_not_negative(name, part.noise)
            split = at_zero and (free or part.response.holds_flat)

            def function(h: np.ndarray, response: Response = part.response) -> np.ndarray:
                return quantity(response, h)

            floor = -math.inf if finite else self.flat
            zero: PerMode | None = function if split else None
            found = part.sign * part.noise.replicates(function, self.weight_decay, floor, zero)
            sums[part.source] = sums[part.source] + found if part.source in sums else found
        return list(sums.values())

    def _truncation(self, name: str, quantity: Quantity, value: float, regular: bool, at_zero: bool) -> float | None:
        """Return the change of the noise over the cloud, times how much more white noise does than that of epochs."""
        if self.truncation is None or not value:
            return self.truncation
        figure = self.truncation
        if not isinstance(self.response, White | PaperSDE) and len(self.parts) == 1:
            white = White(self.step, self.response.level)
            other = replace(self, parts=[replace(self.parts[0], response=white)], truncation=None)
            figure *= abs(other._number(name, quantity, regular=regular, at_zero=at_zero).value / value)
        if figure > _WORTH_A_WARNING:
            warnings.warn(
                f"The noise changes over the cloud of parameters, which changes {name} by about {figure:.0%}: ask "
                "over_cloud(landscape, key=…), or give a smaller learning rate or larger batches.",
                TruncationWarning,
                stacklevel=4,
            )
        return figure

    def _check_curved(self, name: str, noise: Noise | None = None) -> None:
        """Raise where there is noise without curvature, so that nothing settles."""
        count, total, share = (noise or self.parts[0].noise).flat_share(self.weight_decay, self.flat)
        if abs(share) > NOISY:
            raise LandscapeError(
                f"{name} needs curvature > 0 where there is noise; {count} of {total} directions with {share:.2g} of "
                f"tr Σ have curvature below {self.flat:.2g}. Give weight_decay, subspace=k, or ask displacement(steps, "
                "start='minimum')."
            )

    def _check_not_negative(self, name: str, noise: Noise) -> None:
        """Raise where there is noise along negative curvature, which runs away."""
        count, total, share = noise.flat_share(self.weight_decay, self.flat, falling=True)
        if abs(share) > NOISY:
            raise LandscapeError(
                f"{name} needs a minimum; {count} of {total} directions with {share:.2g} of tr Σ have curvature below "
                f"{-self.flat:.2g}. Give weight_decay, subspace=k, or displacement(steps, start='minimum')."
            )


def _moving(mean: np.ndarray) -> np.ndarray:
    """Return displacements that have a logarithm, or raise."""
    if not np.all(mean > 0):
        raise LandscapeError("Nothing moves between some of these steps: a displacement of zero has no exponent.")
    return mean
