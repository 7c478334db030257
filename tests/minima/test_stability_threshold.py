"""Where SGD leaves a minimum in the mean square, against maps of second moments by enumeration and closed forms."""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import feyngd as fd
from feyngd.minima import _stability_threshold as module

OPTIMIZERS = [fd.sgd(), fd.momentum(0.6), fd.momentum(0.5, nesterov=True), fd.momentum(0.5, dampening=0.5)]


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def random_hessians(seed, count, size, rank=1):
    """Hessians of examples as interpolating models have them: of low rank, and positive."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(count, size, rank))
    return roots @ roots.swapaxes(1, 2)


def radius_by_enumeration(hessians, batch, optimizer, rate):
    """The spectral radius of the mean of M ⊗ M over all batches, M the step of θ and velocity on a batch."""
    size, beta = hessians.shape[1], float(optimizer.beta)
    one, keep = np.eye(size), 1 - float(optimizer.dampening)
    of_gradient, of_velocity = (1, beta) if optimizer.nesterov else (0, 1)
    total, count = 0.0, 0
    for chosen in itertools.product(range(len(hessians)), repeat=batch):
        h = hessians[list(chosen)].mean(axis=0)
        velocity = np.hstack([keep * h, beta * one])
        theta = np.hstack([one - rate * of_gradient * h, 0 * one]) - rate * of_velocity * velocity
        step = np.vstack([theta, velocity])
        total, count = total + np.kron(step, step), count + 1
    return np.abs(np.linalg.eigvals(total / count)).max()


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    batch=st.integers(1, 2),
    optimizer=st.sampled_from(OPTIMIZERS),
    share=st.floats(0.1, 0.999),
)
def test_second_moments_grow_from_the_threshold_on(seed, batch, optimizer, share):
    hessians = random_hessians(seed, count=4, size=2) + 0.01 * np.eye(2)
    found = module.StabilityThreshold.of_hessians(hessians, batch_size=batch, optimizer=optimizer)
    edge = found.learning_rate
    assert 0 < edge < found.without_noise
    for rate in (share * edge, edge, edge / share):
        radius = radius_by_enumeration(hessians, batch, optimizer, rate)
        assert found.growth(rate) == pytest.approx(radius, rel=1e-9)
        assert (radius < 1) == (rate < edge) or radius == pytest.approx(1, abs=1e-9)
        assert (found.returned(rate) < 1) == (rate < edge) or rate == edge
    assert found.returned(edge) == pytest.approx(1, abs=1e-9)


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), batch=st.integers(1, 8))
def test_plain_sgd_has_the_generalized_eigenvalue_of_mulayoff_and_michaeli(seed, batch):
    """2/η is the greatest eigenvalue of C⁺D: C the Kronecker sum of the Hessian over 2, D the mean of H_b ⊗ H_b."""
    hessians = random_hessians(seed, count=6, size=3)
    mean, one = hessians.mean(axis=0), np.eye(3)
    C = (np.kron(mean, one) + np.kron(one, mean)) / 2
    products = np.mean([np.kron(hessian, hessian) for hessian in hessians], axis=0)
    D = (1 - 1 / batch) * np.kron(mean, mean) + products / batch
    expected = 2 / np.abs(np.linalg.eigvals(np.linalg.pinv(C) @ D)).max()
    assert module.StabilityThreshold.of_hessians(hessians, batch_size=batch).learning_rate == pytest.approx(expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_without_noise_it_is_the_bound_of_descent(optimizer):
    hessians = random_hessians(3, count=5, size=3)
    found = module.StabilityThreshold.of_hessians(hessians, batch_size=None, optimizer=optimizer)
    assert found.learning_rate == found.without_noise
    many = module.StabilityThreshold.of_hessians(hessians, batch_size=10**9, optimizer=optimizer)
    assert many.learning_rate == pytest.approx(found.learning_rate, rel=1e-6)
    assert found.growth(0.99 * found.learning_rate) < 1 < found.growth(1.01 * found.learning_rate)


def test_one_parameter_has_the_literatures_condition_and_simulated_moments():
    """E(1 − ηh_x)² ≤ 1. Above the threshold the mean square of 10⁵ runs grows by the predicted factor."""
    curvatures = np.array([0.2, 1.0, 2.4])
    landscape = fd.Landscape(lambda theta, h: h * theta["w"] ** 2 / 2, curvatures)
    found = fd.stability_threshold(landscape, {"w": np.zeros(())}, batch_size=1)
    assert found.learning_rate == pytest.approx(2 * curvatures.mean() / np.mean(curvatures**2))
    rate = 1.05 * found.learning_rate
    assert found.growth(rate) == pytest.approx(np.mean((1 - rate * curvatures) ** 2))
    drawn = np.random.default_rng(0).choice(curvatures, size=(100_000, 3))
    squares = np.prod(1 - rate * drawn, axis=1) ** 2
    assert squares.mean() == pytest.approx(found.growth(rate) ** 3, abs=4 * squares.std() / np.sqrt(len(drawn)))


def test_large_problems_agree_with_small_ones(monkeypatch):
    """Arnoldi's iteration, with products written out and summed, against all eigenvalues."""
    hessians = random_hessians(0, count=30, size=8)
    exact = module.StabilityThreshold.of_hessians(hessians, batch_size=2, optimizer=OPTIMIZERS[1])
    expected = exact.learning_rate, exact.growth(0.3 * exact.learning_rate)
    monkeypatch.setattr(module, "_DENSE", 0)
    for limit in (60, 0):
        monkeypatch.setattr(module, "_WRITTEN_OUT", limit)
        again = module.StabilityThreshold.of_hessians(hessians, batch_size=2, optimizer=OPTIMIZERS[1])
        assert again.learning_rate == pytest.approx(expected[0], rel=1e-9)
        assert again.growth(0.3 * expected[0]) == pytest.approx(expected[1], rel=1e-9)


