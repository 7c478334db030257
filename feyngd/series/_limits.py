"""The continuous-time limits of SGD: gradient flow (ODE) and the stochastic differential equation (SDE).

Time is t = ηT. At fixed t a sum over T steps becomes a volume: T^k/k! takes the place of the C(T, k) choices of k times
that SGD has. In the cumulant basis the limits keep few diagrams, and every block of simultaneous nodes is a whole part.

=======  ==========================================  ===============================  =================================
limit    equation                                    acts on a measurement f          parts of the diagrams
=======  ==========================================  ===============================  =================================
ODE      dθ = −∇l dt                                 −∇l·∇f                           one node
SDE      dθ = −∇l dt + √(ηC(θ)/B) dW, Itô            −∇l·∇f + (η/2B) C:∇∇f            one node, or two at the same time
=======  ==========================================  ===============================  =================================

A lone node is the drift −∇l. A tied pair is the noise: half the covariance for each of its two orders. Derivatives act
on C(θ) as they do on ∇l: those of earlier nodes raise the ranks of the pair, as in κ[h_ij, g_j].
"""

from functools import cache
from math import factorial
from typing import Any, TypeAlias

import sympy

from .._arguments import check_order
from ..diagrams import EXPANDED, Diagram, check_number, diagrams
from ..errors import ArgumentError
from ._series import Series

Size: TypeAlias = int | sympy.Expr
STEPS = sympy.Symbol("T", integer=True, positive=True)


def ode(order: int, *, T: Size = STEPS, limit: int | None = EXPANDED) -> Series:
    """Expand the loss after gradient flow, dθ = −∇l dt for the time ηT, in powers of η, exactly.

    These are the diagrams of `feyngd.expand("test_loss", …, basis="cumulant")` in which no nodes are tied, with T^k/k!
    in place of C(T, k) in their coefficients. SGD differs at order η² by `(η²T/2)(C:H − GHG)`.

    Args:
        order: the highest power of η to keep.
        T: the number of steps; the length of the flow is ηT. A number, whole or not, or an expression.
        limit: the largest number of diagrams to visit; `None` for any.

    Returns:
        A `Series` of the mean loss in the cumulant basis, without a spacetime.

    Raises:
        ArgumentError: the order is not an integer ≥ 0, T is not exact or not known to be ≥ 0, or there are more than
            `limit` diagrams.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Corollary 3 (corrected: the deviation is printed without GHG).

    Examples:
        >>> import feyngd as fd
        >>> print(fd.ode(2))
        ODE test_loss to order η^2, cumulant basis
          η^0   1        []       l
          η^1   -T       [a]      GG
          η^2   T**2/2   [a b]    GHG
          η^2   T**2/2   [a[b]]   GHG
    """
    steps = _size("T", T, or_zero=True)
    return _limit("ODE", order, largest_part=1, steps=steps, batch=sympy.Integer(1), limit=limit)


def sde(order: int, *, T: Size = STEPS, B: Size = 1, limit: int | None = EXPANDED) -> Series:
    """Expand the expected loss after the SDE of SGD in powers of η, exactly.

    The equation is dθ = −∇l dt + √(ηC(θ)/B) dW in Itô's sense, for the time ηT; C is the covariance of the gradient of
    one datapoint's loss. The mean gradient of a batch of B has covariance C/B, a step moves by η times this mean, and
    there are 1/η steps in a unit of time: η²·C/B·1/η. All steps are assumed to see fresh points, as in one epoch.

    SGD with B = 1 over one epoch differs at order η² by `−(η²T/2) GHG`, and from a stationary point, where G = 0, at
    order η³ by `η³T (tr(H²C)/2 − S:J/6)`: time is discrete, and its noise is skewed.

    Args:
        order: the highest power of η to keep.
        T: the number of steps; the length of the SDE is ηT. A number, whole or not, or an expression.
        B: the batch size.
        limit: the largest number of diagrams to visit; `None` for any.

    Returns:
        A `Series` of the mean loss in the cumulant basis, without a spacetime.

    Raises:
        ArgumentError: the order is not an integer ≥ 0, a size is not exact, T not known to be ≥ 0 or B not > 0, or
            there are more than `limit` diagrams.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Corollary 3 for the skew; section 5.3 names the discretisation.

    Examples:
        >>> import feyngd as fd
        >>> from sympy import symbols
        >>> T = symbols("T", integer=True, positive=True)
        >>> sgd = fd.expand("test_loss", order=2, spacetime=fd.Spacetime.sgd(N=T), basis="cumulant")
        >>> print(sgd - fd.sde(2))
        test_loss - SDE test_loss to order η^2, cumulant basis
          η^2   -T/2   [a[b]]   GHG
    """
    steps, batch = _size("T", T, or_zero=True), _size("B", B)
    return _limit("SDE", order, largest_part=2, steps=steps, batch=batch, limit=limit)


def _limit(
    name: str, order: int, *, largest_part: int, steps: sympy.Expr, batch: sympy.Expr, limit: int | None
) -> Series:
    """Sum (−1)^order B^(−pairs) (T^P/P!) #(orders of the P parts in time) / |Aut| over diagrams with small parts."""
    order = check_order(order)
    check_number(order, False, limit, up_to=True)
    terms = {}
    for edges in range(order + 1):
        for diagram in diagrams(edges, limit=None):
            parts = len(diagram.parts) - 1
            if any(len(part) > largest_part for part in diagram.parts):
                continue
            if ways := _time_orders(diagram):
                number = sympy.Rational((-1) ** edges * ways, factorial(parts) * diagram.automorphisms)
                terms[diagram] = number * steps**parts / batch ** (edges - parts)
    return Series(terms, quantity=f"{name} test_loss", order=order, basis="cumulant")


def _time_orders(diagram: Diagram) -> int:
    """Count the orders of the non-root parts in time in which every child's part comes before its parent's."""
    labels, parents = diagram.labels, diagram.parents
    before = [0] * len(diagram.parts)
    for node in range(1, diagram.order + 1):
        if parents[node]:
            before[labels[parents[node]]] |= 1 << labels[node]
    everything = (1 << len(before)) - 2  # without the root's part, number 0

    @cache
    def ways(placed: int) -> int:
        if placed == everything:
            return 1
        left = (part for part in range(1, len(before)) if not placed >> part & 1)
        return sum(ways(placed | 1 << part) for part in left if not before[part] & ~placed)

    return ways(0)


def _size(name: str, value: Any, *, or_zero: bool = False) -> sympy.Expr:
    """Return an exact size, whole or not: the limits have no steps."""
    refused = ArgumentError(
        f"{name}={value!r} is not allowed: {name} is an exact number {'≥' if or_zero else '>'} 0, or a SymPy "
        f"expression known to be one, such as Symbol({name!r}, integer=True, positive=True)."
    )
    if isinstance(value, (bool, str, float)) or value is None:
        raise refused
    try:
        size = sympy.sympify(value)
    except (sympy.SympifyError, TypeError) as error:
        raise refused from error
    if not isinstance(size, sympy.Expr) or size.has(sympy.Float) or not size.is_finite:
        raise refused
    if not (size.is_nonnegative if or_zero else size.is_positive):
        raise refused
    return sympy.cancel(size)  # equal sizes look equal
