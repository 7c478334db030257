"""`feyngd shift`: how far train and test minimum are apart, what it costs, and whether it is more than sampling."""

import argparse
import json
from pathlib import Path
from typing import Any

from .._version import __version__
from ..errors import ArgumentError
from ._ending import CONTRADICTED, REFUSED, leaves, tell
from ._flags import in_flags
from ._landscape_file import landscape_from
from ._options import Parser, add_digits, check_seed

_PENALTY = 0.01  # of digits models, whose minima would be at infinity without
_SHARE = 1 / 3

_EXAMPLE = """examples:
  $ feyngd shift
      logistic regression on scikit-learn's digits, a third of them at random as test data; shift.png and shift.json in
      ./shift

  $ cat own.py
  import jax.numpy as jnp, feyngd as fd
  data, test = jnp.array([0.0, 1.0]), jnp.array([1.0, 1.5])
  landscape = fd.Landscape(lambda theta, x: (theta - x) ** 2, data, test, reading="conditional")
  params = jnp.array(0.2)
  $ feyngd shift own.py --temperature 0.01 --json
      a landscape and a start of your own: all numbers as JSON on the standard output
"""


def add_shift(program: Parser, name: str) -> None:
    """Add the command to the program."""
    parser = program.add_command(name, _run, "measure the shift between train and test minimum, and its cost", _EXAMPLE)
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE.py",
        help="defines `landscape`, conditional, and `params`, the start; runs in double precision (default: digits)",
    )
    parser.add_argument("--out", default="shift", metavar="FOLDER", help="where the files go (default ./shift)")
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="print all numbers as JSON in place of the text, or write them to this file too",
    )
    parser.add_argument("--temperature", type=float, metavar="T", help="η/B, for what fluctuations add (default: none)")
    parser.add_argument("--penalty", type=float, help=f"α of α|θ|²/2 (default {_PENALTY} on digits, 0 with a file)")
    parser.add_argument("--method", default="auto", help="auto (default), dense or krylov")
    parser.add_argument("--num-samples", type=int, default=16, help="draws of noise in krylov (default 16)")
    parser.add_argument("--max-steps", type=int, default=64, help="most Hessian-vector products for each (default 64)")
    parser.add_argument("--model", help="on digits: logistic (default), mlp or convnet")
    add_digits(parser)
    parser.add_argument("--file-order", action="store_true", help="on digits: the last third as test data, unshuffled")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")


def _run(options: argparse.Namespace) -> int:
    import jax

    from .._files import check_writable, replace_file, write_json
    from ..companions.shift_curvature import shift_report
    from ..drawing import drawn, require_matplotlib

    check_seed(options)
    if options.file is not None and (given := [n for n in ("model", "limit") if getattr(options, n) is not None]):
        raise ArgumentError(f"--{given[0]} is for digits, and {options.file} has its own landscape: leave one out.")
    if options.json not in (None, "-") and not Path(options.json).resolve().parent.is_dir():
        raise ArgumentError(f"--json {options.json} is in a folder that is not there: make it, or name another file.")
    folder = check_writable(options.out)
    require_matplotlib()
    leaves(options, folder)
    for_digits, for_report = jax.random.split(jax.random.key(options.seed))
    with jax.enable_x64(True):
        if options.file is None:
            landscape, params = _digits(options, for_digits)
            penalty = _PENALTY if options.penalty is None else options.penalty
        else:
            landscape, params = landscape_from(options.file)
            penalty = options.penalty or 0.0
        report = shift_report(
            landscape,
            params,
            temperature=options.temperature,
            penalty=penalty,
            method=options.method,
            num_samples=options.num_samples,
            max_steps=options.max_steps,
            key=for_report,
        )
        source = f"digits, {options.model or 'logistic'}" if options.file is None else Path(options.file).name
        record = {"source": source, "seed": options.seed, "version": __version__, **report.to_dict()}
        picture = drawn(report.figure(), "png")
    replace_file(folder / "shift.png", picture)
    write_json(folder / "shift.json", record)
    if options.json == "-":
        print(json.dumps(record, indent=1, allow_nan=False))
    else:
        print(f"{report}\n\nwritten: {folder / 'shift.png'}, {folder / 'shift.json'}")
        if options.json is not None:
            write_json(Path(options.json), record)
    for part, reason in report.refused.items():
        tell(f"no {_PARTS[part]}: {in_flags(reason, options.flags)}")
    if report.refused:
        return REFUSED
    return (
        0 if all(end.gradient_norm <= _TOLERANCE for end in (report.shift.train, report.shift.test)) else CONTRADICTED
    )


_PARTS = {"test": "comparison with sampling", "local": "fluctuations"}
_TOLERANCE = 1e-6  # of `shift`


def _digits(options: argparse.Namespace, key: Any) -> tuple[Any, Any]:
    """Return a digits model, its data parted in train and test data, and a start in double precision."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from ..landscapes import Landscape, digits_landscape

    for_params, for_order = jax.random.split(key)
    landscape, params = digits_landscape(options.model or "logistic", options.limit, key=for_params)
    count = landscape.num_examples
    test = round(count * _SHARE)
    if not 1 <= test < count:
        raise ArgumentError(f"A third of the images are test data: --limit is at least 3; got {count}.")
    order = np.arange(count) if options.file_order else np.asarray(jax.random.permutation(for_order, count))
    parts = (
        jax.tree.map(lambda leaf, rows=rows: leaf[rows], landscape.data) for rows in (order[:-test], order[-test:])
    )
    start = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), params)
    return Landscape(landscape.loss, *parts, reading="conditional"), start
