"""Embedding counts against definitions written out a second time."""

from fractions import Fraction
from itertools import permutations, product
from math import prod

import pytest
import sympy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import feyngd as fd
from feyngd import Diagram, Spacetime, count_embeddings
from feyngd.counting import _closed_forms, _sanity

N, B, E, T = sympy.symbols("N B E T", integer=True, positive=True)
SCHEMES = {
    "fixed": Spacetime.sgd(N, B, E, sampling="fixed"),
    "reshuffled": Spacetime.sgd(N, B, E),
    "with replacement, epochs": Spacetime.sgd(N, B, E, sampling="with-replacement"),
    "with replacement, steps": Spacetime.sgd(N, B, T=T, sampling="with-replacement"),
    "full batch": Spacetime.gd(N, T),
}
UP_TO_3 = [D for d in range(4) for D in fd.diagrams(d)]
FROM_4 = fd.diagrams(4)[::9]


def all_runs(spacetime):
    """Every equally likely run, written without the package's own list of outcomes."""
    points, batch, steps = int(spacetime.N), int(spacetime.B), int(spacetime.T)
    if spacetime.sampling == "explicit":
        return [spacetime.explicit]
    if spacetime.sampling == "full-batch":
        return [[range(points)] * steps]
    if spacetime.sampling == "with-replacement":
        return list(product(product(range(points), repeat=batch), repeat=steps))
    orders = [range(points)] if spacetime.sampling == "fixed" else list(permutations(range(points)))
    cut = [[order[i : i + batch] for i in range(0, points, batch)] for order in orders]
    epochs = steps * batch // points
    if spacetime.sampling == "fixed":
        return [cut[0] * epochs]
    return [[batch for epoch in chosen for batch in epoch] for chosen in product(cut, repeat=epochs)]


def brute_count(diagram, spacetime, basis):
    """The expected number of maps from nodes to cells that obey the definition, trying every map."""
    runs, total = all_runs(spacetime), 0
    nodes = range(1, diagram.order + 1)
    for run in runs:
        cells = [(n, t) for t, batch in enumerate(run) for n in batch]
        for chosen in product(cells, repeat=diagram.order):
            at = dict(zip(nodes, chosen, strict=True))
            in_time = all(at[v][1] < at[diagram.parents[v]][1] for v in nodes if diagram.parents[v])
            rows = [
                (at[u][0] == at[v][0], diagram.labels[u] == diagram.labels[v]) for u in nodes for v in nodes if u < v
            ]
            obeyed = all(same == tied if basis == "moment" else same or not tied for same, tied in rows)
            total += in_time and obeyed
    return Fraction(total, len(runs))


CONCRETE = [
    Spacetime.sgd(2, 1, 2, sampling="fixed"),
    Spacetime.sgd(4, 2, 2, sampling="fixed"),
    Spacetime.sgd(3, 1, 1),
    Spacetime.sgd(2, 1, 2),
    Spacetime.sgd(4, 2, 1),
    Spacetime.sgd(2, 2, 2),
    Spacetime.sgd(1, 1, 4),
    Spacetime.sgd(2, 2, T=2, sampling="with-replacement"),
    Spacetime.sgd(3, 1, T=3, sampling="with-replacement"),
    Spacetime.sgd(2, 3, T=1, sampling="with-replacement"),
    Spacetime.gd(3, 2),
    Spacetime.gd(1, 4),
    Spacetime.from_batches([[0, 0, 1], [2], [0, 1]], N=4),
    Spacetime.from_batches([[1, 1], [1], [0, 1, 1]], N=2),
    Spacetime.from_batches([], N=2),
]


@pytest.mark.parametrize("basis", ["moment", "cumulant"])
@pytest.mark.parametrize("spacetime", CONCRETE, ids=str)
def test_counts_equal_trying_every_map(spacetime, basis):
    for diagram in UP_TO_3:
        assert count_embeddings(diagram, spacetime, basis=basis) == brute_count(diagram, spacetime, basis), diagram


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("diagram", UP_TO_3, ids=str)
def test_closed_forms_equal_listing(diagram, scheme):
    assert fd.sanity_check(diagram, SCHEMES[scheme], max_size=3, max_work=20_000) >= 1


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("diagram", FROM_4, ids=str)
def test_some_closed_forms_of_order_four_equal_listing(diagram, scheme):
    assert fd.sanity_check(diagram, SCHEMES[scheme], max_size=4, max_work=12_000) >= 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    fd.testing.diagrams(max_order=4, root_tied=True),
    fd.testing.spacetimes(samplings=("fixed", "reshuffled", "full-batch"), max_points=6, max_steps=6),
    st.sampled_from(["moment", "cumulant"]),
)
def test_symbols_filled_in_equal_numbers(diagram, spacetime, basis):
    """A closed form in N, B, E or N, T takes the same values as counting with those numbers from the start."""
    parts = len(diagram.untie_root().parts) - 1
    if spacetime.sampling == "full-batch":
        symbolic, values = Spacetime.gd(N, T), {N: spacetime.N, T: spacetime.T}
    else:
        symbolic = Spacetime.sgd(N, B, E, sampling=spacetime.sampling)
        values = {N: spacetime.N, B: spacetime.B, E: spacetime.E}
    count = count_embeddings(diagram, spacetime, basis=basis)
    assert count.is_Rational
    assert count >= 0
    if basis == "moment" and parts > spacetime.N:
        assert count == 0
    if parts <= spacetime.N:
        assert count_embeddings(diagram, symbolic, basis=basis).subs(values) == count


