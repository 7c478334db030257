"""`anchor` and `Anchored.predict` end to end: learning curves within their errors of the exact second order."""

from dataclasses import replace
from fractions import Fraction
from functools import cache

import jax
import numpy as np
import pytest
import sympy
from noise_by_definition import functionals, second_order, tied

import feyngd as fd
from feyngd import Spacetime
from feyngd.anchoring import anchor, noise_weights
from feyngd.anchoring.path._noise import drawn_batches
from feyngd.testing import PolynomialLandscape, exact_anchored_series

X, Y = sympy.symbols("x y")
POINT, START = (Fraction(1, 2), Fraction(-3, 4)), np.array([0.5, -0.75])
RATES = [Fraction(1, 8), Fraction(1, 4), Fraction(1, 8), Fraction(3, 16)]
QUANTITIES = ("test_loss", "train_loss", "gap")
DRAWS = 992  # whole groups, so that everything is compiled once
SPACETIMES = [
    ("population", Spacetime.sgd(4, 2, 2)),
    ("population", Spacetime.sgd(4, 2, 2, sampling="fixed")),
    ("population", Spacetime.sgd(4, 1, 1)),
    ("population", Spacetime.sgd(3, 1, 1, sampling="fixed")),
    ("population", Spacetime.sgd(2, 2, 4)),
    ("population", Spacetime.sgd(3, 1, T=4, sampling="with-replacement")),
    ("population", Spacetime.gd(3, 4)),
    ("conditional", Spacetime.sgd(4, 2, 2)),
    ("conditional", Spacetime.sgd(4, 1, 1)),
    ("conditional", Spacetime.sgd(4, 2, 1)),
    ("conditional", Spacetime.sgd(4, 4, 3)),
    ("conditional", Spacetime.sgd(4, 1, T=3, sampling="with-replacement")),
    ("conditional", Spacetime.gd(4, 4)),
    ("population", Spacetime.sgd(4, 2, T=3)),
    ("population", Spacetime.sgd(5, 2, 2, drop_last=True)),
    ("population", Spacetime.sgd(3, 2, 2, drop_last=False)),
    ("population", Spacetime.sgd(3, 2, T=3, drop_last=False)),
    ("population", Spacetime.sgd(3, 2, T=1, drop_last=False)),
    ("population", Spacetime.sgd(3, 2, 2, sampling="fixed", drop_last=False)),
    ("population", Spacetime.sgd(5, 2, T=3, sampling="fixed", drop_last=True)),
    ("conditional", Spacetime.sgd(4, 3, 2, drop_last=False)),
    ("conditional", Spacetime.sgd(4, 3, T=3, drop_last=True)),
    ("conditional", Spacetime.sgd(4, 1, T=3)),
]
WITH_A_REST = [(reading, spacetime) for reading, spacetime in SPACETIMES if spacetime.last_batch]


def cubic(theta, numbers):
    z = numbers[0] * theta[0] + numbers[1] * theta[1]
    return z**3 / 4 + numbers[2] * theta[0] * theta[1] + numbers[3] * z**2 + numbers[4] * theta[1] + theta @ theta


def numbers(seed, count):
    return np.random.default_rng(seed).integers(-3, 4, (count, 5)) / 4


def polynomials(rows):
    def expression(a, b, c, d, e):
        z = a * X + b * Y
        return z**3 / 4 + c * X * Y + d * z**2 + e * Y + X**2 + Y**2

    exact = [[sympy.Rational(int(4 * x), 4) for x in row] for row in rows]
    return PolynomialLandscape.from_expressions([expression(*row) for row in exact], (X, Y))


DATA = {"population": numbers(1, 3), "conditional": numbers(5, 4)}
TEST = {"population": None, "conditional": numbers(2, 3)}
EXACT = {reading: polynomials(rows) for reading, rows in DATA.items()}
TESTED = {"population": None, "conditional": polynomials(TEST["conditional"])}


@cache
def exact_curves(reading, spacetime):
    """ε⁰ and ε² of every quantity at every step, by definition."""
    rates, weights = RATES[: int(spacetime.T)], noise_weights(spacetime, reading)
    return second_order(EXACT[reading], POINT, rates, weights, int(spacetime.N), TESTED[reading])


