"""Sweeps: every combination once, whatever kills, accompanies or litters them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import jax
import numpy as np
import pytest

import feyngd as fd
from feyngd import _store
from feyngd.studies import _sweep, sweep
from feyngd.studies._sweep_config import Configuration, read_config

CONFIG = {
    "models": ["logistic"],
    "limit": 40,
    "N": [4],
    "B": [1, 2],
    "E": [1],
    "sampling": ["reshuffled", "fixed"],
    "learning_rates": [0.005, 0.01],
    "seeds": [0],
    "quantity": "test_loss",
    "order": 1,
    "runs": 4,
    "replicates": 2,
}
TOML = "\n".join(f"{key} = {json.dumps(value)}" for key, value in CONFIG.items())


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with all of `CONFIG`."""
    folder = tmp_path_factory.mktemp("sweep") / "finished"
    assert sweep(CONFIG, folder).count("done") == 4
    return folder


@pytest.fixture
def folder(finished, tmp_path) -> Path:
    """A copy of it, to be spoilt."""
    return shutil.copytree(finished, tmp_path / "copy")


def results(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def arrays(path: Path) -> dict[str, np.ndarray]:
    with closing(np.load(path.with_suffix(".npz"))) as loaded:
        return {name: loaded[name] for name in loaded.files}


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*.[jn][sp]*")}


def start(config: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "feyngd.cli", "sweep", str(config), "--out", str(out), "--quiet"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


# --- what a sweep writes ----------------------------------------------------------------------------------------------


def test_every_combination_is_written(finished):
    found = [json.loads(path.read_text()) for path in results(finished)]
    combinations = {(one["configuration"]["B"], one["configuration"]["sampling"]) for one in found}
    assert len(found) == 4
    assert combinations == {(1, "reshuffled"), (2, "reshuffled"), (1, "fixed"), (2, "fixed")}
    for record in found:
        assert record["version"] == fd.__version__
        assert record["prediction"]["learning_rates"] == CONFIG["learning_rates"]
        assert record["simulation"]["runs"] == 4
        assert isinstance(record["comparison"]["passed"], bool)
        assert set(record["comparison"]) == {
            "difference", "allowed", "agrees", "resolves", "passed", "verdict", "highest_order",
            "highest_orders",
        }  # fmt: skip
    for path in results(finished):
        saved = arrays(path)
        assert saved["samples"].shape == (2, 4)
        assert saved["coefficients"].shape[1] == 2
        assert saved["rounding"].shape[1] == 2
        assert saved["learning_rates"].tolist() == CONFIG["learning_rates"]
    assert results(finished)[0].name.startswith("logistic_N4_B1_E1_fixed_seed0-")


def test_the_numbers_are_those_of_predict_and_simulate(finished):
    configuration = read_config(CONFIG)[2]
    network = _sweep._Network(configuration)
    values = network.evaluate(fd.Progress())
    with pytest.warns(fd.TruncationWarning):
        prediction = fd.predict(
            *(network.landscape, network.params, configuration.spacetime, CONFIG["learning_rates"]),
            order=1,
            values=values,
        )
    record = json.loads((finished / f"{configuration.name}.json").read_text())
    assert record["prediction"] == prediction.to_dict()
    # The same network as that of `feyngd predict` with this seed.
    for_params, _ = jax.random.split(jax.random.key(0))
    params = fd.landscapes.digits_landscape("logistic", 40, key=for_params)[1]
    assert _store.digest_of_arrays(params) == _store.digest_of_arrays(network.params)


def test_without_simulation_and_with_full_batches(tmp_path):
    changes = {"runs": 0, "B": [4], "sampling": ["full-batch"], "quantity": "gap", "E": [3]}
    result = sweep({**CONFIG, **changes}, tmp_path)
    (path,) = results(tmp_path)
    record = json.loads(path.read_text())
    assert record["simulation"] is None
    assert record["comparison"] is None
    assert record["prediction"]["spacetime"] == str(fd.Spacetime.gd(4, 3))
    assert "samples" not in arrays(path)
    assert result.passed
    assert "not simulated" in str(result)
    assert sweep({**CONFIG, **changes}, tmp_path).count("skipped") == 1


def test_what_is_complete_is_skipped_and_not_touched(folder, monkeypatch):
    before, lines = contents(folder), []
    monkeypatch.setattr(_sweep, "_Network", None)  # nothing is even prepared
    result = sweep(CONFIG, folder, report=lines.append)
    assert (result.count("skipped"), result.count("done"), lines) == (4, 0, [])
    assert contents(folder) == before
    assert str(result).endswith("4 configurations: 0 done, 4 skipped, 0 elsewhere")


def test_numbers_do_not_depend_on_the_rest_of_the_sweep(finished, tmp_path):
    """Another order, other sizes and seeds next to it, values evaluated again: the same bits."""
    sweep({**CONFIG, "N": [6, 4], "B": [2], "seeds": [1, 0], "sampling": ["reshuffled"]}, tmp_path)
    name = f"{read_config(CONFIG)[2].name}.json"
    assert (tmp_path / name).read_bytes() == (finished / name).read_bytes()
    first, second = arrays(tmp_path / name), arrays(finished / name)
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])


