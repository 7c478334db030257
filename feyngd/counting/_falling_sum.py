"""Sums of polynomials over different products of falling factorials of N, kept apart until the end."""

from bisect import insort
from collections.abc import Callable, Hashable, Iterable
from math import prod

from sympy.polys.domains import QQ
from sympy.polys.rings import PolyElement

from ._ratio import RING, N, Ratio, falling, ring_size


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

    def __mul__(self, other: "FallingSum") -> "FallingSum":
        terms: dict[tuple[int, ...], PolyElement] = {}
        for a, x in self.terms.items():
            for b, y in other.terms.items():
                key = tuple(sorted(a + b))
                terms[key] = terms[key] + x * y if key in terms else x * y
        return FallingSum(terms)

    def collect(self, N: int | None) -> Ratio:
        """Return the sum as one ratio; N is a number, or `None` for the generator."""
        ratios = []
        for key, value in self.terms.items():
            below: dict[int, int] = {}
            for q in key:
                for i in range(q):
                    below[i] = below.get(i, 0) + 1
            if N is None:
                ratios.append(Ratio(value, tuple(sorted(below.items()))))
            else:
                ratios.append(Ratio(value * QQ(1, prod((N - i) ** power for i, power in below.items()))))
        return Ratio.sum(ratios)


Numbers = tuple[int, ...]


class Products:
    """Σ count · Π weights, one term for each multiset of numbered weights.

    The blocks of weak orders have few different weights, and so have those of all diagrams. So counting, with integers,
    comes first, and every product of weights is multiplied out once for all diagrams.
    """

    __slots__ = ("terms",)

    def __init__(self, terms: dict[Numbers, int]) -> None:
        self.terms = terms

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __add__(self, other: "Products") -> "Products":
        terms = dict(self.terms)
        for key, count in other.terms.items():
            terms[key] = terms.get(key, 0) + count
        return Products(terms)

    def __mul__(self, weight: Numbers) -> "Products":
        terms = {}
        for key, count in self.terms.items():
            insort(longer := list(key), *weight)
            terms[tuple(longer)] = count  # different keys stay different
        return Products(terms)


class WeightTable:
    """The weights of blocks, by numbers that are the same for equal weights, and what products of them come to.

    Args:
        choose: from the number of blocks k to the number of ways to place them, such as C(E, k).
        N: the number of points; `None` for the generator.
    """

    def __init__(self, choose: Callable[[int], PolyElement], N: int | None) -> None:
        self._choose, self._N = choose, N
        self._numbers: dict[frozenset, Numbers] = {}
        self._named: dict[Hashable, Numbers] = {}
        self._products: dict[Numbers, FallingSum] = {(): FallingSum({(): RING.one})}
        self._totals: dict[tuple[Numbers, int], Ratio] = {}

    def named(self, name: Hashable, weight: Callable[[], FallingSum]) -> Numbers:
        """Return the number of a weight that is made once for its name.

        Names are kept here, with the numbers that they stand for: another table has other numbers.
        """
        if name not in self._named:
            self._named[name] = self.number(weight())
        return self._named[name]

    def number(self, weight: FallingSum) -> Numbers:
        """Return the number of a weight as a product of one; nothing if the weight is zero."""
        if not weight:
            return ()
        key = frozenset(weight.terms.items())
        if key not in self._numbers:
            self._numbers[key] = number = (len(self._numbers),)
            self._products[number] = weight
        return self._numbers[key]

    def total(self, products: Iterable[Products], parts: int) -> Ratio:
        """Return Σ count · Π weights · (ways to place the blocks) · N^(parts)."""
        terms = [self._total(numbers, parts).scale(count) for one in products for numbers, count in one.terms.items()]
        return Ratio.sum(terms)

    def _total(self, numbers: Numbers, parts: int) -> Ratio:
        if (numbers, parts) not in self._totals:
            choices = falling(ring_size(self._N, N), parts) * self._choose(len(numbers))
            self._totals[numbers, parts] = (self._product(numbers) * FallingSum({(): choices})).collect(self._N)
        return self._totals[numbers, parts]

    def _product(self, numbers: Numbers) -> FallingSum:
        if numbers not in self._products:
            self._products[numbers] = self._product(numbers[:-1]) * self._products[numbers[-1:]]
        return self._products[numbers]
