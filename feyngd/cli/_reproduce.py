"""`feyngd reproduce`: the papers' experiments, with a verdict on every claim."""

import argparse
import sys
from typing import Any

from ..errors import ArgumentError
from ._ending import CONTRADICTED, leaves
from ._options import Parser, add_seed_and_quiet, bars

_IMAGES = 500  # every simulated run ends with the loss on each image

_EXAMPLE = """examples:
  $ feyngd reproduce --list
      the experiments' names, what they show, and where in the papers they are

  $ feyngd reproduce basic-predictions multi-epoch
      claims with their verdicts here; basic-predictions.png and .json, multi-epoch.png and .json in ./reproduce

  $ feyngd reproduce batch-size --cifar10 cifar-10-batches-py --out cifar
      the convnet on the first 500 images of CIFAR-10, whose published files are in that folder
"""


def add_reproduce(program: Parser, name: str) -> None:
    """Add the command to the program."""
    parser = program.add_command(name, _run, "repeat the papers' experiments and judge their claims", _EXAMPLE)
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments, see --list; all by default")
    parser.add_argument("--list", action="store_true", help="list the experiments and leave")
    parser.add_argument("--out", default="reproduce", metavar="FOLDER", help="where the files go (default ./reproduce)")
    parser.add_argument("--quick", action="store_true", help="fewer runs and smaller problems, to see that all works")
    images = parser.add_mutually_exclusive_group()
    images.add_argument("--cifar10", metavar="FOLDER", help="networks on CIFAR-10 instead of scikit-learn's digits")
    images.add_argument("--fashion-mnist", metavar="FOLDER", help="networks on Fashion-MNIST")
    parser.add_argument("--limit", type=int, help=f"how many images, from the first (default {_IMAGES})")
    add_seed_and_quiet(parser)


def _run(options: argparse.Namespace) -> int:
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
