"""`feyngd anchor`: learning curves of whole training runs on digits, predicted and simulated."""

import argparse

from .._version import __version__
from ._ending import CONTRADICTED, leaves
from ._options import Parser, add_drop_last, add_path, bars, check_seed, check_whole, drop_last_of

_EXAMPLE = """examples:
  $ feyngd anchor
      an MLP on scikit-learn's digits, from its random start through 160 steps: predicted learning curves for B = 10,
      20, 40, 80 and N = 400, 1600 from one computation, simulated ones over them; anchor.png and .json in ./anchor

  $ feyngd anchor --model logistic --learning-rate 0.5 -N 320 640 -B 8 16 --steps 80 --out curves
"""


def add_anchor(program: Parser, name: str) -> None:
    """Add the command to the program."""
    parser = program.add_command(name, _run, "predict learning curves on digits and simulate them", _EXAMPLE)
    parser.add_argument("--out", default="anchor", metavar="FOLDER", help="where the files go (default ./anchor)")
    parser.add_argument(
        "-N", type=int, nargs="+", default=[400, 1600], help="training points, one or more numbers (default 400 1600)"
    )
    parser.add_argument(
        "-B", type=int, nargs="+", default=[10, 20, 40, 80], help="batch sizes, in points (default 10 20 40 80)"
    )
    parser.add_argument("--steps", type=int, default=160, help="steps of every run (default 160)")
    add_drop_last(parser)
    parser.add_argument("--runs", type=int, default=200, help="simulated runs of every curve (default 200)")
    add_path(parser)


def _run(options: argparse.Namespace) -> int:
    import jax

    from .._files import check_writable
    from ..landscapes import digits_landscape
    from ..spacetimes import Spacetime
    from ..studies import anchor_study

    check_seed(options)
    check_whole(N=options.N, B=options.B, steps=[options.steps])
    length = {"T": options.steps, "drop_last": drop_last_of(options)}
    spacetimes = [Spacetime.sgd(N, B, **length) for N in options.N for B in options.B]
    folder = check_writable(options.out)
    leaves(options, folder)
    for_params, for_study = jax.random.split(jax.random.key(options.seed))
    landscape, params = digits_landscape(options.model, options.limit, key=for_params)
    curves = anchor_study(
        landscape,
        params,
        spacetimes,
        options.learning_rate,
        folder,
        runs=options.runs,
        num_samples=options.num_samples,
        report=lambda text: print(f"{text}\n", flush=True),
        progress=bars(options),
        about={"version": __version__, "model": options.model, "data": "digits", "seed": options.seed},
        key=for_study,
    )
    print(f"written: {folder / 'anchor.png'}, {folder / 'anchor.json'}")
    return 0 if all(curve.agrees for curve in curves) else CONTRADICTED
