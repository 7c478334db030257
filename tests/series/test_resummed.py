"""Re-summed series: equal to the plain ones order by order, and to theory's forms near a minimum."""

from fractions import Fraction
from functools import cache, partial
from itertools import pairwise

import numpy as np
import pytest
import sympy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sympy import QQ, Rational, Symbol, exp, ring, symbols

import feyngd as fd
from feyngd import Diagram, Series, Spacetime
from feyngd.counting import resummed_count

N, B, E, T = symbols("N B E T", integer=True, positive=True)
ETA = Symbol("eta")
CONCRETE = [
    Spacetime.gd(2, 3),
    Spacetime.sgd(2, 1, 2, sampling="fixed"),
    Spacetime.sgd(3, 1, 1),
    Spacetime.sgd(4, 2, 1),
    Spacetime.sgd(2, 1, 2),
    Spacetime.sgd(2, 2, T=2, sampling="with-replacement"),
    Spacetime.sgd(3, 1, T=3, sampling="with-replacement"),
    Spacetime.from_batches([[0, 0, 1], [2], [1, 0]], N=3),
]
SYMBOLIC = {
    Spacetime.gd(N, T): {N: 3, T: 4},
    Spacetime.sgd(N, 1, 1): {N: 4},
    Spacetime.sgd(N, B, 1): {N: 6, B: 2},
    Spacetime.sgd(N, B, E): {N: 4, B: 2, E: 3},
    Spacetime.sgd(N, B, E, sampling="fixed"): {N: 4, B: 2, E: 3},
    Spacetime.sgd(N, 2, 2): {N: 6},
    Spacetime.sgd(N, B, T=T, sampling="with-replacement"): {N: 3, B: 2, T: 4},
    Spacetime.sgd(6, B, E, sampling="with-replacement"): {B: 2, E: 2},
    Spacetime.sgd(4, 2, E): {E: 2},
}


def subdivided(diagram: Diagram, lengths: tuple[int, ...]) -> Diagram:
    """Put untied nodes of degree two on every edge: the Hessians that re-summation removes."""
    parents, labels, fresh = list(diagram.parents), list(diagram.labels), len(diagram.labels)
    for node, length in enumerate(lengths, start=1):
        for _ in range(length):
            parents.append(parents[node])
            labels.append(fresh)
            parents[node], fresh = len(parents) - 1, fresh + 1
    return Diagram.from_labels(parents, labels)


def as_polynomial(polynomials, value: Fraction):
    return polynomials(QQ(value.numerator, value.denominator))


@cache
def plain_again(quantity: str, order: int, spacetime: Spacetime, optimizer: fd.Optimizer | None = None) -> Series:
    """Expand a re-summed series in the eigenvalues: (1 − ηh)^(Δt−1) = Σ_m C(Δt−1, m) (−ηh)^m, m Hessians in a chain."""
    terms: dict[Diagram, Rational] = {}
    optimizer = optimizer or fd.sgd()
    resummed = fd.expand(quantity, order=order, spacetime=spacetime, optimizer=optimizer, resummed=True)
    for diagram in resummed:
        polynomials, *h = ring([f"h{v}" for v in range(diagram.order)] or ["h"], QQ)
        total = resummed_count(diagram, spacetime, optimizer, h[: diagram.order], partial(as_polynomial, polynomials))
        exact = resummed.coefficient(diagram, [Fraction(0)] * diagram.order, Fraction(1))
        at_zero = total.coeff(1)
        prefactor = Rational(exact.numerator, exact.denominator) / at_zero if at_zero else None
        for powers, value in total.terms():
            lengths = powers[: diagram.order]
            if sum(lengths) + diagram.order <= order and prefactor is not None:
                key = subdivided(diagram, lengths)
                terms[key] = terms.get(key, 0) + prefactor * Rational(int(value.numerator), int(value.denominator))
    return Series(terms, quantity=quantity, order=order, basis="cumulant", spacetime=spacetime, optimizer=optimizer)


