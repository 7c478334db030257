"""SymPy expressions as nested lists, for JSON: what is not a rational function, such as β^T, and floats, exactly.

Only the heads named here are written and read, and they are called with what was read: nothing in a text is executed.
"""

from collections.abc import Mapping
from typing import Any

import sympy

from ..errors import ArgumentError

_HEADS: dict[str, Any] = {
    head.__name__: head
    for head in (
        *(sympy.Add, sympy.Mul, sympy.Pow, sympy.exp, sympy.cos, sympy.sin),
        *(sympy.Min, sympy.Max, sympy.ceiling, sympy.Sum, sympy.Tuple),
    )
}
_MOST = 10_000  # the exponent of a number; a greater one in a text could keep the reader busy for ever
_CONSTANTS: dict[str, Any] = {"pi": sympy.pi, "E": sympy.E, "I": sympy.I}


def dump_tree(value: sympy.Basic) -> Any:
    """Return an expression as lists, strings and integers.

    Raises:
        ArgumentError: there is something in it that has no form here.
    """
    if isinstance(value, sympy.Rational):
        return str(value)
    if isinstance(value, sympy.Float):
        sign, mantissa, exponent, _ = value._mpf_
        return {"float": [int(sign), str(mantissa), int(exponent), int(value._prec)]}
    if isinstance(value, sympy.Symbol):
        return {"symbol": value.name}
    for name, constant in _CONSTANTS.items():
        if value == constant:
            return {"constant": name}
    name = type(value).__name__
    if _HEADS.get(name) is not type(value):
        raise ArgumentError(
            f"{value} is no rational function, nor made of {', '.join(_HEADS)} alone, so it cannot be written: pickle "
            "the series, or keep the call that made it."
        )
    return [name, *map(dump_tree, value.args)]


def load_tree(read: Any, symbols: Mapping[str, sympy.Symbol]) -> sympy.Basic:
    """Return the expression that `dump_tree` wrote; a `KeyError`, `TypeError` or `ValueError` if it wrote none."""
    if isinstance(read, str):
        return sympy.Rational(read)
    if isinstance(read, list):
        head, *parts = read
        arguments = [load_tree(part, symbols) for part in parts]
        if head == "Pow" and all(one.is_number for one in arguments) and abs(arguments[1]) > _MOST:
            raise ValueError(f"a number has an exponent larger than {_MOST:,}")
        found: sympy.Basic = _HEADS[head](*arguments)
        return found
    ((kind, inside),) = read.items()
    if kind == "float":
        sign, mantissa, exponent, precision = inside
        number = int(mantissa)
        return sympy.Float((int(sign), number, int(exponent), number.bit_length()), precision=int(precision))
    return {"symbol": symbols, "constant": _CONSTANTS}[kind][inside]
