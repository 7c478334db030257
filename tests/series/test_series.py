"""The series as a mapping: indexing, arithmetic, substitution, change of basis, and its ways out."""

import json
from collections.abc import Mapping

import pytest
import sympy

import feyngd as fd
from feyngd import Diagram, Series, Spacetime
from feyngd.series import ETA

N, B, E, T = sympy.symbols("N B E T", integer=True, positive=True)
SPACETIMES = {
    "fixed": Spacetime.sgd(N, B, E, sampling="fixed"),
    "reshuffled": Spacetime.sgd(N, B, E),
    "with replacement": Spacetime.sgd(N, B, T=T, sampling="with-replacement"),
    "with replacement, epochs": Spacetime.sgd(N, B, E, sampling="with-replacement"),
    "full batch": Spacetime.gd(N, T),
    "concrete": Spacetime.sgd(4, 2, 3),
    "explicit": Spacetime.from_batches([[0, 0, 1], [2], [0, 1]], N=3),
}
QUANTITIES = ("test_loss", "train_loss", "gap")
parse = Diagram.parse


@pytest.fixture
def series():
    return fd.expand("test_loss", order=2, spacetime=SPACETIMES["reshuffled"])


def test_a_series_is_a_mapping(series):
    assert isinstance(series, Mapping)
    assert [str(D) for D in series] == ["[]", "[a]", "[a a]", "[a b]", "[a[a]]", "[a[b]]"]
    assert len(series) == len(list(series.items())) == 6
    assert series[parse("[]")] == 1
    assert sympy.cancel(series[parse("[a]")] + E * N / B) == 0
    assert sympy.cancel(series[parse("[a a]")] - E**2 * N / (2 * B**2)) == 0
    assert parse("[a]") in series
    assert parse("a[a]") not in series
    assert "[a]" not in series
    assert series[parse("a[a]")] == 0
    assert all(value != 0 for value in series.values())
    assert series.symbols == {N, B, E}
    assert list(series.of_order(1)) == [parse("[a]")]
    assert series.of_order(0) == {parse("[]"): 1}


def test_indexing_beyond_the_order_or_by_text_is_a_key_error(series):
    with pytest.raises(KeyError, match="stops at order 2"):
        series[parse("[a b c]")]
    with pytest.raises(KeyError, match=r"Diagram\.parse"):
        series["[a]"]
    assert series.get(parse("[a b c]")) is None
    for order in (3, -1, True, 1.0):
        with pytest.raises(fd.ArgumentError, match="order"):
            series.of_order(order)


def test_coefficients_are_counts_over_symmetries():
    """(−1/B)^order · #embeddings / |Aut| for the test loss, both bases."""
    for name in ("fixed", "reshuffled", "with replacement"):
        spacetime = SPACETIMES[name]
        for basis in ("moment", "cumulant"):
            series = fd.expand("test_loss", order=3, spacetime=spacetime, basis=basis)
            for order in range(4):
                for D in fd.diagrams(order):
                    count = fd.count_embeddings(D, spacetime, basis=basis)
                    assert sympy.cancel(series[D] - (-1 / B) ** order * count / D.automorphisms) == 0


@pytest.mark.parametrize("name", SPACETIMES)
@pytest.mark.parametrize("basis", ["moment", "cumulant"])
def test_gap_is_test_minus_train(name, basis):
    test, train, gap = (fd.expand(q, order=3, spacetime=SPACETIMES[name], basis=basis) for q in QUANTITIES)
    assert gap == test - train
    assert test == train + gap
    assert gap != test
    assert all(D.is_root_tied for D in gap) or basis == "moment"


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("name", SPACETIMES)
def test_bases_change_into_each_other(name, quantity):
    moments, cumulants = (
        fd.expand(quantity, order=3, spacetime=SPACETIMES[name], basis=basis) for basis in ("moment", "cumulant")
    )
    assert moments.in_basis("cumulant") == cumulants
    assert cumulants.in_basis("moment") == moments
    assert moments.in_basis("cumulant").basis == "cumulant"
    assert moments.in_basis("moment") == moments
    assert moments != cumulants