def test_seeds_and_sizes_have_numbers_of_their_own():
    several = read_config({**CONFIG, "seeds": [0, 1], "learning_rates": [0.005]}) + read_config(CONFIG)
    keys = {tuple(jax.random.key_data(_sweep._key_of_runs(one)).tolist()) for one in several}
    assert len(keys) == len({one.name for one in several}) == len(several) == 12


def test_progress_counts_configurations(folder):
    shown = []

    class Recorded(fd.Progress):
        def task(self, total, label):
            shown.append([label, total, 0])
            return _Task(shown[-1])

    sweep(CONFIG, folder, progress=Recorded())
    assert shown == [["configurations", 4, 4]]


class _Task(type(fd.Progress().task(1, ""))):
    def __init__(self, entry):
        self.entry = entry

    def advance(self, steps=1):
        self.entry[2] += steps


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def evaluations(monkeypatch) -> list[int]:
    """One entry for every call of `evaluate`."""
    calls, real = [], _sweep.evaluate

    def counted(what, *arguments, **options):
        calls.append(len(what))
        return real(what, *arguments, **options)

    monkeypatch.setattr(_sweep, "evaluate", counted)
    return calls


@pytest.mark.slow
def test_values_are_evaluated_once_for_a_network(tmp_path, evaluations):
    config = {**CONFIG, "seeds": [0, 1], "sampling": ["fixed"], "runs": 0}
    sweep(config, tmp_path)
    assert len(evaluations) == 2
    result = sweep({**config, "N": [6], "learning_rates": [0.02], "seeds": [1]}, tmp_path)
    assert result.count("done") == 2
    assert len(evaluations) == 2
    sweep({**config, "replicates": 3, "seeds": [1]}, tmp_path)
    assert len(evaluations) == 3
    assert len(list((tmp_path / "values").iterdir())) == 3


def test_corrupt_values_are_left_alone_and_made_again(folder, evaluations):
    (values,) = (folder / "values").glob("*.npz")
    values.write_bytes(values.read_bytes()[:-200])
    spoilt, lines = values.read_bytes(), []
    config = {**CONFIG, "learning_rates": [0.02], "runs": 0}
    result = sweep(config, folder, report=lines.append)
    assert (result.count("done"), len(evaluations)) == (4, 1)
    assert [line for line in lines if "left alone" in line and values.name in line] == lines[:1]
    assert list(result.left_alone) == [values]
    assert values.read_bytes() == spoilt
    assert values.with_name(f"{values.stem}-2.npz").exists()
    sweep({**config, "learning_rates": [0.03]}, folder)
    assert len(evaluations) == 1


def test_foreign_values_are_left_alone(folder, evaluations):
    (values,) = (folder / "values").glob("*.npz")
    np.savez(values, description=np.array('{"version": "0"}'))
    result = sweep({**CONFIG, "learning_rates": [0.02], "runs": 0}, folder)
    assert len(evaluations) == 1
    assert "other values" in result.left_alone[values]


# --- spoilt folders ---------------------------------------------------------------------------------------------------


def spoil_json(path: Path) -> Path:
    path.write_text('{"half')
    return path


def another_configuration(path: Path) -> Path:
    path.write_text(json.dumps({**json.loads(path.read_text()), "configuration": {"N": 5}}))
    return path


