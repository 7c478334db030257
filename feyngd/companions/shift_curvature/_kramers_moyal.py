"""The expansion of Kramers and Moyal as a series of diagrams: one step's cumulants up to an order, in continuous time.

A step moves θ by −η times the mean gradient of a batch. Its cumulants κ_k = (−η)^k B^(1−k) ω_k, with ω_k those of one
example's gradient, make the generator Σ κ_γ/γ! ∂^γ on functions. With k ≤ 1 that is the gradient flow, with k ≤ 2 the
stochastic differential equation. Beyond, there is a series but no process with a density (Pawula's theorem).
"""

from typing import Any

import sympy

from ..._arguments import check_integer, check_order
from ...diagrams import Diagram
from ...series import Series, expand, sde
from ...spacetimes import Spacetime

STEPS = sympy.Symbol("T", integer=True, positive=True)


def kramers_moyal(order: int, *, cumulants: int = 2, T: Any = STEPS, B: Any = 1) -> Series:
    """Expand the expected loss after the equation of Kramers and Moyal in powers of η, exactly.

    It is the sub-series of SGD over one epoch, in the cumulant basis, that has parts of at most `cumulants` nodes and
    of every coefficient the highest power of T: one for each part, as simultaneous steps are rare. Hence
    `kramers_moyal(order, cumulants=1)` is `feyngd.ode`, and 2 is `feyngd.sde`. SGD differs from it at order η² by
    −(η²T/2) GHG for any number of cumulants, since its time is discrete.

    Args:
        order: the highest power of η to keep.
        cumulants: up to which order those of a step are kept; from 3 on no density belongs to the series.
        T: the number of steps, a number or an expression.
        B: the batch size.

    Returns:
        A `Series` of the mean loss in the cumulant basis, without a spacetime.

    Raises:
        ArgumentError: an order is not an integer, or T or B is not exact or not known to be positive.

    References:
        Bradley et al., equations 15, 16 and 22 (corrected: with cumulants, not logarithms of moments, and with B).

    Examples:
        >>> import feyngd as fd
        >>> from feyngd.companions.shift_curvature import kramers_moyal
        >>> print(kramers_moyal(2))
        Kramers-Moyal 2 test_loss to order η^2, cumulant basis
          η^0   1        []       l
          η^1   -T       [a]      GG
          η^2   T/2      [a a]    tr(HC)
          η^2   T**2/2   [a b]    GHG
          η^2   T**2/2   [a[b]]   GHG
    """
    most, order = check_integer("cumulants", cumulants, least=1), check_order(order)
    steps = -sde(1, T=T, B=B)[Diagram.parse("[a]")]  # which checks both sizes
    points = sympy.Symbol("N", integer=True, positive=True)
    sgd = expand("test_loss", order=order, spacetime=Spacetime.sgd(N=points), basis="cumulant")
    terms = {}
    for diagram, coefficient in sgd.items():
        parts = len(diagram.parts) - 1
        if all(len(part) <= most for part in diagram.parts):
            share = sympy.Poly(coefficient, points).coeff_monomial(points**parts)
            terms[diagram] = share * steps**parts / sympy.sympify(B) ** (diagram.order - parts)
    return Series(terms, quantity=f"Kramers-Moyal {most} test_loss", order=order, basis="cumulant")