@pytest.mark.parametrize("quantity", ["train_loss", "displacement"])
@pytest.mark.parametrize("spacetime", CONCRETE, ids=str)
def test_expanded_again_it_is_the_plain_series(quantity, spacetime):
    """The train loss has the diagrams of the test loss and those of the gap."""
    plain = fd.expand(quantity, order=4, spacetime=spacetime, basis="cumulant")
    assert plain_again(quantity, 4, spacetime) == plain


F = Fraction
WITH_OPTIMIZERS = [
    (fd.momentum(F(1, 2), dampening=F(1, 3)), Spacetime.sgd(3, 2, T=3, drop_last=False)),
    (fd.momentum(F(1, 3), nesterov=True), Spacetime.sgd(2, 1, T=3)),
    (fd.momentum(F(1, 2)), Spacetime.gd(2, 3)),
    (fd.averaged(fd.momentum(F(1, 2)), ema=F(1, 3)), Spacetime.sgd(3, 1, T=2)),
    (fd.schedule([1, F(1, 2), 2], fd.momentum(F(1, 3), classical=True)), Spacetime.sgd(2, 1, T=3, sampling="fixed")),
    (fd.averaged(fd.sgd(), tail=2), Spacetime.sgd(2, 2, T=3, sampling="with-replacement")),
    (fd.sgd(), Spacetime.sgd(5, 2, T=4, drop_last=False)),
]


@pytest.mark.parametrize(("optimizer", "spacetime"), WITH_OPTIMIZERS, ids=str)
def test_with_an_optimizer_it_is_the_plain_series_expanded_again(optimizer, spacetime):
    plain = fd.expand("train_loss", order=3, spacetime=spacetime, basis="cumulant", optimizer=optimizer)
    assert dict(plain_again("train_loss", 3, spacetime, optimizer)) == {D: c for D, c in plain.items() if c}


def test_heavy_ball_has_the_propagator_of_its_recurrence():
    """At β = ½, η = ¼, h = 1, worked out by hand. The coefficient of [a] is −Σ_Δ K(Δ), with η in K."""
    edge, reached, expected = Diagram.parse("[a]"), [F(0)], ["1/4", "5/16", "17/64", "45/256", "89/1024", "85/4096"]
    for steps in range(1, 7):
        series = fd.ResummedSeries("test_loss", 1, Spacetime.gd(2, steps), optimizer=fd.momentum(F(1, 2)))
        reached.append(-series.coefficient(edge, [1], F(1, 4)))
    assert [after - before for before, after in pairwise(reached)] == [F(x) for x in expected]


@pytest.mark.parametrize("spacetime", CONCRETE, ids=str)
@settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_it_equals_exact_sgd_through_order_four(spacetime, data):
    landscape = data.draw(fd.testing.landscapes(dimensions=(1, 2), kinds=(2,)))
    theta = data.draw(fd.testing.points(landscape))
    values = fd.testing.ExactValues(landscape, theta)
    for quantity in ("test_loss", "train_loss"):
        truth = fd.testing.exact_series(quantity, landscape, theta, spacetime, order=4)
        assert values.sum(plain_again(quantity, 4, spacetime)) == truth
    moved = fd.testing.exact_displacement(landscape, theta, spacetime, order=4)
    for basis, series in (
        ("cumulant", plain_again("displacement", 4, spacetime)),
        ("moment", fd.expand("displacement", order=4, spacetime=spacetime)),
    ):
        total = [[Fraction(0)] * 5 for _ in theta]
        for diagram, coefficient in series.items():
            for coordinate, value in zip(total, values.vector(diagram, basis), strict=True):
                coordinate[diagram.order] += Fraction(int(coefficient.p), int(coefficient.q)) * value
        assert tuple(map(tuple, total)) == moved


