"""`feyngd sweep`: all combinations of a file, predicted and simulated."""

import argparse
import sys

from ._ending import CONTRADICTED, leaves, tell_verdicts
from ._options import Parser, bars

_EXAMPLE = """example:
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


def add_sweep(program: Parser, name: str) -> None:
    """Add the command to the program."""
    parser = program.add_command(name, _run, "predict and simulate all combinations of a file, resumably", _EXAMPLE)
    parser.add_argument("config", metavar="CONFIG.toml", help="what to combine: see the example")
    parser.add_argument("--out", default="sweep", metavar="FOLDER", help="where the files go (default ./sweep)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def _run(options: argparse.Namespace) -> int:
    from ..studies import sweep

    leaves(options, options.out)
    result = sweep(
        options.config,
        options.out,
        progress=bars(options, leave=False),
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(result)
    tell_verdicts({outcome.verdict for outcome in result.outcomes})
    return 0 if result.passed else CONTRADICTED
