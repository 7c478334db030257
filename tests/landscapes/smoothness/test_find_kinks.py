"""Kinks of losses: found where derivatives jump, and only there."""

import re
import warnings
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import feyngd as fd
from feyngd.kinks import Kink
from feyngd.landscapes import convnet, cross_entropy, digits_landscape, find_kinks, kinks

RNG = np.random.default_rng(0)
WEIGHTS = jnp.array([0.7, -0.5, 0.3])
X, Y = RNG.normal(size=(40, 3)).astype(np.float32), RNG.normal(size=40).astype(np.float32)
SERIES = RNG.normal(size=(4, 5, 4)).astype(np.float32)
HERE = "test_find_kinks.py"


def squared(function):
    return lambda weights, example: (function(example[0] @ weights) - example[1]) ** 2


def on_products(function):
    return lambda weights, example: function(weights * example[0], example[1])


def found(loss, params=WEIGHTS, data=(X, Y)):
    return find_kinks(loss, params, data)


def orders(loss, params=WEIGHTS, data=(X, Y)):
    return {kink.operation: kink.order for kink in found(loss, params, data)}


def pinball(t, x):
    return jnp.where(t > x, 0.1 * (t - x), 0.9 * (x - t))


def by_cond(t, x):
    return jax.lax.cond(t > x, lambda: 0.1 * (t - x), lambda: 0.9 * (x - t))


def by_segment(t, x):
    return jax.ops.segment_max(jnp.stack([0.1 * (t - x), 0.9 * (x - t)]), jnp.array([0, 0]), 1)[0]


@pytest.mark.parametrize(
    ("loss", "operation"),
    [
        (by_cond, "cond"),
        (by_segment, "max over segments"),
        (pinball, "where on a condition that depends on the parameters"),
    ],
)
def test_pinball_losses(loss, operation):
    (kink,) = find_kinks(loss, jnp.array(1.05), np.linspace(0.8, 1.0, 11))
    assert (kink.operation, kink.order, kink.near, kink.examples) == (operation, 1, 11, 11)
    assert kink.source.startswith(HERE)
    assert f"({loss.__name__})" in kink.source


@pytest.mark.parametrize(
    ("function", "operation", "order"),
    [
        (jax.nn.relu, "relu", 1),
        (jax.jit(jax.nn.relu), "relu", 1),
        (jax.checkpoint(jax.nn.relu), "relu", 1),
        (lambda z: jax.nn.relu(z) ** 2, "relu", 2),
        (lambda z: jax.nn.relu(z) ** 3, "relu", 3),
        (lambda z: jnp.abs(z) ** 3, "abs", 3),
        (lambda z: z * jnp.abs(z), "abs", 2),
        (jax.nn.leaky_relu, "leaky_relu", 1),
        (jax.nn.elu, "elu", 2),
        (jax.nn.selu, "selu", 1),
        (jax.nn.hard_tanh, "hard_tanh", 1),
        (jax.nn.soft_sign, "soft_sign", 2),
        (lambda z: jnp.clip(z, -1, 1), "clip", 1),
        (jnp.round, "round", 0),
        (jnp.sign, "sign", 0),
        (lambda z: jnp.mod(z, 1.0), "remainder", 0),
        (lambda z: (z > 0) * z, "comparison times a value", 1),
        (lambda z: z.astype(int) + z, "integer cast", 0),
        (lambda z: z + jax.lax.stop_gradient(jnp.round(z) - z), "round", 0),
    ],
)
def test_activations(function, operation, order):
    assert orders(squared(function)) == {operation: order}


def test_all_within_reach_are_named_at_once():
    def loss(w, e):
        z, v, r = e[0] @ w, w * e[0], e[0] @ w - e[1]
        huber = jnp.where(jnp.abs(r) < 1, 0.5 * r**2, jnp.abs(r) - 0.5)
        pooled = jnp.sum(nn.max_pool(v[None, :, None], (2,), (1,)) ** 2)
        singular = jnp.linalg.norm(r[None]) + ((r - 0.1) ** 2) ** 0.75 + jnp.abs((r + 0.1) * (1 + 1j))
        indexed = e[0][jnp.argmax(v)] + jax.lax.switch((2 * z).astype(int), [lambda t: t, lambda t: 2 * t], z)
        return huber + pooled + singular + indexed + jax.nn.hard_swish(3 * z) + 0.01 * jnp.sum(jnp.abs(w - 0.6))

    assert orders(loss) == {
        "where on a condition that depends on the parameters": 2,
        "max-pool": 1,
        "norm": 1,
        "fractional power": 2,
        "abs": 1,
        "indexing by what depends on the parameters": 0,
        "cond": 0,
        "hard_silu": 1,
    }