@pytest.mark.parametrize(("spacetime", "sizes"), SYMBOLIC.items(), ids=lambda item: str(item)[:40])
def test_closed_forms_are_the_sums_over_embeddings(spacetime, sizes):
    order = 2 if spacetime.E == E or spacetime.sampling == "with-replacement" else 3
    symbolic = fd.expand("test_loss", order=order, spacetime=spacetime, resummed=True)
    concrete = symbolic.subs(sizes)
    rate, values = Rational(1, 7), [Rational(1), Rational(3, 2), Rational(2, 5)]
    for diagram in symbolic:
        eigenvalues = values[: diagram.order]
        filled = {**sizes, ETA: rate, **dict(zip(symbolic.eigenvalues(diagram), eigenvalues, strict=True))}
        closed = symbolic[diagram].subs(filled, simultaneous=True) * rate**diagram.order
        summed = concrete.coefficient(diagram, [Fraction(int(h.p), int(h.q)) for h in eigenvalues], Fraction(1, 7))
        assert closed == Rational(summed.numerator, summed.denominator), diagram
        factors = {Symbol(f"x_{i}", positive=True): 1 - rate * h for i, h in zip("ijk", eigenvalues, strict=False)}
        in_factors = symbolic.closed_form(diagram, "x").subs(sizes | {Symbol("eta", positive=True): rate} | factors)
        assert in_factors == closed, diagram


@pytest.mark.parametrize("nesterov", [False, True])
def test_closed_forms_with_momentum_are_the_sums_over_embeddings(nesterov):
    """In the zeros x and y, whose sum and product the printed series tells; exactly, where both are rational."""
    optimizer, share = fd.momentum(Symbol("beta"), nesterov=nesterov), Rational(1, 6)
    series = fd.expand("test_loss", order=2, spacetime=Spacetime.gd(N, T), resummed=True, optimizer=optimizer)
    # x y = β and x + y = 1 + β − ηh; for Nesterov x y = β(1 − ηh) and x + y = (1 + β)(1 − ηh), here 27/28 and 25/28.
    zeros = [(Rational(1, 2), Rational(1, 3)), (Rational(2, 3), Rational(1, 4))]
    etah = [1 + share - x - y for x, y in zeros]
    if nesterov:
        left = [(1 + u) ** 2 / u / (1 + share) ** 2 * share for u in (Rational(1, 4), Rational(1, 3))]
        etah = [1 - part for part in left]
        zeros = [
            (u * (1 + share) * part / (1 + u), (1 + share) * part / (1 + u))
            for u, part in zip((Rational(1, 4), Rational(1, 3)), left, strict=True)
        ]
    concrete = series.subs({"N": 3, "T": 4, "beta": Fraction(1, 6)})
    filled = {Symbol("beta"): share, Symbol("eta", positive=True): 1, N: 3, T: 4}
    for index, (x, y) in zip("ij", zeros, strict=True):
        filled |= {Symbol(f"x_{index}"): x, Symbol(f"y_{index}"): y}
    for diagram in map(Diagram.parse, ("[a]", "[a b]", "[a a]", "[a[a]]", "[a[b]]")):
        values = [Fraction(int(h.p), int(h.q)) for h in etah[: diagram.order]]
        summed = concrete.coefficient(diagram, values, Fraction(1))
        assert series.closed_form(diagram).subs(filled) == Rational(summed.numerator, summed.denominator), diagram
        numbers = dict(zip(series.eigenvalues(diagram), etah, strict=False))
        in_h = series[diagram].subs({**filled, ETA: 1, **numbers}, simultaneous=True)
        assert float(in_h) == pytest.approx(float(summed), rel=1e-12)


LONG = [Spacetime.gd(N, T), Spacetime.sgd(N, B, T=T, sampling="with-replacement"), Spacetime.sgd(N, B, E)]


