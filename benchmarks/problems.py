"""The networks that are measured: digits by default, and images of noise where size is the point."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from feyngd.landscapes import Landscape, convnet, cross_entropy, digits, logistic_regression, tanh_mlp

Problem = tuple[Landscape, Any]

MODELS = {
    "logistic": lambda: logistic_regression((8, 8), 10),
    "mlp": lambda: tanh_mlp((8, 8), 10),
    "convnet": lambda: convnet((8, 8), 10, channels=15),
    "small_convnet": lambda: convnet((8, 8), 10, channels=8, kernel=3),
    "wide convnet": lambda: convnet((8, 8), 10, channels=40),
}


@cache
def problem(name: str, seed: int = 0) -> Problem:
    """Return the landscape of a network on all 1,797 digits, and its initial parameters."""
    model = MODELS[name]()
    return Landscape(cross_entropy(model), digits()), model.init(jax.random.key(seed))


def conditional(name: str, seed: int = 0) -> Problem:
    """Return the landscape of a network with 1,437 digits to train on and 360 to test on."""
    model = MODELS[name]()
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(labels))
    parts = [(images[part], labels[part]) for part in (order[:1437], order[1437:])]
    return Landscape(cross_entropy(model), parts[0], parts[1], reading="conditional"), model.init(jax.random.key(seed))


def images(count: int) -> Problem:
    """Return an MLP 784-256-10 on images of smooth noise with labels, as many as asked for."""
    rng = np.random.default_rng(0)
    coarse = rng.standard_normal((count, 7, 7), dtype=np.float32)
    pictures = coarse.repeat(4, axis=1).repeat(4, axis=2)
    labels = (np.abs(coarse.sum(axis=(1, 2))) // 2 % 10).astype(np.int32)
    model = tanh_mlp((28, 28), 10, (256,))
    return Landscape(cross_entropy(model), (pictures, labels)), model.init(jax.random.key(0))


def trained(name: str, steps: int = 300, rate: float = 0.5) -> Problem:
    """Return a network after full-batch gradient descent with momentum."""
    landscape, params = problem(name)

    @jax.jit
    def descend(params: Any) -> Any:
        def step(carry: tuple, _: None) -> tuple[tuple, None]:
            params, speed = carry
            slope = jax.grad(landscape.mean_loss)(params)
            speed = jax.tree.map(lambda v, g: 0.9 * v - rate * (1 - 0.9) * g, speed, slope)
            return (jax.tree.map(jnp.add, params, speed), speed), None

        start = params, jax.tree.map(jnp.zeros_like, params)
        return jax.lax.scan(step, start, length=steps)[0][0]

    return landscape, descend(params)


def num_params(params: Any) -> int:
    """Return how many numbers the parameters are."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def transformer(width: int = 16, examples: int = 1797) -> Problem:
    """Return one block of attention and of an MLP over the eight rows of a digit, with its initial parameters."""
    pictures, labels = digits()
    rng = np.random.default_rng(0)
    shapes = {"in": (8, width), "q": (width, width), "k": (width, width), "v": (width, width)}
    shapes |= {"up": (width, 2 * width), "down": (2 * width, width), "out": (width, 10)}
    params = {name: jnp.asarray(rng.normal(size=s) / np.sqrt(s[0]), jnp.float32) for name, s in shapes.items()}

    def logits(p: Any, picture: jax.Array) -> jax.Array:
        x = picture.reshape(8, 8) @ p["in"]
        x = x + jax.nn.softmax((x @ p["q"]) @ (x @ p["k"]).T / np.sqrt(width)) @ (x @ p["v"])
        return jnp.mean(x + jax.nn.gelu(x @ p["up"]) @ p["down"], axis=0) @ p["out"]

    def loss(p: Any, example: tuple[jax.Array, jax.Array]) -> jax.Array:
        return -jax.nn.log_softmax(logits(p, example[0]))[example[1]]

    return Landscape(loss, (pictures[:examples], labels[:examples])), params
