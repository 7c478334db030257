"""Learning curves set against simulations of several lengths, through the protocol that all predictions share."""

import json

import jax
import numpy as np
import pytest

import feyngd as fd

KEY = jax.random.key(0)
RATE = 0.1
SPACETIME = fd.Spacetime.sgd(8, 2, 3)


@pytest.fixture(scope="module")
def cosh():
    landscape, start = fd.landscapes.toys.cosh()
    return landscape, start + 1.0


@pytest.fixture(scope="module")
def anchored(cosh):
    return fd.anchor(*cosh, steps=12, learning_rate=RATE, epoch_lengths=[4], num_samples=64, key=KEY)


@pytest.fixture(scope="module")
def curve(anchored):
    return anchored.predict(SPACETIME)


@pytest.fixture(scope="module")
def simulations(cosh):
    return [fd.simulate(*cosh, fd.Spacetime.sgd(8, 2, epochs), RATE, runs=400, key=KEY) for epochs in (3, 1, 2)]


def test_steps_are_compared_with_runs_of_their_length(curve, simulations):
    found = fd.compare(curve, simulations)
    assert found.simulation.points.tolist() == [4, 8, 12]
    ordered = [simulations[1], simulations[2], simulations[0]]
    mean, stderr = (np.array([getattr(one, name)[0] for one in ordered]) for name in ("mean", "stderr"))
    np.testing.assert_allclose(found.difference, curve.mean[[4, 8, 12]] - mean)
    np.testing.assert_allclose(found.stderr, np.hypot(curve.stderr[[4, 8, 12]], stderr))
    np.testing.assert_allclose(found.allowed, 3 * found.stderr + curve.truncation[[4, 8, 12]])
    assert found.converged.all()
    assert found.passed
    assert found.highest_order is None


def test_one_simulation_of_the_whole_schedule(curve, simulations):
    found = fd.compare(curve, simulations[0])
    assert found.simulation.points.tolist() == [12]
    assert found.passed


def test_a_wrong_curve_differs(anchored, simulations):
    wrong = anchored.predict(fd.Spacetime.sgd(8, 2, 3, sampling="with-replacement"))
    wrong = fd.AnchoredPrediction(
        wrong.quantity, SPACETIME, wrong.times, wrong.noiseless + 0.05, wrong.parts, wrong.truncation
    )
    assert fd.compare(wrong, simulations).verdict == "DIFFERS"


def test_tables_json_and_figures(curve, simulations):
    found = fd.compare(curve, simulations)
    header, *rows = str(found).splitlines()[1:5]
    assert header.split()[:3] == ["t", "noiseless", "anchored"]
    assert [row.split()[0] for row in rows] == ["4", "8", "12"]
    saved = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert saved["simulation"]["times"] == [4, 8, 12]
    assert saved["verdict"] == "agrees"
    ax = found.plot()
    assert ax.get_xlabel() == "step t"
    (bars,) = ax.containers
    np.testing.assert_allclose(bars.lines[0].get_xdata(), [4, 8, 12])


@pytest.mark.parametrize(
    ("spacetime", "options", "says"),
    [
        (fd.Spacetime.sgd(8, 4, 3), {}, "has the spacetime"),
        (fd.Spacetime.sgd(8, 2, 4), {}, "has the spacetime"),
        (fd.Spacetime.sgd(8, 2, 3, sampling="with-replacement"), {}, "has the spacetime"),
        (SPACETIME, {"quantity": "gap"}, "has the quantity"),
        (SPACETIME, {"learning_rates": [0.1, 0.2]}, "one learning rate"),
    ],
)
def test_only_like_is_compared_with_like(cosh, curve, spacetime, options, says):
    options = {"learning_rates": RATE, **options}
    with pytest.raises(fd.ArgumentError, match=says):
        fd.compare(curve, fd.simulate(*cosh, spacetime, runs=2, key=KEY, **options))


def test_steps_that_a_curve_lacks(curve):
    with pytest.raises(fd.ArgumentError, match="has steps 0 to 12; got 13"):
        curve.select(np.array([3, 13]))


@pytest.mark.parametrize("simulation", [None, [], "runs", [None]])
def test_what_is_no_simulation_is_refused(curve, simulation):
    with pytest.raises(fd.ArgumentError, match="compare takes a Prediction and a Simulation"):
        fd.compare(curve, simulation)


def test_several_simulations_are_for_learning_curves(simulations):
    prediction = fd.Prediction("test_loss", SPACETIME, np.array([RATE]), np.array([[1.0, -1.0]]))
    with pytest.raises(fd.ArgumentError, match="Only a learning curve"):
        fd.compare(prediction, simulations)
