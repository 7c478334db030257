"""Exact power series in η of a formula, or the reason why it has none.

An expression is expanded from the inside out in Laurent series, so that poles may cancel, as in (exp(η) − 1)/η. What is
not analytic at η = 0 is an error: roots and logarithms of what vanishes there, remaining poles, |η|, steps, conditions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sympy

from ..errors import ArgumentError

_MOST_TERMS = 64  # of a divisor, before it counts as zero
_ENTIRE = (
    *(sympy.sin, sympy.cos, sympy.tan, sympy.asin, sympy.acos, sympy.atan),
    *(sympy.sinh, sympy.cosh, sympy.tanh, sympy.asinh, sympy.acosh, sympy.atanh),
    *(sympy.erf, sympy.erfc, sympy.gamma, sympy.loggamma, sympy.LambertW),
)
_QUOTIENTS: dict[Any, Callable[[sympy.Expr], sympy.Expr]] = {
    sympy.cot: lambda x: sympy.cos(x) / sympy.sin(x),
    sympy.csc: lambda x: 1 / sympy.sin(x),
    sympy.sec: lambda x: 1 / sympy.cos(x),
    sympy.coth: lambda x: sympy.cosh(x) / sympy.sinh(x),
    sympy.csch: lambda x: 1 / sympy.sinh(x),
    sympy.sech: lambda x: 1 / sympy.cosh(x),
    sympy.sinc: lambda x: sympy.sin(x) / x,
}


class _TooFewTermsError(Exception):
    """All known terms of a divisor are zero."""


@dataclass(frozen=True)
class _Laurent:
    """Terms from η^low on, of which the first is not zero; those from η^end on are unknown."""

    low: int
    terms: tuple[sympy.Expr, ...]

    @property
    def end(self) -> int:
        return self.low + len(self.terms)

    def at(self, power: int) -> sympy.Expr:
        return self.terms[power - self.low] if self.low <= power < self.end else sympy.Integer(0)


def power_series(expression: sympy.Expr, eta: sympy.Symbol, order: int) -> list[sympy.Expr]:
    """Return the coefficients of η⁰ … η^order.

    Raises:
        ArgumentError: the expression is not a power series in η; the message gives the reason.
    """
    expression = expression.doit()
    if orders := expression.atoms(sympy.Order):
        if any(order_.getn() <= order for order_ in orders):
            raise ArgumentError(
                f"The formula {_short(expression)} is cut off before η^{order}: give more of its terms."
            )
        expression = expression.removeO()
    for function, quotient in _QUOTIENTS.items():
        expression = expression.replace(function, quotient)
    terms = order + 3
    while True:
        try:
            series = _expand(expression, eta, terms)
        except _TooFewTermsError:
            series = _Laurent(0, ())
        if series.end > order:
            break
        if terms >= _MOST_TERMS:
            raise ArgumentError(f"The formula {_short(expression)} divides by what is zero for every η.")
        terms = min(2 * terms, _MOST_TERMS)
    if series.low < 0:
        pole = series.terms[0] * eta**series.low
        raise _refused(f"it has the pole {_short(pole)} at η = 0")
    return [series.at(power) for power in range(order + 1)]


def _refused(reason: str) -> ArgumentError:
    return ArgumentError(
        f"The formula is no power series in η: {reason}. A formula is what SGD does to a loss, term by term in η; a "
        "list of coefficients [c0, c1, …] is allowed too."
    )


def _short(expression: sympy.Expr) -> str:
    text = str(expression)
    return text if len(text) <= 80 else f"{text[:60]}…"


def _laurent(low: int, terms: Sequence[sympy.Expr]) -> _Laurent:
    """Make a series whose first term is not zero."""
    skipped = 0
    while skipped < len(terms) and _is_zero(terms[skipped]):
        skipped += 1
    return _Laurent(low + skipped, tuple(terms[skipped:]))


def _is_zero(value: sympy.Expr) -> bool:
    return value == 0 if value.is_Rational else sympy.simplify(value) == 0


def _expand(expression: sympy.Expr, eta: sympy.Symbol, terms: int) -> _Laurent:
    """Expand an expression; formulas are shallow, so this may recurse."""
    if not expression.has(eta):
        return _laurent(0, [expression, *[sympy.Integer(0)] * (terms - 1)])
    if expression == eta:
        return _Laurent(1, (sympy.Integer(1), *[sympy.Integer(0)] * (terms - 1)))
    inner = [_expand(argument, eta, terms) for argument in expression.args] if expression.is_Add else []
    if inner:
        low, end = min(part.low for part in inner), min(part.end for part in inner)
        return _laurent(low, [sum((part.at(power) for part in inner), sympy.Integer(0)) for power in range(low, end)])
    if expression.is_Mul:
        product = _Laurent(0, (sympy.Integer(1), *[sympy.Integer(0)] * (terms - 1)))
        for argument in expression.args:
            product = _times(product, _expand(argument, eta, terms))
        return product
    if expression.is_Pow and not isinstance(expression, sympy.exp):
        base, exponent = expression.args
        if exponent.has(eta):
            expression = sympy.exp(exponent * sympy.log(base), evaluate=False)
            return _exponential(_expand(exponent * sympy.log(base), eta, terms), expression)
        return _power(_expand(base, eta, terms), exponent, expression)
    if isinstance(expression, sympy.exp):
        return _exponential(_expand(expression.args[0], eta, terms), expression)
    if isinstance(expression, sympy.log) and len(expression.args) == 1:
        return _logarithm(_expand(expression.args[0], eta, terms), expression)
    if isinstance(expression, _ENTIRE) and len(expression.args) == 1:
        return _composed(_expand(expression.args[0], eta, terms), expression)
    raise _refused(f"{_short(expression)} is not known to be analytic at η = 0")


def _times(a: _Laurent, b: _Laurent) -> _Laurent:
    count = min(len(a.terms), len(b.terms))
    coefficients = [
        sum((a.terms[i] * b.terms[power - i] for i in range(power + 1)), sympy.Integer(0)) for power in range(count)
    ]
    return _laurent(a.low + b.low, [sympy.expand(term) for term in coefficients])


def _power(base: _Laurent, exponent: sympy.Expr, expression: sympy.Expr) -> _Laurent:
    """Raise to a constant power, by the recurrence that base · (power)′ = exponent · base′ · power gives."""
    if exponent.is_Integer and exponent > 0 and not base.terms:
        return _Laurent(base.low * int(exponent), ())
    if not base.terms:
        raise _TooFewTermsError
    if base.low and not exponent.is_Integer:
        raise _refused(f"{_short(expression)} is a root of what vanishes or has a pole at η = 0")
    first = base.terms[0]
    coefficients = [first**exponent]
    for power in range(1, len(base.terms)):
        total = sum(
            ((i * exponent - power + i) * base.terms[i] * coefficients[power - i] for i in range(1, power + 1)),
            sympy.Integer(0),
        )
        coefficients.append(sympy.expand(total / (power * first)))
    return _laurent(base.low * int(exponent) if base.low else 0, coefficients)


def _taylor(inside: _Laurent, expression: sympy.Expr) -> list[sympy.Expr]:
    """Return the terms, from η⁰ on, of the argument of a function."""
    if inside.low < 0:
        raise _refused(f"{_short(expression)} has an essential singularity at η = 0")
    return [inside.at(power) for power in range(inside.end)]


def _exponential(inside: _Laurent, expression: sympy.Expr) -> _Laurent:
    terms = _taylor(inside, expression)
    coefficients = [sympy.exp(terms[0])] if terms else []
    for power in range(1, len(terms)):
        total = sum((i * terms[i] * coefficients[power - i] for i in range(1, power + 1)), sympy.Integer(0))
        coefficients.append(sympy.expand(total / power))
    return _laurent(0, coefficients)


def _logarithm(inside: _Laurent, expression: sympy.Expr) -> _Laurent:
    if not inside.terms:
        raise _TooFewTermsError
    if inside.low:
        raise _refused(f"{_short(expression)} is a logarithm of what vanishes or has a pole at η = 0")
    terms = inside.terms
    coefficients = [sympy.log(terms[0])]
    for power in range(1, len(terms)):
        total = sum((i * coefficients[i] * terms[power - i] for i in range(1, power)), sympy.Integer(0))
        coefficients.append(sympy.expand((terms[power] - total / power) / terms[0]))
    return _laurent(0, coefficients)


def _composed(inside: _Laurent, expression: sympy.Expr) -> _Laurent:
    """Apply a function through its derivatives at the value at η = 0."""
    terms = _taylor(inside, expression)
    if not terms:
        raise _TooFewTermsError
    x, center = sympy.Dummy(), terms[0]
    derivative, factors = expression.func(x), []
    for power in range(len(terms)):
        factors.append(derivative.subs(x, center) / sympy.factorial(power))
        derivative = derivative.diff(x)
        if factors[-1].has(sympy.zoo, sympy.nan, sympy.oo, -sympy.oo):
            raise _refused(f"{_short(expression)} is singular at η = 0")
    rest = _Laurent(0, (sympy.Integer(0), *terms[1:]))
    total = _Laurent(0, (factors[-1], *[sympy.Integer(0)] * (len(terms) - 1)))
    for factor in reversed(factors[:-1]):
        product = _times(total, rest)
        total = _Laurent(0, tuple(product.at(power) + (factor if not power else 0) for power in range(len(terms))))
    return _laurent(0, total.terms)
