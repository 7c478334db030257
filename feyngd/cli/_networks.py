"""Small learning rates, sweeps and the papers' experiments on the command line: `predict`, `sweep`, `reproduce`."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from .. import __version__
from ..errors import ArgumentError
from ._ending import CONTRADICTED, leaves
from ._options import Parser, add_sizes, bars, check_seed, spacetime_of
from ._symbolic import check_order_cost

_LEARNING_RATES = (0.0025, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03)
_IMAGES = 500  # in experiments: every simulated run ends with the loss on each image
_SIZES = {"N": "10", "B": "1", "E": "1", "T": "10"}

_PREDICT_EXAMPLE = """examples:
  $ feyngd predict
      the convnet on scikit-learn's digits: vanilla SGD with N = T = 10, then B = 2, E = 2 reshuffled, at nine learning
      rates; tables here, prediction.png and prediction.json in ./demo

  $ feyngd predict --model logistic -N 20 -B 4 -E 3 --learning-rates 0.01 0.02 0.05 --quantity gap --out gap
"""
_SWEEP_EXAMPLE = """example:
  $ cat sweep.toml
  models = ["convnet", "logistic"]
  N = [10, 20]
  B = [1, 2]
  E = [1, 2]
  sampling = ["reshuffled"]
  learning_rates = [0.005, 0.01]
  seeds = [0, 1]
  quantity = "test_loss"
  order = 3
  runs = 2000
  replicates = 16
  $ feyngd sweep sweep.toml --out results
      2 × 2 × 2 × 2 × 2 configurations, a JSON and an NPZ file for each; the same command again goes on where it was
"""
_REPRODUCE_EXAMPLE = """examples:
  $ feyngd reproduce --list
      the experiments' names, what they show, and where in the papers they are

  $ feyngd reproduce basic-predictions multi-epoch
      claims with their verdicts here; basic-predictions.png and .json, multi-epoch.png and .json in ./reproduce

  $ feyngd reproduce batch-size --cifar10 cifar-10-batches-py --out cifar
      the convnet on the first 500 images of CIFAR-10, whose published files are in that folder
"""


def add_network_commands(command: Callable[..., Parser]) -> None:
    """Add the commands, each made by `command(name, run, text, example)`."""
    predict = command("predict", _predict, "predict SGD's loss on digits and check it by simulation", _PREDICT_EXAMPLE)
    predict.add_argument("--out", default="demo", metavar="FOLDER", help="where the files go (default ./demo)")
    predict.add_argument("--model", default="convnet", help="convnet (default), mlp or logistic")
    predict.add_argument("--quantity", default="test_loss", help="test_loss (default), train_loss or gap")
    predict.add_argument("--order", type=int, default=3, help="highest power of η, the learning rate (default 3)")
    predict.add_argument(
        "--learning-rates",
        type=float,
        nargs="+",
        default=_LEARNING_RATES,
        metavar="η",
        help=f"of every step: θ becomes θ − η ∇l (default {' '.join(map(str, _LEARNING_RATES))})",
    )
    predict.add_argument("--runs", type=int, default=2000, help="simulated runs at every learning rate (default 2000)")
    predict.add_argument(
        "--replicates", type=int, default=16, help="random pairings behind every sampled value (default 16)"
    )
    predict.add_argument("--limit", type=int, help="use only the first images of the digits (default: all 1797)")
    predict.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    predict.add_argument("--quiet", action="store_true", help="no progress bars")
    add_sizes(predict, "whole numbers; without any the two spacetimes of the first example", _SIZES)

    sweep = command("sweep", _sweep, "predict and simulate all combinations of a file, resumably", _SWEEP_EXAMPLE)
    sweep.add_argument("config", metavar="CONFIG.toml", help="what to combine: see the example")
    sweep.add_argument("--out", default="sweep", metavar="FOLDER", help="where the files go (default ./sweep)")
    sweep.add_argument("--quiet", action="store_true", help="no progress bars")

    again = command(
        "reproduce", _reproduce, "repeat the papers' experiments and judge their claims", _REPRODUCE_EXAMPLE
    )
    again.add_argument("names", nargs="*", metavar="NAME", help="experiments, see --list; all by default")
    again.add_argument("--list", action="store_true", help="list the experiments and leave")
    again.add_argument("--out", default="reproduce", metavar="FOLDER", help="where the files go (default ./reproduce)")
    again.add_argument("--quick", action="store_true", help="fewer runs and smaller problems, to see that all works")
    images = again.add_mutually_exclusive_group()
    images.add_argument("--cifar10", metavar="FOLDER", help="networks on CIFAR-10 instead of scikit-learn's digits")
    images.add_argument("--fashion-mnist", metavar="FOLDER", help="networks on Fashion-MNIST")
    again.add_argument("--limit", type=int, help=f"how many images, from the first (default {_IMAGES})")
    again.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    again.add_argument("--quiet", action="store_true", help="no progress bars")


def _predict(options: argparse.Namespace) -> int:
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
        runs=options.runs,
        replicates=options.replicates,
        report=lambda table: print(f"\n{table}", flush=True),
        progress=bars(options),
        about={"version": __version__, "model": options.model, "data": "digits", "seed": options.seed},
        key=for_study,
    )
    print(f"\nwritten: {folder / 'prediction.png'}, {folder / 'prediction.json'}")
    if not all(comparison.passed for comparison in comparisons):
        _say({comparison.verdict for comparison in comparisons})
        return CONTRADICTED
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from ..studies import sweep

    leaves(options, options.out)
    result = sweep(
        options.config,
        options.out,
        progress=bars(options, leave=False),
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(result)
    _say({outcome.verdict for outcome in result.outcomes})
    if not result.passed:
        return CONTRADICTED
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    from ..experiments import EXPERIMENTS, reproduce

    if options.list:
        for one in EXPERIMENTS.values():
            print(f"{one.name:<{max(map(len, EXPERIMENTS))}}   {one.title} ({one.source})")
        return 0
    leaves(options, options.out)
    outcomes = reproduce(
        options.names or "all",
        options.out,
        quick=options.quick,
        images=_images(options),
        report=lambda text: print(f"{text}\n", flush=True),
        progress=bars(options, leave=False),
        seed=options.seed,
    )
    if failed := [name for name, outcome in outcomes.items() if outcome.holds is False]:
        print(f"a claim does NOT HOLD in {', '.join(failed)}", file=sys.stderr)
        return CONTRADICTED
    return 0


def _images(options: argparse.Namespace) -> Any:
    """Return the images and labels that were asked for."""
    from ..landscapes import digits, load_cifar10, load_fashion_mnist

    try:
        if options.cifar10 is not None:
            images, labels = load_cifar10(options.cifar10)
        elif options.fashion_mnist is not None:
            images, labels = load_fashion_mnist(options.fashion_mnist)
        else:
            images, labels = digits()
    except OSError as error:
        raise ArgumentError(f"Cannot read {error.filename!r} ({error.strerror}): name a folder of images.") from error
    limit = min(_IMAGES, len(labels)) if options.limit is None else options.limit
    if not 1 <= limit <= len(labels):
        raise ArgumentError(f"--limit is from 1 to {len(labels)}, the number of images; got {limit}.")
    return images[:limit], labels[:limit]


def _say(verdicts: set[str]) -> None:
    """Say what is wrong with comparisons that have such verdicts."""
    if "DIFFERS" in verdicts:
        print("prediction and simulation DIFFER at a converged learning rate", file=sys.stderr)
    if "not converged" in verdicts:
        print(
            "a prediction has not converged at any learning rate, and is not tested: take smaller ones", file=sys.stderr
        )