def test_arithmetic(series):
    twice = series + series
    assert twice == 2 * series == series * 2
    assert twice - series == series
    assert twice / 2 == series
    assert len(series - series) == 0
    assert -series + series == Series({}, quantity="nothing", order=2)
    assert (series * N)[parse("[]")] == N
    assert (series - series).quantity == "test_loss - test_loss"
    assert twice.spacetime == series.spacetime
    assert (series - fd.expand("test_loss", order=2, spacetime=Spacetime.gd(N, T))).spacetime is None
    assert series.truncate(1) != series
    assert series != "series"


def test_arithmetic_that_means_nothing(series):
    with pytest.raises(fd.ArgumentError, match="order 2, the other to 1: use truncate"):
        series + series.truncate(1)
    with pytest.raises(fd.ArgumentError, match=r"moments.*cumulants: use in_basis"):
        series - series.in_basis("cumulant")
    for nonsense in (lambda: series + 1, lambda: series * series, lambda: series / series, lambda: hash(series)):
        with pytest.raises(TypeError):
            nonsense()


def test_truncate_equals_a_shorter_expansion():
    long = fd.expand("gap", order=3, spacetime=SPACETIMES["fixed"])
    for order in range(4):
        assert long.truncate(order) == fd.expand("gap", order=order, spacetime=SPACETIMES["fixed"])
        assert long.truncate(order).order == order
    for order in (4, -1, True):
        with pytest.raises(fd.ArgumentError):
            long.truncate(order)


@pytest.mark.parametrize("name", ["fixed", "reshuffled", "with replacement, epochs"])
def test_numbers_filled_in_equal_a_concrete_expansion(name):
    symbolic = SPACETIMES[name]
    for quantity in QUANTITIES:
        series = fd.expand(quantity, order=3, spacetime=symbolic)
        for sizes in ({N: 4, B: 2, E: 2}, {N: 3, B: 3, E: 1}, {N: 6, B: 1, E: 3}):
            filled = series.subs(sizes)
            assert filled.spacetime == symbolic.subs(sizes)
            assert filled == fd.expand(quantity, order=3, spacetime=symbolic.subs(sizes))
            assert not filled.symbols
        partly = series.subs({B: 1})
        assert partly == fd.expand(quantity, order=3, spacetime=symbolic.subs({B: 1}))


def test_subs_replaces_all_at_once():
    swapped = fd.expand("gap", order=2, spacetime=fd.Spacetime.sgd(N, B, E)).subs({N: E, E: N})
    assert swapped == fd.expand("gap", order=2, spacetime=fd.Spacetime.sgd(E, B, N))
    assert swapped.spacetime == fd.Spacetime.sgd(E, B, N)


def test_subs_judges_the_number_of_points_not_its_symbols():
    m = sympy.Symbol("m", integer=True, positive=True)
    series = fd.expand("gap", order=2, spacetime=fd.Spacetime.sgd(m * B, B, E))
    concrete = fd.expand("gap", order=2, spacetime=fd.Spacetime.sgd(8, 1, 1))
    assert series.subs({m: 8, B: 1, E: 1}) == concrete
    assert series.subs({B: 1}).subs({m: 8, E: 1}) == concrete
    with pytest.raises(fd.ArgumentError, match="hold for"):
        (series - 2 * series).subs({m: 1, B: 1})


def test_json_keeps_a_spacetime_with_factored_sizes():
    k = sympy.Symbol("k", integer=True, positive=True)
    series = fd.expand("gap", order=1, spacetime=fd.Spacetime.sgd(k * (k + 1), k))
    assert fd.Series.from_json(series.to_json()).spacetime == series.spacetime


def test_subs_refuses_where_closed_forms_end(series):
    with pytest.raises(fd.ArgumentError, match=r"hold for N ≥ 2, got N=1"):
        series.subs({N: 1, B: 1})
    with pytest.raises(fd.SpacetimeError, match="not a multiple"):
        series.subs({N: 5, B: 2})
    with pytest.raises(fd.SpacetimeError, match="N="):
        series.subs({N: 4.5})
    own = Series({parse("[a]"): 1 / (N - 1)}, quantity="own", order=1)
    with pytest.raises(fd.ArgumentError, match="not finite"):
        own.subs({N: 1})


