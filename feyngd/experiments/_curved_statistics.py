"""How the curvature K of a weight space enters gap and test loss, exactly: a formula, and enumeration of all runs.

Losses are fixed in normal coordinates of the start, so that spaces of different curvature have the same statistics
there: the symmetrized covariant derivatives of every order. To order η² K changes nothing. At η³, with N points one by
one and E reshuffled epochs, it adds to gap and test loss

    gap:  −K (N − 1) E (E − 1)/12 · ((tr C)² − tr C²)
    test: +K N (N − 1) E (E − 1)/12 · (tr C |G|² − G·C G)

In two dimensions (tr C)² − tr C² is 2 det C. Both vanish in one epoch. There K enters at η⁴, linear in the Hessians, so
that l and −l have opposite coefficients. Batches are of one: larger ones average the field, and an average of steps
along geodesics is no step along that of the mean gradient.
"""

from collections.abc import Sequence
from fractions import Fraction

import sympy

from ..spacetimes import Spacetime
from ..testing import PolynomialLandscape, exact_series
from ._geodesic_field import RATE, geodesic_field, normal_metric

PLACE = sympy.symbols("x y")
_SLOPES = sympy.symbols("p q")
Kinds = Sequence[tuple[tuple[int, int], tuple[int, int, int]]]

# Gradients at the start and Hessians (xx, xy, yy), positive semi-definite: all are convex in normal coordinates.
SPREAD: Kinds = (((2, 1), (1, 0, 0)), ((-1, 2), (0, 0, 1)), ((-1, -2), (2, 1, 1)))
ALIGNED: Kinds = (((1, -1), (4, 0, 0)), ((2, 0), (4, 2, 1)), ((1, 2), (1, 0, 0)))


def third_order(kinds: Kinds, count: int, epochs: int) -> dict[str, Fraction]:
    """Return what one unit of K adds to the coefficients of η³, by the formula.

    Args:
        kinds: gradients and Hessians at the start, equally likely.
        count: N.
        epochs: E.
    """
    rows = [sympy.Matrix(gradient) for gradient, _ in kinds]
    mean = sum(rows, sympy.zeros(2, 1)) / len(rows)
    C = sum(((row - mean) * (row - mean).T for row in rows), sympy.zeros(2, 2)) / len(rows)
    times = Fraction((count - 1) * epochs * (epochs - 1), 12)
    spread, turned = C.trace() ** 2 - (C * C).trace(), C.trace() * mean.dot(mean) - mean.dot(C * mean)
    return {"gap": -times * _fraction(spread), "test_loss": times * count * _fraction(turned)}


def losses(kinds: Kinds) -> list[sympy.Expr]:
    """Return the loss of each kind, a polynomial in normal coordinates."""
    x, y = PLACE
    return [g[0] * x + g[1] * y + (h[0] * x**2 + 2 * h[1] * x * y + h[2] * y**2) / sympy.Integer(2) for g, h in kinds]


def exact_coefficients(
    quantity: str, given: Sequence[sympy.Expr], metric: sympy.Matrix, spacetime: Spacetime, order: int
) -> tuple[Fraction, ...]:
    """Return the coefficients of η⁰ … η^order after steps along geodesics, by enumeration of all runs.

    The field depends on η. The oracle takes that η for a coordinate μ that no step moves. Coefficients at several
    μ give, by interpolation, those of every power of μ, and at μ = η each power of μ is one of η.

    Args:
        quantity: "test_loss", "train_loss" or "gap".
        given: the losses, polynomials in `PLACE`, zero at the start.
        metric: the metric, with the start at zero.
        spacetime: a small concrete spacetime, with batches of one.
        order: the highest power of η, up to 3, or 4 for a space of constant curvature.

    Raises:
        ArgumentError: the metric is not positive definite at the start.
    """
    field = geodesic_field(metric, PLACE, _SLOPES)
    updates = []
    for loss in given:
        slopes = {symbol: loss.diff(place) for symbol, place in zip(_SLOPES, PLACE, strict=True)}
        updates.append([*(_polynomial(component.subs(slopes, simultaneous=True)) for component in field), {}])
    landscape = PolynomialLandscape([_polynomial(loss) for loss in given], updates=updates)
    nodes = range(order + 1)
    rows = [exact_series(quantity, landscape, (0, 0, node), spacetime, order) for node in nodes]
    powers = sympy.Matrix([[sympy.Integer(node) ** power if power else 1 for power in nodes] for node in nodes])
    by_power = powers.inv() * sympy.Matrix(rows)
    return tuple(_fraction(sum(by_power[total - k, k] for k in range(total + 1))) for total in nodes)


def exact_change(quantity: str, kinds: Kinds, spacetime: Spacetime, order: int) -> tuple[Fraction, ...]:
    """Return what one unit of K adds to every coefficient, half the difference of K = 1 and K = −1."""
    above, below = (
        exact_coefficients(quantity, losses(kinds), normal_metric(sympy.Integer(K), PLACE), spacetime, order)
        for K in (1, -1)
    )
    return tuple((one - other) / 2 for one, other in zip(above, below, strict=True))


def _polynomial(expression: sympy.Expr) -> dict[tuple[int, ...], Fraction]:
    terms = sympy.Poly(expression, *PLACE, RATE, domain="QQ").terms()
    return {powers: _fraction(value) for powers, value in terms}


def _fraction(value: sympy.Expr) -> Fraction:
    number = sympy.Rational(value)
    return Fraction(int(number.p), int(number.q))