def test_fewer_points_than_parts_leave_no_room():
    for spacetime in (
        Spacetime.sgd(2, 1, 3),
        Spacetime.sgd(2, 1, 3, sampling="fixed"),
        Spacetime.sgd(2, 2, T=4, sampling="with-replacement"),
        Spacetime.gd(2, 5),
        Spacetime.from_batches([[0, 1]] * 4, N=2),
    ):
        assert count_embeddings(Diagram.parse("[a b c]"), spacetime) == 0
        assert count_embeddings(Diagram.parse("[a b]"), spacetime) > 0
        assert count_embeddings(Diagram.parse("[a b c]"), spacetime, basis="cumulant") > 0


def test_small_checks_of_the_theory():
    """Order 2, B = 1, fixed order, cumulants; one epoch, moments."""
    fixed = Spacetime.sgd(N, 1, E, sampling="fixed")

    def weight(text, spacetime, basis):
        diagram = Diagram.parse(text)
        return sympy.expand(count_embeddings(diagram, spacetime, basis=basis) / diagram.automorphisms)

    steps = N * E
    untied = weight("[a b]", fixed, "cumulant") + weight("[a[b]]", fixed, "cumulant")
    assert sympy.expand(untied - (steps**2 - steps / 2)) == 0
    assert sympy.expand(weight("[a a]", fixed, "cumulant") - steps * E / 2) == 0
    assert sympy.expand(weight("[a[a]]", fixed, "cumulant") - N * E * (E - 1) / 2) == 0
    for sampling in ("fixed", "reshuffled"):
        one = Spacetime.sgd(N, sampling=sampling)
        assert weight("[a]", one, "moment") == N
        assert sympy.expand(weight("[a b]", one, "moment") + weight("[a[b]]", one, "moment") - N * (N - 1)) == 0
        assert weight("[a a]", one, "moment") == N / 2
        assert weight("[a[a]]", one, "moment") == 0
        triples = N * (N - 1) * (N - 2) / 6
        paths = weight("[a b[c]]", one, "moment") + weight("[a[b[c]]]", one, "moment")
        stars = weight("[a b c]", one, "moment") + weight("[a[b c]]", one, "moment")
        assert sympy.expand(paths - 4 * triples) == 0
        assert sympy.expand(stars - 2 * triples) == 0


@pytest.mark.parametrize("diagram", [D for d in range(4) for D in fd.diagrams(d)], ids=str)
def test_full_batches_are_the_same_under_every_name(diagram):
    full = Spacetime.gd(N, E)
    expected = count_embeddings(diagram, full)
    for sampling in ("fixed", "reshuffled"):
        assert sympy.cancel(count_embeddings(diagram, Spacetime.sgd(N, N, E, sampling=sampling)) - expected) == 0


def test_one_epoch_does_not_care_who_shuffles():
    for diagram in UP_TO_3 + FROM_4:
        fixed, reshuffled = (
            count_embeddings(diagram, Spacetime.sgd(N, B, sampling=s)) for s in ("fixed", "reshuffled")
        )
        assert sympy.cancel(fixed - reshuffled) == 0


def test_with_replacement_in_epochs_and_in_steps_agree():
    epochs, steps = SCHEMES["with replacement, epochs"], SCHEMES["with replacement, steps"]
    for diagram in UP_TO_3:
        in_steps = count_embeddings(diagram, steps).subs(T, E * N / B)
        assert sympy.cancel(count_embeddings(diagram, epochs) - in_steps) == 0


def test_the_names_of_symbols_do_not_matter():
    """Sizes named like each other's generators, and sizes that are expressions."""
    plain = SCHEMES["reshuffled"]
    swapped = Spacetime.sgd(B, N, E)
    halves = Spacetime.sgd(2 * N, 2, E)
    for diagram in UP_TO_3:
        count = count_embeddings(diagram, plain)
        expected = count.subs({N: B, B: N}, simultaneous=True)
        assert sympy.cancel(count_embeddings(diagram, swapped) - expected) == 0
        assert sympy.cancel(count_embeddings(diagram, halves) - count.subs({N: 2 * N, B: 2}, simultaneous=True)) == 0


