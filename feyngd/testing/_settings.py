"""Where the sides of an identity are compared: numbers in place of the symbols of sizes and of the optimizer."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import sympy

from ..errors import ArgumentError, SpacetimeError
from ..optimizers import PLAIN, Optimizer, check_optimizer
from ..series import ETA, Series
from ..spacetimes import Spacetime
from ._literal_steps import LiteralOptimizer

_PARAMETERS = (Fraction(1, 2), Fraction(1, 3), Fraction(9, 10), Fraction(2))  # where they are allowed


@dataclass(frozen=True)
class Setting:
    """Numbers in place of all symbols.

    Attributes:
        spacetime: with numbers for its sizes.
        optimizer: with numbers for its parameters.
        series: the sides that are series, by id, with numbers for coefficients.
        parameters: the numbers that stand for the optimizer's symbols, by name.
    """

    spacetime: Spacetime
    optimizer: Optimizer
    series: dict[int, Series]
    parameters: dict[str, Fraction]

    def __str__(self) -> str:
        return str(self.spacetime) if self.optimizer == PLAIN else f"{self.spacetime} with {self.optimizer}"


def optimizer_of(given: Optimizer | None, series: Iterable[Series]) -> Optimizer:
    """Return the optimizer to compare with: the given one, or that of a series, or plain SGD.

    Raises:
        ArgumentError: it is no optimizer, or one that identities are not checked with.
    """
    if given is None:
        given = next((side.optimizer for side in series if side.optimizer != PLAIN), PLAIN)
    optimizer = check_optimizer(given)
    if optimizer.metric is not None:
        raise ArgumentError(
            "An identity is checked in several dimensions, and a metric has one: leave out preconditioned, which "
            "changes the values of diagrams and no coefficient, or compare with exact_series(…, optimizer=…)."
        )
    if any(symbol.name == ETA.name for symbol in optimizer.symbols):
        raise ArgumentError(f"The symbol {ETA} is the learning rate: give another name to that of {optimizer}.")
    return optimizer


def settings(spacetime: Spacetime, optimizer: Optimizer, series: list[Series], max_size: int) -> list[Setting]:
    """Replace the symbols by numbers in every way in which all closed forms hold and enumeration stays small.

    Raises:
        ArgumentError: there is no such way.
    """
    refusals: list[str] = []
    found = list(_settings(spacetime, optimizer, series, max_size, refusals))
    if found:
        return found
    if refusals and not (spacetime.symbols or optimizer.symbols):
        raise ArgumentError(refusals[0])
    runs = "" if optimizer == PLAIN else f"{optimizer} runs and "
    why = f" For example: {refusals[0]}" if refusals else ""
    raise ArgumentError(
        f"No sizes up to {max_size} make {spacetime} a spacetime on which {runs}all closed forms hold.{why}"
    )


def _settings(
    spacetime: Spacetime, optimizer: Optimizer, series: list[Series], max_size: int, refusals: list[str]
) -> Iterator[Setting]:
    """Iterate over settings, and add to `refusals` why the optimizer does not suit others."""
    of_sizes, of_optimizer = ({symbol.name for symbol in owner.symbols} for owner in (spacetime, optimizer))
    names = sorted({*of_sizes, *of_optimizer, *(symbol.name for side in series for symbol in _symbols(side))})
    sizes = [Fraction(size) for size in range(1, max_size + 1)]
    choices = [_PARAMETERS if name in of_optimizer - of_sizes else sizes for name in names]
    for numbers in product(*choices):
        values = dict(zip(names, numbers, strict=True))
        try:
            grid = spacetime.subs(_filled_in(spacetime.symbols, values))
        except (SpacetimeError, ArgumentError):
            continue
        try:
            concrete = optimizer.subs(_filled_in(optimizer.symbols, values)) if of_optimizer else optimizer
            LiteralOptimizer.read(concrete, int(grid.T), dimensions=1)
        except ArgumentError as error:
            refusals.append(str(error))
            continue
        try:
            filled = {id(side): side.subs(_filled_in(_symbols(side), values)) for side in series}
        except (SpacetimeError, ArgumentError):
            continue
        many_shuffles = grid.sampling == "reshuffled" and grid.T * grid.B > 2 * grid.N
        many_draws = grid.sampling == "with-replacement" and grid.T * grid.B > 6
        if not of_sizes or not (many_shuffles or many_draws):
            yield Setting(grid, concrete, filled, {name: values[name] for name in sorted(of_optimizer)})


def _symbols(side: Series) -> set[sympy.Symbol]:
    return side.symbols | (side.spacetime.symbols if side.spacetime else set())


def _filled_in(symbols: set[sympy.Symbol], values: dict[str, Fraction]) -> dict[sympy.Symbol, sympy.Rational]:
    """Return the number of every symbol, found by name."""
    numbers = {symbol: values[symbol.name] for symbol in symbols}
    return {symbol: sympy.Rational(value.numerator, value.denominator) for symbol, value in numbers.items()}
