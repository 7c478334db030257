"""Reading what a formula returns: a power series in η, or the list of its coefficients, in exact numbers."""

from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import sympy

from ..errors import ArgumentError
from ..series import ETA
from ._power_series import power_series

Coefficients = tuple[Fraction, ...]
Parameters = Mapping[str, Fraction]
_NONE: Parameters = MappingProxyType({})


def coefficients_of(result: Any, order: int, parameters: Parameters = _NONE) -> Coefficients:
    """Return the coefficients of η⁰ … η^order of what a formula returned.

    Args:
        result: what the formula returned.
        order: the highest power of η.
        parameters: the numbers that stand for the symbols of the optimizer, by name.

    Raises:
        ArgumentError: the result is neither a power series in η nor the list of its coefficients, or not exact.
    """
    if isinstance(result, (list, tuple)):
        if len(result) <= order:
            raise ArgumentError(f"The formula returned {len(result)} coefficients; η^0 … η^{order} need {order + 1}.")
        return tuple(_exact(_expression(value, parameters)) for value in result[: order + 1])
    expression = _expression(result, parameters)
    if expression.has(sympy.Float):
        floats = ", ".join(map(str, sorted(expression.atoms(sympy.Float))))
        raise ArgumentError(
            f"The formula has the floating-point number(s) {floats}, which are not exact rational numbers: use "
            "fractions.Fraction or sympy.Rational."
        )
    return tuple(_exact(value) for value in power_series(expression, ETA, order))


def _expression(result: Any, parameters: Parameters) -> sympy.Expr:
    """Return what a formula returned as a SymPy expression in η alone, with numbers for the optimizer's symbols."""
    if result is None:
        raise ArgumentError("The formula returned None: does it lack a return?")
    if shape := getattr(result, "shape", ()):
        raise ArgumentError(
            f"The formula returned an array of shape {tuple(shape)}: contract it to a number, as in s.G @ s.G, "
            "s.C.trace() or (s.C * s.H).sum(); coefficients of η⁰, η¹, … come as a list."
        )
    if isinstance(result, np.ndarray):
        result = result.item()
    if isinstance(result, sympy.Poly):
        result = result.as_expr()
    refused = ArgumentError(
        "A formula returns a SymPy expression in s.eta, a number, or the list of the coefficients of η⁰, η¹, …; got "
        f"{result!r}."
    )
    if isinstance(result, (bool, str)):
        raise refused
    try:
        expression = sympy.sympify(result)
    except (sympy.SympifyError, TypeError, ValueError, AttributeError) as error:
        raise refused from error
    if not isinstance(expression, sympy.Expr):
        raise refused
    known = {name: sympy.Rational(value.numerator, value.denominator) for name, value in parameters.items()}
    known[ETA.name] = ETA
    expression = expression.xreplace(
        {symbol: known[symbol.name] for symbol in expression.free_symbols if symbol.name in known}
    )
    if others := expression.free_symbols - {ETA}:
        names = ", ".join(sorted(map(str, others)))
        raise ArgumentError(
            f"The formula has the symbol(s) {names}, whose values are unknown: sizes are s.N, s.B, s.E, s.T, "
            "statistics s.l, s.G, s.H, s.J, s.C, s.S and s.value('[a[a]]'), the learning rate is s.eta, and symbols of "
            "the optimizer are those given to check_identity(…, optimizer=…)."
        )
    return expression


def _exact(value: sympy.Expr) -> Fraction:
    if not value.is_Rational:
        value = sympy.simplify(value)
    if not value.is_Rational:
        raise ArgumentError(
            f"The formula gave the coefficient {value}, which is not an exact rational number: use "
            "fractions.Fraction or sympy.Rational."
        )
    return Fraction(int(value.p), int(value.q))
