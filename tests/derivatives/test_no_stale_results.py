"""No public call gives a result of yesterday: ways to change a loss behind its landscape, times public calls.

The suite takes every call with one of the ways, and every way once. All pairs:

    python tests/landscapes/test_no_stale_results.py
"""

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from changing_losses import MAKERS, Changeable

import feyngd as fd
from feyngd.landscapes import Landscape
from feyngd.training import gdc, gdc_gradient, gdc_loss, stic, tic

KEY = jax.random.key(0)
DATA = (jax.random.normal(KEY, (6, 3)), jnp.linspace(-1, 1, 6))
TEST_DATA = (jax.random.normal(jax.random.key(1), (4, 3)), jnp.linspace(-1, 1, 4))
PARAMS = jnp.array([0.2, -0.1, 0.4])
SPACETIME = fd.Spacetime.sgd(4, 2)
CHANGED = 3.0


def evaluated(landscape):
    values = fd.evaluate(fd.diagrams(2), landscape, PARAMS, replicates=2, check_dtype=False, key=KEY)
    return [value.value for value in values.values()]


def predicted(landscape):
    return fd.predict(landscape, PARAMS, SPACETIME, [0.01, 0.03], order=2, quantity="gap", replicates=2, key=KEY).mean


def predicted_on_test_data(landscape):
    conditional = Landscape(landscape.loss, landscape.data, TEST_DATA, reading="conditional")
    return fd.predict(conditional, PARAMS, fd.Spacetime.sgd(6, 2), 0.01, order=2, check_dtype=False, key=KEY).mean


def simulated(landscape):
    return fd.simulate(landscape, PARAMS, SPACETIME, 0.1, runs=4, key=KEY).mean


def simulated_with_control(landscape):
    return fd.simulate(landscape, PARAMS, SPACETIME, 0.1, runs=4, control=True, key=KEY).mean


def simulated_sde(landscape):
    return fd.simulate_sde(landscape, PARAMS, SPACETIME, 0.1, runs=4, key=KEY).mean


def anchored(landscape):
    options = {"steps": 2, "learning_rate": 0.1, "num_samples": 2, "truncation_samples": 0, "key": KEY}
    return fd.anchor(landscape, PARAMS, **options).predict(N=4, B=2, E=1).mean


def near_minimum(landscape):
    found = fd.near_minimum(landscape, PARAMS, num_samples=2, key=KEY).predict(SPACETIME, 0.1)
    return [*found.mean, *found.truncation]


def near_minimum_without_matrices(landscape):
    return fd.near_minimum(landscape, PARAMS, method="lanczos", num_samples=2, key=KEY).predict(SPACETIME, 0.1).mean


def drifted(landscape):
    params, step = PARAMS, jax.jit(lambda params: params - 0.3 * jax.grad(landscape.mean_loss)(params))
    for _ in range(2000):
        params = step(params)
    return [*params, *jax.tree.leaves(fd.entropic_drift(landscape, params, SPACETIME, 0.1))[0]]


def criteria(landscape):
    return [stic(landscape, PARAMS, learning_rate=0.1, steps=9).value, tic(landscape, PARAMS, damping=10.0).value]


def penalised(landscape):
    options = {"learning_rate": 0.1}
    return [
        gdc_loss(landscape.loss, PARAMS, DATA, **options),
        *gdc_gradient(landscape.loss, PARAMS, DATA, **options),
        *gdc(landscape.loss, 0.1).update(jnp.zeros(3), gdc(landscape.loss, 0.1).init(PARAMS), PARAMS, batch=DATA)[0],
    ]


def read(landscape):
    theta, loss = landscape.flatten(PARAMS)
    example = landscape.example(0)
    gradient = jax.grad(loss)(theta, example)
    return [landscape.mean_loss(PARAMS), landscape.test_loss(PARAMS), *landscape.losses(PARAMS), *gradient]


CALLS = (
    evaluated,
    predicted,
    predicted_on_test_data,
    simulated,
    simulated_with_control,
    simulated_sde,
    anchored,
    near_minimum,
    near_minimum_without_matrices,
    drifted,
    criteria,
    penalised,
    read,
)
Call = Callable[[Landscape], Any]


def check(make: Callable[[], Changeable], call: Call) -> None:
    """Compare what a call gives after a change with what it gives for a loss that it meets for the first time."""
    fresh, change = make()
    change(CHANGED)
    expected = np.array(jax.tree.leaves(call(Landscape(fresh, DATA))), float)
    loss, change = make()
    change(0.0)
    landscape = Landscape(loss, DATA)
    before = np.array(jax.tree.leaves(call(landscape)), float)
    change(CHANGED)
    for now in (landscape, Landscape(loss, DATA)):
        found = np.array(jax.tree.leaves(call(now)), float)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert not np.allclose(before, expected, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")
@pytest.mark.parametrize(("make", "call"), zip(MAKERS, CALLS, strict=True), ids=lambda each: each.__name__)
def test_results_are_those_of_now(make, call):
    check(make, call)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    stale = 0
    for each in CALLS:
        start, row = time.perf_counter(), []
        for way in MAKERS:
            try:
                check(way, each)
                row.append("now")
            except AssertionError:
                row.append(f"STALE({way.__name__})")
                stale += 1
        print(f"{each.__name__:32s} {' '.join(row)}   {time.perf_counter() - start:.0f} s", flush=True)
    print(f"{stale} stale of {len(CALLS) * len(MAKERS)} pairs")
    sys.exit(bool(stale))
