"""Temperature sweeps: what they find on a problem that is solved, how they resume, what they refuse."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd._store import Store
from feyngd.companions.data_averaging import Ensemble, optimal_temperature, temperature_sweep
from feyngd.companions.data_averaging._pool_minimum import PoolMinimum
from feyngd.companions.data_averaging._sweep_analysis import across, analysed
from feyngd.companions.data_averaging._sweep_cells import CellResult
from feyngd.companions.data_averaging._sweep_config import Cell, Recipe, read_config

POOL = np.random.default_rng(1).normal(size=60)
LANDSCAPE = fd.Landscape(lambda theta, x: (theta - x) ** 2 / 2, jnp.array(POOL))
START = jnp.array(0.0)
CONFIG = {
    "model": "means",
    "N": 20,
    "B": [2],
    "learning_rates": [0.05, 0.1, 0.2, 0.4, 0.8],
    "datasets": 60,
    "steps": 80,
    "drawings": ["split", "overlap"],
    "sampling": "with-replacement",
    "weight_decay": 0.2,
    "records": 20,
}
KEY = jax.random.key(0)


def run(out, **changed):
    return temperature_sweep({**CONFIG, **changed}, out, landscape=LANDSCAPE, start=START)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep")
    lines = []
    found = temperature_sweep(CONFIG, out, landscape=LANDSCAPE, start=START, report=lines.append)
    assert found.count("done") == len(lines) == 10
    return out, found


def test_a_solved_problem(folder):
    """The gap of mean estimation is s²/(nH) at every temperature, with s² of M − 1, and 1 − n/M of it with overlap."""
    out, found = folder
    assert found.passed, str(found)
    exact = POOL.var(ddof=1) / 20 / 1.2
    for group, factor in zip(found.groups, (1, 1 - 20 / 60), strict=True):
        assert [point.temperature for point in group.points] == pytest.approx([0.025, 0.05, 0.1, 0.2, 0.4])
        for point in group.points:
            assert point.long_run.value == pytest.approx(factor * exact, rel=1e-4)
            assert abs(point.gap.value - factor * exact) < 4 * point.gap.stderr
            assert point.relaxations == pytest.approx(80 * point.learning_rate * 1.2, rel=1e-4)
        assert group.law.form == "constant"
        assert group.optimum.interval[0] == 0.0  # the loss rises from T = 0: no optimum is found below
        verdicts = {verdict.claim: verdict.holds for verdict in group.verdicts}
        assert verdicts["the gap rises as a/T at low temperature, as in law (1)"] is False
        assert verdicts["the gap is tr(C H⁻¹)/n where runs are long enough"] is True
        assert verdicts["the gap is that of re-summed runs from the minimum"] is None
    (conversion,) = found.verdicts
    assert "1 − N/M" in conversion.claim
    record = json.loads((out / "results.json").read_text())
    assert record["groups"] == found.to_dict()["groups"]
    assert (out / "results.txt").read_text() == f"{found}\n"
    assert (out / "results.png").read_bytes().startswith(b"\x89PNG")
    first = found.cells[0].file
    kept = json.loads(first.read_text())
    runs = Ensemble.load(first.with_suffix(".npz"), LANDSCAPE, START)
    assert runs.level("gap").value == pytest.approx(np.mean(kept["levels"]["gap"]))
    other = Ensemble.load(found.cells[5].file.with_suffix(".npz"), LANDSCAPE, START)
    assert np.array_equal(runs.flat_params, other.flat_params)  # the drawing alone differs


def test_what_is_finished_is_kept(folder):
    out, found = folder
    again = run(out)
    assert again.count("skipped") == 10
    assert again.to_dict() == found.to_dict()
    first, second = (cell.file for cell in found.cells[:2])
    before = json.loads(first.read_text())["levels"]
    first.unlink()  # as if the process had been killed before it was written
    second.with_suffix(".npz").unlink()
    with Store(out, print).lock(found.cells[0].name) as held:
        assert held
        taken = run(out)
    assert [taken.count(state) for state in ("done", "skipped", "elsewhere")] == [1, 8, 1]
    assert taken.groups == ()
    assert "call again" in str(taken)
    assert list(taken.left_alone.values()) == ["has lost the NPZ file next to it"]
    last = run(out)
    assert last.count("done") == 1
    assert json.loads(first.read_text())["levels"] == before
    assert plain_points(last) == plain_points(found)


def plain_points(sweep):
    return [(point.gap.value, point.test.value) for group in sweep.groups for point in group.points]


def test_another_sweep_does_not_go_into_the_folder(folder):
    out, _ = folder
    with pytest.raises(fd.ArgumentError, match=r"holds a temperature sweep with datasets = 60; this one has 61"):
        run(out, datasets=61)
    with pytest.raises(fd.ArgumentError, match="with another landscape"):
        temperature_sweep(CONFIG, out, landscape=LANDSCAPE, start=START + 1)


# --- what verdicts see ------------------------------------------------------------------------------------------------


def made_up(gap_of, test_of=lambda cell: 1.0, drawing="split", momenta=(0.0,), truncation=0.0, predicted=None):
    """Results of six temperatures with levels as given, ±0.01 over 20 training sets."""
    rng, results = np.random.default_rng(0), []
    for mu in momenta:
        for number, rate in enumerate([0.01, 0.02, 0.04, 0.08, 0.16, 0.32]):
            for B in (1, 2):
                how = {"sampling": "reshuffled", "datasets": 20, "runs": 1, "weight_decay": 0.1, "noise": 0.0}
                cell = Cell(
                    rate * B, B, Recipe(mu), drawing, number, 1000, 10, start="minimum", test_size=None, records=9,
                    landscape="", **how,
                )  # fmt: skip
                noise = rng.normal(size=20)
                noise = 0.01 * 20**0.5 * (noise - noise.mean()) / noise.std(ddof=1)
                draw = 0.3 * rng.normal() * 0.01
                levels = {
                    "train_loss": test_of(cell) - gap_of(cell) + noise,
                    "test_loss": test_of(cell) + draw + noise,
                    "gap": gap_of(cell) + draw + noise,
                    "mean_gap": gap_of(cell) + noise,
                }
                shown = None if predicted is None else fd.Estimate(predicted, None, 0, "re-summed")
                results.append(CellResult(cell, levels, 0, None, None, shown, truncation, "", 1.0, 1))
    return results


def minimum_with(trace, lowest=1.0):
    return PoolMinimum(None, fd.Estimate(trace, None, 0, "exact"), lowest)


def verdict_on(claim, groups, found=None):
    (found,) = [verdict for verdict in groups[0].verdicts if claim in verdict.claim]
    return found.holds


def test_verdicts_can_fail_and_hold():
    flat, rising = made_up(lambda cell: 0.3), made_up(lambda cell: 0.003 / cell.temperature + 0.1)
    good, bad = minimum_with(3.0), minimum_with(4.0)
    assert verdict_on("rises as a/T", analysed(flat, good, 100)) is False
    assert verdict_on("rises as a/T", analysed(rising, good, 100)) is True
    assert verdict_on("tr(C H⁻¹)/n", analysed(flat, good, 100)) is True
    assert verdict_on("tr(C H⁻¹)/n", analysed(flat, bad, 100)) is False
    assert verdict_on("tr(C H⁻¹)/n", analysed(flat, minimum_with(3.0, lowest=1e-4), 100)) is None
    wild = made_up(lambda cell: 0.3 + 0.2 * (cell.B == 2))
    assert verdict_on("describes the gaps", analysed(wild, good, 100)) is False
    for predicted, truncation, holds in ((0.3, 0.0, True), (0.4, 0.0, False), (0.4, 0.09, True)):
        groups = analysed(made_up(lambda cell: 0.3, predicted=predicted, truncation=truncation), good, 100)
        assert verdict_on("re-summed runs", groups) is holds
    of_size = made_up(lambda cell: 0.3, lambda cell: 1 + cell.B)
    assert verdict_on("depends on T alone", analysed(of_size, good, 100)) is False
    assert verdict_on("depends on T alone", analysed(flat, good, 100)) is True
    (skipped,) = [verdict for verdict in analysed(flat, None, 100)[0].verdicts if "tr(C" in verdict.claim]
    assert (skipped.holds, skipped.detail) == (None, "not asked for: long_run = false")
    lost = [replace(result, diverged=1) if result.cell.learning_rate == 0.64 else result for result in flat]
    assert verdict_on("no run diverges", analysed(lost, good, 100)) is False


def test_verdicts_on_several_groups():
    split, overlap = made_up(lambda cell: 0.3), made_up(lambda cell: 0.27, drawing="overlap")
    (verdict,) = across(analysed(split + overlap, minimum_with(3.0), 100), 10, 100)
    assert verdict.holds is True
    (verdict,) = across(analysed(split + overlap, minimum_with(3.0), 100), 20, 100)
    assert verdict.holds is False
    for power, holds in ((1, True), (0, False)):
        both = made_up(
            lambda cell: 0.3,
            lambda cell, power=power: 10 * cell.temperature / (1 - cell.recipe.momentum) ** power,
            momenta=(0.0, 0.5),
        )
        (verdict,) = across(analysed(both, minimum_with(3.0), 100), 10, 100)
        assert "T/(1 − μ)" in verdict.claim
        assert verdict.holds is holds


@pytest.mark.slow
def test_from_the_minimum_with_momentum_and_a_schedule(tmp_path):
    """The named toy: re-summed runs from the minimum of the pool's loss, for four optimizers."""
    both = [{"momentum": mu, "schedule": how} for mu in (0.0, 0.5) for how in ("constant", "cosine")]
    given = {"model": "mean-estimation", "limit": 50, "optimizers": both, "start": "minimum", "datasets": 150}
    found = temperature_sweep({**CONFIG, **given, "drawings": ["split"], "steps": 30}, tmp_path)
    claims = [verdict for group in found.groups for verdict in group.verdicts if "re-summed" in verdict.claim]
    assert [verdict.holds for verdict in claims] == [True] * 4
    assert found.passed


