"""At a trained minimum the noiseless path stands still, and anchored predictions are the re-summed ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import feyngd as fd
from feyngd.landscapes import cross_entropy, digits, logistic_regression

pytestmark = pytest.mark.slow
SPACETIMES = [
    fd.Spacetime.sgd(20, 4, 12),
    fd.Spacetime.sgd(20, 4, T=60, sampling="with-replacement"),
    fd.Spacetime.sgd(240, 4),
    fd.Spacetime.gd(20, 60),
]


@pytest.fixture(scope="module")
def trained():
    """Logistic regression with a penalty on 60 images of three digits, at its minimum by Newton's method."""
    images, labels = digits()
    few = np.flatnonzero(labels < 3)[:60]
    model = logistic_regression((8, 8), 3)
    with jax.enable_x64(True):
        theta, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf.astype(float), model.init(jax.random.key(0))))

        entropy = cross_entropy(model)

        def loss(theta, example):
            return entropy(unravel(theta), example) + 0.02 * theta @ theta

        landscape = fd.Landscape(loss, (np.asarray(images[few], float), labels[few]))
        slope = jax.jit(jax.grad(landscape.mean_loss))
        curvature = jax.jit(jax.hessian(landscape.mean_loss))
        for _ in range(12):
            theta = theta - jnp.linalg.solve(curvature(theta), slope(theta))
        assert jnp.linalg.norm(slope(theta)) < 1e-12
        rate = float(0.5 / jnp.linalg.eigvalsh(curvature(theta))[-1])
        options = {"steps": 60, "epoch_lengths": [5], "num_samples": 200, "truncation_samples": 0}
        anchored = fd.anchor(landscape, theta, learning_rate=rate, key=jax.random.key(1), **options)
        yield anchored, fd.near_minimum(landscape, theta, key=jax.random.key(2)), rate


@pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")  # both are to second order, however large that is
@pytest.mark.parametrize("spacetime", SPACETIMES, ids=str)
@pytest.mark.parametrize("quantity", ["test_loss", "gap"])
def test_digits(trained, spacetime, quantity):
    anchored, minimum, rate = trained
    curve = anchored.predict(spacetime, quantity=quantity)
    with jax.enable_x64(True):
        resummed = minimum.predict(spacetime, rate, quantity=quantity)
    added = curve.mean[-1] - curve.noiseless[-1]
    expected = float(resummed.mean[0]) - (minimum.start if quantity == "test_loss" else 0.0)
    assert 0 < curve.stderr[-1] < 0.1 * added
    assert abs(added - expected) <= 4 * curve.stderr[-1]
