"""Appendix C: what a smooth change of parameters leaves as it is and what not; noise that fixes a potential."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.companions.shift_curvature import Diffusion, steady_state

A = 0.3  # of y = θ + Aθ³, which is monotone


def mapped(theta):
    return theta + A * theta**3


def test_shift_curvature_is_invariant_to_third_order():
    """½sᵀCs in y = r(θ) differs from that in θ by O(|s|³); printed: O(s²)."""

    def form(scale, change):
        with jax.enable_x64(True):
            ends = np.array([0.5, 0.5 + scale])
            curvature = 1.5  # of V at its minimum, the second end
            if change:
                slope = 1 + 3 * A * ends[1] ** 2
                return curvature / slope**2 * np.diff(mapped(ends))[0] ** 2 / 2
            return curvature * scale**2 / 2

    off = [abs(form(scale, True) - form(scale, False)) for scale in (0.1, 0.05, 0.025)]
    assert off[0] / off[1] == pytest.approx(8, rel=0.1)
    assert off[1] / off[2] == pytest.approx(8, rel=0.05)


@pytest.fixture(scope="module")
def pair():
    """A steady state in θ, and the law of y = r(θ) as a diffusion of its own, by Itô's formula for its drift."""
    temperature, box = 0.02, np.array([-2.2, 2.2])

    def loss(x):
        return (x[0] ** 2 - 1) ** 2 / 4 * (1 + 0.3 * x[0]) + 0.05 * x[0]

    def inverse(y):
        return 2 / (3 * A) ** 0.5 * jnp.sinh(jnp.arcsinh(1.5 * y * (3 * A) ** 0.5) / 3)  # of a cubic, in closed form

    def slope(y):
        return 1 + 3 * A * inverse(y) ** 2

    # ρ_Y = ρ/|r'|, so that v_Y = v + (T/2) log|r'| with constant noise 1 in y: the same law by another diffusion.
    plain = Diffusion(loss, lambda x: jnp.eye(1), dimension=1)
    changed = Diffusion(
        lambda y: loss(inverse(y)) + temperature / 2 * jnp.log(slope(y[0])), lambda y: jnp.eye(1), dimension=1
    )
    edges = mapped(box)
    return steady_state(plain, temperature, box=[tuple(box)]), steady_state(changed, temperature, box=[tuple(edges)])


def test_weights_are_invariant_and_potentials_transform(pair):
    one, other = pair
    np.testing.assert_allclose(one.weights, other.weights, atol=1e-9)
    assert one.mean(lambda x: mapped(x[0])) == pytest.approx(other.mean(lambda y: y[0]), rel=1e-9)
    theta = np.array([[0.9], [-1.05]])
    left = other.log_density(mapped(theta))
    np.testing.assert_allclose(left, one.log_density(theta) - np.log(1 + 3 * A * theta[:, 0] ** 2), atol=1e-8)


def test_covariance_curvature_is_invariant_and_bias_is_not(pair):
    """tr[ΣC] agrees to leading order in T; b in y is r'b − ½r''Σ, of which the last is as large."""
    one, other = pair
    basin, image = one.basins[1], other.basins[1]
    at = float(basin.loss_minimum[0])
    slope = 1 + 3 * A * at**2
    curvature = float(one.diffusion.at("hessian", np.array([[at]]))[0, 0, 0])
    here = basin.covariance[0, 0] * curvature
    there = image.covariance[0, 0] * curvature / slope**2
    assert there == pytest.approx(here, rel=0.1)
    moved = mapped(at) - image.mean[0]
    covariant, left = slope * basin.mean_bias[0], -6 * A * at * basin.covariance[0, 0] / 2
    assert abs(left) > 0.2 * abs(covariant)
    assert moved == pytest.approx(covariant + left, abs=0.1 * abs(left))


def of_loss(slope, f):
    """D = I/f'(U) on a bowl."""

    def loss(x):
        return 1 + x @ x / 2 + 0.1 * x[0] ** 3 + 0.1 * x[0] ** 4

    return Diffusion(loss, lambda x: jnp.eye(2) / slope(loss(x)), dimension=2), loss, f


@pytest.mark.parametrize(
    ("slope", "f"),
    [(lambda u: 1 / u, jnp.log), (lambda u: 1 + 2 * u, lambda u: u + u**2)],
    ids=["D = U", "D = 1/(1 + 2U)"],
)
def test_noise_that_is_a_function_of_the_loss(slope, f):
    """v = f − (T/2) log f' and no curl."""
    noisy, loss, f = of_loss(slope, f)
    temperature, points = 0.1, np.array([[0.3, -0.2], [-0.4, 0.5]])
    with jax.enable_x64(True):
        potential = jax.grad(lambda x: f(loss(x)) - temperature / 2 * jnp.log(slope(loss(x))))
        for point in points:
            np.testing.assert_allclose(noisy.field(point, temperature), potential(jnp.asarray(point)), rtol=1e-9)
            assert noisy.curl(point, temperature) < 1e-9
    falling, *_ = of_loss(lambda u: 2 - u, f)
    with pytest.raises(fd.LandscapeError, match="not positive definite"):
        falling.field([1.6, 0.0], temperature)


def test_potentials_like_the_loss_with_noise_that_is_not_constant():
    """The paper: v ∝ U only for constant, isotropic D. D = (1 + A e^(2cU/T)) I/c has v = cU too."""
    temperature, c = 0.2, 0.7

    def loss(x):
        return x @ x / 2 + 0.2 * x[0] * x[1]

    noisy = Diffusion(loss, lambda x: jnp.eye(2) * (1 + 0.5 * jnp.exp(2 * c * loss(x) / temperature)) / c, dimension=2)
    for point in ([0.3, -0.2], [0.0, 0.4]):
        with jax.enable_x64(True):
            expected = c * np.asarray(jax.grad(loss)(jnp.array(point)))
        np.testing.assert_allclose(noisy.field(point, temperature), expected, rtol=1e-9)
