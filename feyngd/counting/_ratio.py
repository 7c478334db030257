"""Exact rational functions of N, B, E, T whose denominators are powers of B and of N, N−1, N−2, …

Every embedding count and every coefficient of a series has this form. Keeping the denominator factored makes the
canonical form a matter of trial division by linear factors, without greatest common divisors of polynomials.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from math import factorial, perm
from typing import Any

import sympy
from sympy.polys.domains import QQ
from sympy.polys.rings import PolyElement, ring

RING, N, B, E, T = ring("N,B,E,T", QQ)
_FACTOR_B = -1  # the denominator key of B; key i ≥ 0 stands for N − i


@dataclass(frozen=True)
class Ratio:
    """A polynomial over Π (N − i)^power and B^power, in lowest terms.

    Make one with `Ratio.make`, which reduces.
    """

    numerator: PolyElement
    denominator: tuple[tuple[int, int], ...] = ()

    @classmethod
    def make(cls, numerator: PolyElement, denominator: Mapping[int, int] | None = None) -> "Ratio":
        """Make a ratio and reduce it to lowest terms."""
        if not numerator:
            return ZERO
        left = {}
        for key, power in (denominator or {}).items():
            while power and (quotient := _divided(numerator, key)) is not None:
                numerator, power = quotient, power - 1
            if power:
                left[key] = power
        return cls(numerator, tuple(sorted(left.items())))

    @classmethod
    def sum(cls, ratios: "Sequence[Ratio]") -> "Ratio":
        """Add ratios, with one reduction to lowest terms at the end."""
        by_denominator: dict[tuple[tuple[int, int], ...], PolyElement] = {}
        for ratio in ratios:
            below = ratio.denominator
            above = by_denominator.get(below)
            by_denominator[below] = ratio.numerator if above is None else above + ratio.numerator
        common: dict[int, int] = {}
        for below in by_denominator:
            for key, power in below:
                common[key] = max(power, common.get(key, 0))
        total = RING.zero
        for below, above in by_denominator.items():
            total += above * _missing(common, dict(below))
        return cls.make(total, common)

    def __add__(self, other: "Ratio") -> "Ratio":
        if not self.numerator:
            return other
        if not other.numerator:
            return self
        return Ratio.sum([self, other])

    def __mul__(self, other: "Ratio") -> "Ratio":
        denominator = dict(self.denominator)
        for key, power in other.denominator:
            denominator[key] = denominator.get(key, 0) + power
        return Ratio.make(self.numerator * other.numerator, denominator)

    def scale(self, factor: int | Fraction) -> "Ratio":
        """Multiply by a rational number."""
        return Ratio(self.numerator * QQ(factor.numerator, factor.denominator), self.denominator) if factor else ZERO

    def as_expr(self, sizes: Mapping[str, sympy.Expr]) -> sympy.Expr:
        """Return the SymPy expression in lowest terms, with the given sizes in place of N, B, E, T."""
        below = RING.one
        for key, power in self.denominator:
            below *= _factor(key) ** power
        generators = tuple(sizes[str(symbol)] for symbol in RING.symbols)
        result = _expression(self.numerator, generators) / _expression(below, generators)
        used = [size for size, degree in zip(generators, self._degrees(below), strict=True) if degree]
        in_lowest_terms = all(size.is_Symbol for size in used) and len(set(used)) == len(used)
        return result if in_lowest_terms else sympy.cancel(result)

    def _degrees(self, below: PolyElement) -> list[int]:
        return [max(pair) for pair in zip(self.numerator.degrees(), below.degrees(), strict=True)]


def _expression(polynomial: PolyElement, generators: tuple[sympy.Expr, ...]) -> sympy.Expr:
    """Return a polynomial as an expression. SymPy's own way makes every monomial anew, in twice the time."""
    terms = []
    for powers, value in polynomial.items():
        number = sympy.Rational(int(value.numerator), int(value.denominator))
        monomial = _monomial(powers, generators)
        if monomial.is_Number or monomial.is_Add or monomial.as_coeff_Mul()[0] is not sympy.S.One:
            terms.append(number * monomial)
        elif number is sympy.S.One:
            terms.append(monomial)
        else:  # in the order that evaluation gives
            factors = monomial.args if monomial.is_Mul else (monomial,)
            terms.append(sympy.Mul(number, *factors, evaluate=False))
    return sympy.Add(*terms)


