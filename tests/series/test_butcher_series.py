"""Without noise the diagrams are Butcher's trees: T steps of gradient descent against T Euler steps by kauri."""

from fractions import Fraction
from functools import reduce

import pytest
import sympy

import feyngd as fd
from feyngd import Diagram, Spacetime

kauri = pytest.importorskip("kauri")


def as_nested_lists(diagram, node):
    return sorted((as_nested_lists(diagram, child) for child in diagram.children[node]), key=repr)


def as_tree(diagram, node=0):
    return kauri.Tree(as_nested_lists(diagram, node))


def euler_steps(steps):
    """Elementary weights of Euler's method composed with itself: a product in the Butcher–Connes–Kreimer algebra."""
    weights = kauri.euler.elementary_weights_map()
    return reduce(lambda composed, _: composed * weights, range(steps - 1), weights)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("points", [1, 2])
def test_trees_carry_the_elementary_weights_of_euler(steps, points):
    """Summed over ties, the coefficient of a tree below the root is elementary weight / symmetry.

    A root of degree one measures the displacement, so what hangs below it is one of Butcher's trees. A step of
    −η on the gradient field gives the sign.
    """
    series = fd.expand("test_loss", order=4, spacetime=Spacetime.gd(points, steps))
    weights, totals = euler_steps(steps), {}
    for diagram, coefficient in series.items():
        if len(diagram.children[0]) == 1:
            tree = as_tree(diagram, 1)
            totals[tree] = totals.get(tree, sympy.Integer(0)) + coefficient
    trees = list(kauri.trees_up_to_order(4))
    checked = 0
    for tree in trees:
        if tree.nodes() == 0:
            continue
        expected = Fraction(weights(tree)).limit_denominator(10**6) / tree.sigma() * (-1) ** tree.nodes()
        assert totals.get(tree, 0) == sympy.Rational(expected.numerator, expected.denominator), tree
        checked += 1
    assert checked == 1 + 1 + 2 + 4


@pytest.mark.parametrize("order", range(1, 5))
def test_symmetries_of_trees_agree(order):
    """With all parts alone, or all non-root nodes tied, automorphisms are those of the tree: kauri's sigma."""
    trees = {as_tree(D): D for D in fd.diagrams(order) if len(D.parts) == order + 1}
    assert len(trees) == len(list(kauri.trees_of_order(order + 1)))
    for tree, diagram in trees.items():
        assert diagram.automorphisms == tree.sigma()
        assert Diagram.from_labels(diagram.parents, [0] + [1] * order).automorphisms == tree.sigma()


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_displacement_of_a_cubic_loss(steps):
    """Diagrams on one kind of loss against kauri's B-series of the vector field, evaluated symbolically."""
    y = sympy.Symbol("y")
    loss = y**3 / 3 + y**2 / 2 - 2 * y
    b_series = kauri.BSeries(sympy.Matrix([y]), sympy.Matrix([-loss.diff(y)]), euler_steps(steps), 4).series()[0]
    step = sympy.Symbol("h")
    coefficients = [sympy.expand(b_series).coeff(step, k) for k in range(5)]
    series = fd.expand("test_loss", order=4, spacetime=Spacetime.gd(2, steps))
    for power in range(1, 5):
        displacement = sympy.Integer(0)
        for diagram, coefficient in series.of_order(power).items():
            if len(diagram.children[0]) == 1:
                below = range(1, diagram.order + 1)
                displacement += coefficient * sympy.Mul(*(loss.diff(y, diagram.tree.degree(v)) for v in below))
        assert sympy.expand(displacement - sympy.nsimplify(coefficients[power])) == 0


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_whole_loss_of_one_kind_of_datapoint(steps):
    """All diagrams, moment basis: the loss at the end of literal gradient descent, whatever the sampling."""
    y, eta = sympy.symbols("y eta")
    loss = y**4 / 4 - y**2 + y
    end = y
    for _ in range(steps):
        end = sympy.expand(end - eta * loss.diff(y).subs(y, end))
        end = sum(end.coeff(eta, k) * eta**k for k in range(5))
    truth = sympy.expand(loss.subs(y, end))
    for spacetime in (Spacetime.gd(2, steps), Spacetime.sgd(2, T=steps, sampling="with-replacement")):
        series = fd.expand("test_loss", order=4, spacetime=spacetime)
        for power in range(5):
            total = sum(
                c * sympy.Mul(*(loss.diff(y, D.tree.degree(v)) for v in D.tree)) if D.order else loss
                for D, c in series.of_order(power).items()
            )
            assert sympy.expand(total - truth.coeff(eta, power)) == 0
