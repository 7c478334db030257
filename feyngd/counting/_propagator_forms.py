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

from collections.abc import Sequence
from itertools import combinations_with_replacement

import sympy
from sympy.polys.domains import QQ
from sympy.polys.fields import FracElement, FracField
from sympy.polys.rings import PolyElement, PolyRing

from ..diagrams import Diagram
from ..spacetimes import Spacetime
from . import _ratio
from ._gap_sums import Exponents, GapSum, Points, Terms, WeakOrders, few_epochs
from ._propagator_sums import coarser, parts_of_nodes
from ._ratio import Ratio, over_common_denominator

Powers = dict[Exponents, FracElement]

# Polynomials with more terms are not factored. For six diagrams of 2 and 3 edges with replacement, the forms had 16,051
# operations with a limit of 10 terms, 7,636 with 60 and 7,378 with 600.
_FEW_TERMS = 60


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

    def total(self, eigenvalues: Sequence[sympy.Expr], learning_rate: sympy.Expr) -> sympy.Expr:
        """Return the sum over cumulant embeddings of Π_edges x^(Δt−1), or its integral form.

        Args:
            eigenvalues: h of the edge above every non-root node, in order.
            learning_rate: η.
        """
        terms = self._terms()
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
        result = _factored(total, denominator, self._generators(eigenvalues, learning_rate))
        return sympy.factor_terms(sympy.powsimp(result, combine="exp")) if self._integral else result

    def _generators(self, eigenvalues: Sequence[sympy.Expr], learning_rate: sympy.Expr) -> list[sympy.Expr]:
        """Return the expressions that x, y, z, N and B stand for."""
        spacetime = self._spacetime
        etah = [learning_rate * h for h in eigenvalues]
        length = spacetime.N / spacetime.B  # of an epoch, in steps
        passed = spacetime.T if self._epochs is None else length  # z = x^passed
        if self._integral:
            x, y, z = etah, [sympy.exp(-s * length) for s in etah], [sympy.exp(-s * passed) for s in etah]
        else:
            x = [1 - s for s in etah]
            y, z = [(1 - s) ** length for s in etah], [(1 - s) ** passed for s in etah]
        return [*([*x, *y] or [sympy.Integer(0)]), *z, spacetime.N, spacetime.B]

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


def _factored(total: Powers, sizes_below: PolyElement, generators: Sequence[sympy.Expr]) -> sympy.Expr:
    """Return Σ coefficient · powers / (a polynomial in N and B), with expressions for the generators.

    As one product if that is short; factoring many terms takes too long. Otherwise power by power of the z.

    Args:
        total: the coefficients, rational functions of x and y, by the powers of z, N and B.
        sizes_below: the denominator.
        generators: what x, y, z, N and B stand for.
    """
    if not total:
        return sympy.Integer(0)
    inner = next(iter(total.values())).field.ring  # polynomials in x and y
    below = inner.one  # the common denominator of all coefficients
    for value in total.values():
        below = below.lcm(value.denom)
    num_edges = len(next(iter(total))) - 2
    ring = PolyRing([*map(str, inner.symbols), *(f"z{edge}" for edge in range(1, num_edges + 1)), "N", "B"], QQ)
    above: dict[Exponents, PolyElement] = {}  # the numerators, by the powers of z
    for powers, value in total.items():
        for exponents, coefficient in (value.numer * below.quo(value.denom)).terms():
            above.setdefault(powers[:num_edges], ring.zero)[(*exponents, *powers)] = coefficient
    below, whole = below.set_ring(ring), sum(above.values(), ring.zero)
    summands = [whole] if len(whole) <= _FEW_TERMS else list(above.values())
    constant, sizes = _product_of_factors(sizes_below.set_ring(ring), generators)
    return sympy.Add(*(quotient(summand, below, generators) for summand in summands)) / constant / sizes


def quotient(above: PolyElement, below: PolyElement, generators: Sequence[sympy.Expr]) -> sympy.Expr:
    """Return a quotient of polynomials, each a product of factors; a long numerator stays a sum."""
    if len(above) > _FEW_TERMS:
        constant_above, product_above = sympy.Integer(1), above.as_expr(*generators)
    else:
        above, below = above.cancel(below)
        constant_above, product_above = _product_of_factors(above, generators)
    constant_below, product_below = _product_of_factors(below, generators)
    return constant_above / constant_below * (product_above / product_below)


def _product_of_factors(polynomial: PolyElement, generators: Sequence[sympy.Expr]) -> tuple[sympy.Expr, sympy.Expr]:
    """Return the constant of a polynomial and the rest of it, a product of factors."""
    constant, factors = polynomial.factor_list()
    sign, result = 1, sympy.Integer(1)
    for factor, power in factors:
        if factor.terms()[-1][1] < 0:  # 1 − x^T and not x^T − 1
            sign, factor = sign * (-1) ** power, -factor
        result *= factor.as_expr(*generators) ** power
    return sympy.Rational(sign * int(constant.numerator), int(constant.denominator)), result
