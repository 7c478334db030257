"""The parser of the command line: suggestions for what was misspelled, and what several commands take."""

import argparse
import difflib
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, NoReturn

from .._arguments import check_integer
from ..errors import ArgumentError
from ..progress import Progress, Tqdm
from ._ending import tell

SAMPLINGS = ("reshuffled", "fixed", "with-replacement", "full-batch")
COUNTED = 20  # the highest order whose diagrams are counted at once
_SOME = 1_000  # diagrams in a series that are worth a word before it is computed


class Parser(argparse.ArgumentParser):
    """A parser that shows its examples as they are written, and suggests what may have been meant."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self.commands: dict[str, Parser] = {}
        self.elsewhere: dict[str, list[str]] = {}  # options of other commands, with the commands that have them
        self._command_parsers: Any = None

    def add_command(self, name: str, run: Callable[[argparse.Namespace], int], text: str, example: str) -> "Parser":
        """Add a command and return its parser.

        Args:
            name: the word that calls it.
            run: what it does with the parsed arguments; returns the exit status.
            text: what it does, in a line of help.
            example: shown below its help.
        """
        if self._command_parsers is None:
            self._command_parsers = self.add_subparsers(required=True, metavar="COMMAND")
        made: Parser = self._command_parsers.add_parser(name, help=text, description=text, epilog=example)
        made.set_defaults(run=run, command=name)
        self.commands[name] = made
        return made

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # its types are private
        """Parse arguments; those that are unknown are refused by the command that does not know them."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self._refuse("option" if unknown[0].startswith("-") else "argument", unknown[0], self._flags())
        return found, unknown

    def check_command(self, args: Sequence[str]) -> None:
        """Leave with a suggestion if the first argument is neither a command nor an option."""
        if args and args[0].startswith("-") and args[0] not in self._flags():
            self.error(f"{args[0]} is no option of feyngd itself: options come after the command")
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            self._refuse("command", args[0], self.commands)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write a message; unlike argparse's own, one that cannot be written raises OSError."""
        file = sys.stderr if file is None else file
        if message and file is not None:
            file.write(message)

    def flags(self) -> dict[str, str]:
        """Return the flag of every argument, in its long form."""
        return {action.dest: action.option_strings[-1] for action in self._actions if action.option_strings}

    def _flags(self) -> list[str]:
        return [flag for action in self._actions for flag in action.option_strings]

    def tell_elsewhere(self) -> None:
        """Let every command know the options of the others."""
        for name, made in self.commands.items():
            others = [(other, flag) for other, parser in self.commands.items() for flag in parser._flags()]
            for other, flag in others:
                if other != name and flag not in made._flags():
                    made.elsewhere.setdefault(flag, []).append(other)

    def _refuse(self, what: str, given: str, known: Iterable[str]) -> NoReturn:
        if commands := self.elsewhere.get(given.partition("=")[0]):
            self.error(f"{given.partition('=')[0]} is an option of {' and '.join(commands)}, and not of this command")
        self.error(f"unknown {what} {given!r}{_suggestion(given.partition('=')[0], known)}")


