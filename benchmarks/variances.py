"""Predicted variances over runs against 10,000 real runs, on networks on digits.

`python benchmarks/variances.py [RUNS]` writes the table.
"""

import sys
import time
import warnings
from typing import Any

import jax
from writing import table, write

import feyngd as fd

QUANTITIES = ("test_loss_variance", "train_loss_variance", "covariance_trace")
SETTINGS = {"logistic": [0.005, 0.01], "mlp": [0.004, 0.008]}
ORDERS = {"train_loss_variance": 2}  # of many more diagrams, as the losses themselves are in them


def rows(model: str, runs: int) -> list[list[Any]]:
    """Predict and simulate every variance of one network."""
    landscape, params = fd.landscapes.digits_landscape(model, limit=200, key=jax.random.key(0))
    spacetime, rates, found = fd.Spacetime.sgd(20, 4), SETTINGS[model], []
    for quantity in QUANTITIES:
        start = time.perf_counter()
        predicted = fd.predict(
            landscape,
            params,
            spacetime,
            rates,
            order=ORDERS.get(quantity, 4),
            quantity=quantity,
            check_dtype=False,
            key=jax.random.key(1),
        )
        middle = time.perf_counter()
        simulated = fd.simulate(
            landscape,
            params,
            spacetime,
            rates,
            quantity=quantity,
            runs=runs,
            chunk_size=64,
            key=jax.random.key(2),
        )
        end = time.perf_counter()
        for i, rate in enumerate(rates):
            ratio = predicted.mean[i] / simulated.mean[i]
            found.append(
                [
                    model,
                    quantity,
                    f"{rate:g}",
                    f"{predicted.mean[i]:.4g} ± {predicted.stderr[i]:.1g} ± {predicted.truncation[i]:.1g}",
                    f"{simulated.mean[i]:.4g} ± {simulated.stderr[i]:.1g}",
                    f"{ratio:.3f} ± {ratio * simulated.stderr[i] / simulated.mean[i]:.3f}",
                    middle - start,
                    end - middle,
                ]
            )
    return found


def main() -> None:
    """Write the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    warnings.simplefilter("ignore", fd.TruncationWarning)
    header = ["network", "quantity", "η", "predicted", f"{runs:,} runs", "ratio", "s, first call", "s, runs"]
    write("variances.py", table(header, [row for model in SETTINGS for row in rows(model, runs)]))


if __name__ == "__main__":
    main()