@pytest.fixture(scope="module")
def anchored():
    with jax.enable_x64(True):
        return {
            reading: anchor(
                fd.Landscape(cubic, rows, TEST[reading], reading=reading),
                START,
                steps=4,
                learning_rate=[float(rate) for rate in RATES],
                epoch_lengths=[2],
                fixed_order=reading == "population",
                spacetimes=[spacetime for own, spacetime in WITH_A_REST if own == reading],
                num_samples=DRAWS,
                truncation_samples=0,
                key=jax.random.key(7),
            )
            for reading, rows in DATA.items()
        }


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize(("reading", "spacetime"), SPACETIMES, ids=str)
def test_learning_curves_are_the_exact_second_order(reading, spacetime, quantity, anchored):
    """At every step, and against enumeration at the last: within four errors, which are small against the noise."""
    steps = int(spacetime.T)
    landscape, test, rates = EXACT[reading], TESTED[reading], RATES[:steps]
    noiseless, noise = exact_curves(reading, spacetime)[quantity]
    enumerated = exact_anchored_series(quantity, landscape, POINT, spacetime, rates, 2, reading=reading, test=test)
    assert (noiseless[-1], noise[-1]) == enumerated[::2]
    prediction = anchored[reading].predict(spacetime, quantity=quantity)
    noiseless, noise = noiseless.astype(float), noise.astype(float)
    np.testing.assert_array_equal(prediction.times, range(steps + 1))
    np.testing.assert_allclose(prediction.noiseless, noiseless, rtol=1e-12, atol=1e-15)
    assert (np.abs(prediction.mean - noiseless - noise) <= 4 * prediction.stderr + 1e-14).all()
    assert prediction.stderr.max() <= 0.25 * np.abs(noise).max() + 1e-14
    assert prediction.final.value == pytest.approx(prediction.mean[-1], rel=1e-12)
    np.testing.assert_allclose(sum(prediction.contributions.values()), prediction.mean, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("spacetime", [Spacetime.sgd(4, 2, 2), Spacetime.sgd(4, 1, 1)], ids=str)
def test_a_curve_by_sizes_is_that_of_the_spacetime(spacetime, anchored):
    sizes = {"B": int(spacetime.B), "E": int(spacetime.E)}
    ours = anchored["conditional"].predict(**sizes)
    assert ours.spacetime == anchored["population"].predict(N=4, **sizes).spacetime == spacetime
    np.testing.assert_array_equal(ours.mean, anchored["conditional"].predict(spacetime).mean)
    assert anchored["population"].predict(N=3, sampling="full-batch").spacetime == Spacetime.gd(3, 4)


@pytest.mark.parametrize(
    ("reading", "spacetime"),
    [
        ("population", Spacetime.sgd(4, 2, 2)),
        ("conditional", Spacetime.sgd(4, 1, 1)),
        ("population", Spacetime.sgd(3, 2, T=3, drop_last=False)),
        ("conditional", Spacetime.sgd(4, 3, T=3, drop_last=False)),
    ],
    ids=str,
)
def test_higher_orders_are_those_of_the_exact_series(reading, spacetime, anchored):
    """Orders two to four from draws of real batches, each within four errors of enumeration."""
    options = {"reading": reading, "test": TESTED[reading]}
    rates = RATES[: int(spacetime.T)]
    exact = exact_anchored_series("test_loss", EXACT[reading], POINT, spacetime, rates, 4, **options)
    with jax.enable_x64(True):
        found = anchored[reading].orders(spacetime, order=4, num_samples=800, key=jax.random.key(2))
    assert list(found.parts) == ["order 2", "order 3", "order 4"]
    np.testing.assert_allclose(found.noiseless[-1], float(exact[0]), rtol=1e-12)
    for value, draws in zip(exact[2:], found.parts.values(), strict=True):
        stderr = draws[:, -1].std(ddof=1) / len(draws) ** 0.5
        assert abs(draws[:, -1].mean() - float(value)) <= 4 * stderr


@pytest.mark.parametrize(
    "spacetime",
    [
        Spacetime.sgd(4, 2, 3),
        Spacetime.sgd(4, 2, 3, sampling="fixed"),
        Spacetime.sgd(4, 3, T=5, sampling="with-replacement"),
        Spacetime.gd(4, 3),
    ],
    ids=str,
)
def test_drawn_batches_visit_training_sets_as_their_sampling_does(spacetime):
    """Epochs visit the whole training set of their run, and what follows the last step is its batch again."""
    steps, size = int(spacetime.T), int(spacetime.B)
    drawn = np.asarray(drawn_batches(spacetime, "population", 7, 300, jax.random.key(0)))
    assert drawn.shape == (steps + 1, 300, size)
    np.testing.assert_array_equal(drawn[steps], drawn[steps - 1])
    counts = np.bincount(drawn[0].ravel(), minlength=7)  # every example equally often, seven of them
    expected = drawn[0].size / 7
    assert len(counts) == 7
    assert (np.abs(counts - expected) < 5 * expected**0.5).all()
    if spacetime.sampling != "with-replacement":
        epochs = np.moveaxis(drawn[:steps], 0, 1).reshape(300, -1, 4)
        assert (np.sort(epochs) == np.sort(epochs[:, :1])).all()
        assert (epochs == epochs[:, :1]).all() == (spacetime.sampling != "reshuffled")
    given = np.asarray(drawn_batches(spacetime, "conditional", 4, 300, jax.random.key(0)))
    assert set(given.ravel()) == {0, 1, 2, 3}
    if spacetime.sampling != "with-replacement":
        assert (np.sort(np.moveaxis(given[:steps], 0, 1).reshape(300, -1, 4)) == np.arange(4)).all()


def few(data, test, options, seed):
    reading = "population" if test is None else "conditional"
    return anchor(
        fd.Landscape(cubic, data, test, reading=reading),
        START,
        steps=len(RATES),
        learning_rate=[float(rate) for rate in RATES],
        epoch_lengths=[2],
        truncation_samples=0,
        key=jax.random.key(seed),
        **options,
    )


def within_four_errors(rows, exact):
    stderr = rows.std(axis=0, ddof=1) / len(rows) ** 0.5
    return bool((np.abs(rows.mean(axis=0) - exact.astype(float)) <= 4 * stderr + 1e-12).all())


@pytest.mark.parametrize(("noise", "curvature"), [(2, 64), (64, 2), (2, 2), (3, 4)])
@pytest.mark.slow
def test_few_random_examples_leave_the_mean_as_it_is(noise, curvature):
    """Noise of q and curvatures of m of five examples: functionals within four errors of rational arithmetic."""
    data, steps = numbers(6, 5), len(RATES)
    with jax.enable_x64(True):
        options = {"noise_examples": noise, "curvature_examples": curvature, "num_samples": 8000}
        made = few(data, None, options, seed=4)
    landscape = polynomials(data)
    _, D, influence = functionals(landscape, landscape.mean, POINT, RATES)
    assert within_four_errors(made.influence, influence.sum(axis=1))
    for ties, rows in made.second.items():
        assert within_four_errors(rows, (tied(ties, steps) * D).sum(axis=(1, 2)))


@pytest.mark.parametrize("curvature", [2, 3])
@pytest.mark.slow
def test_few_random_examples_leave_test_losses_as_they_are(curvature):
    """Of four examples and three test examples, which may be few enough to be all taken where the former are not."""
    data, test, steps = numbers(5, 4), numbers(2, 3), len(RATES)
    with jax.enable_x64(True):
        made = few(data, test, {"noise_examples": 2, "curvature_examples": curvature, "num_samples": 8000}, seed=5)
    landscape = polynomials(data)
    for measured, found in ((polynomials(test).mean, made.second), (landscape.mean, made.train_second)):
        _, D, _ = functionals(landscape, measured, POINT, RATES)
        for ties, rows in found.items():
            assert within_four_errors(rows, (tied(ties, steps) * D).sum(axis=(1, 2)))


@pytest.mark.slow
def test_intervals_cover():
    """Of 400 predictions from 32 draws each, 92 to 98 % have the exact second order within 95 % intervals."""
    data, spacetime = numbers(6, 5), Spacetime.sgd(4, 2, 2)
    with jax.enable_x64(True):
        options = {"noise_examples": 2, "curvature_examples": 3, "num_samples": 400 * 32}
        curve = few(data, None, options, seed=6).predict(spacetime)
    exact = second_order(polynomials(data), POINT, RATES, noise_weights(spacetime), 4)["test_loss"][1]
    groups = curve.replicates[:, -1].reshape(400, 32)
    off = groups.mean(axis=1) - float(exact[-1])
    covered = np.abs(off) <= 2.04 * groups.std(axis=1, ddof=1) / 32**0.5  # Student's t with 31 degrees of freedom
    assert 0.92 <= covered.mean() <= 0.98


@pytest.mark.slow
def test_the_truncation_figure_is_the_size_of_both_next_orders():
    """Orders ε³ and ε⁴ have weights of two datapoints each, whose signs matter to the odd one."""
    options = {"num_samples": 2, "epoch_lengths": [2], "truncation_samples": 2, "key": jax.random.key(0)}
    made = anchor(fd.Landscape(cubic, numbers(6, 5)), START, steps=4, learning_rate=0.1, **options)
    ones = {ties: np.ones(5) for ties in made.second}
    weights = [1 / 2, 1 / 4, -1 / 4]  # of batches of 2, four points, and epochs of theirs
    third = sum(weight * abs(weight) for weight in weights) / 6
    fourth = sum(weight**2 for weight in weights) / 24
    nothing = {ties: np.zeros(5) for ties in made.second}
    for parts, size in (((ones, ones), third + fourth), ((ones, nothing), third), ((nothing, ones), fourth)):
        curve = replace(made, third=parts[0], fourth=parts[1]).predict(Spacetime.sgd(4, 2, 2))
        np.testing.assert_allclose(curve.truncation, np.full(5, size))
    silent = replace(made, third={}, fourth={}).predict(Spacetime.sgd(4, 2, 2))
    assert np.isnan(silent.truncation).all()  # not known is not zero
    assert not silent.converged.any()


@pytest.mark.parametrize("sampling", ["reshuffled", "fixed"])
def test_the_truncation_figure_squares_the_whole_weight_of_a_smaller_batch(sampling):
    """Where every derivative is that of the last steps alone, the figure has 1/R² for them, and not its two parts."""
    spacetime = Spacetime.sgd(5, 2, 2, sampling=sampling, drop_last=False)
    options = {"spacetimes": [spacetime], "learning_rate": 0.1, "num_samples": 2, "truncation_samples": 2}
    made = anchor(fd.Landscape(cubic, numbers(6, 5)), START, **options, key=jax.random.key(0))
    alike = {"reshuffled": ("step", "last"), "fixed": ("place", "last place")}[sampling]
    ones = {ties: np.full(7, float(ties.kind in alike)) for ties in made.second}
    curve = replace(made, third=ones, fourth={ties: 0 * row for ties, row in ones.items()}).predict(spacetime)
    np.testing.assert_allclose(curve.truncation, np.full(7, 1 / 6))


def test_smaller_batches_have_to_be_anchored(anchored):
    """Functionals for epochs of that length are not enough; the last batch can be left out instead."""
    options = {"learning_rate": 0.1, "num_samples": 2, "truncation_samples": 0, "key": jax.random.key(0)}
    made = anchor(fd.Landscape(cubic, numbers(6, 5)), START, steps=4, epoch_lengths=[2, 3], **options)
    with pytest.raises(fd.SpacetimeError, match=r"spacetimes=\[\.\.\.\].*drop_last=True"):
        made.predict(N=5, B=2, T=4, drop_last=False)
    assert made.predict(N=5, B=2, T=4, drop_last=True).spacetime == Spacetime.sgd(5, 2, 2, drop_last=True)
    made.predict(N=5, B=2, T=2, drop_last=False)  # ends before its smaller batch
    with pytest.raises(fd.ArgumentError, match="drop_last=True"):
        made.predict(Spacetime.gd(3, 4), drop_last=True)


def test_the_truncation_figure_has_its_own_errors():
    """Of two draws 1 ± 1 the standard error is 1: two of these are part of the figure, of both orders together."""
    options = {"num_samples": 2, "truncation_samples": 2, "key": jax.random.key(0)}
    made = anchor(fd.Landscape(cubic, numbers(6, 5)), START, steps=4, learning_rate=0.1, **options)
    assert {array.shape for found in (made.third, made.fourth) for array in found.values()} == {(2, 5)}
    spacetime = Spacetime.sgd(9, 2, T=4, sampling="with-replacement")
    rows, still = np.outer([0.0, 2.0], np.ones(5)), np.zeros((2, 5))
    step, run = (float(weight) for weight in noise_weights(spacetime).values())
    both = {"third": (step**2 + run**2) / 6, "fourth": (step**2 + run**2) / 24}
    for name, other in (("third", "fourth"), ("fourth", "third")):
        drawn = {name: dict.fromkeys(made.second, rows), other: dict.fromkeys(made.second, still)}
        np.testing.assert_allclose(replace(made, **drawn).predict(spacetime).truncation, 3 * both[name])
    drawn = dict.fromkeys(("third", "fourth"), dict.fromkeys(made.second, rows))
    figure = sum(both.values()) + 2 * np.hypot(*both.values())
    np.testing.assert_allclose(replace(made, **drawn).predict(spacetime).truncation, figure)


def test_a_loss_that_noise_takes_below_zero_is_not_called_converged():
    names = ("quantity", "spacetime", "times", "noiseless", "parts", "truncation")
    parts = {"minibatch noise": np.array([[0.1, -3.0, -1.0], [0.1, -3.0, -1.0]])}
    values = ("test_loss", Spacetime.sgd(2), np.arange(3), np.array([1.0, 1.0, -1.0]), parts, np.array([0.0, 0.0, 0.1]))
    given = dict(zip(names, values, strict=True))
    assert fd.AnchoredPrediction(**given).converged.tolist() == [True, False, True]
    assert fd.AnchoredPrediction(**given | {"quantity": "gap"}).converged.all()
    unknown = fd.AnchoredPrediction(**given | {"truncation": np.array([0.0, np.nan, np.nan])})
    assert unknown.converged.tolist() == [True, False, False]
    assert unknown.to_dict()["converged"] == [True, False, False]
    assert unknown.to_dict()["truncation"] == [0.0, None, None]
