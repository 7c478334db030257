"""GDC inside and beside what optax has for composing optimizers: right against the whole batch, or refused."""

from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feyngd as fd
from feyngd.training import GDCState, gdc, gdc_gradient, gdc_loss

RATE = 0.1
X, Y = jnp.linspace(-1, 2, 8), jnp.cos(jnp.linspace(-3, 6, 8))
HALVES = slice(0, 4), slice(4, 8)
PARAMS = {"a": jnp.array([0.3, -0.2]), "b": jnp.array(0.1), "c": {"d": jnp.array(0.7)}}


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def loss(params, example):
    x, y = example
    inner = jnp.tanh(params["a"][0] * x + params["b"]) * params["c"]["d"] + params["a"][1] * x**2
    return 0.5 * (inner - y) ** 2


def arrays():
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, float), (PARAMS, (X, Y)))


def mean_gradient(params, batch):
    return jax.grad(lambda p: jnp.mean(jax.vmap(partial(loss, p))(batch)))(params)


def penalty_gradient(params, batch, seen=lambda params: params, b=1):
    """The penalty's gradient from its definition, of the covariance by the parameters that `seen` picks."""
    size = len(batch[0])

    def penalty(params):
        gradients = seen(jax.vmap(partial(jax.grad(loss), params))(batch))
        noise = sum(jnp.sum(jnp.var(leaf, axis=0, ddof=1)) for leaf in jax.tree.leaves(gradients))
        return RATE / 4 * (1 / b - 1 / size) * noise

    return jax.grad(penalty)(params)


def assert_close(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12), ours, theirs)


def plus(*trees):
    return jax.tree.map(lambda *leaves: sum(leaves), *trees)


def times(factor, tree):
    return jax.tree.map(lambda leaf: factor * leaf, tree)


def one_step(optimizer, params, batch, compiled=True, **extra):
    update = jax.jit(optimizer.update) if compiled else optimizer.update
    return update(mean_gradient(params, batch), optimizer.init(params), params, batch=batch, **extra)


# --- parameters that are hidden -----------------------------------------------------------------------------------

TRAINED = {"a": True, "b": False, "c": True}  # a prefix of the parameters
LABELS = {"a": "train", "b": "freeze", "c": "train"}


def trained(tree):
    return tree["a"], tree["c"]


def frozen():
    optimizer = optax.chain(gdc(loss, RATE), optax.sgd(RATE))
    return optax.partition({"train": optimizer, "freeze": optax.set_to_zero()}, LABELS)


@pytest.mark.parametrize("compiled", [False, True])
def test_masked_parameters_are_constants(compiled):
    params, batch = arrays()
    updates, state = one_step(optax.masked(gdc(loss, RATE), TRAINED), params, batch, compiled, all_params=params)
    plain, expected = mean_gradient(params, batch), penalty_gradient(params, batch, trained)
    assert_close(trained(updates), plus(trained(plain), trained(expected)))
    assert_close(updates["b"], plain["b"])
    assert isinstance(state.inner_state, GDCState)


def test_frozen_parameters_are_those_of_a_smaller_model():
    """The penalty is that of the loss as a function of the trained parameters alone."""
    params, batch = arrays()
    updates, _ = one_step(frozen(), params, batch, all_params=params)

    def smaller(seen, example):
        return loss({**params, "a": seen[0], "c": seen[1]}, example)

    expected = gdc_gradient(smaller, trained(params), batch, learning_rate=RATE)
    assert_close(trained(updates), times(-RATE, expected))
    assert_close(updates["b"], jnp.zeros(()))


def test_every_group_has_its_own_covariance():
    params, batch = arrays()
    groups = {name: optax.chain(gdc(loss, RATE), optax.sgd(RATE)) for name in ("train", "freeze")}
    updates, _ = one_step(optax.partition(groups, LABELS), params, batch, all_params=params)
    plain = mean_gradient(params, batch)
    first, second = (penalty_gradient(params, batch, seen) for seen in (trained, lambda tree: tree["b"]))
    assert_close(updates, times(-RATE, plus(plain, {**first, "b": second["b"]})))


