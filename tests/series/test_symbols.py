"""Symbols of a series: found by name, an error if unknown, printed and read back by SymPy."""

import re
from fractions import Fraction

import numpy as np
import pytest
import sympy
from sympy import Symbol, lambdify, latex, symbols, sympify

import feyngd as fd
from feyngd import Diagram, Series, Spacetime
from feyngd.series import ETA

N, B, E, T = symbols("N B E T", integer=True, positive=True)
SERIES = {
    (quantity, basis): fd.expand(quantity, order=3, spacetime=Spacetime.sgd(4, 2, 1), basis=basis)
    for quantity in ("test_loss", "gap", "displacement")
    for basis in ("moment", "cumulant")
}


@pytest.fixture
def simple():
    """-10 GG η + l."""
    return fd.expand("test_loss", order=1, spacetime=Spacetime.sgd(10), basis="cumulant").to_sympy()


def test_numbers_are_put_in_by_fresh_symbols_and_by_name(simple):
    eta, GG, l = symbols("eta GG l")  # noqa: E741
    assert simple == l - 10 * GG * eta
    assert simple.subs(eta, 2) == l - 20 * GG
    assert simple.subs({"eta": 2, "GG": 3, "l": 100}) == 40
    assert float(simple.evalf(subs={eta: 0.1, GG: 2, l: 1})) == -1
    assert lambdify(symbols("eta GG l"), simple)(0.1, 2.0, 1.0) == -1
    assert simple.subs(ETA, 2) == simple.subs(eta, 2)
    assert lambdify([eta, GG, l], simple)(np.array([0.0, 0.1]), 2.0, 1.0).tolist() == [1, -1]


def test_the_learning_rate_may_have_another_symbol_or_name():
    series = SERIES["gap", "cumulant"].truncate(1)
    x = Symbol("x", positive=True)
    assert series.to_sympy(eta=x).coeff(x) != 0
    assert series.to_sympy(eta="t") == series.to_sympy(eta=Symbol("t")) == series.to_sympy().subs("eta", Symbol("t"))
    for bad in (0.1, sympy.sqrt(2), None):
        with pytest.raises(fd.ArgumentError, match="eta is a SymPy symbol or its name"):
            series.to_sympy(eta=bad)


@pytest.mark.parametrize("key", SERIES)
def test_values_are_named_so_that_sympy_prints_and_reads_them(key):
    x = SERIES[key].to_sympy()
    assert sympify(str(x)) == x
    assert set(sympy.symbols([s.name for s in x.free_symbols])) == x.free_symbols
    for symbol in x.free_symbols:
        assert symbol.name.isidentifier()
        assert re.fullmatch(r"\\?[A-Za-z]+\d*(_\{[A-Za-z0-9 \\]+\})?", latex(symbol)), latex(symbol)
    by_name = {}
    for diagram in SERIES[key]:
        by_name.setdefault(SERIES[key].value_symbol(diagram), set()).add(SERIES[key]._tensors(diagram))
    assert all(len(texts) == 1 for texts in by_name.values())


@pytest.mark.parametrize(
    ("diagram", "basis", "name", "written"),
    [
        ("[]", "moment", "l", "l"),
        ("[a b]", "cumulant", "GHG", "GHG"),
        ("[a a]", "cumulant", "tr_HC", "tr_{HC}"),
        ("[a[a]]", "cumulant", "kappa_hij_gj_Gi", r"\kappa_{hij gj Gi}"),
        ("[a b b]", "cumulant", "C_jk_Gi_Jijk", "C_{jk Gi Jijk}"),
        ("a[a]", "moment", "E_gi_gi", "E_{gi gi}"),
        ("[a a]", "moment", "E_gi_gj_Hij", "E_{gi gj Hij}"),
    ],
)
def test_names_of_values(diagram, basis, name, written):
    symbol = SERIES["gap", basis].value_symbol(Diagram.parse(diagram))
    assert symbol == Symbol(name)
    assert latex(symbol) == written


def test_different_values_have_different_names_through_order_four():
    for basis in ("moment", "cumulant"):
        names = {}
        series = Series({}, quantity="mine", order=4, basis=basis)
        for order in range(5):
            for diagram in fd.diagrams(order, root_tied=True):
                names.setdefault(series.value_symbol(diagram), set()).add(fd.tensor_expression(diagram, basis=basis))
        assert all(len(texts) == 1 for texts in names.values())


