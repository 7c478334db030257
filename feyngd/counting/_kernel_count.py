"""Counting with an optimizer: which way to sum over placements of products of kernels, and in which numbers."""

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from sympy.polys.domains import QQ
from sympy.polys.polyerrors import CoercionFailed
from sympy.polys.rings import PolyRing

from ..diagrams import Diagram
from ..errors import ArgumentError
from ..optimizers import Number, Optimizer
from ..spacetimes import Spacetime
from ._kernel_forms import kernel_form
from ._kernel_sums import Weights, kernel_sum
from ._time_series import FLOATS, FRACTIONS, Arithmetic


def kernel_count(
    diagram: Diagram, spacetime: Spacetime, optimizer: Optimizer, *, basis: str = "moment", averaging: bool = False
) -> sympy.Expr:
    """Return the expected sum over embeddings of Π_edges κ, the root at the point of measurement.

    Args:
        diagram: the diagram; whatever its root is tied to does not matter.
        spacetime: a spacetime with numbers or symbols.
        optimizer: the optimizer; exact parameters give an exact result, floats a float.
        basis: "moment" or "cumulant".
        averaging: whether cells are weighted by B / (size of their batch).

    Raises:
        ArgumentError: the optimizer does not fit the number of steps, or has no closed form with these symbols.
    """
    if not spacetime.is_concrete:
        return kernel_form(diagram, spacetime, optimizer, basis=basis)
    weights = weights_of(spacetime, optimizer, averaging)
    return as_expression(kernel_sum(diagram, weights, basis=basis))


def counts_after_every_step(
    diagram: Diagram, spacetime: Spacetime, optimizer: Optimizer, *, basis: str = "moment"
) -> np.ndarray:
    """Return such sums after 0, 1, …, T steps as floats, with the iterate as the point of measurement.

    Cells are weighted by B / (size of their batch).
    """
    weights = weights_of(spacetime, optimizer.in_floats(), True, every_step=True)
    return np.asarray(kernel_sum(diagram, weights, basis=basis), dtype=float)


def as_expression(value: Any) -> sympy.Expr:
    """Return a number of any arithmetic as SymPy's own."""
    if isinstance(value, Fraction):
        return sympy.Rational(value.numerator, value.denominator)
    return value.as_expr() if hasattr(value, "as_expr") else sympy.Float(float(value))


@lru_cache(maxsize=16)
def weights_of(spacetime: Spacetime, optimizer: Optimizer, averaging: bool, *, every_step: bool = False) -> Weights:
    """Return a spacetime and an optimizer as numbers for every step.

    Args:
        spacetime: a concrete spacetime.
        optimizer: the optimizer.
        averaging: whether cells are weighted by B / (size of their batch).
        every_step: whether sums are wanted after every number of steps.

    Raises:
        ArgumentError: the optimizer does not fit the number of steps, or has floats beside symbols.
    """
    steps = int(spacetime.T)
    recurrence = optimizer.recurrence(steps)
    to_end = None if every_step else tuple(optimizer.to_end(steps))
    numbers = [*recurrence.direct, *recurrence.gain, *recurrence.decay, *recurrence.readout, *(to_end or ())]
    has_floats = any(isinstance(number, float) for number in numbers)
    if has_floats and optimizer.symbols:
        raise ArgumentError(f"Beside symbols, numbers of an optimizer are exact; {optimizer} has floats: use Fraction.")
    if has_floats:
        floats = optimizer.in_floats()
        recurrence = floats.recurrence(steps)
        to_end = None if every_step else tuple(floats.to_end(steps))
        return Weights(spacetime, recurrence, to_end, averaging, FLOATS)
    return Weights(spacetime, recurrence, to_end, averaging, _arithmetic(numbers, optimizer))


def _arithmetic(numbers: list[Number], optimizer: Optimizer) -> Arithmetic:
    """Return fractions, or the polynomials in the optimizer's symbols."""
    if not optimizer.symbols:
        return FRACTIONS
    symbols = sorted(optimizer.symbols, key=str)
    ring: Any = PolyRing(symbols, QQ)

    def in_ring(value: Any) -> Any:
        if isinstance(value, sympy.Expr):
            return ring.from_expr(sympy.expand(value))
        exact = Fraction(value)
        return ring.ground_new(QQ(exact.numerator, exact.denominator))

    try:
        for number in numbers:
            in_ring(number)
    except (ValueError, CoercionFailed):
        return _rational_functions(symbols)
    return Arithmetic(in_ring, is_exact=True)


def _rational_functions(symbols: list[sympy.Symbol]) -> Arithmetic:
    field = QQ.frac_field(*symbols)

    def in_field(value: Any) -> Any:
        try:
            return field.from_sympy(sympy.sympify(value))
        except (ValueError, CoercionFailed) as error:
            raise ArgumentError(
                f"Beside symbols, parameters of an optimizer are rational functions with exact numbers; got {value}."
            ) from error

    convert: Callable[[Any], Any] = in_field
    return Arithmetic(convert, is_exact=True)
