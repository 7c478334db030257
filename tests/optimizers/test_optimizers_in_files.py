"""Optimizers in the files of results, over the steps of a run, and when two of them are the same."""

import json
from collections import namedtuple
from fractions import Fraction as F

import numpy as np
import optax
import pytest
from sympy import symbols

import feyngd as fd
from feyngd._archive import read, write
from feyngd.optimizers import Optimizer

Layers = namedtuple("Layers", "first second")
METRIC = {"a": [1.0, (0.5, np.ones(3))], "b": Layers(np.zeros(2), None)}
OPTIMIZERS = [
    fd.sgd(),
    fd.momentum(F(9, 10), nesterov=True),
    fd.schedule([0, F(1, 3), 1], fd.momentum(0.5, classical=True, dampening=F(1, 7))),
    fd.averaged(fd.sgd(), ema=F(1, 2)),
    fd.averaged(fd.momentum(0.25), tail="all"),
    fd.averaged(fd.sgd(), weights=[F(1, 2), 0, F(1, 2)]),
    fd.preconditioned(fd.momentum(0.5), METRIC),
    fd.from_optax(optax.sgd(0.3, momentum=0.5), steps=3),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_every_kind_is_kept_exactly(optimizer: Optimizer, tmp_path) -> None:
    write(tmp_path / "kept", optimizer)
    back = read(tmp_path / "kept", Optimizer)
    assert back == optimizer
    assert hash(back) == hash(optimizer)
    assert type(back.beta) is type(optimizer.beta)
    assert str(back) == str(optimizer)


def test_files_of_earlier_versions_are_those_of_plain_sgd(tmp_path) -> None:
    S, rates = fd.Spacetime.sgd(4, 2), np.array([0.1])
    results = [
        fd.Simulation("gap", S, rates, np.ones((1, 3)), optimizer=fd.momentum(0.5)),
        fd.Prediction("gap", S, rates, np.ones((1, 2)), optimizer=fd.momentum(0.5)),
        fd.SimulatedCurves("gap", S, rates, np.array([2]), np.ones((1, 1, 3)), optimizer=fd.momentum(0.5)),
    ]
    for result in results:
        result.save(tmp_path / "kept")
        assert type(result).load(tmp_path / "kept").optimizer == fd.momentum(0.5)
        with np.load(tmp_path / "kept", allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        content = json.loads(str(arrays["description"]))
        state = content["value"]["state"]["dict"]
        content["value"]["state"]["dict"] = [item for item in state if item[0] != "optimizer"]
        with open(tmp_path / "old", "wb") as file:
            np.savez(file, **{**arrays, "description": np.array(json.dumps(content))})
        assert type(result).load(tmp_path / "old").optimizer == fd.sgd()


def test_optimizers_over_steps() -> None:
    listed = fd.schedule(lambda step: F(1, 1 + step), fd.momentum(F(1, 2))).over_steps(3)
    assert listed == fd.schedule([1, F(1, 2), F(1, 3)], fd.momentum(F(1, 2)))
    assert fd.schedule([0, 0, 1]).over_steps(2).multipliers == (0, 0)
    cut = fd.from_optax(optax.sgd(0.3, momentum=0.5), steps=5).over_steps(3)
    assert cut.measured.steps == 3
    assert cut.acts_like(OPTIMIZERS[-1], 3)
    with pytest.raises(fd.ArgumentError, match="2 multipliers, and the run has T=3"):
        fd.schedule([1, 1]).over_steps(3)


def test_the_same_optimizer_in_other_words() -> None:
    same = [
        (fd.momentum(F(9, 10)), fd.momentum(0.9)),
        (fd.schedule(lambda step: 1 / (1 + step)), fd.schedule([1, F(1, 2), F(1, 3)])),
        (fd.from_optax(optax.sgd(1.0, momentum=0.9), steps=3), fd.momentum(0.9)),
        (fd.averaged(fd.sgd(), tail=2), fd.averaged(fd.sgd(), weights=[0, F(1, 2), F(1, 2)])),
        (fd.momentum(0.5, classical=True), fd.momentum(0.5)),
    ]
    for one, other in same:
        assert one.acts_like(other, 3)
        assert other.acts_like(one, 3)
    different = [
        (fd.momentum(0.9), fd.momentum(0.9, nesterov=True)),
        (fd.sgd(), fd.averaged(fd.sgd(), tail=2)),
        (fd.preconditioned(fd.sgd(), 2.0), fd.sgd()),
        (fd.schedule([1, 1, 0.9]), fd.sgd()),
        (fd.schedule([1, 0.5, 0], fd.momentum(0.5)), fd.schedule([1, 0.5, 0], fd.momentum(0.5, classical=True))),
    ]
    for one, other in different:
        assert not one.acts_like(other, 3)
    with pytest.raises(fd.ArgumentError, match="symbols beta"):
        fd.momentum(symbols("beta")).acts_like(fd.sgd(), 3)
