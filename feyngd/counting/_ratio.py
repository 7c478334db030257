"""Exact rational functions of N, B, E, T whose denominators are powers of B and of N, N−1, N−2, …

Every embedding count and every coefficient of a series has this form. Keeping the denominator factored makes the
canonical form a matter of trial division by linear factors, without greatest common divisors of polynomials.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import factorial, perm

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
            factor = _factor(key)
            while power > 0:
                quotient, remainder = divmod(numerator, factor)
                if remainder:
                    break
                numerator, power = quotient, power - 1
            if power:
                left[key] = power
        return cls(numerator, tuple(sorted(left.items())))

    def __add__(self, other: "Ratio") -> "Ratio":
        if not self.numerator:
            return other
        if not other.numerator:
            return self
        if self.denominator == other.denominator:
            return Ratio.make(self.numerator + other.numerator, dict(self.denominator))
        mine, theirs = dict(self.denominator), dict(other.denominator)
        common = {key: max(mine.get(key, 0), theirs.get(key, 0)) for key in {*mine, *theirs}}
        total = self.numerator * _missing(common, mine) + other.numerator * _missing(common, theirs)
        return Ratio.make(total, common)

    def __mul__(self, other: "Ratio") -> "Ratio":
        denominator = dict(self.denominator)
        for key, power in other.denominator:
            denominator[key] = denominator.get(key, 0) + power
        return Ratio.make(self.numerator * other.numerator, denominator)

    def scale(self, factor: int | Fraction) -> "Ratio":
        """Multiply by a rational number."""
        return self * constant(factor)

    def as_expr(self, sizes: Mapping[str, sympy.Expr]) -> sympy.Expr:
        """Return the SymPy expression in lowest terms, with the given sizes in place of N, B, E, T."""
        below = RING.one
        for key, power in self.denominator:
            below *= _factor(key) ** power
        generators = [sizes[str(symbol)] for symbol in RING.symbols]
        result = self.numerator.as_expr(*generators) / below.as_expr(*generators)
        used = [size for size, degree in zip(generators, self._degrees(below), strict=True) if degree]
        in_lowest_terms = all(size.is_Symbol for size in used) and len(set(used)) == len(used)
        return result if in_lowest_terms else sympy.cancel(result)

    def _degrees(self, below: PolyElement) -> list[int]:
        return [max(pair) for pair in zip(self.numerator.degrees(), below.degrees(), strict=True)]


def _missing(common: Mapping[int, int], mine: Mapping[int, int]) -> PolyElement:
    product = RING.one
    for key, power in common.items():
        product *= _factor(key) ** (power - mine.get(key, 0))
    return product


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