@pytest.mark.parametrize(
    ("spacetime", "order"),
    [(LONG[0], 2), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((LONG[0], 3), (LONG[1], 2)))],
    ids=str,
)
def test_sympy_finishes_the_limits_of_long_runs(spacetime, order):
    series = fd.expand("test_loss", order=order, spacetime=spacetime, resummed=True).at_minimum()
    for diagram in series:
        limit = sympy.limit(series.closed_form(diagram, "a"), T, sympy.oo)
        assert sympy.cancel(limit - series.stationary(diagram)) == 0


@pytest.mark.parametrize("spacetime", LONG, ids=str)
def test_what_is_left_after_many_steps(spacetime):
    series = fd.expand("test_loss", order=2, spacetime=spacetime, resummed=True)
    sizes = {"N": 6, "B": 2} | ({"E": 60} if spacetime.E == E else {"T": 200})
    concrete = series.subs({symbol.name: sizes[symbol.name] for symbol in spacetime.symbols})
    filled = {N: 6, B: 2, Symbol("eta", positive=True): 1}
    filled |= {Symbol(f"x_{i}", positive=True): x for i, x in zip("ij", (0.5, 0.3), strict=True)}
    for diagram in series:
        left = float(series.stationary(diagram).subs(filled))
        assert left == pytest.approx(float(concrete.coefficient(diagram, [0.5, 0.7][: diagram.order], 1.0)), rel=1e-9)
    with pytest.raises(fd.ArgumentError, match="Give T or E as a symbol"):
        concrete.stationary(diagram)


def test_long_coefficients_are_collected():
    """Functions of x are factored, with one polynomial in N and B each; a long one is no ratio of expanded sums."""
    S = Spacetime.sgd(N, B, T=T, sampling="with-replacement")
    found = fd.expand("test_loss", order=2, spacetime=S, resummed=True).closed_form(Diagram.parse("[a a]"))
    x, y = symbols("x_i x_j", positive=True)
    tied = (N - 1) * (1 - x**T * y**T) / (2 * B * N * (1 - x * y))
    assert found == Symbol("eta", positive=True) ** 2 * (tied + (1 - x**T) * (1 - y**T) / (2 * N * (1 - x) * (1 - y)))
    long = fd.expand("test_loss", order=3, spacetime=Spacetime.sgd(N, B, E), resummed=True)
    assert sympy.count_ops(long.closed_form(Diagram.parse("[a[b b]]"))) < 700


@pytest.mark.parametrize("spacetime", [S for S in SYMBOLIC if S.N == N], ids=str)
def test_the_integral_form_is_right_to_leading_order_in_the_learning_rate(spacetime):
    """At fixed ηT both forms agree as η → 0; the difference is of first order in η."""
    discrete = fd.expand("test_loss", order=2, spacetime=spacetime, resummed=True)
    integral = fd.resum(fd.expand("test_loss", order=2, spacetime=spacetime), form="integral")
    h = [0.7, 1.9]
    for diagram in discrete:
        errors = []
        for scale in (20, 40, 80):
            sizes = {N: 6 * scale, B: 2, E: 3, T: 9 * scale}
            filled = {ETA: 0.5 / scale, **dict(zip(discrete.eigenvalues(diagram), h, strict=False)), **sizes}
            exact, limit = (s[diagram].subs(filled, simultaneous=True).evalf() for s in (discrete, integral))
            errors.append(float(limit / exact - 1) if exact else float(limit))
        assert errors[2] == pytest.approx(errors[1] / 2, rel=0.2, abs=1e-9)
        assert errors[1] == pytest.approx(errors[0] / 2, rel=0.2, abs=1e-9)


def resummed(quantity: str, diagram: str, spacetime: Spacetime, form: str = "discrete"):
    D = Diagram.parse(diagram)
    series = fd.resum(fd.expand(quantity, order=D.order, spacetime=spacetime), form=form).at_minimum()
    return series[D] * ETA**D.order, series.eigenvalues(D)