def test_fewer_points_than_parts_drop_out_of_a_concrete_expansion():
    series = fd.expand("test_loss", order=3, spacetime=Spacetime.sgd(2, 1, 2))
    assert {len(D.parts) - 1 for D in series} == {0, 1, 2}
    assert series[parse("[a b c]")] == 0


def test_averages_over_batches_of_different_sizes():
    """Two steps on batches of 1 and 2: each step moves by its own batch's mean."""
    series = fd.expand("test_loss", order=1, spacetime=Spacetime.from_batches([[0], [0, 1]], N=2))
    assert series[parse("[a]")] == -2


def test_your_own_series():
    own = Series({parse("[a]"): -N, parse("[]"): 1, parse("[a b]"): 0}, quantity="mine", order=2, basis="cumulant")
    assert [str(D) for D in own] == ["[]", "[a]"]
    assert own.spacetime is None
    assert own[parse("[a b]")] == 0
    with pytest.raises(fd.ArgumentError, match="not a Diagram"):
        Series({"[a]": 1}, quantity="mine", order=1)
    with pytest.raises(fd.ArgumentError, match=r"order 2, above the series' order 1"):
        Series({parse("[a b]"): 1}, quantity="mine", order=1)
    with pytest.raises(fd.ArgumentError, match="order"):
        Series({}, quantity="mine", order=-1)
    with pytest.raises(fd.ArgumentError, match=r"'moments'.*'moment', 'cumulant'"):
        Series({}, quantity="mine", order=1, basis="moments")


def test_expand_checks_its_arguments():
    here = Spacetime.sgd(2)
    with pytest.raises(fd.ArgumentError, match=r"'loss'.*'test_loss', 'train_loss', 'gap'"):
        fd.expand("loss", order=1, spacetime=here)
    with pytest.raises(fd.ArgumentError, match=r"'cumulants'.*'moment', 'cumulant'"):
        fd.expand("gap", order=1, spacetime=here, basis="cumulants")
    for order in (-1, True, 1.0, "1", None):
        with pytest.raises(fd.ArgumentError, match="order counts edges"):
            fd.expand("gap", order=order, spacetime=here)
    with pytest.raises(fd.ArgumentError, match=r"Spacetime\.sgd"):
        fd.expand("gap", order=1, spacetime=(2, 1, 1))
    with pytest.raises(fd.ArgumentError, match=r"'both'.*'moment', 'cumulant'"):
        fd.expand("gap", order=1, spacetime=here).in_basis("both")


def test_to_sympy_collects_equal_values():
    series = fd.expand("test_loss", order=2, spacetime=Spacetime.sgd(N), basis="cumulant")
    names = {name: sympy.Symbol(name) for name in ("l", "GG", "GHG", "tr_HC")}
    expected = (
        names["l"] - ETA * N * names["GG"] + ETA**2 * (N**2 - N / 2) * names["GHG"] + ETA**2 * N / 2 * names["tr_HC"]
    )
    assert sympy.expand(series.to_sympy() - expected) == 0
    eta = sympy.Symbol("t")
    numbers = {D: 2 for D in series}
    total = sympy.expand(series.to_sympy(numbers, eta=eta))
    assert sympy.Poly(total, eta).degree() == 2
    assert total.coeff(eta, 1) == -2 * N
    with pytest.raises(fd.ArgumentError, match=r"No value is given for \[a\]"):
        series.to_sympy({parse("[]"): 1})


def test_latex_is_one_line_collected_by_value():
    series = fd.expand("test_loss", order=2, spacetime=Spacetime.sgd(N), basis="cumulant")
    text = series.latex()
    assert "$" not in text
    assert "\n" not in text
    assert text.startswith("l ")
    assert text.endswith(r"+ O(\eta^{3})")
    assert text.count("GHG") == 1
    assert text.count("{") == text.count("}")
    assert series._repr_latex_() == f"$\\displaystyle {text}$"
    assert Series({}, quantity="nothing", order=1).latex() == r"0 + O(\eta^{2})"


