"""Polynomial landscapes with rational coefficients, on which everything can be computed exactly."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import sympy
from sympy.polys.polyerrors import BasePolynomialError

from ..errors import LandscapeError

Exponents = tuple[int, ...]
Polynomial = Mapping[Exponents, Fraction]


@dataclass(frozen=True)
class PolynomialLandscape:
    """A finite population of polynomial losses, each drawn with a rational probability.

    Args:
        losses: one polynomial for each kind of datapoint: a mapping from exponents, one for each coordinate of θ, to
            rational coefficients.
        weights: the probability of each kind; uniform without it. Positive and adding up to 1.
        updates: what steps follow instead of the gradient of each loss: for each kind of datapoint a polynomial for
            each coordinate of θ.

    Raises:
        LandscapeError: there is no loss, the exponents differ in length, the weights are not probabilities, or the
            updates are not as many as losses and coordinates.

    Examples:
        >>> from feyngd.testing import PolynomialLandscape
        >>> PolynomialLandscape([{(2,): 1, (1,): 3}, {(2,): 1, (1,): -3}]).dimensions
        1
    """

    losses: tuple[Polynomial, ...]
    weights: tuple[Fraction, ...]
    updates: tuple[tuple[Polynomial, ...], ...] | None

    def __init__(
        self,
        losses: Iterable[Mapping[Exponents, Any]],
        weights: Iterable[Any] | None = None,
        updates: Iterable[Iterable[Mapping[Exponents, Any]]] | None = None,
    ) -> None:
        exact = tuple(map(_exact, losses))
        if not exact:
            raise LandscapeError("A landscape needs at least one loss, got none.")
        lengths = {len(powers) for loss in exact for powers in loss}
        if len(lengths) > 1:
            raise LandscapeError(f"Exponents name one power for each coordinate of θ; their lengths differ: {lengths}.")
        given = [Fraction(1, len(exact))] * len(exact) if weights is None else [_rational(w) for w in weights]
        if len(given) != len(exact) or sum(given) != 1 or min(given) <= 0:
            raise LandscapeError(
                f"Weights are {len(exact)} positive probabilities that add up to 1, got {[str(w) for w in given]}."
            )
        object.__setattr__(self, "losses", exact)
        object.__setattr__(self, "weights", tuple(given))
        own = None if updates is None else tuple(tuple(map(_exact, update)) for update in updates)
        object.__setattr__(self, "updates", own)
        if own is not None and [len(update) for update in own] != [self.dimensions] * len(exact):
            raise LandscapeError(
                f"Updates are {len(exact)}, one for each loss, of {self.dimensions} polynomial(s) each, one for each "
                f"coordinate of θ; got {[len(update) for update in own]}."
            )

    @classmethod
    def from_expressions(
        cls, expressions: Iterable[sympy.Expr], symbols: Sequence[sympy.Symbol], weights: Iterable[Any] | None = None
    ) -> "PolynomialLandscape":
        """Make a landscape from SymPy polynomials in the coordinates of θ.

        Raises:
            LandscapeError: an expression is not a polynomial in the symbols with rational coefficients.
        """
        losses = []
        for expression in expressions:
            try:
                terms = sympy.Poly(expression, *symbols, domain="QQ").terms()
            except BasePolynomialError as error:
                raise LandscapeError(
                    f"{expression} is not a polynomial in {list(symbols)} with rational coefficients."
                ) from error
            losses.append({powers: Fraction(int(value.p), int(value.q)) for powers, value in terms})
        return cls(losses, weights)

    @cached_property
    def dimensions(self) -> int:
        """The number of coordinates of θ."""
        return next((len(powers) for loss in self.losses for powers in loss), 1)

    @cached_property
    def mean(self) -> Polynomial:
        """The mean loss."""
        return combine(zip(self.weights, self.losses, strict=True))

    def check_point(self, theta: Sequence[Any]) -> tuple[Fraction, ...]:
        """Return θ as fractions.

        Raises:
            LandscapeError: its number of coordinates is not that of the landscape.
        """
        point = tuple(Fraction(coordinate) for coordinate in theta)
        if len(point) != self.dimensions:
            raise LandscapeError(f"θ has {len(point)} coordinate(s), the landscape {self.dimensions}.")
        return point


@dataclass(frozen=True)
class NoisyLandscape:
    """A finite population whose datapoints draw noise anew at every use: every use takes one of several losses.

    Args:
        uses: for each kind of datapoint the polynomials that a use of it may take, equally likely.
        weights: the probability of each kind; uniform without it.

    Raises:
        LandscapeError: a kind has no polynomial, or as for `PolynomialLandscape`.

    Attributes:
        flat: all polynomials as datapoints of their own, those of a kind one after the other.
        means: the mean over the noise of each kind: what is measured.
        numbers: for each kind the numbers of its polynomials among those of `flat`.

    Examples:
        >>> from feyngd.testing import NoisyLandscape
        >>> NoisyLandscape([[{(2,): 1}, {(1,): 2}], [{(2,): 3}]]).numbers
        ((0, 1), (2,))
    """

    flat: PolynomialLandscape
    means: PolynomialLandscape
    numbers: tuple[tuple[int, ...], ...]

    def __init__(self, uses: Iterable[Iterable[Mapping[Exponents, Any]]], weights: Iterable[Any] | None = None) -> None:
        listed = [[*kind] for kind in uses]
        if not listed or not all(listed):
            raise LandscapeError(f"Every kind of datapoint needs at least one loss for a use of it, got {listed!r}.")
        given = [Fraction(1, len(listed))] * len(listed) if weights is None else [_rational(w) for w in weights]
        kinds = [number for number, kind in enumerate(listed) for _ in kind]
        own = [given[kind] / len(listed[kind]) for kind in kinds] if len(given) == len(listed) else given
        object.__setattr__(self, "flat", PolynomialLandscape([loss for kind in listed for loss in kind], own))
        losses = self.flat.losses
        numbers = tuple(tuple(i for i, kind in enumerate(kinds) if kind == number) for number in range(len(listed)))
        object.__setattr__(self, "numbers", numbers)
        means = [combine((Fraction(1, len(part)), losses[i]) for i in part) for part in numbers]
        zero = (0,) * self.flat.dimensions
        object.__setattr__(self, "means", PolynomialLandscape([mean or {zero: 0} for mean in means], given))

    @property
    def dimensions(self) -> int:
        """The number of coordinates of θ."""
        return self.flat.dimensions

    def check_point(self, theta: Sequence[Any]) -> tuple[Fraction, ...]:
        """Return θ as fractions; see `PolynomialLandscape.check_point`."""
        return self.flat.check_point(theta)


def _exact(polynomial: Mapping[Exponents, Any]) -> Polynomial:
    return {_exponents(powers): _rational(value) for powers, value in polynomial.items() if _rational(value)}


def _exponents(powers: Any) -> Exponents:
    if not isinstance(powers, tuple) or not all(type(power) is int and power >= 0 for power in powers):
        raise LandscapeError(f"Exponents are a tuple of integers ≥ 0, such as (2, 0) for θ₀²; got {powers!r}.")
    return powers


def _rational(value: Any) -> Fraction:
    if isinstance(value, float):
        raise LandscapeError(f"Coefficients are exact; write Fraction('{value}') or a string, not the float {value!r}.")
    return Fraction(value)


def combine(terms: Iterable[tuple[Fraction, Polynomial]]) -> dict[Exponents, Fraction]:
    """Return a linear combination of polynomials."""
    total: dict[Exponents, Fraction] = {}
    for factor, polynomial in terms:
        for powers, value in polynomial.items():
            total[powers] = total.get(powers, Fraction(0)) + factor * value
    return {powers: value for powers, value in total.items() if value}


def differentiate(polynomial: Polynomial, coordinate: int) -> dict[Exponents, Fraction]:
    """Return a partial derivative."""
    result = {}
    for powers, value in polynomial.items():
        if powers[coordinate]:
            lowered = (*powers[:coordinate], powers[coordinate] - 1, *powers[coordinate + 1 :])
            result[lowered] = value * powers[coordinate]
    return result
