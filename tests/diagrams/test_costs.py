"""Calls whose work could grow without bound report its cost before they start."""

from itertools import islice, product
from time import perf_counter

import pytest
from sympy import symbols

import feyngd as fd
from feyngd import Diagram, Spacetime
from feyngd.diagrams import count_partitions, growth_strings

N, T = symbols("N T", integer=True, positive=True)
HERE = Spacetime.sgd(3)
STAR = Diagram.from_labels([-1] + [0] * 40, range(41))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fd.diagrams(9), r"7,075,470 diagrams of order 9, more than limit=100,000.*each_diagram.*limit="),
        (lambda: fd.diagrams(8, root_tied=True), r"diagrams of order 8, more than limit=100,000"),
        (lambda: fd.diagrams(3, limit=16), "17 diagrams of order 3, more than limit=16"),
        (lambda: fd.count_diagrams(60), "steps to count the diagrams of order 60, more than limit="),
        (lambda: fd.count_diagrams(5000), "steps to count the diagrams of order 5000"),
        (lambda: fd.diagrams(5000), r"at least about 10\^\d+ diagrams"),
        (lambda: fd.expand("gap", order=9, spacetime=HERE), r"7,736,174 diagrams up to order 9.*lower the order"),
        (lambda: fd.expand("gap", order=2, spacetime=HERE, limit=5), "6 diagrams up to order 2, more than limit=5"),
        (lambda: fd.expand("gap", order=8, spacetime=HERE, resummed=True), "up to order 8, more than limit=10,000"),
        (lambda: fd.ode(8), "up to order 8, more than limit=10,000"),
        (lambda: fd.sde(3, limit=3), "23 diagrams up to order 3, more than limit=3"),
        (lambda: STAR.coarsenings(), r"ways to merge the 40 parts, more than limit=100,000.*each_coarsening"),
        (lambda: Diagram.parse("[a b c]").coarsenings(limit=4), "5 ways to merge the 3 parts, more than limit=4"),
        (lambda: fd.count_embeddings(STAR, Spacetime.gd(N, T)), "steps to count this diagram of order 40"),
        (lambda: fd.count_embeddings(STAR, HERE, basis="cumulant"), "steps to count"),
        (
            lambda: fd.count_embeddings(STAR, Spacetime.from_batches([[0], [1]] * 3, N=4)),
            r"steps to count this diagram of order 40 with 41 parts",
        ),
        (
            lambda: fd.count_embeddings(Diagram.parse("[a b]"), Spacetime.sgd(N, 1, T, sampling="fixed"), limit=3),
            "more than limit=3",
        ),
    ],
)
def test_the_cost_is_said_at_once(call, words):
    started = perf_counter()
    with pytest.raises(fd.ArgumentError, match=words):
        call()
    assert perf_counter() - started < 5


@pytest.mark.parametrize("limit", [-1, True, 2.5, "all"])
def test_limits_are_numbers_or_none(limit):
    with pytest.raises(fd.ArgumentError, match="limit is an integer"):
        fd.diagrams(2, limit=limit)


def test_within_the_limit_nothing_changes():
    assert len(fd.diagrams(3, limit=17)) == len(fd.diagrams(3, limit=None)) == 17
    assert fd.expand("gap", order=1, spacetime=HERE, limit=2) == fd.expand("gap", order=1, spacetime=HERE)
    assert fd.ode(2, limit=None) == fd.ode(2)
    diagram = Diagram.parse("[a b c]")
    assert diagram.coarsenings(limit=5) == diagram.coarsenings(limit=None)
    assert fd.count_embeddings(diagram, HERE, limit=None) == 6


@pytest.mark.parametrize("root_tied", [False, True])
def test_one_by_one_is_the_list(root_tied):
    for order in range(5):
        assert list(fd.each_diagram(order, root_tied=root_tied)) == fd.diagrams(order, root_tied=root_tied)
    assert len(list(islice(fd.each_diagram(9, root_tied=root_tied), 12))) == 12


def test_coarsenings_come_one_by_one():
    assert len(list(islice(STAR.each_coarsening(), 20))) == 20
    assert sum(1 for _ in Diagram.parse("[a b c]").each_coarsening(root=True)) == 15


def test_growth_strings_of_several_groups_are_a_product():
    assert list(growth_strings()) == [()]
    for sizes in [(2, 3), (1, 1, 4), (3, 1, 2), (2, 2, 2), (0, 2)]:
        assert list(growth_strings(*sizes)) == [
            sum(strings, ()) for strings in product(*(list(growth_strings(size)) for size in sizes))
        ]
    assert next(growth_strings(3000)) == (0,) * 3000
    for size in range(8):
        assert len(set(growth_strings(size))) == count_partitions(size)
