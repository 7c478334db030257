"""The law (a/T + b) exp(−T/c) of the gap, fitted to measured gaps: a fit, which no theory here derives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from ...errors import ArgumentError
from ...estimates import Estimate
from .._numbers import check_choice, check_number, check_temperature
from ._plain import Plain

# The forms, by their number of parameters: each is the next one with a parameter at zero.
FORMS = {"constant": 1, "inverse": 2, "law": 3}
_SHOWN = {"constant": "b", "inverse": "a/T + b", "law": "(a/T + b) exp(−T/c)"}
_LEAST_TEMPERATURES = 4
_GRID = 200  # decay rates 1/c between which the likelihood is refined
# Where the second coldest point weighs e^-16 of the coldest, more decay changes the fit by less than 1e-6 of itself.
_MOST_DECAY = 16.0


@dataclass(frozen=True, eq=False)
class GapLaw(Plain):
    """A fit of gaps against temperatures; its parameters describe the data and were not derived from anything.

    Attributes:
        form: "law", (a/T + b) exp(−T/c); "inverse", a/T + b; or "constant", b.
        a: in the unit of the loss times that of the temperature; 0 in the constant form.
        b: in the unit of the loss.
        c: the temperature at which the gap has fallen by e; infinite without decay.
        intervals: by name, the profile-likelihood interval of each parameter of the form. An end is infinite where the
            data do not bound it.
        confidence: of the intervals.
        chi2: the sum of squared residuals in units of the standard errors.
        dof: points less parameters.
        rivals: the AICc of every form that was compared, lowest for the best; empty if the form was given.
        covariance: of the parameters of the form, from the curvature of chi2, in the order a, b, 1/c.
        num_points: the number of gaps.
    """

    form: str
    a: float
    b: float
    c: float
    intervals: Mapping[str, tuple[float, float]]
    confidence: float
    chi2: float
    dof: int
    rivals: Mapping[str, float]
    covariance: np.ndarray
    num_points: int

    def predict(self, temperature: float) -> Estimate:
        """Return the fitted gap at a temperature, with its standard error to first order in the parameters' errors.

        Args:
            temperature: T, in the unit of the learning rate.

        Raises:
            ArgumentError: it is not one positive number.
        """
        T = check_temperature(temperature)
        fall = np.exp(-T / self.c)
        value = (self.a / T + self.b) * fall
        slopes = {"constant": [1.0], "inverse": [1 / T, 1.0], "law": [fall / T, fall, -T * value]}[self.form]
        stderr = float(np.sqrt(np.array(slopes) @ self.covariance @ np.array(slopes)))
        return Estimate(float(value), stderr, self.num_points, "fit")

    @property
    def shown(self) -> str:
        """The form that was fitted, in symbols."""
        return _SHOWN[self.form]

    def __str__(self) -> str:
        ends = {name: f"[{low:.4g}, {high:.4g}]" for name, (low, high) in self.intervals.items()}
        parts = [f"{name} = {getattr(self, name):.4g} {interval}" for name, interval in ends.items()]
        return f"fit of {_SHOWN[self.form]}: {', '.join(parts)}; χ² = {self.chi2:.4g}, {self.dof} degrees of freedom"


def fit_gap_law(
    temperatures: ArrayLike, gaps: ArrayLike, stderrs: ArrayLike, *, form: str = "auto", confidence: float = 0.95
) -> GapLaw:
    """Fit (a/T + b) exp(−T/c) to measured gaps by weighted least squares, with profile-likelihood intervals.

    The paper was "inspired" to this law and does not derive it: near a minimum the gap tends to tr(C H⁻¹)/n at T = 0
    and has no a/T. So "auto" also fits a/T + b and b and takes the form with the lowest AICc. The signs of a and b are
    free. The decay 1/c is not negative; without any c is infinite.

    Args:
        temperatures: T = λ/B of the gaps, positive, of at least four different values.
        gaps: measured gaps, in the unit of the loss; they may be negative.
        stderrs: their standard errors, positive.
        form: "auto", "law", "inverse" or "constant".
        confidence: of the intervals.

    Raises:
        ArgumentError: lengths differ, a number is not finite, a temperature or a standard error is not positive, fewer
            than four temperatures differ, the form is unknown, or "auto" has fewer than five points.

    References:
        "Studying Generalization Through Data Averaging", equation (1).

    Examples:
        >>> T = [0.1, 0.2, 0.4, 0.8, 1.6]
        >>> law = fit_gap_law(T, [(0.02 / t + 0.1) * 2.718281828 ** (-t / 2) for t in T], [0.01] * 5, form="law")
        >>> print(f"{law.a:.4f} {law.b:.4f} {law.c:.4f}")
        0.0200 0.1000 2.0000
    """
    T, y, errors = _checked(temperatures, gaps, stderrs)
    check_choice("form", form, ("auto", *FORMS))
    confidence = check_number("The confidence", confidence, above=0, below=1)
    if form != "auto":
        return _fitted(form, T, y, errors, confidence, {})
    if len(T) < FORMS["law"] + 2:
        raise ArgumentError(
            f"form='auto' compares forms of up to 3 parameters by AICc, which takes at least 5 points; got {len(T)}. "
            "Measure at more temperatures, or name a form: 'law', 'inverse' or 'constant'."
        )
    fits = {name: _fitted(name, T, y, errors, confidence, {}) for name in FORMS}
    scores = {name: fits[name].chi2 + _penalty(count, len(T)) for name, count in FORMS.items()}
    best = min(scores, key=scores.__getitem__)
    return _fitted(best, T, y, errors, confidence, scores)


def _penalty(count: int, points: int) -> float:
    """Return what AICc adds to chi2 for parameters."""
    return 2 * count + 2 * count * (count + 1) / (points - count - 1)


def _checked(temperatures: Any, gaps: Any, stderrs: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    arrays = [np.asarray(part, dtype=float) for part in (temperatures, gaps, stderrs)]
    if any(part.ndim != 1 or len(part) != len(arrays[0]) for part in arrays):
        shapes = ", ".join(str(part.shape) for part in arrays)
        raise ArgumentError(f"Temperatures, gaps and standard errors are lists of one length; got shapes {shapes}.")
    T, y, errors = arrays
    for name, part, allowed in (
        ("Temperatures", T, T > 0),
        ("Gaps", y, np.ones(len(y), dtype=bool)),
        ("Standard errors", errors, errors > 0),
    ):
        if (bad := np.flatnonzero(~(allowed & np.isfinite(part)))).size:
            what = "finite" if name == "Gaps" else "positive and finite"
            raise ArgumentError(f"{name} are {what}; number {bad[0]} is {part[bad[0]]}. Leave that point out.")
    if len({*T.tolist()}) < _LEAST_TEMPERATURES:
        raise ArgumentError(
            f"The law has three parameters, so a fit takes at least {_LEAST_TEMPERATURES} different temperatures; got "
            f"{len({*T.tolist()})}. Measure at more of them."
        )
    order = np.argsort(T, kind="stable")
    return T[order], y[order], errors[order]


class _Profile:
    """Weighted least squares of the linear parameters at every decay rate k = 1/c.

    Columns are scaled by exp(k T_min), so that large rates do not lose the coldest point.

    Attributes:
        rates: a grid of decay rates, between which minima and ends are refined.
        chi2: at these rates.
        best: the linear parameters there, shape (rates, linear).
        spread: their variances.
    """

    def __init__(self, linear: int, T: np.ndarray, y: np.ndarray, errors: np.ndarray, rates: np.ndarray) -> None:
        self._columns = np.stack([1 / T, np.ones(len(T))], axis=1)[:, 2 - linear :] / errors[:, None]
        self._T, self._scaled, self._coldest = T - T[0], y / errors, T[0]
        self.rates = rates
        self.chi2, self.best, covariance = self.at(rates)
        self.spread = np.einsum("kaa->ka", covariance)

    def at(self, k: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return chi2, the linear parameters and their covariance at decay rates, of shape (rates,)."""
        q, r = np.linalg.qr(np.exp(-k[:, None] * self._T)[:, :, None] * self._columns)
        back = np.linalg.inv(r) * np.exp(k * self._coldest)[:, None, None]
        along = np.einsum("kna,n->ka", q, self._scaled)
        rest = self._scaled - np.einsum("kna,ka->kn", q, along)
        return np.sum(rest**2, axis=1), np.einsum("kab,kb->ka", back, along), back @ back.transpose(0, 2, 1)

    def least(self, k: float) -> float:
        """Return chi2 at one decay rate."""
        return float(self.at(np.array([k]))[0][0])


