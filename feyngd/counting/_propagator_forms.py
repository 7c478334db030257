"""Closed forms of sums over embeddings of products of propagators, for every sampling scheme, with symbolic sizes.

The edge above a node has the factor x = 1 − ηh, and it is open from the node's time to its parent's. Take a weak order
of the nodes. The edges that are open behind its block j have the joint factor X_j, the product of their x. Summing
X_j^gap over all gaps between the blocks that add up to L steps gives a divided difference: with gaps g_0 ≥ 0 and
g_1, …, g_k ≥ 1,

    Σ Π_j X_j^g_j = X_1 ⋯ X_k · f[X_0, …, X_k],  f(x) = x^L.

The epochs that pass between others give a divided difference too, that of Y^E at the points Y = X^(N/B). In continuous
time the sums are integrals, X = e^(−s), and the result is (−1)^k f[s_0, …, s_k] with f(s) = e^(−sL). No two points of
one weak order coincide as long as the x are generic, so that everything is a rational function of N, B and, for every
edge, x, x^(N/B) and x^T.

==========  =====================================================================================================
symbol      here
==========  =====================================================================================================
x           `_x`, a generator of the field for every edge; in integrals it stands for s = ηh
y           `_y`, a generator for every edge: y = x^(N/B); in integrals e^(−sN/B)
z           x^T of every edge, or x^(N/B) where few epochs are summed one by one; not in the field: the keys of
            `Powers` are its exponents
X_0 … X_k   `Points`: for each the exponents of the x
N, B        powers in `Ratio`, kept out of the field too
==========  =====================================================================================================

References:
    Tenka, "A Space-Time Approach to Analyzing SGD", Theorem 2 in exact discrete time and in its integral form; the
    divided differences are the project's own.
"""

from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement
from typing import Any

import sympy
from sympy.polys.domains import QQ
from sympy.polys.fields import FracElement, FracField
from sympy.polys.rings import PolyElement, PolyRing

from ..diagrams import Diagram
from ..errors import ArgumentError
from ..spacetimes import Spacetime
from . import _ratio
from ._gap_sums import Exponents, GapSum, Points, Terms, WeakOrders, few_epochs
from ._propagator_sums import coarser, parts_of_nodes
from ._ratio import Ratio, over_common_denominator

Powers = dict[Exponents, FracElement]
Fraction = tuple[PolyElement, PolyElement]  # numerator and denominator

# Polynomials with more terms are not factored. For six diagrams of 2 and 3 edges with replacement, the forms had 16,051
# operations with a limit of 10 terms, 7,636 with 60 and 7,378 with 600.
_FEW_TERMS = 60
# Sums whose numerators have more terms are not taken together.
_MANY_TERMS = 400


