"""Models, datasets and toys say what their arguments are, before anything is computed."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feyngd.errors import ArgumentError
from feyngd.landscapes import (
    Landscape,
    convnet,
    cross_entropy,
    digits,
    digits_landscape,
    load_cifar10,
    load_fashion_mnist,
    logistic_regression,
    tanh_mlp,
    toys,
)

KEY = jax.random.key(0)


@pytest.mark.parametrize("build", [logistic_regression, tanh_mlp, convnet])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (64, r"input_shape is a sequence.*got 64\. Write \(64,\).*images\.shape\[1:\]"),
        (np.array(64), r"Write \(64,\)"),
        ("88", "input_shape is a sequence"),
        ((8.0, 8.0), r"input_shape is an integer ≥ 1, got 8\.0\. Write 8\."),
        ((8, None), "got None"),
        ((), "positive integers"),
        (None, "got None"),
    ],
)
def test_the_shape_of_an_image_is_a_sequence_of_sizes(build, shape, message):
    with pytest.raises(ArgumentError, match=message):
        build(shape, 10)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: tanh_mlp((8, 8), 10, 32), r"hidden is a sequence.*Write \(32,\)"),
        (lambda: tanh_mlp((8, 8), 10, hidden=(32.0,)), r"hidden is an integer ≥ 1.*Write 32\."),
        (lambda: tanh_mlp((8, 8), "10"), "2 or more classes.*got '10'"),
        (lambda: tanh_mlp((8, 8), True), "2 or more classes.*got True"),
        (lambda: tanh_mlp((8, 8), (10,)), r"2 or more classes.*got \(10,\)"),
        (lambda: convnet((8, 8), 10, activation="tanh"), "activation is a function.*got 'tanh'"),
        (lambda: convnet((8, 8), 10, hidden=(10,)), r"got \(10,\)"),
        (lambda: cross_entropy(tanh_mlp), "takes a Model.*got <function"),
        (lambda: cross_entropy(nn.Dense), "takes a Model"),
        (lambda: cross_entropy({"w": 1.0}), "takes a Model"),
        (lambda: tanh_mlp((8, 8), 10).init(0), r"drawn at random: give key=jax\.random\.key\(0\)"),
        (lambda: digits_landscape(key=0), r"give key=jax\.random\.key\(0\)"),
        (lambda: digits_landscape(["mlp"], key=KEY), r"Unknown model \['mlp'\]"),
        (lambda: digits(limit=10.0), r"1 to 1797.*Write 10\."),
        (lambda: digits(limit="all"), "1 to 1797"),
        (lambda: load_cifar10(3), "folder is a path.*got 3"),
        (lambda: load_fashion_mnist(None), "folder is a path.*got None"),
        (lambda: load_cifar10(".", split=["train"]), r"Unknown split \['train'\]"),
        (lambda: toys.cosh(x=np.ma.masked_array([1.0, -1.0], [0, 1])), "x must be real numbers.*masked"),
        (lambda: toys.cosh(x=np.array([1j, -1j])), "complex128"),
        (lambda: toys.cosh(x=[True, False]), "bool"),
        (lambda: toys.cosh(x=[[1.0], [1.0, 2.0]]), "x must be real numbers"),
        (lambda: toys.mean_estimation("1.0"), "hessian must be real numbers; got '1.0'"),
        (lambda: toys.quadratic(np.array([[1.0, None], [None, 1.0]])), "hessian must be real numbers.*objects"),
    ],
)
def test_arguments_are_refused_with_what_to_give(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()


def test_sizes_may_be_integers_of_numpy_and_jax():
    shape = jnp.zeros((5, 8, 8)).shape[1:]
    for model in (
        tanh_mlp(np.array(shape), np.int64(10), jnp.array([4])),
        convnet(shape, jnp.asarray(10), channels=np.int32(2), stride=np.uint8(2)),
    ):
        logits = model.apply(model.init(KEY), jnp.ones(shape))
        assert logits.shape == (10,)
    assert len(digits(limit=np.int64(3))[1]) == 3


def test_toys_take_arrays_of_every_byte_order():
    np.testing.assert_array_equal(toys.cosh(x=np.array([1, -1, 3], dtype=">i2"))[0].data, [1.0, -1.0, 3.0])


@pytest.mark.parametrize("build", [logistic_regression, tanh_mlp, convnet])
def test_models_compute_in_the_wider_type_also_where_jax_is_strict(build):
    model = build((4, 4), 3)
    images, labels = np.linspace(0, 1, 32, dtype=np.float32).reshape(2, 4, 4), np.array([0, 2], dtype=np.int32)
    params = model.init(KEY)
    expected = Landscape(cross_entropy(model), (images, labels)).losses(params)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        wide = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), params)
        losses = Landscape(cross_entropy(model), (images, labels)).losses(wide)
        assert losses.dtype == jnp.float64
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