def test_two_symbols_of_one_name_are_refused():
    eta = Symbol("eta", integer=True, positive=True)
    series = fd.expand("test_loss", order=1, spacetime=Spacetime.sgd(eta))
    with pytest.raises(fd.ArgumentError, match="would be called eta"):
        series.to_sympy()
    assert series.to_sympy(eta="rate").free_symbols == {eta, *symbols("rate l GG")}
    GG = Symbol("GG", integer=True, positive=True)
    with pytest.raises(fd.ArgumentError, match="would be called GG"):
        fd.expand("test_loss", order=1, spacetime=Spacetime.sgd(GG)).to_sympy()


def both():
    here = Spacetime.sgd(N, B, E)
    plain = fd.expand("gap", order=1, spacetime=here)
    return plain, fd.expand("gap", order=1, spacetime=here, resummed=True), here


@pytest.mark.parametrize("which", range(3))
def test_symbols_are_known_by_name(which):
    thing = both()[which]
    expected = thing.subs({N: 6, B: 2})
    for keys in (("N", "B"), symbols("N B"), (Symbol("N", positive=True), B), (N, "B")):
        assert thing.subs(dict(zip(keys, (6, np.int64(2)), strict=True))) == expected


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"M": 3}, "has B, E, N, and no symbol M"),
        ({symbols("T"): 3}, "has B, E, N, and no symbol T"),
        ({T: 3}, "no symbol T"),
        ({"eta": 0.1}, r"no symbol eta; η is a symbol of to_sympy\(\)"),
        ({3: 1}, "got the key 3"),
        ({N: 4, "N": 5}, "N is given twice, as 4 and as 5"),
        ({N: None}, "None"),
        ({N: "4"}, "'4'"),
        ([(N, 4)], "replaced by a dict"),
    ],
)
def test_what_is_not_put_in(which, values, words):
    with pytest.raises(fd.ArgumentError, match=words):
        both()[which].subs(values)


def test_names_that_two_symbols_share():
    own = Series({Diagram.parse("[a]"): N + Symbol("N")}, quantity="own", order=1)
    with pytest.raises(fd.ArgumentError, match="2 symbols are called N"):
        own.subs({"N": 3})
    assert own.subs({N: 3})[Diagram.parse("[a]")] == 3 + Symbol("N")


def test_resummed_coefficients_take_fresh_symbols():
    series = both()[1]
    diagram = Diagram.parse("a[a]")
    concrete = series.subs({"N": 4, "B": 2, "E": 1})
    value = concrete[diagram].subs({"eta": sympy.Rational(1, 2), "h_i": 1})
    assert value.is_Rational
    assert Fraction(int(value.p), int(value.q)) == 2 * concrete.coefficient(diagram, [Fraction(1)], Fraction(1, 2))


def test_vectors_and_numbers_have_no_sum():
    here = Spacetime.sgd(4)
    moved, loss = (fd.expand(q, order=2, spacetime=here) for q in ("displacement", "test_loss"))
    with pytest.raises(fd.ArgumentError, match="displacement is a vector"):
        moved + loss
    difference = moved - moved / 2 + moved
    assert difference.is_vector
    assert str(difference).splitlines()[1].endswith(str(moved).splitlines()[1].split()[-1])
    assert not (loss - loss).is_vector


@pytest.mark.parametrize("what", ["[a]", None, 3])
def test_only_diagrams_have_tensor_expressions(what):
    with pytest.raises(fd.ArgumentError, match=r"Diagram\.parse"):
        fd.tensor_expression(what)


def test_what_is_made_of_a_difference_still_knows_how_many_points_it_needs():
    """The difference has no spacetime of its own, but holds on both for enough points only."""
    difference = fd.expand("test_loss", order=2, spacetime=Spacetime.sgd(N)) - fd.expand(
        "test_loss", order=2, spacetime=Spacetime.gd(N, N)
    )
    for series in (difference, difference * 3, -difference):
        assert series.spacetime is None
        with pytest.raises(fd.ArgumentError, match="hold for N ≥ 2, got N=1"):
            series.subs({N: 1})
