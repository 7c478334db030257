"""Which sizes are allowed, and how symbols are found by their names."""

import operator
from collections.abc import Collection, Mapping
from typing import Any

import sympy

from ..errors import ArgumentError, SpacetimeError


def as_expression(value: Any) -> sympy.Expr | None:
    """Return a number or an expression as SymPy's own, or `None` if it is neither.

    Integers of any kind, such as NumPy's and JAX's scalars, are converted exactly. Truth values are not numbers.
    """
    if isinstance(value, sympy.Basic):
        return value if isinstance(value, sympy.Expr) else None
    if value is None or isinstance(value, (bool, str)) or getattr(getattr(value, "dtype", None), "kind", "") == "b":
        return None
    try:
        return sympy.Integer(operator.index(value))
    except TypeError:
        pass
    try:
        expression = sympy.sympify(value)
    except (sympy.SympifyError, TypeError, ValueError, AttributeError, NotImplementedError):
        return None
    return expression if isinstance(expression, sympy.Expr) else None


def by_name(values: Mapping[Any, Any], known: Collection[sympy.Symbol], owner: str) -> dict[sympy.Symbol, Any]:
    """Return what to put in place of symbols, with each named symbol as the owner's own.

    Args:
        values: the new values. Keys are symbols, whose assumptions may be left out, or their names.
        known: the symbols of the owner.
        owner: the name of the owner, for messages.

    Raises:
        ArgumentError: a key is not a symbol of the owner, its name is ambiguous, or two keys are the same symbol.
    """
    has = f"The {owner} has {', '.join(sorted(map(str, known))) or 'no symbols'}"
    if not isinstance(values, Mapping):
        raise ArgumentError(f"Symbols are replaced by a dict, such as {{'N': 10}}; got {values!r}.")
    replaced: dict[sympy.Symbol, Any] = {}
    for key, value in values.items():
        if not isinstance(key, (str, sympy.Symbol)):
            raise ArgumentError(f"Symbols are replaced, by themselves or by name, got the key {key!r}. {has}.")
        named = [key] if key in known else [symbol for symbol in known if symbol.name == str(key)]
        if not named:
            hint = "; η is a symbol of to_sympy() only" if str(key) in ("eta", "η") else ""
            raise ArgumentError(f"{has}, and no symbol {key}{hint}.")
        if len(named) > 1:
            raise ArgumentError(f"{has}: {len(named)} symbols are called {key}, so give the symbol itself.")
        if named[0] in replaced:
            raise ArgumentError(f"The symbol {key} is given twice, as {replaced[named[0]]} and as {value}.")
        replaced[named[0]] = value
    return replaced


def check_size(name: str, value: Any, *, least: int = 1) -> sympy.Expr:
    """Return a size as a SymPy integer or expression.

    A length may be a quotient of positive integers with symbols, such as E·N/B. It counts steps, so it is assumed to be
    whole, and checked when the symbols become numbers.

    Args:
        name: N, B, E or T.
        value: the size, an integer of any kind or an expression.
        least: the smallest number allowed: 1 for a size, 0 for a length.

    Raises:
        SpacetimeError: it is neither an integer of at least `least` nor an expression known to be one.
    """
    allowed = f"an integer ≥ {least}, or a SymPy symbol made as Symbol({name!r}, integer=True, positive=True)"
    size = as_expression(value)
    if size is None:
        raise SpacetimeError(f"{name}={value!r} is not allowed: {name} is {allowed}.")
    if size.is_Number:
        if not size.is_Integer or size < least:
            raise SpacetimeError(f"{name}={value} is not allowed: {name} is {allowed}.")
        return size
    missing = [
        assumption
        for assumption, holds in (("integer=True", size.is_integer), ("positive=True", size.is_positive))
        if not holds and not (assumption == "positive=True" and least == 0 and size.is_nonnegative)
    ]
    if missing == ["integer=True"] and (quotient := _quotient(size)):
        above, below = quotient
        if least == 0:
            return sympy.cancel(size)
        raise SpacetimeError(
            f"{name}={size} is not known to be whole: write {above} as a multiple of {below}, as in N = M*B with "
            "symbols M and B, integer=True, positive=True."
        )
    if missing:
        raise SpacetimeError(f"{name}={size} lacks the assumption {' and '.join(missing)}: {name} is {allowed}.")
    return sympy.cancel(size)  # equal sizes look equal


def _quotient(size: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr] | None:
    """Return numerator and denominator of a quotient of positive integers with symbols in the latter, else `None`."""
    above, below = sympy.fraction(sympy.cancel(size))
    whole = above.is_integer and above.is_nonnegative and below.is_integer and below.is_positive
    return (above, below) if whole and below.free_symbols else None


def check_drop_last(drop_last: Any, N: sympy.Expr, B: sympy.Expr, sampling: str) -> bool | None:
    """Return what an epoch does with the points left after its full batches; `None` where none are left.

    Args:
        drop_last: the argument, `True`, `False` or `None`.
        N: the number of training points.
        B: the batch size.
        sampling: how batches are drawn.

    Raises:
        SpacetimeError: it is needed and not given, or means nothing here; B exceeds N; or it is no truth value.
    """
    if drop_last is not None and not isinstance(drop_last, bool):
        raise SpacetimeError(f"drop_last is True, False or left out; got {drop_last!r}.")
    if sampling == "with-replacement":
        if drop_last is not None:
            raise SpacetimeError("Sampling with replacement leaves no points over: leave out drop_last.")
        return None
    if not (N.is_Integer and B.is_Integer):
        if drop_last is not None:
            raise SpacetimeError(
                f"N={N} and B={B} are not both numbers, and then B is taken to divide N: leave out drop_last. Epochs "
                "with a rest have closed forms for numbers N and B and any E."
            )
        return None
    if B > N:
        raise SpacetimeError(
            f"B={B} is larger than N={N}: a batch without replacement holds at most all N points. Use B ≤ N, "
            "or sampling='with-replacement'."
        )
    if not N % B:
        return None
    if drop_last is None:
        divisors = [b for b in range(1, int(N) + 1) if N % b == 0]
        allowed = " or ".join(str(b) for b in divisors) if len(divisors) < 8 else "one of " + str(divisors)
        raise SpacetimeError(
            f"N={N} is not a multiple of B={B}: the batches of an epoch leave {N % B} over. Use B={allowed}, or "
            "sampling='with-replacement' with T steps; or say drop_last=True, to leave the rest out, or "
            "drop_last=False, to make a smaller last batch of it."
        )
    return drop_last


def steps_of_epoch(N: sympy.Expr, B: sympy.Expr, drop_last: bool | None) -> sympy.Expr:
    """Return the number of steps in an epoch."""
    if drop_last is None:
        return sympy.cancel(N / B)
    return N // B + (0 if drop_last else 1)
