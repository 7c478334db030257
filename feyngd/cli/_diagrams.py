"""`feyngd diagrams`: the diagrams of an order, without JAX."""

import argparse
from itertools import islice
from pathlib import Path

from ..errors import ArgumentError
from ._ending import leaves
from ._options import COUNTED, Parser, bars, check_choice

_LISTED = 14  # the highest order whose trees, which come before the first diagram, are found in seconds
_LISTED_PER_MINUTE = 150_000  # measured on one core at orders 6 and 7

_EXAMPLE = """example:
  $ feyngd diagrams 2
  [a a]    (01-02)(0-12)    |Aut| = 2   tr(HC)
  [a b]    (01-02)(0-1-2)   |Aut| = 2   GHG
  [a[a]]   (01-12)(0-12)    |Aut| = 1   κ[h_ij, g_j] G_i
  [a[b]]   (01-12)(0-1-2)   |Aut| = 1   GHG
  4 diagrams of order 2; the independent count is 4
"""


def add_diagrams(program: Parser, name: str) -> None:
    """Add the command to the program."""
    parser = program.add_command(name, _run, "list the diagrams of an order", _EXAMPLE)
    parser.add_argument("order", type=int, help="number of edges")
    parser.add_argument("--root-tied", action="store_true", help="also those whose root is tied to other nodes")
    parser.add_argument("--basis", default="cumulant", help="of the tensor expression: cumulant (default) or moment")
    parser.add_argument("--limit", type=int, help="list only the first ones (default: all, if there are not too many)")
    parser.add_argument("--svg", metavar="FILE", help="draw those listed into an SVG file")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _run(options: argparse.Namespace) -> int:
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
    if options.order > COUNTED:
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