def _suggestion(given: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
    if near:
        return f": did you mean {near[0]}?"
    return f"; there are {', '.join(known)}"


def check_choice(what: str, given: str, known: Iterable[str]) -> str:
    """Return one of a few words, or raise `ArgumentError` with a suggestion."""
    known = list(known)
    if given in known:
        return given
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    raise ArgumentError(f"Unknown {what} {given!r}. Known: {', '.join(map(repr, known))}.{meant}")


def check_seed(options: argparse.Namespace) -> None:
    """Raise `ArgumentError` for a seed outside 0 to 2³² − 1."""
    if not 0 <= options.seed < 2**32:
        raise ArgumentError(f"The seed is an integer from 0 to {2**32 - 1}; --seed {options.seed} is not.")


def check_whole(**sizes: Iterable[int]) -> None:
    """Raise `ArgumentError` unless all sizes are at least 1."""
    for name, values in sizes.items():
        for value in values:
            check_integer(name, value, least=1)


def check_order_cost(order: int, quantity: str) -> None:
    """Raise `ArgumentError` where a series has too many diagrams; say how many there are where that takes long."""
    from ..diagrams import EXPANDED, count_diagrams

    if order > COUNTED:
        raise ArgumentError(f"A series to --order {order} has more diagrams than can be summed: give a lower --order.")
    up_to = list(accumulate(count_diagrams(k, root_tied=quantity != "test_loss") for k in range(order + 1)))
    number = up_to[-1] if up_to else 0  # a negative order is refused by the library
    if number > EXPANDED:
        highest = sum(count <= EXPANDED for count in up_to) - 1
        raise ArgumentError(
            f"The series to order {order} has {number:,} diagrams, each with a closed form to find, which takes hours: "
            f"give --order {highest} or lower."
        )
    if number > _SOME:
        tell(f"{number:,} diagrams up to order {order}, each with a closed form to find: this takes minutes")


def bars(options: argparse.Namespace, **given: Any) -> Progress:
    """Return bars, unless the user wants quiet or they would go into a file or a pipe."""
    return Progress() if options.quiet else Tqdm(disable=None, **given)


def add_digits(parser: argparse.ArgumentParser) -> None:
    """Add how many of scikit-learn's digits are used."""
    parser.add_argument("--limit", type=int, help="use only the first images of the digits (default: all 1797)")


def add_seed_and_quiet(parser: argparse.ArgumentParser) -> None:
    """Add the seed, and whether to show progress."""
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def add_path(parser: argparse.ArgumentParser) -> None:
    """Add what the path of a whole training run on digits takes."""
    parser.add_argument("--model", default="mlp", help="mlp (default), convnet or logistic")
    parser.add_argument(
        "--learning-rate", type=float, default=0.2, metavar="η", help="of every step: θ becomes θ − η ∇l (default 0.2)"
    )
    parser.add_argument("--num-samples", type=int, default=64, help="draws of noise along the path (default 64)")
    add_digits(parser)
    add_seed_and_quiet(parser)


def add_sizes(parser: argparse.ArgumentParser, text: str, defaults: dict[str, str]) -> None:
    """Add the sizes and the sampling of a spacetime; `defaults` are for the help."""
    group = parser.add_argument_group("spacetime", text)
    group.add_argument("-N", help=f"training points (default {defaults['N']})")
    group.add_argument("-B", help=f"batch size, in points (default {defaults['B']})")
    group.add_argument("-E", help=f"epochs (default {defaults['E']})")
    group.add_argument("-T", help=f"steps, instead of epochs (full batch: default {defaults['T']})")
    group.add_argument("--sampling", help="reshuffled (default), fixed, with-replacement or full-batch")
    add_drop_last(group)


def add_drop_last(group: Any) -> None:
    """Add what becomes of the points that full batches leave."""
    group.add_argument("--drop-last", help="the rest where B does not divide N: True or False (no default)")


def drop_last_of(options: argparse.Namespace) -> bool | None:
    """Return what becomes of the points that full batches leave; `None` if it was not said."""
    if options.drop_last is None:
        return None
    return check_choice("--drop-last", options.drop_last.capitalize(), ("True", "False")) == "True"


def spacetime_of(options: argparse.Namespace, defaults: dict[str, str], *, concrete: bool = False) -> Any:
    """Return the spacetime that was asked for.

    Args:
        options: what was given.
        defaults: sizes that were not given.
        concrete: whether sizes are numbers; else they may be names for symbols.
    """
    from ..spacetimes import Spacetime

    sampling = check_choice("--sampling", options.sampling or "reshuffled", SAMPLINGS)

    def size(name: str) -> Any:
        given = getattr(options, name)
        text = defaults.get(name) if given is None else given
        return None if text is None else _size(name, text, concrete)

    drop_last = drop_last_of(options)
    if sampling == "full-batch":
        if options.B is not None or options.E is not None:
            raise ArgumentError("Full batch has B = N and counts steps: give -N and -T, not -B or -E.")
        return Spacetime.gd(size("N"), size("T"))
    epochs = None if options.T is not None and options.E is None else size("E")
    steps = size("T") if options.T is not None else None
    return Spacetime.sgd(size("N"), size("B"), epochs, T=steps, sampling=sampling, drop_last=drop_last)


def _size(name: str, text: str, concrete: bool) -> Any:
    """Return a size as a number or a symbol."""
    from sympy import Symbol

    least = 1 if name in "NB" else 0
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is not None:
        if number < least:
            raise ArgumentError(f"-{name} {text} is not allowed: give a whole number ≥ {least}.")
        return number
    if not text.isidentifier():
        raise ArgumentError(f"-{name} {text!r} is neither a whole number nor a name for a symbol.")
    if concrete:
        raise ArgumentError(
            f"-{name} {text} is a symbol, and training runs only on a concrete spacetime: give a whole number. "
            "Closed forms in symbols are printed by `feyngd series`."
        )
    if text in ("eta", "η"):
        raise ArgumentError(f"-{name} {text} is the name of the learning rate: give the symbol another name.")
    return Symbol(text, integer=True, positive=True)
