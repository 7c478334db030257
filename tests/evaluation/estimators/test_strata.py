"""Heavy examples one by one and the rest by pairing: unbiased, and far better where few outweigh all others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.evaluation.engine import Engine
from feyngd.evaluation.estimators import Setting, random_rows
from feyngd.evaluation.estimators._strata import Strata, stratified_position

TRIPLE = fd.Diagram.parse("[a a a]")
WIDTH = 12


def loss(theta, x):
    return jnp.sum(x**2 * theta**2) + jnp.tanh(jnp.dot(theta, x)) + jnp.dot(x, theta)


def heavy_tailed(count, seed=0):
    rng = np.random.default_rng(seed)
    return np.exp(0.8 * rng.normal(size=(count, WIDTH))) * rng.choice([-1, 1], size=(count, WIDTH))


@pytest.fixture(scope="module")
def point():
    return np.random.default_rng(1).normal(size=WIDTH) * 0.1


@pytest.mark.parametrize("reading", ["population", "conditional"])
def test_heavy_and_light_examples_make_the_whole(reading, point):
    with jax.enable_x64(True):
        test_data = heavy_tailed(7, seed=2) if reading == "conditional" else None
        landscape = fd.Landscape(loss, heavy_tailed(30), test_data, reading=reading)
        exact = fd.evaluate(TRIPLE, landscape, point, estimator="double-sum")[TRIPLE].value
        plan = fd.plan(TRIPLE, landscape, point)
        engine = Engine(landscape.frozen(point), point)
        engine.average(plan.means)
        (number,) = plan.paired
        setting = Setting(*engine.sizes, WIDTH, plan.ways)
        split = Strata().split([number], setting, engine, None, lambda: None)[number]
        # Over many pairings the light examples meet everything: their average is that of all combinations.
        values, plain = [], []
        for replicate in range(400):
            drawn = random_rows(jax.random.key(0), replicate, sorted(number.positions, reverse=True), *engine.sizes)
            plain.append(engine.rows((number,), drawn)[number])
            (rows,) = split.rows(drawn, np.random.default_rng(replicate))
            values.append(split.fixed + split.share * engine.rows((number,), rows)[number])
        norms = engine.gradient_norms()
    light = rows[stratified_position(number)]
    assert split.share == 0.5
    assert len(set(light.tolist())) == 15
    assert max(norms[light]) <= min(np.delete(norms, light))
    assert abs(np.mean(values) - exact) < 4 * np.std(values) / len(values) ** 0.5
    assert np.std(values) < 0.3 * np.std(plain)


def test_triply_tied_values_of_heavy_tails_are_stratified(point):
    with jax.enable_x64(True):
        landscape = fd.Landscape(loss, heavy_tailed(120), None)
        exact = fd.evaluate(TRIPLE, landscape, point, estimator="double-sum")[TRIPLE].value
        paired, chosen = (
            fd.evaluate(TRIPLE, landscape, point, estimator=estimator, key=jax.random.key(3))[TRIPLE]
            for estimator in ("pairing", "auto")
        )
    assert (paired.kind, chosen.kind) == ("pairing", "strata")
    assert chosen.stderr < 0.1 * paired.stderr
    low, high = chosen.interval(0.999)
    assert low < exact < high


def test_very_many_parameters_are_not_deflated_unasked(point, monkeypatch):
    """A basis of directions too large to be worth making is made only if it is asked for."""
    monkeypatch.setattr("feyngd.evaluation.estimators._deflation._MOST_ENTRIES", WIDTH)
    monkeypatch.setattr("feyngd.evaluation.estimators._deflation._RANK", 4)
    pair = fd.Diagram.parse("[a a]")
    with jax.enable_x64(True):
        landscape = fd.Landscape(loss, heavy_tailed(60))
        kinds = {
            estimator: fd.evaluate(pair, landscape, point, estimator=estimator, replicates=4, key=jax.random.key(0))[
                pair
            ].kind
            for estimator in ("auto", "deflation")
        }
    assert kinds["auto"] in ("pairing", "strata")
    assert kinds["deflation"] == "deflation"
