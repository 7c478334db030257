"""How close predictions come to simulations: order 4 against order 3, and the effect of the batch size."""

import warnings
from typing import Any

import jax
import numpy as np
from problems import conditional, problem

import feyngd as fd

warnings.simplefilter("ignore", fd.TruncationWarning)

RUNS = {"logistic": 20_000, "mlp": 20_000, "convnet": 20_000}
BATCH_SIZES = (1, 4, 16, 64)


def orders(name: str, steps: int = 10) -> dict[str, Any]:
    """Compare predictions to order 3 and 4 with SGD on single fresh points, at 0.6 and 0.9 of the range of order 4."""
    landscape, params = problem(name)
    spacetime = fd.Spacetime.sgd(N=steps, B=1, E=1)
    keys = jax.random.split(jax.random.key(sum(map(ord, name))))
    values = fd.evaluate(
        fd.expand("test_loss", order=4, spacetime=spacetime), landscape, params, replicates=64, key=keys[0]
    )
    fourth = fd.predict(landscape, params, spacetime, [1e-6], order=4, values=values)
    third = fourth.truncate(3)
    edge = min(third.valid_up_to, fourth.valid_up_to)
    rates = np.array([0.6, 0.9]) * edge
    simulation = fd.simulate(
        landscape, params, spacetime, rates, runs=RUNS[name], control=True, chunk_size=64, key=keys[1]
    )
    found: dict[str, Any] = {"edge": edge, "rates": rates.tolist(), "start": fourth.at(0.0)[0].item()}
    found["simulation"] = simulation.mean.tolist()
    found["stderr"] = simulation.stderr.tolist()
    for order in (3, 4):
        mean, stderr = fourth.at(rates, order=order)
        found[f"order {order}"], found[f"sampling {order}"] = mean.tolist(), stderr.tolist()
    return found


def batch_sizes(name: str, steps: int = 10) -> dict[str, Any]:
    """Compare the predicted with the simulated loss of SGD above that of gradient descent, in the conditional reading.

    The learning rate is 0.8 of the least of the valid ranges.
    """
    landscape, params = conditional(name)
    N = landscape.num_examples
    keys = jax.random.split(jax.random.key(0))
    spacetimes = [fd.Spacetime.sgd(N=N, B=B, T=steps, sampling="with-replacement") for B in BATCH_SIZES]
    spacetimes.append(fd.Spacetime.gd(N=N, T=steps))
    series = [fd.expand("test_loss", order=3, spacetime=spacetime) for spacetime in spacetimes]
    wanted = sorted({diagram for one in series for diagram in one})
    values = fd.evaluate(wanted, landscape, params, replicates=64, key=keys[0])
    predictions = [fd.predict(landscape, params, one, [1e-6], order=3, values=values) for one in spacetimes]
    rate = 0.8 * min(prediction.valid_up_to for prediction in predictions)
    descent = fd.simulate(landscape, params, spacetimes[-1], [rate], runs=2, key=keys[1])
    rows = []
    for B, spacetime, prediction in zip(BATCH_SIZES, spacetimes, predictions, strict=False):
        difference = prediction.coefficients - predictions[-1].coefficients
        terms = difference * rate ** np.arange(4)
        runs = max(1_000, 8_000 // B)
        simulation = fd.simulate(
            landscape, params, spacetime, [rate], runs=runs, control=True, chunk_size=64, key=keys[1]
        )
        rows.append(
            {
                "B": B,
                "predicted": float(terms.sum(axis=1).mean()),
                "sampling": float(terms.sum(axis=1).std(ddof=1) / len(terms) ** 0.5) if len(terms) > 1 else 0.0,
                "truncation": float(abs(terms[:, 3].mean())),
                "simulated": float(simulation.mean[0] - descent.mean[0]),
                "stderr": float(simulation.stderr[0]),
                "runs": runs,
            }
        )
    return {"rate": rate, "rows": rows}
