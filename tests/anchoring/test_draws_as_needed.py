"""`anchor` for given spacetimes: what they need is anchored, and as much noise is drawn as they need."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import feyngd as fd
from feyngd.anchoring import Ties
from feyngd.anchoring._goals import PILOT, Effect, Goal

KEY = jax.random.key(0)
LEAST = {"learning_rate": 0.1, "truncation_samples": 0, "control_directions": 0, "key": KEY}


def square(theta, x):
    return (theta - x) ** 2 / 2


def landscape():
    return fd.Landscape(square, np.array([-1.0, 0.0, 0.5, 1.0]))


def test_spacetimes_say_what_is_anchored():
    runs = [fd.Spacetime.sgd(8, 2, 2), fd.Spacetime.sgd(4, 2, T=4, sampling="fixed"), fd.Spacetime.sgd(6, 1, 1)]
    made = fd.anchor(landscape(), jnp.array(2.0), spacetimes=runs, num_samples=2, **LEAST)
    assert made.steps == 8
    assert list(made.second) == [Ties("step"), Ties("run"), Ties("epoch", 4), Ties("place", 2)]
    assert [len(made.predict(run).times) for run in runs] == [9, 5, 7]
    longer = fd.anchor(landscape(), jnp.array(2.0), steps=10, spacetimes=runs, num_samples=2, **LEAST)
    assert longer.steps == 10


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "Give the number of steps, or the spacetimes"),
        ({"steps": 4, "within": 0.05}, r"Give the spacetimes that are to be predicted within=0\.05"),
        ({"spacetimes": [fd.Spacetime.sgd(4, 2, 2)], "within": 1}, "within is a share of the effect.*got 1"),
        ({"spacetimes": [fd.Spacetime.sgd(4, 2, 2)], "within": "5%"}, "within is a share of the effect.*got '5%'"),
        ({"spacetimes": [fd.Spacetime.sgd(4, 2, 2)], "steps": 3}, "makes 4 steps, and steps=3: leave steps out"),
        ({"spacetimes": [fd.Spacetime.sgd(sympy.Symbol("N", positive=True, integer=True))]}, "concrete"),
        ({"spacetimes": [(4, 2, 2)]}, "pacetime"),
    ],
    ids=str,
)
def test_what_is_refused_before_anything_is_computed(options, match):
    with pytest.raises(fd.FeynGDError, match=match):
        fd.anchor(landscape(), jnp.array(2.0), **(LEAST | options))


def test_the_draws_of_an_effect_follow_from_its_spread():
    rows = np.array([0.9, 1.1] * 4)
    spread = rows.std(ddof=1)
    assert Effect(rows, True).draws(0.05) == pytest.approx(1.5 * (spread / 0.05) ** 2)
    assert Effect(rows, True, least=2.0).draws(0.05) == pytest.approx(1.5 * (spread / 0.1) ** 2)
    assert Effect(rows - 1.0, True).draws(0.05) > 1e9
    assert Effect(np.zeros(8), True).draws(0.05) == 0
    assert Effect(np.array([1.0, np.nan]), True).draws(0.05) == np.inf
    goal = Goal(0.05, lambda pilot: iter([Effect(rows, True), Effect(10 * rows - 9.0, False)]))
    most, served = goal.draws(None)
    assert served == Effect(rows, True).draws(0.05) < most


def drawn(made):
    return len(made.influence)


def test_few_draws_are_made_where_few_are_enough():
    one, run = jnp.array(2.0), fd.Spacetime.sgd(8, 2, 2)
    loose, tight = (
        fd.anchor(landscape(), one, spacetimes=[run], within=within, num_samples=200, **LEAST)
        for within in (0.5, 0.001)
    )
    assert (drawn(loose), drawn(tight)) == (PILOT, 200)
    few = fd.anchor(landscape(), one, spacetimes=[run], within=0.001, num_samples=PILOT - 2, **LEAST)
    assert drawn(few) == PILOT - 2
    some = fd.anchor(landscape(), one, spacetimes=[run], within=0.1, num_samples=400, **LEAST)
    assert PILOT < drawn(some) < 400
    predicted = some.predict(run)
    assert predicted.stderr[-1] < 0.2 * abs(predicted.noise[-1])


@pytest.mark.slow
def test_intervals_cover_as_often_as_they_say_however_many_draws_were_needed():
    with jax.enable_x64(True):
        one, run = jnp.array(2.0), fd.Spacetime.sgd(8, 2, 2)
        exact = fd.anchor(landscape(), one, spacetimes=[run], num_samples=20000, **LEAST).predict(run).noise[-1]
        covered, numbers = [], []
        for seed in range(400):
            options = LEAST | {"key": jax.random.key(seed + 1)}
            made = fd.anchor(landscape(), one, spacetimes=[run], within=0.15, num_samples=200, **options)
            rows = made.predict(run).replicates[:, -1]
            low, high = fd.Estimate.from_replicates(rows).interval()
            covered.append(low <= exact <= high)
            numbers.append(len(rows))
    assert len(set(numbers)) > 3  # the number of draws does vary
    assert 0.92 <= np.mean(covered) <= 0.98
