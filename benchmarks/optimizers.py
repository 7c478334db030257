"""Training as people do it: predictions with optimizers and uneven epochs, beside simulations.

`python benchmarks/optimizers.py [NAME …]` predicts the test loss of digits networks to order 3 with every
configuration, simulates it at learning rates up to the edge of validity, and fits the coefficient of η³ to the runs.
The same check with that coefficient doubled must fail.
"""

import sys
import warnings
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from problems import problem
from writing import table, write

import feyngd as fd
from feyngd.optimizers import cosine
from feyngd.prediction import check_highest_order

RUNS = 4000
FRACTIONS = (0.08, 0.16, 0.24, 0.33, 0.42, 0.55, 0.7, 0.99)
SMALL = fd.Spacetime.sgd(100, 10, E=2)
DIGITS = {drop: fd.Spacetime.sgd(1437, 32, E=1, drop_last=drop) for drop in (True, False)}
CONFIGURATIONS: dict[str, tuple[fd.Spacetime, fd.Optimizer]] = {
    "SGD": (SMALL, fd.sgd()),
    "momentum 0.9": (SMALL, fd.momentum(0.9)),
    "Nesterov 0.9": (SMALL, fd.momentum(0.9, nesterov=True)),
    "cosine, warm-up from 0": (SMALL, fd.schedule(cosine(20, warmup=4))),
    "momentum 0.9, cosine": (SMALL, fd.schedule(cosine(20, warmup=4), fd.momentum(0.9))),
    "EMA 0.9": (SMALL, fd.averaged(fd.sgd(), ema=0.9)),
    "B = 32, last batch dropped": (DIGITS[True], fd.sgd()),
    "B = 32, last batch of 29": (DIGITS[False], fd.sgd()),
    "B = 32, last batch of 29, T = 30, momentum 0.5": (
        fd.Spacetime.sgd(1437, 32, T=30, drop_last=False),
        fd.momentum(0.5),
    ),
}


def measured(name: str, configuration: str, key: jax.Array) -> list[Any]:
    """Predict and simulate one network with one configuration."""
    landscape, params = problem(name)
    spacetime, optimizer = CONFIGURATIONS[configuration]
    for_values, for_runs = jax.random.split(key)
    first = fd.predict(landscape, params, spacetime, [1e-3], optimizer=optimizer, replicates=64, key=for_values)
    rates = [fraction * first.valid_up_to for fraction in FRACTIONS]
    predicted = fd.predict(landscape, params, spacetime, rates, optimizer=optimizer, replicates=64, key=for_values)
    simulated = fd.simulate(landscape, params, spacetime, rates, runs=RUNS, optimizer=optimizer, key=for_runs)
    misses = np.abs(predicted.mean - simulated.mean) / np.hypot(predicted.stderr, simulated.stderr)
    half = np.array(rates) <= 0.45 * first.valid_up_to  # beyond, order 3 is cut off visibly
    wrong = predicted.coefficients.copy()
    wrong[:, -1] *= 2
    checks = [check_highest_order(one, simulated) for one in (predicted, replace(predicted, coefficients=wrong))]
    words = {True: "agrees", False: "DIFFERS", None: "undecided"}
    fitted = checks[0].fitted
    return [
        name,
        configuration,
        first.valid_up_to,
        float(misses[half].max()),
        f"{checks[0].prediction:.4g} ± {checks[0].prediction_stderr:.1g}",
        "" if fitted is None else f"{fitted.value:.4g} ± {fitted.stderr:.2g} ± {fitted.bias:.1g}",
        words[checks[0].verdict],
        words[checks[1].verdict],
    ]


def main(names: list[str]) -> None:
    """Measure some networks with all configurations."""
    keys = iter(jax.random.split(jax.random.key(0), 100))
    rows = [measured(name, configuration, next(keys)) for name in names for configuration in CONFIGURATIONS]
    header = ["network", "configuration", "valid up to η", "misses by at most, standard errors", "η³ predicted"]
    write("optimizers.py", table([*header, "η³ fitted to runs", "verdict", "verdict on twice η³"], rows))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1:] or ["logistic", "mlp"])
