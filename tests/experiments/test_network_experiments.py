"""The experiments on networks: their parts against plain loops, and each of them quickly on a few digits."""

import json
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.experiments import EXPERIMENTS, Finding, Setting
from feyngd.experiments import _basic_predictions as basic
from feyngd.experiments import _batch_size as batch_size
from feyngd.experiments import _multi_epoch as multi_epoch
from feyngd.experiments import _networks as networks
from feyngd.experiments._experiment import drawn
from feyngd.experiments._networks import Runs, difference, rates_up_to, worst_agreement
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
        data = np.linspace(-1, 2, 7, dtype=np.float32).astype(float)
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


def test_closer_counts_only_what_can_be_told_apart() -> None:
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


def test_ratio_of_distances_has_an_interval() -> None:
    rng = np.random.default_rng(0)
    gd, sgd = np.zeros((3, 40)), np.full((3, 40), 2.0) + rng.normal(size=(3, 40))
    case = batch_size._Case(prediction([0, 0, 1, 1]), 0.2, np.stack([gd, sgd, 0.5 * sgd], axis=-1))
    np.testing.assert_allclose(case.ratio(1), 0.5)
    case = batch_size._Case(prediction([0, 0, 1, 1]), 0.2, np.stack([gd, sgd, gd + 1], axis=-1))
    middle, low, high = case.ratio(1)
    assert 0 < low < middle < high < 1
    good, wrong = batch_size._findings("start 1", case)
    assert "closer to GDC" in wrong.claim
    assert wrong.holds
    assert not good.holds
    assert not batch_size._findings("", batch_size._Case(case.prediction, 0.2, case.ends[..., [2, 1, 0]]))[1].holds


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    """A quick setting on a few digits, and for speed a network of one layer in place of the convnet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "convnet", logistic_regression)
        networks._network.cache_clear()
        yield Setting(jax.random.key(0), digits(40), quick=True)
    networks._network.cache_clear()


def record_of(name: str, setting: Setting) -> tuple[list[Finding], dict[str, Any]]:
    """Run an experiment; return its findings, and its record after a trip through JSON."""
    found = EXPERIMENTS[name].run(setting)
    record = json.loads(json.dumps(found.to_dict()))
    assert record["verdict"] is all(finding.holds for finding in found.findings)
    assert drawn(found.figure, "png").startswith(b"\x89PNG")
    return list(found.findings), record["data"]


def test_basic_predictions(setting, monkeypatch) -> None:
    findings, data = record_of("basic-predictions", setting)
    assert [finding.holds for finding in findings] == [True] * 5
    assert "N=10, B=1" in data["spacetime"]
    first, *others = data["starts"]
    assert len(others) == 2
    assert first["prediction"]["mean_by_order"][0] != others[0]["prediction"]["mean_by_order"][0]
    assert first["simulation"]["learning_rates"] == first["prediction"]["learning_rates"]
    assert first["prediction"]["converged"] == [True] * 5 + [False] * 2

    def wrong(*arguments: Any) -> fd.Prediction:
        right = prediction_from(*arguments)
        return fd.Prediction(
            right.quantity, right.spacetime, right.learning_rates, right.coefficients * np.array([1, 1, 1.5, 1])
        )

    prediction_from = basic.prediction_from
    monkeypatch.setattr(basic, "prediction_from", wrong)
    findings, _ = record_of("basic-predictions", setting)
    assert not any(finding.holds for finding in findings[:3])
    assert "DOES NOT HOLD" in str(findings[0])


def test_multi_epoch(setting) -> None:
    findings, data = record_of("multi-epoch", setting)
    assert [finding.holds for finding in findings] == [True] * 7
    two, three = data["several epochs less one"]
    assert (two["epochs"], three["epochs"]) == (2, 3)
    assert two["prediction"]["coefficients"][:2] == [0, 0]  # both have as many steps
    assert len(two["mean"]) == len(two["stderr"]) == len(two["prediction"]["learning_rates"])
    gaps = [gap["prediction"]["coefficients"] for gap in data["gaps"]]
    np.testing.assert_allclose([gap[1] / gaps[0][1] for gap in gaps], [1, 2, 3], rtol=1e-5)


def test_batch_size(setting) -> None:
    findings, data = record_of("batch-size", setting)
    assert [finding.holds for finding in findings] == [True] * 4
    assert data["N"] == 10
    for start in data["starts"]:
        ratios = start["distances' ratio and its 95 % interval"]
        assert all(low <= ratio <= high for ratio, low, high in ratios)
        assert ratios[0][0] < ratios[3][0]  # GDC is better at smaller learning rates
        assert len(start["SGD less GDC"]["stderr"]) == len(start["prediction"]["learning_rates"]) == 6
