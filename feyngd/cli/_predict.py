"""`feyngd predict`: small learning rates on digits, predicted and simulated."""

import argparse

from .._version import __version__
from ._ending import CONTRADICTED, leaves, tell_verdicts
from ._optimizer_options import add_optimizer, optimizer_of
from ._options import (
    Parser,
    add_digits,
    add_seed_and_quiet,
    add_sizes,
    bars,
    check_order_cost,
    check_seed,
    spacetime_of,
)

_LEARNING_RATES = (0.0025, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03)
_SIZES = {"N": "10", "B": "1", "E": "1", "T": "10"}

_EXAMPLE = """examples:
  $ feyngd predict
      the convnet on scikit-learn's digits: vanilla SGD with N = T = 10, then B = 2, E = 2 reshuffled, at nine learning
      rates; tables here, prediction.png and prediction.json in ./demo

  $ feyngd predict --model logistic -N 20 -B 4 -E 3 --learning-rates 0.01 0.02 0.05 --quantity gap --out gap
  $ feyngd predict -N 10 -B 4 -T 8 --drop-last False --momentum 0.9 --schedule cosine --warmup 2
"""


def add_predict(program: Parser, name: str) -> None:
    """Add the command to the program."""
    parser = program.add_command(name, _run, "predict SGD's loss on digits and check it by simulation", _EXAMPLE)
    parser.add_argument("--out", default="demo", metavar="FOLDER", help="where the files go (default ./demo)")
    parser.add_argument("--model", default="convnet", help="convnet (default), mlp or logistic")
    parser.add_argument("--quantity", default="test_loss", help="test_loss (default), train_loss or gap")
    parser.add_argument("--order", type=int, default=3, help="highest power of η, the learning rate (default 3)")
    parser.add_argument(
        "--learning-rates",
        type=float,
        nargs="+",
        default=_LEARNING_RATES,
        metavar="η",
        help=f"of every step: θ becomes θ − η ∇l (default {' '.join(map(str, _LEARNING_RATES))})",
    )
    parser.add_argument("--runs", type=int, default=2000, help="simulated runs at every learning rate (default 2000)")
    parser.add_argument(
        "--replicates", type=int, help="random pairings behind every sampled value (default: as many as are needed)"
    )
    add_digits(parser)
    add_seed_and_quiet(parser)
    add_sizes(parser, "whole numbers; without any the two spacetimes of the first example", _SIZES)
    add_optimizer(parser, symbols=False)


def _run(options: argparse.Namespace) -> int:
    import jax

    from .._files import check_writable
    from ..landscapes import digits_landscape
    from ..spacetimes import Spacetime
    from ..studies import study

    check_seed(options)
    if all(getattr(options, name) is None for name in (*_SIZES, "sampling")):
        spacetimes = [Spacetime.sgd(N=10, B=1, E=1), Spacetime.sgd(N=10, B=2, E=2)]
    else:
        spacetimes = [spacetime_of(options, _SIZES, concrete=True)]
    optimizer = optimizer_of(options, spacetimes)
    check_order_cost(options.order, options.quantity)
    folder = check_writable(options.out)
    leaves(options, folder)
    for_params, for_study = jax.random.split(jax.random.key(options.seed))
    landscape, params = digits_landscape(options.model, options.limit, key=for_params)
    comparisons = study(
        landscape,
        params,
        spacetimes,
        options.learning_rates,
        folder,
        order=options.order,
        quantity=options.quantity,
        optimizer=optimizer,
        runs=options.runs,
        replicates=options.replicates,
        report=lambda table: print(f"\n{table}", flush=True),
        progress=bars(options),
        about={"version": __version__, "model": options.model, "data": "digits", "seed": options.seed},
        key=for_study,
    )
    print(f"\nwritten: {folder / 'prediction.png'}, {folder / 'prediction.json'}")
    if not all(comparison.passed for comparison in comparisons):
        tell_verdicts({comparison.verdict for comparison in comparisons})
        return CONTRADICTED
    return 0
