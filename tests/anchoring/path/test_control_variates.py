"""Control variates of anchored draws: their means are known, so that they change errors and not means."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.anchoring._noise_weights import RUN, STEP, Ties
from feyngd.anchoring.path import _memory
from feyngd.anchoring.path._adjoints import Adjoints, adjoint_steps, compiled_adjoints
from feyngd.anchoring.path._control_variates import compiled_control_means, controlled
from feyngd.anchoring.path._importance import ExampleSampler
from feyngd.anchoring.path._noise_directions import PILOTS, Directions
from feyngd.anchoring.path._noiseless_path import NoiselessPath
from feyngd.landscapes import cross_entropy, digits, logistic_regression

RATES = np.array([0.1, 0.2, 0.1, 0.15, 0.2, 0.1])
TIES = [STEP, RUN, Ties("epoch", 2), Ties("epoch", 3), Ties("place", 3)]
DRAWS = 2000
START = np.array([0.5, -0.75, 0.25])
MEASURED = ("train", "test", "influence")


def loss(theta, example):
    z = example @ theta
    return z**3 / 8 + z**2 / 2 + theta[0] * theta[1] * example[2] + theta @ theta / 2


def landscape(reading="population"):
    rng = np.random.default_rng(3)
    test = rng.normal(size=(4, 3)) if reading == "conditional" else None
    return fd.Landscape(loss, rng.normal(size=(6, 3)), test, reading=reading)


def noiseless_path(reading="population", noise=64, curvature=3):
    return NoiselessPath(landscape(reading), START, RATES, 64, noise, curvature)


def followed(problem, rates):
    """Return the noiseless path, and the Hessian in every step."""
    path, gradient = [START], jax.grad(problem.mean_loss)
    for rate in rates:
        path.append(path[-1] - rate * np.asarray(gradient(path[-1])))
    return np.array(path), np.array([jax.hessian(problem.mean_loss)(point) for point in path])


def arbitrary(problem, rates, seed):
    """Return the path, directions that have nothing to do with the noise, and adjoints of nothing.

    The directions E are only normalised, E H Eᵀ = 1, and their coordinates move by arbitrary matrices R.
    """
    rng = np.random.default_rng(seed)
    path, curvature = followed(problem, rates)
    count = len(path)
    vectors = rng.normal(size=(count, 2, 3))  # two directions of three parameters
    inner = np.linalg.cholesky(np.einsum("tia,tab,tjb->tij", vectors, curvature, vectors))
    vectors = np.linalg.solve(inner, vectors)
    readings = vectors @ curvature
    moves, squares = rng.normal(size=(count, 2, 2)) / 2, np.broadcast_to(np.eye(2), (count, 2, 2))
    parts = vectors, readings, moves, squares, squares
    read = {
        "vectors": rng.normal(size=(count, 3, 3)),
        "bends": rng.normal(size=(count, 3, 2, 2)),
        "factors": rng.normal(size=(count, 3)),
    }
    read["train"], read["test"] = rng.integers(3, size=(2, count))
    adjoints = Adjoints(**{name: jnp.asarray(array) for name, array in read.items()})
    return path, Directions(*map(jnp.asarray, parts)), adjoints


@pytest.fixture(scope="module", params=[2, 64], ids=["noise of 2 examples", "noise of all"])
def drawn(request):
    """Draws beside directions found by pilots, and beside arbitrary ones."""
    with jax.enable_x64(True):
        made = noiseless_path(noise=request.param)
        path, *guides = arbitrary(landscape(), RATES, request.param)
        both = (
            made.control_variates(TIES, 2, jax.random.key(0)),
            made.control_variates_in(*guides, jnp.asarray(path), TIES),
        )
        keys = jax.random.split(jax.random.key(1), DRAWS)
        return [(variates, made.second_order(TIES, keys, variates).draws) for variates in both]


def of(variates, draws, name):
    """Return draws of what is measured, their controls and the means of these."""
    return getattr(draws, name), getattr(draws, f"{name}_controls"), getattr(variates, name)


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0], [0, 0, 1], [0, 1, 1]])
def test_means_are_those_over_all_signs(labels):
    """Three examples, three steps: y and u are followed for every choice of signs, with moments written out."""
    problem = fd.Landscape(loss, np.random.default_rng(5).normal(size=(3, 3)))
    rates = RATES[:3]
    with jax.enable_x64(True):
        path, directions, adjoints = arbitrary(problem, rates, 1)
        begins = np.diff([*labels, labels[-1]], prepend=labels[0]) != 0
        means = compiled_control_means(loss, 2)(
            START,
            problem.data,
            jnp.asarray(path),
            directions,
            adjoints,
            jnp.asarray(rates),
            jnp.asarray(begins[:, None]),
        )
        gradients = np.array([[jax.grad(loss)(point, x) for x in problem.data] for point in path])
        curvatures = np.array([[jax.hessian(loss)(point, x) for x in problem.data] for point in path])
    # ∇(l_x − l) and ∇²(l_x − l), indexed by step and example.
    gradients, curvatures = (array - array.mean(axis=1, keepdims=True) for array in (gradients, curvatures))
    # Of the directions E, D and R; of the adjoints λ, E D³[λ] Eᵀ and their factors.
    E, D, R, adjoint, bends, factors = (np.asarray(array) for array in (*directions[:3], *adjoints[:3]))
    of_squares, of_reads, of_influences = (np.zeros((4, *shape)) for shape in ((2, 2), (3,), ()))
    choices = list(product(product([-1, 1], repeat=3), repeat=max(labels) + 1))
    for signs in choices:
        y, u = np.zeros(2), np.zeros(3)
        for t in range(4):
            # F = Σ_x ε_x (l_x − l)/√3 with the signs ε of the class that the step belongs to.
            weights = np.array(signs[[*labels, labels[-1]][t]]) / 3**0.5
            gradient, curvature = weights @ gradients[t], np.einsum("x,xab->ab", weights, curvatures[t])
            of_squares[t] += np.outer(y, y) / len(choices)
            of_reads[t] += factors[t] * u / len(choices)
            of_influences[t] += y @ E[t] @ gradient / len(choices)
            if t < 3:
                u = u - rates[t] * (bends[t] @ y @ y + adjoint[t] @ curvature @ (2 * y @ E[t]))
                y = R[t + 1] @ y - rates[t] * D[t + 1] @ gradient
    for ours, truth in zip(means, (of_squares, of_reads, of_influences), strict=True):
        np.testing.assert_allclose(np.asarray(ours)[0], truth, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("reading", ["population", "conditional"])
def test_adjoints_are_what_moving_does_to_a_later_loss(reading):
    problem = landscape(reading)
    with jax.enable_x64(True):
        path, directions, _ = arbitrary(problem, RATES, 2)
        made = compiled_adjoints(loss, 4, reading == "conditional")(
            START,
            problem.data,
            problem.test_data,
            jnp.asarray(path),
            directions,
            jnp.asarray(RATES),
            ExampleSampler.of_sizes(np.ones(6), float),
            jax.random.key(0),
        )

        def later(point, start, end, measured):
            for rate in RATES[start:end]:
                point = point - rate * jax.grad(problem.mean_loss)(point)
            return measured(point)

        measured = [problem.mean_loss, *([problem.test_loss] if problem.test_data is not None else [])]
        ends = [(end, function) for function in measured for end in adjoint_steps(6)]
        vectors = np.zeros((7, len(ends), 3))
        for j, (end, function) in enumerate(ends):
            for t in range(end):
                vectors[t, j] = jax.grad(later)(path[t + 1], t + 1, end, function)
        thirds = np.array([jax.jacfwd(jax.hessian(problem.mean_loss))(point) for point in path])
    np.testing.assert_allclose(made.vectors, vectors, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.asarray(made.factors)[adjoint_steps(6), [0, 1, 2]], 1, rtol=1e-9)
    E = np.asarray(directions.vectors)
    np.testing.assert_allclose(
        made.bends, np.einsum("tka,tabc,tjb,tlc->tjkl", E, thirds, vectors, E), rtol=1e-9, atol=1e-12
    )
    assert list(adjoint_steps(6)) == [1, 3, 6]
    assert list(made.train) == [0, 0, 1, 1, 2, 2, 2]
    assert list(made.test - made.train) == [3 * (len(measured) - 1)] * 7


@pytest.mark.parametrize("reading", ["population", "conditional"])
def test_in_as_many_directions_as_parameters_the_controls_are_the_draw(reading):
    """Curvature of all examples, and steps whose own adjoint is read: nothing is left of the spread."""
    ties = [STEP, RUN] if reading == "population" else [STEP]
    with jax.enable_x64(True):
        made = noiseless_path(reading, curvature=64)
        variates = made.control_variates(ties, 3, jax.random.key(0))
        draws = made.second_order(ties, jax.random.split(jax.random.key(1), 8), variates).draws
    for rows, controls in ((draws.train, draws.train_controls), (draws.test, draws.test_controls)):
        read = list(adjoint_steps(6))
        np.testing.assert_allclose(controls.sum(axis=3)[:, :, read], rows[:, :, read], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(draws.influence_controls[..., 0], draws.influence, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", MEASURED)
def test_means_of_controls_are_known(drawn, name):
    for variates, draws in drawn:
        _, controls, means = of(variates, draws, name)
        stderr = controls.std(axis=0, ddof=1) / DRAWS**0.5
        assert (np.abs(controls.mean(axis=0) - means)[:-1] <= 4.5 * stderr[:-1] + 1e-12).all()
        assert (np.abs(controls[:, :-1, -1]).max(axis=0) > 0).all()


@pytest.mark.parametrize("name", MEASURED)
def test_steps_at_one_place_of_their_epochs_are_left_alone(drawn, name):
    for variates, draws in drawn:
        rows, controls, means = of(variates, draws, name)
        assert np.isnan(means[-1]).all()
        np.testing.assert_array_equal(controlled(rows, controls, means)[:, -1], rows[:, -1])


@pytest.mark.parametrize("name", MEASURED)
def test_means_stay_and_errors_do_not_grow(drawn, name):
    for variates, draws in drawn:
        rows, controls, means = of(variates, draws, name)
        after = controlled(rows, controls, means)
        stderr = (rows - after).std(axis=0, ddof=1) / DRAWS**0.5
        assert (np.abs((rows - after).mean(axis=0)) <= 4.5 * stderr + 1e-12).all()
        assert (after[:, :-1, -1].var(axis=0) < 1.02 * rows[:, :-1, -1].var(axis=0)).all()


@pytest.mark.parametrize("name", MEASURED)
def test_few_draws_gain_too_with_factors_of_1(drawn, name):
    """In all steps, also those whose loss is read by the adjoint of a later one."""
    rows, controls, means = of(*drawn[0], name)
    after = rows - (controls - means).sum(axis=-1)
    assert (after[:, :-1, 1:].var(axis=0) < 0.7 * rows[:, :-1, 1:].var(axis=0)).all()
    np.testing.assert_array_equal(controlled(rows[:63], controls[:63], means)[:, :-1], after[:63, :-1])


def test_directions_leave_second_derivatives_as_they_are(drawn):
    """Curvature outside of the directions is that of few examples, inside that of all: the mean is that of neither."""
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(2), DRAWS)
        plain = noiseless_path()
        plain = plain.second_order(TIES, keys, plain.no_control_variates(TIES)).draws
    for _, draws in drawn:
        for ours, other in ((draws.train, plain.train), (draws.influence, plain.influence)):
            stderr = np.hypot(ours.std(axis=0), other.std(axis=0)) / DRAWS**0.5
            assert (np.abs(ours.mean(axis=0) - other.mean(axis=0)) <= 4.5 * stderr + 1e-12).all()


@pytest.mark.slow
def test_intervals_cover():
    """Every group of 64 draws fits its own factors: 93 to 97 % of 800 intervals of 95 % have the mean."""
    with jax.enable_x64(True):
        made = noiseless_path()
        variates = made.control_variates(TIES[:4], 2, jax.random.key(0))
        draws = made.second_order(TIES[:4], jax.random.split(jax.random.key(2), 12_800), variates).draws
    rows, controls, means = of(variates, draws, "train")
    exact = controlled(rows, controls, means).mean(axis=0)[:, -1]
    covered = []
    for start in range(0, 12_800, 64):
        own = slice(start, start + 64)
        group = controlled(rows[own], controls[own], means)[:, :, -1]
        covered.append(np.abs(group.mean(axis=0) - exact) <= 2.0 * group.std(axis=0, ddof=1) / 64**0.5)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_a_factor_is_that_of_the_other_half(drawn):
    variates, draws = drawn[0]
    rows, controls, means = of(variates, draws, "train")
    rows, controls = rows[:128].copy(), controls[:128]
    before = rows - controlled(rows, controls, means)
    rows[::2] *= 3
    after = rows - controlled(rows, controls, means)
    np.testing.assert_allclose(after[::2, :4], before[::2, :4], atol=1e-9)
    assert not np.allclose(after[1::2, :4], before[1::2, :4])


def test_test_losses_have_directions_of_their_own_curvature():
    with jax.enable_x64(True):
        made = noiseless_path("conditional")
        variates = made.control_variates([STEP], 3, jax.random.key(0))
        keys = jax.random.split(jax.random.key(1), DRAWS)
        draws = made.second_order([STEP], keys, variates).draws
        plain = made.second_order([STEP], keys, made.no_control_variates([STEP])).draws
    for name in ("train", "test"):
        rows, controls, means = of(variates, draws, name)
        after = controlled(rows, controls, means)
        stderr = (rows - after).std(axis=0, ddof=1) / DRAWS**0.5
        assert (np.abs((rows - after).mean(axis=0)) <= 4.5 * stderr + 1e-12).all()
        assert after[:, 0, -1].var() < 1.02 * rows[:, 0, -1].var()
        other = getattr(plain, name)
        stderr = np.hypot(rows.std(axis=0), other.std(axis=0)) / DRAWS**0.5
        assert (np.abs(rows.mean(axis=0) - other.mean(axis=0)) <= 4.5 * stderr + 1e-12).all()
    assert not np.allclose(variates.directions.test, variates.directions.train)


def test_a_control_that_is_rounding_is_not_used():
    """Where all examples have one Hessian adjoints read rounding, whose mean is rounding of another kind."""
    data = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    problem = fd.Landscape(lambda theta, x: jnp.maximum(x @ theta, 0) + theta @ theta / 10, data)
    options = {"steps": 8, "learning_rate": 0.1, "num_samples": 256, "truncation_samples": 0, "key": jax.random.key(1)}
    plain, after = (
        fd.anchor(problem, np.full(3, 0.3, np.float32), control_directions=size, **options) for size in (0, 2)
    )
    for ties, rows in after.second.items():
        others = plain.second[ties]
        stderr = np.hypot(rows.std(axis=0), others.std(axis=0)) / 256**0.5
        assert (np.abs(rows.mean(axis=0) - others.mean(axis=0)) <= 4 * stderr).all()
        assert (rows[:, 1:].var(axis=0) < others[:, 1:].var(axis=0)).all()


@pytest.mark.slow
def test_on_digits_most_of_the_spread_goes():
    images, labels = digits()
    model = logistic_regression((8, 8), 10)
    options = {"steps": 20, "learning_rate": 0.5, "truncation_samples": 0, "num_samples": 128, "key": jax.random.key(1)}
    problem = fd.Landscape(cross_entropy(model), (images[:300], labels[:300])), model.init(jax.random.key(0))
    plain, after = (fd.anchor(*problem, control_directions=size, **options) for size in (0, 16))
    for rows, other in [
        *zip(after.second.values(), plain.second.values(), strict=True),
        (after.influence, plain.influence),
    ]:
        assert rows[:, -1].var() < 0.4 * other[:, -1].var()
        stderr = np.hypot(rows[:, -1].std(), other[:, -1].std()) / len(rows) ** 0.5
        assert abs(rows[:, -1].mean() - other[:, -1].mean()) < 4 * stderr


def test_directions_are_no_more_than_half_of_what_pilots_span():
    """The half of smaller curvature is an accident of the draws: with it y drifts off, and errors grow."""
    problem = fd.Landscape(lambda theta, x: jnp.tanh(x @ theta) ** 2, np.random.default_rng(0).normal(size=(20, 80)))
    options = {"steps": 3, "learning_rate": 0.1, "num_samples": 4, "truncation_samples": 0, "key": jax.random.key(1)}
    columns = 8  # six of the whole run, two of single steps
    half, all_of_them = (
        fd.anchor(problem, np.full(80, 0.1), control_directions=size, **options)
        for size in (PILOTS * columns // 2, PILOTS * columns)
    )
    for ties, rows in half.second.items():
        np.testing.assert_array_equal(rows, all_of_them.second[ties])


def test_directions_are_as_many_as_the_memory_holds(monkeypatch):
    monkeypatch.setattr(_memory, "available_memory", lambda: 8 * 2**20)
    assert _memory.directions_kept(16, 1000, 4, 9) == 11
    assert _memory.directions_kept(8, 1000, 4, 9) == 8
    assert _memory.directions_kept(16, 5, 4, 9) == 5
    assert _memory.directions_kept(16, 10**6, 4, 9) == 0


def test_without_memory_for_pilots_there_are_no_directions(monkeypatch):
    monkeypatch.setattr(_memory, "available_memory", lambda: 2 * 2**20)
    theta, sizes = np.zeros(1000, np.float32), {"columns": 8, "num_ties": 4, "steps": 1, "directions": 2}
    assert _memory.plan_memory(theta, **sizes, pilots=16).directions == 2
    assert _memory.plan_memory(theta, **sizes, pilots=128).directions == 0
