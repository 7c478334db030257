"""Simulated SGD against the enumeration of every training set and every order of batches."""

import json
from itertools import permutations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import feyngd as fd

KEY = jax.random.key(12)
QUANTITIES = ("test_loss", "train_loss", "gap")
SPACETIMES = {
    "fixed": fd.Spacetime.sgd(4, 2, 2, sampling="fixed"),
    "reshuffled": fd.Spacetime.sgd(3, 1, 2, sampling="reshuffled"),
    "reshuffled in batches": fd.Spacetime.sgd(4, 2, 1, sampling="reshuffled"),
    "with-replacement": fd.Spacetime.sgd(3, 2, T=2, sampling="with-replacement"),
    "full-batch": fd.Spacetime.gd(3, 3),
    "explicit": fd.Spacetime.from_batches([[0, 1], [2, 2], [0, 2]], N=3),
    "uneven": fd.Spacetime.from_batches([[0], [2, 1, 2], [0, 2]], N=3),
}
POPULATION = np.array([-1.0, 0.5, 2.0])
START, RATE = 0.6, 0.3


def loss(theta, x):
    return (theta - x) ** 2 / 2 + x * theta**3 / 6 + theta**4 / 24


def gradient(theta, x):
    return theta - x + x * theta**2 / 2 + theta**3 / 6


