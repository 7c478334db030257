"""Small classifiers as plain pytrees: logistic regression, a tanh MLP and the papers' convnet.

Nothing here is special to feyngd: any `loss(params, example)` makes a landscape, whatever library the model comes from.
"""

import math
import reprlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from .._arguments import check_integer
from .._keys import check_key
from ..derivatives import Loss
from ..errors import ArgumentError, LandscapeError

Activation = Callable[[jax.Array], jax.Array]


@dataclass(frozen=True)
class Model:
    """A classifier: how its parameters start and how they turn an image into logits.

    Attributes:
        name: a short name.
        init: `init(key)` draws parameters, a dict pytree of floating-point arrays: Glorot-normal weights, biases zero.
            An `ArgumentError` if it is given no random key.
        apply: `apply(params, image)` returns the logits of one image, shape (classes,).
    """

    name: str
    init: Callable[[jax.Array], Any]
    apply: Callable[[Any, jax.Array], jax.Array]

    def __repr__(self) -> str:
        return f"Model({self.name!r})"


def logistic_regression(input_shape: Sequence[int], classes: int) -> Model:
    """Multinomial logistic regression on all pixels: one affine map.

    Args:
        input_shape: the shape of one image, for instance (8, 8).
        classes: the number of classes, 2 or more.

    Returns:
        A model with `(pixels + 1) · classes` parameters.

    Raises:
        ArgumentError: a size is not a positive integer, or there are fewer than 2 classes.

    Examples:
        >>> from feyngd.landscapes import logistic_regression
        >>> logistic_regression((8, 8), 10)
        Model('logistic')
    """
    return _dense_network("logistic", input_shape, classes, ())


def tanh_mlp(input_shape: Sequence[int], classes: int, hidden: Sequence[int] = (32,)) -> Model:
    """A fully connected network on all pixels with tanh between its layers.

    Args:
        input_shape: the shape of one image.
        classes: the number of classes, 2 or more.
        hidden: the widths of the hidden layers, at least one.

    Returns:
        A model whose parameters are `{"dense_0": {"weights", "bias"}, …}`.

    Raises:
        ArgumentError: a size is not a positive integer, there are fewer than 2 classes or no hidden layer.
    """
    widths = _sizes("hidden", hidden, empty=True)
    if not widths:
        raise ArgumentError(
            f"An MLP needs at least one hidden width; got hidden={hidden!r}. Without any, use logistic_regression."
        )
    return _dense_network("mlp", input_shape, classes, widths)


