"""Polynomial landscapes, exact values on them, and the strategies that draw them."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import feyngd as fd
from feyngd import Diagram, Spacetime
from feyngd.diagrams import reroot
from feyngd.testing import ExactValues, PolynomialLandscape

x, y = sympy.symbols("x y")


def derivative(expression, variables, place):
    return sympy.Rational(expression.diff(*variables).subs(place)) if variables else expression.subs(place)


def test_landscape_rejects_what_is_no_population():
    with pytest.raises(fd.LandscapeError, match="at least one loss"):
        PolynomialLandscape([])
    with pytest.raises(fd.LandscapeError, match="lengths differ"):
        PolynomialLandscape([{(1,): 1}, {(1, 0): 1}])
    for weights in (["1/2"], ["1/2", "1/3"], [1, 0], ["3/2", "-1/2"]):
        with pytest.raises(fd.LandscapeError, match="add up to 1"):
            PolynomialLandscape([{(1,): 1}, {(2,): 1}], weights)
    for bad in (sympy.sin(x), 1 / x, sympy.Symbol("z") * x):
        with pytest.raises(fd.LandscapeError, match="not a polynomial"):
            PolynomialLandscape.from_expressions([bad], [x])


def test_landscape_from_expressions():
    landscape = PolynomialLandscape.from_expressions([x**2 * y / 3 - 1, 2 * y], [x, y], ["1/4", "3/4"])
    assert landscape.losses == ({(2, 1): Fraction(1, 3), (0, 0): -1}, {(0, 1): 2})
    assert landscape.dimensions == 2
    assert landscape.mean == {(2, 1): Fraction(1, 12), (0, 0): Fraction(-1, 4), (0, 1): Fraction(3, 2)}


def brute_moment(diagram, losses, weights, variables, place):
    """Sum over a kind for each part and a coordinate for each edge of the product of partial derivatives."""
    total = sympy.Integer(0)
    edges = [(diagram.parents[node], node) for node in range(1, diagram.order + 1)]
    for kinds in product(range(len(losses)), repeat=len(diagram.parts)):
        chance = sympy.Mul(*(weights[kind] for kind in kinds))
        for coordinates in product(variables, repeat=len(edges)):
            term = chance
            for node in range(diagram.order + 1):
                at_node = [c for edge, c in zip(edges, coordinates, strict=True) if node in edge]
                term *= derivative(losses[kinds[diagram.labels[node]]], at_node, place)
            total += term
    return Fraction(int(total.p), int(total.q))


@pytest.mark.parametrize("diagram", [D for d in range(3) for D in fd.diagrams(d, root_tied=True)], ids=str)
def test_moment_values_equal_the_sum_over_kinds_and_coordinates(diagram):
    losses, weights = [x**2 * y - 2 * x + y**3, x * y - y], [sympy.Rational(1, 3), sympy.Rational(2, 3)]
    landscape = PolynomialLandscape.from_expressions(losses, [x, y], [Fraction(1, 3), Fraction(2, 3)])
    values = ExactValues(landscape, [Fraction(1, 2), -1])
    place = {x: sympy.Rational(1, 2), y: sympy.Integer(-1)}
    assert values.moment(diagram) == brute_moment(diagram, losses, weights, [x, y], place)


def test_cumulant_values_of_named_tensors():
    """C, S and mixed cumulants from their definitions as central moments."""
    landscape = PolynomialLandscape([{(1,): 3, (2,): 1}, {(1,): -1, (3,): 2}], ["1/4", "3/4"])
    values = ExactValues(landscape, [1])
    chances = (Fraction(1, 4), Fraction(3, 4))
    first, second, third = (5, 5), (2, 12), (0, 12)  # g, h, j of the two kinds at θ = 1

    def mean(numbers):
        return sum(w * n for w, n in zip(chances, numbers, strict=True))

    def central(*lists):
        centred = [[n - mean(numbers) for n in numbers] for numbers in lists]
        return sum(
            w * np.prod(np.array(row, dtype=object)) for w, row in zip(chances, zip(*centred, strict=True), strict=True)
        )

    assert values.tensor(1).tolist() == [mean(first)]
    assert values.tensor(2).tolist() == [[mean(second)]]
    assert values.tensor(1, 1).item() == central(first, first) == 0
    assert values.tensor(2, 2).item() == central(second, second) != 0
    assert values.tensor(2, 3).item() == central(second, third)
    assert values.tensor(2, 2, 3).item() == central(second, second, third) != 0
    assert values.tensor(0).item() == mean((4, 1))
    assert values.cumulant(Diagram.parse("[a a]")) == 0
    assert values.cumulant(Diagram.parse("[a[a] a[b]]")) == mean(first) * values.tensor(1, 2, 2).item() * mean(second)


@settings(max_examples=40)
@given(st.data(), fd.testing.diagrams(max_order=3))
def test_values_of_moments_are_sums_of_cumulants(data, diagram):
    landscape = data.draw(fd.testing.landscapes(dimensions=(1, 2), kinds=(2, 3)))
    values = ExactValues(landscape, data.draw(fd.testing.points(landscape)))
    assert values.moment(diagram) == sum(values.cumulant(finer) for finer, _ in diagram.refinements())
    for node in range(diagram.order + 1):
        assert values.moment(reroot(diagram, node)) == values.moment(diagram)


def test_values_need_numbers():
    N = sympy.Symbol("N", integer=True, positive=True)
    series = fd.expand("test_loss", order=1, spacetime=Spacetime.sgd(N))
    values = ExactValues(PolynomialLandscape([{(1,): 1}]), [0])
    with pytest.raises(fd.ArgumentError, match="symbols"):
        values.sum(series)


@given(st.data())
@settings(max_examples=60)
def test_strategies_draw_what_they_promise(data):
    landscape = data.draw(fd.testing.landscapes(dimensions=(2,), kinds=(3,), degree=3, monomials=2))
    assert landscape.dimensions == 2
    assert len(landscape.losses) == 3
    assert all(sum(powers) <= 3 for loss in landscape.losses for powers in loss)
    assert sum(landscape.weights) == 1
    assert len(data.draw(fd.testing.points(landscape))) == 2
    kinds = ("fixed", "reshuffled", "with-replacement", "full-batch", "explicit")
    chosen = data.draw(st.sampled_from(kinds))
    spacetime = data.draw(fd.testing.spacetimes(samplings=[chosen], max_points=3, max_steps=4))
    assert spacetime.is_concrete
    assert spacetime.sampling == chosen
    assert spacetime.N <= 3
    assert 1 <= spacetime.T <= (6 if chosen == "reshuffled" else 4)
    diagram = data.draw(fd.testing.diagrams(min_order=2, max_order=3, root_tied=False))
    assert diagram.order in (2, 3)
    assert not diagram.is_root_tied