@lru_cache(maxsize=1 << 14)
def _monomial(powers: tuple[int, ...], generators: tuple[sympy.Expr, ...]) -> sympy.Expr:
    return sympy.Mul(*(base**power for base, power in zip(generators, powers, strict=True)))


def _missing(common: Mapping[int, int], mine: Mapping[int, int]) -> PolyElement:
    product = RING.one
    for key, power in common.items():
        product *= _factor(key) ** (power - mine.get(key, 0))
    return product


def _divided(polynomial: PolyElement, key: int) -> PolyElement | None:
    """Return a polynomial over B or N − i if nothing is left over, otherwise `None`.

    Horner's scheme in N. SymPy's division takes three times as long as all the rest of a series.
    """
    quotient = RING.zero
    if key == _FACTOR_B:
        for (n, b, e, t), value in polynomial.items():
            if not b:
                return None
            quotient[n, b - 1, e, t] = value
        return quotient
    rows: dict[tuple[int, ...], dict[int, Any]] = {}  # by the powers of B, E and T, then by that of N
    for (n, *others), value in polynomial.items():
        rows.setdefault(tuple(others), {})[n] = value
    for others, row in rows.items():
        value = row.get(highest := max(row), 0)
        for n in range(highest - 1, -1, -1):
            if value:
                quotient[(n, *others)] = value
            value = row.get(n, 0) + key * value
        if value:
            return None
    return quotient


@cache
def _factor(key: int) -> PolyElement:
    return B if key == _FACTOR_B else N - key


def constant(value: int | Fraction) -> Ratio:
    """Return a rational number as a ratio."""
    return Ratio(RING.ground_new(QQ(value.numerator, value.denominator)))


def ring_size(value: int | None, generator: PolyElement) -> PolyElement:
    """Return the ring element of a size: its number if it is known, else its generator."""
    return generator if value is None else RING.ground_new(QQ(value))


def inverse_size(value: sympy.Expr, name: str) -> Ratio:
    """Return 1/N or 1/B, where `value` is the size: its number if it is one, else the generator's inverse."""
    if value.is_Integer:
        return constant(Fraction(1, int(value)))
    return Ratio(RING.one, ((0 if name == "N" else _FACTOR_B, 1),))


def inverse_falling(size: int | None, k: int) -> Ratio:
    """Return 1/N^(k), N a number or `None` for the generator."""
    if size is None:
        return Ratio.make(RING.one, dict.fromkeys(range(k), 1))
    return constant(Fraction(1, perm(size, k)))


def over_common_denominator(ratios: Sequence[Ratio]) -> tuple[list[PolyElement], PolyElement]:
    """Return numerators and their common denominator, all polynomials."""
    common: dict[int, int] = {}
    for ratio in ratios:
        for key, power in ratio.denominator:
            common[key] = max(power, common.get(key, 0))
    return [ratio.numerator * _missing(common, dict(ratio.denominator)) for ratio in ratios], _missing(common, {})


def falling(x: PolyElement, k: int) -> PolyElement:
    """Return the falling factorial x (x − 1) … (x − k + 1)."""
    product = RING.one
    for i in range(k):
        product *= x - i
    return product


def binomial(x: PolyElement, k: int) -> PolyElement:
    """Return the polynomial x choose k."""
    return falling(x, k) * QQ(1, factorial(k))


def scaled_binomial(above: PolyElement, below: PolyElement, k: int) -> PolyElement:
    """Return the polynomial `below^k · (above/below choose k)` = Π_{i<k} (above − i·below) / k!."""
    product = RING.ground_new(QQ(1, factorial(k)))
    for i in range(k):
        product *= above - below * i
    return product


ZERO = Ratio(RING.zero)
ONE = Ratio(RING.one)
