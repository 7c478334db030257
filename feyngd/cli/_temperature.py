"""`feyngd temperature`: ensembles at many temperatures, with predictions, fits and the best temperature."""

import argparse
import sys

from ._ending import CONTRADICTED, leaves
from ._options import Parser, bars

_EXAMPLE = """example:
  $ cat temperature.toml
  model = "mlp"
  N = 256
  B = [16, 32]
  learning_rates = [0.05, 0.1, 0.2, 0.5, 1.0]
  optimizers = [{}, {momentum = 0.9}, {schedule = "cosine"}, {momentum = 0.9, schedule = "cosine"}]
  drawings = ["split", "overlap"]
  datasets = 8
  weight_decay = 5e-4
  epochs = 20
  $ feyngd temperature temperature.toml --out results
      5 × 2 × 4 × 2 cells, a JSON and an NPZ file for each; then results.json, results.txt and results.png; the same
      command again goes on where it was
"""


def add_temperature(program: Parser, name: str) -> None:
    """Add the command to the program."""
    parser = program.add_command(name, _run, "losses and gap against the temperature λ/B, resumably", _EXAMPLE)
    parser.add_argument("config", metavar="CONFIG.toml", help="what to run: see the example")
    parser.add_argument(
        "--out", default="temperature", metavar="FOLDER", help="where the files go (default ./temperature)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def _run(options: argparse.Namespace) -> int:
    from ..companions.data_averaging import temperature_sweep

    leaves(options, options.out)
    result = temperature_sweep(
        options.config,
        options.out,
        progress=bars(options, leave=False),
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(result)
    if not result.passed:
        print("real runs contradict a prediction", file=sys.stderr)
        return CONTRADICTED
    return 0