# --- the best temperature ---------------------------------------------------------------------------------------------


def losses_around(rng, best, temperatures, bend=0.05):
    return [1 + bend * np.log(T / best) ** 2 + 0.1 * rng.normal(size=20) for T in temperatures]


def test_the_interval_of_the_optimum_covers():
    rng, T, best = np.random.default_rng(0), np.geomspace(0.01, 0.3, 7), 0.06
    covered = 0
    for _ in range(100):
        found = optimal_temperature(T, losses_around(rng, best, T), resamples=200, key=KEY)
        covered += found.interval[0] <= best <= found.interval[1]
    assert covered >= 89  # 95% less 2.7 standard deviations


def test_no_optimum_in_range_is_an_answer():
    T = [0.1, 0.2, 0.2 * (1 + 1e-12), 0.4]
    rising = [np.array([k, k + 0.1]) for k in (1.0, 2.0, 2.2, 3.0)]
    found = optimal_temperature(T, rising, key=KEY)
    assert (found.temperature, found.end, found.inside, found.interval) == (None, "lower", 0.0, (0.0, 0.0))
    assert "no optimum in range, 0.1 to 0.4: the loss is lowest at the lower end" in str(found)
    assert optimal_temperature(T, rising[::-1], key=KEY).end == "upper"
    parabola = [np.log(t / 0.15) ** 2 + np.array([0.0, 0.01]) for t in T]
    assert optimal_temperature(T, parabola, paired=True, key=KEY).temperature == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("temperatures", "losses", "message"),
    [
        ([0.1, 0.2], [[1, 2]] * 2, "at least three different temperatures; got 2"),
        ([0.1, 0.2, 0.0], [[1, 2]] * 3, "has a positive temperature"),
        ([0.1, 0.2, 0.3], [[1, 2], [1], [1, 2]], "at least 2 training sets; those at 0.2"),
        ([0.1, 0.2, 0.3], [[1, 2], [1, np.nan], [1, 2]], "Leave out runs that diverged"),
    ],
)
def test_refusals_of_the_optimum(temperatures, losses, message):
    with pytest.raises(fd.ArgumentError, match=message):
        optimal_temperature(temperatures, losses, key=KEY)
    with pytest.raises(fd.ArgumentError, match="The bootstrap draws training sets"):
        optimal_temperature([0.1, 0.2, 0.3], [[1, 2]] * 3)