def test_masks_of_functions_and_of_nothing():
    params, batch = arrays()
    plain = mean_gradient(params, batch)
    scalars = optax.masked(gdc(loss, RATE), lambda tree: jax.tree.map(lambda leaf: leaf.ndim == 0, tree))
    updates, _ = one_step(scalars, params, batch, all_params=params)
    expected = penalty_gradient(params, batch, lambda tree: (tree["b"], tree["c"]))
    assert_close(updates, plus(plain, {**expected, "a": jnp.zeros(2)}))
    nothing = optax.masked(gdc(loss, RATE), {"a": False, "b": False, "c": False})
    assert_close(one_step(nothing, params, batch)[0], plain)
    everything = optax.masked(gdc(loss, RATE), {"a": True, "b": True, "c": True})
    assert_close(one_step(everything, params, batch)[0], plus(plain, penalty_gradient(params, batch)))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("optimizer", [frozen(), optax.masked(gdc(loss, RATE), TRAINED)])
def test_hidden_parameters_are_asked_for(optimizer, compiled):
    with pytest.raises(fd.ArgumentError, match="all_params=params"):
        one_step(optimizer, *arrays(), compiled)


def test_what_hides_too_much_is_refused():
    params, batch = arrays()
    optimizer = optax.masked(gdc(loss, RATE), TRAINED, mask_compatible_extra_args=True)
    with pytest.raises(fd.ArgumentError, match="mask_compatible_extra_args=False"):
        one_step(optimizer, params, batch, all_params=params)
    alike = gdc(lambda p, example: p["a"] * example["a"] + p["b"] * example["b"], RATE)
    hidden = optax.masked(alike, {"a": True, "b": False}, mask_compatible_extra_args=True)
    two, examples = {"a": jnp.ones(()), "b": jnp.ones(())}, {"a": jnp.ones(3), "b": jnp.ones(3)}
    with pytest.raises(fd.ArgumentError, match="masked `all_params` or `batch` too"):
        hidden.update(two, hidden.init(two), two, batch=examples)
    with pytest.raises(fd.ArgumentError, match="all_params is not like the parameters"):
        one_step(optax.masked(gdc(loss, RATE), TRAINED), params, batch, all_params={"a": params["a"]})


# --- accumulated gradients ----------------------------------------------------------------------------------------


def inner(**options):
    return optax.chain(gdc(loss, RATE, **options), optax.sgd(RATE))


def before(**options):
    after = optax.MultiSteps(optax.sgd(RATE), 2, accumulator_dtype=jnp.float64)
    return optax.chain(gdc(loss, RATE, **options), after.gradient_transformation())


def in_parts(optimizer, parts=HALVES, whole=False, compiled=False):
    """Return the last update of a batch in parts, and the state."""
    params, batch = arrays()
    update, state = jax.jit(optimizer.update) if compiled else optimizer.update, optimizer.init(params)
    for part in parts:
        some = jax.tree.map(lambda leaf, part=part: leaf[part], batch)
        updates, state = update(mean_gradient(params, some), state, params, batch=batch if whole else some)
    return updates, state


ACCUMULATED = {
    "inside": lambda: optax.MultiSteps(inner(), 2),
    "inside, one deeper": lambda: optax.MultiSteps(optax.named_chain(("a", inner()), ("b", optax.identity())), 2),
    "a schedule": lambda: optax.MultiSteps(inner(), lambda step: 2 + 0 * step),
    "skipping": lambda: optax.MultiSteps(inner(), 2, should_skip_update_fn=optax.skip_not_finite),
    "before": before,
    "before, one deeper": lambda: optax.chain(optax.chain(gdc(loss, RATE)), optax.named_chain(("m", before()))),
    "apply_every": lambda: optax.chain(inner(), optax.apply_every(2)),
    "apply_every before": lambda: optax.chain(optax.apply_every(2), inner()),
    "only one in a partition": lambda: optax.partition({"all": before()}, "all"),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", ACCUMULATED)
def test_accumulation_is_refused_where_a_step_is_not_known(name, compiled):
    with pytest.raises(fd.ArgumentError, match=r"penalty .*not that of|learning_rate=…"):
        in_parts(ACCUMULATED[name](), compiled=compiled)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (lambda: optax.MultiSteps(inner(batch_size=8), 2), "Give every call the whole batch"),
        (lambda: optax.MultiSteps(inner(batch_size=8), 2, use_grad_mean=False), "use_grad_mean"),
        (lambda: optax.chain(inner(batch_size=8), optax.apply_every(2)), "apply_every"),
        (
            lambda: optax.chain(optax.MultiSteps(optax.identity(), 2).gradient_transformation(), inner(batch_size=8)),
            "Put GDC before",
        ),
        (lambda: inner(batch_size=6), "parts of equal size"),
        (lambda: inner(batch_size=8, emulate_batch_size=9), "from 1 to 8"),
    ],
)
def test_a_step_that_is_known_does_not_excuse_everything(optimizer, message):
    with pytest.raises(fd.ArgumentError, match=message):
        in_parts(optimizer())


