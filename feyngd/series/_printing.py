"""Series as readable text and as LaTeX."""

from typing import TYPE_CHECKING

import sympy

from ..diagrams import Diagram, tensor_expression

if TYPE_CHECKING:
    from ._series import Series


def text(series: "Series") -> str:
    """One line for each diagram: power of η, coefficient, diagram, tensor expression."""
    where = "" if series.spacetime is None else f", {series.spacetime}"
    rows = [(f"η^{D.order}", str(sympy.factor(value)), str(D), _tensors(series, D)) for D, value in series.items()]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    lines = [f"{series.quantity} to order η^{series.order}, {series.basis} basis{where}"]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)]
        lines.append("  " + "   ".join([*cells, row[3]]).rstrip())
    return "\n".join(lines if rows else [*lines, "  0"])


def _tensors(series: "Series", diagram: Diagram, *, latex: bool = False) -> str:
    return tensor_expression(diagram, basis=series.basis, latex=latex, open_root=series.is_vector)


def latex(series: "Series") -> str:
    """A sum over values, those of equal value taken together."""
    by_value: dict[tuple[int, str], sympy.Expr] = {}
    for diagram, value in series.items():
        key = (diagram.order, _tensors(series, diagram, latex=True))
        by_value[key] = by_value.get(key, sympy.Integer(0)) + value
    result = ""
    for (order, tensors), total in by_value.items():
        coefficient = sympy.factor(total)
        if coefficient == 0:
            continue
        negative = coefficient.could_extract_minus_sign()
        size = -coefficient if negative else coefficient
        written = "" if size == 1 else sympy.latex(size)
        if isinstance(size, sympy.Add):
            written = rf"\left({written}\right)"
        power = {0: "", 1: r"\eta"}.get(order, rf"\eta^{{{order}}}")
        sign = "-" if negative else "+" if result else ""
        result += f"{' ' if result else ''}{sign}{' ' if result else ''}" + r"\, ".join(
            factor for factor in (written, power, tensors) if factor
        )
    return f"{result or '0'} + O(\\eta^{{{series.order + 1}}})"
