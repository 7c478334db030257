"""The optimizer of a command: its options, and what they make for the steps of a spacetime."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from ._options import Parser


def add_optimizer(parser: Parser, *, symbols: bool) -> None:
    """Add the optimizer; `symbols` says whether names for symbols are allowed in place of numbers."""
    number = "a number from 0 to below 1" + (", or a name for a symbol" if symbols else "")
    group = parser.add_argument_group("optimizer", "without any plain SGD at a constant learning rate")
    group.add_argument("--momentum", dest="beta", metavar="β", help=f"of PyTorch and optax: {number} (default 0)")
    group.add_argument("--nesterov", action="store_true", help="look ahead: steps go by g + β u")
    group.add_argument(
        "--ema", metavar="ρ", help=f"measure at an exponential average: {number} (default: last iterate)"
    )
    group.add_argument(
        "--schedule", help="cosine, linear, or a file with a multiplier for every step (default: constant rate)"
    )
    group.add_argument("--warmup", type=int, default=0, help="steps that rise from 0, with a schedule (default 0)")


def optimizer_of(options: argparse.Namespace, spacetimes: Sequence[Any], *, symbols: bool = False) -> Any:
    """Return the optimizer that was asked for.

    Args:
        options: what was given.
        spacetimes: all with the same number of steps where there is a schedule.
        symbols: whether names stand for symbols.

    Raises:
        ArgumentError: a number, name or file is not allowed, or the schedule has another number of steps.
    """
    from ..optimizers import Recipe

    taken = {symbol.name for spacetime in spacetimes for symbol in spacetime.symbols} | {"eta", "η"}
    recipe = Recipe.read(
        {
            "momentum": _number("--momentum", options.beta or "0", symbols, taken),
            "nesterov": options.nesterov,
            "ema": None if options.ema is None else _number("--ema", options.ema, symbols, taken),
            "schedule": _schedule(options.schedule),
            "warmup": options.warmup,
        }
    )
    if options.nesterov and options.beta is None:
        raise ArgumentError("--nesterov is a momentum: give --momentum 0.9 with it.")
    made = {recipe.make(spacetime.T) for spacetime in spacetimes}
    if len(made) > 1:
        raise ArgumentError("--schedule is for runs of one number of steps: give one spacetime.")
    return made.pop()


def _number(flag: str, text: str, symbols: bool, taken: set[str]) -> Any:
    """Return a number as it is written, exactly, or a symbol."""
    from fractions import Fraction

    from sympy import Symbol

    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        pass
    if not symbols or not text.isidentifier():
        allowed = "neither a number nor a name for a symbol" if symbols else "no number: give one such as 0.9 or 9/10"
        raise ArgumentError(f"{flag} {text} is {allowed}.")
    if text in taken:
        raise ArgumentError(f"{flag} {text} is the name of something else in the formula: give the symbol another.")
    return Symbol(text)


def _schedule(given: str | None) -> Any:
    """Return a schedule by its name, or the numbers in a file."""
    from ..optimizers import SCHEDULES

    if given is None or given in SCHEDULES:
        return given
    try:
        words = Path(given).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ArgumentError(
            f"--schedule {given} is neither {' nor '.join(SCHEDULES)}, nor a file that can be read ({reason})."
        ) from error
    return [
        _number(f"The multiplier of step {step} in {given},", word, False, set()) for step, word in enumerate(words)
    ]
