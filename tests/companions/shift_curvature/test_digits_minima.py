"""Softmax regression on digits, 650 parameters: minima, shift, covariance part and direct test loss, in both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.companions.shift_curvature import local_steady_state, shift
from feyngd.landscapes import digits, logistic_regression

PENALTY, T = 0.01, 0.02


def loss(params, example):
    layer = params["dense_0"]
    logits = example[0].ravel() @ layer["weights"] + layer["bias"]
    return jax.nn.logsumexp(logits) - logits[example[1]]


@pytest.mark.slow
def test_shift_and_fluctuations_of_650_parameters():
    images, labels = (np.asarray(part) for part in digits(800))
    images = images.astype(float)
    order = np.random.default_rng(0).permutation(800)
    with jax.enable_x64(True):
        parts = [(images[rows], labels[rows]) for rows in (order[:400], order[400:])]
        landscape = fd.Landscape(loss, *parts, reading="conditional")
        start = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape), logistic_regression((8, 8), 10).init(jax.random.key(0))
        )
        found = shift(landscape, start, penalty=PENALTY, key=jax.random.key(0))
        assert all(end.is_strict for end in (found.train, found.test))
        assert found.newton == pytest.approx(found.rise, rel=0.02)
        assert found.shift_curvature == pytest.approx(found.rise, rel=0.05)
        given = {"temperature": T, "penalty": PENALTY}
        exact = local_steady_state(landscape, found.train.params, **given)
        sampled = local_steady_state(
            landscape, found.train.params, **given, method="krylov", max_steps=100, key=jax.random.key(1)
        )
    for name, one in exact.estimates.items():
        other = sampled.estimates[name]
        assert one.stderr is None
        assert abs(one.value - other.value) < 3 * other.stderr, name
    # (T/4) tr D, by the gradients of all examples in NumPy.
    layer = jax.tree.map(np.asarray, found.train.params)["dense_0"]
    flat = np.concatenate([parts[0][0].reshape(400, -1), np.ones((400, 1))], axis=1)
    logits = flat @ np.concatenate([layer["weights"], layer["bias"][None]])
    errors = np.exp(logits - logits.max(axis=1, keepdims=True))
    errors = errors / errors.sum(axis=1, keepdims=True) - np.eye(10)[parts[0][1]]
    gradients = np.einsum("ni,nk->nik", flat, errors).reshape(400, -1)
    assert exact.train_excess.value == pytest.approx(T / 4 * gradients.var(axis=0).sum(), rel=1e-6)
