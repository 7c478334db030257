"""Parts of a sweep, for the jobs of an array: together they are the whole, and each is done alone."""

import jax
import pytest

import feyngd as fd
from feyngd.studies import _sweep, sweep
from feyngd.studies._sweep_config import read_config

CONFIG = {
    "models": ["logistic"],
    "limit": 20,
    "N": [4],
    "B": [1, 2],
    "E": [1, 2],
    "sampling": ["reshuffled", "fixed"],
    "learning_rates": [0.005],
    "seeds": [0],
    "quantity": "test_loss",
    "order": 1,
    "runs": 0,
    "replicates": 2,
}


@pytest.mark.parametrize("parts", [1, 2, 3, 5, 8, 11])
def test_parts_make_the_whole(parts):
    configurations = read_config(CONFIG)
    found = [_sweep._part_of(configurations, (number, parts)) for number in range(1, parts + 1)]
    assert [one for part in found for one in part] == configurations
    sizes = [len(part) for part in found]
    assert max(sizes) - min(sizes) <= 1


def test_a_part_does_its_own_configurations_alone(tmp_path):
    names = [one.name for one in read_config(CONFIG)]
    first = sweep(CONFIG, tmp_path, part=(1, 4))
    assert [outcome.name for outcome in first.outcomes] == names[:2]
    assert first.count("done") == 2
    whole = sweep(CONFIG, tmp_path)
    assert (whole.count("skipped"), whole.count("done")) == (2, 6)
    assert sweep(CONFIG, tmp_path, part=(3, 4)).count("skipped") == 2


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ((0, 3), "the part is an integer ≥ 1"),
        ((4, 3), "from 1 to 3, the number of parts; got 4"),
        ((1, 0), "the number of parts is an integer ≥ 1"),
        ((1.5, 2), "the part is an integer"),
        (3, r"a pair such as \(1, 8\)"),
        ((1, 2, 3), r"a pair such as \(1, 8\)"),
    ],
)
def test_what_is_no_part_is_refused_before_any_work(tmp_path, part, says):
    with pytest.raises(fd.ArgumentError, match=says):
        sweep(CONFIG, tmp_path / "out", part=part)
    assert not (tmp_path / "out").exists()


def test_a_mesh_of_several_processes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_sweep, "is_shared_by_processes", lambda mesh: True)
    with pytest.raises(fd.ArgumentError, match="configurations of its own"):
        sweep(CONFIG, tmp_path / "out", mesh=jax.make_mesh((1,), ("runs",)))
    assert not (tmp_path / "out").exists()
