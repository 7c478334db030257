"""Formulas without a run: flat minima, cumulants of steps, and the series that they make."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from scipy import integrate

import feyngd as fd
from feyngd.companions.shift_curvature import flat_excess, flat_weight, kramers_moyal, leading_order, step_cumulants

STEPS = sympy.Symbol("T", integer=True, positive=True)


def test_flat_weights_by_quadrature():
    def weight(order, eigenvalue, temperature):
        growth = eigenvalue / sympy.factorial(order)
        return integrate.quad(lambda z: np.exp(-2 * float(growth) * z**order / temperature), -9, 9)[0]

    expected = np.exp(-2 * 0.1 / 0.3) * weight(2, 1.5, 0.3) * weight(4, 7.0, 0.3) * weight(6, 50.0, 0.3)
    assert flat_weight([2, 4, 6], [1.5, 7.0, 50.0], 0.3, 0.1) == pytest.approx(expected, rel=1e-7)
    density = integrate.quad(lambda z: np.exp(-2 * z**4 / 0.3), -9, 9)[0]
    above = integrate.quad(lambda z: z**4 * np.exp(-2 * z**4 / 0.3), -9, 9)[0]
    assert flat_excess(4, 0.3) == pytest.approx(above / density)
    assert flat_excess([4, 2], 0.3) == pytest.approx(flat_excess(4, 0.3) + flat_excess(2, 0.3))


def test_leading_orders():
    assert leading_order(lambda r: jnp.cos(r) + r**2 / 2, tolerance=1e-9) == (4, 1.0)
    assert leading_order(lambda r: r**3, tolerance=1e-9) == (3, 6.0)
    # A minimum along every line, and no minimum: (y − x²)(y − 2x²) is negative between the parabolas.
    x, y = np.cos(0.3), np.sin(0.3)
    order, value = leading_order(lambda r: (r * y - (r * x) ** 2) * (r * y - 2 * (r * x) ** 2), tolerance=1e-9)
    assert (order, value > 0) == (2, True)
    with pytest.raises(fd.LandscapeError, match="flat there"):
        leading_order(lambda r: r**6, most=4, tolerance=1e-9)


@pytest.mark.parametrize(
    ("given", "message"),
    [((3, [1.0], 0.1, 0.0), "even"), ((2, [0.0], 0.1, 0.0), "diverges"), (([2, 2], [1.0], 0.1, 0.0), "one for each")],
)
def test_flat_weights_refused(given, message):
    with pytest.raises(fd.ArgumentError, match=message):
        flat_weight(*given)


@pytest.mark.parametrize("batch", [1, 3])
def test_one_and_two_cumulants_are_the_flow_and_the_sde(batch):
    assert kramers_moyal(4, cumulants=1) == fd.ode(4)
    assert kramers_moyal(4, B=batch) == fd.sde(4, B=batch)
    assert kramers_moyal(3, T=7, B=batch) == fd.sde(3, T=7, B=batch)


def test_d3_a_sub_series_of_sgd():
    sgd = fd.expand("test_loss", order=4, spacetime=fd.Spacetime.sgd(N=STEPS), basis="cumulant")
    third, skew = kramers_moyal(4, cumulants=3), fd.Diagram.parse("[a a a]")
    assert {*third} <= {*sgd}
    assert skew not in sgd - third
    assert skew in sgd - kramers_moyal(4, cumulants=2)
    # Parts of four nodes come with the fourth cumulant.
    assert {*kramers_moyal(4, cumulants=4)} - {*third} == {
        d for d in sgd if max(map(len, d.parts)) == 4 and d.order == 4
    }
    # What is left is discrete time: at order 2 only −(T/2) GHG, for any number of cumulants.
    left = (sgd - kramers_moyal(4, cumulants=4)).of_order(2)
    assert left == {fd.Diagram.parse("[a[b]]"): -STEPS / 2}


def test_step_cumulants_by_listing_all_batches():
    x = np.array([[0.3, -1.0], [2.0, 0.5], [-1.0, 0.25]])
    landscape = fd.Landscape(lambda theta, x: jnp.sum((theta - x) ** 4) / 4, jnp.asarray(x))
    theta = np.array([0.2, -0.4])
    gradients = (theta - x) ** 3
    eta, size = 0.1, 2
    steps = np.array([-eta * gradients[list(batch)].mean(axis=0) for batch in itertools.product(range(3), repeat=size)])
    centred = steps - steps.mean(axis=0)

    def found(order):
        return step_cumulants(landscape, jnp.asarray(theta), order, learning_rate=eta, batch_size=size)

    def moment(*axes):
        return np.mean(np.prod([centred[:, axis] for axis in axes], axis=0))

    np.testing.assert_allclose(found(1), steps.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found(2), centred.T @ centred / len(steps), rtol=1e-5, atol=1e-8)
    for i, j, k in itertools.product(range(2), repeat=3):
        assert found(3)[i, j, k] == pytest.approx(moment(i, j, k), rel=1e-4, abs=1e-6)
    fourth = moment(0, 0, 1, 1) - moment(0, 0) * moment(1, 1) - 2 * moment(0, 1) ** 2
    assert found(4)[0, 0, 1, 1] == pytest.approx(fourth, rel=1e-3)
    with pytest.raises(fd.ArgumentError, match="lower order"):
        step_cumulants(landscape, jnp.asarray(theta), 30, learning_rate=eta, batch_size=size)
