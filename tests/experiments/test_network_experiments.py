"""The experiments on networks: their parts against plain loops, and each of them quickly on a few digits."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.drawing import drawn
from feyngd.experiments import Outcome, Setting
from feyngd.experiments import _basic_predictions as basic
from feyngd.experiments import _batch_size as batch_size
from feyngd.experiments import _multi_epoch as multi_epoch
from feyngd.experiments import _networks as networks
from feyngd.experiments._networks import Runs, difference, rates_up_to
from feyngd.experiments._verdicts import worst_agreement
from feyngd.landscapes import digits, logistic_regression
from feyngd.training import gdc_gradient

S = fd.Spacetime.sgd(N=10, B=1, E=1)


def loss(theta: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.cos(theta["a"] * x) + theta["a"] ** 2


LANDSCAPE = fd.Landscape(loss, jnp.linspace(-1, 2, 7))
START = {"a": jnp.array(0.8)}


def prediction(*coefficients: list[float], rates: tuple[float, ...] = (0.05, 0.1, 0.4)) -> fd.Prediction:
    return fd.Prediction("test_loss", S, np.array(rates), np.array(coefficients))


def test_ends_of_runs_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    batches = rng.integers(0, 7, size=(3, 2, 4, 2))

    def slope(params, batch, rate):
        return gdc_gradient(loss, params, batch, learning_rate=rate)

    for given in (None, slope):
        ends = Runs(LANDSCAPE, given).ends(START, [0.1, 0.3], batches, label="", progress=fd.Progress())
        assert ends.shape == (2, 3, 2)
        data = np.asarray(LANDSCAPE.data, dtype=float)
        for rate, draw, run in ((0, 0, 0), (1, 2, 1), (1, 0, 1)):
            a, eta = float(np.float32(0.8)), (0.1, 0.3)[rate]
            for batch in batches[draw, run]:
                x = data[batch]
                g = -x * np.sin(a * x) + 2 * a
                h = -(x**2) * np.cos(a * x) + 2
                penalty = 0 if given is None else eta / 4 * (1 - 1 / 2) * 2 * np.sum(h * (g - g.mean()))
                a -= eta * (g.mean() + penalty)
            assert ends[rate, draw, run] == pytest.approx(np.mean(np.cos(a * data) + a**2), abs=1e-13)
    assert jnp.zeros(()).dtype == jnp.float32  # double precision ends with the call


def test_coupled_batches_are_fair_and_cancel_to_first_order() -> None:
    batches = multi_epoch._coupled_batches(np.random.default_rng(0), 50, 3, 4)
    assert batches.shape == (4, 8, 30, 1)
    runs = batches[..., 0]
    np.testing.assert_array_equal(runs[:, 0::2], runs[:, 1::2, ::-1])
    counts = np.array([[np.bincount(run, minlength=50) for run in draw] for draw in runs])
    np.testing.assert_allclose(counts[:, :2].mean(axis=1), counts[:, 2:].mean(axis=1))
    for draw in runs:
        for run in draw[2:]:  # every epoch goes through the same ten points
            first, *others = np.sort(run.reshape(3, 10), axis=1)
            assert all(np.array_equal(first, other) for other in others)


def test_differences_keep_the_correlation_of_replicates() -> None:
    one, other = prediction([2, -1, 0.5], [2, -1, 0.7]), prediction([2, -1, 0.4], [2, -1, 0.6])
    found = difference(one, other)
    np.testing.assert_allclose(found.at(0.1)[0], 0.001)
    np.testing.assert_allclose(found.at(0.1)[1], 0, atol=1e-15)


def test_the_worst_rate_inside_the_range_decides() -> None:
    exact = prediction([2, -1, 0.5])  # valid up to 0.4: the last rate is outside
    assert exact.valid_up_to == pytest.approx(0.4)
    mean, stderr = exact.mean.copy(), np.full(3, 0.001)
    assert worst_agreement("claim", exact, mean, stderr).holds
    mean[2] += 1
    assert worst_agreement("claim", exact, mean, stderr).holds
    mean[1] += 0.5 * 0.1**2 + 0.0029
    found = worst_agreement("claim", exact, mean, stderr)
    assert found.holds
    assert (found.numbers["rates"], found.numbers["worst at η"]) == (2, 0.1)
    mean[1] += 0.0002
    assert not worst_agreement("claim", exact, mean, stderr).holds
    assert worst_agreement("claim", exact, mean, stderr, edge=0.07).holds
    assert not worst_agreement("claim", exact, exact.mean, stderr, edge=0.01).holds
    mean[0] = np.nan
    assert not worst_agreement("claim", exact, mean, stderr, edge=0.07).holds


def test_rates_stay_inside_the_range() -> None:
    assert rates_up_to(0.0123456, (0.5, 0.99, 2)) == [0.00617, 0.0122, 0.0247]


def test_closer_counts_only_what_can_be_distinguished() -> None:
    exact = prediction([2, -1, 0.5])
    for shift, stderr, expected in (
        (0.0, 1e-5, (2, 2)),  # the simulation is where order 2 is, at both rates inside the range
        (-1.0, 1e-5, (0, 2)),  # it is where order 1 is
        (-0.5, 1e-5, (0, 0)),  # in the middle
        (0.0, 1.0, (0, 0)),  # anywhere
    ):
        mean = exact.mean + shift * 0.5 * exact.learning_rates**2
        noise = stderr * np.array([-1.0, 1.0])
        samples = mean[:, None] + noise
        case = basic._Case(exact, fd.Simulation("test_loss", S, exact.learning_rates, samples))
        assert case.closer(2) == expected


def test_rates_reach_the_edge_and_where_the_last_order_shows() -> None:
    early = prediction([2, -1, 5, -1])  # valid up to 0.04, and the last order is a fifth of the one before it at 1
    assert basic._rates(early) == [0.0396, 0.2, 0.4, 0.6, 0.99, 1.5, 2.5]
    assert basic._rates(prediction([2, -1, 0.5, 0.0]))[-1] < 0.4


def test_what_can_nowhere_be_distinguished_is_undecided() -> None:
    exact = prediction([2, -1, 0.5])
    noise = np.array([-1.0, 1.0])
    for spread, holds in ((1e-5, True), (1.0, None)):
        samples = exact.mean[:, None] + spread * noise
        case = basic._Case(exact, fd.Simulation("test_loss", S, exact.learning_rates, samples))
        assert basic._closer([case], 2).holds is holds


def test_ratio_of_distances_has_an_interval() -> None:
    rng = np.random.default_rng(0)
    gd, sgd = np.zeros((3, 40)), np.full((3, 40), 2.0) + rng.normal(size=(3, 40))
    case = batch_size._Case(prediction([0, 0, 1, 1]), 0.2, np.stack([gd, sgd, 0.5 * sgd], axis=-1))
    np.testing.assert_allclose(case.ratio(1), 0.5)
    case = batch_size._Case(prediction([0, 0, 1, 1]), 0.2, np.stack([gd, sgd, gd + 1], axis=-1))
    middle, low, high = case.ratio(1)
    assert 0 < low < middle < high < 1
    good, _, wrong = batch_size._findings("start 1", case)
    assert "closer to GDC" in wrong.claim
    assert wrong.holds
    assert not good.holds
    assert not batch_size._findings("", batch_size._Case(case.prediction, 0.2, case.ends[..., [2, 1, 0]]))[2].holds


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    """A quick setting on a few digits, and for speed a network of one layer in place of the convnet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "convnet", logistic_regression)
        yield Setting(jax.random.key(0), digits(40), quick=True)


