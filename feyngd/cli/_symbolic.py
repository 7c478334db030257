"""Closed forms and diagrams on the command line, without JAX: `feyngd series` and `feyngd diagrams`."""

import argparse
from collections.abc import Callable
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from ._ending import leaves, tell
from ._options import Parser, add_sizes, bars, check_choice, spacetime_of

_COUNTED = 20  # the highest order whose diagrams are counted at once
_LISTED = 14  # the highest whose trees, which come before the first diagram, are found in seconds
_SOME = 1_000  # diagrams in a series that are worth a word before it is computed
_LISTED_PER_MINUTE = 150_000  # measured on one core at orders 6 and 7

_SERIES_EXAMPLE = """example:
  $ feyngd series gap --order 1 --basis cumulant
  gap to order η^1, cumulant basis, reshuffled, N, B, E
    η^1   E/B   a[a]   tr(C)

  $ feyngd series test_loss --order 2 --sampling full-batch -N 10 -T T --format latex
"""
_DIAGRAMS_EXAMPLE = """example:
  $ feyngd diagrams 2
  [a a]    (01-02)(0-12)    |Aut| = 2   tr(HC)
  [a b]    (01-02)(0-1-2)   |Aut| = 2   GHG
  [a[a]]   (01-12)(0-12)    |Aut| = 1   κ[h_ij, g_j] G_i
  [a[b]]   (01-12)(0-1-2)   |Aut| = 1   GHG
  4 diagrams of order 2; the independent count is 4
"""
_SYMBOLS = {"N": "N", "B": "B", "E": "E", "T": "T"}


def add_symbolic_commands(command: Callable[..., Parser]) -> None:
    """Add the commands, each made by `command(name, run, text, example)`."""
    series = command("series", _series, "print a closed-form series of an expected loss", _SERIES_EXAMPLE)
    series.add_argument("quantity", nargs="?", default="test_loss", help="test_loss (default), train_loss or gap")
    series.add_argument("--order", type=int, default=2, help="highest power of η, the learning rate (default 2)")
    series.add_argument("--basis", default="moment", help="moment (default) or cumulant")
    series.add_argument("--format", default="text", help="text (default), latex, sympy or json")
    add_sizes(series, "a whole number or a name for a symbol", {name: f"the symbol {name}" for name in _SYMBOLS})

    listing = command("diagrams", _diagrams, "list the diagrams of an order", _DIAGRAMS_EXAMPLE)
    listing.add_argument("order", type=int, help="number of edges")
    listing.add_argument("--root-tied", action="store_true", help="also those whose root is tied to other nodes")
    listing.add_argument("--basis", default="cumulant", help="of the tensor expression: cumulant (default) or moment")
    listing.add_argument("--limit", type=int, help="list only the first ones (default: all, if there are not too many)")
    listing.add_argument("--svg", metavar="FILE", help="draw those listed into an SVG file")
    listing.add_argument("--quiet", action="store_true", help="no progress bar")


def check_order_cost(order: int, quantity: str) -> None:
    """Raise `ArgumentError` where a series has too many diagrams; say how many there are where that takes long."""
    from ..diagrams import EXPANDED, count_diagrams

    if order > _COUNTED:
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


def _series(options: argparse.Namespace) -> int:
    from ..quantities import SERIES
    from ..series import expand

    check_choice("--format", options.format, ("text", "latex", "sympy", "json"))
    check_choice("quantity", options.quantity, SERIES)
    check_choice("--basis", options.basis, ("moment", "cumulant"))
    spacetime = spacetime_of(options, _SYMBOLS)
    check_order_cost(options.order, options.quantity)
    series = expand(options.quantity, order=options.order, spacetime=spacetime, basis=options.basis)
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


def _diagrams(options: argparse.Namespace) -> int:
    from .._arguments import check_order
    from ..diagrams import count_diagrams, each_diagram, tensor_expression
    from ..drawing import diagrams_svg

    check_choice("--basis", options.basis, ("moment", "cumulant"))
    order = check_order(options.order)
    _check_listing(options)
    counted = count_diagrams(order, root_tied=options.root_tied)
    limit = counted if options.limit is None else min(options.limit, counted)
    found, rows = [], []
    with bars(options, leave=False).task(limit, "diagrams") as task:
        for D in islice(each_diagram(order, root_tied=options.root_tied), limit):
            tensors = tensor_expression(D, basis=options.basis)
            rows.append((str(D), D.edge_notation(), f"|Aut| = {D.automorphisms}", tensors))
            found.append(D)
            task.advance()
    if options.svg:
        leaves(options, options.svg)
        try:
            Path(options.svg).write_text(diagrams_svg(found), encoding="utf-8")
        except OSError as error:
            raise ArgumentError(f"Cannot write {options.svg!r} ({error.strerror}): name another file.") from error
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)]
        print("   ".join([*cells, row[3]]))
    if limit < counted:
        print(f"the first {len(found)} of {counted} diagrams of order {order}")
    else:
        print(f"{len(found)} diagrams of order {order}; the independent count is {counted}")
    return 0


def _check_listing(options: argparse.Namespace) -> None:
    """Raise `ArgumentError` before a listing that would take long, unless the user says how long it is to be."""
    from ..diagrams import LISTED, count_diagrams

    if options.limit is not None and options.limit < 1:
        raise ArgumentError(f"--limit is an integer ≥ 1, got {options.limit}.")
    if options.order > _COUNTED:
        raise ArgumentError(f"Diagrams of order {options.order} are too many to list: give an order up to {_LISTED}.")
    number = count_diagrams(options.order, root_tied=options.root_tied)
    if options.order > _LISTED:
        raise ArgumentError(
            f"There are {number:,} diagrams of order {options.order}, too many to list even in part: give an order up "
            f"to {_LISTED}, or use feyngd.count_diagrams for numbers alone."
        )
    if options.limit is None and number > LISTED:
        minutes = number / _LISTED_PER_MINUTE
        raise ArgumentError(
            f"There are {number:,} diagrams of order {options.order}: listing them takes about {_round(minutes)} "
            f"minutes and {_round(number * 2e-3)} MB of memory. Give --limit 100 for the first hundred, or --limit "
            f"{number} for all."
        )


def _round(number: float) -> str:
    return f"{float(f'{number:.1g}'):,.0f}"