def batches_of(spacetime):
    """Every equally likely run, written out from the definition of the scheme; for each step an array (runs, B)."""
    N, B, T = int(spacetime.N), int(spacetime.B), int(spacetime.T)
    if spacetime.sampling == "explicit":
        return [np.array([batch]) for batch in spacetime.explicit]
    if spacetime.sampling == "full-batch":
        runs = [list(range(N)) * T]
    elif spacetime.sampling == "fixed":
        runs = [list(range(N)) * (T * B // N)]
    elif spacetime.sampling == "reshuffled":
        runs = [sum(orders, ()) for orders in product(permutations(range(N)), repeat=T * B // N)]
    else:
        runs = list(product(range(N), repeat=T * B))
    return np.split(np.array(runs), T, axis=1)


def every_run(spacetime, quantity):
    """The outcomes of SGD on all training sets of the population, times all sequences of batches.

    The training set's luck at the start, which is zero on average, is taken off its loss as `simulate` does.
    """
    training_sets = np.array(list(product(POPULATION, repeat=int(spacetime.N))))
    batches = batches_of(spacetime)
    theta = np.full((len(training_sets), len(batches[0])), START)
    for batch in batches:
        theta = theta - RATE * gradient(theta[..., None], training_sets[:, batch]).mean(axis=-1)
    test = loss(theta[..., None], POPULATION).mean(axis=-1)
    luck = loss(START, training_sets).mean(axis=-1) - loss(START, POPULATION).mean()
    train = loss(theta[..., None], training_sets[:, None]).mean(axis=-1) - luck[:, None]
    return {"test_loss": test, "train_loss": train, "gap": test - train}[quantity].ravel()


@pytest.fixture(scope="module")
def landscape():
    return fd.Landscape(loss, POPULATION)


@pytest.mark.parametrize("spacetime", SPACETIMES.values(), ids=SPACETIMES.keys())
def test_mean_and_spread_are_those_of_all_runs(spacetime, landscape):
    for quantity in QUANTITIES:
        outcomes = every_run(spacetime, quantity)
        simulation = fd.simulate(
            landscape, START, spacetime, RATE, runs=4000, quantity=quantity, chunk_size=500, key=KEY
        )
        assert abs(simulation.mean[0] - outcomes.mean()) < 4.5 * simulation.stderr[0], quantity
        assert simulation.samples.std() == pytest.approx(outcomes.std(), rel=0.1)
        assert simulation.samples.min() >= outcomes.min() - 1e-5
        assert simulation.samples.max() <= outcomes.max() + 1e-5


def test_every_outcome_is_one_of_the_enumerated(landscape):
    spacetime = SPACETIMES["reshuffled"]
    simulation = fd.simulate(landscape, START, spacetime, RATE, runs=500, key=KEY)
    distances = np.abs(simulation.samples[0][:, None] - np.unique(every_run(spacetime, "test_loss")))
    assert distances.min(axis=1).max() < 1e-5


def test_standard_errors_cover_the_mean(landscape):
    spacetime = SPACETIMES["with-replacement"]
    truth = every_run(spacetime, "test_loss").mean()
    many = fd.simulate(landscape, START, spacetime, RATE, runs=400 * 50, chunk_size=1000, key=KEY)
    inside = []
    for samples in many.samples.reshape(400, 1, 50):
        part = fd.Simulation("test_loss", spacetime, many.learning_rates, samples)
        inside.append(abs(part.mean[0] - truth) <= 2.0096 * part.stderr[0])  # Student-t, 49 degrees of freedom
    assert 0.91 <= np.mean(inside) <= 0.985


# --- how it runs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_chunks_do_not_matter(chunk_size, landscape):
    """Three hundred runs, a number that 7 and 1000 do not divide."""
    spacetime, rates = SPACETIMES["reshuffled"], [0.05, 0.3]
    even = fd.simulate(landscape, START, spacetime, rates, runs=300, quantity="gap", chunk_size=10, key=KEY)
    odd = fd.simulate(landscape, START, spacetime, rates, runs=300, quantity="gap", chunk_size=chunk_size, key=KEY)
    np.testing.assert_allclose(odd.samples, even.samples, atol=1e-6)
    assert all(len(np.unique(np.round(row, 4))) > 30 for row in even.samples)


def test_more_than_32768_rows_at_once():
    """jaxlib 0.10.2 summed this wrongly: 24 runs of 1,797 images, all in one chunk."""
    landscape, params = fd.landscapes.digits_landscape("logistic", key=jax.random.key(0))
    assert landscape.num_examples * 24 > 32768
    results = [
        fd.simulate(landscape, params, fd.Spacetime.sgd(4, 2), 0.1, runs=24, chunk_size=chunk_size, key=KEY).samples
        for chunk_size in (24, 1)
    ]
    np.testing.assert_allclose(*results, rtol=1e-5)


def test_the_key_decides_the_bits(landscape):
    spacetime = SPACETIMES["reshuffled"]
    first, again, other = (
        fd.simulate(landscape, START, spacetime, RATE, runs=20, key=key) for key in (KEY, KEY, jax.random.key(13))
    )
    np.testing.assert_array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples, other.samples)


def test_learning_rates_share_their_runs(landscape):
    spacetime = SPACETIMES["reshuffled"]
    several = fd.simulate(landscape, START, spacetime, [0.3, 0.01, 0.3], runs=20, key=KEY)
    assert several.samples.shape == (3, 20)
    np.testing.assert_array_equal(several.samples[0], several.samples[2])
    alone = fd.simulate(landscape, START, spacetime, 0.01, runs=20, key=KEY)
    np.testing.assert_array_equal(several.samples[1], alone.samples[0])


def test_no_steps_leave_the_start():
    landscape = fd.Landscape(loss, POPULATION)
    simulation = fd.simulate(landscape, START, fd.Spacetime.gd(2, 0), RATE, runs=3, key=KEY)
    np.testing.assert_allclose(simulation.samples, loss(START, POPULATION).mean(), rtol=1e-6)


def test_nested_parameters_and_data():
    def nested(params, example):
        return (params["slope"] * example[0] + params["bias"][0] - example[1]) ** 2

    def flat(theta, example):
        return (theta[0] * example[0] + theta[1] - example[1]) ** 2

    data = (np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.0, -1.0]))
    spacetime = SPACETIMES["reshuffled"]
    params = {"slope": np.array(0.3, np.float32), "bias": np.array([0.1], np.float32)}
    ours = fd.simulate(fd.Landscape(nested, data), params, spacetime, 0.1, runs=8, key=KEY)
    theirs = fd.simulate(fd.Landscape(flat, data), jnp.array([0.3, 0.1]), spacetime, 0.1, runs=8, key=KEY)
    np.testing.assert_allclose(ours.samples, theirs.samples, rtol=1e-5)


def test_summary():
    simulation = fd.Simulation("gap", SPACETIMES["fixed"], np.array([0.1]), np.array([[1.0, 2.0, 6.0]]))
    assert simulation.runs == 3
    np.testing.assert_allclose(simulation.mean, [3.0])
    np.testing.assert_allclose(simulation.stderr, [(14 / 2 / 3) ** 0.5])
    assert "η = 0.1" in str(simulation)
    assert "3 ± 1.5" in str(simulation)
    saved = json.loads(json.dumps(simulation.to_dict(), allow_nan=False))
    assert (saved["quantity"], saved["runs"], saved["mean"]) == ("gap", 3, [3.0])


# --- what it refuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rates", [0, -0.1, [0.1, 0.0], float("nan"), [0.1, float("inf")], [], [[0.1]], "fast", None])
def test_bad_learning_rates(rates, landscape):
    with pytest.raises(fd.ArgumentError, match=r"[Ll]earning rate"):
        fd.simulate(landscape, START, SPACETIMES["fixed"], rates, key=KEY)


@pytest.mark.parametrize("runs", [1, 0, -5, 10.0, True, None])
def test_bad_runs(runs, landscape):
    with pytest.raises(fd.ArgumentError, match="runs is an integer ≥ 2"):
        fd.simulate(landscape, START, SPACETIMES["fixed"], RATE, runs=runs, key=KEY)


@pytest.mark.parametrize("chunk_size", [0, -1, 2.5, None, True])
def test_bad_chunk_size(chunk_size, landscape):
    with pytest.raises(fd.ArgumentError, match="chunk_size is an integer ≥ 1"):
        fd.simulate(landscape, START, SPACETIMES["fixed"], RATE, chunk_size=chunk_size, key=KEY)


def test_unknown_quantity(landscape):
    with pytest.raises(fd.ArgumentError, match="accuracy"):
        fd.simulate(landscape, START, SPACETIMES["fixed"], RATE, quantity="accuracy", key=KEY)


def test_symbols_in_the_spacetime(landscape):
    N = sympy.Symbol("N", integer=True, positive=True)
    with pytest.raises(fd.SpacetimeError, match="N"):
        fd.simulate(landscape, START, fd.Spacetime.sgd(N), RATE, key=KEY)


def test_not_a_spacetime(landscape):
    with pytest.raises(fd.ArgumentError, match="Spacetime"):
        fd.simulate(landscape, START, 10, RATE, key=KEY)


def test_no_key(landscape):
    with pytest.raises(TypeError, match="key"):
        fd.simulate(landscape, START, SPACETIMES["fixed"], RATE)


def test_a_start_that_is_not_finite(landscape):
    with pytest.raises(fd.LandscapeError, match="finite"):
        fd.simulate(landscape, float("inf"), SPACETIMES["fixed"], RATE, key=KEY)


def test_luck_of_the_training_set_does_not_blur_the_gap():
    """At small learning rates the gap's error shrinks with the learning rate, and so does its distance from 0."""
    landscape = fd.Landscape(lambda theta, x: 0.5 * (theta - x) ** 2, np.array([-1.0, 2.0, 5.0]))
    simulation = fd.simulate(landscape, 0.0, fd.Spacetime.sgd(4), [1e-3, 1e-2], runs=400, quantity="gap", key=KEY)
    assert simulation.stderr[1] / simulation.stderr[0] == pytest.approx(10, rel=0.2)
    assert abs(simulation.mean[0] - 0.006) < 4.5 * simulation.stderr[0]  # η T tr(C) / N, with C = 6
    assert simulation.stderr[0] < 0.006 / 5


@pytest.mark.parametrize("name", SPACETIMES)
def test_a_control_leaves_no_spread_in_a_linear_landscape(name: str) -> None:
    landscape = fd.Landscape(lambda theta, x: jnp.dot(theta, x), np.random.default_rng(0).normal(size=(5, 3)))
    steps, slope = int(SPACETIMES[name].T), np.mean(landscape.data, axis=0)
    done = fd.simulate(
        landscape,
        jnp.ones(3),
        SPACETIMES[name],
        [RATE],
        runs=50,
        control=True,
        key=KEY,
    )
    np.testing.assert_allclose(done.samples, slope.sum() - RATE * steps * slope @ slope, rtol=1e-5)


@pytest.mark.parametrize("quantity", ["test_loss", "train_loss"])
def test_a_control_is_of_the_loss_that_is_measured(quantity: str) -> None:
    """In the conditional reading the train loss slopes otherwise than the test loss."""
    data, test_data = np.random.default_rng(1).normal([[[0.5]], [[-1.0]]], size=(2, 5, 3))
    landscape = fd.Landscape(lambda theta, x: jnp.dot(theta, x), data, test_data, reading="conditional")
    spacetime = fd.Spacetime.sgd(5, 1, T=4, sampling="with-replacement")
    options = {"runs": 20, "quantity": quantity, "control": True, "key": KEY}
    done = fd.simulate(landscape, jnp.ones(3), spacetime, [RATE], **options)
    slope, measured = data.mean(axis=0), (test_data if quantity == "test_loss" else data).mean(axis=0)
    np.testing.assert_allclose(done.samples, measured.sum() - RATE * 4 * slope @ measured, rtol=1e-5)


@pytest.mark.parametrize("reading", ["population", "unbiased", "conditional"])
@pytest.mark.parametrize("quantity", ["test_loss", "train_loss"])
def test_a_control_keeps_the_mean_and_lowers_the_error(reading: str, quantity: str) -> None:
    rng = np.random.default_rng(3)
    data, test_data = rng.normal(size=(20, 2)), rng.normal(size=(3, 2))
    conditional = reading == "conditional"
    landscape = fd.Landscape(
        lambda theta, x: jnp.sum((theta - x) ** 2 + x * theta**3),
        data,
        test_data if conditional else None,
        reading=reading,
    )
    spacetime = fd.Spacetime.sgd(20 if conditional else 3, 1, T=6, sampling="with-replacement")
    options = {"runs": 3000, "quantity": quantity, "key": KEY}
    plain, controlled = (
        fd.simulate(landscape, jnp.full(2, 0.3), spacetime, [0.002], control=control, **options)
        for control in (False, True)
    )
    assert controlled.stderr < plain.stderr
    assert abs(controlled.mean - plain.mean) < 4 * plain.stderr


def test_a_control_is_refused_for_the_gap() -> None:
    spacetime = SPACETIMES["explicit"]
    with pytest.raises(fd.ArgumentError, match="control"):
        fd.simulate(
            fd.Landscape(loss, POPULATION),
            jnp.asarray(START),
            spacetime,
            [RATE],
            runs=2,
            quantity="gap",
            control=True,
            key=KEY,
        )
