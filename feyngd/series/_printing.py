"""Series as readable text and as LaTeX."""

from collections.abc import Callable, Mapping, Sequence

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


def latex(terms: Terms, tensors: Tensors, order: int, *, align: bool = False) -> str:
    """Write a sum over values as LaTeX, diagrams of equal value taken together.

    Args:
        terms: the coefficients.
        tensors: writes the value of a diagram as a tensor expression in LaTeX.
        order: the highest power of η that is kept.
        align: whether to write an `align` environment with one term a line.
    """
    by_value: dict[tuple[int, str], sympy.Expr] = {}
    for diagram, value in terms.items():
        key = (diagram.order, tensors(diagram))
        by_value[key] = by_value.get(key, sympy.Integer(0)) + value
    found = [(key, sympy.factor(total)) for key, total in by_value.items()]
    written = [
        signed(value, {0: "", 1: r"\eta"}.get(edges, rf"\eta^{{{edges}}}"), name)
        for (edges, name), value in found
        if value != 0
    ]
    return joined([*(written or [("", "0")]), ("+", rf"O(\eta^{{{order + 1}}})")], align=align)


def signed(value: sympy.Expr, *others: str, order: str | None = None) -> tuple[str, str]:
    """Return the sign of a coefficient, and LaTeX of its size times other factors.

    Args:
        value: the coefficient.
        others: LaTeX of the other factors.
        order: the order of the terms of sums, as SymPy names it.
    """
    negative = value.could_extract_minus_sign()
    size = -value if negative else value
    written = "" if size == 1 else sympy.latex(size, order=order)
    if isinstance(size, sympy.Add):
        written = rf"\left({written}\right)"
    return "-" if negative else "+", r"\, ".join(factor for factor in (written, *others) if factor) or "1"


def joined(terms: Sequence[tuple[str, str]], *, align: bool = False, last: str = "") -> str:
    """Join signs and sizes to a sum.

    Args:
        terms: pairs of a sign and the LaTeX of a size.
        align: whether to write an `align` environment with one term a line.
        last: an equation below the sum.
    """
    if not terms:
        return "0"
    (sign, size), *others = terms
    first = f"{sign.replace('+', '')}{size}"
    if not align:
        return " ".join([first, *(f"{sign} {size}" for sign, size in others)])
    lines = [f"& {first}", *(f"& {{}} {sign} {size}" for sign, size in others), *([f"& {last}"] if last else [])]
    return "\\begin{align}\n" + " \\\\\n".join(lines) + "\n\\end{align}"
