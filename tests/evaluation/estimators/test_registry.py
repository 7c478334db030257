"""What every estimator promises, and that a further one needs no more than its class and a line in the registry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.evaluation.engine import Engine
from feyngd.evaluation.estimators import Setting, _registry, _sampler, random_rows
from feyngd.evaluation.estimators._estimator import Cost, Estimator, Split
from feyngd.evaluation.estimators._registry import ESTIMATORS
from feyngd.evaluation.planning import means_below, positions_of

DIAGRAMS = tuple(map(fd.Diagram.parse, ("[a a]", "[a a a]", "[a b[a]]")))
PAIR = DIAGRAMS[0]
EXAMPLES, SIZE, PAIRINGS = 10, 20, 200
KEY = jax.random.key(0)


def loss(theta, x):
    return jnp.sum(x**2 * theta**2) + jnp.tanh(jnp.dot(theta, x)) + jnp.dot(x, theta)


def made():
    """A landscape whose loss is frozen, so that its programs are kept, and a point."""
    rng = np.random.default_rng(0)
    landscape, point = fd.Landscape(loss, np.exp(0.5 * rng.normal(size=(EXAMPLES, SIZE)))), rng.normal(size=SIZE) / 10
    return landscape.frozen(point), point


@pytest.fixture(scope="module")
def given():
    """An engine that knows all averaged vectors, what is known before, the numbers, and their exact averages."""
    with jax.enable_x64(True):
        landscape, point = made()
        plan = fd.plan(DIAGRAMS, landscape, point)
        setting = Setting(EXAMPLES, 0, SIZE, plan.ways)
        engine = Engine(landscape, point)
        for number in plan.paired:
            engine.average(means_below(number))
        exact = ESTIMATORS[0].split(plan.paired, setting, engine, None, lambda: None)
        yield engine, setting, plan.paired, {number: split.fixed for number, split in exact.items()}


def test_names_differ():
    assert len({estimator.name for estimator in ESTIMATORS}) == len(ESTIMATORS)
    assert {"pairing", "deflation", "double-sum"} <= set(_registry.NAMES)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: estimator.name)
def test_the_fixed_part_and_the_rest_make_the_whole(estimator, given):
    """Over many pairings, or exactly if the cost says so."""
    engine, setting, numbers, exact = given
    numbers = tuple(number for number in numbers if estimator.takes(number, setting))
    assert numbers
    with jax.enable_x64(True):
        splits = estimator.split(numbers, setting, engine, KEY, lambda: None)
        assert set(splits) == set(numbers)
        for number, split in splits.items():
            cost = estimator.cost([number], setting)
            if cost.is_exact:
                assert split.rest is None
            if split.rest is None:
                assert split.fixed == pytest.approx(exact[number], rel=1e-9)
                continue
            means = []
            for replicate in range(PAIRINGS):
                pairing = random_rows(KEY, replicate, positions_of([split.rest]), *engine.sizes)
                passes = [
                    engine.rows([split.rest], rows)[split.rest]
                    for rows in split.rows(pairing, np.random.default_rng(replicate))
                ]
                means.append(split.fixed + split.share * np.mean(passes))
                assert len(passes) == cost.each
            assert abs(np.mean(means) - exact[number]) < 4 * np.std(means) / PAIRINGS**0.5 + 1e-9 * abs(exact[number])


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: estimator.name)
def test_what_costs_nothing_beforehand_computes_nothing(estimator, given):
    _, setting, numbers, _ = given
    numbers = tuple(number for number in numbers if estimator.takes(number, setting))
    if estimator.cost(numbers, setting).once == 0:
        idle = Engine(*made())
        idle.rows = idle.average = idle.exact = None
        estimator.split(numbers, setting, idle, KEY, lambda: None)


class Antithetic(Estimator):
    """Every pairing together with its reverse."""

    name = "antithetic"

    def takes(self, number, setting):
        return len(number.positions) == 2

    def cost(self, numbers, setting):
        return Cost(once=0, each=2)

    def split(self, numbers, setting, engine, key, advance):
        return {number: Split(rest=number, rows=self.both) for number in numbers}

    @staticmethod
    def both(rows, filler):
        first, *others = rows
        return rows, {first: rows[first]} | {position: rows[position][::-1] for position in others}


@pytest.fixture
def antithetic(monkeypatch):
    estimators = (*ESTIMATORS, Antithetic())
    monkeypatch.setattr(_sampler, "ESTIMATORS", estimators)
    monkeypatch.setattr("feyngd.evaluation._evaluate.NAMES", (*_registry.NAMES, "antithetic"))
    monkeypatch.setattr("feyngd.evaluation._evaluate.KINDS", (*_registry.KINDS, "antithetic"))


def test_a_further_estimator_is_chosen_by_name(antithetic):
    with jax.enable_x64(True):
        landscape, point = made()
        exact = fd.evaluate(PAIR, landscape, point, estimator="double-sum")[PAIR].value
        found = fd.evaluate(DIAGRAMS, landscape, point, estimator="antithetic", replicates=200, key=KEY)
    assert found[PAIR].kind == "antithetic"
    assert found[PAIR].num_samples == 200
    assert abs(found[PAIR].value - exact) < 4 * found[PAIR].stderr


def test_others_stay_as_they_are_beside_a_further_estimator(antithetic, monkeypatch):
    landscape, point = made()
    options = {"estimator": "pairing", "replicates": 3, "check_dtype": False, "key": KEY}
    beside = fd.evaluate(DIAGRAMS, landscape, point, **options)
    monkeypatch.undo()
    alone = fd.evaluate(DIAGRAMS, landscape, point, **options)
    for diagram in DIAGRAMS:
        np.testing.assert_array_equal(beside.replicates(diagram), alone.replicates(diagram))


def test_strata_can_be_asked_for_by_name():
    landscape, point = made()
    options = {"replicates": 4, "check_dtype": False, "key": KEY}
    kinds = {
        name: fd.evaluate(PAIR, landscape, point, estimator=name, **options)[PAIR].kind
        for name in ("pairing", "strata", "deflation")
    }
    assert kinds == {"pairing": "pairing", "strata": "strata", "deflation": "deflation"}


def test_an_unknown_estimator_is_refused():
    with pytest.raises(fd.ArgumentError, match="'auto', 'double-sum', 'contraction', 'deflation', 'strata', 'pairing'"):
        fd.evaluate(PAIR, *made(), estimator="guess", key=KEY)


def test_a_double_sum_that_takes_too_long_is_refused():
    landscape = fd.Landscape(lambda theta, x: theta**2 * x + theta * x**2, np.ones(200_000, np.float32))
    with pytest.raises(fd.ArgumentError, match=r"The double sum of .* goes 2\.0e\+05 times over the data"):
        fd.evaluate(PAIR, landscape, 0.3, estimator="double-sum")