# --- configurations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lr": 1}, "Unknown entry 'lr': a temperature sweep has the entries"),
        ({"N": None}, "N is an integer ≥ 1"),
        ({"B": 2}, r"B is a list with at least one entry, such as B = \[16, 32\]"),
        ({"B": [2, 2]}, "lists 2 twice"),
        ({"B": [21]}, "at most N=20 points; got B=21"),
        ({"learning_rates": [0.1, -1]}, "positive and finite"),
        ({"learning_rates": ["0.1"]}, "positive finite number"),
        ({"datasets": 2}, "datasets is an integer ≥ 3"),
        ({"steps": 10, "epochs": 1}, "steps or epochs, and not both"),
        ({"steps": None}, "steps or epochs, and not both"),
        ({"steps": None, "epochs": {"rule": "printed"}}, "a rule with the entries reference, rule, cap"),
        ({"steps": None, "epochs": {"reference": [0.1, 3], "rule": "x"}}, "Known: 'printed', 'equal-time'"),
        ({"optimizers": [{"beta": 0.9}]}, "Unknown entry 'beta' of an optimizer"),
        ({"optimizers": [{"momentum": 1}]}, "momentum is one finite number at least 0 and below 1"),
        ({"optimizers": [{"schedule": "linear"}]}, "Known: 'constant', 'cosine'"),
        ({"drawings": ["bootstrap"]}, "Known: 'iid', 'split', 'overlap'"),
        ({"sampling": "fixed"}, "Known: 'reshuffled', 'with-replacement'"),
        ({"weight_decay": -1}, "weight_decay is one finite number at least 0"),
        ({"long_run": 0}, "long_run is true or false"),
        ({"seeds": [2**32]}, "from 0 to 4294967295"),
        ({"model": "vgg"}, "Unknown model 'vgg'. Known: 'convnet', 'logistic', 'mlp', 'mean-estimation'"),
    ],
)
def test_refused_configurations(tmp_path, change, says):
    with pytest.raises(fd.ArgumentError, match=says):
        temperature_sweep({**CONFIG, "model": "mean-estimation", **change}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_refusals_come_before_any_run(tmp_path):
    with pytest.raises(fd.ArgumentError, match="lacks N, B, learning_rates, datasets"):
        temperature_sweep({"model": "mlp", "steps": 1}, tmp_path)
    with pytest.raises(fd.ArgumentError, match="so N ≤ 59; got N=60"):
        run(tmp_path, N=60)
    with pytest.raises(fd.ArgumentError, match="At most 40 examples test"):
        run(tmp_path, test_size=41)
    with pytest.raises(fd.ArgumentError, match="needs start="):
        temperature_sweep(CONFIG, tmp_path, landscape=LANDSCAPE)
    with pytest.raises(fd.ArgumentError, match="name the TOML file of the temperature sweep"):
        temperature_sweep(tmp_path / "no.toml", tmp_path)
    assert list(Path(tmp_path).iterdir()) == []


def test_epochs_by_number_and_by_rule():
    given = {**CONFIG, "model": "mean-estimation", "steps": None, "B": [2, 3], "learning_rates": [0.1]}
    plain = read_config({**given, "epochs": 4, "sampling": "reshuffled", "drawings": ["split"]}).cells("")
    assert [cell.steps for cell in plain] == [40, 28]  # an epoch of 3 ends with a batch of 2
    assert plain[1].spacetime.batch_sizes()[:7] == (3, 3, 3, 3, 3, 3, 2)
    rule = {"reference": [0.1, 4], "rule": "equal-time"}
    found = read_config({**given, "epochs": rule, "drawings": ["split"]}).cells("")
    assert [cell.steps for cell in found] == [80, 80]  # 8 epochs of 10 steps, and 12 of 6⅔, not 13 by rounding
