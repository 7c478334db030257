"""The command line: its parser, and the commands on series, small learning rates, sweeps and experiments."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import ArgumentError, FeynGDError
from ._anchored import add_anchored_commands

_LEARNING_RATES = (0.0025, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03)
_IMAGES = 500  # in experiments: every simulated run ends with the loss on each image

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 for success, 1 if simulation contradicts prediction or a claim
    does not hold, 2 for bad input, 130 if interrupted."""
    return _run(_parser().parse_args(arguments))


def console() -> None:
    """Run the `feyngd` command and leave."""
    options = _parser().parse_args()

    def leave(*_: Any) -> None:
        # At once: JAX can swallow a KeyboardInterrupt, and an ordinary exit can crash under XLA's threads.
        os.write(2, f"{_interrupted(options)}\n".encode())
        os._exit(130)

    signal.signal(signal.SIGINT, leave)
    sys.exit(_run(options))


def _run(options: argparse.Namespace) -> int:
    try:
        return int(options.run(options))
    except FeynGDError as error:
        print(f"feyngd: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(_interrupted(options), file=sys.stderr)
        return 130


def _interrupted(options: argparse.Namespace) -> str:
    return f"feyngd: interrupted{getattr(options, 'on_interrupt', '')}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="feyngd", description="What SGD does to a loss, by diagrams.")
    parser.add_argument("--version", action="version", version=f"feyngd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str, example: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=example,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        return made

    series = command("series", _series, "print a closed-form series of an expected loss", _SERIES_EXAMPLE)
    series.add_argument("quantity", nargs="?", default="test_loss", help="test_loss (default), train_loss or gap")
    series.add_argument("--order", type=int, default=2, help="highest power of η (default 2)")
    series.add_argument("--basis", default="moment", help="moment (default) or cumulant")
    series.add_argument("--format", default="text", choices=["text", "latex", "sympy", "json"])
    _add_sizes(series, "a number or a name for a symbol")

    listing = command("diagrams", _diagrams, "list the diagrams of an order", _DIAGRAMS_EXAMPLE)
    listing.add_argument("order", type=int, help="number of edges")
    listing.add_argument("--root-tied", action="store_true", help="also those whose root is tied to other nodes")
    listing.add_argument("--basis", default="cumulant", help="of the tensor expression: cumulant (default) or moment")
    listing.add_argument("--svg", metavar="FILE", help="draw them all into an SVG file")

    predict = command("predict", _predict, "predict SGD's loss on digits and check it by simulation", _PREDICT_EXAMPLE)
    predict.add_argument("--out", default="demo", metavar="FOLDER", help="where the files go (default ./demo)")
    predict.add_argument("--model", default="convnet", help="convnet (default), mlp or logistic")
    predict.add_argument("--quantity", default="test_loss", help="test_loss (default), train_loss or gap")
    predict.add_argument("--order", type=int, default=3, help="highest power of η (default 3)")
    predict.add_argument("--learning-rates", type=float, nargs="+", default=_LEARNING_RATES, metavar="η")
    predict.add_argument("--runs", type=int, default=2000, help="simulated runs at every learning rate (default 2000)")
    predict.add_argument("--replicates", type=int, default=16, help="random pairings of examples (default 16)")
    predict.add_argument("--limit", type=int, help="use only the first images of the digits")
    predict.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    predict.add_argument("--quiet", action="store_true", help="no progress bars")
    _add_sizes(predict, "a number; without sizes the two spacetimes of the first example")

    sweep = command("sweep", _sweep, "predict and simulate all combinations of a file, resumably", _SWEEP_EXAMPLE)
    sweep.add_argument("config", metavar="CONFIG.toml", help="what to combine: see the example")
    sweep.add_argument("--out", default="sweep", metavar="FOLDER", help="where the files go (default ./sweep)")
    sweep.add_argument("--quiet", action="store_true", help="no progress bars")

    add_anchored_commands(command)

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
    return parser


def _add_sizes(parser: argparse.ArgumentParser, text: str) -> None:
    group = parser.add_argument_group("spacetime", text)
    group.add_argument("-N", help="training points")
    group.add_argument("-B", help="batch size")
    group.add_argument("-E", help="epochs")
    group.add_argument("-T", help="steps, instead of epochs")
    group.add_argument("--sampling", help="reshuffled (default), fixed, with-replacement or full-batch")


def _spacetime(options: argparse.Namespace, defaults: dict[str, str]) -> Any:
    from sympy import Symbol

    from ..spacetimes import Spacetime

    def size(name: str) -> Any:
        text = getattr(options, name) or defaults.get(name)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError:
            pass
        if not text.isidentifier():
            raise ArgumentError(f"-{name} {text!r} is neither a whole number nor a name for a symbol.")
        return Symbol(text, integer=True, positive=True)

    sampling = options.sampling or "reshuffled"
    if sampling == "full-batch":
        if options.B is not None or options.E is not None:
            raise ArgumentError("Full batch has B = N and counts steps: give -N and -T, not -B or -E.")
        return Spacetime.gd(size("N"), size("T") or Symbol("T", integer=True, positive=True))
    epochs = None if options.T is not None and options.E is None else size("E")
    steps = size("T") if options.T is not None else None
    return Spacetime.sgd(size("N"), size("B"), epochs, T=steps, sampling=sampling)


def _series(options: argparse.Namespace) -> int:
    from ..series import expand

    spacetime = _spacetime(options, {"N": "N", "B": "B", "E": "E"})
    series = expand(options.quantity, order=options.order, spacetime=spacetime, basis=options.basis)
    writers = {
        "text": lambda: str(series),
        "latex": series.latex,
        "sympy": lambda: str(series.to_sympy()),
        "json": series.to_json,
    }
    print(writers[options.format]())
    return 0


def _diagrams(options: argparse.Namespace) -> int:
    from ..diagrams import check_basis, count_diagrams, diagrams, tensor_expression
    from ..drawing import diagrams_svg

    check_basis(options.basis)
    found = diagrams(options.order, root_tied=options.root_tied)
    if options.svg:
        try:
            Path(options.svg).write_text(diagrams_svg(found), encoding="utf-8")
        except OSError as error:
            raise ArgumentError(f"Cannot write {options.svg!r} ({error.strerror}): name another file.") from error
    rows = [
        (str(D), D.edge_notation(), f"|Aut| = {D.automorphisms}", tensor_expression(D, basis=options.basis))
        for D in found
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)]
        print("   ".join([*cells, row[3]]))
    counted = count_diagrams(options.order, root_tied=options.root_tied)
    print(f"{len(found)} diagrams of order {options.order}; the independent count is {counted}")
    return 0


def _predict(options: argparse.Namespace) -> int:
    import jax

    from ..landscapes import digits_landscape
    from ..prediction import check_writable, study
    from ..progress import Progress, Tqdm
    from ..spacetimes import Spacetime

    if all(getattr(options, name) is None for name in ("N", "B", "E", "T", "sampling")):
        spacetimes = [Spacetime.sgd(N=10, B=1, E=1), Spacetime.sgd(N=10, B=2, E=2)]
    else:
        spacetimes = [_spacetime(options, {"N": "10", "B": "1", "E": "1", "T": "10"})]
    folder = check_writable(options.out)
    options.on_interrupt = f"; what was finished is in {folder}"
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
        progress=Progress() if options.quiet else Tqdm(disable=None),  # no bars into a file or a pipe
        about={"version": __version__, "model": options.model, "data": "digits", "seed": options.seed},
        key=for_study,
    )
    print(f"\nwritten: {folder / 'prediction.png'}, {folder / 'prediction.json'}")
    if not all(comparison.passed for comparison in comparisons):
        print("prediction and simulation DIFFER at a converged learning rate", file=sys.stderr)
        return 1
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from ..prediction import sweep
    from ..progress import Progress, Tqdm

    options.on_interrupt = f"; what was finished is in {options.out}"
    result = sweep(
        options.config,
        options.out,
        progress=Progress() if options.quiet else Tqdm(disable=None, leave=False),  # no bars into a file or a pipe
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(result)
    if not result.passed:
        print("prediction and simulation DIFFER at a converged learning rate", file=sys.stderr)
        return 1
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    from ..experiments import EXPERIMENTS, reproduce
    from ..progress import Progress, Tqdm

    if options.list:
        for one in EXPERIMENTS.values():
            print(f"{one.name:<{max(map(len, EXPERIMENTS))}}   {one.title} ({one.source})")
        return 0
    options.on_interrupt = f"; what was finished is in {options.out}"
    outcomes = reproduce(
        options.names or "all",
        options.out,
        quick=options.quick,
        images=_images(options),
        report=lambda text: print(f"{text}\n", flush=True),
        progress=Progress() if options.quiet else Tqdm(disable=None, leave=False),  # no bars into a file or a pipe
        seed=options.seed,
    )
    if failed := [name for name, outcome in outcomes.items() if not outcome.holds]:
        print(f"a claim does NOT HOLD in {', '.join(failed)}", file=sys.stderr)
        return 1
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
