"""Proposition 1: the test loss after one epoch on single points, in powers of ηT and of 1/T."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import factorial, prod
from typing import Any

import sympy

from .._arguments import check_order
from ..diagrams import (
    EXPANDED,
    Diagram,
    check_number,
    count_orderings,
    each_diagram,
    tensor_expression,
    value_representative,
)
from ..spacetimes import Spacetime
from . import _printing
from ._series import Series

Power = tuple[int, int]


@dataclass(frozen=True)
class DoubleTerm:
    """Diagrams of one value in Proposition 1: all that differ in nothing but which node is the root.

    Attributes:
        orderings: for each of the diagrams its number of orderings, |ords(D)|.
        multinomial: d! / (d_1! d_2! …), where d_p are the numbers of nodes in the parts without the root.
    """

    orderings: Mapping[Diagram, int] = field(hash=False)
    multinomial: int

    @property
    def diagrams(self) -> tuple[Diagram, ...]:
        """The diagrams."""
        return tuple(self.orderings)

    @property
    def order(self) -> int:
        """The number d of edges, the power of η."""
        return self.diagrams[0].order

    @property
    def ties(self) -> int:
        """The number c of ties: how many parts fewer than nodes there are."""
        return self.order + 1 - len(self.diagrams[0].parts)

    @property
    def num_orderings(self) -> int:
        """The number of orderings of all the diagrams together, as the paper's Table 2 gives it."""
        return sum(self.orderings.values())

    @property
    def value(self) -> str:
        """The value as a tensor expression, in moments."""
        return tensor_expression(self.diagrams[0], basis="moment")

    @property
    def coefficient(self) -> Fraction:
        """What multiplies η^d · binomial(T, d − c) · value: (−1)^d / d! · orderings · multinomial."""
        return Fraction((-1) ** self.order * self.num_orderings * self.multinomial, factorial(self.order))

    @property
    def leading(self) -> Fraction:
        """What multiplies (ηT)^d T^−c · value, the largest term for large T."""
        return self.coefficient / factorial(self.order - self.ties)

    def in_powers(self) -> dict[int, Fraction]:
        """Return for every power c what multiplies (ηT)^d T^−c · value: the binomial is a polynomial in T.

        Examples:
            >>> import feyngd as fd
            >>> (term,) = fd.double_series(2)[2, 0]
            >>> print(*term.in_powers().items())
            (0, Fraction(1, 1)) (1, Fraction(-1, 1))
        """
        steps = self.order - self.ties
        falling = [1]  # T (T − 1) … as coefficients of T^0, T^1, …
        for used in range(steps):
            raised, kept = [0, *falling], [*falling, 0]
            falling = [high - used * low for high, low in zip(raised, kept, strict=True)]
        highest = self.order
        return {highest - power: self.leading * falling[power] for power in range(steps, -1, -1) if falling[power]}


