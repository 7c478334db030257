"""Ensembles over training sets: literal loops and closed forms, the gap taken apart, stationarity, rates, refusals."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import feyngd as fd
from feyngd.companions.data_averaging import Ensemble, convert_gap, ensemble, loss_spread
from feyngd.companions.data_averaging._jackknife import cross_gap
from feyngd.landscapes import cross_entropy, digits, tanh_mlp

KEY = jax.random.key(0)
X = np.array([[0.5, 1.0], [-1.0, 0.3], [2.0, -0.7], [0.1, 0.4], [-0.6, -1.2]])
TOY = fd.Landscape(lambda p, x: jnp.sum(jnp.cosh(p["w"] - x)) + 0.1 * p["w"][0] ** 3, jnp.array(X), reading="unbiased")
TOY_START = {"w": jnp.array([0.3, -0.2])}
BATCHES = [[0, 1], [2], [2, 0], [1], [0, 2]]
SIGNS = fd.Landscape(lambda theta, x: (theta - x) ** 2 / 2, jnp.array([-1.0, 1.0]))
SETTLED = fd.Spacetime.sgd(N=10, B=2, T=60, sampling="with-replacement")


def loss(w, x):
    return np.sum(np.cosh(w - x), axis=-1) + 0.1 * w[0] ** 3


def gradient(w, x):
    return np.sinh(w - x).mean(axis=0) + np.array([0.3 * w[0] ** 2, 0])


def toy_runs(rate=0.1, **changed):
    options = {"metrics": {"first": first}, "keep": "records", "chunk_size": 3, "key": KEY, **changed}
    return ensemble(TOY, TOY_START, fd.Spacetime.from_batches(BATCHES, N=3), rate, **options)


def first(p, x):
    return p["w"][0] * x[1]


@pytest.mark.parametrize(
    ("form", "schedule", "drawing"),
    [
        ("pytorch", "cosine", "split"),
        pytest.param("pytorch", "constant", "iid", marks=pytest.mark.slow),
        ("sutskever", [1, 0.5, 2, 0, 1], "overlap"),
    ],
)
def test_runs_are_what_a_literal_loop_does(form, schedule, drawing):
    rate, mu, alpha = 0.1, 0.6, 0.3
    optimizer = {"momentum": mu, "form": form, "schedule": schedule, "weight_decay": alpha}
    found = toy_runs(rate, datasets=4, runs=2, drawing=drawing, **optimizer)
    assert found.times.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.effective_temperature == pytest.approx(0.1 / 2 / 0.4)
    cosine = np.cos(np.pi * np.arange(5) / 10)
    rates = rate * (np.ones(5) if schedule == "constant" else cosine if schedule == "cosine" else np.array(schedule))
    for dataset, chosen in enumerate(found.training_sets):
        w, v, path = np.array([0.3, -0.2]), np.zeros(2), []
        for step in range(6):
            path.append(w)
            if step < 5:
                push = gradient(w, X[chosen[BATCHES[step]]]) + alpha * w
                v = mu * v + push if form == "pytorch" else mu * v - rates[step] * push
                w = w - rates[step] * v if form == "pytorch" else w + v
        assert found.params["w"][dataset, 1] == pytest.approx(np.array(path), abs=1e-5)
        unseen = [n for n in range(5) if n not in chosen]
        tested = unseen if drawing == "split" else range(5)
        for step, w in enumerate(path):
            at = dataset, 0, step
            assert found.train_loss[at] == pytest.approx(loss(w, X[chosen]).mean(), abs=2e-5)
            assert found.metrics["first"]["train"][at] == pytest.approx((w[0] * X[chosen, 1]).mean(), abs=1e-5)
            if drawing != "overlap":
                assert found.test_loss[at] == pytest.approx(loss(w, X[tested]).mean(), abs=2e-5)
                assert found.test_spread[at] == pytest.approx(loss(w, X[tested]).std(), abs=2e-5)
                assert found.metrics["first"]["test"][at] == pytest.approx((w[0] * X[tested, 1]).mean(), abs=1e-5)
    gap = found.level("gap", tail=0)
    assert gap.value == pytest.approx((found.test_loss - found.train_loss)[:, :, -1].mean(), rel=1e-5)
    metric = found.metrics["first"]["test"]
    assert found.level("first/test", statistic="mean", tail=1).value == pytest.approx(metric.mean(), rel=1e-5)


def test_overlap_against_split_exactly():
    """The same runs; the whole pool as the overlapping test set leaves nothing to chance."""
    given = {"datasets": 6, "weight_decay": 0.1}
    split, overlap = toy_runs(drawing="split", **given), toy_runs(drawing="overlap", test_size=5, **given)
    assert np.array_equal(split.training_sets, overlap.training_sets)
    assert overlap.curve("gap") == pytest.approx((1 - 3 / 5) * split.curve("gap"), abs=2e-6)
    converted = convert_gap(split.level("gap"), N=3, M=5, to="overlap")
    assert converted.value == pytest.approx(overlap.level("gap").value, abs=1e-6)
    # Cross-evaluation of split sets estimates the overlapping gap, and is divided.
    parts = split.decompose()
    cross = np.array([[loss(split.params["w"][i, 0, -1], X[chosen]).mean() for chosen in split.training_sets]
                      for i in range(6)])  # fmt: skip
    assert parts.cross == pytest.approx(cross, abs=2e-5)
    plain = cross[~np.eye(6, dtype=bool)].mean() - np.diag(cross).mean()
    assert parts.gap_cross.value == pytest.approx(plain / (1 - 3 / 5), abs=1e-4)
    assert parts.covariance.value == pytest.approx(-plain, abs=1e-4)
    assert parts.averaged.value == pytest.approx(cross[~np.eye(6, dtype=bool)].mean(), abs=1e-4)
    assert parts.shift.value == pytest.approx(parts.gap.value - parts.gap_cross.value, abs=1e-6)
    left_out = [cross_gap(np.delete(np.delete(cross, i, 0), i, 1)).value for i in range(6)]
    error = np.sqrt(5 / 6 * np.sum((left_out - np.mean(left_out)) ** 2))
    assert parts.covariance.stderr == pytest.approx(error, rel=1e-3)


def settled(rate, start=0.5, **changed):
    options = {"datasets": 4000, "records": 2, "weight_decay": 0.2, "chunk_size": 1000, "key": KEY, **changed}
    return ensemble(SIGNS, jnp.array(start), SETTLED, rate, **options)


@pytest.fixture(scope="module")
def warm():
    return settled(0.5)


@pytest.mark.parametrize(("rate", "beta"), [(0.5, 0.0), (0.2, 0.0), pytest.param(1.0, 0.8, marks=pytest.mark.slow)])
def test_mean_estimation_has_the_gap_and_the_spread_of_its_closed_form(rate, beta, warm):
    """The gap s²/(nH) at three temperatures; Eθ² = s²/(nH²) + T (s²(1 − 1/n) + β²)/(H(2 − λH))."""
    runs = warm if (rate, beta) == (0.5, 0.0) else settled(rate, noise=beta)
    n, H, T = 10, 1.2, rate / 2
    gap = runs.level("gap", tail=0)
    assert abs(gap.value - 1 / (n * H)) < 4 * gap.stderr
    spread = 1 / (n * H**2) + T * (1 - 1 / n + beta**2) / (H * (2 - rate * H))
    if (rate, beta) == (0.5, 0.0):
        assert (1 / (n * H), spread) == pytest.approx((0.0833333, 0.203373), abs=5e-7)
    squares = fd.Estimate.from_replicates(runs.params[:, 0].astype(float) ** 2)
    assert abs(squares.value - spread) < 4 * squares.stderr
    test = runs.level("test_loss", tail=0)
    assert abs(test.value - (1 + spread) / 2) < 4 * test.stderr
    assert runs.stationarity().passed


def part_of(runs, rows):
    names = ("train_loss", "test_loss", "test_spread", "training_sets", "diverged", "flat_params")
    return replace(runs, **{name: getattr(runs, name)[rows] for name in names})


def test_the_gap_without_test_data_and_the_test_of_stationarity_cover(warm):
    """Over 200 repeats of 20 training sets: Student's intervals of 95%."""
    repeats = [part_of(warm, slice(20 * k, 20 * k + 20)) for k in range(200)]
    gaps = [each.decompose().gap_cross.interval() for each in repeats]
    covered = sum(low <= 1 / 12 <= high for low, high in gaps)
    assert stats.binomtest(covered, 200, 0.95).pvalue > 0.01, covered
    passed = sum(each.stationarity().passed for each in repeats)
    assert stats.binomtest(passed, 200, 0.95).pvalue > 0.01, passed


