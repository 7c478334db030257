"""Sums of polynomials over different products of falling factorials of N, kept apart until the end."""

from sympy.polys.domains import QQ
from sympy.polys.rings import PolyElement

from ._ratio import ZERO, Ratio


class FallingSum:
    """Σ polynomial / Π_q N^(q), one term for each multiset of q.

    The dynamic programming over epochs and steps multiplies and adds many of these sums. A common denominator at every
    step would only make the polynomials grow.
    """

    __slots__ = ("terms",)

    def __init__(self, terms: dict[tuple[int, ...], PolyElement]) -> None:
        self.terms = {key: value for key, value in terms.items() if value}

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __add__(self, other: "FallingSum") -> "FallingSum":
        terms = dict(self.terms)
        for key, value in other.terms.items():
            terms[key] = terms[key] + value if key in terms else value
        return FallingSum(terms)

    def __mul__(self, other: "FallingSum") -> "FallingSum":
        terms: dict[tuple[int, ...], PolyElement] = {}
        for a, x in self.terms.items():
            for b, y in other.terms.items():
                key = tuple(sorted(a + b))
                terms[key] = terms[key] + x * y if key in terms else x * y
        return FallingSum(terms)

    def collect(self, N: int | None) -> Ratio:
        """Return the sum as one ratio; N is a number, or `None` for the generator."""
        total = ZERO
        for key, value in self.terms.items():
            below: dict[int, int] = {}
            for q in key:
                for i in range(q):
                    below[i] = below.get(i, 0) + 1
            if N is None:
                total += Ratio.make(value, below)
            else:
                number = 1
                for i, power in below.items():
                    number *= (N - i) ** power
                total += Ratio.make(value * QQ(1, number))
        return total
