"""Plans: what they are made for, what they share, and what they say about kinds and costs."""

import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.diagrams import value_representative
from feyngd.evaluation.planning import TEST, positions_of

TIED, CROSSED = fd.Diagram.parse("[a[a]]"), fd.Diagram.parse("a[b[a]]")
THETA = np.array([0.3, -0.6])


def loss(theta, x):
    return (theta[0] - x) ** 4 / 4 + jnp.sin(theta[1] * x) + theta[0] * theta[1] ** 2


def landscape(reading="population"):
    test_data = np.linspace(-2, 0, 3) if reading == "conditional" else None
    return fd.Landscape(loss, np.linspace(-1, 1.5, 7), test_data, reading=reading)


def up_to(order):
    return [diagram for k in range(order + 1) for diagram in fd.diagrams(k)]


@pytest.mark.parametrize("reading", ["population", "unbiased", "conditional"])
def test_a_plan_for_a_landscape_takes_its_reading_and_its_examples(reading):
    ours = fd.plan([TIED, CROSSED], landscape(reading), THETA)
    theirs = fd.plan([TIED, CROSSED], reading=reading, num_examples=7)
    assert ours.values == theirs.values
    assert ours.reading == reading


@pytest.mark.parametrize("options", [{"reading": "unbiased"}, {"num_examples": 7}])
def test_a_plan_takes_nothing_twice(options):
    with pytest.raises(fd.ArgumentError, match="leave them out"):
        fd.plan(TIED, landscape(), THETA, **options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"params": THETA}, "without a landscape"),
        ({"reading": "x"}, "Unknown reading"),
        ({"num_examples": 0}, "num_examples"),
        ({"basis": "central"}, "central"),
        ({"root": "both"}, "both"),
    ],
)
def test_a_bad_plan(given, message):
    with pytest.raises(fd.ArgumentError, match=message):
        fd.plan(TIED, **given)


def test_equal_values_are_computed_once():
    diagrams = up_to(3)
    plan = fd.plan(diagrams)
    assert len(plan.values) == len(diagrams) == 1 + 1 + 4 + 17
    assert len(plan.numbers) == len({value_representative(diagram) for diagram in diagrams})


def test_diagrams_that_share_vectors_cost_less_together():
    diagrams = up_to(3)
    plan = fd.plan(diagrams)
    alone = [fd.plan(diagram) for diagram in diagrams]
    assert 0 < plan.exact_cost < sum(one.exact_cost for one in alone)
    assert 0 < plan.pass_cost < sum(one.pass_cost for one in alone)


def test_the_least_exact_number_decides_about_the_kind_of_a_diagram():
    plan = fd.plan([TIED, CROSSED], basis="cumulant")
    kinds = dict.fromkeys(plan.exact, "exact") | dict.fromkeys(plan.paired, "pairing")
    assert plan.kinds(kinds)[CROSSED] == "pairing"
    kinds |= dict.fromkeys(plan.paired, "strata")
    assert plan.kinds(kinds, ("exact", "strata", "pairing"))[CROSSED] == "strata"


def test_test_data_come_last_in_a_row():
    plan = fd.plan([fd.Diagram.parse("a[b[c[a]]]"), fd.Diagram.parse("a[b b]")], landscape("conditional"), THETA)
    assert positions_of(plan.paired) == plan.positions
    assert list(plan.positions) == sorted(plan.positions, key=lambda position: (position == TEST, position))


def test_a_plan_that_is_changed_changes_no_later_call():
    wanted = [fd.Diagram.parse("[a a]")]
    first = fd.plan(wanted)
    shown = str(first)
    for terms in first.values.values():
        terms.clear()
    first.values.clear()
    first.numbers.clear()
    first.ways.clear()
    assert str(fd.plan(wanted)) == shown