def _fitted(
    form: str, T: np.ndarray, y: np.ndarray, errors: np.ndarray, confidence: float, rivals: Mapping[str, float]
) -> GapLaw:
    count = FORMS[form]
    profile = _Profile(min(count, 2), T, y, errors, _decay_rates(T) if form == "law" else np.zeros(1))
    k = _best_rate(profile)
    chi2, best, spread = (part[0] for part in profile.at(np.array([k])))
    limit = float(chi2 + stats.chi2.ppf(confidence, 1))
    rates = _rate_interval(profile, k, limit) if form == "law" else (0.0, 0.0)
    # With the best rate in the grid, an interval between two rates of the grid is not missed.
    profile = _Profile(min(count, 2), T, y, errors, np.unique([*profile.rates, k]))
    names = ("a", "b")[-min(count, 2) :]
    intervals = {}
    for place, name in enumerate(names):
        low, high = (_end(profile, place, limit, rates, sign) for sign in (-1, 1))
        intervals[name] = low, high
    if form == "law":
        intervals["c"] = (1 / rates[1], 1 / rates[0] if rates[0] > 0 else float("inf"))
        spread = _with_decay(T, errors, best, k)
    values = {"a": 0.0, **dict(zip(names, best.tolist(), strict=True))}
    c = 1 / k if k > 0 else np.inf
    dof, rivals = len(T) - count, dict(rivals)
    return GapLaw(form, values["a"], values["b"], c, intervals, confidence, float(chi2), dof, rivals, spread, len(T))