class PropagatorForms:
    """The closed forms of one diagram.

    Args:
        diagram: the diagram; whatever its root is tied to does not matter.
        spacetime: a spacetime with numbers or symbols; no list of explicit batches.
        integral: whether sums over the steps of a run or epoch become integrals, to leading order in 1/N and 1/T.
    """

    def __init__(self, diagram: Diagram, spacetime: Spacetime, integral: bool) -> None:
        self._diagram, self._spacetime, self._integral = diagram, spacetime, integral
        # The field of rational functions of x and y = x^(N/B) of every edge.
        num_edges = diagram.order
        names = [f"{letter}{edge}" for letter in "xy" for edge in range(1, num_edges + 1)]
        self._field = FracField(names or ["x0"], QQ)
        self._x, self._y = self._field.gens[:num_edges], self._field.gens[num_edges : 2 * num_edges]

        # Integrals are of leading order in N, so its powers are compared before a number takes its place.
        self._orders = WeakOrders(diagram, spacetime, may_use_N=not integral)
        self._epochs = few_epochs(spacetime)

    def total(
        self,
        factors: Sequence[sympy.Expr],
        powers: Callable[[sympy.Expr, sympy.Expr], sympy.Expr],
        *,
        factor: Ratio = _ratio.ONE,
        stationary: bool = False,
        by_powers: bool = False,
    ) -> sympy.Expr:
        """Return the sum over cumulant embeddings of Π_edges x^(Δt−1), or its integral form.

        Args:
            factors: for the edge above every non-root node, in order, its x; for integrals its s.
            powers: from such a factor and a number of steps L to x^L; for integrals to e^(−sL).
            factor: what multiplies the sum.
            stationary: whether only what is left after many steps is returned, where x^T is gone.
            by_powers: whether to return a sum over the powers of x^T, with coefficients without T, and not the
                shortest form.

        Raises:
            ArgumentError: the stationary part is asked of a run whose length is a number, or one epoch.
        """
        if stationary:
            self._check_length()
        terms = {gap_sums: weight * factor for gap_sums, weight in self._terms().items()}
        numerators, denominator = over_common_denominator(list(terms.values()))  # polynomials in N and B
        by_sizes: dict[Exponents, Powers] = {}  # by the powers of N and B
        for gap_sums, numerator in zip(terms, numerators, strict=True):
            product: Powers = {(0,) * self._diagram.order: self._field.one}
            for gap_sum in gap_sums:
                product = product_of_powers(product, self._over_gaps(gap_sum))
            for (power_of_N, power_of_B, *_), share in numerator.terms():
                into = by_sizes.setdefault((power_of_N, power_of_B), {})
                for powers_of_z, value in product.items():
                    into[powers_of_z] = into.get(powers_of_z, self._field.zero) + value * share
        # The gaps sum x^Δt for every edge, where the propagator has x^(Δt−1).
        last = self._field.one if self._integral else 1 / self._product(self._x, (1,) * self._diagram.order)
        total = {(*z, *sizes): value * last for sizes, found in by_sizes.items() for z, value in found.items() if value}
        if stationary:
            total = {key: value for key, value in total.items() if not any(key[: self._diagram.order])}
        result = _factored(total, denominator, self._generators(factors, powers), by_powers)
        return sympy.factor_terms(sympy.powsimp(result, combine="exp")) if self._integral else result

    def _generators(
        self, factors: Sequence[sympy.Expr], powers: Callable[[sympy.Expr, sympy.Expr], sympy.Expr]
    ) -> list[sympy.Expr]:
        """Return the expressions that x, y, z, N and B stand for."""
        spacetime = self._spacetime
        length = spacetime.N / spacetime.B  # of an epoch, in steps
        passed = spacetime.T if self._epochs is None else length  # z = x^passed
        y, z = [powers(x, length) for x in factors], [powers(x, passed) for x in factors]
        return [*([*factors, *y] or [sympy.Integer(0)]), *z, spacetime.N, spacetime.B]

    def _check_length(self) -> None:
        """Raise `ArgumentError` unless the run may go on for ever while an epoch stays as it is."""
        spacetime = self._spacetime
        length = spacetime.T if spacetime.E is None else spacetime.E
        if self._epochs is not None or length.is_number:
            raise ArgumentError(
                f"What is left after many steps is that of a run whose number of steps or epochs is a symbol; got "
                f"{spacetime}. Give T or E as a symbol."
            )

    # --- weak orders and their weights --------------------------------------------------------------------------------

    def _terms(self) -> Terms:
        """Return the weak orders of all coarser partitions, those with equal sums over gaps taken together."""
        collected: Terms = {}
        for labels in coarser(parts_of_nodes(self._diagram)):
            for gap_sums, weight in self._orders.of_partition(labels).items():
                collected[gap_sums] = collected.get(gap_sums, _ratio.ZERO) + weight
        terms = {gap_sums: weight for gap_sums, weight in collected.items() if weight.numerator}
        return _leading(terms) if self._integral else terms

    # --- sums over gaps -----------------------------------------------------------------------------------------------

    def _over_gaps(self, gap_sum: GapSum) -> Powers:
        """Return the sum over gaps as a divided difference: Σ_j f(X_j) · X_1 ⋯ X_k / Π_{i≠j} (X_j − X_i).

        Epochs that pass may be none, so that their sum lacks the factor X_1 ⋯ X_k. In integrals the denominators are
        Π_{i≠j} (s_i − s_j), which holds the sign (−1)^k, and this factor is 1.
        """
        over, points = gap_sum
        if over == "epochs" and self._epochs is not None:
            return self._few_epochs(points, self._epochs - len(points) + 1)
        is_product = over == "epochs" or not self._integral  # epochs are counted, not integrated over
        bases = self._y if over == "epochs" else self._x
        X = [self._product(bases, point) if is_product else self._sum(bases, point) for point in points]
        shared = self._field.one
        if over != "epochs" and not self._integral:
            for factor in X[1:]:
                shared *= factor
        result: Powers = {}
        for j, point in enumerate(points):
            value = shared
            for i, other in enumerate(X):
                if i != j:
                    value /= X[j] - other if is_product else other - X[j]
            powers_of_z = point  # f(X_j) = X_j^T, or Y_j^E, which is X_j^T too
            if over == "epoch" and self._epochs is None:  # f(X_j) = X_j^(N/B), whose y is in the field
                value, powers_of_z = value * self._product(self._y, point), (0,) * len(point)
            result[powers_of_z] = result.get(powers_of_z, self._field.zero) + value
        return result

    def _few_epochs(self, points: Points, passing: int) -> Powers:
        """Return the sum over all ways to let a number of epochs pass between the blocks.

        It is the complete homogeneous polynomial of this degree in Y_j = X_j^(N/B): a sum over multisets of points.
        """
        result: Powers = {}
        for chosen in combinations_with_replacement(points, passing):
            powers = tuple(map(sum, zip(*chosen, strict=True))) if chosen else (0,) * self._diagram.order
            result[powers] = result.get(powers, self._field.zero) + 1
        return result

    def _product(self, bases: Sequence[FracElement], exponents: Exponents) -> FracElement:
        total = self._field.one
        for base, exponent in zip(bases, exponents, strict=True):
            total *= base**exponent
        return total

    def _sum(self, terms: Sequence[FracElement], times: Exponents) -> FracElement:
        return sum((term * count for term, count in zip(terms, times, strict=True)), self._field.zero)


