"""Closed forms of sums over embeddings of products of kernels κ(t, s), for optimizers all of whose steps are alike.

Then κ(t, s) = Σ c x^(t−s−1) with few bases x: 1, the momentum's β, and an exponential average's ρ on the edges to the
root. For each choice of a base for every edge, the sums over the gaps of a weak order are those of re-summation, except
that the points X_0 … X_k, which are monomials in β and ρ, may coincide. Summing Π X_j^gap_j over gaps ≥ 0 that add up
to n gives the coefficient of u^n in Π_j 1/(1 − X_j u); a point that stands m times gives a pole of order m, and with it
polynomials of degree m − 1 in n. So everything is a rational function of N, B, E, T, β, β^(N/B) and β^T.

References:
    The project's own, checked against sums over steps and against enumeration.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations_with_replacement, product
from math import factorial
from typing import Any

import sympy
from sympy.polys.domains import QQ
from sympy.polys.fields import FracElement, FracField
from sympy.polys.rings import PolyElement, PolyRing

from ..diagrams import Diagram
from ..errors import ArgumentError
from ..optimizers import Optimizer
from ..spacetimes import Spacetime
from ._gap_sums import Exponents, GapSum, WeakOrders, few_epochs
from ._propagator_forms import product_of_powers, quotient
from ._propagator_sums import coarser, parts_of_nodes
from ._ratio import over_common_denominator
from ._schedule_forms import schedule_form

Base = tuple[int, int]  # the exponents of β and ρ
Powers = dict[tuple[int, ...], FracElement]  # by the powers of L, and of β and ρ to the L, for each kind of length L

_BETA, _RHO = sympy.Symbol("beta", positive=True), sympy.Symbol("rho", positive=True)
# Lengths, and where their powers stand in a key of `Powers`: of N/B (an epoch), T (the run) and E (the epochs).
_LENGTHS = {"epoch": 0, "steps": 1, "epochs": 2}
_WIDTH = 3  # L itself, β^L and ρ^L
# Where many epochs are summed, y = β^(N/B) and ρ^(N/B) stand in denominators.
_FIELD = FracField("beta, rho, beta_y, rho_y", QQ)
_COMPLETED: dict[tuple, Powers] = {}  # some thousand sums over gaps at most: by points, length and blocks
_WHOLE = PolyRing("beta, rho, beta_y, rho_y, N, B, T, E", QQ)


def kernel_form(diagram: Diagram, spacetime: Spacetime, optimizer: Optimizer, *, basis: str) -> sympy.Expr:
    """Return the closed form of the expected sum over embeddings of Π_edges κ.

    Args:
        diagram: the diagram; whatever its root is tied to does not matter.
        spacetime: a spacetime with numbers or symbols, in whole epochs of full batches.
        optimizer: an optimizer all of whose steps are alike, measured at its last iterate or an exponential average.
        basis: "moment" or "cumulant".

    Raises:
        ArgumentError: the optimizer or the spacetime has no closed form with symbols; the message says what to do.
    """
    if callable(optimizer.multipliers) and spacetime.explicit is None and spacetime.is_even:
        return schedule_form(diagram, spacetime, optimizer, basis=basis)
    check_closed_form(spacetime, optimizer)
    average = optimizer.average
    kind = (optimizer.nesterov, bool(optimizer.beta != 0), average is not None)
    generic = _generic_form(diagram.untie_root(), spacetime, kind, basis)
    ema = sympy.Integer(0) if average is None else sympy.sympify(average.ema)
    new = {_BETA: sympy.sympify(optimizer.beta), _RHO: ema}
    keeps = sympy.sympify(1 - optimizer.dampening) ** diagram.order
    return keeps * generic.subs(new, simultaneous=True)


def check_closed_form(spacetime: Spacetime, optimizer: Optimizer) -> None:
    """Raise `ArgumentError` unless sums with this optimizer have a closed form with symbolic sizes."""
    allowed = "With symbolic sizes an optimizer has steps that are all alike, and measures its last iterate or an ema"
    if not optimizer.is_constant:
        raise ArgumentError(f"{allowed}; got {optimizer}. Give numbers for {_names(spacetime)}.")
    if optimizer.average is not None and optimizer.average.ema is None:
        raise ArgumentError(f"{allowed}; got {optimizer}. Give numbers for {_names(spacetime)}.")
    if optimizer.average is not None and optimizer.average.ema == optimizer.beta and optimizer.beta != 0:
        raise ArgumentError(
            f"The share ρ that the average keeps equals the momentum's β = {optimizer.beta}, where the closed form is "
            f"0/0: take its limit from a symbol ρ, or give numbers for {_names(spacetime)}."
        )
    if spacetime.explicit is not None or not spacetime.is_even:
        raise ArgumentError(
            f"{spacetime} has no closed form with an optimizer whose parameters are symbols of its sizes: give numbers "
            f"for {_names(spacetime)}."
        )


def _names(spacetime: Spacetime) -> str:
    return ", ".join(sorted(map(str, spacetime.symbols))) or "all sizes"


@lru_cache(maxsize=1 << 12)
def _generic_form(diagram: Diagram, spacetime: Spacetime, kind: tuple[bool, bool, bool], basis: str) -> sympy.Expr:
    """Return the closed form with the symbols β and ρ."""
    return _KernelForm(diagram, spacetime, *kind).total(basis)


class _KernelForm:
    """The closed form of one diagram in β and ρ.

    Args:
        diagram: the diagram, its root alone.
        spacetime: the spacetime.
        nesterov: whether momentum is Nesterov's.
        has_momentum: whether there is momentum.
        has_average: whether the loss is measured at an exponential average.
    """

    def __init__(
        self, diagram: Diagram, spacetime: Spacetime, nesterov: bool, has_momentum: bool, has_average: bool
    ) -> None:
        self._diagram, self._spacetime = diagram, spacetime
        self._orders, self._epochs = WeakOrders(diagram, spacetime), few_epochs(spacetime)
        self._field = _FIELD
        beta, rho = self._field.gens[:2]
        one = self._field.one
        inner = [(one, (0, 0))]
        if has_momentum:
            factor = beta if nesterov else one
            inner = [(factor / (1 - beta) + (one if nesterov else 0), (0, 0)), (-beta * factor / (1 - beta), (1, 0))]
        outer = inner
        if has_average:
            # (1 − ρ) Σ_{k=1}^n ρ^(n−k) x^(k−1) = (1 − ρ) (x^n − ρ^n) / (x − ρ), n = T − s.
            outer, of_rho = [], self._field.zero
            for c, base in inner:
                x = self._monomial(base)
                outer.append((c * (1 - rho) * x / (x - rho), base))
                of_rho -= c * (1 - rho) * rho / (x - rho)
            outer.append((of_rho, (0, 1)))
        self._choices = [outer if diagram.parents[v] == 0 else inner for v in range(1, diagram.order + 1)]

    def _monomial(self, base: Sequence[int], *, of_epochs: bool = False) -> FracElement:
        first = 2 if of_epochs else 0
        beta, rho = self._field.gens[first : first + 2]
        return beta ** base[0] * rho ** base[1]

    def total(self, basis: str) -> sympy.Expr:
        """Return the sum over embeddings."""
        labels = parts_of_nodes(self._diagram)
        terms: dict[tuple[GapSum, ...], Any] = {}
        for own in coarser(labels) if basis == "cumulant" else [labels]:
            for gap_sums, weight in self._orders.of_partition(own).items():
                terms[gap_sums] = terms[gap_sums] + weight if gap_sums in terms else weight
        if not terms:
            return sympy.Integer(0)
        numerators, denominator = over_common_denominator(list(terms.values()))
        by_sizes: dict[tuple[int, int], Powers] = {}
        for chosen in product(*self._choices):
            # The gaps sum x^Δt for every edge, where the kernel has x^(Δt−1).
            coefficient = self._field.one
            for c, base in chosen:
                coefficient *= c / self._monomial(base)
            bases = tuple(base for _, base in chosen)
            for gap_sums, numerator in zip(terms, numerators, strict=True):
                total: Powers = {(0,) * (_WIDTH * len(_LENGTHS)): coefficient}
                for gap_sum in gap_sums:
                    total = product_of_powers(total, self._over_gaps(gap_sum, bases))
                for (power_of_N, power_of_B, *_), share in numerator.terms():
                    into = by_sizes.setdefault((power_of_N, power_of_B), {})
                    for powers, value in total.items():
                        into[powers] = into.get(powers, self._field.zero) + value * share
        return self._expression(by_sizes, denominator)

    def _over_gaps(self, gap_sum: GapSum, bases: Sequence[Base]) -> Powers:
        """Return the sum over gaps. Epochs that pass may be none; other gaps are 1 at least, but for the first."""
        points = [self._point(point, bases) for point in gap_sum.points]
        blocks = len(points) - 1
        if gap_sum.over == "epochs":
            if self._epochs is not None:
                return self._few_epochs(points, self._epochs - blocks)
            return self._complete(points, "epochs", blocks)
        shared = self._field.one
        for point in points[1:]:
            shared *= self._monomial(point)
        return {powers: value * shared for powers, value in self._complete(points, gap_sum.over, blocks).items()}

    def _point(self, exponents: Exponents, bases: Sequence[Base]) -> Base:
        beta = sum(count * base[0] for count, base in zip(exponents, bases, strict=True))
        return beta, sum(count * base[1] for count, base in zip(exponents, bases, strict=True))

    def _few_epochs(self, points: Sequence[Base], passing: int) -> Powers:
        """Return the sum over all ways to let a number of epochs pass: a sum over multisets of points."""
        result: Powers = {}
        for chosen in combinations_with_replacement(points, passing) if passing >= 0 else ():
            key = [0] * (_WIDTH * len(_LENGTHS))
            key[1], key[2] = sum(point[0] for point in chosen), sum(point[1] for point in chosen)  # of β^(N/B), ρ^(N/B)
            result[tuple(key)] = result.get(tuple(key), self._field.zero) + 1
        return result

    def _complete(self, points: Sequence[Base], over: str, blocks: int) -> Powers:
        """Return the coefficient of u^n in Π 1/(1 − X_j u), n = L − blocks, by partial fractions."""
        key = tuple(sorted(points)), over, blocks  # the same for many weak orders and choices of bases
        if key not in _COMPLETED:
            _COMPLETED[key] = self._by_partial_fractions(*key)
        return _COMPLETED[key]

    def _by_partial_fractions(self, points: Sequence[Base], over: str, blocks: int) -> Powers:
        of_epochs = over == "epochs"
        start = _LENGTHS[over] * _WIDTH
        counts = Counter(points)
        result: Powers = {}
        for point, times in counts.items():
            own = self._monomial(point, of_epochs=of_epochs)
            # With u = (1 − v)/X the other factors are (1 − q) + q v, q = X_other/X: a power series in v up to v^(m−1).
            series = [self._field.one] + [self._field.zero] * (times - 1)
            for other, others in counts.items():
                if other != point:
                    ratio = self._monomial(other, of_epochs=of_epochs) / own
                    for _ in range(others):
                        series = _divided(series, 1 - ratio, ratio)
            last = own ** (-blocks)  # X^n = X^L · X^(−blocks)
            for j, value in enumerate(series):
                poles = times - j  # Σ_n C(n + r − 1, r − 1) X^n u^n = 1/(1 − X u)^r
                for power, share in enumerate(_rising(poles - 1, blocks)):
                    if share and value:
                        key = [0] * (_WIDTH * len(_LENGTHS))
                        key[start], key[start + 1], key[start + 2] = power, *point
                        into = tuple(key)
                        result[into] = result.get(into, self._field.zero) + value * last * share
        return result

    def _expression(self, by_sizes: dict[tuple[int, int], Powers], denominator: Any) -> sympy.Expr:
        """Return the whole as an expression: for each power of β^L and ρ^L one coefficient, factored if it is short."""
        spacetime = self._spacetime
        length = {"epoch": spacetime.N / spacetime.B, "steps": spacetime.T, "epochs": spacetime.E or spacetime.T}
        generators = [
            *(_BETA, _RHO, _BETA ** length["epoch"], _RHO ** length["epoch"]),
            *(spacetime.N, spacetime.B, length["steps"], length["epochs"]),
        ]
        below = self._field.ring.one  # the common denominator of all coefficients
        highest = 0  # the highest power of N/B
        for found in by_sizes.values():
            for powers, value in found.items():
                below, highest = below.lcm(value.denom), max(highest, powers[0])
        above: dict[tuple[int, ...], PolyElement] = {}
        for (power_of_N, power_of_B), found in by_sizes.items():
            for powers, value in found.items():
                key = tuple(powers[start + k] for start in (0, 3, 6) for k in (1, 2))
                # (N/B)^j = N^j B^(highest − j) / B^highest
                sizes = power_of_N + powers[0], power_of_B + highest - powers[0], powers[3], powers[6]
                into = above.setdefault(key, _WHOLE.zero)
                for exponents, coefficient in (value.numer * below.quo(value.denom)).terms():
                    at = (*exponents, *sizes)
                    into[at] = into.get(at, QQ(0)) + coefficient
        of_sizes = _WHOLE.zero
        for (power_of_N, power_of_B, *_), coefficient in denominator.terms():
            of_sizes[(0, 0, 0, 0, power_of_N, power_of_B + highest, 0, 0)] = coefficient
        whole = _WHOLE.from_dict({(*exponents, 0, 0, 0, 0): c for exponents, c in below.terms()}) * of_sizes
        total = sympy.Integer(0)
        for key, numerator in above.items():
            numerator.strip_zero()
            if numerator:
                in_epoch, in_run = length["epoch"], spacetime.T
                beta = key[0] * in_epoch + key[2] * in_run + key[4] * in_run  # (β^(N/B))^E = β^T
                rho = key[1] * in_epoch + key[3] * in_run + key[5] * in_run
                total += quotient(numerator, whole, generators) * _BETA**beta * _RHO**rho
        return total


def _divided(series: list[FracElement], constant: FracElement, slope: FracElement) -> list[FracElement]:
    """Return a power series in v over (constant + slope · v)."""
    result: list[FracElement] = []
    for value in series:
        before = result[-1] * slope if result else 0 * value
        result.append((value - before) / constant)
    return result


def _rising(degree: int, blocks: int) -> list[sympy.Rational]:
    """Return the coefficients, from L^0 on, of C(n + degree, degree) as a polynomial in L, n = L − blocks."""
    coefficients = [QQ(1)]
    for i in range(1, degree + 1):
        shift = QQ(i - blocks)
        longer = [QQ(0)] * (len(coefficients) + 1)
        for power, value in enumerate(coefficients):
            longer[power] += value * shift
            longer[power + 1] += value
        coefficients = longer
    return [value / factorial(degree) for value in coefficients]
