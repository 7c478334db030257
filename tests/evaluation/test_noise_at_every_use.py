"""Noise drawn anew at every use: values, predictions and simulations against exact enumeration and each other."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd import CellDiagram
from feyngd.errors import ArgumentError, LandscapeError
from feyngd.landscapes import digits

KEY, RUNS = jax.random.key(0), jax.random.key(7)
POINTS = np.array([[1.0, 2.0], [-1.0, 0.5], [0.25, -1.0]])
START = np.array([0.5, -0.25])
THETA = [Fraction(1, 2), Fraction(-1, 4)]
TOO_LARGE = pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")


def loss(theta, point, key):
    """A fair coin decides which of two polynomials a use takes."""
    coin = jax.random.bernoulli(key).astype(theta.dtype)
    first = 0.5 * (theta[0] - point[0]) ** 2 * (1 + coin)
    return first + 0.5 * (theta[0] * theta[1] - point[1] * coin) ** 2 + 0.25 * theta[1] ** 3


def polynomial(point, coin):
    x, y = map(Fraction, point)
    half, found = Fraction(1 + coin, 2), {(0, 3): Fraction(1, 4), (2, 2): Fraction(1, 2), (1, 1): -y * coin}
    return found | {(2, 0): half, (1, 0): -2 * half * x, (0, 0): half * x**2 + y**2 * coin / 2}


@pytest.fixture(scope="module")
def landscape():
    return fd.Landscape(loss, POINTS, per_use_noise=True)


@pytest.fixture(scope="module")
def exact():
    return fd.testing.NoisyLandscape([[polynomial(point, coin) for coin in (0, 1)] for point in POINTS.tolist()])


def test_values_are_those_of_the_coin(landscape, exact):
    series = fd.expand("train_loss", order=2, spacetime=fd.Spacetime.sgd(4, 2, 3), per_use_noise=True)
    values = fd.evaluate(series, landscape, START, replicates=60, check_dtype=False, key=KEY)
    expected = fd.testing.ExactValues(exact, THETA)
    scores = [(values[D].value - float(expected.moment(D))) / values[D].stderr for D in series]
    assert max(map(abs, scores)) < 3.5
    assert {values[D].kind for D in series} == {"fresh noise"}
    assert max(values[D].stderr / values[D].value for D in series) < 0.02


@pytest.mark.slow
def test_intervals_cover(landscape, exact):
    diagrams = [CellDiagram.parse(text) for text in ("[a]", "[a a]", "[a.1 a.2]", "[a b]", "a[a.1[a.2]]")]
    expected = fd.testing.ExactValues(exact, THETA)
    covered = np.zeros(len(diagrams))
    for seed in range(80):
        values = fd.evaluate(diagrams, landscape, START, replicates=8, check_dtype=False, key=jax.random.key(seed))
        for number, diagram in enumerate(diagrams):
            low, high = values[diagram].interval(0.9)
            covered[number] += low <= float(expected.moment(diagram)) <= high
    assert np.all(np.abs(covered / 80 - 0.9) < 0.1)


@pytest.mark.parametrize("reading", ["unbiased", "conditional"])
def test_other_readings_are_those_of_the_coin(reading, exact):
    test_data = POINTS[:1] if reading == "conditional" else None
    landscape = fd.Landscape(loss, POINTS, test_data, reading=reading, per_use_noise=True)
    spacetime = fd.Spacetime.sgd(3 if reading == "conditional" else 2, 1, 2)
    options = {"order": 2, "replicates": 60, "check_dtype": False}
    prediction = fd.predict(landscape, START, spacetime, [1e-3], key=KEY, **options)
    test = fd.testing.PolynomialLandscape(exact.means.losses[:1]) if reading == "conditional" else None
    expected = fd.testing.exact_series("test_loss", exact, THETA, spacetime, 2, reading=reading, test=test)
    found, errors = prediction.coefficients.mean(axis=0), prediction.coefficients.std(axis=0, ddof=1)
    scores = (found - np.array(list(map(float, expected)))) / (errors / len(prediction.coefficients) ** 0.5)
    assert np.abs(scores).max() < 3.5


@TOO_LARGE
@pytest.mark.parametrize("quantity", ["test_loss", "train_loss", "gap"])
def test_runs_are_those_of_the_coin(quantity, landscape, exact):
    spacetime, rate = fd.Spacetime.sgd(2, 2, T=2, sampling="with-replacement"), 0.03
    series = fd.testing.exact_series(quantity, exact, THETA, spacetime, 4)
    expected = sum(float(value) * rate**power for power, value in enumerate(series))
    runs = fd.simulate(landscape, START, spacetime, [rate], quantity=quantity, runs=20_000, chunk_size=250, key=RUNS)
    assert abs(runs.mean[0] - expected) < 3.5 * runs.stderr[0]


def test_a_measurement_has_no_noise_of_its_own(landscape, exact):
    first = fd.measurement("first", lambda theta: theta[0] ** 2)
    spacetime = fd.Spacetime.sgd(2, 1, 2)
    options = {"order": 2, "replicates": 60, "check_dtype": False}
    prediction = fd.predict(landscape, START, spacetime, [1e-3], quantity=first, key=KEY, **options)
    test = fd.testing.PolynomialLandscape([{(2, 0): 1}])
    expected = fd.testing.exact_series("test_loss", exact, THETA, spacetime, 2, test=test)
    found = prediction.coefficients
    assert found[:, 0] == pytest.approx(0.25)
    errors = found.std(axis=0, ddof=1) / len(found) ** 0.5
    distance = np.abs(found.mean(axis=0) - np.array(list(map(float, expected))))
    assert np.all(distance[1:] < 3.5 * errors[1:])
    runs = fd.simulate(landscape, START, spacetime, [0.01], quantity=first, runs=500, key=RUNS)
    assert runs.mean[0] == pytest.approx(float(prediction.at(np.array([0.01]))[0][0]), rel=0.02)


@TOO_LARGE
@pytest.mark.parametrize(
    "optimizer", [fd.momentum(0.5), fd.averaged(fd.sgd(), ema=0.5), fd.preconditioned(fd.sgd(), np.array([1.0, 0.5]))]
)
def test_optimizers_are_those_of_the_coin(optimizer, landscape, exact):
    spacetime, rate = fd.Spacetime.sgd(2, 1, 2), 0.01
    known = fd.preconditioned(fd.sgd(), [1, Fraction(1, 2)]) if optimizer.metric is not None else optimizer
    series = fd.testing.exact_series("test_loss", exact, THETA, spacetime, 3, optimizer=known)
    expected = sum(float(value) * rate**power for power, value in enumerate(series))
    options = {"optimizer": optimizer, "check_dtype": False, "key": KEY}
    prediction = fd.predict(landscape, START, spacetime, [rate], order=3, replicates=40, **options)
    assert abs(prediction.mean[0] - expected) < 3.5 * prediction.stderr[0]
    assert prediction.stderr[0] < 0.01 * expected


def test_learning_curves_have_the_predictions_of_shorter_runs(landscape):
    spacetime, options = fd.Spacetime.sgd(3, 1, 2), {"order": 2, "replicates": 4, "check_dtype": False, "key": KEY}
    curve = fd.predict(landscape, START, spacetime, [0.01], times=[3, 6], **options)
    for time, mean in zip((3, 6), curve.mean, strict=True):
        run = fd.predict(landscape, START, fd.Spacetime.sgd(3, 1, T=time), [0.01], **options)
        assert mean == pytest.approx(run.mean[0], rel=1e-5)


def network(params, example):
    hidden = jnp.tanh(example.reshape(-1) @ params["in"] + params["shift"])
    return hidden, params["out"]


def cross_entropy(logits, label):
    return jax.nn.logsumexp(logits) - logits[label]


def dropout(params, example, key):
    hidden, out = network(params, example[0])
    kept = jax.random.bernoulli(key, 0.5, hidden.shape)
    return cross_entropy((2 * kept * hidden) @ out, example[1])


def moved(params, example, key):
    image = jnp.roll(example[0], jax.random.randint(key, (2,), -1, 2), (0, 1))
    hidden, out = network(params, image)
    return cross_entropy(hidden @ out, example[1])


@pytest.mark.slow
@pytest.mark.parametrize("noisy", [dropout, moved])
def test_digits_over_three_epochs(noisy):
    images, labels = digits(200)
    data = np.asarray(images).reshape(-1, 8, 8), np.asarray(labels)
    one, other = jax.random.split(jax.random.key(1))
    start = {
        "in": jax.random.normal(one, (64, 6)) / 8,
        "shift": jnp.zeros(6),
        "out": jax.random.normal(other, (6, 10)) / 6**0.5,
    }
    anew = fd.Landscape(noisy, data, per_use_noise=True)
    words = jax.random.key_data(jax.random.split(jax.random.key(2), len(labels)))
    kept = fd.Landscape(lambda p, e: noisy(p, e[0], jax.random.wrap_key_data(e[1])), (data, words))
    spacetime, rates = fd.Spacetime.sgd(20, 5, 3), [0.003]
    options = {"quantity": "gap", "order": 2, "replicates": 40, "check_dtype": False}
    prediction = fd.predict(anew, start, spacetime, rates, key=KEY, **options)
    assert prediction.converged.all()
    runs = fd.simulate(anew, start, spacetime, rates, quantity="gap", runs=2500, key=RUNS)
    assert abs(prediction.mean - runs.mean)[0] < 2.5 * np.hypot(prediction.stderr, runs.stderr)[0]
    pairs = fd.predict(kept, start, spacetime, rates, key=KEY, **options)
    assert (pairs.mean - runs.mean)[0] > 5 * np.hypot(pairs.stderr, runs.stderr)[0]


def test_the_same_key_gives_the_same_numbers(landscape):
    diagram = CellDiagram.parse("[a.1 a.2]")
    found = [
        fd.evaluate(diagram, landscape, START, replicates=3, check_dtype=False, key=jax.random.key(seed))
        for seed in (4, 4, 5)
    ]
    first, again, other = (values.replicates(diagram).tolist() for values in found)
    assert first == again
    assert first != other


def test_a_plan_names_the_uses_of_an_example(landscape):
    plan = str(fd.plan(CellDiagram.parse("[a.1 a.2]"), landscape, START))
    assert "h_x1" in plan or "g_x1" in plan
    assert "g_y2" in plan


def test_what_takes_noise_wrongly_is_refused(landscape):
    with pytest.raises(ArgumentError, match=r"loss\(params, example, key\)"):
        fd.Landscape(lambda theta, point: theta[0], POINTS, per_use_noise=True)
    with pytest.raises(ArgumentError, match="leave update out"):
        fd.Landscape(loss, POINTS, per_use_noise=True, update=lambda theta, point: theta)
    ignored = fd.Landscape(lambda theta, point, key: jnp.sum((theta - point) ** 2), POINTS, per_use_noise=True)
    with pytest.raises(LandscapeError, match="does not depend on the key"):
        fd.predict(ignored, START, fd.Spacetime.sgd(2), [0.1], key=KEY)
    reused = fd.Landscape(
        lambda theta, point, key: jnp.sum((theta - point) ** 2) * jax.random.normal(KEY), POINTS, per_use_noise=True
    )
    with pytest.raises(LandscapeError, match="constant key"):
        fd.simulate(reused, START, fd.Spacetime.sgd(2), [0.1], key=KEY)
    with pytest.raises(ArgumentError, match="has no cells"):
        fd.evaluate(fd.Diagram.parse("[a]"), landscape, START, key=KEY)
    with pytest.raises(ArgumentError, match="keeps the noise of its examples"):
        fd.evaluate(CellDiagram.parse("[a]"), fd.Landscape(lambda t, x: jnp.sum((t - x) ** 2), POINTS), START)
    with pytest.raises(ArgumentError, match="draws noise anew: give key"):
        fd.evaluate(CellDiagram.parse("[a]"), landscape, START)
    with pytest.raises(ArgumentError, match="leave estimator out"):
        fd.evaluate(CellDiagram.parse("[a]"), landscape, START, estimator="pairing", key=KEY)
    with pytest.raises(ArgumentError, match="leave basis out"):
        fd.evaluate(CellDiagram.parse("[a]"), landscape, START, basis="cumulant", key=KEY)
    for call in (fd.anchor, fd.near_minimum):
        with pytest.raises(ArgumentError, match="draws noise anew at every use"):
            call(landscape, START, **({"steps": 2, "learning_rate": 0.1} if call is fd.anchor else {}), key=KEY)
