"""Kernels of optax transformations: read off, and refused where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feyngd as fd

STEPS = 8
WARM = optax.warmup_cosine_decay_schedule(0.0, 1.0, 3, STEPS)


@pytest.mark.parametrize(
    ("transformation", "same"),
    [
        (optax.sgd(1.0), fd.sgd()),
        (optax.sgd(0.1), fd.schedule([0.1] * STEPS)),
        (optax.sgd(1.0, momentum=0.9), fd.momentum(0.9)),
        (optax.sgd(1.0, momentum=0.9, nesterov=True), fd.momentum(0.9, nesterov=True)),
        (optax.sgd(WARM), fd.schedule(WARM)),
        (optax.sgd(WARM, momentum=0.5), fd.schedule(WARM, fd.momentum(0.5))),
        (optax.sgd(WARM, momentum=0.5, nesterov=True), fd.schedule(WARM, fd.momentum(0.5, nesterov=True))),
        (optax.chain(optax.ema(0.5, debias=False), optax.scale(-2.0)), fd.momentum(0.5)),
    ],
)
def test_kernels_are_those_of_the_same_optimizer(transformation, same) -> None:
    found = fd.from_optax(transformation, steps=STEPS)
    for t in range(STEPS + 1):
        for s in range(t):
            assert float(found.kernel(t, s)) == pytest.approx(float(same.recurrence(STEPS).kernel(t, s)), abs=1e-6)


def test_an_average_without_bias_has_a_kernel_of_its_own() -> None:
    transformation = optax.chain(optax.ema(0.5), optax.scale(-1.0))
    found = fd.from_optax(transformation, steps=4)
    rng = np.random.default_rng(0)
    gradients, params = rng.normal(size=4), jnp.zeros(())
    state, moved = transformation.init(params), 0.0
    for gradient in gradients:
        update, state = transformation.update(jnp.asarray(gradient), state, params)
        moved += float(update)
    expected = -sum(float(found.kernel(4, s)) * gradients[s] for s in range(4))
    assert moved == pytest.approx(expected, rel=1e-5)


def last_gradients(number):
    """Return the transformation whose update is the mean of a number of last gradients."""

    def update(gradient, state, params=None):
        state = jnp.concatenate([gradient[None], state[:-1]])
        return -state.mean(axis=0), state

    return optax.GradientTransformation(lambda params: jnp.zeros((number, *params.shape)), update)


@pytest.mark.parametrize(
    ("transformation", "memories"),
    [
        (optax.chain(optax.trace(0.5), optax.trace(0.9), optax.scale(-0.1)), 2),
        (optax.chain(optax.trace(0.5), optax.trace(0.5), optax.trace(0.5), optax.scale(-1.0)), 3),
        (optax.chain(optax.trace(0.9, nesterov=True), optax.ema(0.3), optax.sgd(WARM)), 2),
        (last_gradients(4), 3),
    ],
)
def test_several_memories(transformation, memories) -> None:
    """The kernel is that of updates by definition, and simulated runs are those of the transformation itself."""
    found = fd.from_optax(transformation, steps=12)
    assert found.measured.memories == memories
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        gradients, params = jnp.array(rng.normal(size=12)), jnp.zeros(())
        state, moved = transformation.init(params), [0.0]
        for gradient in gradients:
            update, state = transformation.update(gradient, state, params)
            moved.append(moved[-1] - float(update))
    for t in range(13):
        assert moved[t] == pytest.approx(sum(found.kernel(t, s) * float(gradients[s]) for s in range(t)), abs=1e-9)
    weights = rng.normal(size=12)
    expected = [sum(weights[t - 1] * found.kernel(t, s) for t in range(1, 13)) for s in range(12)]
    np.testing.assert_allclose(found.realization(12).to_average(weights), expected, atol=1e-12)
    assert found.over_steps(7).kernel(7, 2) == found.kernel(7, 2)
    with pytest.raises(fd.ArgumentError, match=f"{memories} memories of gradients.*simulate real runs"):
        fd.expand("test_loss", order=1, spacetime=fd.Spacetime.gd(2, 12), optimizer=found)


def test_simulated_runs_with_several_memories(tmp_path) -> None:
    """Full batches of one point have no noise: a run is the transformation on the loss, at every step."""
    transformation = optax.chain(optax.trace(0.5), optax.ema(0.3), optax.scale(-1.0))
    optimizer, rate = fd.from_optax(transformation, steps=9), 0.05
    landscape = fd.Landscape(lambda theta, x: jnp.sum(jnp.cosh(theta - x)), np.array([0.3]))
    start = jnp.array([1.0, -0.5])
    given = {"optimizer": optimizer, "times": "all", "runs": 2, "key": jax.random.key(0)}
    curves = fd.simulate(landscape, start, fd.Spacetime.gd(1, 9), rate, **given)
    params, state, losses = start, transformation.init(start), []
    for _ in range(10):
        loss, gradient = jax.value_and_grad(landscape.mean_loss)(params)
        losses.append(float(loss))
        update, state = transformation.update(gradient, state, params)
        params = params + rate * update
    np.testing.assert_allclose(curves.mean[0], losses, rtol=2e-6)
    curves.save(tmp_path / "curves")
    assert fd.SimulatedCurves.load(tmp_path / "curves").optimizer == optimizer


@pytest.mark.parametrize(
    ("transformation", "says"),
    [
        (optax.adam(0.1), "not linear in the gradients"),
        (optax.sign_sgd(0.1), "not linear in the gradients"),
        (optax.lion(0.1, weight_decay=0.0), "not linear"),
        (optax.adamw(0.1), "moves without a gradient"),
        (optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1)), "put the penalty into the loss"),
        (optax.chain(optax.clip(1.0), optax.sgd(0.1)), "not linear"),
        (optax.chain(optax.clip_by_global_norm(1e3), optax.sgd(0.1)), r"1e\+08 times as large"),
        (
            optax.normalized_gradient_descent(0.1)
            if hasattr(optax, "normalized_gradient_descent")
            else optax.rmsprop(0.1),
            "not linear",
        ),
        (last_gradients(20), "more than 16 memories"),
        (3.0, "GradientTransformation"),
    ],
)
def test_what_has_no_kernel_is_refused_with_the_reason(transformation, says: str) -> None:
    with pytest.raises(fd.ArgumentError, match=says):
        fd.from_optax(transformation, steps=5 * STEPS)


def test_kernels_are_known_for_the_steps_that_were_measured() -> None:
    found = fd.from_optax(optax.sgd(1.0, momentum=0.5), steps=4)
    assert len(found.recurrence(3).direct) == 3
    with pytest.raises(fd.ArgumentError, match=r"measured over 4 steps, and the run has T=5"):
        found.recurrence(5)
