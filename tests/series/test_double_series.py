"""The double series in ηT and 1/T against the paper's Table 2, and against Theorem 1."""

from fractions import Fraction
from math import factorial

import pytest
import sympy

import feyngd as fd


@pytest.fixture(scope="module")
def to_order_5():
    return fd.double_series(5)


def test_table_2_of_the_paper(to_order_5):
    columns = to_order_5.of_order(3)
    assert [sorted(term.num_orderings for term in terms) for terms in columns.values()] == [[2, 4], [2, 2, 3], [1]]
    by_value = {term.value: (term.num_orderings, term.multinomial) for terms in columns.values() for term in terms}
    assert by_value == {
        "GHHG": (4, 6),
        "G_i G_j G_k J_ijk": (2, 6),
        "E[g_j g_k] G_i J_ijk": (3, 3),
        "E[g_i h_jk] G_k H_ij": (2, 3),
        "E[g_i g_k] H_ij H_jk": (2, 3),
        "E[g_i g_j g_k] J_ijk": (1, 1),
    }


def test_it_is_theorem_1_for_one_epoch_on_single_points(to_order_5):
    series = to_order_5.to_series()
    assert series == fd.expand("test_loss", order=5, spacetime=series.spacetime)
    few = fd.double_series(4).to_series(3)  # more parts than points: the binomials vanish
    assert few == fd.expand("test_loss", order=4, spacetime=fd.Spacetime.sgd(3))


def test_powers_of_steps_add_up_to_the_coefficients(to_order_5):
    series = to_order_5.to_series("N")
    N = next(iter(series.symbols))
    for order in range(1, 6):
        total = {}
        for ties in range(order):
            for diagram, factor in to_order_5.coefficient(order, ties).items():
                total[diagram] = total.get(diagram, 0) + sympy.Rational(*factor.as_integer_ratio()) * N ** (
                    order - ties
                )
        for terms in to_order_5.of_order(order).values():
            for term in terms:
                expected = sum(series[diagram] for diagram in term.diagrams)
                assert sympy.expand(total[term.diagrams[0]] - expected) == 0


def test_without_ties_every_order_has_as_many_orderings_as_permutations(to_order_5):
    for order in range(6):
        assert sum(term.num_orderings for term in to_order_5[order, 0]) == factorial(order)
        # One tie fewer than edges leaves a single term: all nodes at one step.
        assert to_order_5[order, max(order - 1, 0)][0].leading == Fraction((-1) ** order, factorial(order))


def test_how_it_is_written():
    table = fd.double_series(2)
    assert str(table).splitlines()[-1].split() == [
        "(ηT)^2",
        "T^−1",
        "1",
        "1",
        "1/2",
        "E[g_i",
        "g_j]",
        "H_ij",
        "[a",
        "a]:",
        "1",
    ]
    assert table.latex().startswith(r"l - \eta T\, GG + (\eta T)^{2}\, GHG + \frac{1}{2}\, (\eta T)^{2}\, T^{-1}\,")
    assert "& {} - " in table.latex(align=True)
    assert repr(table) == "<DoubleSeries to order 2, 4 powers (d, c), 4 values>"
    assert table == fd.double_series(2) != fd.double_series(3)
    assert len({table, fd.double_series(2)}) == 1


def test_what_it_refuses():
    with pytest.raises(fd.ArgumentError, match="order"):
        fd.double_series(-1)
    with pytest.raises(fd.ArgumentError, match="limit"):
        fd.double_series(12)
    table = fd.double_series(2)
    for power in ((2, 2), (3, 0), 2, "ηT", [2, 0]):
        with pytest.raises(KeyError, match="a power is a pair"):
            table[power]
    with pytest.raises(KeyError, match="from 0 to 2"):
        table.coefficient(3, 0)
    with pytest.raises(fd.SpacetimeError):
        table.to_series(0)
