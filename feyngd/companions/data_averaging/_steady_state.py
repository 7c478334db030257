"""The steady state of SGD with one parameter, for every training set, and what its averages over them are."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from scipy import optimize

from ..._arguments import check_integer
from ...errors import ArgumentError, LandscapeError
from ...estimates import Estimate
from .._assumptions import Assumption, Assumptions
from .._numbers import check_choice, check_number, check_temperature
from ._assumptions import small_steps
from ._averages import Density, Losses, Residuals, Stationary
from ._axis import Axis
from ._grid_losses import ExampleLosses
from ._jackknife import cross_gap, jackknife
from ._log_normal import LogNormal, log_normal, printed_optimum
from ._potential import Potential, of_function, of_parts
from ._support import check_ends, check_resolved, check_slopes

_NO_NOISE = 1e-12  # of the largest squared gradient: what a D + β² of zero is up to rounding


class SteadyState:
    """SGD in the long run, by the diffusion that stands for it at small learning rates; `steady_state` makes one.

    Numbers are exact up to quadrature (`stderr=None`) if all training sets are gone through. Otherwise they are
    averages over those drawn, with standard errors.

    Attributes:
        n: the number of training points.
        theta: the points of the quadrature, shape (G,), its ends among them.
        counts: how often every example is in each training set, shape (datasets, M).
        weights: the probabilities of the training sets.
        v, a: the parts of g = (2/T) v + a, shape (datasets, G), v being 0 at the base point; `None` of a potential
            that is a function.
    """

    def __init__(
        self,
        n: int,
        axis: Axis,
        counts: np.ndarray,
        probabilities: np.ndarray | None,
        losses: ExampleLosses,
        parameters: tuple[float, float],
        potential: str | Callable[[Any, Any, Any], Any],
        data: Any,
        distinct: bool,
        loss_at: Callable[[float], np.ndarray],
    ) -> None:
        self.n, self.theta, self.counts = n, axis.points, counts
        self._axis, self._losses, self._loss_at = axis, losses, loss_at
        self._is_exact = probabilities is not None
        self.weights = np.full(len(counts), 1 / len(counts)) if probabilities is None else probabilities
        self._alpha, self._beta = parameters
        pool = counts.shape[1]
        # A test set that training left over has a gap larger by M/(M − n) than an independent one.
        self._of_gap = pool / (pool - n) if distinct else 1.0
        self._of_spread = ((pool - n) / (pool - 1)) ** 0.5 if distinct else 1.0
        self._train = counts @ losses.values / n
        self._pool = losses.values.mean(axis=0)
        self.v: np.ndarray | None = None
        self.a: np.ndarray | None = None
        self._unresolved: np.ndarray | None = None  # of v, in every panel
        if isinstance(potential, str):
            if potential == "sgd":
                noise = self._noise
                self._check_noise(noise)
                slope = self._force / noise
                self._unresolved = axis.unresolved(slope)
                self.v, self.a = axis.antiderivative(slope), np.log(noise)
            else:
                self.v = self._train + self._alpha * self.theta**2 / 2
                self.a = np.zeros_like(self.v)
            self._potential: Potential = of_parts(self.v, self.a)
        else:
            self._potential = of_function(potential, data, counts, self.theta)

    def __repr__(self) -> str:
        how = "all" if self._is_exact else "drawn"
        low, high = self.theta[[0, -1]]
        return f"SteadyState({len(self.counts)} training sets ({how}), n={self.n}, domain=({low:g}, {high:g}))"

    # --- on the grid --------------------------------------------------------------------------------------------------

    @cached_property
    def _force(self) -> np.ndarray:
        return self.counts @ self._losses.slopes / self.n + self._alpha * self.theta

    @cached_property
    def _noise(self) -> np.ndarray:
        """D + β², shape (datasets, G)."""
        away = self._losses.slopes - self._losses.slopes.mean(axis=0)  # about a common centre: less is lost to rounding
        return self.counts @ away**2 / self.n - (self.counts @ away / self.n) ** 2 + self._beta**2

    def _check_noise(self, noise: np.ndarray) -> None:
        least = _NO_NOISE * float(np.max(self._losses.slopes**2, initial=0.0))
        if np.any(bad := noise <= least):
            dataset, point = np.argwhere(bad)[0]
            held = np.flatnonzero(self.counts[dataset])
            raise LandscapeError(
                f"The noise D + β² is zero at θ={self.theta[point]:g} for training set {dataset}, of the examples "
                f"{held.tolist()}, so that SGD there has no density. Give noise=β above 0."
            )

    def _densities(self, temperature: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ρ, g and ∂g/∂T, each of shape (datasets, G)."""
        T = check_temperature(temperature)
        g, slope = self._potential(T)
        check_ends(-g, f"A density at T={T:g}", "more weight decay or a lower temperature")
        if self._unresolved is not None:
            check_slopes(self._axis, self._unresolved, -g, 2 / T)
        relative = np.exp(g.min(axis=1, keepdims=True) - g)
        rho = relative / (relative @ self._axis.weights)[:, None]
        check_resolved(self._axis, rho)
        return rho, g, slope

    def _at(self, temperature: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ρ times the points' weights, g, and ∂g/∂T."""
        rho, g, slope = self._densities(temperature)
        return rho * self._axis.weights, g, slope

    def _mean(self, values: np.ndarray) -> Estimate:
        """Return the mean over training sets of one number for each."""
        if self._is_exact:
            return Estimate(float(self.weights @ values), None, 0, "quadrature")
        return Estimate.from_replicates(values, "ensemble")

    def _statistic(self, function: Callable[[np.ndarray], float]) -> Estimate:
        """Return a function of the weights of the training sets."""
        if self._is_exact:
            return Estimate(function(self.weights), None, 0, "quadrature")
        return jackknife(function, len(self.weights))

    def _minus_covariance(self, measure: np.ndarray, values: np.ndarray) -> Estimate:
        """Return −∫ Cov_x(ρ, f) dθ from ρ times weights and f, both of shape (datasets, G)."""
        if not self._is_exact:
            return cross_gap(measure @ values.T)
        own = np.einsum("d,dg,dg->", self.weights, measure, values)
        return Estimate(float((self.weights @ measure) @ (self.weights @ values) - own), None, 0, "quadrature")

    def _split(self, train: np.ndarray, pool: np.ndarray, temperature: float) -> Losses:
        """Return losses from means over ρ, of every training set, of U and of the pool's mean loss."""
        test = train + self._of_gap * (pool - train)
        failing = self.assumptions(temperature).failing
        return Losses(self._mean(train), self._mean(test), self._mean(test - train), failing)

    # --- public -------------------------------------------------------------------------------------------------------

    def assumptions(self, temperature: float) -> Assumptions:
        """Return what the steady state assumes at a temperature, measured; losses carry what fails of it.

        Steps are at least λ = T, with single examples as batches. Their λh is judged there, with h = U'' + α averaged
        over the density, the largest over training sets. With one parameter there is no curl, and the noise was found
        not to be zero.
        """
        measure, _, _ = self._at(temperature)
        bends = self.counts @ self._losses.bends / self.n + self._alpha
        steepest = float(np.abs(np.einsum("dg,dg->d", measure, bends)).max())
        return Assumptions(
            [
                Assumption.judged("no curl", 0.0, most=0.0, meaning="one parameter has none"),
                small_steps(float(temperature) * steepest),
            ]
        )

    def density(self, temperature: float) -> Density:
        """Return the densities at a temperature.

        Raises:
            LandscapeError: one is not 30 nats below its peak at an end of the domain, or the points do not resolve it.
        """
        rho, _, _ = self._densities(temperature)
        mean = self.weights @ rho
        return Density(self.theta, self._axis.weights, rho, mean, np.sqrt(self.weights @ (rho - mean) ** 2))

    def averages(self, temperature: float) -> Losses:
        """Return train loss, test loss and gap, in the unit of the loss; a negative gap stays negative.

        References:
            "Studying Generalization Through Data Averaging", equations (3)–(6).
        """
        measure, _, _ = self._at(temperature)
        return self._split(np.einsum("dg,dg->d", measure, self._train), measure @ self._pool, temperature)

    def slopes(self, temperature: float) -> Losses:
        """Return the derivatives of `averages` by the temperature: −E Cov_ρ(∂g/∂T, U), (2/T²) E Cov_ρ(v, U) for SGD.

        References:
            "Studying Generalization Through Data Averaging", equation (27); exact, and neither has a fixed sign.
        """
        measure, _, slope = self._at(temperature)
        away = slope - np.einsum("dg,dg->d", measure, slope)[:, None]
        train = -np.einsum("dg,dg,dg->d", measure, away, self._train)
        return self._split(train, -(measure * away) @ self._pool, temperature)

    def bound(self, temperature: float, baseline: float | None = None) -> Estimate:
        """Return n^(−½) ∫ σ_ρ σ_l dθ, which no gap exceeds in size.

        Args:
            temperature: T.
            baseline: θ₀: the spread of l(θ) − l(θ₀) over examples takes the place of that of l(θ). As ∫ρ = 1 for every
                training set the bound holds with any, and is often much lower with one near the minimum.

        References:
            "Studying Generalization Through Data Averaging", equation (7); the baseline and the factor of drawing
            without replacement are the project's own.
        """
        if baseline is not None:
            baseline = check_number("The baseline", baseline)
        measure, _, _ = self._at(temperature)
        spread = self._loss_spread(baseline) * self._of_gap / self.n**0.5

        def bounded(weights: np.ndarray) -> float:
            mean = weights @ measure
            return float(np.sqrt(weights @ (measure - mean) ** 2) @ spread)

        return self._statistic(bounded)

    def _loss_spread(self, baseline: float | None = None) -> np.ndarray:
        losses = self._losses.values
        if baseline is not None:
            losses = losses - self._loss_at(baseline)[:, None]
        return losses.std(axis=0) * self._of_spread

    def potential_gap(self, temperature: float) -> Estimate:
        """Return ⟨⟨ḡ⟩⟩ − E⟨g⟩, which is never negative, unlike the gap.

        References:
            "Studying Generalization Through Data Averaging", equations (9) and (21).
        """
        measure, g, _ = self._at(temperature)
        return self._minus_covariance(measure, g)

    def interpolated_gap(self, temperature: float, nodes: int = 40) -> Estimate:
        """Return the gap as ∫₀¹ E Cov_{q_c}(δg, δU) dc with q_c ∝ exp(−ḡ − c δg), which is exact.

        Args:
            temperature: T.
            nodes: Gauss points between 0 and 1.

        References:
            The project's own, in place of "Studying Generalization Through Data Averaging", equations (51)–(53). It
            does not change if a function of the training set is added to g.
        """
        count = check_integer("nodes", nodes, least=1)
        measure, g, _ = self._at(temperature)
        places, shares = np.polynomial.legendre.leggauss(count)
        total = sum(
            share / 2 * self._covariance_between(g, (place + 1) / 2)
            for place, share in zip(places, shares, strict=True)
        )
        value = float(total) * self._of_gap
        if self._is_exact:
            return Estimate(value, None, 0, "quadrature")
        number = len(self.weights)
        error = self._minus_covariance(measure, self._train).stderr
        assert error is not None
        return Estimate(value * number / (number - 1), error * self._of_gap, number, "jackknife")

    def linear_gap(self, temperature: float) -> Estimate:
        """Return E Cov_{ρ₀}(δg, δU) with ρ₀ ∝ exp(−ḡ): the gap to first order in how training sets differ.

        Near a minimum ρ₀ has a width ∝ T that cancels the 1/T in g, so that it tends to tr(C H⁻¹)/n.

        References:
            The project's own, in place of "Studying Generalization Through Data Averaging", equations (51)–(53), which
            change if a function of the training set is added to g.
        """
        _, g, _ = self._at(temperature)
        return self._statistic(lambda weights: self._of_gap * self._covariance_between(g, 0.0, weights))

    def _covariance_between(self, g: np.ndarray, c: float, weights: np.ndarray | None = None) -> float:
        """Return E Cov_{q_c}(δg, δU)."""
        shares = self.weights if weights is None else weights
        mean = shares @ g
        away, losses = g - mean, self._train - shares @ self._train
        exponent = -(mean + c * away)
        q = np.exp(exponent - exponent.max(axis=1, keepdims=True)) * self._axis.weights
        q /= q.sum(axis=1, keepdims=True)
        centred = away - np.einsum("dg,dg->d", q, away)[:, None]
        return float(shares @ np.einsum("dg,dg,dg->d", q, centred, losses))

    def lognormal(self, temperature: float, gauge: str | float = "normalized") -> LogNormal:
        """Return the log-normal approximation, its bounds and its validity figures.

        Args:
            temperature: T.
            gauge: "normalized" for g = −ln ρ, or a base point in the domain at which g is made 0 for every training
                set, as printed; results depend on it.

        Raises:
            ArgumentError: the base point is not in the domain.
            LandscapeError: the approximate density does not fall off in the domain, or a train loss is not positive.
        """
        _, g, _ = self._at(temperature)
        split = None
        if isinstance(gauge, str):
            check_choice("gauge", gauge, ("normalized",))
            least = g.min(axis=1, keepdims=True)
            g = g - least + np.log(np.exp(least - g) @ self._axis.weights)[:, None]
        else:
            gauge = check_number("The base point of a gauge", gauge, least=self.theta[0], below=self.theta[-1])
            g = g - self._axis.value_at(g, gauge)[:, None]
            if self.v is not None and self.a is not None:
                v, a = (part - self._axis.value_at(part, gauge)[:, None] for part in (self.v, self.a))
                split = v, a, self._pool
        spread = self._loss_spread() / self.n**0.5
        found = log_normal(self._axis, self.weights, g, self._train, spread, self._of_gap, gauge)
        if split is None:
            return found
        return printed_optimum(found, self._axis, self.weights, *split, temperature=float(temperature))

    def residuals(self, temperature: float) -> Residuals:
        """Return what is left of the stationary moment equations; zero but for rounding in SGD's steady state.

        References:
            "Studying Generalization Through Data Averaging", equations (34)–(37).
        """
        measure, _, _ = self._at(temperature)
        force, noise, T = self._force, self._noise, float(temperature)
        slope, bend = (self.counts @ part / self.n for part in (self._losses.slopes, self._losses.bends))
        away = self.theta - (measure @ self.theta)[:, None]

        def largest(values: np.ndarray) -> float:
            return float(np.max(np.abs(np.einsum("dg,dg->d", measure, values))))

        of_pool, bend_of_pool = self._losses.slopes.mean(axis=0), self._losses.bends.mean(axis=0)
        return Residuals(
            mean=largest(force),
            covariance=largest(T * noise - 2 * force * away),
            train_loss=largest(T / 2 * bend * noise - slope * force),
            test_loss=largest(T / 2 * bend_of_pool * noise - of_pool * force),
        )

    def stationary_temperatures(self, low: float, high: float, points: int = 60) -> tuple[Stationary, ...]:
        """Return all temperatures in a range at which the test loss has a minimum or a maximum; there may be none.

        They are the zeros of its exact slope, one between each two of `points` temperatures, at equal ratios, where it
        changes sign.

        Args:
            low, high: the range.
            points: how many temperatures are looked at first, at least 2.

        Raises:
            ArgumentError: the range is empty.
            LandscapeError: a density does not fall off in the domain at one of the temperatures.
        """
        low, high = check_temperature(low), check_temperature(high)
        if not low < high:
            raise ArgumentError(f"A range of temperatures goes up; got {low:g} to {high:g}.")
        count = check_integer("points", points, least=2)

        def slope(log_temperature: float) -> float:
            return self.slopes(float(np.exp(log_temperature))).test.value

        places = np.linspace(np.log(low), np.log(high), count)
        found = np.array([slope(place) for place in places])
        stationary = []
        for k in np.flatnonzero(found[:-1] * found[1:] < 0):
            T = float(np.exp(optimize.brentq(slope, places[k], places[k + 1], xtol=1e-12)))
            kind = "minimum" if found[k] < 0 else "maximum"
            stationary.append(Stationary(T, kind, self.averages(T).test))
        return tuple(stationary)
