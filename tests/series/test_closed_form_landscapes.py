"""Series on landscapes whose expected losses are known in closed form."""

import pytest
import sympy

import feyngd as fd
from feyngd import Spacetime

N, B, E, T = sympy.symbols("N B E T", integer=True, positive=True)
eta = sympy.Symbol("eta", positive=True)


def gauss_moment(power):
    """E[x^(2·power)] of a standard normal."""
    return sympy.factorial2(2 * power - 1)


def gauss_fit_value(diagram):
    """Moment value on l_x(h) = (h + x² e^(−h))/2 at h = 0: each part the mean of a product of polynomials in x²."""
    square = sympy.Symbol("square")
    value = sympy.Integer(1)
    for part in diagram.parts:
        factor = sympy.Integer(1)
        for node in part:
            rank = diagram.tree.degree(node)
            derivative = (-1) ** rank * square / 2 + {0: 0, 1: sympy.Rational(1, 2)}.get(rank, 0)
            factor *= derivative
        polynomial = sympy.Poly(sympy.expand(factor), square)
        value *= sum(c * gauss_moment(power) for (power,), c in polynomial.terms())
    return value


def test_gauss_fit_of_vanilla_sgd():
    """½ + η²T/8 − η³(T(T−1)/16 + T/12)."""
    series = fd.expand("test_loss", order=3, spacetime=Spacetime.sgd(N))
    total = series.to_sympy({D: gauss_fit_value(D) for D in series}, eta=eta)
    half = sympy.Rational(1, 2)
    expected = half + eta**2 * N / 8 - eta**3 * (N * (N - 1) / 16 + N / 12)
    assert sympy.expand(total - expected) == 0


def test_gauss_fit_after_one_step():
    """T = 1: e^(η/2)/(2√(1+η)), to order 6."""
    series = fd.expand("test_loss", order=6, spacetime=Spacetime.sgd(1))
    total = series.to_sympy({D: gauss_fit_value(D) for D in series}, eta=eta)
    exact = sympy.series(sympy.exp(eta / 2) / sympy.sqrt(1 + eta) / 2, eta, 0, 7).removeO()
    assert sympy.expand(total - exact) == 0


def test_train_loss_of_gauss_fit_after_one_step():
    """One point is trained and measured alike: E[l_x(−η(1 − x²)/2)] with the same x, to order 5."""
    series = fd.expand("train_loss", order=5, spacetime=Spacetime.sgd(1))
    total = series.to_sympy({D: gauss_fit_value(D) for D in series}, eta=eta)
    square = sympy.Symbol("square")
    moved = -eta * (1 - square) / 2
    expansion = sum((-moved) ** k / sympy.factorial(k) for k in range(6))
    loss = sympy.Poly(sympy.expand((moved + square * expansion) / 2), square)
    mean = sympy.expand(sum(c * gauss_moment(power) for (power,), c in loss.terms()))
    assert sympy.expand(total - sum(mean.coeff(eta, k) * eta**k for k in range(6))) == 0


def quadratic_value(diagram, h, s, x0):
    """Cumulant value on l_x = hθ²/2 + xsθ at x0, where x has mean 0 and variance 1.

    Only paths count, as third derivatives vanish, and no node in the middle is tied, as the Hessian has no noise.
    """
    named = {(0,): h * x0**2 / 2, (1,): h * x0, (2,): h, (1, 1): s**2}
    ranks = [tuple(sorted(diagram.tree.degree(node) for node in part)) for part in diagram.parts]
    if any(max(part) > 2 or (max(part) == 2 and len(part) > 1) for part in ranks):
        return sympy.Integer(0)
    return sympy.Mul(*(named[part] for part in ranks))


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_mean_estimation_by_gradient_descent(steps):
    """Test loss and gap at every N from quadratic closed forms."""
    h, s, x0 = sympy.symbols("h s x0")
    shrink = (1 - eta * h) ** steps
    spread = sympy.cancel((1 - shrink) / h)
    exact = {"test_loss": h * (shrink**2 * x0**2 + spread**2 * s**2 / N) / 2, "gap": s**2 * spread / N}
    for quantity, truth in exact.items():
        series = fd.expand(quantity, order=4, spacetime=Spacetime.gd(N, steps), basis="cumulant")
        total = sympy.expand(series.to_sympy({D: quadratic_value(D, h, s, x0) for D in series}, eta=eta))
        truth = sympy.expand(truth)
        assert all(sympy.expand(total.coeff(eta, k) - truth.coeff(eta, k)) == 0 for k in range(5))


def test_full_batch_minus_single_points_at_second_order():
    """GD − SGD = η² (M/2)(N−1) · [a[a]], whose value is G·∇(tr C)/2, at every N and number of epochs M."""
    full = fd.expand("test_loss", order=2, spacetime=Spacetime.gd(N, N * E), basis="cumulant")
    single = fd.expand("test_loss", order=2, spacetime=Spacetime.sgd(N, 1, E, sampling="fixed"), basis="cumulant")
    by_value = {}
    for diagram, coefficient in (full - single).items():
        text = fd.tensor_expression(diagram)
        by_value[text] = sympy.factor(by_value.get(text, 0) + coefficient)
    assert {text: c for text, c in by_value.items() if c != 0} == {
        fd.tensor_expression(fd.Diagram.parse("[a[a]]")): E * (N - 1) / 2
    }


def test_tied_chain_of_batches_of_b():
    """The tied chain differs between full batch and batches of b by (T/2)(1/b − 1/N) at equal T."""
    chain = fd.Diagram.parse("[a[a]]")
    batches = Spacetime.sgd(N, B, E, sampling="fixed")
    full = fd.expand("test_loss", order=2, spacetime=Spacetime.gd(N, T), basis="cumulant")[chain].subs(T, batches.T)
    small = fd.expand("test_loss", order=2, spacetime=batches, basis="cumulant")[chain]
    assert sympy.cancel(full - small - batches.T / 2 * (1 / B - 1 / N)) == 0


def test_first_order_of_all_quantities():
    """Test loss −T·GG; gap η T/N tr C, whatever the sampling."""
    for sampling in ("fixed", "reshuffled", "with-replacement"):
        spacetime = Spacetime.sgd(N, B, E, sampling=sampling)
        test = fd.expand("test_loss", order=1, spacetime=spacetime, basis="cumulant")
        gap = fd.expand("gap", order=1, spacetime=spacetime, basis="cumulant")
        assert sympy.cancel(test[fd.Diagram.parse("[a]")] + spacetime.T) == 0
        assert [str(D) for D in gap] == ["a[a]"]
        assert sympy.cancel(gap[fd.Diagram.parse("a[a]")] - spacetime.T / N) == 0