def record_of(found: Outcome) -> tuple[list[bool], dict[str, Any]]:
    """Return the verdicts of an outcome and its data after a trip through JSON, having drawn its figure."""
    record = json.loads(json.dumps(found.to_dict()))
    assert record["verdict"] is found.holds
    assert drawn(found.figure, "png").startswith(b"\x89PNG")
    return [finding.holds for finding in found.findings], record["data"]


@pytest.mark.slow
def test_basic_predictions(setting, monkeypatch) -> None:
    simulations, predict, simulate = [], basic.prediction_from, basic.simulate

    def simulated_once(*arguments: Any, **options: Any) -> fd.Simulation:
        simulations.append(simulate(*arguments, **options))
        return simulations[-1]

    monkeypatch.setattr(basic, "simulate", simulated_once)
    verdicts, data = record_of(basic._run(setting))
    assert verdicts == [True] * 6
    assert "N=10, B=1" in data["spacetime"]
    first, second = data["starts"]
    assert first["prediction"]["mean_by_order"][0] != second["prediction"]["mean_by_order"][0]
    assert first["simulation"]["learning_rates"] == first["prediction"]["learning_rates"]
    inside = first["prediction"]["converged"]
    assert inside == sorted(inside, reverse=True)
    assert 2 <= sum(inside) < len(inside)

    def wrong(*arguments: Any) -> fd.Prediction:
        right = predict(*arguments)
        coefficients = right.coefficients * np.array([1, 1.1, 1, 1])
        return fd.Prediction(right.quantity, right.spacetime, right.learning_rates, coefficients)

    monkeypatch.setattr(basic, "_rates", lambda prediction: simulations[0].learning_rates.tolist())
    monkeypatch.setattr(basic, "simulate", lambda *arguments, **options: simulations.pop(0))
    monkeypatch.setattr(basic, "prediction_from", wrong)
    found = basic._run(setting)
    assert [finding.holds for finding in found.findings[:2]] == [False] * 2
    assert "DOES NOT HOLD  start 1" in str(found.findings[0])


