"""The experiments on data averaging: what decides, and that each runs and judges."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

import feyngd as fd
from feyngd.companions.data_averaging import Optimum, SweepGroup, SweepPoint
from feyngd.experiments import (
    _averaging_drawings,
    _averaging_gap_law,
    _averaging_loss_spread,
    _averaging_spikes,
)
from feyngd.experiments._experiment import Setting
from feyngd.landscapes import digits, toys

MODULES = (_averaging_gap_law, _averaging_loss_spread)  # the others run sweeps of the same kind


def point(gaps):
    one = fd.Estimate(1.0, 0.1, 9, "ensemble")
    return SweepPoint(
        0.1, 1, 9, 0.1, 0.1, one, one, one, one, 0, 1.0, None, None, None, 0.0, "", {"mean_gap": np.asarray(gaps)}
    )


def group(drawing, spread, optimum=None):
    gaps = 1 + spread * np.linspace(-1, 1, 40)
    return SweepGroup("SGD", "constant", drawing, (point(gaps), point(gaps)), None, optimum, None, ())


def test_overlapping_gaps_are_compared_in_units_of_the_gap():
    for spreads, holds in (((0.1, 0.3), True), ((0.3, 0.1), False), ((0.1, 0.11), None)):
        found = _averaging_drawings._spread("SGD", group("split", spreads[0]), group("overlap", spreads[1]))
        assert found.holds is holds
        assert found.numbers["ratio of relative spreads"] == pytest.approx(spreads[1] / spreads[0])


def test_an_optimum_in_between_has_both_ends_in_range():
    whole = Optimum(0.1, 1.0, (0.05, 0.2), 1.0, 0.95, (0.01, 1.0))
    cases = (
        (whole, True),
        (replace(whole, interval=(0.0, 0.2), inside=0.9), None),
        (replace(whole, temperature=None, interval=(0.0, 0.0), inside=0.0, end="lower"), False),
        (None, None),
    )
    for optimum, holds in cases:
        assert _averaging_gap_law._optimum(group("split", 0.1, optimum)).holds is holds


def test_spikes_are_seen_and_descent_is_none():
    landscape, start = toys.mean_estimation()
    space = fd.Spacetime.sgd(N=4, B=1, T=80, sampling="with-replacement")
    given = {"datasets": 3, "records": 81, "key": jax.random.key(0)}
    runs = fd.companions.data_averaging.ensemble(landscape, start, space, 0.1, **given)
    traces = np.tile(np.geomspace(1, 1e-4, 81), (3, 1))  # a tenth in twenty records
    traces[1, 60] = 1.0
    traces[2, 70:] = np.nan
    made = replace(runs, train_loss=traces[:, None])
    assert _averaging_spikes._spiking(made).tolist() == [False, True, True]
    assert _averaging_spikes._cut_is_found(made).holds


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.EXPERIMENT.name)
def test_each_runs_and_judges(module):
    found = module.EXPERIMENT.run(Setting(jax.random.key(0), digits(500), quick=True))
    assert found.findings
    record = json.loads(json.dumps(found.to_dict()))
    assert record["data"]["paper"]["network"] == "ResNet, 2,796,202 weights"
    assert record["data"]["ours"]["network"] == "tanh MLP, 2,410 weights"
    assert found.figure.axes
