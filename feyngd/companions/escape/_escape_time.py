"""Mean escape times over a saddle, for injected noise, for SGD, and for both."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..._arguments import check_integer
from ..._keys import check_key
from ..._learning_rates import check_learning_rates
from ...errors import ArgumentError, LandscapeError
from ...estimates import CONVERGED, Estimate, TruncationWarning
from ...kinks import Kink
from ...landscapes import Landscape
from .._assumptions import Assumptions
from .._numbers import check_choice, check_number
from ._along_track import Track
from ._critical_point import check_minimum, check_saddle, log_dets
from ._escape_path import Leg
from ._judgements import STABLE, judged
from ._next_order import EXACT_TENSORS, next_order
from ._noise import Noise, check_noise
from ._one_parameter import CALCULUS
from ._result import LEAST_EXPONENT, EscapeTime
from ._surface import DENSE, Surface
from ._transverse import MOST, STRAIGHT, log_factor_straight

FORMS = ("path", "two-temperature")
STOPS = ("far-side", "saddle")
TRANSVERSE = ("auto", "determinants", "none", "straight")
OVERSHOOT = 0.5825971579  # −ζ(1/2)/√(2π), the mean overshoot of a random walk in units of its step
_MISALIGNED = 0.1
_RATIO = 6.0  # of the order after the next one to the square of the next
_LANCZOS = 128


def escape_time(
    landscape: Landscape,
    leg: Leg,
    noise: Noise,
    learning_rates: ArrayLike,
    *,
    form: str = "path",
    split: float = 0.5,
    stop: str = "far-side",
    calculus: str = "ito",
    transverse: str = "auto",
    order: int = 2,
    num_samples: int = 16,
    key: Any = None,
) -> EscapeTime:
    """Return the mean time to leave a minimum over a saddle, t = η · steps, in logarithms.

    - Noise that is the same in all directions and everywhere, such as `sgld(D)`: τ = (2π/λ) √(|det H_b|/det H_a)
      e^{ΔL/D} (1 + D c₁), with the next order c₁ unless `order=1`.
    - Otherwise τ = 2π √(D_b/(D_a H_ae λ)) (D_a/D_b)^α e^{exponent} times a factor for the directions across. The
      exponent is ∫ G·e/D_e dx along the path; for `form="two-temperature"`, ΔL(s/D_a + (1 − s)/D_b) with a split s
      that the theory leaves free; for noise with model="cumulants", (B/η)∫q dx where q solves log mean_n e^{−q g_n} +
      (B/η)D₀q² = 0.

    D_e = D₀ + (η/2B) κ C_e along the unit tangent e. The diffusion takes small slopes for granted: for skewed noise its
    exponent is wrong by a factor however small η is, and that of the cumulants is right.

    Args:
        landscape: the loss and its data.
        leg: one of a path's `legs`.
        noise: made by `sgd`, `sgld` or their sum.
        learning_rates: η, one or more.
        form: "path", or "two-temperature" as in the paper.
        split: s, between 0 and 1, for the two-temperature form.
        stop: "far-side", where the run is beyond the barrier for good, or "saddle", where it first gets there: half the
            time, times 1 − (l‴_b/3)√(2D_b/πλ³) and, for steps of finite length, 1 + erf(0.58260 √(ηλ)).
        calculus: "ito" (α = 0, what SGD is), "stratonovich" (½) or "anti-ito" (1).
        transverse: what the directions across add: "determinants" for isotropic noise, "straight" for straight paths
            up to 40 parameters, "none"; "auto" takes what applies.
        order: 1, or 2 with the next order in D: for constant isotropic noise, and two temperatures of one parameter.
        num_samples: draws for the next order, beyond 30 parameters.
        key: a JAX random key, needed beyond 30 parameters with the next order, and beyond 1,500 anyway.

    Returns:
        An `EscapeTime`.

    Raises:
        ArgumentError: an argument is not allowed, or the key is missing.
        LandscapeError: the minimum or saddle is none, SGD has no noise along the path at one of them, or the form does
            not apply to the noise; the message says which other does.

    Warns:
        TruncationWarning: an exponent below 6, a truncation above a fifth, noise across the path that is correlated
            with noise along it, steps that are not stable, or kinks in the loss.

    References:
        Xie, Sato and Sugiyama, theorems 3.1 and 3.2. Corrected: the prefactor of SGD is 2π/H_ae for D ∝ |H| (Itô), not
        2π/λ, as ∇D is dropped after equation (50); the factor of the directions across, (78)–(82), is 1 only where
        their curvatures stay the same; stopping at the saddle is not plainly half.

    Examples:
        >>> import jax
        >>> from feyngd.companions import escape as esc
        >>> from feyngd.landscapes import toys
        >>> well, start = toys.double_well()
        >>> path = esc.find_path(well, start, -start, key=jax.random.key(0))
        >>> print(esc.escape_time(well, path.legs[0], esc.sgld(0.03), 0.01))
        escape with injected noise of D = 0.03, isotropic noise
        η = 0.01: 6.57e+07 steps, log τ = 13.3955 ± 0.011 (truncation), exponent 11.914
    """
    rates = _check_arguments(leg, noise, learning_rates, form, split, stop, calculus, transverse, order, num_samples)
    surface = Surface(landscape, leg.minimum.params)
    shares = noise.share(rates, surface.count)
    _check_form(noise, form)
    check_minimum(leg.minimum)
    check_saddle(leg.saddle)
    _check_key(surface.size, noise, order, key)
    track = Track(surface, leg)
    track.check_noise(noise)
    problem = _Problem(track, noise, rates, shares, form, float(split), CALCULUS[calculus], order, num_samples, key)
    found = problem.isotropic() if track.is_isotropic(noise) else problem.anisotropic(transverse)
    if stop == "saddle":
        found.log_prefactor = found.log_prefactor + _log_stop(problem, rates)
    kinks = track.kinks()
    rows = judged(track, noise, rates, shares, found.exponent, found.transverse_is_known, len(kinks))
    result = EscapeTime(
        rates,
        found.exponent + found.log_prefactor,
        np.broadcast_to(found.stderr, rates.shape).copy(),
        np.broadcast_to(found.truncation, rates.shape).copy(),
        found.exponent,
        found.log_prefactor,
        found.split,
        problem.time_steps(),
        rows,
        str(noise),
        found.method + (", to the saddle" if stop == "saddle" else ""),
    )
    _warn(result, rows, kinks)
    return result


@dataclass
class _Found:
    exponent: np.ndarray
    log_prefactor: np.ndarray
    truncation: Any
    stderr: Any
    split: np.ndarray
    method: str
    transverse_is_known: bool = True


class _Problem:
    """One escape, and the pieces of its formulas; arrays over rates come first."""

    def __init__(
        self,
        track: Track,
        noise: Noise,
        rates: np.ndarray,
        shares: np.ndarray,
        form: str,
        split: float,
        alpha: float,
        order: int,
        num_samples: int,
        key: Any,
    ) -> None:
        self.track, self.noise, self.rates, self.shares = track, noise, rates, shares
        self.form, self.split, self.alpha, self.order = form, split, alpha, order
        self.num_samples, self.key = num_samples, key
        self.ends, self.nodes = track.diffusions(noise, shares)

    def isotropic(self) -> _Found:
        """Return the time for noise that is the same everywhere: theorem 3.1 with its next order."""
        leg, surface = self.track.leg, self.track.surface
        diffusion = self.ends.mean(axis=1)
        lam = float(abs(leg.saddle.lowest[0]))
        if surface.is_dense:
            ratio = Estimate(leg.saddle.log_det.value - leg.minimum.log_det.value, None, 0, "exact")
        else:
            points, probes = (self.track.saddle, self.track.minimum), max(self.num_samples, 8)
            at = (log_dets(surface, p, self.key, _LANCZOS, probes) for p in points)
            ratio = Estimate.from_replicates(np.subtract(*at), "lanczos")
        log_prefactor = math.log(2 * math.pi / lam) + ratio.value / 2 + 0 * diffusion
        exponent = track_exponent = leg.barrier / diffusion
        method = "isotropic noise"
        if self.noise.model == "cumulants" and self.noise.batch_size is not None:
            exponent, method = self.track.cumulant_exponents(self.noise, self.rates), "isotropic noise, all cumulants"
        wanted = self.order == 2 or surface.size <= EXACT_TENSORS
        if not wanted:
            return _Found(
                exponent, log_prefactor, 1 / track_exponent, (ratio.stderr or 0) / 2, self._no_split(), method
            )
        a, b = next_order(surface, self.track.minimum, self.track.saddle, self.num_samples, self.key)
        first = diffusion * (a.value - b.value)
        spread = diffusion * math.hypot(a.stderr or 0.0, b.stderr or 0.0)
        if self.order == 1:
            return _Found(exponent, log_prefactor, np.abs(first), (ratio.stderr or 0) / 2, self._no_split(), method)
        log_prefactor = log_prefactor + _log_next_order(first)
        stderr = np.hypot((ratio.stderr or 0) / 2, spread / np.maximum(np.abs(1 + first), 0.1))
        truncation = _beyond_next(diffusion * abs(a.value) + diffusion * abs(b.value))
        return _Found(exponent, log_prefactor, truncation, stderr, self._no_split(), method)

    def anisotropic(self, transverse: str) -> _Found:
        """Return the time for noise that depends on place or direction."""
        track, (d_a, d_b) = self.track, self.ends.T
        h_a, lam = track.curvatures
        if h_a <= 0:
            raise LandscapeError(f"The curvature along the path at the minimum is {h_a:.3g}: give more images.")
        log_prefactor = math.log(2 * math.pi) + 0.5 * np.log(d_b / (d_a * h_a * lam)) + self.alpha * np.log(d_a / d_b)
        if self.form == "two-temperature":
            exponent = track.barrier * (self.split / d_a + (1 - self.split) / d_b)
            method = f"two temperatures, split s = {self.split:g}"
        elif self.noise.model == "cumulants":
            exponent, method = track.cumulant_exponents(self.noise, self.rates), "along the path, all cumulants"
        else:
            exponent = (track.weights * track.slope / self.nodes).sum(axis=1)
            method = "along the path"
        split = self._split(exponent, d_a, d_b)
        factor, how = self._transverse(transverse)
        truncation: Any = 1 / exponent
        if track.surface.size == 1:
            a, b = next_order(track.surface, track.minimum, track.saddle, self.num_samples, self.key)
            first = d_a * a.value - d_b * b.value
            truncation = np.abs(first)
            if self.order == 2 and self.form == "two-temperature":
                log_prefactor = log_prefactor + _log_next_order(first)
                truncation = _beyond_next(d_a * abs(a.value) + d_b * abs(b.value))
        if self.form == "two-temperature" and self.noise.model != "hessian":
            # Two temperatures stand for noise that changes along the path: what that does to the exponent is left out.
            whole = (track.weights * track.slope / self.nodes).sum(axis=1)
            truncation = truncation + np.expm1(np.minimum(np.abs(exponent - whole), 700.0))
        method += "" if track.surface.size == 1 else f", across: {how}"
        return _Found(exponent, log_prefactor + factor, truncation, 0.0, split, method, how not in ("none",))

    def _transverse(self, transverse: str) -> tuple[np.ndarray, str]:
        track, nothing = self.track, np.zeros_like(self.rates)
        if track.surface.size == 1:
            return nothing, "one parameter"
        if transverse == "determinants":
            raise LandscapeError(
                "Determinants are the factor of isotropic noise; this noise depends on direction or place. Use "
                "transverse='straight' for straight paths, or 'none', and know that the factor is left out."
            )
        fits = track.turn <= STRAIGHT and track.surface.size <= MOST and self.noise.model != "hessian"
        if transverse == "straight" or (transverse == "auto" and fits):
            return log_factor_straight(track, self.noise, self.shares), "straight"
        return nothing, "none"

    def _split(self, exponent: np.ndarray, d_a: np.ndarray, d_b: np.ndarray) -> np.ndarray:
        """Return the share of the barrier at D_a that gives an exponent."""
        if self.form == "two-temperature":
            return np.full_like(exponent, self.split)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = (exponent / self.track.barrier - 1 / d_b) / (1 / d_a - 1 / d_b)
        return np.where(np.abs(d_a - d_b) > 1e-9 * d_b, found, np.nan)

    def _no_split(self) -> np.ndarray:
        return np.full_like(self.rates, np.nan)

    def time_steps(self) -> np.ndarray:
        """Return (η/4)∫(G·e)² D_e′/D_e² dx, by which normal noise in steps makes log τ longer than in continuous time.

        It is (B/2)∫(G·e)² C_e′/C_e² dx for plain SGD, the same at all rates. By parts no derivative of D is needed.
        """
        track = self.track
        bend = 2 * track.slope * self._bend_along()
        return self.rates / 4 * np.sum(track.weights * bend / self.nodes, axis=1)

    def _bend_along(self) -> np.ndarray:
        """Return d(G·e)/dx at the nodes: H_e, as G is along e on the path."""
        return self.track.curvature


def _beyond_next(first: np.ndarray) -> np.ndarray:
    """Return a figure for what is left out after the next order, from the sizes of that at both ends.

    On double wells of six shapes the rest was 3 to 6 times the square of the next order, at ΔL/D from 8 to 20.
    """
    return _RATIO * first**2


def _log_next_order(first: np.ndarray) -> np.ndarray:
    """Return log(1 + Dc₁); where the sum is not positive, D is too large for it and nothing is added."""
    return np.where(first > -1, np.log1p(np.maximum(first, -1 + 1e-12)), 0.0)


def _log_stop(problem: _Problem, rates: np.ndarray) -> np.ndarray:
    """Return the logarithm of the factor for stopping at the saddle.

    The plain half of Kramers is off by 3 to 50 %: the third derivative tilts the barrier, and a chain that jumps over
    the saddle by part of a step comes back as often as one whose stop lies beyond by 0.58 of a step.
    """
    track = problem.track
    lam, diffusion = track.curvatures[1], problem.ends[:, 1]
    third, _ = track.surface.third_and_fourth(track.saddle, track.ends[1:])
    tilt = 1 - float(third[0]) / 3 * np.sqrt(2 * diffusion / (np.pi * lam**3))
    if np.any(tilt <= 0):
        raise LandscapeError(
            f"The noise D_b = {diffusion.max():.3g} is too strong for a stop at this tilted saddle: use "
            "stop='far-side', esc.exact_time or esc.simulate."
        )
    jumps = np.array([1 + math.erf(OVERSHOOT * math.sqrt(rate * lam)) for rate in rates])
    return np.log(0.5 * tilt * jumps)


def _check_arguments(
    leg: Any,
    noise: Any,
    learning_rates: ArrayLike,
    form: str,
    split: float,
    stop: str,
    calculus: str,
    transverse: str,
    order: int,
    num_samples: int,
) -> np.ndarray:
    """Check everything that needs no landscape, and return the learning rates."""
    check_leg(leg)
    check_noise(noise)
    check_choice("form", form, FORMS)
    check_choice("stop", stop, STOPS)
    check_choice("calculus", calculus, tuple(CALCULUS))
    check_choice("transverse", transverse, TRANSVERSE)
    check_number("split", split, above=0, below=1)
    if check_integer("order", order, least=1) > 2:
        raise ArgumentError(f"order is 1, or 2 with the next order in D; got {order}.")
    check_integer("num_samples", num_samples, least=2)
    return check_learning_rates(learning_rates)


def check_leg(leg: Any) -> None:
    """Raise `ArgumentError` unless it is a leg."""
    if not isinstance(leg, Leg):
        cure = " A path has several: choose one of path.legs." if hasattr(leg, "legs") else ""
        raise ArgumentError(f"A leg is one of the legs of esc.find_path(...); got {type(leg).__name__}.{cure}")


def _check_form(noise: Noise, form: str) -> None:
    if noise.batch_size is None:
        return
    if noise.model == "hessian" and form == "path" and not noise.isotropic:
        raise LandscapeError(
            "With C = ρ|H| the noise vanishes where the curvature changes sign, and the integral along the path "
            "diverges: use form='two-temperature', or model='measured'."
        )
    if noise.model == "cumulants" and form == "two-temperature":
        raise LandscapeError("Cumulants are integrated along the path: use form='path', or model='measured'.")
    if noise.model == "cumulants" and noise.sampling != "with-replacement":
        raise LandscapeError(
            "The sum over a batch has the cumulants of its examples with replacement alone: use "
            "sampling='with-replacement', or model='measured'."
        )


def _check_key(size: int, noise: Noise, order: int, key: Any) -> None:
    if size > DENSE or (size > EXACT_TENSORS and order == 2 and noise.batch_size is None):
        check_key(key, f"With {size} parameters determinants and the next order are sampled")


def _warn(result: EscapeTime, rows: Assumptions, kinks: tuple[Kink, ...]) -> None:
    """Warn of what makes a time doubtful, once for each reason."""
    reasons = []
    if np.any(result.exponent < LEAST_EXPONENT):
        reasons.append(
            f"the least exponent is {result.exponent.min():.3g}, below {LEAST_EXPONENT:g}, where escapes are not rare"
        )
    if np.any(result.truncation > CONVERGED):
        reasons.append(f"what is left out is up to {result.truncation.max():.2g} of the time")
    if rows["noise along the path"].measured > _MISALIGNED:
        reasons.append(
            f"the noise along the path is correlated with that across, ‖De − D_ee e‖/‖De‖ = "
            f"{rows['noise along the path'].measured:.2g}: the likeliest path is another one, see esc.least_action"
        )
    if rows["small steps"].measured >= STABLE:
        reasons.append(
            f"ηh is up to {rows['small steps'].measured:.3g}, and from {STABLE:g} on steps of SGD do not stay in the "
            "minimum: the time is that of continuous noise alone"
        )
    if kinks:
        reasons.append(f"the loss has kinks ({'; '.join(map(str, kinks))}), and curvatures do not describe it fully")
    if reasons:
        warnings.warn(f"Escape time with {result.noise}: {'; '.join(reasons)}.", TruncationWarning, stacklevel=3)
