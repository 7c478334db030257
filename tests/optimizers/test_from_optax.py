"""Kernels of optax transformations: read off, and refused where there is none."""

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
        (optax.chain(optax.trace(0.5), optax.trace(0.9)), "more than one memory"),
        (3.0, "GradientTransformation"),
    ],
)
def test_what_has_no_kernel_is_refused_with_the_reason(transformation, says: str) -> None:
    with pytest.raises(fd.ArgumentError, match=says):
        fd.from_optax(transformation, steps=STEPS)


def test_kernels_are_known_for_the_steps_that_were_measured() -> None:
    found = fd.from_optax(optax.sgd(1.0, momentum=0.5), steps=4)
    assert len(found.recurrence(3).direct) == 3
    with pytest.raises(fd.ArgumentError, match=r"measured over 4 steps, and the run has T=5"):
        found.recurrence(5)