def _decay_rates(T: np.ndarray) -> np.ndarray:
    """Return decay rates from none to where only the coldest point is left."""
    different = np.unique(T)
    return np.concatenate([[0.0], np.geomspace(1e-3 / T[-1], _MOST_DECAY / (different[1] - different[0]), _GRID)])


def _best_rate(profile: _Profile) -> float:
    rates, place = profile.rates, int(np.argmin(profile.chi2))
    if len(rates) == 1:
        return 0.0
    bounds = rates[max(place - 1, 0)], rates[min(place + 1, len(rates) - 1)]
    found = optimize.minimize_scalar(
        profile.least, bounds=bounds, method="bounded", options={"xatol": 1e-9 * bounds[1]}
    )
    return float(found.x) if found.fun < profile.chi2[place] else float(rates[place])


def _end(profile: _Profile, place: int, limit: float, allowed: tuple[float, float], sign: int) -> float:
    """Return an end of a linear parameter's interval: the farthest that any decay rate allows.

    At a rate k, chi2 grows from its least χ²(k) by (a − â(k))²/V(k) as the parameter moves away. So the farthest value
    with chi2 below the limit is â ± (V (limit − χ²))^½, and the interval is the union over the rates that are allowed.
    """

    def farthest(chi2: np.ndarray, best: np.ndarray, variance: np.ndarray) -> np.ndarray:
        return sign * best + np.sqrt(variance * np.maximum(limit - chi2, 0))

    def missed(k: float) -> float:
        chi2, best, covariance = profile.at(np.array([k]))
        return -float(farthest(chi2, best[:, place], covariance[:, place, place])[0])

    rates = profile.rates
    if allowed[1] > rates[-1]:
        return sign * float("inf")
    found = farthest(profile.chi2, profile.best[:, place], profile.spread[:, place])
    found[(rates < allowed[0]) | (rates > allowed[1])] = -np.inf
    top = int(np.argmax(found))
    low, high = max(rates[max(top - 1, 0)], allowed[0]), min(rates[min(top + 1, len(rates) - 1)], allowed[1])
    if low == high:
        return sign * float(found[top])
    refined = optimize.minimize_scalar(missed, bounds=(low, high), method="bounded", options={"xatol": 1e-6 * high})
    return sign * float(max(found[top], -refined.fun))


def _rate_interval(profile: _Profile, best: float, limit: float) -> tuple[float, float]:
    """Return the decay rates between which chi2 stays below a limit, 0 and infinity included."""

    def excess(k: float) -> float:
        return profile.least(k) - limit

    rates = profile.rates
    inside = [*rates[profile.chi2 < limit].tolist(), best]
    low, high = min(inside), max(inside)
    below, above = rates[rates < low], rates[rates > high]
    low = float(optimize.brentq(excess, below[-1], low)) if len(below) else 0.0
    high = float(optimize.brentq(excess, high, above[0])) if len(above) else float("inf")
    return low, high


def _with_decay(T: np.ndarray, errors: np.ndarray, best: np.ndarray, k: float) -> np.ndarray:
    """Return the covariance of a, b and 1/c from the curvature of chi2 at the fit."""
    fall = np.exp(-k * T)
    slopes = np.stack([fall / T, fall, -T * (best[0] / T + best[1]) * fall], axis=1) / errors[:, None]
    return np.linalg.pinv(slopes.T @ slopes)