def null(path: Path) -> Path:
    path.write_text("null")
    return path


def no_comparison(path: Path) -> Path:
    path.write_text(json.dumps({**json.loads(path.read_text()), "comparison": None}))
    return path


def spoil_npz(path: Path) -> Path:
    path.with_suffix(".npz").write_bytes(b"PK\x03\x04 no more")
    return path.with_suffix(".npz")


def foreign_npz_alone(path: Path) -> Path:
    path.unlink()
    np.savez(path.with_suffix(".npz"), mine=np.arange(3))
    return path.with_suffix(".npz")


def lost_npz(path: Path) -> Path:
    path.with_suffix(".npz").unlink()
    return path


@pytest.mark.parametrize(
    "spoil", [spoil_json, another_configuration, null, no_comparison, spoil_npz, foreign_npz_alone, lost_npz]
)
def test_spoilt_results_are_named_and_left_alone(folder, spoil):
    good = arrays(results(folder)[1])
    path = spoil(results(folder)[1])
    before, lines = contents(folder), []
    result = sweep(CONFIG, folder, report=lines.append)
    assert (result.count("done"), result.count("skipped")) == (1, 3)
    assert list(result.left_alone) == [path]
    assert len([line for line in lines if line.startswith(f"left alone: {path} ")]) == 1
    after = contents(folder)
    assert {path: after[path] for path in before} == before
    (redone,) = [outcome.file for outcome in result.outcomes if outcome.state == "done"]
    assert redone.stem == f"{path.stem}-2"
    for key, value in arrays(redone).items():
        np.testing.assert_array_equal(value, good[key])
    again = sweep(CONFIG, folder)
    assert again.count("skipped") == 4
    assert list(again.left_alone) == [path]


def test_killed_between_the_two_files(folder):
    """The arrays alone are those of a killed process: they are made again, under the same name."""
    path = results(folder)[0]
    path.unlink()
    result = sweep(CONFIG, folder)
    assert result.count("done") == 1
    assert path.exists()
    assert not result.left_alone
    assert len(list(folder.glob("*.npz"))) == 4


def test_temporary_files_of_dead_processes(folder):
    path = results(folder)[0]
    path.unlink()
    left = folder / f"{path.name}abcd_1x2.part"
    of_others = [folder / f"{results(folder)[0].name}abcd_1x2.part", folder / "download.part"]
    old = folder / "convnet_N9_B1_E1_fixed_seed0-0123456789ab.npzabcd_1x2.part"
    for temporary in (left, old, *of_others):
        temporary.write_text("half")
    for temporary in (old, of_others[1]):
        os.utime(temporary, (time.time() - 2 * 86400,) * 2)
    sweep(CONFIG, folder)
    assert sorted(folder.glob("*.part")) == sorted(of_others)


# --- several processes ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_sweep_goes_on(tmp_path):
    """Kill a sweep once it has finished something: all JSON files are whole, and the next sweep does the rest."""
    config, out = tmp_path / "sweep.toml", tmp_path / "out"
    config.write_text(TOML)
    process = start(config, out)
    try:
        deadline = time.monotonic() + 240
        while not results(out) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
    finally:
        process.kill()
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    complete = results(out)
    assert complete
    for path in complete:
        assert json.loads(path.read_text())["simulation"]["runs"] == 4
        assert arrays(path)["samples"].shape == (2, 4)
    result = sweep(config, out)
    assert (result.count("skipped"), result.count("done")) == (len(complete), 4 - len(complete))
    assert not result.left_alone
    assert len(results(out)) == 4
    assert not list(out.rglob("*.part"))


@pytest.mark.slow
def test_two_processes_share_a_sweep(tmp_path):
    config, out = tmp_path / "sweep.toml", tmp_path / "out"
    config.write_text(TOML)
    processes = [start(config, out) for _ in range(2)]
    try:
        printed = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], printed
    done = [line.split()[1] for text, _ in printed for line in text.splitlines() if line.startswith("done ")]
    assert sorted(done) == [path.name for path in results(out)]
    assert len(done) == 4
    assert len(list((out / "values").iterdir())) == 1
    assert sweep(config, out).count("skipped") == 4


