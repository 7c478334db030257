"""Data averaging against real runs: errors of the gap without test data, coverage of the stationarity test, a tie.

`python benchmarks/data_averaging.py` prints three tables; it takes about three minutes on one core.
"""

import jax
import jax.numpy as jnp
import numpy as np
from writing import table

import feyngd as fd
from feyngd.companions.data_averaging import ensemble, steady_state
from feyngd.estimates import Estimate
from feyngd.landscapes import cross_entropy, digits, tanh_mlp, toys
from feyngd.minima import DenseMinimum

KEY = jax.random.key(0)
REPEATS, SETS = 200, 30


def gap_errors() -> str:
    """Gaps of an MLP on digits from test data and without, for small and large test sets."""
    images, labels = digits()
    network = tanh_mlp((8, 8), 10)
    landscape = fd.Landscape(cross_entropy(network), (images, labels), reading="unbiased")
    space = fd.Spacetime.sgd(N=256, B=16, E=30)
    rows = []
    for size in (10, 30, 100, None):
        options = {"datasets": 40, "test_size": size, "weight_decay": 5e-4, "records": 2, "key": KEY}
        parts = ensemble(landscape, network.init, space, 0.25, **options).decompose()
        shown = [f"{one.value:.4f} ± {one.stderr:.4f}" for one in (parts.gap, parts.gap_cross, parts.shift)]
        rows.append([size or len(labels) - 256, *shown])
    return table(["test examples", "gap, test − train", "gap without test data", "shift"], rows)


def stationarity_coverage() -> str:
    """How often the test passes, over independent repeats of few training sets, on a settled and on a drifting run."""
    landscape = fd.Landscape(lambda theta, x: (theta - x) ** 2 / 2, jnp.array([-1.0, 1.0]))
    space = fd.Spacetime.sgd(N=10, B=2, T=60, sampling="with-replacement")
    rows = []
    for name, rate, start in (("settled, λ = 0.5", 0.5, 0.5), ("drifting, λ = 0.02", 0.02, 3.0)):
        options = {"datasets": SETS, "weight_decay": 0.2, "records": 2, "chunk_size": SETS}
        passed = [
            ensemble(landscape, jnp.array(start), space, rate, **options, key=key).stationarity().passed
            for key in jax.random.split(KEY, REPEATS)
        ]
        rows.append([name, f"{sum(passed)} of {REPEATS}"])
    return table([f"{SETS} training sets", "passes"], rows)


def cosh_tie() -> str:
    """N times the gap on cosh where noise is large: re-summed diagrams, the density to first order, real runs."""
    n, rate, steps = 50, 0.2, 80
    landscape, start = toys.cosh()
    space = fd.Spacetime.sgd(N=n, B=1, T=steps, sampling="with-replacement")
    minimum = DenseMinimum(landscape, start)
    rows = [[f"re-summed, order {order}", f"{n * minimum.expected('gap', space, rate, order=order):.6f}"]
            for order in (2, 4)]  # fmt: skip
    state = steady_state(landscape, start, n, potential="loss", domain=(-4.0, 4.0))
    rows.append(["linear_gap", f"{n * state.linear_gap(rate).value:.6f}"])
    options = {"datasets": 150_000, "records": 2, "chunk_size": 10_000, "key": KEY}
    runs = ensemble(landscape, start, space, rate, **options)
    # The loss of the start on the same training set has mean 0 in the gap, and less is left to chance without it.
    luck = (runs.test_loss - runs.train_loss)[:, 0]
    found = Estimate.from_replicates(n * (luck[:, -1] - luck[:, 0]).astype(np.float64), "ensemble")
    rows.append([f"{runs.diverged.size:,} real runs", found.figure])
    return table(["N × gap, η = 0.2, N = 50, 80 steps", ""], rows)


if __name__ == "__main__":
    for part in (gap_errors, stationarity_coverage, cosh_tie):
        print(f"{part()}\n", flush=True)
