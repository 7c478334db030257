"""Letters of re-summed coefficients: eigenvalues h, factors x = 1 − ηh, or rates a with x = e^(−a)."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import sympy

from ..counting import PropagatorForms, Ratio
from ..diagrams import Diagram, edge_index
from ..errors import ArgumentError
from ..optimizers import Optimizer
from ..spacetimes import Spacetime

KINDS = ("h", "x", "a")
Root = tuple[sympy.Expr, sympy.Expr]  # (c, x) of a propagator Σ c x^(Δt−1)


@dataclass(frozen=True)
class Letters:
    """What stands for the propagator of every edge.

    Attributes:
        edges: for the edge above every non-root node, in order, pairs (c, x): its propagator is η Σ c x^(Δt−1), or in
            integrals η Σ c e^(−xt).
        powers: from an x and a number of steps L to x^L, or e^(−xL).
        for_limits: whether coefficients are sums over the powers of x^T, which is what SymPy finds limits of.
    """

    edges: tuple[tuple[Root, ...], ...]
    powers: Callable[[sympy.Expr, sympy.Expr], sympy.Expr]
    for_limits: bool = False

    def write(self, forms: PropagatorForms, factor: Ratio, *, stationary: bool = False) -> sympy.Expr:
        """Return the factor times the sum over embeddings of Π_edges of the propagators over η."""
        total = sympy.Integer(0)
        for chosen in product(*self.edges):
            share = sympy.Mul(*(c for c, _ in chosen))
            total += share * forms.total(
                [x for _, x in chosen],
                self.powers,
                factor=factor,
                stationary=stationary,
                by_powers=self.for_limits,
            )
        return total


def letters_of(kind: str, diagram: Diagram, form: str, optimizer: Optimizer, *, positive: bool = True) -> Letters:
    """Return the letters of a kind for the edges of a diagram.

    Args:
        kind: "h", "x" or "a".
        diagram: the diagram.
        form: "discrete" or "integral".
        optimizer: one all of whose steps are alike.
        positive: whether η and h are positive symbols, and not symbols without assumptions.

    Raises:
        ArgumentError: the kind does not fit the form or the optimizer.
    """
    eta, eigenvalues = rate(positive), eigenvalues_of(diagram, positive)
    if form == "integral":
        if kind != "h":
            raise ArgumentError(f"The integral form is written in eigenvalues, letters='h'; got {kind!r}.")
        return Letters(tuple(((sympy.Integer(1), eta * h),) for h in eigenvalues), _exponential)
    exponentials = optimizer.exponentials() or []
    if len(exponentials) < 2:
        keeps = sympy.sympify(exponentials[0][0])
        return _of_factors(kind, diagram, [1 - keeps * eta * h for h in eigenvalues], keeps)
    if kind == "a":
        raise ArgumentError("With momentum, coefficients are written in letters='h' or 'x': its x may be complex.")
    of_sum, of_product, direct, shift = _roots(optimizer)
    edges = []
    for node, h in enumerate(eigenvalues, start=1):
        if kind == "h":
            half, times = of_sum(eta * h) / 2, of_product(eta * h)
            split = sympy.sqrt(sympy.expand(half**2 - times))
            x, y = half + split, half - split
        else:
            x, y = (_symbol(letter, node, positive=False) for letter in "xy")
        edges.append(tuple(((direct * z + shift) / (z - other), z) for z, other in ((x, y), (y, x))))
    return Letters(tuple(edges), sympy.Pow)


def _roots(optimizer: Optimizer) -> tuple[Any, Any, sympy.Expr, sympy.Expr]:
    """Return the sum and the product of the x and y of an edge, as functions of ηh; and direct and shift.

    The kernel c p^(Δt−1) + d q^(Δt−1) has the generating function (direct z + shift) / ((z − p)(z − q)), and the
    propagator that with ηh (direct z + shift) added to the denominator, of which x and y are the zeros.
    """
    (c, p), (d, q) = optimizer.exponentials() or []
    c, p, d, q = map(sympy.sympify, (c, p, d, q))
    direct, shift = sympy.simplify(c + d), sympy.simplify(-c * q - d * p)
    return lambda s: p + q - s * direct, lambda s: p * q + s * shift, direct, shift


def _of_factors(kind: str, diagram: Diagram, factors: list[sympy.Expr], keeps: sympy.Expr) -> Letters:
    powers: Callable[[sympy.Expr, sympy.Expr], sympy.Expr] = sympy.Pow
    if kind != "h":
        factors = [_symbol("x", node) for node in range(1, diagram.order + 1)]
    if kind == "a":
        rates = {x: _symbol("a", node) for node, x in enumerate(factors, start=1)}

        def powers(x: sympy.Expr, length: sympy.Expr) -> sympy.Expr:
            return sympy.exp(-rates[x] * length)

    return Letters(tuple(((keeps, x),) for x in factors), powers, kind == "a")


def definition(optimizer: Optimizer, *, latex: bool) -> str:
    """Return what the letters x stand for, once for all edges."""
    eta, h = rate(False), sympy.Symbol("h_i" if latex else "h")
    x, y = (f"{letter}_i" if latex else letter for letter in "xy")
    written: Any = sympy.latex if latex else sympy.sstr
    exponentials = optimizer.exponentials() or []
    if len(exponentials) < 2:
        return f"{x} = {written(1 - sympy.sympify(exponentials[0][0]) * eta * h, order='rev-lex')}"
    of_sum, of_product, *_ = _roots(optimizer)
    sums, products = (written(sympy.expand(of(eta * h)), order="rev-lex") for of in (of_sum, of_product))
    return f"{x} + {y} = {sums}, " + (r"\quad " if latex else "") + f"{x} {y} = {products}"


def check_closed_form(spacetime: Spacetime, optimizer: Optimizer, stationary: bool) -> None:
    """Raise `ArgumentError` unless re-summed coefficients have a closed form.

    Args:
        spacetime: the spacetime.
        optimizer: the optimizer.
        stationary: whether what is left after many steps is asked for.
    """
    is_known = spacetime.explicit is not None
    has_exponentials = optimizer.average is None and optimizer.is_constant
    if not has_exponentials or not (spacetime.is_even or is_known):
        raise ArgumentError(
            "Closed forms are those of optimizers all of whose steps are alike, measured at the last iterate, in whole "
            f"epochs of full batches, and not of {optimizer} on {spacetime}: for numbers, call coefficient(diagram, "
            "eigenvalues, learning_rate)."
        )
    if is_known and (stationary or not optimizer.is_plain):
        raise ArgumentError(
            f"On batches that are given the closed form is a polynomial, and that of plain SGD; got {optimizer}. For "
            "numbers, call coefficient(diagram, eigenvalues, learning_rate)."
        )


def rate(positive: bool) -> sympy.Symbol:
    """Return η: a positive symbol, or the one of all series, which is without assumptions."""
    return sympy.Symbol("eta", positive=True) if positive else sympy.Symbol("eta")


def eigenvalues_of(diagram: Diagram, positive: bool) -> tuple[sympy.Symbol, ...]:
    """Return h_i, h_j, … of the edges above nodes 1, 2, …"""
    return tuple(_symbol("h", node, positive=positive) for node in range(1, diagram.order + 1))


def _symbol(letter: str, node: int, *, positive: bool = True) -> sympy.Symbol:
    name = f"{letter}_{edge_index(node)}"
    return sympy.Symbol(name, positive=True) if positive else sympy.Symbol(name)


def _exponential(s: sympy.Expr, length: sympy.Expr) -> sympy.Expr:
    return sympy.exp(-s * length)
