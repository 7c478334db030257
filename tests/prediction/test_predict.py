"""Predictions against closed forms, against exact series, and what they say about their own errors."""

import json
import warnings
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import feyngd as fd
from feyngd.landscapes import toys

KEY = jax.random.key(11)
QUANTITIES = ("test_loss", "train_loss", "gap")
SPACETIMES = {
    "fixed": fd.Spacetime.sgd(4, 2, 2, sampling="fixed"),
    "reshuffled": fd.Spacetime.sgd(3, 1, 2, sampling="reshuffled"),
    "with-replacement": fd.Spacetime.sgd(3, 2, T=2, sampling="with-replacement"),
    "full-batch": fd.Spacetime.gd(3, 4),
    "explicit": fd.Spacetime.from_batches([[0, 1], [2, 2], [0, 2]], N=3),
    "uneven": fd.Spacetime.from_batches([[0], [2, 1, 2], [0, 2]], N=3),
}
TOO_LARGE = pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")


# --- closed forms -------------------------------------------------------------------------------------------------


@TOO_LARGE
@pytest.mark.parametrize(("N", "T", "hessian", "scale"), [(5, 2, 2.0, 0.5), (4, 3, 0.7, 1.5)])
def test_gap_of_mean_estimation(N, T, hessian, scale):
    with jax.enable_x64(True):
        landscape, start = toys.mean_estimation(hessian, scale)
        rates = np.array([0.05, 0.2])
        prediction = fd.predict(
            landscape, start, fd.Spacetime.gd(N, T), rates, order=T, quantity="gap", replicates=50, key=KEY
        )
    # (S²/NH)(1 − (1 − ηH)^T), a polynomial of degree T
    closed = scale**2 / (N * hessian) * (1 - (1 - rates * hessian) ** T)
    assert np.all(np.abs(prediction.mean - closed) <= 4.5 * prediction.stderr + 1e-14)
    assert np.all(prediction.stderr < 0.01 * closed)


@TOO_LARGE
def test_test_loss_of_mean_estimation():
    with jax.enable_x64(True):
        landscape, start = toys.mean_estimation(0.8, 1.5)
        prediction = fd.predict(landscape, start, fd.Spacetime.gd(6, 2), 0.1, key=KEY)
    # (S²/2NH)(1 − (1 − ηH)²)² without its last term, of order η⁴
    eta = sympy.Symbol("eta")
    H, S = sympy.Rational(4, 5), sympy.Rational(3, 2)
    closed = sympy.Poly(sympy.expand(S**2 / (12 * H) * (1 - (1 - eta * H) ** 2) ** 2), eta)
    expected = [float(closed.coeff_monomial(eta**k)) for k in range(4)]
    np.testing.assert_allclose(prediction.coefficients.mean(axis=0), expected, atol=1e-13)


@TOO_LARGE
def test_test_loss_of_a_quadratic_in_several_dimensions():
    hessian, covariance = np.diag([0.5, 1.0, 2.0]), np.diag([1.0, 0.25, 2.0])
    with jax.enable_x64(True):
        landscape, start = toys.quadratic(hessian, covariance)
        prediction = fd.predict(landscape, start, fd.Spacetime.gd(7, 1), [0.1, 0.3], order=2, replicates=400, key=KEY)
    closed = 0.5 / 7 * sum(c * h for c, h in zip(np.diag(covariance), np.diag(hessian), strict=True))
    expected = closed * prediction.learning_rates**2
    assert np.all(np.abs(prediction.mean - expected) <= 4.5 * prediction.stderr + 1e-12)


@TOO_LARGE
def test_test_loss_of_gauss_fit():
    diagrams = [diagram for order in range(4) for diagram in fd.diagrams(order)]
    with jax.enable_x64(True):
        landscape, start = toys.gauss_fit()
        values = fd.evaluate(diagrams, landscape, start, replicates=400, key=KEY)
    for T in (1, 2, 5):
        with jax.enable_x64(True):
            prediction = fd.predict(landscape, start, fd.Spacetime.sgd(T), [0.02, 0.1], values=values)
        eta = prediction.learning_rates
        # ½ + η²T/8 − η³[T(T−1)/16 + T/12]
        expected = 0.5 + eta**2 * T / 8 - eta**3 * (T * (T - 1) / 16 + T / 12)
        assert np.all(np.abs(prediction.mean - expected) <= 4.5 * prediction.stderr + 1e-12)
        np.testing.assert_allclose(prediction.mean, expected, rtol=0.002)


