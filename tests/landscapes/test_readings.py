"""The three readings of a dataset: predictions to rounding, and simulations within their errors, against exact SGD."""

import jax
import numpy as np
import pytest
import sympy

import feyngd as fd

X, Y = sympy.symbols("x y")
POINT = (sympy.Rational(1, 2), sympy.Rational(-3, 4))
QUANTITIES = ("test_loss", "train_loss", "gap")
TOO_LARGE = pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")
SPACETIMES = [
    fd.Spacetime.sgd(4, 2, 1),
    fd.Spacetime.sgd(4, 1, 1),
    fd.Spacetime.sgd(4, 2, 2),
    fd.Spacetime.sgd(4, 2, T=2, sampling="with-replacement"),
    fd.Spacetime.gd(4, 3),
]


def cubic(theta, numbers):
    z = numbers[0] * theta[0] + numbers[1] * theta[1]
    return z**3 + numbers[2] * theta[0] * theta[1] + numbers[3] * z**2 + numbers[4] * theta[1]


def numbers(seed, count):
    return np.random.default_rng(seed).integers(-3, 4, (count, 5)) / 4


def polynomials(rows):
    rationals = [[sympy.Rational(float(x)).limit_denominator(4) for x in row] for row in rows]
    return fd.testing.PolynomialLandscape.from_expressions([cubic((X, Y), row) for row in rationals], (X, Y))


def landscape(reading, train, test=None):
    return fd.Landscape(cubic, train, test, reading=reading)


def close(ours, exact):
    np.testing.assert_allclose(ours, [[float(c) for c in exact]], rtol=1e-9, atol=1e-11)


def coefficients(made, values, spacetime, **options):
    with jax.enable_x64(True):  # values belong to the precision that they were evaluated in
        return fd.predict(made, START, spacetime, 0.1, values=values, **options).coefficients


TRAIN, TEST, SAMPLE = numbers(1, 4), numbers(2, 3), numbers(3, 5)
START = np.array([0.5, -0.75])


def exact_values(of, root):
    """All values of order ≤ 3, as sums over all combinations of examples: they serve every spacetime."""
    tied = [diagram for order in range(4) for diagram in fd.diagrams(order, root_tied=root == "train")]
    with jax.enable_x64(True):
        return fd.evaluate(tied, of, START, root=root, estimator="double-sum")


@pytest.fixture(scope="module")
def conditional():
    with jax.enable_x64(True):
        made = landscape("conditional", TRAIN, TEST)
    return made, {root: exact_values(made, root) for root in ("test", "train")}


@pytest.fixture(scope="module")
def unbiased():
    with jax.enable_x64(True):
        made = landscape("unbiased", SAMPLE)
    return made, exact_values(made, "train")


@TOO_LARGE
@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("spacetime", SPACETIMES, ids=str)
def test_conditional_predictions_are_exact(spacetime, quantity, conditional):
    exact = fd.testing.exact_series(
        quantity, polynomials(TRAIN), POINT, spacetime, 3, reading="conditional", test=polynomials(TEST)
    )
    close(coefficients(*conditional, spacetime, quantity=quantity), exact)


@TOO_LARGE
@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("spacetime", SPACETIMES, ids=str)
def test_unbiased_predictions_are_exact(spacetime, quantity, unbiased):
    exact = fd.testing.exact_series(quantity, polynomials(SAMPLE), POINT, spacetime, 3, reading="unbiased")
    close(coefficients(*unbiased, spacetime, quantity=quantity), exact)


