"""How often the intervals of default predictions cover, although the number of draws is found from their errors.

`python benchmarks/coverage.py [NAME] [population|conditional|trained] [REPEATS]` prints it for the digits network of
that name. The mean of all repeats stands for the truth.
"""

import sys
import time
import warnings
from typing import Any

import jax
import numpy as np
from problems import Problem, conditional, problem, trained
from scipy import stats
from writing import table, write

import feyngd as fd

RATES = [1e-3, 3e-3]
KINDS = {"population": problem, "conditional": conditional, "trained": trained}


def covered(made: Problem, spacetime: fd.Spacetime, repeats: int) -> dict[str, Any]:
    """Predict with many keys, and count how often the interval at the larger learning rate covers the mean."""
    landscape, params = made
    found, taken = [], []
    for seed in range(repeats):
        start = time.perf_counter()
        found.append(
            fd.predict(landscape, params, spacetime, RATES, check_dtype=False, key=jax.random.key(1000 + seed))
        )
        taken.append(time.perf_counter() - start)
    means, errors = (np.array([getattr(one, name)[-1] for one in found]) for name in ("mean", "stderr"))
    freedom = np.array([len(one.coefficients) - 1 for one in found])
    misses = np.abs(means - means.mean()) / errors
    return {
        "covered": float(np.mean(misses < stats.t.ppf(0.975, freedom))),
        "error": float(np.mean(errors) / abs(means.mean() - found[0].start)),
        "freedom": float(freedom.mean()),
        "seconds": float(np.median(taken)),
    }


def main(name: str, kind: str, repeats: int) -> None:
    """Measure one network."""
    made = KINDS[kind](name)
    examples = made[0].num_examples
    spacetime = fd.Spacetime.sgd(examples, examples // 3, 2) if kind == "conditional" else fd.Spacetime.sgd(10)
    one = covered(made, spacetime, repeats)
    row = [name, kind, repeats, f"{one['covered']:.1%}", f"{one['error']:.2g}", one["freedom"], one["seconds"]]
    header = ["network", "reading or point", "repeats", "95 % intervals that cover", "error / change"]
    write(f"coverage.py {name} {kind}", table([*header, "degrees of freedom", "s, warm"], [row]))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    given = dict(enumerate(sys.argv[1:]))
    main(given.get(0, "logistic"), given.get(1, "population"), int(given.get(2, 400)))
