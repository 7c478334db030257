"""What floating-point arithmetic adds to predictions: rounding with its sign, and updates that are lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.estimates import PrecisionWarning
from feyngd.landscapes import lost_updates
from feyngd.prediction import series_by_root

KEY = jax.random.key(0)
X, Y = np.linspace(-1, 1, 12), np.sin(np.linspace(-3, 3, 12))
SPACETIME = fd.Spacetime.sgd(6, 2)
TOO_LARGE = pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")


def linear(p, e):
    return 0.5 * (p * e[0] - e[1]) ** 2


def values_by_hand(series, root, seed):
    """Values with rounding that differs from diagram to diagram, in two samples."""
    rng = np.random.default_rng(seed)
    rounding = {diagram: rng.normal(size=2) for diagram in series}
    replicates = {diagram: np.array([1.0]) for diagram in series}
    return fd.Values(replicates, "moment", rounding=rounding, root=root), rounding


def rounding_by_hand(series, rounding):
    orders = [sum((float(c) * rounding[D] for D, c in series.of_order(k).items()), np.zeros(2)) for k in range(3)]
    return np.stack(orders, axis=1)


@TOO_LARGE
def test_rounding_of_one_series_keeps_its_sign():
    landscape = fd.Landscape(linear, (X, Y))
    ((sign, series),) = series_by_root("gap", landscape, SPACETIME, 2).values()
    values, rounding = values_by_hand(series, "test", 1)
    prediction = fd.predict(landscape, jnp.array(0.3), SPACETIME, [0.1, 0.4], order=2, quantity="gap", values=values)
    expected = rounding_by_hand(series, rounding)
    assert sign == 1
    np.testing.assert_allclose(prediction.rounding, expected, rtol=1e-12)
    powers = np.array([[1, 0.1, 0.01], [1, 0.4, 0.16]])
    np.testing.assert_allclose(prediction.dtype_error, np.sqrt(np.mean((powers @ expected.T) ** 2, axis=1)), rtol=1e-6)


@TOO_LARGE
def test_rounding_of_two_series_is_subtracted():
    landscape = fd.Landscape(linear, (X, Y), (X / 2, Y), reading="conditional")
    spacetime = fd.Spacetime.sgd(12, 3)
    parts = series_by_root("gap", landscape, spacetime, 2)
    made = {root: values_by_hand(series, root, seed) for seed, (root, (_, series)) in enumerate(parts.items())}
    values = {root: found for root, (found, _) in made.items()}
    prediction = fd.predict(landscape, jnp.array(0.3), spacetime, 0.1, order=2, quantity="gap", values=values)
    test, train = (rounding_by_hand(parts[root][1], made[root][1]) for root in ("test", "train"))
    np.testing.assert_allclose(prediction.rounding, test - train, rtol=1e-12)
    assert prediction.dtype_error[0] == pytest.approx(
        np.sqrt(np.mean(((test - train) @ [1, 0.1, 0.01]) ** 2)), rel=1e-6
    )


@TOO_LARGE
def test_rounding_common_to_test_and_train_cancels_in_the_gap():
    # Both losses are too small by the same 2⁻¹⁰, as a constant of bfloat16 is rounded: the gap is not affected.
    def loss(p, x):
        return (p[1].astype(jnp.bfloat16)).astype(jnp.float32) + 0.5 * (p[0] - x) ** 2

    landscape = fd.Landscape(loss, np.array([0.5, -0.5, 1.0, 0.25]), np.array([0.5, 1.0]), reading="conditional")
    params = jnp.array([0.25, 1 + 2**-10])
    options = {"order": 0, "key": KEY}
    test = fd.predict(landscape, params, fd.Spacetime.gd(4, 2), 0.1, quantity="test_loss", **options)
    gap = fd.predict(landscape, params, fd.Spacetime.gd(4, 2), 0.1, quantity="gap", **options)
    assert test.dtype_error[0] == pytest.approx(2**-10, rel=1e-3)
    assert gap.dtype_error[0] < 1e-6


@TOO_LARGE
def test_the_measurement_can_be_left_out():
    landscape = fd.Landscape(linear, (X, Y))
    options = {"order": 1, "key": KEY}
    without = fd.predict(landscape, jnp.array(0.3), SPACETIME, 0.01, check_dtype=False, **options)
    assert np.isnan(without.dtype_error).all()
    assert "dtype" not in str(without)
    measured = fd.predict(landscape, jnp.array(0.3), SPACETIME, 0.01, **options)
    assert 0 < measured.dtype_error[0] < 1e-7
    assert without.mean == measured.mean


@TOO_LARGE
def test_what_cannot_be_measured_is_said_once_for_both_roots():
    def loss(p, e):
        return linear(p, e) + jnp.where(p * 1e-9 + 1 == 1, 0.0, jnp.inf)

    landscape = fd.Landscape(loss, (X, Y), (X / 2, Y), reading="conditional")
    with pytest.warns(PrecisionWarning, match="not measured") as shown:
        found = fd.predict(landscape, jnp.array(0.3), fd.Spacetime.sgd(12, 3), 0.01, order=1, quantity="gap", key=KEY)
    assert sum(issubclass(one.category, PrecisionWarning) for one in shown) == 1
    assert np.isnan(found.dtype_error).all()
    assert np.isfinite(found.mean).all()


# --- updates that are lost ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_parameters_whose_updates_would_be_lost_are_refused(dtype):
    landscape = fd.Landscape(lambda p, e: linear(p["w"].astype(jnp.float32), e), (X, Y))
    with pytest.raises(fd.LandscapeError, match=r"\['w'\] in b?float16.*Keep parameters in float32"):
        fd.predict(landscape, {"w": jnp.array(0.3, dtype)}, SPACETIME, 0.01, key=KEY)


@TOO_LARGE
@pytest.mark.parametrize(("rate", "lost"), [(1e-9, 1.0), (1e-3, 0.0)])
def test_updates_below_half_a_unit_in_the_last_place_are_lost(rate, lost):
    # From p = 1 the gradient of p²/2 is 1, and the spacing below is 6e-8: steps of 1e-9 move nothing.
    landscape = fd.Landscape(lambda p, x: 0.5 * (p + x) ** 2, np.array([0.0, 0.0]))
    spacetime = fd.Spacetime.gd(2, 1000)
    found = fd.predict(landscape, jnp.array(1.0), spacetime, rate, order=2, check_dtype=True)
    run = fd.simulate(landscape, jnp.array(1.0), spacetime, rate, runs=2, key=KEY)
    change = found.mean[0] - found.start
    assert found.lost_updates[0] == pytest.approx(-lost * change, rel=1e-3, abs=1e-9 + 1e-4 * abs(change))
    if lost:
        assert run.mean[0] == 0.5
    assert abs(found.mean[0] - run.mean[0]) < 2 * found.dtype_error[0] + found.truncation[0]


def test_updates_that_are_rounded_up_count_too():
    # Steps of 0.7 units in the last place become whole ones: the movement is 1/0.7 of what it should be.
    landscape = fd.Landscape(lambda p, x: 0.5 * (p + x) ** 2, np.array([0.0, 0.0]))
    rate = 0.7 * 2.0**-23
    found = fd.predict(landscape, jnp.array(1.5), fd.Spacetime.gd(2, 50), rate / 1.5, order=2)
    change = found.mean[0] - found.start
    assert found.lost_updates[0] == pytest.approx(abs(change) * (1 / 0.7 - 1), rel=0.02)


def test_a_failure_to_measure_lost_updates_leaves_the_prediction():
    landscape = fd.Landscape(lambda p, x: p["no such"] * x, np.ones(2))
    lost = lost_updates(
        landscape,
        jnp.array(1.0),
        np.array([1e-9]),
        steps=5,
        batch_size=2,
        squared_gradient=0.1,
        mean_at=lambda rates: 1 - 0.5 * rates,
        errors=np.array([5e-10]),
    )
    assert np.isnan(lost).all()


def test_other_calls_that_rely_on_small_steps_refuse_half_precision(tmp_path):
    landscape = fd.Landscape(lambda p, e: linear(p.astype(jnp.float32), e), (X, Y))
    start = jnp.array(0.3, jnp.bfloat16)
    calls = {
        "A prediction near": lambda: fd.near_minimum(landscape, start, key=KEY),
        "STIC": lambda: fd.training.stic(landscape, start, learning_rate=0.1, steps=3),
        "A prediction would": lambda: fd.study(landscape, start, SPACETIME, 0.01, tmp_path, runs=2, key=KEY),
    }
    for beginning, call in calls.items():
        with pytest.raises(fd.LandscapeError, match=rf"{beginning}.*params in bfloat16.*astype\(jnp.bfloat16\)"):
            call()
    assert not list(tmp_path.iterdir())


@TOO_LARGE
def test_studies_can_leave_the_measurement_out(tmp_path):
    landscape = fd.Landscape(linear, (X, Y))
    options = {"order": 1, "runs": 2, "check_dtype": False, "key": KEY}
    (one,) = fd.study(landscape, jnp.array(0.3), SPACETIME, 0.01, tmp_path, **options)
    assert np.isnan(one.prediction.dtype_error).all()
