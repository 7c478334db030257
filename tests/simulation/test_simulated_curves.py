"""Simulated learning curves: the same as runs that end there, what they hold, and what is refused."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
import pytest

import feyngd as fd
from feyngd.simulation import SimulatedCurves

KEY = jax.random.key(3)
POPULATION = np.array([-1.0, 0.5, 2.0])
RATES = [0.05, 0.3]
SPACETIMES = {
    "reshuffled": fd.Spacetime.sgd(5, 2, 2, drop_last=False),
    "fixed": fd.Spacetime.sgd(4, 2, 3, sampling="fixed"),
    "with-replacement": fd.Spacetime.sgd(3, 2, T=6, sampling="with-replacement"),
    "full-batch": fd.Spacetime.gd(3, 6),
    "explicit": fd.Spacetime.from_batches([[0], [1, 2], [2], [0, 1], [1], [0]], N=3),
}


def loss(theta, x):
    return (theta - x) ** 2 / 2 + x * theta**3 / 6 + theta**4 / 24


@pytest.fixture(scope="module")
def landscape():
    return fd.Landscape(loss, POPULATION)


@pytest.mark.parametrize("spacetime", SPACETIMES.values(), ids=SPACETIMES.keys())
def test_the_last_time_is_a_simulation_of_the_whole_run(spacetime, landscape):
    for quantity in ("test_loss", "train_loss", "gap"):
        options = {"runs": 20, "quantity": quantity, "key": KEY}
        curves = fd.simulate(landscape, 0.6, spacetime, RATES, times="all", **options)
        whole = fd.simulate(landscape, 0.6, spacetime, RATES, **options)
        assert curves.times.tolist() == list(range(int(spacetime.T) + 1))
        assert curves.samples.shape == (2, 7, 20)
        np.testing.assert_allclose(curves.samples[:, -1], whole.samples, rtol=1e-5, atol=1e-6)
        assert curves.after(6).spacetime == spacetime


@pytest.mark.parametrize("name", ["fixed", "full-batch", "explicit"])
def test_curves_are_separate_simulations(name, landscape):
    """Where no batches are drawn, the same key gives shorter runs the same training sets."""
    spacetime = SPACETIMES[name]
    curves = fd.simulate(landscape, 0.6, spacetime, RATES, times=[0, 2, 3, 6], runs=20, key=KEY)
    for time in (0, 2, 3, 6):
        ended = curves.after(time)
        assert int(ended.spacetime.T) == time
        alone = fd.simulate(landscape, 0.6, ended.spacetime, RATES, runs=20, key=KEY)
        np.testing.assert_allclose(ended.samples, alone.samples, rtol=1e-5)
        np.testing.assert_array_equal(ended.samples, curves.samples[:, curves.times == time][:, 0])


def test_means_of_random_batches_are_those_of_separate_simulations(landscape):
    spacetime = SPACETIMES["reshuffled"]
    options = {"runs": 4000, "chunk_size": 500}
    curves = fd.simulate(landscape, 0.6, spacetime, RATES, times=[2, 3, 4], key=KEY, **options)
    for place, time in enumerate((2, 3, 4)):
        shorter = curves.after(time).spacetime
        assert shorter == fd.Spacetime.sgd(5, 2, T=time, drop_last=False)
        alone = fd.simulate(landscape, 0.6, shorter, RATES, key=jax.random.key(time), **options)
        allowed = 4.5 * np.hypot(alone.stderr, curves.stderr[:, place])
        assert np.all(np.abs(alone.mean - curves.mean[:, place]) < allowed)


def test_more_runs_and_times_than_fit_at_once(landscape):
    spacetime = fd.Spacetime.sgd(4, 2, 40)
    some, every = (
        fd.simulate(landscape, 0.6, spacetime, 0.1, times=times, runs=300, key=KEY) for times in ([0, 79, 80], "all")
    )
    np.testing.assert_array_equal(every.times, np.arange(81))
    np.testing.assert_allclose(some.samples, every.samples[:, [0, 79, 80]], rtol=1e-5)


def test_ragged_epochs_are_explicit_batches(landscape):
    """A fixed order has the same batches in every run, so that they can be listed."""
    ragged = fd.Spacetime.sgd(5, 2, T=5, sampling="fixed", drop_last=False)
    listed = fd.Spacetime.from_batches([[0, 1], [2, 3], [4], [0, 1], [2, 3]], N=5)
    options = {"optimizer": fd.momentum(0.9), "times": "all", "control": True, "runs": 20, "key": KEY}
    one, other = (fd.simulate(landscape, 0.6, spacetime, RATES, **options) for spacetime in (ragged, listed))
    np.testing.assert_array_equal(one.samples, other.samples)


# --- what they hold -----------------------------------------------------------------------------------------------


def test_curves_are_kept_and_printed(landscape, tmp_path):
    curves = fd.simulate(landscape, 0.6, SPACETIMES["reshuffled"], RATES, times=[1, 6], runs=8, key=KEY)
    assert curves.runs == 8
    np.testing.assert_allclose(curves.mean, curves.samples.mean(axis=2))
    np.testing.assert_allclose(curves.stderr, curves.samples.std(axis=2, ddof=1) / 8**0.5)
    curves.save(tmp_path / "curves.npz")
    back = SimulatedCurves.load(tmp_path / "curves.npz")
    np.testing.assert_array_equal(back.samples, curves.samples)
    assert back.spacetime == curves.spacetime
    kept = json.loads(json.dumps(curves.to_dict(), allow_nan=False))
    assert kept["times"] == [1, 6]
    assert np.shape(kept["mean"]) == np.shape(kept["stderr"]) == (2, 2)
    assert "t = 1: " in str(curves)
    assert "η = 0.3" in str(curves)
    assert "8 runs at 2 rates and 2 times" in repr(curves)


def test_runs_that_diverge_are_counted(landscape):
    curves = fd.simulate(landscape, 0.6, SPACETIMES["full-batch"], [0.1, 1e9], times=[0, 6], runs=4, key=KEY)
    assert "4 of 4 runs diverged" in str(curves)
    assert curves.to_dict()["mean"][1][1] is None
    assert np.isfinite(curves.mean[:, 0]).all()


def test_a_curve_at_one_rate_is_compared_with_a_predicted_one(landscape):
    spacetime = fd.Spacetime.sgd(4, 2, 3)
    curves = fd.simulate(landscape, 0.6, spacetime, RATES, times=[2, 4, 6], runs=20, key=KEY)
    predicted = np.linspace(0, 1, 7)
    nothing = {"minibatch noise": np.zeros((2, 7))}
    prediction = fd.AnchoredPrediction("test_loss", spacetime, np.arange(7), predicted, nothing, np.zeros(7))
    compared = fd.compare(prediction, curves.curve(0.05).simulations)
    np.testing.assert_array_equal(compared.simulation.points, [2, 4, 6])
    np.testing.assert_array_equal(compared.simulation.mean, curves.mean[0])
    np.testing.assert_allclose(compared.difference, predicted[[2, 4, 6]] - curves.mean[0])


def test_what_was_not_simulated_cannot_be_looked_up(landscape):
    curves = fd.simulate(landscape, 0.6, SPACETIMES["reshuffled"], RATES, times=[1, 6], runs=2, key=KEY)
    with pytest.raises(fd.ArgumentError, match="measured after 1, 6 steps; got 2"):
        curves.after(2)
    for rate in (None, 0.1):
        with pytest.raises(fd.ArgumentError, match=r"one learning rate of 0\.05, 0\.3"):
            curves.curve(rate)
    alone = fd.simulate(landscape, 0.6, SPACETIMES["reshuffled"], 0.3, times=[1, 6], runs=2, key=KEY)
    np.testing.assert_array_equal(alone.curve().mean, curves.curve(0.3).mean)


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", ["some", 3, [], [7], [-1, 2], [2, 2], [3, 1], [1.5], [True], np.array(3), b"ab"])
def test_bad_times(times, landscape):
    with pytest.raises(fd.ArgumentError, match=r"numbers? of steps"):
        fd.simulate(landscape, 0.6, SPACETIMES["fixed"], RATES, times=times, runs=2, key=KEY)


@pytest.mark.parametrize(
    ("average", "times", "message"),
    [
        ({"tail": 3}, [2, 3], r"last 3 iterates.*t=2"),
        ({"weights": [0, 0, 0, 0, 0, 1]}, [6], r"ema= or tail="),
    ],
)
def test_averages_that_are_not_there_on_the_way(average, times, message, landscape):
    optimizer = fd.averaged(fd.sgd(), **average)
    with pytest.raises(fd.ArgumentError, match=message):
        fd.simulate(landscape, 0.6, SPACETIMES["fixed"], RATES, optimizer=optimizer, times=times, runs=2, key=KEY)


# --- compiling ----------------------------------------------------------------------------------------------------

KINDS = {
    "plain": (fd.sgd(), fd.sgd()),
    "momentum": (fd.momentum(0.9), fd.momentum(0.5, nesterov=True), fd.schedule([1, 0.5] * 4, fd.momentum(0.3))),
    "schedule": (fd.schedule([1, 0.5] * 3), fd.schedule(lambda step: 1 / (1 + step)), fd.schedule([2, 1, 1, 1] * 2)),
    "average": (fd.averaged(fd.sgd(), ema=0.9), fd.averaged(fd.sgd(), tail="all"), fd.averaged(fd.sgd(), ema=0.5)),
    "metric": (fd.preconditioned(fd.momentum(0.9), 0.5), fd.preconditioned(fd.momentum(0.1), 2)),
}
LENGTHS = (3, 2, 4)  # epochs of two steps


@pytest.mark.parametrize("times", [None, ([1, 6], "all", [0, 3, 8])], ids=["end", "curve"])
@pytest.mark.parametrize("kind", KINDS)
def test_other_optimizers_of_the_kind_compile_nothing(kind, times):
    landscape, spacetimes = fd.Landscape(loss, POPULATION), [fd.Spacetime.sgd(4, 2, epochs) for epochs in LENGTHS]

    def call(place):
        looks = None if times is None else times[place]
        options = {"optimizer": KINDS[kind][place], "times": looks, "control": True, "runs": 20, "key": KEY}
        fd.simulate(landscape, 0.5 + place, spacetimes[place], [0.1, 0.2 + place], **options)

    call(0)
    with compilations() as seen:
        for place in range(1, len(KINDS[kind])):
            call(place)
    assert seen == []


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Give a list of the programs compiled in the context."""
    seen: list[str] = []

    def listen(event: str, duration: float, **details: str | int) -> None:
        if event.endswith("/backend_compile_duration"):
            seen.append(str(details.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
