"""The aimed sampler: as many twins as goals need, of the numbers that matter, and other estimators where they pay."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.evaluation import Aim, Goal, evaluate_for
from feyngd.evaluation.estimators import _aimed
from feyngd.evaluation.estimators._twins import Twins

PAIR, TRIPLE = fd.Diagram.parse("[a a]"), fd.Diagram.parse("[a a a]")
KEY = jax.random.key(0)
OPTIONS = {"check_dtype": False, "key": KEY}


def loss(theta, x):
    return jnp.logaddexp(0.0, x @ theta) + 0.3 * jnp.tanh(theta[0] * x[1]) ** 2 + 0.01 * jnp.sum(theta**4)


def made(count=400, width=40, tail=1):
    data = np.random.default_rng(0).normal(size=(count, width)) ** tail
    return fd.Landscape(loss, data), jnp.linspace(-0.1, 0.1, width)


def at_most(error, diagram=PAIR):
    return lambda values: [Goal({diagram: 1.0}, error)]


@pytest.fixture
def drawn(monkeypatch):
    """The numbers of every call that draws twins, as often as they are drawn."""
    calls = []

    def add(self, count, advance, numbers=None):
        calls.append((count, len(self._splits if numbers is None else numbers)))
        return plain(self, count, advance, numbers)

    plain = Twins.add
    monkeypatch.setattr(Twins, "add", add)
    return calls


def test_goals_that_are_met_need_no_further_twins(drawn):
    landscape, point = made()
    found = evaluate_for(Aim(at_most(np.inf)), [PAIR], landscape, point, **OPTIONS)
    assert drawn == [(4, 1)]  # 1500 rows
    assert found[PAIR].kind == "pairing"
    assert found[PAIR].num_samples == 32


@pytest.mark.parametrize("factor", [0.8, 0.5])
def test_twins_are_drawn_until_a_goal_is_met(drawn, factor):
    landscape, point = made()
    first = evaluate_for(Aim(at_most(np.inf)), [PAIR], landscape, point, **OPTIONS)[PAIR].stderr
    more = evaluate_for(Aim(at_most(factor * first)), [PAIR], landscape, point, **OPTIONS)[PAIR].stderr
    assert more <= factor * first
    assert sum(count for count, _ in drawn[1:]) <= 5 * 4 / factor**2  # tails are heavy: estimates move


def test_only_numbers_that_matter_are_drawn_further(drawn, monkeypatch):
    monkeypatch.setattr(_aimed.AimedSampler, "_choose", lambda *arguments: None)
    landscape, point = made()
    wanted = [PAIR, *fd.diagrams(3)]
    first = evaluate_for(Aim(at_most(np.inf)), wanted, landscape, point, **OPTIONS)
    ((_, numbers),) = drawn
    drawn.clear()
    error = first[PAIR].stderr / 3
    found = evaluate_for(Aim(at_most(error)), wanted, landscape, point, **OPTIONS)
    assert drawn[0] == (4, numbers)
    assert {number for _, number in drawn[1:]} == {1}
    assert found[PAIR].stderr < error
    assert found[TRIPLE].value == first[TRIPLE].value


def test_other_estimators_are_built_only_where_they_are_cheaper_than_twins(drawn):
    landscape, point = made(tail=3)
    plain = evaluate_for(Aim(at_most(np.inf)), [PAIR], landscape, point, **OPTIONS)[PAIR]
    assert plain.kind == "pairing"
    precise = evaluate_for(Aim(at_most(plain.stderr / 8)), [PAIR], landscape, point, **OPTIONS)[PAIR]
    assert precise.kind != "pairing"
    assert precise.stderr is None or precise.stderr < plain.stderr / 8


def test_few_examples_are_summed_up():
    landscape, point = made(count=6)
    found = evaluate_for(Aim(at_most(np.inf)), [PAIR], landscape, point, check_dtype=False)[PAIR]
    exact = fd.evaluate(PAIR, landscape, point, estimator="double-sum", check_dtype=False)[PAIR].value
    assert found.stderr is None
    assert found.value == pytest.approx(exact, rel=1e-5)


def test_a_budget_ends_the_twins_and_says_so_where_that_was_asked_for():
    landscape, point = made()
    plan = fd.plan(PAIR, landscape, point)
    aim = {"goals": at_most(1e-9), "budget": plan.exact_cost + 10.5 * plan.pass_cost}
    with pytest.warns(fd.PrecisionWarning, match="times what was asked for"):
        found = evaluate_for(Aim(**aim, warns=True), [PAIR], landscape, point, **OPTIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = evaluate_for(Aim(**aim), [PAIR], landscape, point, **OPTIONS)
    assert again[PAIR].value == found[PAIR].value


def test_a_goal_of_zero_is_never_met_by_sampling(drawn):
    landscape, point = made(count=1500, width=2)
    plan = fd.plan(PAIR, landscape, point)
    budget = plan.exact_cost + 4.5 * plan.pass_cost
    evaluate_for(Aim(at_most(0.0), budget), [PAIR], landscape, point, **OPTIONS)
    assert sum(count for count, _ in drawn) <= 2