def test_flat_directions_are_left_out_where_all_examples_are_flat():
    hessians = random_hessians(1, count=4, size=2)
    flat = np.zeros((4, 3, 3))
    flat[:, :2, :2] = hessians
    assert module.StabilityThreshold.of_hessians(flat).learning_rate == pytest.approx(
        module.StabilityThreshold.of_hessians(hessians).learning_rate
    )
    flat[0, 2, 2], flat[1, 2, 2] = 1.0, -1.0
    with pytest.raises(fd.LandscapeError, match="flat along 1 of 3 directions"):
        module.StabilityThreshold.of_hessians(flat)


def test_what_cannot_be_done_is_refused():
    landscape = fd.Landscape(lambda theta, h: h * theta[0] ** 2 / 2, np.array([1.0, 2.0]))
    here = np.zeros(1)
    for options, message in (
        ({"sampling": "reshuffled", "batch_size": 1}, "Batches of one epoch depend on each other"),
        ({"sampling": "full-batch", "batch_size": 1}, "with batch_size=None"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 1, "optimizer": fd.schedule([1, 0.5])}, "differ"),
        ({"batch_size": 1, "optimizer": "sgd"}, "An optimizer is made by"),
    ):
        with pytest.raises(fd.ArgumentError, match=message):
            fd.stability_threshold(landscape, here, **options)
    with pytest.raises(fd.ArgumentError, match="the limit is 2e"):
        fd.stability_threshold(landscape, np.zeros(10_000), batch_size=1)
    with pytest.raises(fd.LandscapeError, match="from -1 to -1"):
        fd.stability_threshold(fd.Landscape(lambda t, h: -h * t[0] ** 2 / 2, np.ones(2)), here, batch_size=1)
    found = fd.stability_threshold(landscape, here, batch_size=1)
    assert repr(found) == "<StabilityThreshold η = 1.2, B=1, SGD; 1.333 without noise>"
    with pytest.raises(fd.ArgumentError, match="learning rate"):
        found.growth(-1.0)