def test_a_drifting_run_is_not_stationary():
    """Sixty steps at a rate that takes forty to come a third of the way."""
    found = settled(0.02, start=3.0, datasets=500)
    result = found.stationarity()
    assert not result.passed
    assert result.residual.value > 5 * result.residual.stderr  # |θ|² falls
    assert result.relaxation_steps == pytest.approx(1 / (0.02 * 0.2))


@pytest.mark.slow
def test_the_gap_without_test_data_has_the_smaller_error():
    pool = fd.Landscape(SIGNS.loss, jnp.array(np.linspace(-1.7, 1.7, 60)), reading="unbiased")
    found = ensemble(pool, jnp.array(0.0), SETTLED, 0.5, datasets=60, test_size=10, chunk_size=60, key=KEY)
    parts = found.decompose()
    assert parts.gap_cross.stderr < 0.75 * parts.gap.stderr
    assert abs(parts.shift.value) < 4 * parts.shift.stderr


@pytest.mark.slow
def test_the_gap_of_a_network_on_digits_without_test_data():
    """With ten test examples cross-evaluation is several times as precise; both agree, as nothing has shifted."""
    network = tanh_mlp((8, 8), 10)
    landscape = fd.Landscape(cross_entropy(network), digits(300), reading="unbiased")
    space = fd.Spacetime.sgd(N=128, B=16, E=20)
    given = {"datasets": 20, "test_size": 10, "weight_decay": 5e-4, "records": 2, "key": KEY}
    parts = ensemble(landscape, network.init, space, 0.25, **given).decompose()
    assert parts.gap_cross.stderr < 0.4 * parts.gap.stderr
    assert abs(parts.shift.value) < 4 * parts.shift.stderr
    assert parts.gap_cross.value > 6 * parts.gap_cross.stderr


