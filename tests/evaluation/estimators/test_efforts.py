"""How many pairings are drawn: as many as a budget pays for, and none that decided on their own number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd

PAIR = fd.Diagram.parse("[a a]")
OPTIONS = {"estimator": "pairing", "replicates": 4, "key": jax.random.key(0), "check_dtype": False}


@pytest.fixture(scope="module")
def given():
    rng = np.random.default_rng(0)
    landscape = fd.Landscape(lambda theta, x: jnp.sum(x * theta**2) + jnp.dot(x, theta) ** 2, rng.normal(size=(40, 3)))
    return landscape, rng.normal(size=3)


@pytest.mark.parametrize("passes", [3, 4, 11])
def test_a_budget_pays_for_all_draws_and_what_is_exact(passes, given):
    plan = fd.plan(PAIR, *given)
    budget = plan.exact_cost + (passes + 0.5) * plan.pass_cost
    assert fd.evaluate(PAIR, *given, budget=budget, **OPTIONS)[PAIR].num_samples == max(passes, 4)


@pytest.mark.filterwarnings("ignore::feyngd.PrecisionWarning")
def test_draws_that_told_how_many_are_needed_are_not_used(given):
    pilot = fd.evaluate(PAIR, *given, **OPTIONS)
    first, wanted = pilot.replicates(PAIR), 0.5 * pilot[PAIR].stderr / abs(pilot[PAIR].value)
    found = fd.evaluate(PAIR, *given, rtol=min(wanted, 0.9), **OPTIONS)
    rows = found.replicates(PAIR)
    assert len(rows) >= 4
    assert not set(first.tolist()) & set(rows.tolist())
    assert len(set(rows.tolist())) == len(rows)