def test_a_configuration_that_is_taken_is_left_to_its_owner(folder):
    for path in results(folder)[:2]:
        path.unlink()
    taken = results(folder)[0].with_suffix("").name
    (folder / f"{taken}.json").unlink()
    with _store.Store(folder, print).lock(taken) as held:
        assert held
        result = sweep(CONFIG, folder)
    assert [result.count(state) for state in ("done", "skipped", "elsewhere")] == [2, 1, 1]
    assert f"elsewhere  {taken}" in str(result)
    assert result.passed is not None
    assert sweep(CONFIG, folder).count("done") == 1


def test_without_file_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(_store, "fcntl", None)
    with pytest.raises(fd.FeynGDError, match="file locks"):
        sweep(CONFIG, tmp_path)


# --- bad configurations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epochs": [1]}, "Unknown entry 'epochs'.*models, limit, N"),
        ({"seeds": None}, "lacks seeds.*seeds = "),
        (
            {"models": ["transformer"]},
            "every entry of models is one of 'convnet', 'logistic', 'mlp'; got 'transformer'",
        ),
        ({"models": "logistic"}, "models is a list"),
        ({"models": []}, "at least one entry"),
        ({"limit": 0}, "limit must be an integer from 1 to 1797"),
        ({"N": 4}, r"N is a list.*N = \[10\]; got 4"),
        ({"N": [4, True]}, "every entry of N is an integer ≥ 1, got True"),
        ({"N": [4, 4]}, "N lists 4 twice"),
        ({"N": [4, 5]}, "N=5, B=2, E=1, sampling='reshuffled' is no spacetime.*Use B=1 or 5"),
        ({"B": [8]}, "larger than N=4"),
        ({"sampling": ["shuffled"]}, "'reshuffled', 'fixed', 'with-replacement', 'full-batch'; got 'shuffled'"),
        ({"sampling": ["full-batch"]}, "N=4, B=1, E=1.*Full batches have B = N"),
        ({"sampling": ["with-replacement"], "B": [3]}, "not a whole number of steps"),
        ({"learning_rates": [0.01, "fast"]}, "positive finite number; got 'fast'"),
        ({"learning_rates": [0.0]}, "positive and finite, got 0"),
        ({"learning_rates": [[0.1], [0.2]]}, "positive finite number"),
        ({"seeds": [-1]}, "every entry of seeds is an integer ≥ 0"),
        ({"seeds": [2**32]}, "0 to 4294967295"),
        ({"quantity": "accuracy"}, "quantity is one of 'test_loss', 'train_loss', 'gap'"),
        ({"order": -1}, "order"),
        ({"order": 1.5}, "order"),
        ({"runs": 1}, "runs is 0 for no simulation or an integer ≥ 2"),
        ({"runs": -2}, "runs is an integer ≥ 0"),
        ({"replicates": 1}, "replicates is an integer ≥ 2"),
    ],
)
def test_bad_configurations_are_refused_before_any_work(tmp_path, change, says):
    config = {key: value for key, value in {**CONFIG, **change}.items() if value is not None}
    with pytest.raises(fd.ArgumentError, match=says):
        sweep(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bad_files(tmp_path):
    path = tmp_path / "sweep.toml"
    with pytest.raises(fd.ArgumentError, match="Cannot read"):
        sweep(path, tmp_path / "out")
    path.write_text("N = [")
    with pytest.raises(fd.ArgumentError, match="is not TOML"):
        sweep(path, tmp_path / "out")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(fd.ArgumentError, match="is not TOML"):
        sweep(path, tmp_path / "out")
    with pytest.raises(fd.ArgumentError, match="path of a TOML file or as a mapping"):
        sweep(3, tmp_path / "out")
    with pytest.raises(fd.ArgumentError, match="Cannot write to"):
        sweep(CONFIG, path)


def test_a_file_and_a_mapping_say_the_same(tmp_path):
    (tmp_path / "sweep.toml").write_text(TOML)
    assert read_config(tmp_path / "sweep.toml") == read_config(CONFIG)
    assert all(isinstance(one, Configuration) for one in read_config(CONFIG))
    assert (
        read_config({**CONFIG, "learning_rates": [1]})[0].name
        == read_config({**CONFIG, "learning_rates": [1.0]})[0].name
    )