def test_rates_are_those_of_the_next_step():
    """All steps that can come next, one for every example, from every run's end."""
    X6 = np.vstack([X, [0.9, -0.4]])
    quadratic = fd.Landscape(
        lambda w, x: ((w[0] - x[0]) ** 2 + 3 * (w[1] - x[0] * x[1]) ** 2 + w[0] * w[1]) / 2,
        jnp.array(X6),
        reading="unbiased",
    )
    space = fd.Spacetime.sgd(N=3, B=1, T=4, sampling="with-replacement")
    runs = ensemble(quadratic, jnp.zeros(2), space, 0.2, datasets=2, runs=5, weight_decay=0.1, key=KEY)
    found, chosen = runs.rates(1), runs.training_sets[1]
    ends = runs.params[1].astype(float)

    def slope(w, x):
        return np.array([w[0] - x[0] + w[1] / 2, 3 * (w[1] - x[0] * x[1]) + w[0] / 2])

    def value(w, rows):
        return np.mean([((w[0] - x[0]) ** 2 + 3 * (w[1] - x[0] * x[1]) ** 2 + w[0] * w[1]) / 2 for x in X6[rows]])

    after = np.array([[w - 0.2 * (slope(w, x) + 0.1 * w) for x in X6[chosen]] for w in ends])
    assert found.mean == pytest.approx((after.mean(axis=1) - ends).mean(axis=0), abs=1e-5)
    within = np.mean([np.cov(each.T, ddof=0) for each in after], axis=0)
    change = np.cov(after.reshape(-1, 2).T, ddof=0) - np.cov(ends.T, ddof=0)
    assert (found.covariance - within) * 4 / 5 + within == pytest.approx(change, abs=1e-5)
    unseen = [n for n in range(6) if n not in chosen]
    for rows, rate in ((chosen, found.train_loss), (unseen, found.test_loss)):
        change = np.mean([[value(w, rows) for w in each] for each in after]) - np.mean([value(w, rows) for w in ends])
        assert rate.value == pytest.approx(change, abs=1e-5)
    continuous = runs.rates(1, time="continuous")
    assert continuous.mean == pytest.approx(found.mean)
    assert not np.allclose(continuous.covariance, found.covariance)
    with pytest.raises(fd.ArgumentError, match="at least 3 runs on a training set; got 1"):
        replace(runs, flat_params=runs.flat_params[:, :1]).rates(0)


