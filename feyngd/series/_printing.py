"""Series as readable text and as LaTeX."""

from collections.abc import Callable, Mapping

import sympy

from ..diagrams import Diagram

Terms = Mapping[Diagram, sympy.Expr]
Tensors = Callable[[Diagram], str]


def text(terms: Terms, tensors: Tensors, heading: str) -> str:
    """Write one line for each diagram: power of η, coefficient, diagram, tensor expression.

    Args:
        terms: the coefficients.
        tensors: writes the value of a diagram as a tensor expression.
        heading: the first line.
    """
    rows = [(f"η^{D.order}", str(sympy.factor(value)), str(D), tensors(D)) for D, value in terms.items()]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    lines = [heading]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)]
        lines.append("  " + "   ".join([*cells, row[3]]).rstrip())
    return "\n".join(lines if rows else [*lines, "  0"])


def latex(terms: Terms, tensors: Tensors, order: int) -> str:
    """Write a sum over values as LaTeX, diagrams of equal value taken together.

    Args:
        terms: the coefficients.
        tensors: writes the value of a diagram as a tensor expression in LaTeX.
        order: the highest power of η that is kept.
    """
    by_value: dict[tuple[int, str], sympy.Expr] = {}
    for diagram, value in terms.items():
        key = (diagram.order, tensors(diagram))
        by_value[key] = by_value.get(key, sympy.Integer(0)) + value
    result = ""
    for (edges, written_value), total in by_value.items():
        coefficient = sympy.factor(total)
        if coefficient == 0:
            continue
        negative = coefficient.could_extract_minus_sign()
        size = -coefficient if negative else coefficient
        written = "" if size == 1 else sympy.latex(size)
        if isinstance(size, sympy.Add):
            written = rf"\left({written}\right)"
        power = {0: "", 1: r"\eta"}.get(edges, rf"\eta^{{{edges}}}")
        sign = "-" if negative else "+" if result else ""
        result += f"{' ' if result else ''}{sign}{' ' if result else ''}" + r"\, ".join(
            factor for factor in (written, power, written_value) if factor
        )
    return f"{result or '0'} + O(\\eta^{{{order + 1}}})"
