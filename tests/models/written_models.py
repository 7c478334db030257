"""Small models as people write them in flax, equinox, haiku and plain JAX, each with its loss, parameters and data."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx

RNG = np.random.default_rng(7)
POINTS = RNG.normal(size=(24, 4)).astype(np.float32)
SERIES = RNG.normal(size=(20, 4, 3)).astype(np.float32)
TOKENS = RNG.integers(0, 5, size=(20, 5))
TARGETS = (0.7 * POINTS[:, 0] - 0.4 * POINTS[:, 1] + 0.3 * RNG.normal(size=24)).astype(np.float32)
LABELS = (POINTS[:, 0] + 0.5 * RNG.normal(size=24) > 0).astype(np.int32)
SUMS = (SERIES[..., 0].mean(axis=1) + 0.2 * RNG.normal(size=20)).astype(np.float32)
KEY = jax.random.key(0)
DECAY = 0.03  # so that there is a minimum to train to

REGRESSION, CLASSES = (POINTS, TARGETS), (POINTS, LABELS)
SEQUENCES, TEXT = (SERIES, SUMS), TOKENS


class Written(NamedTuple):
    """A model with its loss, parameters and data."""

    loss: Callable[[Any, Any], jax.Array]
    params: Any
    data: Any


def penalty(params: Any) -> jax.Array:
    return DECAY / 2 * sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params))


def squared(outputs: jax.Array, target: jax.Array) -> jax.Array:
    return 0.5 * (jnp.sum(outputs) - target) ** 2


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), label[..., None], axis=-1).mean()


# ---- flax.linen


def linen(module: nn.Module, error: Callable, data: Any) -> Written:
    variables = module.init(KEY, data[0][0])
    params = variables.pop("params")

    def loss(params: Any, example: Any) -> jax.Array:
        return error(module.apply({"params": params, **variables}, example[0]), example[1]) + penalty(params)

    return Written(loss, params, data)


class LinenRecurrent(nn.Module):
    cell: Callable = partial(nn.LSTMCell, 2)

    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.RNN(self.cell())(x)[-1])


class LinenNormed(nn.Module):
    norm: Callable

    @nn.compact
    def __call__(self, x):
        hidden = self.norm()(nn.Dense(4)(x))
        return nn.Dense(2)(nn.Dropout(0.5, deterministic=True)(nn.tanh(hidden)))


class LinenConvolution(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.gelu(nn.Conv(3, (2,))(x))
        return nn.Dense(1)(nn.avg_pool(x, (2,), (2,)).ravel())


class LinenDecoder(nn.Module):
    """A causal language model with a tied embedding."""

    @nn.compact
    def __call__(self, tokens):
        embed = nn.Embed(5, 4)
        x = embed(tokens) + self.param("positions", nn.initializers.normal(0.1), (4, 4))
        mask = nn.make_causal_mask(tokens)
        x = x + nn.MultiHeadDotProductAttention(2, qkv_features=4, use_bias=False)(nn.LayerNorm()(x), mask=mask)
        return embed.attend(nn.RMSNorm()(x))


def linen_decoder() -> Written:
    module = LinenDecoder()
    params = module.init(KEY, TEXT[0, :-1])["params"]

    def loss(params: Any, tokens: Any) -> jax.Array:
        return cross_entropy(module.apply({"params": params}, tokens[:-1]), tokens[1:]) + penalty(params)

    return Written(loss, params, TEXT)


# ---- flax.nnx


class NnxNormed(nnx.Module):
    def __init__(self, norm: Callable, rngs: nnx.Rngs) -> None:
        self.first, self.last = nnx.Linear(4, 4, rngs=rngs), nnx.Linear(4, 2, rngs=rngs)
        self.norm = norm(rngs=rngs)
        self.dropout = nnx.Dropout(0.5, deterministic=True, rngs=rngs)

    def __call__(self, x):
        hidden = self.norm(self.first(x)[None])[0]
        return self.last(self.dropout(nnx.silu(hidden)))


class NnxAttention(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(5, 4, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 4, 4, decode=False, rngs=rngs)
        self.norm = nnx.LayerNorm(4, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed(tokens)
        x = x + self.attention(self.norm(x), mask=nnx.make_causal_mask(tokens))
        return self.embed.attend(x)


class NnxRecurrent(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.recurrent = nnx.RNN(nnx.GRUCell(3, 2, rngs=rngs))
        self.last = nnx.Linear(2, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(self.recurrent(x)[-1])


def by_nnx(make: Callable, loss_of: Callable, data: Any) -> Written:
    graph, params, rest = nnx.split(make(rngs=nnx.Rngs(0)), nnx.Param, ...)

    def loss(params: Any, example: Any) -> jax.Array:
        return loss_of(nnx.merge(graph, params, rest, copy=True), example) + penalty(params)

    return Written(loss, params, data)


# ---- equinox


def equinox(model: Any, loss_of: Callable, data: Any) -> Written:
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def loss(params: Any, example: Any) -> jax.Array:
        return loss_of(eqx.combine(params, static), example) + penalty(params)

    return Written(loss, params, data)


class EquinoxNormed(eqx.Module):
    first: eqx.nn.Linear
    norm: Any
    dropout: eqx.nn.Dropout
    last: eqx.nn.Linear

    def __init__(self, norm: Any) -> None:
        self.first, self.last = eqx.nn.Linear(4, 4, key=KEY), eqx.nn.Linear(4, 2, key=jax.random.key(1))
        self.norm, self.dropout = norm, eqx.nn.Dropout(0.3, inference=True)

    def __call__(self, x):
        return self.last(self.dropout(jnp.tanh(self.norm(self.first(x)))))


class EquinoxTransformer(eqx.Module):
    embed: eqx.nn.Embedding
    attention: eqx.nn.MultiheadAttention
    norm: eqx.nn.LayerNorm

    def __init__(self) -> None:
        self.embed = eqx.nn.Embedding(5, 4, key=KEY)
        self.attention = eqx.nn.MultiheadAttention(2, 4, key=KEY)
        self.norm = eqx.nn.LayerNorm(4)

    def __call__(self, tokens):
        x = jax.vmap(self.embed)(tokens)
        y = jax.vmap(self.norm)(x)
        x = x + self.attention(y, y, y, mask=jnp.tril(jnp.ones((len(tokens), len(tokens)), bool)))
        return x @ self.embed.weight.T


class EquinoxRecurrent(eqx.Module):
    cell: eqx.nn.LSTMCell
    last: eqx.nn.Linear

    def __init__(self) -> None:
        self.cell, self.last = eqx.nn.LSTMCell(3, 2, key=KEY), eqx.nn.Linear(2, 1, key=KEY)

    def __call__(self, x):
        start = jnp.zeros(2), jnp.zeros(2)
        return self.last(jax.lax.scan(lambda state, row: (self.cell(row, state), None), start, x)[0][0])


def equinox_batch_norm() -> Written:
    class Net(eqx.Module):
        first: eqx.nn.Linear
        norm: eqx.nn.BatchNorm
        last: eqx.nn.Linear

    norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(4, axis_name="batch", mode="batch")
    _, state = jax.vmap(norm, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(POINTS, state)
    net = Net(eqx.nn.Linear(4, 4, key=KEY), eqx.nn.inference_mode(norm), eqx.nn.Linear(4, 2, key=KEY))

    def loss_of(net: Net, example: Any) -> jax.Array:
        hidden, _ = net.norm(net.first(example[0]), state)
        return cross_entropy(net.last(jnp.tanh(hidden)), example[1])

    return equinox(net, loss_of, CLASSES)


# ---- haiku


def haiku(apply: Callable, loss_of: Callable, data: Any, first: Any) -> Written:
    transformed = hk.without_apply_rng(hk.transform(apply))
    params = transformed.init(KEY, first)

    def loss(params: Any, example: Any) -> jax.Array:
        return loss_of(partial(transformed.apply, params), example) + penalty(params)

    return Written(loss, params, data)


def haiku_normed(x):
    x = hk.LayerNorm(axis=-1, create_scale=True, create_offset=True)(hk.Linear(4)(x))
    return hk.Linear(2)(jax.nn.softplus(x))


def haiku_recurrent(x):
    core = hk.LSTM(2)
    outputs, _ = hk.dynamic_unroll(core, x[:, None], core.initial_state(1))
    return hk.Linear(1)(outputs[-1, 0])


def haiku_attention(tokens):
    embed = hk.Embed(5, 4)
    x = embed(tokens)
    attention = hk.MultiHeadAttention(2, 2, w_init=hk.initializers.VarianceScaling(1.0), model_size=4)
    x = x + attention(x, x, x, mask=jnp.tril(jnp.ones((1, len(tokens), len(tokens)))))
    return x @ embed.embeddings.T


# ---- plain JAX


def matrices(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [
        (rng.normal(size=shape) / np.sqrt(shape[-2] if len(shape) > 1 else 4)).astype(np.float32) for shape in shapes
    ]


def plain_attention(fill: Any) -> Written:
    """Self-attention over the first words of a padded text, of which the mask is part of the example."""
    table, q, k, v = matrices((5, 3), (3, 3), (3, 3), (3, 3))
    params = {"table": table, "attention": {"q": q, "k": k, "v": v}}
    lengths = np.random.default_rng(8).integers(2, 5, size=len(TEXT))
    mask = (np.arange(4) < lengths[:, None]).astype(np.float32)

    def loss(params: Any, example: Any) -> jax.Array:
        tokens, mask = example
        x = params["table"][tokens[:-1]]
        q, k, v = (x @ params["attention"][name] for name in "qkv")
        seen = jnp.tril(jnp.ones((4, 4))) * mask[None, :]
        scores = q @ k.T / jnp.sqrt(3.0)
        scores = scores + (1 - seen) * fill if fill == -1e9 else jnp.where(seen > 0, scores, fill)
        x = x + jax.nn.softmax(scores, axis=-1) @ v
        logs = jax.nn.log_softmax(x @ params["table"].T)
        errors = -jnp.take_along_axis(logs, tokens[1:, None], axis=1)[:, 0]
        return jnp.sum(errors * mask) / jnp.maximum(jnp.sum(mask), 1) + penalty(params)

    return Written(loss, params, (TEXT, mask))


def scanned_layers() -> Written:
    """Layers of one shape, scanned and recomputed in the backward pass, with residuals."""
    first, layers, last = matrices((4, 3), (3, 3, 3), (3,))

    def loss(params: Any, example: Any) -> jax.Array:
        @jax.checkpoint
        def layer(x, weights):
            return x + jnp.tanh(x @ weights), None

        x, _ = jax.lax.scan(layer, example[0] @ params["first"], params["layers"])
        return 0.5 * (x @ params["last"] - example[1]) ** 2 + penalty(params)

    return Written(loss, {"first": first, "layers": layers, "last": last}, REGRESSION)


def complex_features() -> Written:
    real, imaginary, last = matrices((4, 3), (4, 3), (3,))

    def loss(params: Any, example: Any) -> jax.Array:
        z = example[0] @ (params["real"] + 1j * params["imaginary"])
        features = jnp.abs(z) ** 2 / (1 + jnp.real(z * jnp.conj(z)))
        return 0.5 * (features @ params["last"] - example[1]) ** 2 + penalty(params)

    return Written(loss, {"real": real, "imaginary": imaginary, "last": last}, REGRESSION)


def bfloat16_inside() -> Written:
    first, last = matrices((4, 4), (4,))

    def loss(params: Any, example: Any) -> jax.Array:
        half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
        hidden = jnp.tanh(example[0].astype(jnp.bfloat16) @ half["first"])
        return 0.5 * ((hidden @ half["last"]).astype(jnp.float32) - example[1]) ** 2 + penalty(params)

    return Written(loss, {"first": first, "last": last}, REGRESSION)


def of_points(model: Callable, example: Any) -> jax.Array:
    return cross_entropy(model(example[0]), example[1])


def of_values(model: Callable, example: Any) -> jax.Array:
    return squared(model(example[0]), example[1])


def of_text(model: Callable, tokens: Any) -> jax.Array:
    return cross_entropy(model(tokens[:-1]), tokens[1:])


MODELS: dict[str, Callable[[], Written]] = {
    "linen LSTM": lambda: linen(LinenRecurrent(), squared, SEQUENCES),
    "linen GRU": lambda: linen(LinenRecurrent(partial(nn.GRUCell, 2)), squared, SEQUENCES),
    "linen LayerNorm": lambda: linen(LinenNormed(nn.LayerNorm), cross_entropy, CLASSES),
    "linen GroupNorm": lambda: linen(LinenNormed(partial(nn.GroupNorm, 2)), cross_entropy, CLASSES),
    "linen RMSNorm": lambda: linen(LinenNormed(nn.RMSNorm), cross_entropy, CLASSES),
    "linen BatchNorm": lambda: linen(
        LinenNormed(partial(nn.BatchNorm, use_running_average=True)), cross_entropy, CLASSES
    ),
    "linen convolution": lambda: linen(LinenConvolution(), squared, SEQUENCES),
    "linen decoder": linen_decoder,
    "nnx LayerNorm": lambda: by_nnx(partial(NnxNormed, partial(nnx.LayerNorm, 4)), of_points, CLASSES),
    "nnx GroupNorm": lambda: by_nnx(partial(NnxNormed, partial(nnx.GroupNorm, 4, num_groups=2)), of_points, CLASSES),
    "nnx BatchNorm": lambda: by_nnx(
        partial(NnxNormed, partial(nnx.BatchNorm, 4, use_running_average=True)), of_points, CLASSES
    ),
    "nnx attention": lambda: by_nnx(NnxAttention, of_text, TEXT),
    "nnx GRU": lambda: by_nnx(NnxRecurrent, of_values, SEQUENCES),
    "equinox MLP": lambda: equinox(eqx.nn.MLP(4, 1, 4, 2, activation=jax.nn.gelu, key=KEY), of_values, REGRESSION),
    "equinox LayerNorm": lambda: equinox(EquinoxNormed(eqx.nn.LayerNorm(4)), of_points, CLASSES),
    "equinox RMSNorm": lambda: equinox(EquinoxNormed(eqx.nn.RMSNorm(4)), of_points, CLASSES),
    "equinox GroupNorm": lambda: equinox(EquinoxNormed(eqx.nn.GroupNorm(2, 4)), of_points, CLASSES),
    "equinox BatchNorm": equinox_batch_norm,
    "equinox transformer": lambda: equinox(EquinoxTransformer(), of_text, TEXT),
    "equinox LSTM": lambda: equinox(EquinoxRecurrent(), of_values, SEQUENCES),
    "haiku MLP": lambda: haiku(lambda x: hk.nets.MLP([4, 1], activation=jnp.tanh)(x), of_values, REGRESSION, POINTS[0]),
    "haiku LayerNorm": lambda: haiku(haiku_normed, of_points, CLASSES, POINTS[0]),
    "haiku LSTM": lambda: haiku(haiku_recurrent, of_values, SEQUENCES, SERIES[0]),
    "haiku attention": lambda: haiku(haiku_attention, of_text, TEXT, TEXT[0, :-1]),
    "attention, -inf": lambda: plain_attention(-jnp.inf),
    "attention, -1e9": lambda: plain_attention(-1e9),
    "attention, least float": lambda: plain_attention(float(np.finfo(np.float32).min)),
    "scanned layers": scanned_layers,
    "complex features": complex_features,
    "bfloat16 inside": bfloat16_inside,
}
