"""Formulas in η: expanded exactly if they are power series, otherwise an error with the reason."""

import numpy as np
import pytest
import sympy
from sympy import Rational, symbols

import feyngd as fd
from feyngd import Diagram, Series, Spacetime
from feyngd.testing import check_identity
from feyngd.testing._power_series import power_series

eta = symbols("eta")
HERE = Spacetime.sgd(3)


@pytest.mark.parametrize(
    "formula",
    [
        sympy.exp(eta),
        sympy.exp(-3 * eta + eta**2),
        1 / (1 + eta),
        sympy.sqrt(1 + eta),
        sympy.sqrt(4 + eta),
        (1 + 2 * eta) ** Rational(-3, 2),
        1 / (1 - eta) ** 3,
        sympy.log(1 + eta),
        sympy.sin(eta) + sympy.cosh(2 * eta),
        sympy.tan(eta) * sympy.tanh(eta),
        sympy.atan(eta / 2),
        (sympy.exp(eta) - 1) / eta,
        (1 - sympy.cos(eta)) / eta**2,
        (1 - (1 - 3 * eta) ** 5) / (3 * eta),
        sympy.log(1 + eta) / eta,
        eta * sympy.cot(eta),
        1 / (1 / eta + 1),
        eta**3,
        sympy.Integer(7),
    ],
)
def test_power_series_are_expanded(formula):
    """Against Taylor's theorem: derivatives at 0, as limits."""
    found = power_series(formula, eta, 4)
    for power, coefficient in enumerate(found):
        assert sympy.simplify(coefficient - sympy.limit(formula.diff(eta, power), eta, 0) / sympy.factorial(power)) == 0


@pytest.mark.parametrize("lost", [1, 2, 3, 4, 7])
def test_terms_lost_to_a_division_are_made_up_for(lost):
    rest = sympy.exp(eta) - sum(eta**power / sympy.factorial(power) for power in range(lost))
    for order in range(4):
        expected = [1 / sympy.factorial(lost + power) for power in range(order + 1)]
        assert power_series(rest / eta**lost, eta, order) == expected


def test_functions_that_sympy_cannot_take_to_a_limit():
    assert power_series(sympy.sinc(eta), eta, 4) == power_series(sympy.sin(eta) / eta, eta, 4)
    assert power_series(sympy.sec(eta), eta, 4) == [1, 0, Rational(1, 2), 0, Rational(5, 24)]


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        (1 / eta, r"the pole 1/eta"),
        (1 + 2 / eta**3, r"the pole 2/eta\*\*3"),
        (1 / sympy.sin(eta), "pole"),
        (1 / (eta - eta**2), "pole"),
        (sympy.gamma(eta), "singular"),
        (sympy.sqrt(eta), r"sqrt\(eta\) is a root of what vanishes"),
        (eta ** Rational(3, 2), "root of what vanishes"),
        (eta ** Rational(9, 2), "root of what vanishes"),
        (sympy.sqrt(eta**2), "root of what vanishes"),
        (sympy.sqrt(eta + eta**2), "root of what vanishes"),
        (sympy.log(eta), "logarithm of what vanishes"),
        (eta**9 * sympy.log(eta), "logarithm of what vanishes"),
        (eta**eta, "logarithm"),
        (sympy.exp(1 / eta), "essential singularity"),
        (sympy.exp(-1 / eta**2), "essential singularity"),
        (sympy.sin(1 / eta), "essential singularity"),
        (sympy.Abs(eta), "not known to be analytic"),
        (sympy.Abs(eta) ** 2, "not known to be analytic"),
        (sympy.floor(eta), "not known to be analytic"),
        (sympy.sign(eta), "not known to be analytic"),
        (sympy.Max(eta, 0), "not known to be analytic"),
        (sympy.Heaviside(eta), "not known to be analytic"),
        (sympy.Piecewise((eta, eta > 0), (0, True)), "not known to be analytic"),
        (sympy.conjugate(eta), "not known to be analytic"),
        (sympy.Function("f")(eta), "not known to be analytic"),
        (eta + sympy.O(eta**2), r"cut off before η\^3"),
        (1 / (sympy.sin(eta) ** 2 + sympy.cos(eta) ** 2 - 1), "divides by what is zero"),
    ],
)
def test_what_is_no_power_series_is_refused_with_the_reason(formula, reason):
    with pytest.raises(fd.ArgumentError, match=reason):
        power_series(formula, eta, 3)


def right(s):
    return s.eta * s.T / s.N * s.C.trace()


@pytest.mark.parametrize("extra", [lambda e: 1 / e, sympy.sqrt, lambda e: e ** Rational(3, 2), sympy.Abs, sympy.log])
def test_false_formulas_with_singular_terms_do_not_pass(extra):
    assert check_identity("gap", right, spacetime=HERE, order=1, examples=3) == 3
    with pytest.raises(fd.ArgumentError, match="no power series in η"):
        check_identity("gap", lambda s: right(s) + extra(s.eta), spacetime=HERE, order=1)


