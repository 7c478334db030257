"""Closed forms of sums over embeddings of products of propagators, for every sampling scheme, with symbolic sizes.

The edges that are open between two blocks of a weak order have a joint factor X, the product of their x. Summing X^gap
over all gaps that add up to L steps gives a divided difference: with gaps g_0 ≥ 0 and g_1, …, g_k ≥ 1,

    Σ Π_j X_j^g_j = X_1 ⋯ X_k · f[X_0, …, X_k],  f(x) = x^L;

the epochs that pass between others give one too, of y^E at the points y = X^(N/B). In continuous time the sums are
integrals, X = e^(−s), and the result (−1)^k f[s_0, …, s_k] with f(s) = e^(−sL). No two points of one weak order
coincide as long as the x are generic, so that everything is a rational function of N, B, x, x^(N/B) and x^T.

References:
    Tenka, "A Space-Time Approach to Analyzing SGD", Theorem 2 in exact discrete time and in its integral form; the
    divided differences are the project's own.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations_with_replacement, pairwise

import sympy
from sympy.polys.domains import QQ
from sympy.polys.fields import FracElement, FracField
from sympy.polys.rings import PolyElement, PolyRing

from ..diagrams import Diagram
from ..spacetimes import Spacetime
from . import _ratio
from ._propagator_sums import Edges, Labels, coarser, parts_of_nodes
from ._ratio import Ratio, falling, inverse_falling, over_common_denominator, ring_size
from ._slots import spread_over_slots
from ._weak_orders import chains

Points = tuple[tuple[int, ...], ...]  # how often every edge is open, between the blocks
Factor = tuple[str, Points]  # whose sum it is: over the "steps" of the run, those of an "epoch", or the "epochs"
Terms = dict[tuple[Factor, ...], Ratio]
Powers = dict[tuple[int, ...], FracElement]  # coefficients of the products of powers x^T, by their exponents

_FEW_TERMS = 60  # of a polynomial that is factored
_FEW_EPOCHS = 12


class PropagatorForms:
    """The closed forms of one diagram.

    Args:
        diagram: the diagram; whatever its root is tied to does not matter.
        spacetime: a spacetime with numbers or symbols; no list of explicit batches.
        integral: whether sums over the steps of a run or epoch become integrals, to leading order in 1/N and 1/T.
    """

    def __init__(self, diagram: Diagram, spacetime: Spacetime, integral: bool) -> None:
        self._diagram, self._spacetime, self._integral = diagram, spacetime, integral
        self._edges = Edges(diagram, (), Fraction)
        size = diagram.order
        self._field = FracField([f"{name}{v}" for name in "xu" for v in range(1, size + 1)] or ["x0"], QQ)
        self._x, self._per_epoch = self._field.gens[:size], self._field.gens[size : 2 * size]
        # Integrals are leading orders in N: its powers are told apart before numbers are filled in.
        self._N = int(spacetime.N) if spacetime.N.is_Integer and not integral else None
        self._B = int(spacetime.B) if spacetime.B.is_Integer else None
        # A few epochs are passed by polynomially, so that x^(N/B) takes the place of x^T.
        epochs = spacetime.E if spacetime.sampling in ("fixed", "reshuffled") else None
        is_short = epochs is not None and epochs.is_Integer and int(epochs) <= _FEW_EPOCHS
        self._epochs = int(epochs) if is_short else None  # type: ignore[arg-type]

    def total(self, eigenvalues: Sequence[sympy.Expr], learning_rate: sympy.Expr) -> sympy.Expr:
        """Return the sum over cumulant embeddings of Π_edges x^(Δt−1), or its integral form.

        Args:
            eigenvalues: h of the edge above every non-root node, in order.
            learning_rate: η.
        """
        terms = self._terms()
        weights, below = over_common_denominator(list(terms.values()))
        sums: dict[tuple[int, ...], Powers] = {}  # by the powers of N and B: these stay out of the field
        for factors, weight in zip(terms, weights, strict=True):
            product = {(0,) * self._diagram.order: self._field.one}
            for factor in factors:
                product = _times(product, self._sum_over_gaps(*factor))
            for sizes, share in weight.terms():
                into = sums.setdefault(sizes[:2], {})
                for powers, value in product.items():
                    into[powers] = into.get(powers, self._field.zero) + value * share
        last = self._field.one if self._integral else 1 / self._product(self._x, (1,) * self._diagram.order)
        total = {(*powers, *sizes): v * last for sizes, found in sums.items() for powers, v in found.items() if v}
        result = _factored(total, below, self._generators(eigenvalues, learning_rate))
        return sympy.factor_terms(sympy.powsimp(result, combine="exp")) if self._integral else result

    def _generators(self, eigenvalues: Sequence[sympy.Expr], learning_rate: sympy.Expr) -> list[sympy.Expr]:
        """Return what stands for x, x^(N/B), x^T, N and B."""
        spacetime, rates = self._spacetime, [learning_rate * h for h in eigenvalues]
        length = spacetime.N / spacetime.B
        if self._integral:
            bases = [*rates, *(sympy.exp(-rate * length) for rate in rates)]
            ends = [sympy.exp(-rate * (spacetime.T if self._epochs is None else length)) for rate in rates]
        else:
            bases = [*(1 - rate for rate in rates), *((1 - rate) ** length for rate in rates)]
            ends = [(1 - rate) ** (spacetime.T if self._epochs is None else length) for rate in rates]
        return [*(bases or [sympy.Integer(0)]), *ends, spacetime.N, spacetime.B]

    def _terms(self) -> Terms:
        """Return the weak orders of all coarser partitions, those with equal sums taken together."""
        found: Terms = {}
        scheme = {
            "full-batch": self._full_batch,
            "with-replacement": self._with_replacement,
            "reshuffled": self._reshuffled,
            "fixed": self._fixed,
        }[self._spacetime.sampling]
        for labels in coarser(parts_of_nodes(self._diagram)):
            if self._N is not None and max(labels, default=-1) >= self._N:
                continue
            for factors, weight in scheme(labels):
                if weight.numerator:
                    found[factors] = found.get(factors, _ratio.ZERO) + weight
        terms = {factors: weight for factors, weight in found.items() if weight.numerator}
        return _leading(terms) if self._integral else terms

    def _full_batch(self, labels: Labels) -> Iterator[tuple[tuple[Factor, ...], Ratio]]:
        weight = self._choices_of_points(labels)
        for states in chains(self._edges.down_sets):
            if self._is_strict(states):
                yield (("steps", self._points(states)),), weight

    def _with_replacement(self, labels: Labels) -> Iterator[tuple[tuple[Factor, ...], Ratio]]:
        for states in chains(self._edges.down_sets):
            if self._is_strict(states):
                weight = self._choices_of_points(labels)
                for before, after in pairwise(states):
                    weight = weight * self._slots(before ^ after, labels)
                yield (("steps", self._points(states)),), weight

    def _slots(self, block: int, labels: Labels) -> Ratio:
        groups = Counter(labels[v] for v in range(self._edges.size) if block >> v & 1)
        batch, total = ring_size(self._B, _ratio.B), _ratio.ZERO
        for slots, ways in spread_over_slots(groups.values()).items():
            chances = Ratio.make(falling(batch, slots) * ways)
            for _ in range(slots):
                chances = chances * inverse_falling(self._N, 1)
            total = total + chances
        return total

    def _reshuffled(self, labels: Labels) -> Iterator[tuple[tuple[Factor, ...], Ratio]]:
        """Weak orders of the nodes by epoch, and in every epoch weak orders of its parts by batch."""
        for states in self._orders_by_epoch():
            partial: Terms = {self._passing(states): self._choices_of_points(labels)}
            for epoch in pairwise(states):
                longer: Terms = {}
                for factor, weight, parts in self._batches([epoch], labels):
                    share = weight * inverse_falling(self._N, parts)
                    for factors, before in partial.items():
                        key = tuple(sorted((*factors, factor)))
                        longer[key] = longer.get(key, _ratio.ZERO) + before * share
                partial = longer
            yield from partial.items()

    def _fixed(self, labels: Labels) -> Iterator[tuple[tuple[Factor, ...], Ratio]]:
        """Weak orders of the nodes by epoch, and one weak order of the parts by batch for all epochs."""
        for states in self._orders_by_epoch():
            for factor, weight, _ in self._batches(list(pairwise(states)), labels):
                yield (*self._passing(states), factor), weight

    def _orders_by_epoch(self) -> Iterator[tuple[int, ...]]:
        """Iterate over the weak orders by epoch that have no more blocks than there are epochs."""
        for states in chains(self._edges.down_sets):
            if self._epochs is None or len(states) - 1 <= self._epochs:
                yield states

    def _passing(self, states: Sequence[int]) -> tuple[Factor, ...]:
        """Return the factor of the epochs that pass between others."""
        return (("epochs", self._points(states)),)

    def _batches(self, epochs: Sequence[tuple[int, int]], labels: Labels) -> Iterator[tuple[Factor, Ratio, int]]:
        """Iterate over the weak orders by batch of the parts in some epochs, each from a state to a state."""
        edges, inside = self._edges, [end ^ start for start, end in epochs]
        present = sorted({labels[v] for nodes in inside for v in range(edges.size) if nodes >> v & 1})
        nodes_of = [sum(1 << v for v in range(edges.size) if labels[v] == part) for part in present]

        def placed(parts: int, nodes: int) -> int:
            return sum(nodes_of[i] & nodes for i in range(len(present)) if parts >> i & 1)

        for chain in chains(range(1 << len(present))):
            weight, points, fits = _ratio.RING.one, [], True
            for before, after in pairwise(chain):
                weight *= falling(ring_size(self._B, _ratio.B), (before ^ after).bit_count())
                for (start, _), nodes in zip(epochs, inside, strict=True):
                    fits = fits and edges.may_follow(placed(before ^ after, nodes), start | placed(before, nodes))
            if fits:
                for parts in chain:
                    states = [start | placed(parts, nodes) for (start, _), nodes in zip(epochs, inside, strict=True)]
                    points.append(self._open(states))
                yield ("epoch", tuple(points)), Ratio.make(weight), len(present)

    def _choices_of_points(self, labels: Labels) -> Ratio:
        return Ratio.make(falling(ring_size(self._N, _ratio.N), max(labels, default=-1) + 1))

    def _is_strict(self, states: Sequence[int]) -> bool:
        pairs = pairwise(states)
        return all(self._edges.may_follow(after ^ before, before) for before, after in pairs)

    def _points(self, states: Sequence[int]) -> Points:
        return tuple(self._open([state]) for state in states)

    def _open(self, states: Sequence[int]) -> tuple[int, ...]:
        counts = Counter(v for state in states for v in self._edges.open_edges(state, state))
        return tuple(counts[v] for v in range(self._edges.size))

    def _sum_over_gaps(self, kind: str, points: Points) -> Powers:
        """Return the divided difference, with the factors that belong to it."""
        if kind == "epochs" and self._epochs is not None:
            return self._passed_epochs(points, self._epochs - len(points) + 1)
        discrete = kind == "epochs" or not self._integral
        bases = self._per_epoch if kind == "epochs" else self._x
        at = [self._product(bases, point) if discrete else self._sum(bases, point) for point in points]
        factor = self._field.one
        if kind != "epochs" and discrete:
            for x in at[1:]:
                factor *= x
        found: Powers = {}
        for j, point in enumerate(points):
            value = factor
            for i, other in enumerate(at):
                if i != j:
                    value /= at[j] - other if discrete else other - at[j]
            if kind == "epoch" and self._epochs is None:
                value, point = value * self._product(self._per_epoch, point), (0,) * len(point)
            found[point] = found.get(point, self._field.zero) + value
        return found

    def _passed_epochs(self, points: Points, count: int) -> Powers:
        """Return the sum over the ways to pass so many epochs between the blocks: all monomials of that degree."""
        found: Powers = {}
        for chosen in combinations_with_replacement(points, count):
            powers = tuple(map(sum, zip(*chosen, strict=True))) if chosen else (0,) * self._diagram.order
            found[powers] = found.get(powers, self._field.zero) + 1
        return found

    def _product(self, bases: Sequence[FracElement], counts: tuple[int, ...]) -> FracElement:
        total = self._field.one
        for base, count in zip(bases, counts, strict=True):
            total *= base**count
        return total

    def _sum(self, bases: Sequence[FracElement], counts: tuple[int, ...]) -> FracElement:
        return sum((base * count for base, count in zip(bases, counts, strict=True)), self._field.zero)


def _leading(terms: Terms) -> Terms:
    """Return the terms of leading order as N and the steps grow together; every block of steps counts as one N."""
    found: dict[int, Terms] = {}
    for factors, weight in terms.items():
        inside = max(powers[0] for powers in weight.numerator.monoms())
        below = sum(power for key, power in weight.denominator if key >= 0)
        blocks = sum(len(points) - 1 for kind, points in factors if kind != "epochs")
        top = {powers: c for powers, c in weight.numerator.terms() if powers[0] == inside}
        others = {key: power for key, power in weight.denominator if key < 0}
        leading = Ratio.make(_ratio.RING.from_dict(top), others | ({0: below} if below else {}))
        found.setdefault(inside - below + blocks, {})[factors] = leading
    return found[max(found)] if found else {}


def _times(left: Powers, right: Powers) -> Powers:
    found: Powers = {}
    for a, x in left.items():
        for b, y in right.items():
            key = tuple(i + j for i, j in zip(a, b, strict=True))
            found[key] = found[key] + x * y if key in found else x * y
    return found


def _factored(total: Powers, sizes_below: PolyElement, generators: Sequence[sympy.Expr]) -> sympy.Expr:
    """Return Σ coefficient · powers / (a polynomial in N), with expressions for the generators.

    As one product if that is short; factoring many terms takes too long. Otherwise power by power of the x^T.
    """
    if not total:
        return sympy.Integer(0)
    inner = next(iter(total.values())).field.ring
    below = inner.one
    for value in total.values():
        below = below.lcm(value.denom)
    ends = len(next(iter(total))) - 2
    ring = PolyRing([*map(str, inner.symbols), *(f"v{v}" for v in range(1, ends + 1)), "N", "B"], QQ)
    above: dict[tuple[int, ...], PolyElement] = {}
    for powers, value in total.items():
        for exponents, coefficient in (value.numer * below.quo(value.denom)).terms():
            above.setdefault(powers[:ends], ring.zero)[(*exponents, *powers)] = coefficient
    below, whole = below.set_ring(ring), sum(above.values(), ring.zero)
    parts = [whole] if len(whole) <= _FEW_TERMS else list(above.values())
    divisor, others = _product_of_factors(sizes_below.set_ring(ring), generators)
    return sympy.Add(*(_quotient(part, below, generators) for part in parts)) / divisor / others


def _quotient(above: PolyElement, below: PolyElement, generators: Sequence[sympy.Expr]) -> sympy.Expr:
    if len(above) > _FEW_TERMS:
        constant, product = sympy.Integer(1), above.as_expr(*generators)
    else:
        above, below = above.cancel(below)
        constant, product = _product_of_factors(above, generators)
    divisor, others = _product_of_factors(below, generators)
    return constant / divisor * (product / others)


def _product_of_factors(polynomial: PolyElement, generators: Sequence[sympy.Expr]) -> tuple[sympy.Expr, sympy.Expr]:
    """Return the constant of a polynomial and the rest of it, a product of factors."""
    constant, factors = polynomial.factor_list()
    sign, result = 1, sympy.Integer(1)
    for factor, power in factors:
        if factor.terms()[-1][1] < 0:  # 1 − x^T and not x^T − 1
            sign, factor = sign * (-1) ** power, -factor
        result *= factor.as_expr(*generators) ** power
    return sympy.Rational(sign * int(constant.numerator), int(constant.denominator)), result
