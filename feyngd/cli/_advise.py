"""`feyngd advise`: what would change the outcome of a training run on digits most."""

import argparse

from ._ending import CONTRADICTED, tell
from ._options import (
    SAMPLINGS,
    Parser,
    add_drop_last,
    add_path,
    bars,
    check_choice,
    check_seed,
    check_whole,
    drop_last_of,
)

_EXAMPLE = """example:
  $ feyngd advise -N 400 -B 10 -E 4
      changes of batch size, data, epochs and sampling at the same number of example evaluations, those first that lower
      the test loss at the end most
"""


def add_advise(program: Parser, name: str) -> None:
    """Add the command to the program."""
    parser = program.add_command(name, _run, "rank what would change the outcome of a run most", _EXAMPLE)
    parser.add_argument("-N", type=int, default=400, help="training points (default 400)")
    parser.add_argument("-B", type=int, default=10, help="batch size, in points (default 10)")
    parser.add_argument("-E", type=int, default=4, help="epochs (default 4)")
    parser.add_argument("--sampling", default="reshuffled", help="reshuffled (default), fixed or with-replacement")
    add_drop_last(parser)
    parser.add_argument("--factor", type=int, default=2, help="by how much sizes are changed (default 2)")
    parser.add_argument(
        "--within", type=float, default=0.05, help="standard error of every effect, as a share of it (default 0.05)"
    )
    add_path(parser)


def _run(options: argparse.Namespace) -> int:
    import jax

    from ..anchoring import advise
    from ..landscapes import digits_landscape
    from ..spacetimes import Spacetime

    check_seed(options)
    check_choice("--sampling", options.sampling, [name for name in SAMPLINGS if name != "full-batch"])
    check_whole(N=[options.N], B=[options.B], E=[options.E])
    how = {"sampling": options.sampling, "drop_last": drop_last_of(options)}
    planned = Spacetime.sgd(options.N, options.B, options.E, **how)
    for_params, for_path = jax.random.split(jax.random.key(options.seed))
    landscape, params = digits_landscape(options.model, options.limit, key=for_params)
    table = advise(
        landscape,
        params,
        planned,
        options.learning_rate,
        factor=options.factor,
        within=options.within,
        num_samples=options.num_samples,
        progress=bars(options),
        key=for_path,
    )
    print(table)
    predicted = table.planned
    if predicted.truncation[-1] > abs(predicted.noise[-1]):
        tell("what is left out may exceed all that noise does, so that this advice is a guess: lower --learning-rate")
        return CONTRADICTED
    return 0