def test_the_whole_batch_in_every_call_is_exact():
    params, batch = arrays()
    updates, state = in_parts(
        optax.MultiSteps(inner(batch_size=8), 2, accumulator_dtype=jnp.float64), whole=True, compiled=True
    )
    assert_close(updates, times(-RATE, plus(mean_gradient(params, batch), penalty_gradient(params, batch))))
    assert int(state.inner_opt_state[0].step) == 1


@pytest.mark.parametrize("b", [2, 6])
def test_parts_are_right_on_average_over_all_of_them(b):
    """The mean over all ways to halve eight examples, of the mean of the halves, is that of the eight."""
    params, batch = arrays()
    options = {"learning_rate": RATE, "batch_size": 8, "emulate_batch_size": b}
    halves = np.array(list(combinations(range(8), 4)))

    @jax.jit
    def both(params, batch):
        parts = jax.tree.map(lambda leaf: leaf[halves], batch)
        gradients = jax.vmap(lambda part: gdc_gradient(loss, params, part, **options))(parts)
        values = jax.vmap(lambda part: gdc_loss(loss, params, part, **options))(parts)
        return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), (gradients, values))

    gradient, value = both(params, batch)
    assert_close(gradient, plus(mean_gradient(params, batch), penalty_gradient(params, batch, b=b)))
    whole = gdc_loss(loss, params, batch, learning_rate=RATE, emulate_batch_size=b)
    assert float(value) == pytest.approx(float(whole), rel=1e-12)


def test_before_accumulation_the_parts_are_averaged():
    params, batch = arrays()
    halves = [jax.tree.map(lambda leaf, half=half: leaf[half], batch) for half in HALVES]
    expected = [gdc_gradient(loss, params, half, learning_rate=RATE, batch_size=8) for half in halves]
    updates, _ = in_parts(before(batch_size=8), compiled=True)
    assert_close(updates, times(-RATE / 2, plus(*expected)))
    same = [jax.tree.map(lambda g, p: g + p * (1 - 1 / 8) / (1 - 1 / 4), mean_gradient(params, half),
                         penalty_gradient(params, half)) for half in halves]  # fmt: skip
    assert_close(updates, times(-RATE / 2, plus(*same)))


def test_a_schedule_counts_steps_and_not_parts():
    params, batch = arrays()
    some = jax.tree.map(lambda leaf: leaf[:4], batch)
    transformation = gdc(loss, lambda step: jnp.where(step < 1, 0.0, 0.4), batch_size=8)
    state, zeros = transformation.init(params), jax.tree.map(jnp.zeros_like, params)
    sizes = []
    for _ in range(4):
        updates, state = transformation.update(zeros, state, params, batch=some)
        sizes.append(float(jnp.abs(updates["b"])))
    assert sizes[:2] == [0.0, 0.0]
    assert sizes[2] == sizes[3] > 0


# --- everything else ----------------------------------------------------------------------------------------------


def clipped(tree, limit):
    return times(min(1.0, limit / float(optax.tree.norm(tree))), tree)


def test_chains_with_clipping():
    """What stands before GDC changes the gradient alone, what stands after it the sum."""
    params, batch = arrays()
    plain, penalty = mean_gradient(params, batch), penalty_gradient(params, batch)
    limit = 0.5 * float(optax.tree.norm(plain))
    clip = optax.clip_by_global_norm(limit)
    assert_close(
        one_step(optax.chain(clip, inner()), params, batch)[0], times(-RATE, plus(clipped(plain, limit), penalty))
    )
    after = one_step(optax.chain(gdc(loss, RATE), clip, optax.sgd(RATE)), params, batch)[0]
    assert_close(after, times(-RATE, clipped(plus(plain, penalty), limit)))
    adaptive = optax.adaptive_grad_clip(0.05)
    by_hand, _ = adaptive.update(plus(plain, penalty), adaptive.init(params), params)
    assert_close(one_step(optax.chain(gdc(loss, RATE), adaptive), params, batch)[0], by_hand)


