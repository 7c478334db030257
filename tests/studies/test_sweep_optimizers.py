"""Sweeps and studies with optimizers, uneven epochs and runs that end inside an epoch."""

import json
import warnings
from fractions import Fraction as F

import jax
import numpy as np
import pytest
from sympy import Symbol

import feyngd as fd
from feyngd.optimizers import Recipe, cosine
from feyngd.studies._sweep_config import read_config

CONFIG = {
    "models": ["logistic"],
    "limit": 30,
    "N": [5],
    "B": [1, 2],
    "T": [4],
    "drop_last": [True, False],
    "sampling": ["reshuffled"],
    "optimizers": [{}, {"momentum": 0.5, "nesterov": True, "schedule": "cosine", "warmup": 1, "ema": 0.25}],
    "learning_rates": [0.002, 0.004],
    "seeds": [0],
    "quantity": "test_loss",
    "order": 1,
    "runs": 3,
    "replicates": 2,
    "check_dtype": False,
}


def test_recipes_make_optimizers() -> None:
    assert Recipe().make(Symbol("T")) == fd.sgd()
    assert Recipe.read({"momentum": F(1, 2), "ema": F(1, 4)}).make(Symbol("T")) == fd.averaged(
        fd.momentum(F(1, 2)), ema=F(1, 4)
    )
    made = Recipe.read(CONFIG["optimizers"][1]).make(6)
    expected = fd.averaged(fd.schedule(cosine(6, warmup=1), fd.momentum(0.5, nesterov=True)), ema=0.25)
    assert made == expected
    assert Recipe.read({"schedule": "linear", "warmup": 2}).make(4) == fd.schedule([0, F(1, 2), 1, F(1, 2)])
    assert Recipe.read({"schedule": [1, 0.5]}).make(2) == fd.schedule([1, 0.5])
    for entries in CONFIG["optimizers"]:
        recipe = Recipe.read(entries)
        assert Recipe.read(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (0.9, "a table with entries among momentum"),
        ({"beta": 0.9}, "Unknown entry 'beta'.*momentum"),
        ({"momentum": 1}, "0 ≤ β < 1"),
        ({"momentum": "much"}, "momentum is a finite number"),
        ({"ema": 1.5}, "0 ≤ ρ < 1"),
        ({"schedule": "sine"}, "'cosine', 'linear' or a list"),
        ({"schedule": [1, -1]}, "multiplier of step 1 is -1"),
        ({"schedule": lambda step: 1}, "a function has no words"),
        ({"warmup": 3}, "before a cosine or a line"),
        ({"nesterov": 1, "momentum": 0.5}, "nesterov is True or False"),
    ],
)
def test_bad_recipes(entries, says: str) -> None:
    with pytest.raises(fd.ArgumentError, match=says):
        Recipe.read(entries)


def test_schedules_need_as_many_steps() -> None:
    with pytest.raises(fd.ArgumentError, match="give numbers"):
        Recipe(schedule="linear").make(Symbol("T"))
    with pytest.raises(fd.ArgumentError, match="leaves none of 3"):
        Recipe(schedule="linear", warmup=3).make(3)


