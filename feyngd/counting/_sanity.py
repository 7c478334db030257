"""Closed forms against listing, on small grids."""

from fractions import Fraction
from itertools import product
from math import factorial

import sympy

from ..diagrams import CellDiagram, Diagram
from ..errors import ArgumentError, MismatchError, SpacetimeError
from ..spacetimes import Spacetime
from ._count import count_embeddings
from ._listing import list_cell_embeddings, list_embeddings


def sanity_check(diagram: Diagram, spacetime: Spacetime, *, max_size: int = 3, max_work: int = 200_000) -> int:
    """Check the closed form of a diagram's count against listing every embedding on small grids.

    Symbols of the spacetime are replaced by all numbers up to `max_size` that make a spacetime; random batches are
    averaged over all their outcomes.

    Args:
        diagram: the diagram whose closed form is checked.
        spacetime: the scheme; its symbols are replaced by numbers, its numbers are kept.
        max_size: the largest number to put in place of a symbol.
        max_work: leave out grids on which listing tries more than about this many cells, over all outcomes.

    Returns:
        The number of grids compared.

    Raises:
        MismatchError: closed form and listing differ; the message names the diagram, N, B, E and both numbers.
        ArgumentError: no grid within `max_size` and `max_work` exists, so that nothing would be checked.

    Examples:
        >>> import feyngd as fd
        >>> from sympy import symbols
        >>> N, B, E = symbols("N B E", integer=True, positive=True)
        >>> fd.sanity_check(fd.Diagram.parse("[a a[b]]"), fd.Spacetime.sgd(N, B, E))
        12
    """
    alone = diagram.untie_root()
    symbols = sorted(spacetime.symbols, key=str)
    formula = count_embeddings(diagram, spacetime)
    checked = 0
    for numbers in product(range(1, max_size + 1), repeat=len(symbols)):
        values = dict(zip(symbols, numbers, strict=True))
        try:
            grid = spacetime.subs(values)
        except SpacetimeError:
            continue
        if len(alone.parts) - 1 > grid.N or _work(grid, alone.order) > max_work:
            continue
        outcomes = grid.outcomes()
        if isinstance(alone, CellDiagram):
            listed = sum((p * sum(1 for _ in list_cell_embeddings(alone, run)) for p, run in outcomes), Fraction(0))
        else:
            listed = sum((p * sum(1 for _ in list_embeddings(alone, run)) for p, run in outcomes), Fraction(0))
        closed = formula.subs(values)
        if closed != sympy.Rational(listed.numerator, listed.denominator):
            raise MismatchError(
                f"Closed form and listing differ for {diagram} at N={grid.N}, B={grid.B}, E={grid.E}, T={grid.T} "
                f"({grid.sampling}): closed form {closed}, listing {listed}."
            )
        checked += 1
    if not checked:
        raise ArgumentError(
            f"No grid of {spacetime} with sizes up to {max_size} and at least {len(alone.parts) - 1} points "
            f"can be listed within max_work={max_work}, so nothing was checked. Raise max_size or max_work, "
            "or replace symbols by smaller numbers."
        )
    return checked


def _work(grid: Spacetime, order: int) -> int:
    """Return about how many cells are tried when the embeddings in all outcomes are listed."""
    N, B, T = int(grid.N), int(grid.B), int(grid.T)
    outcomes = 1
    if grid.sampling == "with-replacement":
        outcomes = N ** (B * T)
    elif grid.sampling == "reshuffled":
        outcomes = (factorial(N) // factorial(B) ** (N // B)) ** (B * T // N)
    return outcomes * (B * T) ** order
