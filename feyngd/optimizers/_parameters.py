"""Numbers of an optimizer: exact, floating-point or symbolic."""

import math
import operator
from fractions import Fraction
from typing import Any, TypeAlias

import sympy

from ..errors import ArgumentError

Number: TypeAlias = Fraction | float | sympy.Expr


def as_number(name: str, value: Any) -> Number:
    """Return a parameter as an exact fraction, a float, or an expression with symbols.

    Args:
        name: what the number is, for messages.
        value: an integer, fraction, float or SymPy expression; scalars of NumPy and JAX are floats or integers.

    Raises:
        ArgumentError: it is none of these, or not finite.
    """
    number = None if isinstance(value, (bool, str)) else _converted(value)
    if number is None or (isinstance(number, float) and not math.isfinite(number)):
        raise ArgumentError(f"{name} is a finite number, a fraction or a SymPy expression; got {value!r}.")
    return number


def _converted(value: Any) -> Number | None:
    if isinstance(value, Fraction):
        return value
    if isinstance(value, sympy.Basic):
        return _of_expression(value)
    if str(getattr(value, "dtype", "")) == "bool":
        return None
    try:
        return Fraction(operator.index(value))
    except TypeError:
        pass
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _of_expression(value: sympy.Basic) -> Number | None:
    if not isinstance(value, sympy.Expr) or value.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
        return None
    if value.is_Rational:
        return Fraction(int(value.p), int(value.q))
    if not value.free_symbols:
        return float(value) if value.is_real else None
    return value


def symbols_of(*values: Any) -> set[sympy.Symbol]:
    """Return the symbols in some parameters."""
    return set().union(*(value.free_symbols for value in values if isinstance(value, sympy.Expr)))


def is_symbolic(value: Number) -> bool:
    """Whether a parameter has symbols."""
    return isinstance(value, sympy.Expr)
