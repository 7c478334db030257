"""`feyngd sweep`: all combinations of a file, predicted and simulated."""

import argparse
import re
import sys

from ..errors import ArgumentError
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
  $ feyngd sweep sweep.toml --out results --part 3/8
      the third of eight parts: for the jobs of an array, each of which gets its own number
"""


def add_sweep(program: Parser, name: str) -> None:
    """Add the command to the program."""
    parser = program.add_command(name, _run, "predict and simulate all combinations of a file, resumably", _EXAMPLE)
    parser.add_argument("config", metavar="CONFIG.toml", help="what to combine: see the example")
    parser.add_argument("--out", default="sweep", metavar="FOLDER", help="where the files go (default ./sweep)")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="only the I-th of N parts, I from 1 (default all)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def _run(options: argparse.Namespace) -> int:
    from ..studies import sweep

    part = _part(options.part)
    leaves(options, options.out)
    result = sweep(
        options.config,
        options.out,
        part=part,
        progress=bars(options, leave=False),
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(result)
    tell_verdicts({outcome.verdict for outcome in result.outcomes})
    return 0 if result.passed else CONTRADICTED


def _part(text: str) -> tuple[int, int]:
    """Return the number of a part and the number of parts."""
    if not (found := re.fullmatch(r"(\d+)/(\d+)", text)):
        raise ArgumentError(f"--part {text} is not I/N, two whole numbers: give --part 1/8 for the first of 8 parts.")
    return int(found[1]), int(found[2])
