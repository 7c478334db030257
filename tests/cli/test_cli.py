"""The command line: what it prints, what it refuses, and what it leaves on disk."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction as F
from pathlib import Path
from unittest import mock

import pytest
from sympy import symbols

import feyngd as fd
from feyngd import cli


def output_of(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    assert cli.main(arguments) == 0
    return capsys.readouterr().out


def error_of(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_series_prints_what_expand_gives(capsys) -> None:
    out = output_of(capsys, "series", "train_loss", "--order", "3", "-N", "6", "-B", "2", "-E", "2")
    assert out.strip() == str(fd.expand("train_loss", order=3, spacetime=fd.Spacetime.sgd(6, 2, 2)))


def test_series_with_an_optimizer(capsys, tmp_path: Path) -> None:
    symbols_of_sizes, beta = symbols("N T", integer=True, positive=True), symbols("beta")
    given = ("series", "--order", "1", "--sampling", "full-batch", "--momentum", "beta", "--nesterov")
    optimizer = fd.momentum(beta, nesterov=True)
    expected = fd.expand("test_loss", order=1, spacetime=fd.Spacetime.gd(*symbols_of_sizes), optimizer=optimizer)
    assert output_of(capsys, *given) == f"{expected}\n"
    (tmp_path / "rates.txt").write_text("0 1/2\n1 0.25\n")
    given = ("series", "-N", "5", "-B", "2", "-T", "4", "--drop-last", "false", "--ema", "0.9")
    optimizer = fd.averaged(fd.schedule([0, F(1, 2), 1, F(1, 4)]), ema=F(9, 10))
    ragged = fd.Spacetime.sgd(5, 2, T=4, drop_last=False)
    expected = fd.expand("test_loss", order=2, spacetime=ragged, optimizer=optimizer)
    assert output_of(capsys, *given, "--schedule", str(tmp_path / "rates.txt")) == f"{expected}\n"


def test_series_formats(capsys) -> None:
    assert output_of(capsys, "series", "--order", "1", "--format", "latex").strip().startswith(r"l - \frac{E N}{B}")
    assert output_of(capsys, "series", "--order", "1", "--format", "sympy").strip() == "l - E*GG*N*eta/B"
    text = output_of(capsys, "series", "gap", "--sampling", "full-batch", "-N", "n", "-T", "5", "--format", "json")
    assert fd.Series.from_json(text).spacetime.T == 5


def test_help_examples_are_real(capsys) -> None:
    """Every `$ feyngd series` or `diagrams` in the help with output shown prints that output."""
    for command in ("series", "diagrams"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        lines = capsys.readouterr().out.split("example:\n")[1].splitlines()
        arguments = lines[0].strip().removeprefix("$ feyngd ").split()
        shown = [line.removeprefix("  ") for line in lines[1 : lines.index("") if "" in lines else None]]
        assert output_of(capsys, *arguments).splitlines() == shown


def test_diagrams_lists_counts_and_draws(capsys, tmp_path: Path) -> None:
    out = output_of(capsys, "diagrams", "3", "--root-tied", "--svg", str(tmp_path / "all.svg"))
    assert len(out.splitlines()) == 49
    assert out.splitlines()[-1] == "48 diagrams of order 3; the independent count is 48"
    assert (tmp_path / "all.svg").read_text().count("<title>") >= 48


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("series", "loss"), "'test_loss', 'train_loss', 'gap'"),
        (("series", "--order", "-1"), "at least 0"),
        (("series", "--basis", "moments"), "'moment', 'cumulant'"),
        (("series", "-N", "7", "-B", "2"), "Use -B 1 or 7"),
        (("series", "-N", "2", "-B", "4"), "larger than -N 2"),
        (("series", "-N", "1.5"), "neither a whole number nor a name"),
        (("series", "--sampling", "random"), "'reshuffled', 'fixed', 'with-replacement'"),
        (("series", "--sampling", "full-batch", "-B", "2"), "Full batch has B = N"),
        (("diagrams", "-1"), "at least 0"),
        (("diagrams", "2", "--svg", "no/such/folder/x.svg"), "Cannot write"),
        (("predict", "--model", "transformer", "--out", "{out}"), "convnet"),
        (("predict", "--learning-rates", "0", "--out", "{out}"), "positive and finite"),
        (("predict", "--learning-rates", "nan", "--out", "{out}"), "positive and finite"),
        (("predict", "-N", "n", "--out", "{out}"), "only on a concrete spacetime"),
        (("predict", "--runs", "1", "--out", "{out}"), "runs is an integer ≥ 2"),
        (("predict", "--quantity", "accuracy", "--out", "{out}"), "'test_loss', 'train_loss', 'gap'"),
        (("predict", "--limit", "0", "--out", "{out}"), "limit"),
        (("sweep", "{out}.toml", "--out", "{out}"), "name the TOML file"),
        (("sweep", "{out}.toml", "--out", "{out}", "--part", "3"), "give --part 1/8 for the first of 8 parts"),
    ],
)
def test_bad_input_is_refused_with_a_reason(capsys, tmp_path: Path, arguments, says) -> None:
    assert says in error_of(capsys, *(argument.format(out=tmp_path / "out") for argument in arguments))


def test_unwritable_out_is_refused_before_computing(capsys, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("in the way")

    def never(*_, **__):
        raise AssertionError("computation started")

    monkeypatch.setattr("feyngd.landscapes.digits_landscape", never)
    assert "Cannot write to" in error_of(capsys, "predict", "--out", str(tmp_path / "file"))


def test_predict_writes_table_figure_and_numbers(capsys, tmp_path: Path) -> None:
    out = output_of(
        capsys,
        *("predict", "--model", "logistic", "--limit", "60", "--runs", "200", "--replicates", "4", "--quiet"),
        *("-N", "4", "-B", "2", "-E", "2", "--learning-rates", "0.01", "0.02", "--out", str(tmp_path)),
    )
    assert "reshuffled, N=4, B=2, E=2; simulation of 200 runs" in out
    assert (tmp_path / "prediction.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((tmp_path / "prediction.json").read_text())
    assert record["complete"]
    (panel,) = record["panels"]
    assert panel["passed"]
    assert panel["prediction"]["learning_rates"] == [0.01, 0.02]
    assert len(panel["prediction"]["mean_by_order"]) == 4
    assert panel["simulation"]["runs"] == 200
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prediction.json", "prediction.png"]


@pytest.mark.slow
def test_interrupted_run_keeps_what_was_finished(tmp_path: Path) -> None:
    """Interrupt the first simulation: the predictions of both panels are on disk, in a complete file."""
    command = [sys.executable, "-m", "feyngd.cli", "predict", "--model", "logistic", "--limit", "60", "--quiet"]
    process = subprocess.Popen(
        [*command, "--replicates", "2", "--runs", "4000000", "--out", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    try:
        deadline = time.monotonic() + 240
        while not (tmp_path / "prediction.json").exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert f"what was finished is in {tmp_path}" in errors
    record = json.loads((tmp_path / "prediction.json").read_text())
    assert not record["complete"]
    assert [panel["simulation"] for panel in record["panels"]] == [None, None]
    assert len(record["values"]["test"]) == 23
    assert [path.name for path in tmp_path.iterdir()] == ["prediction.json"]


SWEEP = """
models = ["logistic"]
limit = 40
N = [4]
B = [1, 2]
E = [1]
sampling = ["reshuffled"]
learning_rates = [0.005]
seeds = [0]
quantity = "test_loss"
order = 1
runs = {runs}
replicates = 2
"""


def test_sweep_prints_what_became_of_every_configuration(capsys, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(SWEEP.format(runs=4))
    arguments = ("sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "out"), "--quiet")
    lines = output_of(capsys, *arguments).splitlines()
    assert [line.split()[0] for line in lines] == ["done", "done", "2"]
    assert lines[-1] == "2 configurations: 2 done, 0 skipped, 0 elsewhere"
    files = sorted((tmp_path / "out").glob("*.json"))
    assert [line.split()[1] for line in lines[:2]] == [file.name for file in files]
    assert output_of(capsys, *arguments).splitlines()[-1] == "2 configurations: 0 done, 2 skipped, 0 elsewhere"
    record = json.loads(files[0].read_text())
    record["comparison"] |= {"passed": False, "verdict": "DIFFERS"}
    files[0].write_text(json.dumps(record))
    assert cli.main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0].endswith("DIFFERS")
    assert "DIFFER at a converged learning rate" in captured.err
    files[0].write_text("{")
    assert cli.main(arguments) == 0
    assert f"left alone: {files[0]} is not JSON" in capsys.readouterr().err


def test_bad_sweep_writes_nothing(capsys, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(SWEEP.format(runs=1))
    assert "runs is 0" in error_of(capsys, "sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_help_of_sweep_shows_a_sound_file(capsys, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        cli.main(["sweep", "--help"])
    lines = [line.strip() for line in capsys.readouterr().out.split("$ cat sweep.toml\n")[1].splitlines()]
    (tmp_path / "sweep.toml").write_text("\n".join(lines[: lines.index("$ feyngd sweep sweep.toml --out results")]))

    class Started(Exception):
        pass

    class Counting(fd.Progress):
        def task(self, total: int, label: str):
            raise Started(total, label)

    with pytest.raises(Started) as started:
        fd.sweep(tmp_path / "sweep.toml", tmp_path / "out", progress=Counting())
    assert started.value.args == (2**5, "configurations")


def test_interrupted_sweep_keeps_what_was_finished(tmp_path: Path) -> None:
    """Interrupt the first simulation: the values are on disk, and no configuration looks complete."""
    (tmp_path / "sweep.toml").write_text(SWEEP.format(runs=4000000))
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "feyngd.cli", "sweep", str(tmp_path / "sweep.toml"), "--out", str(out), "--quiet"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    try:
        deadline = time.monotonic() + 240
        while not list(out.glob("values/*.npz")) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert f"what was finished is in {out}" in errors
    assert len(list(out.glob("values/*.npz"))) == 1
    assert not list(out.glob("*.json"))


@pytest.fixture
def fake_experiments() -> Iterator[list]:
    """Experiments that compute nothing instead of the real ones; the settings that they ran with are returned."""
    from feyngd.drawing import new_figure
    from feyngd.experiments import EXPERIMENTS, Experiment, Finding, Outcome

    seen = []

    def fake(name: str, holds: bool) -> Experiment:
        def run(setting):
            seen.append(setting)
            if name == "stopped":
                raise KeyboardInterrupt
            return Outcome([Finding("two is two", holds, {"prediction": 2.0})], {}, new_figure()[0])

        return Experiment(name, f"what {name} shows", "a paper, section 5", run)

    known = {name: fake(name, holds) for name, holds in (("right", True), ("wrong", False), ("stopped", True))}
    with mock.patch.dict(EXPERIMENTS, known, clear=True):  # which puts them back in their order
        yield seen


def test_reproduce_lists_the_experiments(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = output_of(capsys, "reproduce", "--list").splitlines()
    assert [line.split()[0] for line in lines][:3] == ["basic-predictions", "multi-epoch", "batch-size"]
    assert all("section 5" in line for line in lines[:3])
    assert not list(tmp_path.iterdir())


def test_reproduce_prints_verdicts_and_writes_files(capsys, tmp_path: Path, fake_experiments) -> None:
    arguments = ("--out", str(tmp_path), "--limit", "30", "--seed", "3", "--quick", "--quiet")
    out = output_of(capsys, "reproduce", "right", *arguments)
    assert "right: what right shows (a paper, section 5)" in out
    assert "holds          two is two: prediction 2" in out
    assert json.loads((tmp_path / "right.json").read_text())["seed"] == 3
    (setting,) = fake_experiments
    assert setting.quick
    assert setting.images[0].shape == (30, 8, 8)
    assert cli.main(["reproduce", "right", "wrong", *arguments]) == 1
    captured = capsys.readouterr()
    assert "DOES NOT HOLD  two is two: prediction 2" in captured.out
    assert captured.err == "a claim does NOT HOLD in wrong\n"
    assert json.loads((tmp_path / "wrong.json").read_text())["verdict"] is False


def test_reproduce_runs_all_by_default_and_says_what_an_interruption_leaves(capsys, tmp_path, fake_experiments) -> None:
    assert cli.main(["reproduce", "--out", str(tmp_path), "--quiet"]) == 130
    assert f"interrupted; what was finished is in {tmp_path}" in capsys.readouterr().err
    assert [setting.images[0].shape for setting in fake_experiments] == [(500, 8, 8)] * 3
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["right.json", "wrong.json"]


def test_reproduce_reads_published_files(capsys, tmp_path: Path, fake_experiments) -> None:
    for name, magic, sizes, content in (
        ("train-images-idx3-ubyte", 0x803, (3, 28, 28), bytes(3 * 28 * 28)),
        ("train-labels-idx1-ubyte", 0x801, (3,), bytes([9, 0, 1])),
    ):
        header = b"".join(number.to_bytes(4, "big") for number in (magic, *sizes))
        (tmp_path / name).write_bytes(header + content)
    arguments = ("reproduce", "right", "--fashion-mnist", str(tmp_path), "--out", str(tmp_path / "out"), "--quiet")
    output_of(capsys, *arguments)
    output_of(capsys, *arguments, "--limit", "2")
    assert [setting.images[1].tolist() for setting in fake_experiments] == [[9, 0, 1], [9, 0]]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("left",), "Unknown experiment 'left'; there are right, wrong, stopped"),
        (("right", "--limit", "0"), "--limit is from 1 to 1797"),
        (("right", "--limit", "1798"), "--limit is from 1 to 1797"),
        (("right", "--cifar10", "{out}"), "There is no file"),
        (("right", "--fashion-mnist", "{out}"), "There is no file"),
        (("right", "--seed", "-1"), "The seed is an integer"),
        (("right", "--out", "{file}"), "Cannot write to"),
    ],
)
def test_reproduce_refuses_bad_input_before_running(capsys, tmp_path, fake_experiments, arguments, says) -> None:
    (tmp_path / "file").write_text("in the way")
    places = {"out": tmp_path / "out", "file": tmp_path / "file"}
    given = [argument.format(**places) for argument in arguments]
    assert says in error_of(capsys, "reproduce", *([] if "--out" in given else ["--out", str(tmp_path)]), *given)
    assert not fake_experiments


def test_reproduce_refuses_what_it_cannot_read(capsys, tmp_path, fake_experiments, monkeypatch) -> None:
    def refuse(folder: str) -> None:
        raise PermissionError(13, "Permission denied", f"{folder}/data_batch_1")

    monkeypatch.setattr("feyngd.landscapes.load_cifar10", refuse)
    says = error_of(capsys, "reproduce", "right", "--cifar10", str(tmp_path), "--out", str(tmp_path / "out"))
    assert f"Cannot read '{tmp_path}/data_batch_1' (Permission denied)" in says
    assert not fake_experiments


SMALL = ("--model", "logistic", "--limit", "60", "--learning-rate", "0.1", "--num-samples", "8", "--quiet")


@pytest.mark.slow
def test_anchor_draws_predicted_and_simulated_curves(capsys, tmp_path: Path) -> None:
    sizes = ("-N", "8", "-B", "3", "8", "--drop-last", "False", "--steps", "4", "--runs", "40")
    out = output_of(capsys, "anchor", *SMALL, *sizes, "--out", str(tmp_path))
    assert out.count("reshuffled, N=") == 2
    assert f"written: {tmp_path / 'anchor.png'}" in out
    record = json.loads((tmp_path / "anchor.json").read_text())
    assert record["complete"]
    assert record["about"]["model"] == "logistic"
    assert len(record["curves"]) == 2


def test_anchor_refuses_broken_epochs_before_it_computes(capsys, tmp_path: Path) -> None:
    error = error_of(capsys, "anchor", *SMALL, "-N", "8", "-B", "3", "--out", str(tmp_path / "none"))
    assert "-N 8 is not a multiple of -B 3" in error
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_advise_ranks_changes(capsys) -> None:
    out = output_of(capsys, "advise", *SMALL, "-N", "8", "-B", "2", "-E", "2")
    assert "planned: test_loss after 8 steps, reshuffled, N=8, B=2, E=2" in out
    effects = [float(effect) for effect in re.findall(r"(?m)^  \S.*  +([+-]\S+)  +\S+  +\S+  +\d+  +\d+", out)]
    assert len(effects) == 6
    assert effects == sorted(effects)
    assert "factor is an integer ≥ 2, got 1" in error_of(capsys, "advise", *SMALL, "--factor", "1")


@pytest.mark.slow
def test_advice_on_a_run_without_a_prediction_is_no_success(capsys) -> None:
    arguments = ("-N", "8", "-B", "2", "-E", "2", "--learning-rate", "1000")
    assert cli.main(["advise", *SMALL, *arguments]) == 1
    assert "this advice is a guess: lower --learning-rate" in capsys.readouterr().err


def test_anchor_says_that_a_path_diverges_and_draws_nothing(capsys, tmp_path: Path) -> None:
    sizes = ("-N", "8", "-B", "4", "--steps", "2", "--learning-rate", "1000")
    assert "The noiseless path diverges" in error_of(capsys, "anchor", *SMALL, *sizes, "--out", str(tmp_path))
    assert not list(tmp_path.iterdir())
