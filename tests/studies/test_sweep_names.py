"""What distinguishes the files of a sweep: all that their numbers depend on, and nothing else."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import feyngd as fd
from feyngd._store import Store, digest
from feyngd.studies import _sweep
from feyngd.studies._sweep_config import Configuration, read_config

ONE = Configuration(
    model="logistic",
    limit=12,
    N=4,
    B=2,
    E=1,
    sampling="reshuffled",
    seed=0,
    learning_rates=(0.01,),
    quantity="test_loss",
    order=1,
    runs=2,
    replicates=2,
    dtype="float32",
)


def described(configuration):
    return digest(_sweep._Network(configuration).description())


@pytest.fixture(scope="module")
def plain():
    return described(ONE)


@pytest.mark.parametrize(
    "change",
    [
        {"limit": 11},
        {"seed": 1},
        {"quantity": "train_loss"},
        {"quantity": "gap"},
        {"order": 2},
        {"replicates": 3},
        {"check_dtype": False},
        {"model": "mlp"},
    ],
    ids=str,
)
def test_values_are_named_by_all_that_they_depend_on(change, plain):
    assert described(replace(ONE, **change)) != plain


def test_values_in_double_precision_have_a_name_of_their_own(plain):
    with jax.enable_x64(True):
        assert described(replace(ONE, dtype="float64")) != plain


@pytest.mark.parametrize("change", [{"N": 6}, {"B": 1}, {"E": 2}, {"sampling": "fixed"}, {"runs": 0}], ids=str)
def test_values_serve_all_spacetimes_of_a_network(change, plain):
    assert described(replace(ONE, **change)) == plain


@pytest.mark.parametrize("change", [{"seed": 1}, {"limit": 11}, {"model": "mlp"}], ids=str)
def test_a_runner_makes_a_network_of_its_own(change, tmp_path, monkeypatch):
    """The last network is kept for the next configuration, unless that has another one."""
    made = []

    class Network:
        def __init__(self, configuration):
            made.append(configuration)
            self.values = "values"

    monkeypatch.setattr(_sweep, "_Network", Network)
    runner = _sweep._Runner(Store(tmp_path, print), None, None, print)
    other = replace(ONE, **change)
    for one in (ONE, replace(ONE, N=8), other, replace(other, B=1), ONE):
        runner._prepare(one, wait=False)
    assert made == [ONE, other, ONE]


def test_keys_of_runs_take_64_bits_of_the_content(monkeypatch):
    keys = []
    for content in ("0123456789abcdef", "0123456789abcdee", "1123456789abcdef"):
        monkeypatch.setattr(Configuration, "digest", property(lambda _, content=content: content))
        keys.append(tuple(jax.random.key_data(_sweep._key_of_runs(ONE)).tolist()))
    assert len(set(keys)) == 3


def test_keys_of_runs_do_not_depend_on_diagnosis():
    keys = [jax.random.key_data(_sweep._key_of_runs(replace(ONE, check_dtype=flag))) for flag in (None, True, False)]
    for other in keys[1:]:
        np.testing.assert_array_equal(other, keys[0])


def test_sweeps_say_whether_to_measure():
    entries = {
        "models": ["logistic"],
        "limit": 40,
        "N": [4],
        "B": [2],
        "E": [1],
        "sampling": ["reshuffled"],
        "learning_rates": [0.01],
        "seeds": [0],
        "quantity": "test_loss",
        "order": 1,
        "runs": 0,
        "replicates": 2,
    }
    (left,) = read_config(entries)
    (off,) = read_config({**entries, "check_dtype": False})
    assert left.check_dtype is None
    assert "check_dtype" not in left.to_dict()
    assert off.check_dtype is False
    assert off.name != left.name
    with pytest.raises(fd.ArgumentError, match="check_dtype is true or false"):
        read_config({**entries, "check_dtype": "no"})
