"""What a user waits for: the first and a further default `predict`, beside simulations to the same error.

`python benchmarks/times.py [NAME …]` measures every network in a process of its own, on the CPU, and prints a
table. Times are in units of g, one gradient over the population, of the same process.
"""

import json
import resource
import subprocess
import sys
import time
import warnings
from typing import Any

import jax
import numpy as np
from measuring import fastest_gradient, once
from problems import images, problem, transformer
from writing import table, write

import feyngd as fd

RATES = [1e-3, 3e-3]
NAMES = ("attention", "logistic", "mlp", "convnet", "wide convnet", "transformer", "images")
RUNS = 200
STEPS = (10, 100)


def made(name: str) -> tuple[Any, Any]:
    """Return a landscape and its parameters."""
    if name == "images":
        return images(60_000)
    if name == "attention":
        return transformer(width=4, examples=40)
    return transformer() if name == "transformer" else problem(name)


def measured(name: str) -> dict[str, float]:
    """Measure one network, in a process that has compiled nothing yet."""
    warnings.simplefilter("ignore")
    landscape, params = made(name)
    keys = iter(jax.random.split(jax.random.key(0), 100))
    found: dict[str, float] = {"parameters": sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))}

    def predicted(steps: int) -> fd.Prediction:
        return fd.predict(landscape, params, fd.Spacetime.sgd(steps), RATES, key=next(keys))

    start = time.perf_counter()
    predicted(STEPS[0])
    found["cold"] = time.perf_counter() - start
    found["warm"] = float(np.median([once(lambda: predicted(STEPS[0])) for _ in range(5)]))
    gradient = fastest_gradient(landscape, params)
    gradient()
    found["g"] = min(once(gradient) for _ in range(10))
    for steps in STEPS:
        prediction = predicted(steps)
        error = float(prediction.stderr[0])
        found[f"error {steps}"] = error / abs(float(prediction.mean[0]) - prediction.start)

        def simulated(steps: int = steps) -> fd.Simulation:
            return fd.simulate(landscape, params, fd.Spacetime.sgd(steps), RATES[:1], runs=RUNS, key=next(keys))

        simulated()
        start = time.perf_counter()
        one = simulated()
        seconds = time.perf_counter() - start
        # As many runs as leave the larger of the prediction's error and 1 % of the change, which is all it promises.
        wanted = max(error, 0.01 * abs(float(prediction.mean[0]) - prediction.start))
        found[f"runs to 1 % {steps}"] = RUNS * (float(one.stderr[0]) / wanted) ** 2
        found[f"simulating {steps}"] = seconds * (float(one.stderr[0]) / wanted) ** 2
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return found


def main(names: list[str]) -> None:
    """Measure all networks, each in its own process, and write the table."""
    rows = []
    for name in names:
        done = subprocess.run([sys.executable, __file__, "--one", name], stdout=subprocess.PIPE, text=True, check=True)
        f = json.loads(done.stdout.splitlines()[-1])
        simulating = [f[f"simulating {steps}"] / f["g"] for steps in STEPS]
        rows.append(
            [
                f"{name} ({f['parameters']:,})",
                1000 * f["g"],
                f["cold"],
                f["warm"],
                f["warm"] / f["g"],
                f"{f['error 10']:.1g}, {f['error 100']:.1g}",
                *simulating,
                *(9 * each for each in simulating),
                f["peak"],
            ]
        )
    header = ["network (parameters)", "g, ms", "first call, s", "further call, s", "the same, g"]
    header += ["error / change, T = 10, 100", "simulating 1 rate to 1 %, T = 10, g", "T = 100, g"]
    write("times.py", table([*header, "9 rates, T = 10, g", "T = 100, g", "memory at most, GiB"], rows))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measured(sys.argv[2])))
    else:
        main(sys.argv[1:] or list(NAMES))