def convnet(
    input_shape: Sequence[int],
    classes: int,
    channels: int = 10,
    hidden: int = 10,
    kernel: int = 5,
    stride: int = 2,
    activation: Activation = jnp.tanh,
) -> Model:
    """The papers' convolutional network: two convolutions, then two dense layers.

    The convolutions pad with zeros ("SAME"), so each divides the image's sides by the stride, rounded up.

    Args:
        input_shape: the shape of one image, (height, width) or (height, width, colours).
        classes: the number of classes, 2 or more.
        channels: the channels of each convolution.
        hidden: the width of the hidden dense layer.
        kernel: the side of each convolution's square kernel.
        stride: the stride of each convolution.
        activation: applied after every layer but the last. Series need its derivatives, so keep it smooth: tanh, gelu
            or softplus rather than relu.

    Returns:
        A model whose parameters are `{"conv_0", "conv_1", "dense_0", "dense_1"}`, each `{"weights", "bias"}`.

    Raises:
        ArgumentError: a size is not a positive integer, there are fewer than 2 classes, an image is neither 2- nor
            3-dimensional, or the activation is not a function.

    References:
        Tenka, section 5, the image-classification experiments.
    """
    shape = _sizes("input_shape", input_shape)
    if len(shape) not in (2, 3):
        raise ArgumentError(f"A convnet takes images (height, width) or (height, width, colours); got shape {shape}.")
    classes = _checked_classes(classes)
    channels, hidden, kernel, stride = _sizes("channels, hidden, kernel, stride", (channels, hidden, kernel, stride))
    if not callable(activation):
        raise ArgumentError(f"activation is a function such as jnp.tanh; got {activation!r}.")
    height, width = (
        -(-side // stride**2) for side in shape[:2]
    )  # rounding up twice by the stride is once by its square
    kernels = ((kernel, kernel, shape[2] if len(shape) == 3 else 1, channels), (kernel, kernel, channels, channels))
    dense = ((height * width * channels, hidden), (hidden, classes))
    names = ("conv_0", "conv_1", "dense_0", "dense_1")

    def init(key: jax.Array) -> dict[str, dict[str, jax.Array]]:
        return _glorot_layers(key, dict(zip(names, kernels + dense, strict=True)))

    def apply(params: Any, image: jax.Array) -> jax.Array:
        _check_image(image, shape)
        x = jnp.reshape(image, (1, *shape[:2], kernels[0][2]))
        for name in names[:2]:
            x, weights, bias = _alike(x, params[name]["weights"], params[name]["bias"])
            x = jax.lax.conv_general_dilated(
                x, weights, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = activation(x + bias.reshape(1, 1, 1, channels))
        x = activation(_affine(params["dense_0"], x.ravel()))
        return _affine(params["dense_1"], x)

    return Model("convnet", init, apply)


def cross_entropy(model: Model) -> Loss:
    """The cross-entropy loss of a classifier, in nats.

    Args:
        model: the classifier.

    Returns:
        `loss(params, (image, label))` with an integer label from 0 to classes − 1. A label out of range gives nan,
        which `Landscape.validate` reports.

    Raises:
        ArgumentError: what was given has no function `apply`.
    """
    if isinstance(model, type) or not callable(getattr(model, "apply", None)):
        raise ArgumentError(
            f"cross_entropy takes a Model, as tanh_mlp((8, 8), 10) makes one; got {reprlib.repr(model)}. With another "
            "network write loss(params, example) yourself."
        )

    def cross_entropy_loss(params: Any, example: Any) -> jax.Array:
        image, label = example
        if jnp.shape(label) != () or not jnp.issubdtype(jnp.result_type(label), jnp.integer):
            raise LandscapeError(
                f"A label is one integer class; got dtype {jnp.result_type(label)} and shape {jnp.shape(label)}. "
                "Convert one-hot labels with jnp.argmax(labels, axis=-1)."
            )
        log_probabilities = jax.nn.log_softmax(model.apply(params, image))
        classes = log_probabilities.shape[-1]
        # a product, not an index: gathers clamp labels out of range and are slower under vmap and nested derivatives
        loss = -jnp.sum(jax.nn.one_hot(label, classes, dtype=log_probabilities.dtype) * log_probabilities)
        return jnp.where((label >= 0) & (label < classes), loss, jnp.nan)

    return cross_entropy_loss


def _dense_network(name: str, input_shape: Sequence[int], classes: int, hidden: tuple[int, ...]) -> Model:
    shape = _sizes("input_shape", input_shape)
    classes = _checked_classes(classes)
    widths = (math.prod(shape), *hidden, classes)
    layers = {f"dense_{i}": pair for i, pair in enumerate(pairwise(widths))}

    def init(key: jax.Array) -> dict[str, dict[str, jax.Array]]:
        return _glorot_layers(key, layers)

    def apply(params: Any, image: jax.Array) -> jax.Array:
        _check_image(image, shape)
        x = _affine(params["dense_0"], jnp.ravel(image))
        for i in range(1, len(layers)):
            x = _affine(params[f"dense_{i}"], jnp.tanh(x))
        return x

    return Model(name, init, apply)


def _glorot_layers(key: jax.Array, shapes: dict[str, Any]) -> dict[str, dict[str, jax.Array]]:
    check_key(key, "Parameters are drawn at random")
    glorot = jax.nn.initializers.glorot_normal()
    keys = jax.random.split(key, len(shapes))
    return {
        name: {"weights": glorot(k, shape), "bias": jnp.zeros(shape[-1])}
        for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def _affine(layer: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    x, weights, bias = _alike(x, layer["weights"], layer["bias"])
    return x @ weights + bias


def _alike(*arrays: jax.Array) -> list[jax.Array]:
    """Promote arrays to one dtype, also where JAX is set to be strict: images are often narrower than weights."""
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(*arrays)
    return [jnp.asarray(array).astype(dtype) for array in arrays]


def _check_image(image: jax.Array, shape: tuple[int, ...]) -> None:
    if jnp.shape(image) != shape:
        raise LandscapeError(
            f"The model was built for one image of shape {shape}; got shape {jnp.shape(image)}. Build it for that "
            "shape, or map it over a batch with jax.vmap."
        )


def _checked_classes(classes: int) -> int:
    try:
        return check_integer("classes", classes, least=2)
    except ArgumentError as error:
        raise ArgumentError(f"A classifier has 2 or more classes: {error}") from error


def _sizes(name: str, sizes: Sequence[int], *, empty: bool = False) -> tuple[int, ...]:
    """Return a shape or widths as Python integers."""
    if getattr(sizes, "shape", None) == () or not isinstance(sizes, Iterable) or isinstance(sizes, str | bytes | dict):
        raise ArgumentError(
            f"{name} is a sequence of positive integers; got {sizes!r}. Write ({sizes},) for a single one; for images "
            "give images.shape[1:]."
            if name == "input_shape"
            else f"{name} is a sequence of positive integers; got {sizes!r}. Write ({sizes},) for a single one."
        )
    values = tuple(check_integer(f"each of {name}", size, least=1) for size in sizes)
    if not values and not empty:
        raise ArgumentError(f"{name} must be positive integers; got {sizes!r}.")
    return values
