"""Where the two sides of an identity differ: in which diagrams, by what factor, and at which sizes."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

from sympy.polys.domains import QQ
from sympy.polys.matrices import DomainMatrix

from ..diagrams import Diagram, diagrams, tensor_expression, value_representative
from ..series import Series
from ..spacetimes import Spacetime
from ._values import ExactValues

Weights = dict[Diagram, Fraction]
_MOST_ORDER = 3  # up to this order a formula's coefficients are fitted
_SPARE = 4  # how many more landscapes than unknowns are used
_SHOWN = 8  # items in a list of a message


def weights_of(series: Series, power: int) -> Weights:
    """Return the coefficients of one power of η by value: diagrams with equal values are taken together."""
    weights: Weights = {}
    for diagram, coefficient in series.in_basis("cumulant").of_order(power).items():
        shape = value_representative(diagram)
        weights[shape] = weights.get(shape, Fraction(0)) + Fraction(int(coefficient.p), int(coefficient.q))
    return {shape: weight for shape, weight in weights.items() if weight}


def fitted_weights(
    formula: Callable[[ExactValues], Fraction], power: int, draw: Callable[[], ExactValues]
) -> Weights | None:
    """Return the coefficients with which a formula's power of η is a sum of cumulants, or `None` if there are none.

    Args:
        formula: the coefficient of the power on a landscape.
        power: the power.
        draw: returns the exact values of a random landscape at a random point.
    """
    shapes = sorted({value_representative(diagram) for diagram in diagrams(power, root_tied=True)})
    rows = []
    for _ in range(len(shapes) + _SPARE):
        values = draw()
        rows.append([_rational(value) for value in (*map(values.cumulant, shapes), formula(values))])
    reduced, pivots = DomainMatrix(rows, (len(rows), len(shapes) + 1), QQ).rref()
    if pivots != tuple(range(len(shapes))):
        return None  # a pivot in the last column is a contradiction; with a pivot missing the solution is not unique
    solution = reduced.to_list()
    weights = {shape: solution[i][-1] for i, shape in enumerate(shapes)}
    return {shape: Fraction(int(x.numerator), int(x.denominator)) for shape, x in weights.items() if x}


def _rational(value: Fraction) -> Any:
    return QQ(value.numerator, value.denominator)


def may_be_fitted(power: int) -> bool:
    """Whether a power is low enough to be fitted in reasonable time."""
    return power <= _MOST_ORDER


def describe_diagrams(left: Weights, right: Weights) -> str:
    """Say in which diagrams two sides differ, and by what factor if they share one."""
    differing = sorted(shape for shape in {*left, *right} if left.get(shape, 0) != right.get(shape, 0))
    if not differing:
        return ""
    parts = []
    for shape in differing[:_SHOWN]:
        a, b = left.get(shape, Fraction(0)), right.get(shape, Fraction(0))
        factor = f", {b / a} times as much" if a and b else ""
        parts.append(f"{shape}, {tensor_expression(shape)}: {a} on the left, {b} on the right{factor}")
    more = f"; and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
    ratios = {right[shape] / left[shape] for shape in differing if left.get(shape) and right.get(shape)}
    one = len(ratios) == 1 and all(left.get(shape) and right.get(shape) for shape in differing)
    among = "all its diagrams" if set(differing) == {*left, *right} else f"the {len(differing)} diagrams that differ"
    factor = f" The right side is {ratios.pop()} times the left in {among}." if one and len(differing) > 1 else ""
    return f"Coefficients of cumulants there: {'; '.join(parts)}{more}.{factor}"


def describe_sizes(grids: Iterable[Spacetime], agrees: Callable[[Spacetime], bool | None]) -> str:
    """Say at which sizes the sides agree and at which they do not; `None` where a side has no value."""
    alike: list[str] = []
    apart: list[str] = []
    for grid in grids:
        if (answer := agrees(grid)) is not None:
            (alike if answer else apart).append(_sizes(grid))
    if not alike:
        return f"They differ at all sizes tried: {_listed(apart)}." if len(apart) > 1 else ""
    return f"They agree at {_listed(alike)}, and differ at {_listed(apart)}."


def _sizes(grid: Spacetime) -> str:
    sizes = {"N": grid.N, "B": grid.B, "E": grid.E, "T": grid.T}
    return "(" + ", ".join(f"{name}={size}" for name, size in sizes.items() if size is not None) + ")"


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
