"""Measurements of one's own in the place of the test loss: series, values, predictions and simulations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import feyngd as fd
from feyngd.errors import ArgumentError, LandscapeError

X, Y = sympy.symbols("x y")
POINT, START = (sympy.Rational(1, 2), sympy.Rational(-3, 4)), np.array([0.5, -0.75])
TOO_LARGE = pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")
SPACETIMES = [
    fd.Spacetime.sgd(3, 1, 2),
    fd.Spacetime.sgd(3, 2, T=2, sampling="with-replacement"),
    fd.Spacetime.gd(3, 3),
]
RANDOM = np.random.default_rng(0)
TRAIN, OWN = RANDOM.integers(-3, 4, (4, 4)) / 4, RANDOM.integers(-3, 4, (2, 2)) / 4


def loss(theta, row):
    z = row[0] * theta[0] + row[1] * theta[1]
    return z**3 + row[2] * theta[0] * theta[1] + row[3] * z**2


def measured(theta, row):
    return (theta[0] + row[0]) ** 4 - row[1] * theta[1] ** 2 * theta[0]


def polynomials(function, data):
    exact = [[sympy.Rational(float(x)).limit_denominator(4) for x in row] for row in data]
    return fd.testing.PolynomialLandscape.from_expressions([function((X, Y), row) for row in exact], (X, Y))


@pytest.fixture(scope="module")
def network():
    """A tanh network in single precision, of 22 parameters, whose paired values are sampled."""
    x = RANDOM.normal(size=(60, 3)).astype("float32")
    y = np.sin(x.sum(1))
    start = {"w": RANDOM.normal(size=(3, 5)).astype("float32") / 3, "v": np.full(5, 0.2, "float32"), "b": np.zeros(2)}
    start["b"] = start["b"].astype("float32")

    def fit(params, example):
        x, y = example
        return (jnp.tanh(x @ params["w"]) @ params["v"] + params["b"][0] - y) ** 2 + 0.1 * jnp.sum(params["b"] ** 2)

    return fd.Landscape(fit, (x, y)), start


@TOO_LARGE
@pytest.mark.parametrize("kind", ["parameters", "examples"])
@pytest.mark.parametrize("reading", ["population", "unbiased", "conditional"])
def test_predictions_are_exact(reading, kind):
    train = TRAIN if reading == "unbiased" else TRAIN[:3]
    of_params = kind == "parameters"
    own = OWN[:1] if of_params else OWN
    quantity = fd.measurement("own", *([lambda theta: measured(theta, own[0])] if of_params else [measured, own]))
    with jax.enable_x64(True):
        test = np.ones((1, 4)) if reading == "conditional" else None
        landscape = fd.Landscape(loss, train, test, reading=reading)
        diagrams = [diagram for order in range(4) for diagram in fd.diagrams(order)]
        values = fd.evaluate(diagrams, landscape, START, root=quantity, estimator="double-sum")
        for spacetime in SPACETIMES:
            exact = fd.testing.exact_series(
                "test_loss",
                polynomials(loss, train),
                POINT,
                spacetime,
                3,
                reading=reading,
                test=polynomials(measured, own),
            )
            found = fd.predict(landscape, START, spacetime, 0.1, quantity=quantity, values=values)
            np.testing.assert_allclose(found.coefficients, [[float(c) for c in exact]], rtol=1e-9, atol=1e-11)


@pytest.mark.slow
def test_the_loss_as_a_measurement_is_the_test_loss(network):
    landscape, start = network
    twin = fd.measurement("twin", landscape.loss)
    diagrams = [diagram for order in range(3) for diagram in fd.diagrams(order)] + fd.diagrams(3)[::4]
    exact = fd.evaluate(diagrams, landscape, start, estimator="contraction")
    for estimator in ("pairing", "deflation", "strata", "contraction"):
        found = fd.evaluate(
            diagrams, landscape, start, root=twin, estimator=estimator, replicates=8, key=jax.random.key(1)
        )
        assert found.root == "measured"
        for diagram in diagrams:
            error = found[diagram].stderr or 0.0
            assert (
                abs(found[diagram].value - exact[diagram].value) < 6 * error + 1e-3 * abs(exact[diagram].value) + 1e-4
            )


@TOO_LARGE
def test_every_optimizer_and_reading_simulates_what_is_predicted(network):
    landscape, start = network
    split = fd.Landscape(
        landscape.loss,
        *[jax.tree.map(lambda a, s=s: a[s], landscape.data) for s in np.split(range(60), [12])],
        reading="conditional",
    )
    out = fd.measurement("output", lambda p, e: jnp.tanh(e[0] @ p["w"]) @ p["v"])
    size = fd.measurement("size", lambda p: jnp.sum(p["w"] ** 2))
    space, rates = fd.Spacetime.sgd(12, 4, 2), [0.01, 0.02]
    for made, quantity, optimizer in (
        (split, out, fd.momentum(0.5)),
        (landscape, size, fd.preconditioned(fd.sgd(), {"w": 2.0, "v": 0.5, "b": 0.0})),
    ):
        options = {"quantity": quantity, "optimizer": optimizer}
        ours = fd.predict(made, start, space, rates, order=2, key=jax.random.key(2), **options)
        theirs = fd.simulate(made, start, space, rates, runs=2000, control=True, key=jax.random.key(3), **options)
        assert fd.compare(ours, theirs).agrees.all()
        assert ours.mean[1] != pytest.approx(ours.mean[0], rel=1e-4)
    assert ours.quantity == "size"
    assert "expected size" in ours.plot().get_ylabel()


def test_a_changed_function_of_the_same_name_is_seen(network):
    landscape, start = network
    numbers = []
    for factor in (1.0, 3.0):
        own = fd.measurement("own", lambda p, factor=factor: factor * jnp.sum(p["v"] ** 2))
        series = fd.expand(own, order=1, spacetime=fd.Spacetime.gd(60, 2))
        values = fd.evaluate(series, landscape, start)
        numbers.append([values[diagram].value for diagram in series])
        run = fd.simulate(landscape, start, fd.Spacetime.gd(60, 2), 0.01, quantity=own, runs=2, key=jax.random.key(0))
        numbers[-1].append(run.mean[0])
    np.testing.assert_allclose(numbers[1], 3 * np.array(numbers[0]), rtol=1e-5)
    with pytest.raises(ArgumentError, match="another loss"):
        fd.predict(landscape, start, fd.Spacetime.gd(60, 2), 0.01, order=1, values=values, key=jax.random.key(0))


def test_series_name_the_root():
    space = fd.Spacetime.sgd(4, 2, 2)
    ours, test = (fd.expand(q, order=3, spacetime=space) for q in (fd.measurement("margin"), "test_loss"))
    assert dict(ours) == dict(test)
    assert "G_i s_i" in str(ours)
    assert "margin to order" in str(ours)
    assert r"s_{i j}" in ours.latex()
    again = fd.Series.from_json(ours.to_json())
    assert dict(again) == dict(ours)
    assert again.quantity == "margin"
    assert str(again) == str(ours)


def test_a_series_never_turns_into_that_of_the_loss(network):
    """Kept, scaled or added up, it has the derivatives of its own function at the root, or is refused."""
    landscape, start = network
    own, space = fd.measurement("size", lambda p: jnp.sum(p["v"] ** 2)), fd.Spacetime.gd(60, 2)
    series = fd.expand(own, order=1, spacetime=space)
    numbers = {diagram: value.value for diagram, value in fd.evaluate(series, landscape, start).items()}
    for changed in (2 * series, series + series, series.in_basis("cumulant")):
        found = fd.evaluate(changed, landscape, start)
        assert {diagram: value.value for diagram, value in found.items()} == pytest.approx(numbers)
    with pytest.raises(ArgumentError, match="a name and no function"):
        fd.evaluate(fd.Series.from_json(series.to_json()), landscape, start)
    for other in ("test_loss", fd.measurement("size", lambda p: jnp.sum(p["w"]))):
        with pytest.raises(ArgumentError, match="different functions"):
            series - fd.expand(other, order=1, spacetime=space)
    with pytest.raises(ArgumentError):
        fd.resum(series)


def test_what_cannot_be_measured_is_refused(network):
    landscape, start = network
    space, key = fd.Spacetime.sgd(4), jax.random.key(0)

    def predict(quantity, made=landscape):
        fd.predict(made, start, space, 0.01, quantity=quantity, key=key)

    for name, function, data in (
        ("", None, None),
        ("gap", None, None),
        ("m", 3.0, None),
        ("m", lambda: 0.0, None),
        ("m", lambda a, b, c: 0.0, None),
        ("m", lambda p: 0.0, np.ones(3)),
        ("m", None, np.ones(3)),
    ):
        with pytest.raises(ArgumentError):
            fd.measurement(name, function, data)
    with pytest.raises(ArgumentError, match="a name and no function"):
        predict(fd.measurement("m"))
    with pytest.raises(LandscapeError, match=r"read like a loss.*shape"):
        predict(fd.measurement("m", lambda p: p["v"]))
    with pytest.raises(LandscapeError, match=r"read like a loss.*count of errors"):
        predict(fd.measurement("m", lambda p: jnp.sum(p["v"] > 0).astype(float)))
    with pytest.raises(LandscapeError, match="example of the measurement 1"):
        predict(fd.measurement("m", lambda p, e: jnp.sum(p["v"]) / e, np.array([1.0, 0.0])))
    with pytest.warns(fd.SmoothnessWarning):
        fd.evaluate(fd.Diagram.parse("[a]"), landscape, start, root=fd.measurement("m", lambda p: jnp.sum(abs(p["w"]))))
    unbiased = fd.Landscape(landscape.loss, landscape.data, reading="unbiased")
    with pytest.raises(ArgumentError, match="give the measurement 'm' its data"):
        predict(fd.measurement("m", lambda p, e: jnp.sum(p["v"]) * e[1]), unbiased)
    with pytest.raises(ArgumentError, match="not tied to training points"):
        fd.evaluate(fd.Diagram.parse("a[a]"), landscape, start, root=fd.measurement("m", lambda p: jnp.sum(p["v"])))
    with pytest.raises(ArgumentError, match="no measurements of your own"):
        fd.expand(fd.measurement("m"), order=1, spacetime=space, resummed=True)
