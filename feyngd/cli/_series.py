"""`feyngd series`: closed forms of expected losses, without JAX."""

import argparse
from typing import Any

from ..errors import ArgumentError
from ._optimizer_options import add_optimizer, optimizer_of
from ._options import Parser, add_sizes, check_choice, check_order_cost, spacetime_of

_EXAMPLE = """example:
  $ feyngd series gap --order 1 --basis cumulant
  gap to order η^1, cumulant basis, reshuffled, N, B, E
    η^1   E/B   a[a]   tr(C)

  $ feyngd series test_loss --order 2 --sampling full-batch -N 10 -T T --format latex
  $ feyngd series test_loss --order 1 --sampling full-batch --momentum beta
  $ feyngd series test_loss_variance --order 3 --basis cumulant
"""
_SYMBOLS = {"N": "N", "B": "B", "E": "E", "T": "T"}


def add_series(program: Parser, name: str) -> None:
    """Add the command to the program."""
    parser = program.add_command(name, _run, "print a closed-form series of an expected loss", _EXAMPLE)
    parser.add_argument(
        "quantity",
        nargs="?",
        default="test_loss",
        help="test_loss (default), train_loss, gap, test_loss_variance, train_loss_variance or covariance",
    )
    parser.add_argument("--order", type=int, default=2, help="highest power of η, the learning rate (default 2)")
    parser.add_argument("--basis", default="moment", help="moment (default) or cumulant")
    parser.add_argument("--format", default="text", help="text (default), latex, sympy or json")
    add_sizes(parser, "a whole number or a name for a symbol", {name: f"the symbol {name}" for name in _SYMBOLS})
    add_optimizer(parser, symbols=True)


def _run(options: argparse.Namespace) -> int:
    from ..quantities import SERIES, SPREADS
    from ..series import expand

    check_choice("--format", options.format, ("text", "latex", "sympy", "json"))
    check_choice("quantity", options.quantity, (*SERIES, *SPREADS))
    check_choice("--basis", options.basis, ("moment", "cumulant"))
    spacetime = spacetime_of(options, _SYMBOLS)
    optimizer = optimizer_of(options, [spacetime], symbols=True)
    check_order_cost(options.order, options.quantity)
    made_of = {"spacetime": spacetime, "basis": options.basis, "optimizer": optimizer}
    series = expand(options.quantity, order=options.order, **made_of)
    writers = {
        "text": lambda: str(series),
        "latex": series.latex,
        "sympy": lambda: _sympy_text(series),
        "json": series.to_json,
    }
    print(writers[options.format]())
    return 0


def _sympy_text(series: Any) -> str:
    try:
        return str(series.to_sympy())
    except ArgumentError as error:  # two symbols of one name
        given = ", ".join(sorted(symbol.name for symbol in series.spacetime.symbols))
        raise ArgumentError(
            f"Among {given} is a name that stands for something else in the formula: give that size another."
        ) from error