def test_extrema_and_sorting():
    def loss(w, e):
        v = w * e[0]
        return (
            jnp.sum(jax.lax.cummax(v) ** 2)
            + jnp.max(v + 0.1) ** 2
            + jnp.mean(jnp.sort(v)[1:]) ** 2
            + jnp.median(2 * v) ** 2
            + jnp.sum(jax.lax.top_k(v + 0.3, 2)[0]) ** 2
        )

    assert orders(loss) == {"cummax": 1, "max over an axis": 1, "sort": 1, "median": 1, "top_k": 1}


def test_loops():
    def steps(w, e):  # as many turns as the parameters say
        start = (e[1], e[0] @ w)
        return jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + w[0] ** 2 + 0.2, 1.1 * c[1] + c[0]), start)[1]

    def scanned(w, e):
        return jnp.sum(jax.lax.scan(lambda c, x: (jax.nn.relu(c * w[0] + x), c), e[1], e[0] * w)[0] ** 2)

    def turned(w, e):  # as many turns as the data say
        return jax.lax.fori_loop(0, 2 + (e[1] > 0).astype(int), lambda i, c: jax.nn.relu(c * w[0] + e[0][i]), e[1])

    assert orders(steps) == {"while_loop": 0}
    assert orders(scanned) == {"relu": 1}
    assert orders(turned) == {"relu": 1}


def test_reach_follows_the_data_where_parameters_are_zero():
    rng = np.random.default_rng(1)
    (kink,) = find_kinks(lambda t, x: jnp.abs(t - x), jnp.array(0.0), 1000 + 50 * rng.normal(size=30))
    assert kink.near == 30
    (kink,) = found(lambda w, e: jnp.maximum(0, 1 - e[0] @ w * jnp.sign(e[1])), jnp.zeros(3))
    assert kink.operation == "max"


def test_clips_count_within_reach_only():
    assert orders(squared(lambda z: jnp.clip(z, -1, 1))) == {"clip": 1}
    assert found(squared(lambda z: jnp.clip(z, -30, 30))) == ()


def smooth(w, e):
    """Guards and other operations whose derivatives do not jump, or only out of reach."""
    z, v, r = e[0] @ w, w * e[0], e[0] @ w - e[1]
    wide = jnp.abs(z) > 1e-6
    variance = jnp.maximum(0, jnp.mean(v**2) - v.mean() ** 2)
    shift = jnp.max(v)
    p = jnp.clip(jax.nn.sigmoid(z), 1e-7, 1 - 1e-7)
    terms = [
        jnp.where(wide, jnp.sin(z) / jnp.where(wide, z, 1), 1.0),
        jnp.sum(((v - v.mean()) / jnp.sqrt(variance + 1e-6)) ** 3),
        shift + jnp.log(jnp.sum(jnp.exp(v - shift))),
        jnp.maximum(z, 0) + jnp.log1p(jnp.exp(-jnp.abs(z))),
        jnp.sum((v / jnp.maximum(jnp.linalg.norm(v), 1e-8)) ** 3),
        jnp.sum((v / jnp.where(jnp.linalg.norm(v) > 0, jnp.linalg.norm(v), 1)) ** 3),
        -jnp.log(p) * (e[1] > 0) - jnp.log(1 - p) * (e[1] <= 0),
        jnp.sum(jnp.sort(v) ** 2),
        jnp.maximum(w[0], w[1]) + jnp.minimum(w[0], w[1]),
        jnp.sign(z) * jnp.abs(z) + jnp.abs(z) ** 2 + jnp.abs(z + 1j) ** 2,
        jnp.sinc(z) + jnp.nan_to_num(jnp.exp(z)) + jnp.logaddexp(r, -r),
        jnp.linalg.slogdet(jnp.outer(w, w) + jnp.eye(3))[1],
        jax.scipy.special.logsumexp(v, b=jnp.array([1.0, 2.0, 0.5])),
    ]
    return sum(terms)


@pytest.mark.slow
def test_guards_are_silent():
    assert found(smooth) == ()