@TOO_LARGE
@pytest.mark.parametrize("reading", ["unbiased", "conditional"])
@pytest.mark.slow
def test_predictions_to_order_4_are_exact(reading, conditional, unbiased):
    spacetime = fd.Spacetime.sgd(4, 2, 2)
    (made, _), given = (conditional, TRAIN) if reading == "conditional" else (unbiased, SAMPLE)
    test = {"test": polynomials(TEST)} if reading == "conditional" else {}
    exact = fd.testing.exact_series("test_loss", polynomials(given), POINT, spacetime, 4, reading=reading, **test)
    with jax.enable_x64(True):
        series = fd.expand("test_loss", order=4, spacetime=spacetime)
        values = fd.evaluate(series, made, START, estimator="double-sum")
    close(coefficients(made, values, spacetime, order=4), exact)


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("reading", ["unbiased", "conditional"])
def test_simulations_agree_with_the_exact_series(reading, quantity):
    """A quadratic loss and two steps: the series ends at order 4 and is the exact expectation."""
    spacetime, rate = fd.Spacetime.sgd(4, 2), 0.2
    train, test = numbers(4, 4 if reading == "conditional" else 6), numbers(5, 3) if reading == "conditional" else None
    train[:, 4], train[:, 0] = train[:, 3], 0.5

    def quadratic(theta, row):
        return (
            row[0] * theta[0] ** 2
            + row[1] * theta[0] * theta[1]
            + theta[1] ** 2 / 2
            + row[2] * theta[0]
            + row[3] * theta[1]
        )

    def exact_landscape(rows):
        rationals = [[sympy.Rational(float(x)).limit_denominator(4) for x in row] for row in rows]
        expressions = [r[0] * X**2 + r[1] * X * Y + Y**2 / 2 + r[2] * X + r[3] * Y for r in rationals]
        return fd.testing.PolynomialLandscape.from_expressions(expressions, (X, Y))

    exact = fd.testing.exact_series(
        quantity,
        exact_landscape(train),
        POINT,
        spacetime,
        4,
        reading=reading,
        test=None if test is None else exact_landscape(test),
    )
    expected = sum(float(c) * rate**k for k, c in enumerate(exact))
    with jax.enable_x64(True):
        simulation = fd.simulate(
            fd.Landscape(quadratic, train, test, reading=reading),
            np.array([0.5, -0.75]),
            spacetime,
            rate,
            runs=4000,
            quantity=quantity,
            chunk_size=500,
            key=jax.random.key(1),
        )
    assert 0 < simulation.stderr[0] < 0.05
    assert abs(simulation.mean[0] - expected) < 4.5 * simulation.stderr[0]


def test_what_the_readings_refuse():
    train, test = numbers(6, 4), numbers(7, 3)
    conditional, unbiased = landscape("conditional", train, test), landscape("unbiased", train)
    start, key = np.array([0.5, -0.75]), jax.random.key(0)
    for call in (fd.predict, fd.simulate):
        with pytest.raises(fd.SpacetimeError, match="N = 4"):
            call(conditional, start, fd.Spacetime.sgd(3), 0.1, key=key)
        with pytest.raises(fd.SpacetimeError, match="reshuffled"):
            call(conditional, start, fd.Spacetime.sgd(4, sampling="fixed"), 0.1, key=key)
        with pytest.raises(fd.SpacetimeError, match="N < 4"):
            call(unbiased, start, fd.Spacetime.sgd(4), 0.1, key=key)
    with pytest.raises(fd.ArgumentError, match="gap"):
        fd.evaluate(fd.expand("gap", order=1, spacetime=fd.Spacetime.sgd(4)), conditional, start, key=key)
    with pytest.raises(fd.LandscapeError, match="5 distinct examples"):
        fd.evaluate(fd.Diagram.parse("[a b c d]"), unbiased, start, key=key)


def test_values_with_the_wrong_root_are_refused():
    conditional = landscape("conditional", numbers(6, 4), numbers(7, 3))
    spacetime, start = fd.Spacetime.sgd(4), np.array([0.5, -0.75])
    values = fd.evaluate(fd.expand("test_loss", order=1, spacetime=spacetime), conditional, start, root="train")
    with pytest.raises(fd.ArgumentError, match="root='test'"):
        fd.predict(conditional, start, spacetime, 0.1, order=1, values=values)
