"""The classifiers: shapes, sizes, smoothness and their cross-entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feyngd.errors import ArgumentError, LandscapeError
from feyngd.landscapes import Landscape, Model, convnet, cross_entropy, digits_landscape, logistic_regression, tanh_mlp

KEY = jax.random.key(0)


def num_params(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(
    ("model", "shape", "size"),
    [
        (logistic_regression((8, 8), 10), (8, 8), 65 * 10),
        (tanh_mlp((8, 8), 10), (8, 8), 65 * 32 + 33 * 10),
        (tanh_mlp((6,), 3, hidden=(5, 4)), (6,), 7 * 5 + 6 * 4 + 5 * 3),
        (convnet((8, 8), 10), (8, 8), (25 + 1) * 10 + (250 + 1) * 10 + (2 * 2 * 10 + 1) * 10 + 11 * 10),
        (convnet((32, 32, 3), 10), (32, 32, 3), (75 + 1) * 10 + 251 * 10 + (8 * 8 * 10 + 1) * 10 + 11 * 10),
        (convnet((7, 5), 4, channels=2, hidden=3, kernel=3, stride=2), (7, 5), 20 + 38 + (2 * 2 * 2 + 1) * 3 + 16),
    ],
)
def test_models_have_the_promised_shapes_and_sizes(model, shape, size):
    params = model.init(KEY)
    assert num_params(params) == size
    assert all(not np.any(layer["bias"]) for layer in params.values())
    image = jax.random.uniform(KEY, shape)
    logits = model.apply(params, image)
    assert logits.shape == (params[max(params)]["bias"].size,)
    label = jnp.array(1)
    gradient = jax.jit(jax.grad(cross_entropy(model)))(params, (image, label))
    assert all(np.all(np.isfinite(leaf)) and np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_glorot_normal_weights_have_variance_two_over_fan_in_plus_fan_out():
    weights = logistic_regression((100, 10), 500).init(KEY)["dense_0"]["weights"]
    np.testing.assert_allclose(np.var(weights), 2 / (1000 + 500), rtol=0.02)


def test_logistic_regression_is_affine():
    model = logistic_regression((2, 2), 3)
    params = model.init(KEY)
    image = jnp.arange(4.0).reshape(2, 2)
    expected = image.ravel() @ params["dense_0"]["weights"] + params["dense_0"]["bias"]
    np.testing.assert_allclose(model.apply(params, image), expected, rtol=1e-6)


def test_the_convnet_is_what_a_direct_sum_over_pixels_gives():
    """SAME padding with stride 2 and kernel 3 on a 4×4 image: windows start at rows 0 and 2, one zero row after."""
    model = convnet((4, 4), 2, channels=1, hidden=1, kernel=3, activation=lambda x: x)
    params = model.init(KEY)
    image = np.asarray(jax.random.normal(KEY, (4, 4)))

    def convolve(x, layer):
        kernel, size = np.asarray(layer["weights"])[:, :, 0, 0], -(-len(x) // 2)
        total = max((size - 1) * 2 + 3 - len(x), 0)
        padded = np.pad(x, (total // 2, total - total // 2))
        windows = [[padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] for j in range(size)] for i in range(size)]
        return np.array([[np.sum(w * kernel) for w in row] for row in windows])

    x = convolve(convolve(image, params["conv_0"]), params["conv_1"]).ravel()
    expected = x @ params["dense_0"]["weights"] @ params["dense_1"]["weights"]
    np.testing.assert_allclose(model.apply(params, image), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "build",
    [
        lambda: logistic_regression((), 10),
        lambda: logistic_regression((8, 0), 10),
        lambda: logistic_regression((8, 8), 1),
        lambda: logistic_regression((8, 8), 2.0),
        lambda: tanh_mlp((8, 8), 10, hidden=()),
        lambda: tanh_mlp((8, 8), 10, hidden=(4, -1)),
        lambda: convnet((64,), 10),
        lambda: convnet((8, 8), 10, channels=0),
        lambda: convnet((8, 8), 10, stride=0),
        lambda: convnet((8, 8), 10, kernel=2.5),
    ],
)
def test_sizes_must_be_positive_integers(build):
    with pytest.raises(ArgumentError, match="got"):
        build()


def test_an_image_of_another_shape_is_refused():
    model = convnet((8, 8), 10)
    with pytest.raises(LandscapeError, match=r"shape \(8, 8\); got shape \(5, 8, 8\)"):
        model.apply(model.init(KEY), jnp.zeros((5, 8, 8)))


def test_cross_entropy_is_minus_the_log_probability_of_the_label():
    model = Model("fixed", init=lambda key: {"logits": jnp.zeros(3)}, apply=lambda params, image: params["logits"])
    params = {"logits": jnp.log(jnp.array([0.2, 0.3, 0.5]))}
    losses = [float(cross_entropy(model)(params, (jnp.zeros(1), jnp.array(label)))) for label in range(3)]
    np.testing.assert_allclose(losses, -np.log([0.2, 0.3, 0.5]), rtol=1e-6)


@pytest.mark.parametrize("label", [-1, 10])
def test_a_label_out_of_range_is_found_by_validate(label):
    model = logistic_regression((2, 2), 10)
    landscape = Landscape(cross_entropy(model), (np.ones((3, 2, 2)), np.array([0, label, 9])))
    with pytest.raises(LandscapeError, match="example 1"):
        landscape.validate(model.init(KEY))


@pytest.mark.parametrize("labels", [np.zeros((3, 10)), np.zeros(3)])
def test_labels_are_integers(labels):
    model = logistic_regression((2, 2), 10)
    with pytest.raises(LandscapeError, match="integer class"):
        Landscape(cross_entropy(model), (np.ones((3, 2, 2)), labels)).validate(model.init(KEY))


@pytest.mark.parametrize("name", ["convnet", "logistic", "mlp"])
def test_digits_landscapes_start_near_the_loss_of_guessing(name):
    landscape, params = digits_landscape(name, limit=30, key=KEY)
    assert landscape.num_examples == 30
    assert abs(float(landscape.mean_loss(params)) - np.log(10)) < 0.7


def test_an_unknown_digits_model_lists_the_known_ones():
    with pytest.raises(ArgumentError, match="'convnet', 'logistic', 'mlp'"):
        digits_landscape("transformer", key=KEY)