def test_analytic_formulas_are_compared_term_by_term():
    exact = lambda s: s.l * sympy.exp(2 * s.eta) + 1 / (1 + s.eta) - sympy.sqrt(1 + s.eta)  # noqa: E731
    listed = lambda s: [s.l, 2 * s.l - Rational(3, 2), 2 * s.l + Rational(9, 8)]  # noqa: E731
    assert check_identity(exact, listed, spacetime=HERE, order=2, examples=5) == 5
    fresh = symbols("eta", positive=True)
    assert check_identity(lambda s: right(s).subs(s.eta, fresh), "gap", spacetime=HERE, order=1, examples=2) == 2
    poly = lambda s: sympy.Poly(right(s), s.eta)  # noqa: E731
    assert check_identity(poly, "gap", spacetime=HERE, order=1, examples=2) == 2
    scalar = lambda s: np.array(right(s))  # noqa: E731
    assert check_identity(scalar, "gap", spacetime=HERE, order=1, examples=2) == 2


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        (lambda s: None, "returned None: does it lack a return"),
        (lambda s: s.C, r"array of shape \(\d, \d\): contract it to a number"),
        (lambda s: [0, s.G], r"array of shape \(\d,\)"),
        (lambda s: [0, None], "returned None"),
        (lambda s: sympy.eye(2), "array of shape"),
        (lambda s: "eta", "got 'eta'"),
        (lambda s: True, "got True"),
        (lambda s: {0: 1}, "list of the coefficients"),
        (lambda s: symbols("N") * s.eta, r"symbol\(s\) N.*sizes are s\.N"),
        (lambda s: symbols("GG lr")[1] * s.eta, r"symbol\(s\) lr"),
        (lambda s: 0.5 * s.eta, r"floating-point number\(s\) 0\.5"),
        (lambda s: [0, 0.5], "not an exact rational"),
        (lambda s: [0, sympy.sqrt(2)], "not an exact rational"),
        (lambda s: sympy.pi * s.eta, "not an exact rational"),
    ],
)
def test_what_formulas_may_not_return(formula, words):
    with pytest.raises(fd.ArgumentError, match=words):
        check_identity("gap", formula, spacetime=HERE, order=1)


def mismatch(*sides, **options):
    with pytest.raises(fd.MismatchError) as caught:
        check_identity(*sides, **options)
    return str(caught.value)


def test_a_mismatch_names_the_diagram_the_factor_and_the_sizes():
    N, E = symbols("N E", integer=True, positive=True)
    said = mismatch("gap", lambda s: 3 * right(s), spacetime=HERE, order=1)
    assert "a[a], tr(C): 1 on the left, 3 on the right, 3 times as much" in said
    wrong = lambda s: s.eta * s.C.trace()  # noqa: E731
    said = mismatch("gap", wrong, spacetime=Spacetime.sgd(N, 1, E), order=1, max_size=3)
    agree, differ = said.split("They agree at ")[1].split(", and differ at ")
    assert "(N=1, B=1, E=1, T=1)" in agree
    assert "(N=3, B=1, E=1, T=3)" in agree
    assert "E=2" not in agree
    assert "(N=2, B=1, E=2, T=4)" in differ
    assert "E=1" not in differ


def test_a_mismatch_of_series_names_what_differs():
    true = fd.expand("test_loss", order=3, spacetime=HERE, basis="cumulant")
    one = Diagram.parse("[a a[b]]")
    bad = Series({**true, one: -5 * true[one]}, quantity="bad", order=3, basis="cumulant", spacetime=HERE)
    said = mismatch("test_loss", bad.in_basis("moment"))
    assert said.count(" on the left, ") == 2  # the numbers, and one diagram
    assert "-5 times as much" in said
    said = mismatch(true, 2 * true)
    assert "differ at η^0" in said
    doubled = Series({D: c * (1 + D.order // 2) for D, c in true.items()}, quantity="x", order=2 + 1, basis="cumulant")
    said = mismatch("test_loss", doubled, spacetime=HERE)
    assert "The right side is 2 times the left in all its diagrams." in said


def test_a_mismatch_of_a_formula_that_is_no_sum_of_diagrams():
    said = mismatch("gap", lambda s: s.eta * s.C.trace() ** 2, spacetime=HERE, order=1)
    assert "formula on the right gives at η^1 is not a sum of values of diagrams with 1 edges" in said
    N = symbols("N", integer=True, positive=True)
    said = mismatch("gap", lambda s: s.eta * s.C.trace() / (s.N - 2), spacetime=Spacetime.sgd(N, 1), order=1, seed=2)
    assert "differ at" in said
