"""A landscape averages its loss over the population, and refuses what is not one before long work."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.errors import ArgumentError, LandscapeError
from feyngd.landscapes import Landscape


def squared_error(params, example):
    features, target = example
    return 0.5 * (features @ params["w"] + params["b"] - target) ** 2


PARAMS = {"w": jnp.array([0.5, -1.0, 2.0]), "b": jnp.array(0.25)}


def regression(examples=10):
    rng = np.random.default_rng(0)
    return rng.normal(size=(examples, 3)).astype(np.float32), rng.normal(size=examples).astype(np.float32)


def scalar_landscape(loss, data=(1.0, 2.0, 3.0)):
    return Landscape(loss, np.asarray(data))


@pytest.mark.parametrize("chunk_size", [1, 3, 5, 10, 256])
def test_mean_loss_is_the_plain_average_whatever_the_chunk(chunk_size):
    features, targets = regression(10)
    expected = np.mean(0.5 * (features @ np.array([0.5, -1.0, 2.0]) + 0.25 - targets) ** 2)
    mean = Landscape(squared_error, (features, targets)).mean_loss(PARAMS, chunk_size=chunk_size)
    assert mean.shape == ()
    np.testing.assert_allclose(mean, expected, rtol=1e-5)


def test_mean_loss_is_differentiable():
    landscape = scalar_landscape(lambda theta, x: 0.5 * (theta - x) ** 2)
    np.testing.assert_allclose(jax.grad(landscape.mean_loss)(jnp.array(5.0)), 3.0, rtol=1e-6)


@pytest.mark.parametrize("chunk_size", [0, -1, 2.0, True])
def test_chunk_size_must_be_a_positive_integer(chunk_size):
    with pytest.raises(ArgumentError, match="chunk_size"):
        Landscape(squared_error, regression()).mean_loss(PARAMS, chunk_size=chunk_size)


def test_flatten_gives_the_same_loss_of_a_vector():
    landscape = Landscape(squared_error, regression())
    theta, flat_loss = landscape.flatten(PARAMS)
    assert theta.shape == (4,)
    example = landscape.example(7)
    np.testing.assert_allclose(flat_loss(theta, example), squared_error(PARAMS, example))
    gradient = jax.grad(flat_loss)(theta, example)
    tree = jax.grad(squared_error)(PARAMS, example)
    np.testing.assert_allclose(gradient, jnp.concatenate([tree["b"][None], tree["w"]]), rtol=1e-6)


def test_examples_have_the_structure_of_the_data_without_its_leading_axis():
    features, targets = regression(4)
    landscape = Landscape(squared_error, {"x": features, "y": targets})
    assert landscape.num_examples == 4
    np.testing.assert_array_equal(landscape.example(2)["x"], features[2])
    np.testing.assert_array_equal(landscape.example(2)["y"], targets[2])


@pytest.mark.parametrize("index", [-1, 10])
def test_there_are_no_examples_beyond_the_population(index):
    with pytest.raises(ArgumentError, match="0 to 9"):
        Landscape(squared_error, regression(10)).example(index)


def test_a_landscape_keeps_its_own_copy_of_the_data():
    data = np.ones(64, dtype=np.float32)
    landscape = Landscape(lambda theta, x: theta * x, data)
    data[:] = 7
    np.testing.assert_array_equal(landscape.data, 1.0)


def test_a_landscape_is_frozen_and_prints_short():
    landscape = Landscape(squared_error, regression(1000))
    with pytest.raises(AttributeError):
        landscape.data = 3
    assert repr(landscape) == (
        "Landscape(loss=squared_error, data=(float32[1000, 3], float32[1000]), reading='population')"
    )


def test_a_good_landscape_validates():
    Landscape(squared_error, regression()).validate(PARAMS)
    scalar_landscape(lambda theta, x: theta * x).validate(0.5)


# --- readings ------------------------------------------------------------------------------------


def test_the_conditional_reading_has_test_data():
    landscape = Landscape(squared_error, regression(), regression(), reading="conditional")
    assert landscape.num_test_examples == landscape.num_examples
    assert float(landscape.test_loss(PARAMS)) == pytest.approx(float(landscape.mean_loss(PARAMS)))
    with pytest.raises(ArgumentError, match="test_data"):
        Landscape(squared_error, regression(), reading="conditional")


def test_test_data_of_another_kind():
    images, targets = regression()
    with pytest.raises(LandscapeError, match=r"test_data .* differ"):
        Landscape(squared_error, (images, targets), (images[:, :2], targets), reading="conditional")


def test_an_unknown_reading_lists_the_known_ones():
    with pytest.raises(ArgumentError, match=r"'population', 'unbiased', 'conditional'"):
        Landscape(squared_error, regression(), reading="frequentist")


def test_test_data_belongs_to_the_conditional_reading():
    with pytest.raises(ArgumentError, match="conditional"):
        Landscape(squared_error, regression(), regression())


def test_the_loss_must_be_a_function():
    with pytest.raises(ArgumentError, match="int"):
        Landscape(3, regression())


# --- data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "no arrays"),
        (None, "no arrays"),
        (np.zeros((0, 3)), "0 examples"),
        ((np.zeros((4, 2)), np.zeros(5)), r"data\[0\]: \(4, 2\), data\[1\]: \(5,\)"),
        ((np.zeros(4), np.float32(3.0)), r"data\[1\] is a single number"),
        ([1.0, 2.0, 3.0], "numpy.asarray"),
        ({"x": "pixels"}, r"data\['x'\] is not a numeric array but str"),
        (np.array([object()]), "not a numeric array"),
    ],
)
def test_bad_data_are_refused(data, message):
    with pytest.raises(LandscapeError, match=message):
        Landscape(squared_error, data)


@pytest.mark.parametrize("data", [np.array([1, 2**40]), np.array([1.0, 1e300])])
def test_numbers_that_the_precision_cannot_hold_are_refused(data):
    with pytest.raises(LandscapeError, match="jax_enable_x64"):
        Landscape(squared_error, data)


def test_missing_values_may_be_in_the_data_if_the_loss_does_not_mind():
    Landscape(lambda theta, x: theta * jnp.nan_to_num(x), np.array([1.0, np.nan])).validate(1.0)


# --- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "no numbers"),
        ({"w": jnp.zeros(0)}, "no numbers"),
        ({"w": jnp.ones(3), "step": jnp.array(0)}, r"params\['step'\] has dtype int32"),
        ({"w": jnp.ones(3, dtype=complex)}, r"params\['w'\] has dtype complex64"),
        ({"w": jnp.ones(3), "name": "net"}, r"params\['name'\] is str"),
        ({"w": jnp.array([1.0, jnp.inf])}, r"params\['w'\] has entries that are not finite"),
    ],
)
def test_bad_parameters_are_refused(params, message):
    landscape = Landscape(squared_error, regression())
    with pytest.raises(LandscapeError, match=message):
        landscape.validate(params)
    with pytest.raises(LandscapeError, match=message):
        landscape.flatten(params)


# --- losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda theta, x: jnp.array([theta * x, x]), r"shape \(2,\).*jnp.mean"),
        (lambda theta, x: (theta * x, x), "tuple of 2 arrays"),
        (lambda theta, x: None, "NoneType of 0 arrays"),
        (lambda theta, x: jnp.round(theta * x).astype(int), "dtype int32"),
        (lambda theta, x: theta * x * 1j, "dtype complex64"),
    ],
)
def test_a_loss_must_be_one_real_number(loss, message):
    landscape = scalar_landscape(loss)
    with pytest.raises(LandscapeError, match=message):
        landscape.validate(1.0)
    with pytest.raises(LandscapeError, match=message):
        landscape.mean_loss(1.0)


def test_an_error_inside_the_loss_says_what_it_was_given():
    landscape = Landscape(lambda params, example: params @ example, np.ones((5, 3)))
    with pytest.raises(LandscapeError, match=r"one example, without its leading axis.*example: float32\[3\]") as caught:
        landscape.validate(jnp.ones(2))
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize("chunk_size", [2, 64])
def test_a_loss_that_is_not_finite_names_the_first_bad_example(chunk_size):
    landscape = scalar_landscape(lambda theta, x: theta * jnp.log(x), [1.0, 2.0, 3.0, -1.0, 0.0])
    with pytest.raises(LandscapeError, match="nan on example 3, the first of 2 among 5"):
        landscape.validate(1.0, chunk_size=chunk_size)


def test_a_gradient_that_is_not_finite_names_the_parameter_and_the_first_bad_example():
    landscape = scalar_landscape(lambda p, x: p["good"] * x + jnp.sqrt(jnp.abs(p["root"] * x)), [1.0, 2.0, 0.0])
    with pytest.raises(LandscapeError, match=r"params\['root'\] is not finite on example 2, the first of 1"):
        landscape.validate({"good": 1.0, "root": 1.0})


def test_a_loss_that_cannot_be_hashed():
    """Methods of modules that hold arrays, as libraries of networks have them, compare arrays and so have no hash."""

    class Module:
        scale = np.array([1.0, 2.0])

        __hash__ = None

        def __call__(self, theta, x):
            return jnp.sum((self.scale * theta - x) ** 2)

    landscape = fd.Landscape(Module(), np.arange(8.0).reshape(4, 2))
    prediction = fd.predict(landscape, jnp.ones(2), fd.Spacetime.sgd(2), [0.01], order=2, key=jax.random.key(0))
    simulation = fd.simulate(landscape, jnp.ones(2), fd.Spacetime.sgd(2), [0.01], runs=50, key=jax.random.key(0))
    assert np.isfinite(prediction.mean).all()
    assert np.isfinite(simulation.mean).all()
