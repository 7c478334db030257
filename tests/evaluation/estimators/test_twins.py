"""Twin pairings: what they share, that they are unbiased, and that their difference shows their error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.estimates import mean_and_stderr
from feyngd.evaluation.engine import Engine
from feyngd.evaluation.estimators import Setting, random_rows
from feyngd.evaluation.estimators._estimator import Split
from feyngd.evaluation.estimators._random_rows import filler_of
from feyngd.evaluation.estimators._strata import Strata
from feyngd.evaluation.estimators._twins import Twins, twin
from feyngd.evaluation.planning import TEST
from feyngd.landscapes import enter

PAIR, TRIPLE = fd.Diagram.parse("[a a]"), fd.Diagram.parse("[a a a]")
START = jnp.array([0.4, -0.2])


def loss(theta, x):
    return jnp.logaddexp(0.0, x @ theta) + 0.3 * jnp.tanh(theta[0] * x[1]) ** 2


def made(count, num_test=0, seed=0):
    rng = np.random.default_rng(seed)
    data, test = rng.normal(size=(count, 2)), rng.normal(size=(num_test, 2))
    if not num_test:
        return fd.Landscape(loss, data)
    return fd.Landscape(loss, data, test, reading="conditional")


def prepared(landscape, diagrams=(PAIR,)):
    """An engine that knows all averaged vectors, and the plan."""
    plan = fd.plan(diagrams, landscape, START)
    frozen, params = enter(landscape, START)
    engine = Engine(frozen, params)
    engine.average(plan.means)
    return engine, plan


@pytest.mark.parametrize(("count", "chunk"), [(24, 8), (30, 8), (5, 8), (29, 7)])
def test_twins_have_the_same_examples_in_every_chunk_and_no_pair_in_common(count, chunk):
    rows = random_rows(jax.random.key(1), 0, (0, 1, 2), count, 0)
    moved = twin(rows, chunk)
    for position in rows:
        for first in range(0, count, chunk):
            part = slice(first, first + chunk)
            assert sorted(moved[position][part]) == sorted(rows[position][part])
    whole = slice(0, count // chunk * chunk)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        pairs, others = (set(zip(r[one][whole].tolist(), r[other][whole].tolist(), strict=True)) for r in (rows, moved))
        assert not pairs & others


def test_the_test_examples_of_the_last_rows_are_drawn_anew_for_the_twin():
    key, sizes = jax.random.key(0), (20, 8)
    first, second = (
        random_rows(key, 0, (0, TEST), *sizes, filler_of(key, 0, twin=is_twin))[TEST] for is_twin in (False, True)
    )
    assert first[:16].tolist() == second[:16].tolist()
    assert sorted(first[:8]) == sorted(first[8:16]) == list(range(8))
    assert first[16:].tolist() != second[16:].tolist()
    assert len(set(first[16:].tolist())) == len(set(second[16:].tolist())) == 4


@pytest.mark.parametrize("num_test", [0, 37, 300])
def test_twins_are_unbiased_and_their_difference_shows_their_error(num_test):
    with jax.enable_x64(True):
        landscape = made(130, num_test)
        engine, plan = prepared(landscape)
        options = {"estimator": "double-sum", "check_dtype": False}
        exact = fd.evaluate(PAIR, landscape, START, **options)[PAIR].value
        means, variances = [], []
        for seed in range(300):
            twins = Twins(engine, {number: Split(rest=number) for number in plan.paired}, jax.random.key(seed))
            twins.add(1, lambda: None)
            (value,) = plan.combine(
                twins.replicates | {n: np.array([v]) for n, v in engine.exact(plan.exact).items()}
            ).values()
            mean, stderr = mean_and_stderr(value)
            means.append(float(mean))
            variances.append(float(stderr) ** 2)
    assert abs(np.mean(means) - exact) < 4 * np.std(means) / 300**0.5
    assert np.mean(variances) == pytest.approx(np.var(means), rel=0.35)


def test_replicates_have_the_errors_of_all_combinations():
    with jax.enable_x64(True):
        engine, plan = prepared(made(200), (PAIR, TRIPLE))
        twins = Twins(engine, {number: Split(rest=number) for number in plan.paired}, jax.random.key(0))
        twins.add(2, lambda: None)
    found = twins.replicates
    assert {len(rows) for rows in found.values()} == {twins.degrees_of_freedom + 1} == {32}
    one, other = plan.paired[:2]
    apart = [float(mean_and_stderr(found[number])[1]) for number in (one, other)]
    assert apart == pytest.approx([twins.stderr(one), twins.stderr(other)])
    groups = 3 * twins._grouped(one) - twins._grouped(other)
    assert float(mean_and_stderr(3 * found[one] - found[other])[1]) == pytest.approx(float(np.sqrt(np.sum(groups**2))))


def test_numbers_that_are_left_out_keep_their_twins():
    with jax.enable_x64(True):
        engine, plan = prepared(made(200), (PAIR, TRIPLE))
        twins = Twins(engine, {number: Split(rest=number) for number in plan.paired}, jax.random.key(0))
        twins.add(2, lambda: None)
        before = twins.replicates
        one, *others = plan.paired
        twins.add(6, lambda: None, [one])
    after = twins.replicates
    for number in others:
        assert after[number].tolist() == before[number].tolist()
    assert twins.stderr(one) < 0.8 * float(mean_and_stderr(before[one])[1])
    assert len(after[one]) == len(before[one])


def test_strata_have_other_light_examples_in_the_last_rows_of_a_twin():
    with jax.enable_x64(True):
        landscape = made(40)
        engine, plan = prepared(landscape)
        (number,) = plan.paired
        setting = Setting(*engine.sizes, 2, plan.ways)
        split = Strata().split([number], setting, engine, None, lambda: None)[number]
        key = jax.random.key(0)
        pairing = random_rows(key, 0, (0, 1), 40, 0)
        ((first,), (second,)) = (split.rows(pairing, filler_of(key, 0, twin=is_twin)) for is_twin in (False, True))
    (changed,) = (p for p in (0, 1) if first[p].tolist() != second[p].tolist())
    assert first[changed][:20].tolist() == second[changed][:20].tolist()
    assert set(first[changed][20:].tolist()) <= set(first[changed][:20].tolist())