def test_smooth_functions_are_not_even_suspected(monkeypatch):
    def loss(w, e):
        z, v = e[0] @ w, w * e[0]
        names = ("softplus", "gelu", "silu", "sigmoid", "tanh", "mish", "log_sigmoid", "squareplus")
        return (
            sum(getattr(jax.nn, name)(z) for name in names)
            + jax.nn.logsumexp(v)
            + jax.nn.softmax(v)[0]
            - jnp.take_along_axis(jax.nn.log_softmax(v), jnp.array([1]), 0)[0]
            + jnp.sqrt(jnp.sum(v**2) + 1e-6)
            + jnp.where(e[0] > 0, v, 0).sum() ** 2
            + jax.lax.cond(e[1] > 0, lambda: z**2, lambda: z)
            + jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.tanh(c[1])), (e[1], z))[1]
            + jax.lax.fori_loop(0, 3, lambda i, c: jnp.tanh(c * w[0] + e[0][i]), z)
            + jax.nn.relu(jnp.exp(z))
            + jnp.tanh((e[0].astype(jnp.bfloat16) @ w.astype(jnp.bfloat16)).astype(jnp.float32))
        )

    monkeypatch.setattr("feyngd.landscapes.smoothness._find_kinks._confirmed", None)  # nothing is computed
    assert found(loss) == ()


def test_models_in_bfloat16():
    def loss(w, e):
        return (jax.nn.relu(e[0].astype(jnp.bfloat16) @ w.astype(jnp.bfloat16)).astype(jnp.float32) - e[1]) ** 2

    assert orders(loss) == {"relu": 1}


def test_derivatives_of_ones_own_are_not_taken_at_their_word():
    @jax.custom_jvp
    def soft(z):
        return jnp.maximum(z, 0)

    soft.defjvp(lambda primals, tangents: (soft(*primals), jax.nn.sigmoid(primals[0]) * tangents[0]))

    @jax.custom_vjp
    def bent(z):
        return jnp.abs(z)

    bent.defvjp(lambda z: (bent(z), z), lambda z, g: (g * jnp.tanh(z),))

    @jax.custom_jvp
    def careful(z):  # log cosh, as two formulas that agree
        return jnp.where(z > 0, z + jnp.log1p(jnp.exp(-2 * z)), -z + jnp.log1p(jnp.exp(2 * z)))

    careful.defjvp(lambda primals, tangents: (careful(*primals), jnp.tanh(primals[0]) * tangents[0]))
    assert orders(squared(soft)) == {"max": 1}
    assert orders(squared(bent)) == {"abs": 1}
    assert found(squared(careful)) == ()


class Normed(nn.Module):
    norm: type

    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(nn.tanh(self.norm()(nn.Dense(4)(x))))


class Attention(nn.Module):
    @nn.compact
    def __call__(self, x):
        attention = nn.MultiHeadDotProductAttention(2, qkv_features=4)
        return nn.Dense(2)(nn.LayerNorm()(x + attention(x, x, mask=nn.make_causal_mask(x[:, 0]))))


@pytest.mark.parametrize(
    "module",
    [
        nn.RNN(nn.LSTMCell(3)),
        Normed(nn.LayerNorm),
        Normed(nn.RMSNorm),
        Normed(partial(nn.GroupNorm, 2)),
        Normed(partial(nn.BatchNorm, use_running_average=True)),
        Attention(),
    ],
)
def test_flax(module):
    params = module.init(jax.random.key(0), SERIES[0])
    assert find_kinks(lambda p, x: jnp.mean(jnp.tanh(module.apply(p, x)) ** 3), params, SERIES) == ()


def test_equinox_and_nnx():
    smooth, bent = (
        eqx.nn.MLP(4, 2, 6, 2, activation=activation, key=jax.random.key(0)) for activation in (jnp.tanh, jax.nn.relu)
    )

    def loss(model, x):
        return jnp.mean(jax.vmap(model)(x) ** 2)

    for model, names in ((smooth, []), (bent, ["relu"])):
        params, static = eqx.partition(model, eqx.is_inexact_array)
        kinks = find_kinks(lambda p, x, static=static: loss(eqx.combine(p, static), x), params, SERIES)
        assert [kink.operation for kink in kinks] == names
    rngs = nnx.Rngs(0)
    layers = nnx.Sequential(nnx.Linear(4, 3, rngs=rngs), nnx.LayerNorm(3, rngs=rngs), nnx.tanh)
    graph, state = nnx.split(layers)
    assert find_kinks(lambda s, x: jnp.mean(nnx.merge(graph, s)(x) ** 3), state, SERIES) == ()


