"""Conjecture 1: steps along geodesics by three ways, the formula, wrong formulas, and the experiment quickly."""

from fractions import Fraction
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import feyngd as fd
from feyngd.drawing import drawn
from feyngd.errors import ArgumentError
from feyngd.experiments import Setting
from feyngd.experiments import _curved_space as curved
from feyngd.experiments import _curved_statistics as statistics
from feyngd.experiments._geodesic_field import RATE, geodesic_field, normal_metric
from feyngd.experiments._geodesic_steps import geodesic_update

PLACE, SLOPES = statistics.PLACE, sympy.symbols("p q")
TWO_EPOCHS = fd.Spacetime.sgd(2, 1, 2)


def test_the_field_of_normal_coordinates_is_the_one_by_hand():
    K = sympy.Symbol("K")
    x, u = map(sympy.Matrix, (PLACE, SLOPES))
    by_hand = u + K / 3 * (x.dot(x) * u - x.dot(u) * x) - RATE * K / 3 * (u.dot(x) * u - u.dot(u) * x)
    found = geodesic_field(normal_metric(K, PLACE), PLACE, SLOPES)
    assert [sympy.expand(one - other) for one, other in zip(found, by_hand, strict=True)] == [0, 0]


def test_the_field_of_a_plane_in_other_coordinates_goes_straight():
    """With y = X + X²/2 + X Y in place of Y, the plane's metric has Γ ≠ 0 at the start, and curvature zero."""
    X, Y = PLACE
    flat = sympy.Matrix([X, Y + X**2 / 2 + X * Y])
    turn = flat.jacobian(PLACE)
    field = geodesic_field((turn.T * turn).applyfunc(sympy.expand), PLACE, SLOPES)
    eta, size = sympy.Rational(1, 10**4), sympy.Rational(1, 10**4)
    errors = []
    for scale in (1, 10):
        here = dict(zip(PLACE, (scale * size, -2 * scale * size), strict=True))
        step = {RATE: scale * eta, SLOPES[0]: sympy.Integer(2), SLOPES[1]: sympy.Integer(1)}
        there = {s: here[s] - scale * eta * f.subs(here | step) for s, f in zip(PLACE, field, strict=True)}
        start, end = flat.subs(here), flat.subs(there)
        gradient = turn.subs(here).inv().T * sympy.Matrix([2, 1])
        errors.append(float((end - start + scale * eta * gradient).norm()))
    assert errors[1] / errors[0] == pytest.approx(10**4, rel=0.05)  # what is left is of the fourth order


@pytest.mark.parametrize("curvature", [1.0, -1.0])
def test_steps_end_where_the_embedded_surface_says(curvature):
    """By hand on the unit sphere and the unit hyperboloid, in three dimensions."""
    sine, cosine = (np.sin, np.cos) if curvature > 0 else (np.sinh, np.cosh)
    x, gradient, rate = np.array([0.3, -0.4]), np.array([1.0, 2.0]), 0.2
    radius = np.hypot(*x)
    radial, across = x / radius, np.array([-x[1], x[0]]) / radius
    # lengths of −η g⁻¹∇l along the radius and across it
    along, aside = -rate * gradient @ radial, -rate * (gradient @ across) * radius / sine(radius)
    point = np.array([cosine(radius), *(sine(radius) * radial)])
    outward = np.array([-curvature * sine(radius), *(cosine(radius) * radial)])
    velocity = along * outward + aside * np.array([0.0, *across])
    length = np.hypot(along, aside)
    end = cosine(length) * point + sine(length) / length * velocity
    far = np.arccos(end[0]) if curvature > 0 else np.arccosh(end[0])
    with jax.enable_x64(True):
        found = np.asarray(geodesic_update(jnp.array(x), jnp.array(gradient), jnp.array(curvature), jnp.array(rate)))
    np.testing.assert_allclose(x - rate * found, end[1:] * far / np.hypot(*end[1:]), rtol=1e-12)


def polynomial_field(curvature, module):
    field = geodesic_field(normal_metric(curvature, PLACE), PLACE, SLOPES)
    return sympy.lambdify((*PLACE, *SLOPES, RATE, *curvature.free_symbols), field, module)


def test_the_polynomial_field_is_that_of_the_geodesics():
    field, x, u = polynomial_field(sympy.Integer(1), "math"), np.array([0.3, -0.4]), np.array([1.0, 2.0])
    off = []
    with jax.enable_x64(True):
        for scale in (0.1, 0.05):
            exact = geodesic_update(jnp.array(scale * x), jnp.array(u), jnp.array(1.0), jnp.array(scale / 2))
            off.append(np.linalg.norm(np.array(field(*(scale * x), *u, scale / 2)) - np.asarray(exact)))
    assert off[0] / off[1] == pytest.approx(16, rel=0.05)


def test_a_metric_that_is_none_is_refused():
    x, y = PLACE
    for bad in (sympy.diag(1, -1), sympy.diag(x, 1), sympy.Matrix([[1, 2], [2, 1]])):
        with pytest.raises(ArgumentError, match="positive definite"):
            geodesic_field(bad, PLACE, SLOPES)
    for bad in (sympy.eye(3), sympy.Matrix([[1, x], [0, 1]])):
        with pytest.raises(ArgumentError, match="symmetric 2×2"):
            geodesic_field(bad, PLACE, SLOPES)
    with pytest.raises(ArgumentError, match="positive definite"):
        statistics.exact_coefficients("gap", [x, y], sympy.diag(1, 0), TWO_EPOCHS, 1)


