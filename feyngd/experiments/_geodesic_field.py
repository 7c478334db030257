"""Steps along geodesics as a field: what SGD on a curved weight space follows, to the third order in step and place.

A step is θ ← exp_θ(−η w) with the natural gradient w = g⁻¹ ∇l. Solved in powers of η the geodesic gives θ ← θ − η f,

    f = w + (η/2) Γ(w, w) + (η²/6) (2 Γ(w, Γ(w, w)) − ∂_w Γ(w, w)) + …

so that the field depends on the learning rate itself, here a letter μ of its own. The place, too, is of the order of η.
With f to their second power, runs are exact to η³, and to η⁴ in normal coordinates of spaces of constant curvature:
there f is even in place and learning rate together.
"""

from collections.abc import Sequence

import sympy

from ..errors import ArgumentError

RATE = sympy.Symbol("mu")


def normal_metric(curvature: sympy.Expr, place: Sequence[sympy.Symbol]) -> sympy.Matrix:
    """Return the metric of constant sectional curvature in normal coordinates, to the second order in the place.

    Args:
        curvature: K.
        place: the coordinates x, all zero at the start: g = 1 − (K/3) (|x|² − x xᵀ).
    """
    x = sympy.Matrix(place)
    return sympy.eye(len(place)) - curvature / 3 * (x.dot(x) * sympy.eye(len(place)) - x * x.T)


def geodesic_field(
    metric: sympy.Matrix, place: Sequence[sympy.Symbol], gradient: Sequence[sympy.Symbol]
) -> tuple[sympy.Expr, ...]:
    """Return the field that steps along geodesics follow, a polynomial in the place, the gradient and `RATE`.

    Args:
        metric: g, a symmetric matrix of functions of the place.
        place: the coordinates, all zero at the start.
        gradient: symbols of the partial derivatives of a loss.

    Returns:
        For each coordinate, f to the second power of place and learning rate together.

    Raises:
        ArgumentError: the metric is not symmetric, has another size than the place, or is not positive definite at the
            start.
    """
    size = len(place)
    if metric.shape != (size, size) or metric != metric.T:
        raise ArgumentError(f"A metric of {size} coordinates is a symmetric {size}×{size} matrix, got {metric}.")
    start = metric.subs(dict.fromkeys(place, 0))
    if not start.is_positive_definite:
        raise ArgumentError(
            f"A metric is positive definite, and at the start it is {start.tolist()}: without positive eigenvalues "
            "there is no inverse metric to step by. Move the start, or take another chart."
        )
    metric, root = metric.applyfunc(lambda entry: _truncated(entry, place)), start.inv()
    bent = root * (metric - start)
    inverse = (root - bent * root + bent * bent * root).applyfunc(lambda entry: _truncated(entry, place))
    w = inverse * sympy.Matrix(gradient)
    lowered = [sympy.Matrix(size, size, lambda j, k, i=i: _lowered(metric, place, i, j, k)) for i in range(size)]
    connection = [
        sum((inverse[i, j] * lowered[j] for j in range(size)), sympy.zeros(size, size)).applyfunc(sympy.expand)
        for i in range(size)
    ]
    at_start = [symbol.subs(dict.fromkeys(place, 0)) for symbol in connection]
    still = root * sympy.Matrix(gradient)
    along = sympy.Matrix([(still.T * symbol * still)[0] for symbol in at_start])
    third = [
        2 * (still.T * at_start[i] * along)[0]
        - sum(
            (still.T * connection[i].diff(place[k]).subs(dict.fromkeys(place, 0)) * still)[0] * still[k]
            for k in range(size)
        )
        for i in range(size)
    ]
    return tuple(
        _truncated(w[i] + RATE / 2 * (w.T * connection[i] * w)[0] + RATE**2 / 6 * third[i], [*place, RATE])
        for i in range(size)
    )


def _lowered(metric: sympy.Matrix, place: Sequence[sympy.Symbol], i: int, j: int, k: int) -> sympy.Expr:
    """Return a Christoffel symbol of the first kind, Γ_ijk with i the lowered index."""
    return (metric[i, j].diff(place[k]) + metric[i, k].diff(place[j]) - metric[j, k].diff(place[i])) / 2


def _truncated(expression: sympy.Expr, small: Sequence[sympy.Symbol]) -> sympy.Expr:
    """Return the Taylor polynomial of second total degree in small symbols."""
    zero = dict.fromkeys(small, 0)
    first = [expression.diff(symbol) for symbol in small]
    total = expression.subs(zero)
    for one, slope in zip(small, first, strict=True):
        total += slope.subs(zero) * one
        total += sum(slope.diff(other).subs(zero) * one * other for other in small) / 2
    return sympy.expand(total)
