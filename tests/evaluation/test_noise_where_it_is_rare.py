"""Noise drawn anew at every use in unusual places: many examples or one, rounding, files, messages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd import CellDiagram
from feyngd.errors import LandscapeError

KEY = jax.random.key(0)
TWICE = CellDiagram.parse("[a.1 a.2]")
POINTS = np.array([[1.0, 2.0], [-1.0, 0.5], [0.25, -1.0]], np.float32)
START = jnp.array([0.5, -0.25])
SPACETIME = fd.Spacetime.sgd(3, 1, 2)
TOO_LARGE = pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")


def signed(theta, point, key):
    """The gradient at 0 is x (1 ± 1), with a sign for every use."""
    return 0.5 * theta**2 + theta * point * (1 + jax.random.rademacher(key, (), jnp.float32))


def bowl(theta, point, key):
    return 0.5 * jnp.sum((theta - point) ** 2) * (1 + jax.random.bernoulli(key))


@pytest.mark.slow
def test_two_million_examples_are_paired_with_themselves():
    # Numbers of uses that grew with the position of a cell passed 2³¹ here, for one of the two cells.
    points = np.random.default_rng(0).normal(size=2_029_857).astype(np.float32)
    landscape = fd.Landscape(signed, points, per_use_noise=True)
    value = fd.evaluate(TWICE, landscape, jnp.float32(0), replicates=2, check_dtype=False, key=KEY)[TWICE].value
    assert value == pytest.approx(np.mean(np.square(points, dtype=float)), abs=0.01)


@pytest.mark.slow
def test_a_kink_that_few_uses_meet_is_found_with_one_example():
    def gated(theta, point, key):
        gate = jnp.where(jax.random.bernoulli(key, 0.2), 0.0, 50.0)
        return jnp.sum(jax.nn.relu(theta + gate)) + jnp.sum((theta - point) ** 2)

    landscape = fd.Landscape(gated, POINTS[:1], per_use_noise=True)
    with pytest.warns(fd.SmoothnessWarning, match="relu"):
        values = fd.evaluate(CellDiagram.parse("[a]"), landscape, START / 50, replicates=2, check_dtype=False, key=KEY)
    assert values.kinks


@pytest.mark.slow
@TOO_LARGE
def test_rounding_is_measured_with_the_same_noise_in_both_precisions():
    def far_off(theta, point, key):
        return bowl(theta, point, key) + (1e4 + 1e-2 * theta[0]) ** 2 * 1e-4 - 1e4

    errors = []
    for loss in (bowl, far_off):
        landscape = fd.Landscape(loss, POINTS, per_use_noise=True)
        prediction = fd.predict(landscape, START, SPACETIME, 1e-3, order=1, replicates=4, key=KEY)
        errors.append(float(prediction.dtype_error[0]))
    assert 0 <= errors[0] < 1e-6
    assert 1e-5 < errors[1] < 1e-2  # 10⁴ has steps of 10⁻³ in single precision


def test_values_with_cells_are_kept_in_a_file(tmp_path):
    landscape = fd.Landscape(bowl, POINTS, per_use_noise=True)
    values = fd.evaluate([TWICE, CellDiagram.parse("[]")], landscape, START, replicates=2, check_dtype=False, key=KEY)
    values.save(tmp_path / "values")
    assert dict(fd.Values.load(tmp_path / "values")) == dict(values)


def test_the_flat_loss_takes_the_key():
    def split(params, point, key):
        return bowl(jnp.concatenate([params["a"], params["b"]]), point, key)

    landscape = fd.Landscape(split, POINTS, per_use_noise=True)
    theta, flat = landscape.flatten({"a": START[:1], "b": START[1:]})
    assert flat(theta, POINTS[0], KEY) == bowl(START, POINTS[0], KEY)


def test_messages_name_the_key():
    def in_batches(theta, batch, key):
        return jnp.mean(bowl(theta, batch[:, :2], key))

    def misshapen(theta, point, key):
        return jnp.ones(3) @ theta * jax.random.normal(key)

    wrong = fd.Landscape(misshapen, POINTS, per_use_noise=True)
    with pytest.raises(LandscapeError, match=r"loss\(params, example, key\) raised .*float32\[2\]; a random key"):
        wrong.mean_loss(START)
    with pytest.raises(LandscapeError, match="It works on a batch of one"):
        fd.Landscape(in_batches, POINTS, per_use_noise=True).mean_loss(START)
    own = fd.Landscape(lambda t, x, key: bowl(t, x, key) * jax.random.normal(KEY), POINTS, per_use_noise=True)
    with pytest.raises(LandscapeError, match="Draw them from the key that loss"):
        fd.simulate(own, START, SPACETIME, 0.1, key=KEY)
