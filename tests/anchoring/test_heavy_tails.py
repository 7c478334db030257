"""Small batches and heavy tails: what is left out stays below the truncation figure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd

EPOCH, EPOCHS, COUNT, RUNS = 6, 2, 120, 20_000
STEPS = EPOCH * EPOCHS


def logistic(kind):
    """Logistic regression on features from Student's t with 3 degrees of freedom, or with mislabelled outliers."""
    rng = np.random.default_rng(4)
    X = rng.standard_t(3, size=(COUNT, 4)) if kind == "Student" else rng.normal(size=(COUNT, 4))
    truth = rng.normal(size=4)
    y = rng.random(COUNT) < 1 / (1 + np.exp(-X @ truth))
    if kind == "outliers":
        X[:2] *= 6
        y[:2] = X[:2] @ truth < 0
    data = X.astype("float32"), y.astype("float32")
    return fd.Landscape(lambda w, e: jnp.logaddexp(0, e[0] @ w) - e[1] * (e[0] @ w), data), jnp.zeros(4)


def simulated(landscape, start, rates, B):
    """The mean and standard error of the test loss after reshuffled epochs with a schedule, by plain JAX."""
    X, y = landscape.data

    def run(key):
        for_set, *for_epochs = jax.random.split(key, 1 + EPOCHS)
        drawn = jax.random.randint(for_set, (EPOCH * B,), 0, COUNT)
        batches = jnp.concatenate([jax.random.permutation(each, drawn).reshape(EPOCH, B) for each in for_epochs])

        def step(w, given):
            batch, rate = given
            slope = jax.grad(lambda w: jnp.mean(jnp.logaddexp(0, X[batch] @ w) - y[batch] * (X[batch] @ w)))(w)
            return w - rate * slope, None

        end = jax.lax.scan(step, start, (batches, jnp.asarray(rates, jnp.float32)))[0]
        return jnp.mean(jnp.logaddexp(0, X @ end) - y * (X @ end))

    keys = jax.random.split(jax.random.key(8), RUNS)
    found = np.asarray(jax.jit(lambda keys: jax.lax.map(run, keys, batch_size=1000))(keys), dtype=float)
    return found.mean(), found.std(ddof=1) / RUNS**0.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Student", "outliers"])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_what_is_left_out_is_below_the_figure(kind, schedule):
    landscape, start = logistic(kind)
    falls = (1 + np.cos(np.pi * np.arange(STEPS) / (STEPS - 1))) / 2
    rates = 0.2 * (falls if schedule == "cosine" else np.ones(STEPS))
    options = {"epoch_lengths": [EPOCH], "key": jax.random.key(2)}
    made = fd.anchor(landscape, start, steps=STEPS, learning_rate=rates, **options)
    for B in (2, 4, 8):
        curve = made.predict(N=EPOCH * B, B=B, E=EPOCHS)
        mean, stderr = simulated(landscape, start, rates, B)
        errors = 3 * np.hypot(curve.stderr[-1], stderr)
        assert abs(curve.mean[-1] - mean) <= curve.truncation[-1] + errors
        # What a verdict rests on: where it is called converged, the effect itself is seen.
        if curve.converged[-1]:
            assert abs(curve.mean[-1] - mean) <= 0.2 * abs(curve.replicates[:, -1].mean()) + errors