def test_nested_parameters_masks_and_lookups():
    rng = np.random.default_rng(1)
    params = {name: {"w": rng.normal(size=(4, 4)).astype(np.float32) / 2} for name in ("q", "k", "v")}
    params["table"] = rng.normal(size=(7, 4)).astype(np.float32)

    def loss(p, ids, fill):
        x = p["table"][ids]
        q, k, v = (x @ p[name]["w"] for name in "qkv")
        scores = jnp.where(jnp.tril(jnp.ones((5, 5), bool)), q @ k.T / 2, fill)
        return jnp.mean((jax.nn.softmax(scores) @ v) ** 2)

    ids = rng.integers(0, 7, size=(6, 5))
    for fill in (-1e9, -jnp.inf):
        assert find_kinks(partial(loss, fill=fill), params, ids) == ()


def test_random_keys_in_the_data():
    def loss(w, key):
        return jnp.sum(jax.nn.relu(jnp.where(jax.random.bernoulli(key, 0.5, (3,)), w, 0) + 0.1) ** 2)

    assert orders(loss, WEIGHTS, jax.random.split(jax.random.key(0), 5)) == {"relu": 2}


def test_kinks_in_the_data_alone_do_not_matter():
    assert found(lambda weights, e: jnp.sum((jnp.abs(e[0]) @ weights) ** 2)) == ()
    assert found(lambda weights, e: jnp.sum(jnp.where(e[0] > 0, e[0] * weights, 0) ** 2)) == ()


@pytest.mark.parametrize("model", ["convnet", "logistic", "mlp"])
def test_the_models_are_smooth(model):
    landscape, params = digits_landscape(model, limit=3, key=jax.random.key(0))
    assert find_kinks(landscape.loss, params, landscape.data) == ()
    assert kinks(landscape.loss, params, landscape.example(0)) == []


def test_the_loss_of_now_is_looked_at():
    activation = jnp.tanh

    def loss(weights, e):
        return activation(e[0] @ weights)

    assert found(loss) == ()
    activation = jax.nn.relu
    assert orders(loss) == {"relu": 1}


def test_strict_modes_and_what_cannot_be_looked_at(monkeypatch):
    with jax.debug_nans(True), jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        assert orders(squared(jax.nn.relu)) == {"relu": 1}
    monkeypatch.setattr("feyngd.landscapes.smoothness._find_kinks._confirmed", lambda *_: 1 / 0)
    (kink,) = found(squared(jax.nn.relu))
    assert (kink.near, kink.examples) == (0, 0)
    assert "not looked at" in str(kink)


def test_a_traced_loss_is_looked_at_without_tracing_it_again():
    jaxpr = jax.make_jaxpr(squared(jax.nn.relu))(WEIGHTS, (X[0], Y[0]))
    assert [kink.order for kink in find_kinks(None, WEIGHTS, (X, Y), jaxpr=jaxpr)] == [1]


def test_kinks_read_well():
    assert str(Kink("relu", "model.py:12 (apply)", 1, 30, 40)) == (
        "relu at model.py:12 (apply) (the first derivative jumps, within reach of 30 of 40 examples)"
    )
    assert str(Kink("max", "", 0, 1, 1)) == "max (the loss itself jumps, within reach of 1 of 1 example)"


def test_evaluation_warns_and_names_the_layer():
    rng = np.random.default_rng(1)
    model = convnet((4, 4), 2, channels=2, hidden=2, kernel=2, activation=jax.nn.relu)
    images = rng.normal(size=(3, 4, 4)).astype(np.float32)
    landscape = fd.Landscape(cross_entropy(model), (images, np.array([0, 1, 1])))
    with pytest.warns(fd.SmoothnessWarning, match=re.escape("of 3 examples")) as caught:
        fd.evaluate(fd.Diagram.parse("[a]"), landscape, model.init(jax.random.key(0)), check_dtype=False)
    assert "relu" in str(caught[0].message)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "norm", [eqx.nn.LayerNorm(5), partial(nn.LayerNorm(use_bias=False, use_scale=False).apply, {})]
)
def test_evaluation_is_silent_on_layer_normalisation(norm):
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(4, 5)).astype(np.float32), rng.normal(size=(5, 5)).astype(np.float32)
    landscape = fd.Landscape(lambda w, x: jnp.sum(jnp.tanh(norm(w @ x)) ** 3), x)
    with warnings.catch_warnings():
        warnings.simplefilter("error", fd.SmoothnessWarning)
        fd.evaluate(fd.Diagram.parse("[a]"), landscape, w, check_dtype=False)


def test_the_order_is_right_where_a_unit_is_one_of_many():
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(3, 200)).astype(np.float32)

    def loss(w, e):
        return (jnp.mean(jax.nn.relu(e[0] @ w) ** 2) - e[1]) ** 2

    assert orders(loss, weights) == {"relu": 2}
