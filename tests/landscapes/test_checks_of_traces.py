"""Checks of the trace of a loss: raw errors have a cause and a cure, and what cannot be differentiated is refused."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from feyngd.errors import ArgumentError, LandscapeError
from feyngd.landscapes.checks import (
    check_depends_on_params,
    check_forward_mode,
    check_no_constant_key,
    check_reverse_mode,
    trace_loss,
)

W = jnp.arange(1.0, 4.0)
EXAMPLE = (jax.ShapeDtypeStruct((3,), jnp.float32), jax.ShapeDtypeStruct((), jnp.float32))
KEY, RAW = jax.random.key(0), jax.random.PRNGKey(1)
HERE = r"at test_checks_of_traces\.py:\d+ "


def traced(loss, params=W, example=EXAMPLE):
    return trace_loss(loss, params, example)


@jax.custom_vjp
def half_square(r):
    return 0.5 * r**2


half_square.defvjp(lambda r: (half_square(r), r), lambda r, g: (g * r,))


@jax.custom_jvp
def straight_through(x):
    return jnp.where(x > 0, 1.0, -1.0)


straight_through.defjvp(lambda primals, tangents: (straight_through(*primals), tangents[0]))


@jax.custom_jvp
def sine_by_callback(x):
    return called_back(x)


sine_by_callback.defjvp(lambda primals, tangents: (sine_by_callback(*primals), jnp.cos(primals[0]) * tangents[0]))


def called_back(x):
    return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), jnp.float32), x)


def scanned(function):
    """A loss that carries its first parameter through a scan of a function."""

    def loss(w, example):
        return jax.lax.scan(lambda c, x: (function(c * x), None), w[0], example[0])[0]

    return loss


# --- raw errors ----------------------------------------------------------------------------------


class Stale:
    seen = ()

    def leak(self, w, example):
        self.seen = (*self.seen, w)
        return example[1] * jnp.sum(w + self.seen[0])


class Dropping(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dropout(0.5, deterministic=False)(nn.Dense(1)(x))[0]


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=False)(nn.Dense(1)(x))[0, 0]


class Counting(nnx.Module):
    def __init__(self, rngs):
        self.linear, self.dropout = nnx.Linear(3, 1, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)


DROPPING = Dropping().init({"params": KEY, "dropout": KEY}, W)
NORMED = Normed().init(KEY, W[None])
COUNTING = Counting(nnx.Rngs(0))
DENSE = nn.Dense(1).init(KEY, W)


@pytest.mark.parametrize(
    ("loss", "params", "message"),
    [
        (lambda w, e: w @ e[0], jnp.ones(4), r"TypeError " + HERE + r".*\(4,\) and \(3,\).*params: float32\[4\]"),
        (lambda w, e: e[0] @ w["v"], {"w": W}, r"KeyError.*'v'.*params\['w'\]: float32\[3\].*names"),
        (lambda e, w: e[0] @ w, W, r"arguments swapped: define loss\(params, example\)"),
        (lambda w: w.sum(), W, "takes two arguments"),
        (lambda w, x, y: w @ x - y, W, "takes two arguments"),
        (lambda w, e: jnp.mean((jnp.einsum("bi,i->b", e[0], w) - e[1]) ** 2), W, "batch of one.*leaf.None."),
        (lambda w, e: w[0] if w[1] > 0 else w[2], W, r"jnp\.where or jax\.lax\.cond"),
        (lambda w, e: float(w[0]), W, r"jnp\.where or jax\.lax\.cond"),
        (lambda w, e: np.sin(w[0]), W, r"TracerArrayConversionError.*use jax\.numpy"),
        (lambda w, e: [1.0, 2.0][e[1].astype(int)] * w[0], W, r"jnp\.take"),
        (lambda w, e: w[w > 0].sum(), W, r"jnp\.where\(mask, x, 0\)"),
        (lambda w, e: "loss", W, "Return one real number"),
        (lambda w, e: e.target * w[0], W, "AttributeError.*no attribute 'target'"),
        (lambda w, e: w[0] / 0, {"a": W}, r"params\['a'\]"),
        (lambda w, e: Dropping().apply(w, e[0]), DROPPING, r"InvalidRngError.*for \"dropout\"\..*deterministic=True"),
        (lambda w, e: Normed().apply(w, e[0][None]), NORMED, "ModifyScopeVariableError.*running averages"),
        (
            lambda w, e: Normed().apply({"params": w["params"]}, e[0][None]),
            NORMED,
            r"ScopeCollectionNotFound.*Close over what is not trained",
        ),
        (lambda w, e: nn.Dense(1).apply(w, e[0])[0], NORMED, "ScopeParamNotFoundError.*init made for this model"),
        (
            lambda w, e: COUNTING.dropout(COUNTING.linear(e[0]))[0] * w[0],
            W,
            r"TraceContextError.*nnx\.merge\(graph, params, rest, copy=True\)",
        ),
        (lambda w, e: w[0, 0, 0], {f"layer_{i:02}": W for i in range(11)}, r"layer_07.*, 3 more; example\[0\]"),
    ],
)
def test_an_error_in_a_loss_has_a_cause_and_a_cure(loss, params, message):
    with pytest.raises(LandscapeError, match=rf"(?s)^loss\(params, example\) raised .*{message}") as caught:
        traced(loss, params)
    assert caught.value.__cause__ is not None


def test_a_traced_value_that_was_kept_is_found():
    stale = Stale()
    traced(stale.leak)
    with pytest.raises(LandscapeError, match=r"UnexpectedTracerError.*return values instead"):
        traced(stale.leak)


def test_a_loss_may_close_over_what_is_being_differentiated():
    def traced_inside(q):
        traced(lambda w, e: e[1] * (w @ e[0]) * q)
        return q

    assert jax.jit(jax.grad(traced_inside))(2.0) == 1.0


def test_errors_that_a_model_raises_on_purpose_stay_what_they_are():
    def loss(w, example):
        raise ArgumentError("A label is one integer class.")

    with pytest.raises(ArgumentError) as caught:
        traced(loss)
    assert str(caught.value) == "A label is one integer class."


@pytest.mark.parametrize(
    ("loss", "message"),
    [(lambda w, e: None, "NoneType of 0 arrays"), (lambda w, e: w, r"shape \(3,\)"), (lambda w, e: 3, "dtype int32")],
)
def test_a_loss_returns_one_real_number(loss, message):
    with pytest.raises(LandscapeError, match=message):
        traced(loss)


def test_a_loss_is_traced_anew_and_jax_keeps_no_trace_under_the_function():
    state = {"decay": 0.0}

    def loss(w, example):
        return example[1] * w[0] + state["decay"] * jnp.sum(w)

    before = traced(loss)
    state["decay"] = 5.0
    assert str(before) != str(traced(loss))
    assert jax.jit(loss)(W, (W, jnp.array(1.0))) == 31.0


# --- dependence on the parameters ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda w, e: e[1] ** 2, "depends on the example alone; are the arguments swapped"),
        (lambda w, e: jnp.sum(e[0]), "depends on the example alone; are the arguments swapped"),
        (lambda w, e: jnp.asarray(3.0), r"does not depend on the parameters, so that there is nothing to train\. Use"),
        (lambda w, e: e[1] + 0 * W[0], "does not depend on the parameters"),
        (lambda w, e: jnp.sum(jax.lax.stop_gradient(w)) * e[1], "gradient of the loss is 0 everywhere.*stop_gradient"),
        (lambda w, e: jnp.mean((w > e[0]).astype(float)), "count of errors"),
        (lambda w, e: jnp.argmax(w).astype(float) * e[1], "count of errors"),
        (lambda w, e: jax.lax.cond(w[0] > 0, lambda: 1.0, lambda: 2.0), "gradient of the loss is 0 everywhere"),
        (jax.jit(lambda w, e: jax.lax.stop_gradient(w[0])), "gradient of the loss is 0 everywhere"),
        (
            lambda w, e: jax.lax.while_loop(lambda c: c[0] < 3 * w[0], lambda c: (c[0] + 1, c[1] * 2), (0.0, e[1]))[1],
            "gradient of the loss is 0 everywhere",
        ),
        # The parameter decides in the second turn whether there is a third.
        (
            lambda w, e: jax.lax.while_loop(
                lambda c: c[0] < 3.0, lambda c: (c[1], c[1] + w[0], c[2] * 2), (0.0, 1.0, e[1])
            )[2],
            "gradient of the loss is 0 everywhere",
        ),
        (
            lambda w, e: jax.lax.scan(lambda c, x: ((c[0] * x, c[1] + 1.0), None), (w[0], e[1]), e[0])[0][1],
            "depends on the example alone",
        ),
    ],
)
def test_a_loss_that_nothing_can_be_trained_on_is_refused(loss, message):
    with pytest.raises(LandscapeError, match=message):
        check_depends_on_params(traced(loss), 1)


@pytest.mark.parametrize(
    "loss",
    [
        lambda w, e: w[0],
        lambda w, e: straight_through(w[0]) * e[1],
        lambda w, e: half_square(w[0]),
        lambda w, e: jnp.where(e[1] > 0, w[0], 0.0),
        lambda w, e: w[0] - jax.lax.stop_gradient(w[0]),
        jax.checkpoint(scanned(jnp.tanh)),
        # The parameter reaches what is returned only in the second turn.
        lambda w, e: jax.lax.scan(lambda c, x: ((w[0] * x, c[0]), None), (e[1], e[1]), e[0])[0][1],
        lambda w, e: jax.lax.cond(e[1] > 0, lambda v: v, lambda v: e[1], w[0]),
        lambda w, e: jax.lax.fori_loop(0, e[1].astype(int), lambda i, c: c * w[0], e[1]),
    ],
)
def test_a_loss_that_depends_on_its_parameters_passes(loss):
    check_depends_on_params(traced(loss), 1)


def test_one_of_many_parameters_is_enough():
    check_depends_on_params(traced(lambda w, e: w["b"] * e[1], {"a": W, "b": W[0], "c": W}), 3)


# --- derivatives ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [
        lambda w, e: half_square(w @ e[0] - e[1]),
        lambda w, e: jnp.sum(jax.vmap(half_square)(w)),
        scanned(half_square),
        jax.jit(scanned(half_square)),
        jax.checkpoint(scanned(half_square)),
        lambda w, e: jax.lax.cond(e[1] > 0, half_square, lambda v: v, w[0]),
        lambda w, e: jax.lax.while_loop(lambda c: c < 9.0, half_square, w[0]),
        # JAX also differentiates what the result does not depend on.
        lambda w, e: w[0] + jax.lax.stop_gradient(half_square(w[1])),
        lambda w, e: jnp.where(half_square(w[0]) > 1, w[1], w[2]),
        lambda w, e: (half_square(w[0]), w[1])[1],
    ],
)
def test_derivatives_in_reverse_mode_only_are_refused_with_name_and_line(loss):
    with pytest.raises(LandscapeError, match=f"calls half_square {HERE}.*custom_vjp.*jax.custom_jvp instead"):
        check_forward_mode(traced(loss), 1)


@pytest.mark.parametrize(
    "loss",
    [
        lambda w, e: half_square(e[1]) * w[0],
        lambda w, e: w[0] + half_square(jax.lax.stop_gradient(w[1])),
        lambda w, e: w[0] + half_square((w[1] > 0).astype(float)),
        lambda w, e: straight_through(w[0]),
        lambda w, e: jax.nn.logsumexp(w) + jnp.sum(jax.nn.gelu(w)) + jax.nn.relu(w[0]),
        scanned(jnp.tanh),
    ],
)
def test_what_is_not_differentiated_or_has_both_modes_passes(loss):
    def slope(w, example):
        return jax.jvp(lambda w: loss(w, example), (w,), (w,))[1]

    jax.eval_shape(jax.grad(slope), W, EXAMPLE)
    check_forward_mode(traced(loss), 1)
    check_reverse_mode(traced(loss), 1)


def test_the_incomplete_gamma_function_has_no_second_derivative_by_its_shape():
    with pytest.raises(LandscapeError, match=f"incomplete gamma function {HERE}"):
        check_forward_mode(traced(lambda w, e: jax.scipy.special.gammaincc(w[0], 1.0)), 1)
    check_reverse_mode(traced(lambda w, e: jax.scipy.special.gammaincc(w[0], 1.0)), 1)
    check_forward_mode(traced(lambda w, e: jax.scipy.special.gammainc(1.0, w[0])), 1)


def test_a_derivative_in_reverse_mode_is_a_gradient():
    check_reverse_mode(traced(lambda w, e: half_square(w[0])), 1)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda w, e: jax.lax.while_loop(lambda c: c < 9.0, lambda c: 2 * c, w[0]), "turns is not known.*fori_loop"),
        (lambda w, e: jax.lax.while_loop(lambda c: c < 9.0, lambda c: c * w[0], e[1]), "turns is not known"),
        (lambda w, e: jax.lax.fori_loop(0, e[1].astype(int), lambda i, c: c * w[0], e[1]), "turns is not known"),
        (jax.jit(lambda w, e: jax.lax.fori_loop(0, e[1].astype(int), lambda i, c: c * w[0], 1.0)), "Python integers"),
        (lambda w, e: called_back(w[0]), "pure_callback.*no derivative.*custom_jvp"),
        (lambda w, e: jnp.nextafter(w[0], 0.0), "nextafter.*no derivative"),
        (lambda w, e: jax.scipy.special.betainc(w[0], 1.0, 0.5), "regularized_incomplete_beta.*no derivative"),
        (lambda w, e: (called_back(w[0]), w[1])[1], "pure_callback.*no derivative"),
        (lambda w, e: w[0] + jax.lax.stop_gradient(jnp.nextafter(w[0], 0.0)), "nextafter.*no derivative"),
        (
            lambda w, e: w[0] * jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, 2 * c[1]), (0, w[1]))[0],
            "turns is not known",
        ),
    ],
)
def test_what_has_no_gradient_is_refused_with_its_line(loss, message):
    with pytest.raises(LandscapeError, match=f"(?s){HERE}.*"):
        check_reverse_mode(traced(loss), 1)
    with pytest.raises(LandscapeError, match=f"(?s){message}"):
        check_reverse_mode(traced(loss), 1)


@pytest.mark.parametrize(
    "loss",
    [
        lambda w, e: w[0] * jax.lax.while_loop(lambda c: c < 9.0, lambda c: 2 * c, e[1]),
        lambda w, e: w[0] * jax.lax.while_loop(lambda c: c < w[1], lambda c: 2 * c, e[1]),
        lambda w, e: w[0] * called_back(e[1]),
        lambda w, e: jax.scipy.special.betainc(1.0, 2.0, w[0]),
        lambda w, e: sine_by_callback(w[0]),
        lambda w, e: jnp.sum(jax.scipy.sparse.linalg.cg(2 * jnp.eye(3), w)[0]),
        lambda w, e: jnp.linalg.norm(jnp.linalg.qr(jnp.outer(w, e[0]) + jnp.eye(3))[1]),
        lambda w, e: jax.lax.fori_loop(0, 3, lambda i, c: c * w[0], e[1]),
        lambda w, e: jax.lax.switch(e[1].astype(int), [jnp.sin, jnp.cos], w[0]),
    ],
)
def test_what_has_a_gradient_passes(loss):
    trace = traced(loss)
    jax.eval_shape(jax.grad(loss), W, EXAMPLE)
    check_reverse_mode(trace, 1)


def test_lines_are_those_of_this_loss_though_jax_keeps_traces_of_its_own_functions():
    losses = [
        lambda w, e: w[0] * jax.random.uniform(KEY, (7,))[0],
        lambda w, e: w[0] * jax.random.uniform(KEY, (7,))[0] + 1,
    ]
    for loss in losses:
        line = loss.__code__.co_firstlineno
        with pytest.raises(LandscapeError, match=rf"test_checks_of_traces\.py:{line} "):
            check_no_constant_key(traced(loss))


# --- constant keys -------------------------------------------------------------------------------


def drawn_in_a_loop(w, example):
    def turn(carry, x):
        key, total = carry
        key, mine = jax.random.split(key)
        return (key, total + x * jax.random.normal(mine)), None

    return jax.lax.scan(turn, (jax.random.key(0), w[0]), example[0])[0][1]


@pytest.mark.parametrize(
    "loss",
    [
        lambda w, e: jnp.sum(w * e[0] * jax.random.bernoulli(KEY, 0.5, (3,))),
        lambda w, e: jnp.sum(w * e[0] * jax.random.bernoulli(RAW, 0.5, (3,))),
        lambda w, e: jnp.sum(w * e[0] * jax.random.normal(jax.random.key(0), (3,))),
        lambda w, e: w[0] * jax.random.uniform(jax.random.PRNGKey(0)),
        lambda w, e: w[0] * jax.random.gamma(KEY, 2.0),
        lambda w, e: jnp.sum(jax.random.permutation(jax.random.fold_in(KEY, 7), w) * e[0]),
        lambda w, e: w[0] * jax.random.uniform(jax.random.key(0, impl="rbg")),
        lambda w, e: jnp.where(jax.random.bernoulli(KEY, 0.5), w[0], w[1]),
        lambda w, e: jax.lax.cond(jax.random.bernoulli(KEY), jnp.sin, jnp.cos, w[0]),
        jax.jit(lambda w, e: w[0] * jax.random.uniform(KEY)),
        lambda w, e: straight_through(w[0] * jax.random.uniform(KEY)),
        drawn_in_a_loop,
    ],
)
def test_random_numbers_from_a_constant_key_are_refused_with_the_line(loss):
    with pytest.raises(LandscapeError, match=rf"constant key {HERE}.*jax\.random\.split\(key, M\).*outside the loss"):
        check_no_constant_key(traced(loss))


def test_dropout_by_a_key_of_the_module_is_one_sub_network():
    def loss(w, example):
        return Dropping().apply(w, example[0], rngs={"dropout": KEY})

    with pytest.raises(LandscapeError, match="one fixed sub-network"):
        check_no_constant_key(traced(loss, DROPPING))


@pytest.mark.parametrize("key", [jax.ShapeDtypeStruct((), KEY.dtype), jax.ShapeDtypeStruct((2,), jnp.uint32)])
def test_keys_in_the_data_are_welcome(key):
    def loss(w, example):
        (x, _), key = example
        return Dropping().apply(w, x, rngs={"dropout": key})

    check_no_constant_key(traced(loss, DROPPING, (EXAMPLE, key)))


@pytest.mark.parametrize(
    "loss",
    [
        lambda w, e: w[0] * jax.random.uniform(jax.random.fold_in(KEY, (100 * e[1]).astype(int))),
        lambda w, e: (jax.random.uniform(KEY), w[0])[1],
        lambda w, e: Dropping().apply(DROPPING, e[0], rngs={"dropout": jax.random.key(e[1].astype(int))}) * w[0],
        lambda w, e: nn.Dropout(0.5, deterministic=True).apply({}, w, rngs={"dropout": KEY})[0],
    ],
)
def test_draws_that_follow_the_example_or_do_not_count_pass(loss):
    check_no_constant_key(traced(loss))
