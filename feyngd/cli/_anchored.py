"""Whole training runs on the command line: `feyngd anchor` and `feyngd advise`."""

import argparse
from collections.abc import Callable
from math import lcm

from .. import __version__
from .._arguments import check_integer
from ..errors import ArgumentError
from ._ending import CONTRADICTED, leaves, tell
from ._options import SAMPLINGS, Parser, bars, check_choice, check_seed

_ANCHOR_EXAMPLE = """examples:
  $ feyngd anchor
      an MLP on scikit-learn's digits, from its random start through 160 steps: predicted learning curves for B = 10,
      20, 40, 80 and N = 400, 1600 from one computation, simulated ones over them; anchor.png and .json in ./anchor

  $ feyngd anchor --model logistic --learning-rate 0.5 -N 320 640 -B 8 16 --steps 80 --out curves
"""
_ADVISE_EXAMPLE = """example:
  $ feyngd advise -N 400 -B 10 -E 4
      changes of batch size, data, epochs and sampling at the same number of example evaluations, those first that lower
      the test loss at the end most
"""


def add_anchored_commands(command: Callable[..., Parser]) -> None:
    """Add the commands, each made by `command(name, run, text, example)`."""
    curves = command("anchor", _anchor, "predict learning curves on digits and simulate them", _ANCHOR_EXAMPLE)
    curves.add_argument("--out", default="anchor", metavar="FOLDER", help="where the files go (default ./anchor)")
    curves.add_argument(
        "-N", type=int, nargs="+", default=[400, 1600], help="training points, one or more numbers (default 400 1600)"
    )
    curves.add_argument(
        "-B", type=int, nargs="+", default=[10, 20, 40, 80], help="batch sizes, in points (default 10 20 40 80)"
    )
    curves.add_argument("--steps", type=int, default=160, help="steps of every run (default 160)")
    curves.add_argument("--runs", type=int, default=200, help="simulated runs of every curve (default 200)")
    _add_common(curves)

    advice = command("advise", _advise, "rank what would change the outcome of a run most", _ADVISE_EXAMPLE)
    advice.add_argument("-N", type=int, default=400, help="training points (default 400)")
    advice.add_argument("-B", type=int, default=10, help="batch size, in points (default 10)")
    advice.add_argument("-E", type=int, default=4, help="epochs (default 4)")
    advice.add_argument("--sampling", default="reshuffled", help="reshuffled (default), fixed or with-replacement")
    advice.add_argument("--factor", type=int, default=2, help="by how much sizes are changed (default 2)")
    _add_common(advice)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="mlp", help="mlp (default), convnet or logistic")
    parser.add_argument(
        "--learning-rate", type=float, default=0.2, metavar="η", help="of every step: θ becomes θ − η ∇l (default 0.2)"
    )
    parser.add_argument("--num-samples", type=int, default=64, help="draws of noise along the path (default 64)")
    parser.add_argument("--limit", type=int, help="use only the first images of the digits (default: all 1797)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def _anchor(options: argparse.Namespace) -> int:
    import jax

    from .._files import check_writable
    from ..landscapes import digits_landscape
    from ..spacetimes import Spacetime
    from ..studies import anchor_study

    check_seed(options)
    _check_sizes(N=options.N, B=options.B, steps=[options.steps])
    _check_epochs(options)
    folder = check_writable(options.out)
    leaves(options, folder)
    for_params, for_study = jax.random.split(jax.random.key(options.seed))
    landscape, params = digits_landscape(options.model, options.limit, key=for_params)
    curves = anchor_study(
        landscape,
        params,
        [Spacetime.sgd(N, B, options.steps * B // N) for N in options.N for B in options.B],
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


def _advise(options: argparse.Namespace) -> int:
    import jax

    from ..anchoring import advise, anchor, anchored_for_advice
    from ..landscapes import digits_landscape
    from ..spacetimes import Spacetime

    check_seed(options)
    check_choice("--sampling", options.sampling, [name for name in SAMPLINGS if name != "full-batch"])
    _check_sizes(N=[options.N], B=[options.B], E=[options.E])
    planned = Spacetime.sgd(options.N, options.B, options.E, sampling=options.sampling)
    needed = anchored_for_advice(planned, factor=options.factor)
    for_params, for_path = jax.random.split(jax.random.key(options.seed))
    landscape, params = digits_landscape(options.model, options.limit, key=for_params)
    anchored = anchor(
        landscape,
        params,
        learning_rate=options.learning_rate,
        num_samples=options.num_samples,
        progress=bars(options),
        key=for_path,
        **needed,
    )
    found, untold = advise(anchored, planned, factor=options.factor)
    predicted = anchored.predict(planned)
    print(f"planned: {predicted}\n\nchange of the test loss at the end, at the same evaluations:")
    for advice in found:
        print(f"  {advice}")
    for line in untold:
        print(f"  cannot be told: {line}")
    if predicted.truncation[-1] > abs(predicted.mean[-1] - predicted.noiseless[-1]):
        tell("what is left out may exceed all that noise does, so that this advice is a guess: lower --learning-rate")
        return CONTRADICTED
    return 0


def _check_epochs(options: argparse.Namespace) -> None:
    """Raise `ArgumentError` unless the steps are whole epochs of every N and B."""
    for N, B in ((N, B) for N in options.N for B in options.B):
        if N % B:
            raise ArgumentError(f"-B {B} does not divide -N {N}: epochs use every point once. Take -B that divides -N.")
    least = lcm(*(N // B for N in options.N for B in options.B))
    if options.steps % least:
        raise ArgumentError(
            f"--steps {options.steps} is no whole number of epochs of every -N and -B: give a multiple of {least}."
        )


def _check_sizes(**sizes: list[int]) -> None:
    for name, values in sizes.items():
        for value in values:
            check_integer(name, value, least=1)