def test_excess_of_gradient_descent_and_stic():
    """Corollary 2: (1/2N) C_ij H_ij Π (1 − e^{−ηTh})/h, and STIC (1/N) C_ii (1 − e^{−ηTh})/h for the gap."""
    S = Spacetime.gd(N, T)
    found, (h, k) = resummed("test_loss", "[a a]", S, "integral")
    assert sympy.simplify(found - (1 - exp(-ETA * T * h)) * (1 - exp(-ETA * T * k)) / (h * k) / (2 * N)) == 0
    found, (h,) = resummed("gap", "a[a]", S, "integral")
    assert sympy.simplify(found - (1 - exp(-ETA * T * h)) / h / N) == 0
    assert sympy.limit(found, h, 0) == ETA * T / N
    exact, (h,) = resummed("gap", "a[a]", S)
    assert sympy.simplify(exact - (1 - (1 - ETA * h) ** T) / h / N) == 0


def test_skewness_of_the_noise():
    """Example 1: −(η³/6) S J (1 − e^{−Tη(h+h+h)})/(η(h+h+h)) for vanilla SGD."""
    found, h = resummed("test_loss", "[a a a]", Spacetime.sgd(N), "integral")
    total = ETA * sum(h)
    assert sympy.simplify(found + ETA**3 / 6 * (1 - exp(-N * total)) / total) == 0


def test_entropic_drift():
    """Corollary 1 with its factor −½ and the time factor of general T, per component."""
    found, (k, m, n) = resummed("displacement", "[a[b b]]", Spacetime.sgd(N), "integral")
    s, k = ETA * (m + n), ETA * k

    def P(x):
        return (1 - exp(-x * N)) / x

    factor = (P(k) - (exp(-s * N) - exp(-k * N)) / (k - s)) / s
    assert sympy.simplify(found + ETA**3 / 2 * factor) == 0


def test_batch_size_at_order_two():
    """Corollary 4: gradient descent minus SGD is η² (M/2)(N − 1) G·∇(tr C)/2, T = MN."""
    M = Symbol("M", integer=True, positive=True)
    gd = fd.expand("test_loss", order=2, spacetime=Spacetime.gd(N, M * N), basis="cumulant")
    sgd = fd.expand("test_loss", order=2, spacetime=Spacetime.sgd(N, 1, M), basis="cumulant")
    difference = {str(D): sympy.factor(c) for D, c in (gd - sgd).items()}
    # G·∇(tr C)/2 is the value of the tied chain; the leaves differ by as much as M → T²/N against M²N.
    assert difference["[a[a]]"] == sympy.factor(M * (N - 1) / 2)


def test_only_what_does_not_vanish_is_left_at_a_minimum():
    series = fd.expand("test_loss", order=3, spacetime=Spacetime.sgd(N, B, 1), resummed=True)
    assert {str(D) for D in series.at_minimum()} == {"[]", "[a a]", "[a a a]"}
    assert all(D.is_irreducible for D in series)
    assert len(series) > len(series.at_minimum())
    landscape = fd.testing.PolynomialLandscape([{(2,): 1, (1,): 1, (3,): 1}, {(2,): 1, (1,): -1}])
    values = fd.testing.ExactValues(landscape, [0])
    assert values.tensor(1).tolist() == [0]
    for D in set(series) - set(series.at_minimum()):
        assert values.cumulant(D) == 0


def test_coinciding_and_vanishing_eigenvalues_are_no_trouble():
    S = Spacetime.sgd(6, 2, 2)
    series = fd.expand("test_loss", order=2, spacetime=S, resummed=True)
    plain = fd.expand("test_loss", order=2, spacetime=S, basis="cumulant")
    for D in series:
        zero = series.coefficient(D, [Fraction(0)] * D.order, Fraction(1))
        assert Rational(zero.numerator, zero.denominator) == plain[D]
    D = Diagram.parse("[a a]")
    together = series.coefficient(D, [2.0, 2.0], 0.1)
    assert float(together) == pytest.approx(float(series.coefficient(D, [2.0, 2.0 + 1e-9], 0.1)), rel=1e-7)
    grid = series.coefficient(D, [np.array([[0.0], [1.0], [10.0]]), np.array([0.0, 1.0])], 0.1)
    assert grid.shape == (3, 2)