def _leading(terms: Terms) -> Terms:
    """Return the terms of leading order as N and the steps grow together, in their leading powers of N.

    A term grows as N to the degree of its weight, and by one more power of N for every block of a sum over steps.
    """
    by_degree: dict[int, Terms] = {}
    for gap_sums, weight in terms.items():
        above = max(powers[0] for powers in weight.numerator.monoms())
        below = sum(power for key, power in weight.denominator if key >= 0)  # keys ≥ 0 are N, N − 1, …
        blocks = sum(len(points) - 1 for over, points in gap_sums if over != "epochs")
        leading_numerator = {powers: c for powers, c in weight.numerator.terms() if powers[0] == above}
        powers_of_B = {key: power for key, power in weight.denominator if key < 0}
        leading = Ratio.make(_ratio.RING.from_dict(leading_numerator), powers_of_B | ({0: below} if below else {}))
        by_degree.setdefault(above - below + blocks, {})[gap_sums] = leading
    return by_degree[max(by_degree)] if by_degree else {}


def product_of_powers(left: Powers, right: Powers) -> Powers:
    product: Powers = {}
    for a, x in left.items():
        for b, y in right.items():
            key = tuple(i + j for i, j in zip(a, b, strict=True))
            product[key] = product[key] + x * y if key in product else x * y
    return product