def test_combinations_and_their_names() -> None:
    found = read_config(CONFIG)
    assert [(one.B, one.drop_last, str(one.recipe)) for one in found] == [
        (1, None, "sgd"),  # B = 1 leaves nothing to drop: one configuration
        (1, None, "momentum0.5-nesterov-cosine-warmup1-ema0.25"),
        (2, True, "sgd"),
        (2, True, "momentum0.5-nesterov-cosine-warmup1-ema0.25"),
        (2, False, "sgd"),
        (2, False, "momentum0.5-nesterov-cosine-warmup1-ema0.25"),
    ]
    assert found[3].name.startswith("logistic_N5_B2_T4_reshuffled_momentum0.5-nesterov-cosine-warmup1-ema0.25_seed0-")
    assert len({one.name for one in found}) == 6
    plain = read_config(
        {**{k: v for k, v in CONFIG.items() if k not in ("T", "drop_last", "optimizers")}, "E": [1], "B": [1]}
    )
    assert not {"T", "drop_last", "recipe"} & plain[0].to_dict().keys()  # names stay those of earlier sweeps
    assert plain[0].to_dict()["E"] == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"E": [1]}, "not both"),
        ({"T": None}, "lacks E: all entries but"),
        ({"drop_last": None}, "leaves 1 of N=5|drop_last"),
        ({"drop_last": ["yes"]}, "drop_last is true or false"),
        ({"optimizers": []}, "at least one entry"),
        ({"optimizers": [{"momentum": 2}]}, "0 ≤ β < 1"),
        ({"optimizers": [{"schedule": [1, 1]}]}, "has no optimizer schedule|listed.*2 multipliers.*T=4"),
        ({"optimizers": [{}, {}]}, "twice"),
    ],
)
def test_bad_combinations_are_refused_before_any_work(change, says: str, tmp_path) -> None:
    changed = {key: value for key, value in {**CONFIG, **change}.items() if value is not None}
    with pytest.raises(fd.ArgumentError, match=says):
        fd.sweep(changed, tmp_path)


def test_the_numbers_are_those_of_predict_and_simulate(tmp_path) -> None:
    found = fd.sweep({**CONFIG, "B": [2], "drop_last": [False], "optimizers": CONFIG["optimizers"][1:]}, tmp_path)
    (outcome,) = found.outcomes
    record = json.loads(outcome.file.read_text())
    told = "Nesterov β=0.5, schedule of 4 steps, exponential average, ρ=0.25"
    assert record["prediction"]["optimizer"] == record["simulation"]["optimizer"] == told
    assert record["configuration"]["recipe"] == CONFIG["optimizers"][1]
    for_params, rest = jax.random.split(jax.random.key(0))
    landscape, params = fd.landscapes.digits_landscape("logistic", 30, key=for_params)
    spacetime = fd.Spacetime.sgd(5, 2, T=4, drop_last=False)
    optimizer = Recipe.read(CONFIG["optimizers"][1]).make(4)
    given = {"order": 1, "replicates": 2, "check_dtype": False, "key": jax.random.fold_in(rest, 0)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = fd.predict(landscape, params, spacetime, CONFIG["learning_rates"], optimizer=optimizer, **given)
    np.testing.assert_allclose(record["prediction"]["mean"], alone.mean, rtol=1e-5)
    assert fd.sweep({**CONFIG, "B": [2], "drop_last": [False], "optimizers": CONFIG["optimizers"][1:]}, tmp_path).count(
        "skipped"
    )


def test_a_study_with_an_optimizer(tmp_path) -> None:
    landscape, start = fd.landscapes.toys.gauss_fit()
    optimizer = fd.preconditioned(fd.schedule(lambda step: 1 / (1 + step), fd.momentum(F(1, 2))), 0.5)
    spacetimes = [fd.Spacetime.sgd(5, 2, drop_last=False), fd.Spacetime.sgd(5, 2, T=5, drop_last=True)]
    rates = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
    options = {"optimizer": optimizer, "runs": 500, "key": jax.random.key(1)}
    comparisons = fd.study(landscape, start, spacetimes, rates, tmp_path, **options)
    assert [one.verdict for one in comparisons] == ["agrees", "agrees"]
    panels = json.loads((tmp_path / "prediction.json").read_text())["panels"]
    told = [panel["simulation"]["optimizer"] for panel in panels]
    assert told == [f"momentum β=0.5, schedule of {steps} steps, preconditioned" for steps in (3, 5)]
    with pytest.raises(fd.ArgumentError, match="2 multipliers, and the run has T=3"):
        fd.study(landscape, start, spacetimes, rates, tmp_path, **{**options, "optimizer": fd.schedule([1, 1])})
