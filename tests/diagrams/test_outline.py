"""Outlines against joint cumulants by the recursion that defines them."""

from fractions import Fraction
from itertools import chain, combinations
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import feyngd as fd

P = fd.Diagram.parse
TIED = [D for order in range(1, 5) for D in fd.diagrams(order, root_tied=True) if max(map(len, D.parts)) > 1]
# derivative k of the loss of point n, of one parameter
SLOPES = [
    [Fraction((7 * n * n + 3 * n * k + 5 * k * k + 2) % 11 - 5, 1 + (n + k) % 3) for k in range(6)] for n in range(4)
]
WEIGHTS = [Fraction(1, 6), Fraction(1, 3), Fraction(1, 4), Fraction(1, 4)]


def degrees(diagram, nodes):
    return [len(diagram.children[node]) + (node > 0) for node in sorted(nodes)]


def mean(ranks):
    return sum(weight * prod(one[k] for k in ranks) for weight, one in zip(WEIGHTS, SLOPES, strict=True))


def cumulant(ranks):
    """E[X_1 … X_n] is the sum of κ of every set with X_1 in it, times the mean of the others."""
    first, others = ranks[0], range(1, len(ranks))
    subsets = chain.from_iterable(combinations(others, size) for size in range(len(ranks) - 1))
    rest = sum(
        cumulant([first, *(ranks[i] for i in chosen)]) * mean([ranks[i] for i in others if i not in chosen])
        for chosen in subsets
    )
    return mean(ranks) - rest


def moment(diagram):
    return prod(mean(degrees(diagram, part)) for part in diagram.parts)


def difference(ranks):
    return mean(ranks) - prod(mean([rank]) for rank in ranks)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(TIED), st.data())
def test_an_outline_is_a_joint_cumulant(diagram, data):
    wide = [index for index, part in enumerate(diagram.parts) if len(part) > 1]
    chosen = data.draw(st.sets(st.sampled_from(wide), min_size=1))
    for kind, effect in (("cumulant", cumulant), ("difference", difference)):
        outline = fd.outline(diagram, chosen, kind=kind)
        expected = prod(
            (effect if index in chosen else mean)(degrees(diagram, part)) for index, part in enumerate(diagram.parts)
        )
        assert outline.value({one: moment(one) for one in outline}) == expected
        assert outline[diagram] == 1
        assert all(isinstance(weight, int) for weight in outline.values())


def test_pairs_agree_with_the_papers_words_and_triples_need_a_correction():
    pair, triple = P("[a a]"), P("[a a a]")
    assert dict(fd.outline(pair)) == dict(fd.outline(pair, kind="difference")) == {pair: 1, P("[a b]"): -1}
    printed = fd.outline(triple, kind="difference")
    # Corollary 3: S = (E[ggg] − GGG) − 3 C G.
    covariance = fd.outline(P("[a b b]"))
    corrected = dict(printed)
    for one, weight in covariance.items():
        corrected[one] = corrected.get(one, 0) - 3 * weight
    assert corrected == dict(fd.outline(triple))


def test_how_it_is_written():
    outline = fd.outline(P("[a a[b] b]"), [1])
    assert str(outline) == "[a b a[b]] − [a b c[b]]"
    assert repr(outline) == "<Outline of [a b a[b]], nodes [1, 3]: [a b a[b]] − [a b c[b]]>"
    assert fd.outline(P("[a a a]")).latex() == (
        r"\mathbb{E}[g_{i} g_{j} g_{k}] J_{i j k} - 3\, \mathbb{E}[g_{j} g_{k}] G_{i} J_{i j k} + "
        r"2\, G_{i} G_{j} G_{k} J_{i j k}"
    )
    assert outline == fd.outline(P("[a a[b] b]"), [{1, 3}]) != fd.outline(P("[a a[b] b]"))
    assert len({outline, fd.outline(P("[a b a[b]]"), [1])}) == 1
    assert outline[P("[a]")] == 0
    assert P("[a]") not in outline


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("[a a]",), "A Diagram without cells is outlined"),
        ((P("[a b]"),), "nothing to outline"),
        ((P("[a a]"), []), "nothing to outline"),
        ((P("[a b b]"), [1]), "Node 1 of .* is alone in its part"),
        ((P("[a b b]"), [2, {2, 3}]), "Part 2 is given 2 times"),
        ((P("[a a b]"), 1), "parts is a list of parts"),
        ((P("[a a b]"), [7]), "7 is not a part of the diagram"),
    ],
)
def test_what_it_refuses(arguments, message):
    with pytest.raises(fd.FeynGDError, match=message):
        fd.outline(*arguments)


def test_values_and_keys_it_refuses():
    outline = fd.outline(P("[a a]"))
    with pytest.raises(fd.ArgumentError, match=r"No value is given for \[a b\]"):
        outline.value({P("[a a]"): 1})
    with pytest.raises(KeyError, match="indexed by diagrams"):
        outline["[a a]"]
    with pytest.raises(fd.ArgumentError, match="Unknown kind 'moment'"):
        fd.outline(P("[a a]"), kind="moment")