@TOO_LARGE
def test_skewed_noise_acts_at_order_3():
    with jax.enable_x64(True):
        landscape, start = toys.cubic_chi()
        prediction = fd.predict(landscape, start, fd.Spacetime.sgd(1), 0.1, key=KEY)
    np.testing.assert_allclose(prediction.coefficients.mean(axis=0), [0, 0, 0, 8], atol=1e-10)


# --- series times values, in every scheme ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def polynomials():
    x, y = sympy.symbols("x y")
    losses = [x**3 / 2 - x * y + y**2, x**2 * y + x / 2 - y**3 / 3]
    landscape = fd.testing.PolynomialLandscape.from_expressions(losses, (x, y), [Fraction(1, 3), Fraction(2, 3)])
    return landscape, (Fraction(1, 2), Fraction(-1, 3))


@pytest.fixture(scope="module")
def exact_values(polynomials):
    exact = fd.testing.ExactValues(*polynomials)
    diagrams = [diagram for order in range(4) for diagram in fd.diagrams(order, root_tied=True)]
    return fd.Values({diagram: np.array([float(exact.moment(diagram))]) for diagram in diagrams}, "moment")


def anything():
    return fd.Landscape(lambda theta, x: theta * x, np.ones(2)), np.array(1.0)


@TOO_LARGE
@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("spacetime", SPACETIMES.values(), ids=SPACETIMES.keys())
def test_coefficients_are_those_of_exact_sgd(spacetime, quantity, polynomials, exact_values):
    exact = [float(c) for c in fd.testing.exact_series(quantity, *polynomials, spacetime, 3)]
    rates = np.array([0.01, 0.2])
    prediction = fd.predict(*anything(), spacetime, rates, quantity=quantity, values=exact_values)
    np.testing.assert_allclose(prediction.coefficients, [exact], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(prediction.mean, np.polynomial.polynomial.polyval(rates, exact), rtol=1e-11)
    np.testing.assert_array_equal(prediction.stderr, 0.0)


@TOO_LARGE
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_cuts_at_every_order(order, polynomials, exact_values):
    spacetime, rates = SPACETIMES["reshuffled"], np.array([0.01, 0.1])
    exact = [float(c) for c in fd.testing.exact_series("test_loss", *polynomials, spacetime, 3)]
    expected = sum(exact[k] * rates**k for k in range(order + 1))
    full = fd.predict(*anything(), spacetime, rates, values=exact_values)
    direct = fd.predict(*anything(), spacetime, rates, order=order, values=exact_values)
    for mean in (full.at(rates, order=order)[0], full.truncate(order).mean, direct.mean):
        np.testing.assert_allclose(mean, expected, rtol=1e-11)
    assert full.truncate(order).order == direct.order == order
    np.testing.assert_allclose(full.truncate(order).truncation, np.abs(exact[order] * rates**order), rtol=1e-11)


@TOO_LARGE
def test_gap_is_test_minus_train(exact_values):
    rates = [0.01, 0.1, 0.3]
    for spacetime in SPACETIMES.values():
        test, train, gap = (
            fd.predict(*anything(), spacetime, rates, quantity=quantity, values=exact_values) for quantity in QUANTITIES
        )
        np.testing.assert_allclose(gap.coefficients, test.coefficients - train.coefficients, atol=1e-12)


# --- figures of merit -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def noisy_values():
    """Made-up replicates, correlated between diagrams, to check how errors go through."""
    rng = np.random.default_rng(5)
    shared = rng.normal(size=12)
    diagrams = [diagram for order in range(4) for diagram in fd.diagrams(order)]
    rows = {d: rng.normal() + 0.1 * shared * rng.normal() + 0.05 * rng.normal(size=12) for d in diagrams}
    return fd.Values({d: row if d.order > 1 else row[:1] for d, row in rows.items()}, "moment")


@TOO_LARGE
def test_standard_error_is_that_of_the_combination(noisy_values):
    spacetime, rates = SPACETIMES["with-replacement"], [0.05, 0.4]
    prediction = fd.predict(*anything(), spacetime, rates, values=noisy_values)
    assert prediction.coefficients.shape == (12, 4)
    series = fd.expand("test_loss", order=3, spacetime=spacetime)
    for i, rate in enumerate(rates):
        combined = noisy_values.combine({d: float(c) * rate**d.order for d, c in series.items()})
        assert prediction.mean[i] == pytest.approx(combined.value, rel=1e-12)
        assert prediction.stderr[i] == pytest.approx(combined.stderr, rel=1e-12)


def made(coefficients, rates):
    return fd.Prediction("test_loss", SPACETIMES["fixed"], np.asarray(rates), np.asarray(coefficients, dtype=float))


def test_terms_truncation_and_convergence():
    prediction = made([[2.0, -1.0, 3.0], [2.0, -1.0, 5.0]], [0.01, 0.06, 0.1])
    assert prediction.order == 2
    np.testing.assert_allclose(prediction.terms, [[2, 2, 2], [-0.01, -0.06, -0.1], [4e-4, 144e-4, 4e-2]])
    np.testing.assert_allclose(prediction.truncation, [4e-4, 144e-4, 4e-2])
    assert prediction.converged.tolist() == [True, False, False]  # below a fifth means η < 0.05
    np.testing.assert_allclose(prediction.mean, prediction.terms.sum(axis=0))
    np.testing.assert_allclose(prediction.stderr, [1e-4, 36e-4, 1e-2])  # (5 − 3)/2 · η²


def test_a_vanishing_last_term_claims_nothing():
    """The last two coefficients that are not zero decide, with a fifth for every order between them."""
    one_apart = made([[7.0, 1.0, 2.0, 0.0]], [0.05, 0.2])
    assert one_apart.converged.tolist() == [True, False]
    assert one_apart.truncation == pytest.approx([0.005, 0.08])
    two_apart = made([[7.0, 1.0, 0.0, 2.0]], [0.14, 0.15])  # edge at 0.2 / √2
    assert two_apart.converged.tolist() == [True, False]


@pytest.mark.parametrize("coefficients", [[9.0], [9.0, 1.0], [9.0, 0.0, 1.0], [9.0, 1.0, 0.0]])
def test_one_term_cannot_show_convergence(coefficients):
    assert not made([coefficients], [1e-6]).converged.any()


def test_even_series_far_out_is_not_called_converged():
    """cosh 3 = 10.07, and the series to order 3 gives 1 + 9/2: its third term is zero by symmetry."""
    landscape, start = toys.cosh()
    with pytest.warns(fd.TruncationWarning):
        prediction = fd.predict(landscape, start, fd.Spacetime.sgd(1), 3.0, key=KEY)
    assert prediction.mean[0] == pytest.approx(5.5)
    assert prediction.truncation[0] == pytest.approx(4.5)
    assert not prediction.converged[0]


def test_truncation_warning_names_the_rates(exact_values):
    with pytest.warns(fd.TruncationWarning, match=r"order 3 .* 5 to 9") as caught:
        fd.predict(*anything(), SPACETIMES["reshuffled"], [1e-4, 5.0, 9.0], values=exact_values)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = fd.predict(*anything(), SPACETIMES["reshuffled"], 1e-4, values=exact_values)
    assert small.converged.all()


def test_an_unconverged_prediction_says_so_in_text_and_json():
    prediction = made([[2.0, -1.0, 3.0]], [0.01, 0.1])
    first, second = str(prediction).splitlines()[1:]
    assert "not converged" not in first
    assert "not converged" in second
    saved = json.loads(json.dumps(prediction.to_dict(), allow_nan=False))
    assert saved["converged"] == [True, False]
    assert saved["mean_by_order"][1] == pytest.approx([1.99, 1.9])
    assert saved["coefficients"] == [2.0, -1.0, 3.0]
    assert (saved["quantity"], saved["order"]) == ("test_loss", 2)


@pytest.mark.parametrize("order", [-1, 4, 1.5, True, "2"])
def test_cut_at_an_order_that_is_not_there(order):
    prediction = made([[2.0, -1.0, 3.0, 1.0]], [0.01])
    with pytest.raises(fd.ArgumentError, match="order is 0 to 3"):
        prediction.at([0.1], order=order)
    with pytest.raises(fd.ArgumentError, match="order is 0 to 3"):
        prediction.truncate(order)


# --- values used again ------------------------------------------------------------------------------------------------


def test_values_are_used_again():
    examples = np.random.default_rng(3).normal(size=(60, 24)) / 5
    landscape = fd.Landscape(lambda theta, x: jnp.cosh(theta @ x) + jnp.sin(theta @ x), examples)
    start, rates = np.full(24, 0.4), [0.001, 0.002]
    diagrams = [diagram for order in range(3) for diagram in fd.diagrams(order, root_tied=True)]
    values = fd.evaluate(diagrams, landscape, start, replicates=8, key=KEY)
    again = fd.predict(landscape, start, fd.Spacetime.sgd(4, 2), rates, order=2, values=values)
    fresh = fd.predict(landscape, start, fd.Spacetime.sgd(4, 2), rates, order=2, replicates=8, key=KEY)
    np.testing.assert_array_equal(again.coefficients, fresh.coefficients)
    assert again.stderr.min() > 0


def test_values_that_do_not_suffice(exact_values):
    few = fd.Values({d: exact_values.replicates(d) for d in fd.diagrams(0) + fd.diagrams(1)}, "moment")
    with pytest.raises(fd.ArgumentError, match="was not evaluated"):
        fd.predict(*anything(), SPACETIMES["fixed"], 0.1, order=2, values=few)


def test_values_in_cumulants(exact_values):
    cumulants = fd.Values({d: exact_values.replicates(d) for d in exact_values}, "cumulant")
    with pytest.raises(fd.ArgumentError, match="moment basis"):
        fd.predict(*anything(), SPACETIMES["fixed"], 0.1, values=cumulants)


# --- what it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rates", [0, -0.1, [0.1, 0.0], float("nan"), [0.1, float("inf")], [], [[0.1]], "fast", None])
def test_bad_learning_rates(rates, exact_values):
    with pytest.raises(fd.ArgumentError, match=r"[Ll]earning rate"):
        fd.predict(*anything(), SPACETIMES["fixed"], rates, values=exact_values)


def test_symbols_in_the_spacetime(exact_values):
    N = sympy.Symbol("N", integer=True, positive=True)
    with pytest.raises(fd.SpacetimeError, match="N"):
        fd.predict(*anything(), fd.Spacetime.sgd(N), 0.1, values=exact_values)


def test_not_a_spacetime(exact_values):
    with pytest.raises(fd.ArgumentError, match="Spacetime"):
        fd.predict(*anything(), 10, 0.1, values=exact_values)


def test_unknown_quantity(exact_values):
    with pytest.raises(fd.ArgumentError, match="accuracy"):
        fd.predict(*anything(), SPACETIMES["fixed"], 0.1, quantity="accuracy", values=exact_values)


@pytest.mark.parametrize("order", [-1, 2.0, True, None])
def test_bad_order(order, exact_values):
    with pytest.raises(fd.ArgumentError, match="order"):
        fd.predict(*anything(), SPACETIMES["fixed"], 0.1, order=order, values=exact_values)


def test_a_key_is_needed_when_values_are_sampled():
    landscape = fd.Landscape(lambda theta, x: jnp.sum(jnp.tanh(theta * x)), np.ones(2000))
    with pytest.raises(fd.ArgumentError, match="key"):
        fd.predict(landscape, np.ones(40), SPACETIMES["fixed"], 0.1)