def test_long_runs_are_finite():
    series = fd.expand("test_loss", order=2, spacetime=Spacetime.sgd(10**6, 1, 3), resummed=True)
    value = series.coefficient(Diagram.parse("[a a]"), [1.0, 1.0], 0.01)
    assert float(value) == pytest.approx(0.5 * 0.01**2 / (1 - 0.99**2), rel=1e-3)


def test_it_prints():
    series = fd.resum(fd.expand("gap", order=1, spacetime=Spacetime.gd(N, T))).at_minimum()
    assert str(series).endswith("h: eigenvalues of H\n  a[a]   C_ii   eta*(1 - x_i**T)/(N*(1 - x_i))")
    assert "x = 1 - eta*h" in str(series)
    assert series.latex() == r"\frac{\eta \left(1 - x_{i}^{T}\right)}{N \left(1 - x_{i}\right)}\, C_{i i}"
    lines = series.latex(align=True).splitlines()
    assert (lines[0], lines[-1]) == (r"\begin{align}", r"\end{align}")
    assert lines[-2] == r"& x_i = 1 - \eta h_{i}"
    assert repr(series) == "<ResummedSeries gap, 1 edges, discrete, 1 diagrams>"
    assert series._repr_latex_().startswith("$")
    integral = fd.resum(fd.expand("gap", order=1, spacetime=Spacetime.gd(N, T)), form="integral")
    assert "x" not in str(integral).replace("exp", "")
    momentum = fd.resum(fd.expand("gap", order=1, spacetime=Spacetime.gd(N, T), optimizer=fd.momentum(Symbol("beta"))))
    assert "x + y = 1 - eta*h + beta, x y = beta" in str(momentum)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fd.resum("test_loss"), "made by expand"),
        (lambda: fd.resum(fd.ode(2)), "made by expand"),
        (lambda: fd.resum(fd.expand("gap", order=1, spacetime=Spacetime.gd(N, T)), form="cubic"), "Unknown form"),
        (lambda: fd.expand("volume", order=1, spacetime=Spacetime.gd(N, T), resummed=True), "Unknown quantity"),
        (lambda: fd.expand("gap", order=1, spacetime="sgd", resummed=True), "Spacetime"),
        (lambda: fd.expand("gap", order=1, spacetime=Spacetime.gd(N, T), resummed=True).truncate(2), "stops at order"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(fd.ArgumentError, match=message):
        call()


def test_coefficients_in_numbers_need_numbers():
    series = fd.expand("test_loss", order=2, spacetime=Spacetime.gd(N, T), resummed=True)
    D = Diagram.parse("[a a]")
    with pytest.raises(fd.SpacetimeError, match="concrete"):
        series.coefficient(D, [1.0, 1.0], 0.1)
    with pytest.raises(fd.ArgumentError, match="2 edges"):
        series.subs({N: 3, T: 2}).coefficient(D, [1.0], 0.1)
    integral = fd.resum(fd.expand("test_loss", order=2, spacetime=Spacetime.gd(3, 2)), form="integral")
    with pytest.raises(fd.ArgumentError, match="discrete"):
        integral.coefficient(D, [1.0, 1.0], 0.1)
    for call, message in (
        (lambda: integral.closed_form(D), "letters='h'"),
        (lambda: series.closed_form(D, "y"), "Unknown letters"),
        (
            lambda: fd.resum(fd.expand("gap", order=2, spacetime=Spacetime.gd(3, 2), optimizer=fd.schedule([1, 2])))[D],
            "coefficient",
        ),
    ):
        with pytest.raises(fd.ArgumentError, match=message):
            call()