def test_levels_of_made_up_runs(warm):
    rng = np.random.default_rng(0)
    curves = 1 + 0.01 * rng.normal(size=(4, 3, 40)) + 0.5 * rng.normal(size=(4, 1, 1))
    curves[2, 1, 30:] += 0.7
    empty = np.zeros((4, 3), dtype=bool)
    runs = replace(part_of(warm, slice(4)), train_loss=curves, times=np.arange(40), diverged=empty)
    runs = replace(runs, test_loss=curves, test_spread=curves)
    plain, cut = runs.level("train_loss", tail=0.1), runs.level("train_loss", tail=0.1, drop_spikes=True)
    assert plain.value == pytest.approx(np.median(curves[:, :, -4:], axis=2).mean())
    assert plain.value - cut.value == pytest.approx(0.7 / 12, abs=0.01)
    between, within = runs.variances("train_loss", statistic="mean", tail=1)
    means = curves.mean(axis=2)
    assert within == pytest.approx(means.var(axis=1, ddof=1).mean())
    assert between == pytest.approx(means.mean(axis=1).var(ddof=1) - within / 3)
    lost = empty.copy()
    lost[0, 1] = lost[3] = True
    broken = replace(runs, diverged=lost)
    with pytest.raises(fd.ArgumentError, match=r"4 of 12 runs diverged.*skip_diverged=True"):
        broken.level("train_loss")
    rest = broken.level("train_loss", tail=0, skip_diverged=True)
    last = curves[:, :, -1]
    assert rest.value == pytest.approx(np.mean([last[0, [0, 2]].mean(), last[1].mean(), last[2].mean()]))
    assert rest.kind == "ensemble without 4 diverged of 12 runs"
    assert "4 diverged" in repr(broken)
    early = curves.copy()
    early[0, 0, 9:] += np.linspace(1, 9, 31)
    with pytest.raises(fd.ArgumentError, match=r"Run 0 on training set 0 spikes after \d records, and at least 10"):
        replace(runs, train_loss=early[:, :, :31], test_loss=early[:, :, :31], times=np.arange(31)).level(
            "train_loss", drop_spikes=True
        )
    with pytest.raises(fd.ArgumentError, match="Unknown quantity 'loss'"):
        runs.level("loss")


def test_runs_come_back_from_a_file_and_are_drawn(tmp_path):
    runs = toy_runs(datasets=3, runs=2, momentum=0.6, schedule="cosine")
    runs.save(tmp_path / "runs")
    found = Ensemble.load(tmp_path / "runs", TOY, TOY_START)
    assert str(found) == str(runs)
    for name in ("train_loss", "test_loss", "training_sets", "times", "flat_params"):
        assert np.array_equal(getattr(found, name), getattr(runs, name))
    assert np.array_equal(found.curve("first/test"), runs.curve("first/test"))
    assert found.decompose(at=2).gap_cross == runs.decompose(at=2).gap_cross
    assert found.to_dict() == runs.to_dict()
    content = json.loads(json.dumps(runs.decompose().to_dict()))
    assert content["gap_cross"]["interval"] == pytest.approx(list(runs.decompose().gap_cross.interval()))
    mean, _ = runs.mean_curve("gap")
    assert runs.plot().lines[-1].get_ydata() == pytest.approx(mean)
    other = fd.Landscape(TOY.loss, TOY.data + 1, reading="unbiased")
    with pytest.raises(fd.ArgumentError, match="These runs belong to other data"):
        Ensemble.load(tmp_path / "runs", other, TOY_START)
    with pytest.raises(fd.ArgumentError, match="name a file that save has written"):
        Ensemble.load(tmp_path / "no", TOY, TOY_START)


def test_the_spread_of_losses_has_the_slope_of_a_line(warm):
    """Spreads made of losses by a line of its own for every training set: the mean slope, and its error."""
    rng = np.random.default_rng(0)
    losses = rng.uniform(1, 2, size=(12, 2, 80))
    lines = 0.7 + 0.05 * rng.normal(size=(12, 1, 1))
    shown = {"test_loss": losses, "test_spread": 0.2 + lines * losses, "times": np.arange(80)}
    runs = replace(part_of(warm, slice(12)), diverged=np.zeros((12, 2), dtype=bool), **shown)
    found = loss_spread(runs)
    assert found.losses.shape == found.spreads.shape == (12 * 2 * 20,)
    assert np.isin(found.losses, losses[:, :, 60:]).all()
    assert abs(found.slope.value - 0.7) < 4 * found.slope.stderr < 0.3
    exact = loss_spread(replace(runs, test_spread=0.2 + 0.7 * losses), points=5)
    assert (exact.slope.value, exact.intercept.value) == pytest.approx((0.7, 0.2))
    assert exact.plot().lines[0].get_ydata() == pytest.approx(0.2 + 0.7 * exact.plot().lines[0].get_xdata())
    with pytest.raises(fd.ArgumentError, match="runs diverged"):
        loss_spread(replace(runs, diverged=np.ones((12, 2), dtype=bool)))
    with pytest.raises(fd.ArgumentError, match="20 records are in the last"):
        loss_spread(runs, points=21, tail=0.25)


