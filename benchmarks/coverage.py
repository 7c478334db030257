"""How often the intervals of default predictions cover, although the number of draws is found from their errors.

`python benchmarks/coverage.py [NAME] [population|conditional|trained] [REPEATS]` prints it for the digits network of
that name, and without arguments for three networks in two readings. The mean of all repeats stands for the truth.
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
NETWORKS, READINGS = ("logistic", "mlp", "convnet"), ("population", "conditional")
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


def row(name: str, kind: str, repeats: int) -> list[Any]:
    """Measure one network."""
    made = KINDS[kind](name)
    examples = made[0].num_examples
    spacetime = fd.Spacetime.sgd(examples, examples // 3, 2) if kind == "conditional" else fd.Spacetime.sgd(10)
    one = covered(made, spacetime, repeats)
    return [name, kind, repeats, f"{one['covered']:.1%}", f"{one['error']:.2g}", one["freedom"], one["seconds"]]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    given = dict(enumerate(sys.argv[1:]))
    asked = [(given[0], given.get(1, "population"))] if given else [(n, k) for n in NETWORKS for k in READINGS]
    rows = [row(name, kind, int(given.get(2, 400))) for name, kind in asked]
    header = ["network", "reading or point", "repeats", "95 % intervals that cover", "error / change"]
    shown = table([*header, "degrees of freedom", "s, warm"], rows)
    write(" ".join(["coverage.py", *sys.argv[1:]]), shown)
