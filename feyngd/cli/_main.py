"""The command line: its parser, and how its commands are run."""

import argparse
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from .._program_cache import keep_programs
from .._terminal import spelling
from .._version import __version__
from ..errors import FeynGDError
from ._advise import add_advise
from ._anchor import add_anchor
from ._demo import add_demo
from ._diagrams import add_diagrams
from ._ending import REFUSED, STATUSES, flushed, leave_interrupted, tell, tell_failure, tell_interruption
from ._escape import add_escape
from ._flags import in_flags
from ._options import Parser
from ._predict import add_predict
from ._reproduce import add_reproduce
from ._series import add_series
from ._shift import add_shift
from ._sweep import add_sweep
from ._temperature import add_temperature

# What adds each command, in the order of the help.
_COMMANDS = {
    "demo": add_demo,
    "series": add_series,
    "diagrams": add_diagrams,
    "predict": add_predict,
    "sweep": add_sweep,
    "temperature": add_temperature,
    "reproduce": add_reproduce,
    "anchor": add_anchor,
    "advise": add_advise,
    "shift": add_shift,
    "escape": add_escape,
}
_SYMBOLIC = {"series", "diagrams"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        arguments: those of the command line; by default those that the process was started with.

    Returns:
        0 for success; 1 if simulation contradicts prediction, a claim does not hold or what is predicted has not
        converged; 2 for invalid input; 3 if output or files could not be written, or memory ran out; 130 if
        interrupted; 141 if the output was closed.

    Raises:
        SystemExit: help was asked for, or the arguments are not those of the command line.
    """
    with spelling(sys.stdout, sys.stderr):
        return _run(arguments, argparse.Namespace())


def console() -> None:
    """Run the `feyngd` command and leave."""
    options = argparse.Namespace()
    signal.signal(signal.SIGINT, lambda *_: leave_interrupted(options))
    with spelling(sys.stdout, sys.stderr):
        try:
            status = _run(None, options)
        except SystemExit as left:  # of argparse, after help or what it does not know
            status = left.code if isinstance(left.code, int) else REFUSED
        status = flushed(status, options)
    sys.exit(status)


def _run(arguments: Sequence[str] | None, options: argparse.Namespace) -> int:
    with _short_warnings(options):
        try:
            _parsed(arguments, options)
            if options.command not in _SYMBOLIC:
                _keep_programs()
            return int(options.run(options))
        except FeynGDError as error:
            tell(in_flags(str(error), options.flags))
            return REFUSED
        except (OSError, MemoryError) as error:
            return tell_failure(error, options)
        except KeyboardInterrupt:
            return tell_interruption(options)


def _keep_programs() -> None:
    """Keep compiled programs on disk, as far as there is a place for them."""
    with suppress(FeynGDError):
        keep_programs()


@contextmanager
def _short_warnings(options: argparse.Namespace) -> Iterator[None]:
    """Say warnings as the command line says things: in one line, in flags, without a place in the code."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        tell(f"warning: {in_flags(str(message), options.flags)}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _parsed(arguments: Sequence[str] | None, options: argparse.Namespace) -> argparse.Namespace:
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser()
    parser.check_command(given)
    return parser.parse_args(given, options)


def _parser() -> Parser:
    parser = Parser(prog="feyngd", description="What SGD does to a loss, by diagrams.", epilog=STATUSES)
    parser.add_argument("--version", action="version", version=f"feyngd {__version__}")
    for name, add in _COMMANDS.items():
        add(parser, name)
    parser.tell_elsewhere()
    for made in parser.commands.values():
        made.set_defaults(flags=made.flags())
    return parser
