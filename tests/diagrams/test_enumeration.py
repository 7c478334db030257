"""Listing and counting diagrams, which share no code."""

import pytest

import feyngd as fd
from feyngd import Diagram
from feyngd.diagrams import growth_strings, reroot, set_partitions, value_representative

ROOT_ALONE = [1, 1, 4, 17, 101, 700, 5861]
ALL = [1, 2, 9, 48, 329, 2633]


@pytest.mark.parametrize(("order", "count"), list(enumerate(ROOT_ALONE)))
def test_diagrams_with_root_alone(order, count):
    listed = fd.diagrams(order)
    assert len(listed) == len(set(listed)) == fd.count_diagrams(order) == count
    assert all(D.order == order and not D.is_root_tied for D in listed)


@pytest.mark.parametrize(("order", "count"), list(enumerate(ALL)))
def test_diagrams_with_any_root(order, count):
    listed = fd.diagrams(order, root_tied=True)
    assert len(listed) == len(set(listed)) == fd.count_diagrams(order, root_tied=True) == count
    assert listed[: ROOT_ALONE[order]] == fd.diagrams(order)
    assert all(D.is_root_tied for D in listed[ROOT_ALONE[order] :])


def test_the_list_is_the_callers_own():
    fd.diagrams(2).clear()
    assert len(fd.diagrams(2)) == 4


@pytest.mark.parametrize("order", [-1, True, 2.0, "2", None])
def test_orders_are_checked(order):
    for function in (fd.diagrams, fd.count_diagrams):
        with pytest.raises(fd.ArgumentError, match="order counts edges"):
            function(order)


@pytest.mark.parametrize(("order", "distinct"), [(0, 1), (1, 1), (2, 3), (3, 12), (4, 62), (5, 401)])
def test_distinct_values(order, distinct):
    """Diagrams that differ only in the choice of the root have one value."""
    assert len({value_representative(D) for D in fd.diagrams(order)}) == distinct


def test_rerooting_keeps_the_value_class_and_is_undone_by_rerooting_back():
    for diagram in fd.diagrams(4, root_tied=True):
        turned = [reroot(diagram, node) for node in range(diagram.order + 1)]
        assert turned[0] == diagram
        assert {value_representative(other) for other in turned} == {value_representative(diagram)}
        for other in turned:
            assert diagram in {reroot(other, node) for node in range(other.order + 1)}
            assert sorted(map(len, other.parts)) == sorted(map(len, diagram.parts))


def test_irreducible_diagrams():
    """No degree-two node may be alone in its part; the root may have one child."""
    irreducible = {"[]", "[a]", "[a a]", "[a b]", "[a[a]]"}
    assert {str(D) for d in range(3) for D in fd.diagrams(d) if D.is_irreducible} == irreducible
    assert not Diagram.parse("[a[b]]").is_irreducible
    assert Diagram.parse("a[a[b]]").is_irreducible
    assert Diagram.parse("[a[b c]]").is_irreducible
    for diagram in fd.diagrams(4, root_tied=True):
        lonely = {node for part in diagram.parts if len(part) == 1 for node in part} - {0}
        assert diagram.is_irreducible == all(diagram.tree.degree(node) != 2 for node in lonely)


def test_partitions_of_a_list():
    assert len(list(growth_strings(5))) == len(set(growth_strings(5))) == 52
    assert list(growth_strings(0)) == [()]
    found = {frozenset(map(frozenset, blocks)) for blocks in set_partitions("abc")}
    assert len(found) == 5
    assert all(set().union(*blocks) == set("abc") for blocks in found)