def _factored(total: Powers, sizes_below: PolyElement, generators: Sequence[sympy.Expr], by_powers: bool) -> sympy.Expr:
    """Return Σ coefficient · powers / (a polynomial in N and B), with expressions for the generators.

    As one product, or as a sum over the powers of N and B, over those of the z, or over both: what is shortest.

    Args:
        total: the coefficients, rational functions of x and y, by the powers of z, N and B.
        sizes_below: the denominator.
        generators: what x, y, z, N and B stand for.
        by_powers: whether the sum is that over the powers of the z.
    """
    if not total:
        return sympy.Integer(0)
    inner = next(iter(total.values())).field.ring  # polynomials in x and y
    num_edges = len(next(iter(total))) - 2
    ring = PolyRing([*map(str, inner.symbols), *(f"z{edge}" for edge in range(1, num_edges + 1)), "N", "B"], QQ)
    constant, sizes = _product_of_factors(sizes_below.set_ring(ring), generators, ones_first=False)
    # Powers of N and B go into every term; other factors stay outside.
    inside, outside = sizes.as_independent(sympy.Add)
    written_with: dict[str, Any] = {"generators": generators, "over": (constant, inside)}

    def is_short(fraction: Fraction | None) -> bool:
        return fraction is not None and len(fraction[0]) <= _FEW_TERMS

    def together(group: Powers) -> sympy.Expr:
        """One product, or if that is long the sum of its terms."""
        whole = _lowest_terms(group, ring)
        if whole and (is_short(whole) or len(group) == 1):
            return quotient(*whole, **written_with)
        return sympy.Add(*(together({powers: value}) for powers, value in group.items()))

    by_z: dict[Exponents, Powers] = {}
    by_sizes: dict[Exponents, Powers] = {}
    for powers, value in total.items():
        by_z.setdefault(powers[:num_edges], {})[powers] = value
        by_sizes.setdefault(powers[num_edges:], {})[*powers[:num_edges], 0, 0] = value
    written = [sympy.Add(*(together(group) for group in by_z.values()))]
    if by_powers:
        return written[0] / outside
    # Functions of x and z that differ by a number and powers of N and B alone are one, times a polynomial.
    polynomials: dict[Fraction, PolyElement] = {}
    for powers_of_sizes, group in by_sizes.items():
        fraction = _lowest_terms(group, ring)
        fractions = (
            [fraction]
            if fraction and is_short(fraction)
            else [_lowest_terms({powers: value}, ring) for powers, value in group.items()]
        )
        for one in fractions:
            above, below = one or (ring.zero, ring.one)
            share = ring.from_dict({(*(0,) * (ring.ngens - 2), *powers_of_sizes): above.LC})
            key = above.monic(), below
            polynomials[key] = polynomials.get(key, ring.zero) + share
    written.append(
        sympy.Add(*(quotient(*one, times=polynomial, **written_with) for one, polynomial in polynomials.items()))
    )
    if is_short(_lowest_terms(total, ring)):
        written.append(together(total))
    return min(written, key=sympy.count_ops) / outside


def _lowest_terms(group: Powers, ring: PolyRing) -> Fraction | None:
    """Return numerator and denominator of Σ coefficient · powers in lowest terms; `None` if that would take long."""
    if len(group) > 1 and sum(len(value.numer) for value in group.values()) > _MANY_TERMS:
        return None
    below = next(iter(group.values())).denom
    for value in group.values():
        below = below.lcm(value.denom)
    above: dict[Exponents, Any] = {}
    for powers, value in group.items():
        for exponents, coefficient in (value.numer * below.quo(value.denom)).terms():
            above[*exponents, *powers] = coefficient
    numerator, below = ring.from_dict(above), below.set_ring(ring)
    if len(group) > 1:
        for factor, power in below.factor_list()[1]:
            for _ in range(power):
                shorter, rest = numerator.div(factor)
                if rest:
                    break
                numerator, below = shorter, below.quo(factor)
    return numerator, below


def quotient(
    above: PolyElement,
    below: PolyElement,
    generators: Sequence[sympy.Expr],
    *,
    times: PolyElement | None = None,
    over: tuple[sympy.Expr, sympy.Expr] = (sympy.Integer(1), sympy.Integer(1)),
) -> sympy.Expr:
    """Return a quotient of polynomials, each a product of factors; a long numerator stays a sum.

    Args:
        above: the numerator.
        below: the denominator, without a common factor.
        generators: what stands for the generators.
        times: a polynomial of N and B to multiply by.
        over: a number and a product of powers to divide by.
    """
    if len(above) > _FEW_TERMS:
        constant_above, product_above = sympy.Integer(1), above.as_expr(*generators)
    else:
        constant_above, product_above = _product_of_factors(above, generators)
    constant_below, product_below = _product_of_factors(below, generators)
    constant_times, product_times = sympy.Integer(1), sympy.Integer(1)
    if times is not None:
        constant_times, product_times = _product_of_factors(times, generators, ones_first=False)
    constant = constant_above * constant_times / constant_below / over[0]
    return constant * (product_above * product_times / (product_below * over[1]))


def _product_of_factors(
    polynomial: PolyElement, generators: Sequence[sympy.Expr], *, ones_first: bool = True
) -> tuple[sympy.Expr, sympy.Expr]:
    """Return the constant of a polynomial and the rest of it, a product of factors, 1 − x^T or T − 1."""
    constant, factors = polynomial.factor_list()
    sign, result = 1, sympy.Integer(1)
    for factor, power in factors:
        if ones_first and factor.terms()[-1][1] < 0:
            sign, factor = sign * (-1) ** power, -factor
        result *= factor.as_expr(*generators) ** power
    return sympy.Rational(sign * int(constant.numerator), int(constant.denominator)), result
