"""Every result of the shift-curvature package turns into JSON and draws itself, and says which assumptions fail."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib import pyplot as plt

import feyngd as fd
from feyngd.companions.shift_curvature import (
    Diffusion,
    compare_minima,
    local_steady_state,
    shift,
    shift_test,
    simulate_modified,
    steady_state,
    temperature_sweep,
)

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def results():
    """One of each, on a quartic with test data elsewhere."""

    def loss(theta, x):
        return (theta[0] - x) ** 2 / 2 + 0.1 * theta[0] ** 4 + theta[1] ** 2 / 2 * (1 + 0.1 * x) + 0.1 * x * theta[1]

    with jax.enable_x64(True):
        split = fd.Landscape(loss, jnp.array([-1.0, 0.5, 0.8]), jnp.array([1.0, 1.4]), reading="conditional")
        found = shift(split, jnp.zeros(2), key=KEY)
        theta = found.train.params
        state = steady_state(
            Diffusion(lambda x: x[0] ** 2 / 2 + x[0] ** 4, lambda x: jnp.eye(1), dimension=1), 0.3, box=[(-3, 3)]
        )
        return {
            "minimum": found.train,
            "shift": found,
            "line": found.line(),
            "fit": found.symmetrised(),
            "test": shift_test(split, jnp.zeros(2), key=KEY),
            "local": local_steady_state(split, theta, learning_rate=0.5, batch_size=2),
            "compared": compare_minima(split, [theta], temperature=0.1, learning_rate=0.1, steps=9),
            "runs": simulate_modified(split, theta, 0.1, batch_size=1, steps=30, runs=5, key=KEY),
            "state": state,
            "basin": state.basins[0],
            "parts": state.mixture(),
            "sweep": temperature_sweep(state.diffusion, [0.2, 0.3], box=[(-3, 3)]),
        }


def test_results_as_json(results):
    for name, one in results.items():
        assert json.loads(json.dumps(one.to_dict(), allow_nan=False)), name
    numbers = results["runs"].to_dict()
    assert numbers["test_losses"]["mean"] == pytest.approx(results["runs"].test_losses.mean(axis=1).tolist())
    assert results["state"].to_dict()["basins"][0]["covariance"] == results["basin"].covariance.tolist()
    assert results["minimum"].to_dict()["params"] == np.asarray(results["minimum"].params).tolist()


def test_results_as_pictures(results):
    for name, one in results.items():
        if name not in ("minimum", "basin"):
            assert one.plot().get_xlabel() or name in ("local", "parts"), name
    plt.close("all")


def test_predictions_say_what_fails(results):
    """|b|/√tr Σ and ηh are large here, and so is the next order of Laplace's method."""
    local, state = results["local"], results["state"]
    assert "small steps" in local.assumptions.failing
    assert "small steps: fails (measured 0.5" in str(local)
    assert state.assumptions["Laplace"].measured == pytest.approx(abs(state.laplace_correction[0]))
    assert "Laplace: fails" in str(state)
    assert "T = 0.2: Laplace: fails" in str(results["sweep"])
    assert results["shift"].assumptions.hold
    assert results["test"].assumptions["no interpolation"].measured == pytest.approx(
        results["test"].noises[0] / results["test"].noises[1]
    )