class DoubleSeries(Mapping[Power, tuple[DoubleTerm, ...]]):
    """The test loss of vanilla SGD, one epoch on single points, as a double series in (ηT)^d T^−c.

    ηT is the time of descent and 1/T measures how coarse the steps are. A diagram with d edges and c ties contributes

        (−1)^d / d! · |ords(D)| · binomial(T, d − c) · d!/(d_1! d_2! …) · η^d value(D),

    which for large T is of size (ηT)^d T^−c. `series[d, c]` are the terms with these d and c: one column of the paper's
    Table 2. Terms with c = 0 are those of the noiseless flow; the others are steps and noise. Values are moments.
    T is N, the number of points, and the sum is exact for every T: the binomial vanishes where there are too few steps.

    Make one with `feyngd.double_series`.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Proposition 1 and Table 2.
    """

    def __init__(self, order: int, *, limit: int | None = EXPANDED) -> None:
        self.order = check_order(order)
        check_number(self.order, False, limit, up_to=True)
        self._terms: dict[Power, tuple[DoubleTerm, ...]] = {}
        for edges in range(self.order + 1):
            self._terms |= _terms_of(edges)

    def __getitem__(self, power: Power) -> tuple[DoubleTerm, ...]:
        if not isinstance(power, tuple) or power not in self._terms:
            raise KeyError(
                f"There is no term {power!r}: a power is a pair (d, c), d edges and c ties, with d from 0 to "
                f"{self.order} and c from 0 to d − 1, or (0, 0)."
            )
        return self._terms[power]

    def __iter__(self) -> Iterator[Power]:
        return iter(self._terms)

    def __len__(self) -> int:
        return len(self._terms)

    def __eq__(self, other: object) -> bool:
        return self.order == other.order if isinstance(other, DoubleSeries) else NotImplemented

    def __hash__(self) -> int:
        return hash((DoubleSeries, self.order))

    def of_order(self, order: int) -> dict[int, tuple[DoubleTerm, ...]]:
        """Return the terms of one power d of η by their number c of ties, as Table 2 has them for d = 3.

        Raises:
            KeyError: the series has no such order.
        """
        self[order, 0]
        return {c: terms for (d, c), terms in self.items() if d == order}

    def coefficient(self, d: int, c: int) -> dict[Diagram, Fraction]:
        """Return what multiplies (ηT)^d T^−c exactly: for one diagram of each value its number.

        Terms with fewer ties contribute too, by the lower powers of T in their binomials.

        Raises:
            KeyError: the series has no such power.
        """
        self[d, c]
        found = {}
        for ties in range(c + 1):
            for term in self[d, ties]:
                if factor := term.in_powers().get(c):
                    found[term.diagrams[0]] = factor
        return found

    def to_series(self, points: Any = "N") -> Series:
        """Return the same as a `Series` in η, with a coefficient for every diagram.

        Args:
            points: N = T, a number, a SymPy symbol or its name.

        Raises:
            SpacetimeError: `points` is not a positive integer or a symbol.

        Examples:
            >>> import feyngd as fd
            >>> series = fd.double_series(3).to_series(5)
            >>> series == fd.expand("test_loss", order=3, spacetime=fd.Spacetime.sgd(5))
            True
        """
        if isinstance(points, str):
            points = sympy.Symbol(points, integer=True, positive=True)
        spacetime = Spacetime.sgd(points)
        found = {}
        for terms in self.values():
            for term in terms:
                steps = sympy.binomial(spacetime.N, term.order - term.ties).expand(func=True)
                share = term.coefficient / term.num_orderings
                for diagram, count in term.orderings.items():
                    found[diagram] = steps * sympy.Rational(share.numerator, share.denominator) * count
        return Series(found, quantity="test_loss", order=self.order, spacetime=spacetime)

    @cached_property
    def _rows(self) -> list[tuple[Power, DoubleTerm]]:
        return [(power, term) for power, terms in self.items() for term in terms]

    def __str__(self) -> str:
        heading = ("", "orderings", "multinomial", "leading", "value", "diagrams")
        cells = [
            (
                _power_text(power),
                str(term.num_orderings),
                str(term.multinomial),
                str(term.leading),
                term.value,
                "  ".join(f"{D}: {count}" for D, count in term.orderings.items()),
            )
            for power, term in self._rows
        ]
        widths = [max(map(len, column)) for column in zip(heading, *cells, strict=True)]
        lines = [f"test loss of vanilla SGD to order η^{self.order}, N = T, moment basis; orderings of each diagram"]
        for row in (heading, *cells):
            left = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            lines.append("  " + "   ".join(left).rstrip())
        return "\n".join(lines)

    def latex(self, *, align: bool = False) -> str:
        """Return the leading term of every value as LaTeX, without dollar signs.

        Args:
            align: whether to return an `align` environment with one term a line, and not one line.
        """
        written = [
            _printing.signed(
                sympy.Rational(term.leading.numerator, term.leading.denominator),
                *([_power_latex(power)] if power != (0, 0) else []),
                tensor_expression(term.diagrams[0], basis="moment", latex=True),
            )
            for power, term in self._rows
        ]
        return _printing.joined(written, align=align)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def __repr__(self) -> str:
        return f"<DoubleSeries to order {self.order}, {len(self)} powers (d, c), {len(self._rows)} values>"


def double_series(order: int, *, limit: int | None = EXPANDED) -> DoubleSeries:
    """Expand the test loss of vanilla SGD in powers of ηT and of 1/T, with orderings and multinomials.

    Vanilla SGD is one epoch of batches of one point: T = N, B = 1.

    Args:
        order: the highest power of η.
        limit: the largest number of diagrams to visit; `None` for any.

    Returns:
        A `DoubleSeries`.

    Raises:
        ArgumentError: the order is not an integer ≥ 0, or there are more than `limit` diagrams up to it.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Proposition 1 and Table 2.

    Examples:
        >>> import feyngd as fd
        >>> table = fd.double_series(3)
        >>> for c, terms in table.of_order(3).items():
        ...     print(c, [term.num_orderings for term in terms])
        0 [2, 4]
        1 [3, 2, 2]
        2 [1]
    """
    return DoubleSeries(order, limit=limit)


def _terms_of(edges: int) -> dict[Power, tuple[DoubleTerm, ...]]:
    """Return the terms with a number of edges, those with fewest ties first."""
    by_value: dict[Diagram, dict[Diagram, int]] = {}
    for diagram in each_diagram(edges):
        if count := count_orderings(diagram):
            by_value.setdefault(value_representative(diagram), {})[diagram] = count
    found: dict[Power, list[DoubleTerm]] = {}
    for orderings in by_value.values():
        term = DoubleTerm(orderings, _multinomial(next(iter(orderings))))
        found.setdefault((edges, term.ties), []).append(term)
    return {power: tuple(found[power]) for power in sorted(found)}


def _multinomial(diagram: Diagram) -> int:
    """Return d! / Π_p d_p! for the sizes d_p of the parts without the root."""
    return factorial(diagram.order) // prod(factorial(size) for size in Counter(diagram.labels[1:]).values())


def _power_text(power: Power) -> str:
    d, c = power
    time = {0: "1", 1: "ηT"}.get(d, f"(ηT)^{d}")
    return f"{time} T^−{c}" if c else time


def _power_latex(power: Power) -> str:
    d, c = power
    time = {0: "", 1: r"\eta T"}.get(d, rf"(\eta T)^{{{d}}}")
    return rf"{time}\, T^{{-{c}}}" if c else time