def test_starts_may_be_drawn_and_runs_may_diverge():
    steep = fd.Landscape(lambda theta, x: jnp.exp((theta - x) ** 2), jnp.array([-1.0, 1.0]))
    space = fd.Spacetime.sgd(N=4, B=1, E=5)
    drawn = ensemble(steep, jax.random.normal, space, 0.5, datasets=4, runs=2, drawing="iid", key=KEY)
    assert len({*drawn.train_loss[:, :, 0].ravel().tolist()}) > 4
    assert drawn.diverged.any()
    assert np.isnan(drawn.train_loss[drawn.diverged][:, -1]).any() or np.isinf(drawn.train_loss[:, :, -1]).any()
    for call in (drawn.decompose, lambda: drawn.level("gap")):
        with pytest.raises(fd.ArgumentError, match="runs diverged"):
            call()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"datasets": 1}, "datasets is an integer ≥ 2, got 1"),
        ({"runs": 0}, "runs is an integer ≥ 1"),
        ({"learning_rate": 0}, "positive and finite"),
        ({"momentum": 1.0}, "momentum is one finite number at least 0 and below 1"),
        ({"weight_decay": -0.1}, "weight_decay is one finite number at least 0"),
        ({"noise": np.nan}, "noise is one finite number"),
        ({"schedule": [1, 1]}, "a multiplier for every one of T=6 steps"),
        ({"schedule": "linear"}, "Known: 'constant', 'cosine'"),
        ({"drawing": "bootstrap"}, "Known: 'iid', 'split', 'overlap'"),
        ({"form": "nesterov"}, "Known: 'pytorch', 'sutskever'"),
        ({"keep": "all"}, "Known: 'last', 'records'"),
        ({"key": None}, "Training sets and batches are drawn at random: give"),
        ({"test_size": 3}, "At most 2 examples test with drawing='split' and N=3; got test_size=3"),
        ({"drawing": "iid", "test_size": 2}, "leave test_size out"),
        ({"drawing": "overlap", "test_size": 6}, "At most 5 examples"),
        ({"spacetime": fd.Spacetime.sgd(N=5, B=1)}, "so N ≤ 4; got N=5"),
        ({"spacetime": fd.Spacetime.sgd(N=6, B=1), "drawing": "overlap"}, "so N ≤ 5; got N=6"),
        ({"metrics": {"bad": 3}}, "'bad' is int"),
        ({"metrics": {"bad": lambda p, x: x}}, "one number for one example"),
        ({"records": 1}, "records is an integer ≥ 2"),
    ],
)
def test_refusals(changed, message):
    given = {"spacetime": fd.Spacetime.sgd(N=3, B=1, E=2), "learning_rate": 0.1, "datasets": 3, "key": KEY, **changed}
    with pytest.raises(fd.ArgumentError, match=message):
        ensemble(TOY, TOY_START, given.pop("spacetime"), given.pop("learning_rate"), **given)


def test_refusals_of_what_runs_cannot_say(warm):
    conditional = fd.Landscape(TOY.loss, TOY.data, TOY.data, reading="conditional")
    with pytest.raises(fd.ArgumentError, match="nothing to average over"):
        ensemble(conditional, TOY_START, fd.Spacetime.sgd(N=5, B=1), 0.1, key=KEY)
    reshuffled = replace(warm, spacetime=fd.Spacetime.sgd(N=10, B=2, E=12))
    for call in (reshuffled.stationarity, lambda: reshuffled.rates(0)):
        with pytest.raises(fd.ArgumentError, match="known for plain SGD at a constant rate"):
            call()
    with pytest.raises(fd.ArgumentError, match="keep='records'"):
        warm.decompose(at=0)
    with pytest.raises(fd.ArgumentError, match="at least 3 training sets"):
        part_of(warm, slice(2)).decompose()
    with pytest.raises(fd.ArgumentError, match="at least 2 runs on every"):
        warm.variances("gap")
