"""The assumptions of the steady state: each fails where it should, and all hold where they do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.companions import data_averaging
from feyngd.companions.data_averaging import assumptions
from feyngd.landscapes import toys

H = np.array([[2.0, 0.5], [0.5, 1.0]])
LONG = fd.Spacetime.sgd(N=10, B=2, T=500, sampling="with-replacement")
KEY = jax.random.key(0)


@pytest.mark.slow
def test_all_hold_where_noise_and_curvature_agree():
    found = assumptions(*toys.quadratic(H, H), LONG, 0.02)
    assert found.hold, str(found)
    lowest, highest = np.linalg.eigvalsh(H)
    assert found["small steps"].measured == pytest.approx(0.02 * highest, rel=1e-5)
    assert found["stationary"].measured == pytest.approx(10 * lowest, rel=1e-5)
    landscape, start = toys.quadratic(H, np.array([[1.0, -0.4], [-0.4, 0.7]]))
    found = assumptions(landscape, start, LONG, 0.02)
    assert found.failing.keys() == ["no curl"]
    assert found["no curl"].measured > 0.01


def test_each_fails_by_itself():
    line = fd.Landscape(lambda w, x: (w[0] - x) ** 2 / 2 + w[1] ** 2, jnp.array([-1.0, 1.0]))
    short = fd.Spacetime.sgd(N=10, B=2, E=2)
    found = assumptions(line, jnp.zeros(2), short, 0.1, optimizer=fd.momentum(0.5))
    assert found.failing.keys() == found.keys()
    assert [row.holds for row in found] == [False, None, False, False, False, False]
    assert found["noise in all directions"].measured == 1
    # With momentum a slope moves the parameters by 1 + ½ + ¼ + … of λ a step, less at the start.
    reach = sum(2 - 0.5**k for k in range(10))
    assert found["stationary"].measured == pytest.approx(0.1 * reach, rel=1e-6)
    noisy = {"noise": 1.0}
    assert np.isnan(assumptions(line, jnp.zeros(41), short, 0.1, **noisy)["no curl"].measured)  # for want of a key
    with pytest.raises(fd.ArgumentError, match="With 1501 parameters some of the assumptions are sampled"):
        assumptions(line, jnp.zeros(1501), short, 0.1)


@pytest.fixture(scope="module")
def many():
    """A quadratic loss of 1,600 parameters whose noise has variances 1 and 4, with a rotation in the first two."""
    size = 1600
    curvatures = np.where(np.arange(size) % 2, 0.5, 2.0)
    curvatures[-1] = 4.0

    def loss(w, x):
        pulled = jnp.sum(jnp.asarray(curvatures, jnp.float32) * w**2) / 2
        return pulled + 0.3 * w[0] * w[1] - jnp.sqrt(2.0) * x * w[0]

    return fd.Landscape(loss, jnp.array([-1.0, 1.0])), jnp.zeros(size), size


def test_without_matrices_what_is_sampled_has_an_error(many):
    landscape, start, size = many
    found = assumptions(landscape, start, LONG, 0.02, noise=1.0, key=KEY)
    assert found["noise in all directions"].holds
    assert found["small steps"].measured == pytest.approx(0.08, rel=1e-5)
    lowest = 1.25 - np.sqrt(0.75**2 + 0.3**2)
    assert found["stationary"].stderr is not None
    assert found["stationary"].measured == pytest.approx(10 * lowest, rel=1e-3)
    # D + β² is 3 along the first parameter and 1 along the others.
    slope = np.array([[2 / 3, 0.1], [0.3, 0.5]])
    root = np.diag([np.sqrt(3), 1])
    part = root @ slope @ root
    # All other parameters count in the symmetric part alone.
    rest = 4 * ((size / 2 - 1) * (4 + 0.25) - 0.25 + 16)
    exact = np.linalg.norm(part - part.T) / np.sqrt(np.linalg.norm(part + part.T) ** 2 + rest)
    assert found["no curl"].measured == pytest.approx(exact, abs=5 * found["no curl"].stderr)
    bare = assumptions(landscape, start, LONG, 0.02, key=KEY)
    assert (bare["noise in all directions"].measured, bare["no curl"].holds) == (1, None)


@pytest.mark.slow
def test_the_sampled_curl_is_that_of_matrices():
    rng = np.random.default_rng(0)
    size = 45
    parts = [a @ a.T / size + np.eye(size) / 2 for a in rng.normal(size=(2, size, size))]
    bend, spread = parts
    found = assumptions(*toys.quadratic(bend, spread), LONG, 0.02, key=KEY)["no curl"]
    root = np.linalg.cholesky(spread)
    slope = root.T @ np.linalg.solve(spread, bend) @ root
    exact = np.linalg.norm(slope - slope.T) / np.linalg.norm(slope + slope.T)
    assert abs(found.measured - exact) < 4 * found.stderr < exact
    same = assumptions(*toys.quadratic(bend, bend), LONG, 0.02, key=KEY)["no curl"]
    assert same.holds


def test_predictions_carry_what_fails():
    landscape = fd.Landscape(lambda theta, x: (theta - x) ** 2 / 2, jnp.array([-1.0, 1.0]))
    given = {"noise": 0.5, "weight_decay": 0.2, "domain": (-8.0, 8.0), "panels": 200}
    state = data_averaging.steady_state(landscape, jnp.array(0.0), 4, **given)
    assert state.averages(0.05).failing == ()
    failing = state.averages(0.5).failing
    assert failing.keys() == ["small steps"]
    assert failing[0].measured == pytest.approx(0.6, abs=1e-6)
    runs = data_averaging.ensemble(landscape, jnp.array(0.0), LONG, 0.5, datasets=2, weight_decay=0.2, key=KEY)
    found = runs.assumptions(dataset=1)
    assert found.failing.keys() == ["small steps"]
    assert found["small steps"].measured == pytest.approx(0.6, abs=1e-6)