def test_several_epochs_cost_test_loss(setting) -> None:
    landscape, (start,) = networks.convnet_at_starts(setting, 1)
    values = networks.values_at(landscape, start, setting, jax.random.key(1))
    for epochs in (2, 3):
        one = multi_epoch._repeats(landscape, start, values, setting, epochs, jax.random.key(epochs))
        agrees, highest, there = (finding.holds for finding in multi_epoch._findings_on_repeats(one))
        assert (agrees, there) == (True, True)
        assert highest is not False
        first, second = one.prediction.coefficients.mean(axis=0)[1:3]
        assert first == 0  # both have as many steps
        assert second > 0
        wrong = replace(one, samples=-one.samples)
        assert [finding.holds for finding in multi_epoch._findings_on_repeats(wrong)][::2] == [False, False]


def test_gaps_are_predicted_and_simulated_alike(setting, monkeypatch) -> None:
    def instead(landscape, start, spacetime, rates, *, runs, quantity, progress, key) -> fd.Simulation:
        return fd.Simulation(quantity, spacetime, np.array(rates), np.zeros((len(rates), runs)))

    monkeypatch.setattr(multi_epoch, "simulate", instead)
    monkeypatch.setattr(networks, "ORDER", 2)
    landscape, (start,) = networks.convnet_at_starts(setting, 1)
    values = networks.values_at(landscape, start, setting, jax.random.key(1), gap=True)
    found = multi_epoch._gaps(landscape, start, values, setting, jax.random.key(2))
    for epochs, (prediction, simulation) in zip((1, 2, 3), found, strict=True):
        assert prediction.spacetime == simulation.spacetime == fd.Spacetime.sgd(N=10, B=1, E=epochs)
        assert prediction.quantity == simulation.quantity == "gap"
        assert prediction.converged.tolist() == [True] * 6 + [False]
    slopes = [one.coefficients.mean(axis=0)[1] for one, _ in found]
    np.testing.assert_allclose(np.array(slopes) / slopes[0], [1, 2, 3], rtol=1e-5)


def test_multi_epoch_tells_all(setting, monkeypatch) -> None:
    """The experiment's own findings, record and figure, from parts that are made up."""
    rng = np.random.default_rng(0)
    right = prediction([0, 0, 1, -0.2])
    gap = fd.Prediction("gap", S, right.learning_rates, np.array([[0, 1, -0.5, 0.1]]))
    noise = 1e-3 * rng.normal(size=(3, 50))
    repeats = multi_epoch._Repeats(2, 0.2, right, right.mean[:, None] + noise)
    simulation = fd.Simulation("gap", S, gap.learning_rates, gap.mean[:, None] + noise)
    monkeypatch.setattr(multi_epoch, "values_at", lambda *_, **__: None)
    monkeypatch.setattr(multi_epoch, "_repeats", lambda *_: repeats)
    monkeypatch.setattr(multi_epoch, "_gaps", lambda *_: [(gap, simulation)] * 3)
    verdicts, data = record_of(multi_epoch._run(setting))
    assert verdicts == [True, None, True] * 2 + [True, None] * 3  # of three learning rates there is no fit
    assert len(data["gaps"]) == 3
    assert [one["draws"] for one in data["several epochs less one"]] == [50, 50]
    far = fd.Simulation("gap", S, gap.learning_rates, gap.mean[:, None] + 1 + noise)
    monkeypatch.setattr(multi_epoch, "_gaps", lambda *_: [(gap, far), (gap, simulation), (gap, simulation)])
    found = multi_epoch._run(setting).findings
    assert [finding.holds for finding in found] == [True, None, True] * 2 + [False, None] + [True, None] * 2


def test_batch_size(setting) -> None:
    verdicts, data = record_of(batch_size._run(setting))
    assert verdicts[::3] + verdicts[2::3] == [True] * 4
    assert False not in verdicts
    assert data["N"] == 10
    for start in data["starts"]:
        ratios = start["distances' ratio and its 95 % interval"]
        assert all(low <= ratio <= high for ratio, low, high in ratios)
        assert ratios[0][0] < ratios[3][0]  # GDC is better at smaller learning rates
        assert len(start["SGD less GDC"]["stderr"]) == len(start["prediction"]["learning_rates"]) == 6