def test_what_the_root_is_tied_to_does_not_matter():
    for diagram in fd.diagrams(3):
        for joint in diagram.root_ties():
            assert count_embeddings(joint, Spacetime.sgd(N, B, E)) == count_embeddings(diagram, Spacetime.sgd(N, B, E))


@settings(max_examples=60)
@given(
    fd.testing.diagrams(max_order=3, root_tied=False),
    fd.testing.spacetimes(samplings=("fixed", "full-batch", "explicit"), max_points=4, max_steps=3),
)
def test_listed_embeddings_satisfy_the_definition(diagram, spacetime):
    listed = list(fd.embeddings(diagram, spacetime))
    batches = spacetime.batches()
    assert len(listed) == count_embeddings(diagram, spacetime)
    multiplicity = {}
    for placed in listed:
        assert set(placed) == set(range(1, diagram.order + 1))
        for node, (n, t) in placed.items():
            assert n in batches[t]
            parent = diagram.parents[node]
            assert parent == 0 or t < placed[parent][1]
            for other, (m, _) in placed.items():
                assert (n == m) == (diagram.labels[node] == diagram.labels[other])
        key = tuple(sorted(placed.items()))
        multiplicity[key] = multiplicity.get(key, 0) + 1
    for key, times in multiplicity.items():
        assert times == prod(batches[t].count(n) for _, (n, t) in key)


def test_one_reshuffled_epoch_can_be_listed_and_random_batches_cannot():
    diagram = Diagram.parse("[a a[b]]")
    assert list(fd.embeddings(diagram, Spacetime.sgd(3))) == list(
        fd.embeddings(diagram, Spacetime.sgd(3, sampling="fixed"))
    )
    for spacetime in (Spacetime.sgd(2, 1, 2), Spacetime.sgd(2, sampling="with-replacement")):
        with pytest.raises(fd.SpacetimeError, match=r"random.*Spacetime.from_batches.*count_embeddings"):
            fd.embeddings(diagram, spacetime)
    with pytest.raises(fd.SpacetimeError, match="concrete"):
        fd.embeddings(diagram, Spacetime.sgd(N))


def test_unknown_bases_list_the_known_ones():
    with pytest.raises(fd.ArgumentError, match=r"'cumulants'.*'moment', 'cumulant'"):
        count_embeddings(Diagram.parse("[a]"), Spacetime.sgd(2), basis="cumulants")


def test_sanity_check_reports_a_wrong_closed_form(monkeypatch):
    diagram = Diagram.parse("[a a[b]]")
    spacetime = SCHEMES["fixed"]
    assert fd.sanity_check(diagram, spacetime) > 1
    monkeypatch.setattr(_sanity, "count_embeddings", lambda D, S: count_embeddings(D, S) + 1)
    with pytest.raises(fd.MismatchError) as caught:
        fd.sanity_check(diagram, spacetime)
    message = str(caught.value)
    for words in ("[a a[b]]", "N=2", "B=1", "E=1", "fixed", "closed form", "listing"):
        assert words in message
    right = count_embeddings(diagram, Spacetime.sgd(2, 1, 1, sampling="fixed"))
    assert f"closed form {right + 1}, listing {right}." in message
    assert isinstance(caught.value, AssertionError)


def test_sanity_check_never_passes_without_checking():
    with pytest.raises(fd.ArgumentError, match=r"nothing was checked.*max_size or max_work"):
        fd.sanity_check(Diagram.parse("[a b c d]"), SCHEMES["fixed"], max_size=3)
    with pytest.raises(fd.ArgumentError, match="nothing was checked"):
        fd.sanity_check(Diagram.parse("[a b]"), SCHEMES["fixed"], max_work=0)


def test_sanity_check_on_numbers():
    ragged = Spacetime.from_batches([[0, 0, 1], [2], [0, 1]], N=4)
    assert fd.sanity_check(Diagram.parse("[a a[b]]"), ragged) == 1
    assert fd.sanity_check(Diagram.parse("[a a[b]]"), Spacetime.sgd(3, 1, E)) == 3


def test_counts_do_not_depend_on_how_many_spacetimes_came_before():
    """Weights are numbered in a table for each spacetime, and tables are forgotten: numbers must go with them."""
    diagrams, first = [D for order in (2, 3) for D in fd.diagrams(order)], fd.Spacetime.sgd(4, 2, 2)
    expected = [fd.count_embeddings(diagram, first) for diagram in diagrams]
    for points in range(5, 75):
        fd.count_embeddings(fd.Diagram.parse("[a a[b]]"), fd.Spacetime.sgd(points, 1, 2))
        fd.count_embeddings(fd.Diagram.parse("[a[b] c]"), fd.Spacetime.sgd(points, 1, T=3, sampling="with-replacement"))
    _closed_forms._closed_form.cache_clear()
    for diagram in fd.diagrams(4):  # whose weights are numbered first in a new table
        fd.count_embeddings(diagram, first)
    assert [fd.count_embeddings(diagram, first) for diagram in diagrams[::-1]] == expected[::-1]