def test_text_has_one_line_for_each_diagram(series):
    lines = str(series).splitlines()
    assert lines[0] == "test_loss to order η^2, moment basis, reshuffled, N, B, E"
    assert len(lines) == 1 + len(series)
    for line, diagram in zip(lines[1:], series, strict=True):
        assert f" {diagram} " in line
        assert line.strip().startswith(f"η^{diagram.order}")
        assert line == line.rstrip()
    assert str(Series({}, quantity="nothing", order=1)).splitlines()[1].strip() == "0"
    assert repr(series) == "<Series test_loss, order 2, moment basis, 6 diagrams>"


@pytest.mark.parametrize("name", SPACETIMES)
def test_json_round_trips(name):
    series = fd.expand("gap", order=3, spacetime=SPACETIMES[name], basis="cumulant")
    text = series.to_json()
    again = Series.from_json(text)
    assert again == series
    assert again.symbols == series.symbols
    assert again.spacetime == series.spacetime
    assert (again.quantity, again.order, again.basis) == ("gap", 3, "cumulant")
    assert again.to_json() == text
    assert str(again) == str(series)
    if name not in ("concrete", "explicit"):
        sizes = {symbol: size for symbol, size in {N: 4, B: 2, E: 2, T: 5}.items() if symbol in series.symbols}
        assert again.subs(sizes) == series.subs(sizes)


def test_json_of_your_own_series():
    x = sympy.Symbol("x")
    own = Series({parse("a[a b]"): x**2 / (3 * x + 1), parse("[]"): sympy.Rational(1, 7)}, quantity="own", order=2)
    again = Series.from_json(own.to_json())
    assert again == own
    assert again.spacetime is None
    assert Series.from_json(Series({}, quantity="nothing", order=0).to_json()) == Series({}, quantity="", order=0)


@pytest.mark.parametrize("value", [sympy.sqrt(2), sympy.sqrt(N), sympy.sqrt(2) * N, sympy.pi * N, sympy.exp(N)])
def test_json_holds_roots_and_exponentials(value):
    own = Series({parse("[a]"): value}, quantity="own", order=1)
    assert Series.from_json(own.to_json()) == own


@pytest.mark.parametrize("value", [sympy.zeta(N), sympy.Function("f")(N), sympy.Integral(N, N), sympy.I * N])
def test_json_refuses_what_it_has_no_form_for(value):
    own = Series({parse("[a]"): value}, quantity="own", order=1)
    with pytest.raises(fd.ArgumentError, match=r"no(t a)? rational function"):
        own.to_json()


def test_json_with_powers_beyond_measure_is_refused_at_once():
    text = Series({parse("[a]"): sympy.sqrt(2)}, quantity="own", order=1).to_json()
    assert '"1/2"' in text
    with pytest.raises(fd.ArgumentError, match="larger than 10,000"):
        Series.from_json(text.replace('"1/2"', '["Pow", "9", "9999"]'))


def test_json_of_symbols_that_share_a_name():
    own = Series({parse("[a]"): N + sympy.Symbol("N")}, quantity="own", order=1)
    with pytest.raises(fd.ArgumentError, match="share a name"):
        own.to_json()


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "3", '{"format": "feyngd series 0"}', "not json"])
def test_json_that_is_no_series(text):
    with pytest.raises(fd.ArgumentError, match=r"Series\.to_json"):
        Series.from_json(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("basis", "both"),
        ("order", 0),
        ("order", "2"),
        ("order", None),
        ("terms", {"[a": [[["1", [0, 0, 0]]], [["1", [0, 0, 0]]]]}),
        ("terms", {"[a]": [[["__import__('os')", [0, 0, 0]]], [["1", [0, 0, 0]]]]}),
        ("terms", {"[a]": [[["1", [0]]], [["1", [0, 0, 0]]]]}),
        ("terms", 5),
        ("spacetime", {"sampling": "other"}),
        ("symbols", ["N"]),
    ],
)
def test_json_that_was_tampered_with(series, key, value):
    changed = json.loads(series.to_json()) | {key: value}
    with pytest.raises(fd.ArgumentError):
        Series.from_json(json.dumps(changed))