def test_the_formula_is_exact_and_curvature_comes_in_late():
    kinds = (((2, 1), (1, 0, 0)), ((0, -1), (0, 1, -1)))
    for quantity, formula in statistics.third_order(kinds, 2, 2).items():
        assert statistics.exact_change(quantity, kinds, TWO_EPOCHS, 3) == (0, 0, 0, formula)
    drawn_again = fd.Spacetime.sgd(2, 1, T=3, sampling="with-replacement")
    assert statistics.exact_change("gap", statistics.SPREAD, drawn_again, 3) == (0, 0, 0, 0)


def test_one_epoch_has_either_sign():
    once = fd.Spacetime.sgd(2, 1)
    changes = [statistics.exact_change("gap", kinds, once, 4) for kinds in (statistics.SPREAD, statistics.ALIGNED)]
    assert changes == [(0, 0, 0, 0, Fraction(-65, 54)), (0, 0, 0, 0, Fraction(421, 162))]


def test_all_runs_along_exact_geodesics_have_the_formula():
    """Every training set and order of two points in two epochs, once: no sampling, no expansion."""
    sets = list(product(range(3), repeat=2))
    runs = [(*one, *two) for a, b in sets for one in ((a, b), (b, a)) for two in ((a, b), (b, a))]
    drawn_from = [pair for pair in sets for _ in range(4)]

    @jax.jit
    def gap(curvature, rate):
        gradients, hessians, *_ = curved.curved_landscape(statistics.SPREAD, 1.0, 1.0).data
        examples = [(g, h, curvature, rate) for g, h in zip(jnp.array(gradients), jnp.array(hessians), strict=True)]
        kinds = jax.tree.map(lambda *leaves: jnp.stack(leaves), *examples)

        def one(run, pair):
            x = jnp.zeros(2)
            for number in range(4):
                x = x - rate * curved._update(x, jax.tree.map(lambda leaf, n=number: leaf[run[n]], kinds))
            losses = jax.vmap(lambda example: curved._loss(x, example))(kinds)
            return losses.mean() - losses[pair].mean()

        return jax.vmap(one)(jnp.array(runs), jnp.array(drawn_from)).mean()

    with jax.enable_x64(True):
        ours = [float(gap(1.0, rate) - gap(-1.0, rate)) / (2 * rate**3) for rate in (0.0025, 0.005, 0.01)]
    exact = float(statistics.third_order(statistics.SPREAD, 2, 2)["gap"])
    assert curved._at_zero((0.0025, 0.005, 0.01)) @ np.array(ours) == pytest.approx(exact, rel=2e-4)


@pytest.mark.slow
def test_diagrams_have_the_same_coefficients_as_enumeration():
    """The field goes through `Landscape(update=)`, at the η of the step for the one inside the field."""
    space, rate, field = fd.Spacetime.sgd(2, 1, 2), 1e-3, polynomial_field(sympy.Symbol("K"), "jax")

    def update(x, example):
        gradient, hessian, curvature, inside = example
        return jnp.stack(field(*x, *(gradient + hessian @ x), inside, curvature))

    with jax.enable_x64(True):
        gaps = []
        for curvature in (1.0, -1.0):
            landscape = curved.curved_landscape(statistics.SPREAD, curvature, rate)
            landscape = fd.Landscape(landscape.loss, landscape.data, update=update)
            series = fd.expand("gap", order=3, spacetime=space)
            values = fd.evaluate(series, landscape, jnp.zeros(2), estimator="double-sum")
            found = fd.predict(landscape, jnp.zeros(2), space, [rate], quantity="gap", values=values)
            gaps.append(float(found.mean[0]))
    exact = float(statistics.third_order(statistics.SPREAD, 2, 2)["gap"])
    assert (gaps[0] - gaps[1]) / (2 * rate**3) == pytest.approx(exact, rel=0.02)


def quick(monkeypatch, tamper=None):
    monkeypatch.setattr(curved, "simulate", partial(fewer, curved.simulate))
    monkeypatch.setattr(curved, "CASES", curved.CASES[::2])
    if tamper is not None:
        monkeypatch.setattr(curved, "third_order", tamper)
    return curved.EXPERIMENT.run(Setting(jax.random.key(0), (None, None), quick=True))


def fewer(simulate, *args, **options):
    return simulate(*args, **{**options, "runs": 20_000})


def test_the_experiment_quickly(monkeypatch):
    right = statistics.third_order
    found = quick(monkeypatch, lambda *sizes: {name: -value for name, value in right(*sizes).items()})
    verdicts = {finding.claim: finding.holds for finding in found.findings}
    assert [holds for claim, holds in verdicts.items() if "formula" in claim] == [False, False]
    assert [holds for claim, holds in verdicts.items() if claim.startswith("Conjecture")] in (
        [True, False],
        [True, None],
    )
    assert [holds for claim, holds in verdicts.items() if "two epochs: what" in claim or "order η²" in claim] == [True]
    assert drawn(found.figure, "png").startswith(b"\x89PNG")
    data = found.to_dict()["data"]
    assert data["two epochs, spread gradients"]["conjecture"] == "holds"


def test_verdicts_can_fail():
    case = curved.CASES[0]
    ours = curved.Simulated(np.zeros(3), np.zeros(3), limit=-1.78, stderr=0.01, cut=0.01)
    assert curved._runs(case, -1.778, ours).holds
    for tampered in (1.778, -0.889, 0.0):
        assert curved._runs(case, tampered, ours).holds is False
    assert curved._conjecture(case, 1.778, ours).holds is None
    rising = curved.Simulated(np.zeros(3), np.zeros(3), limit=1.78, stderr=0.01, cut=0.01)
    assert curved._conjecture(case, 1.778, rising).holds is False
    weights = curved._at_zero((0.1, 0.2, 0.4))
    assert weights @ np.polyval([3.0, -2.0, 5.0], [0.1, 0.2, 0.4]) == pytest.approx(5.0)