WRAPPED = {
    "apply_if_finite": lambda: optax.apply_if_finite(inner(), 3),
    "conditionally_transform": lambda: optax.conditionally_transform(inner(), lambda step: step < 1),
    "conditionally_mask": lambda: optax.conditionally_mask(inner(), lambda step: step < 1),
    "named_chain": lambda: optax.named_chain(("gdc", gdc(loss, RATE)), ("sgd", optax.sgd(RATE))),
    "with_extra_args_support": lambda: optax.with_extra_args_support(inner()),
    "flattened after": lambda: optax.chain(gdc(loss, RATE), optax.flatten(optax.sgd(RATE))),
    "inject_hyperparams": lambda: optax.inject_hyperparams(
        lambda eta: optax.chain(gdc(loss, eta), optax.sgd(eta)), hyperparam_dtype=jnp.float64
    )(eta=RATE),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers_that_hand_everything_on(name):
    params, batch = arrays()
    expected = times(-RATE, plus(mean_gradient(params, batch), penalty_gradient(params, batch)))
    assert_close(one_step(WRAPPED[name](), params, batch)[0], expected)


def test_apply_if_finite_skips_the_step():
    params, batch = arrays()
    optimizer = optax.apply_if_finite(inner(), 3)
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, params)
    updates, state = jax.jit(optimizer.update)(broken, optimizer.init(params), params, batch=batch)
    assert_close(updates, jax.tree.map(jnp.zeros_like, params))
    assert int(state.inner_state[0].step) == 0


def test_schedule_free_gets_the_step_of_its_own_point():
    params, batch = arrays()
    optimizer = optax.contrib.schedule_free(inner(), learning_rate=RATE)
    by_hand = optax.contrib.schedule_free(optax.sgd(RATE), learning_rate=RATE)
    gradient = plus(mean_gradient(params, batch), penalty_gradient(params, batch))
    expected, _ = jax.jit(by_hand.update)(gradient, by_hand.init(params), params)
    assert_close(one_step(optimizer, params, batch)[0], expected)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (lambda: optax.flatten(inner()), "optax.flatten"),
        (lambda: optax.chain(optax.flatten(gdc(loss, RATE)), optax.sgd(RATE)), "outside of it"),
        (
            lambda: optax.chain(optax.MultiSteps(inner(), 2).gradient_transformation(), optax.identity()),
            "do not hand on the batch",
        ),
        (
            lambda: optax.inject_hyperparams(lambda eta: optax.MultiSteps(inner(), 2))(eta=RATE),
            "do not hand on the batch",
        ),
    ],
)
def test_wrappers_that_do_not_are_refused(optimizer, message):
    with pytest.raises(fd.ArgumentError, match=message):
        one_step(optimizer(), *arrays())


def test_lookahead_is_refused():
    params, batch = arrays()
    optimizer = optax.chain(optax.lookahead(inner(), 2, 0.5))
    both = optax.LookaheadParams.init_synced(params)
    with pytest.raises(fd.ArgumentError, match=r"optax\.lookahead"):
        optimizer.update(mean_gradient(params, batch), optimizer.init(both), both, batch=batch)


def test_a_flat_vector_is_no_matrix():
    """A loss that takes both would silently be another one."""
    optimizer = optax.flatten(gdc(lambda w, x: jnp.sum(w * x) ** 2, RATE))
    params = jnp.ones((3, 1))
    with pytest.raises(fd.ArgumentError, match=r"optax\.flatten"):
        optimizer.update(params, optimizer.init(params), params, batch=jnp.ones((4, 3)))


def test_gradients_of_single_examples_are_refused():
    params, batch = arrays()
    transformation = gdc(loss, RATE)
    single = jax.vmap(partial(jax.grad(loss), params))(batch)
    with pytest.raises(fd.ArgumentError, match="not to those of single examples"):
        transformation.update(single, transformation.init(params), params, batch=batch)
    with pytest.raises(fd.ArgumentError, match="not like the parameters"):
        transformation.update(single["a"], transformation.init(params), params, batch=batch)


def test_two_halves_of_a_batch_of_eight():
    """What was reported: −0.0415 by the last half alone, where the batch has −0.0185."""

    def slope(p, example):
        return 0.5 * (jnp.tanh(p * example[0]) - example[1]) ** 2

    def mean(p, batch):
        return jnp.mean(jax.vmap(slope, (None, 0))(p, batch))

    _, batch = arrays()
    p, halves = jnp.array(0.3), [jax.tree.map(lambda leaf, half=half: leaf[half], batch) for half in HALVES]
    optimizer = optax.MultiSteps(optax.chain(gdc(slope, RATE, batch_size=8), optax.sgd(RATE)), 2)
    state = optimizer.init(p)
    for half in halves:
        updates, state = optimizer.update(jax.grad(mean)(p, half), state, p, batch=batch)
    assert float(-updates / RATE - jax.grad(mean)(p, batch)) == pytest.approx(-0.0185, abs=5e-5)
