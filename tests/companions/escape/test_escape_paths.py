"""Escapes with more than one parameter: paths, saddles, what lies across, boxes, simulations and reports of noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

import feyngd as fd
from feyngd.companions import escape as esc
from feyngd.errors import ArgumentError, LandscapeError
from feyngd.landscapes import toys

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def layers():
    landscape, start = toys.two_layer(0.2)
    return landscape, esc.find_path(landscape, start, -start, key=KEY).legs[0]


@pytest.fixture(scope="module")
def bent():
    """A barrier of ¼ on a bent path, with noise in both directions that differs by a factor of ten."""
    noise = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.1**0.5], [0.0, -(0.1**0.5)]])

    def loss(theta, x):
        u = theta[0] ** 2 - 1
        return 0.25 * u**2 + (theta[1] - 0.7 * u) ** 2 + jnp.sqrt(2.0) * jnp.dot(x, theta)

    landscape = fd.Landscape(loss, noise)
    return landscape, esc.find_path(landscape, jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0]), key=KEY)


def test_two_layers_have_their_closed_forms(layers):
    landscape, leg = layers
    assert leg.barrier == pytest.approx(0.32, abs=1e-12)
    assert leg.minimum.lowest == pytest.approx([0.4, 1.6], abs=1e-9)
    assert leg.saddle.lowest == pytest.approx([-0.8, 1.2], abs=1e-9)
    found = esc.escape_time(landscape, leg, esc.sgld(0.02), 0.01, order=1)
    assert found.log_time[0] == pytest.approx(np.log(2 * np.pi / 0.8) + 0.5 * np.log(0.96 / 0.64) + 16, abs=1e-9)
    with pytest.raises(LandscapeError, match="no noise along the path at the saddle"):
        esc.escape_time(landscape, leg, esc.sgd(1), 0.01)
    rows = esc.assumptions(landscape, leg, esc.sgd(1), 0.01)
    assert rows["noise at the ends"].holds is False
    assert rows["strict minimum"].holds


def test_the_next_order_of_two_layers_is_that_of_a_partition_function(layers):
    """c_a by quadrature: ∫e^{−l/D} over a valley is its Gaussian value times 1 + D c_a."""
    landscape, leg = layers
    found = esc.diagrams_at(landscape, leg.minimum.params)
    ends = []
    for diffusion in (0.004, 0.008):
        axis = np.linspace(-6, 6, 241) * diffusion**0.5
        values, vectors = np.array([0.4, 1.6]), np.array([[1.0, 1.0], [-1.0, 1.0]]) / 2**0.5
        grid = np.stack(np.meshgrid(*(axis / value**0.5 for value in values), indexing="ij"), axis=-1) @ vectors.T
        u, v = np.moveaxis(grid + 0.8**0.5, -1, 0)
        loss = 0.5 * (u * v) ** 2 - u * v + 0.1 * (u**2 + v**2)
        weights = np.exp(-(loss - loss.min()) / diffusion)
        cell = np.prod((axis[1] - axis[0]) / values**0.5)
        ends.append((weights.sum() * cell / (2 * np.pi * diffusion / 0.8) - 1) / diffusion)
    assert 2 * ends[0] - ends[1] == pytest.approx(found.total, rel=0.02)
    assert found.total == pytest.approx(-found.figure_eight / 8 + found.dumbbell / 8 + found.sunset / 12)


def test_a_bent_path_has_its_exponents(bent):
    """Consequence (v) of the specification: .400/ε on the path of least climb, .3701/ε for the least action."""
    landscape, path = bent
    leg = path.legs[0]
    assert path.barrier == pytest.approx(0.25, abs=1e-10)
    epsilon, rate = 0.02, 0.04
    noise = esc.sgd(1)  # D = (η/2)·diag(1, 0.1)
    with pytest.warns(fd.TruncationWarning, match="least_action"):
        found = esc.escape_time(landscape, leg, noise, rate)
    assert epsilon * found.exponent[0] == pytest.approx(0.400, abs=2e-3)
    action = esc.least_action(landscape, leg, noise, rate)
    assert epsilon * action.action == pytest.approx(0.3701, abs=1.5e-3)
    assert action.string_action > found.exponent[0] > action.action
    back = path.reversed()
    assert back.legs[0].minimum.loss == leg.far.loss
    assert back.arc[-1] == pytest.approx(path.arc[-1])
    with pytest.raises(LandscapeError, match="straight"):
        esc.escape_time(landscape, leg, noise, rate, transverse="straight")
    with pytest.raises(LandscapeError, match="Determinants"):
        esc.escape_time(landscape, leg, noise, rate, transverse="determinants")


@pytest.mark.slow
def test_the_factor_across_a_straight_path_is_determinants_where_noise_is_isotropic():
    """Curvature across changes along the path; with isotropic noise the equation gives the square root of its ratio."""
    signs = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])

    def landscape(power):
        def loss(theta, x):
            across = 0.5 * (1 + 0.8 * theta[0] ** 2) * theta[1] ** 2
            scale = jnp.array([1.0, power])
            return (theta[0] ** 2 - 1) ** 2 / 4 + across + jnp.dot(x * scale, theta)

        return fd.Landscape(loss, signs)

    ends = jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0])
    isotropic = landscape(1.0)
    leg = esc.find_path(isotropic, *ends, key=KEY).legs[0]
    plain = esc.escape_time(isotropic, leg, esc.sgd(1), 0.05, order=1)
    from_determinants = 0.5 * np.log(1 / 1.8)
    assert plain.log_prefactor[0] == pytest.approx(np.log(2 * np.pi / 2**0.5) + from_determinants, abs=1e-8)
    found = {}
    for power in (1.0001, 2.0):
        other = landscape(power)
        leg = esc.find_path(other, *ends, key=KEY).legs[0]
        factors = [
            esc.escape_time(other, leg, esc.sgd(1), 0.05, transverse=how).log_prefactor[0]
            for how in ("straight", "none")
        ]
        found[power] = factors[0] - factors[1]
    assert found[1.0001] == pytest.approx(from_determinants, abs=2e-3)
    assert abs(found[2.0] - from_determinants) > 0.05
    assert found[2.0] == pytest.approx(riccati(4.0), abs=1e-4)


def riccati(ratio):
    """½∫S h'/D dx for the curvature h = 1 + 0.8x² across, with `ratio` times the noise, by another solver."""
    slope = lambda x: -(x**3 - x)  # from −1 to 0, mirrored to go from 1 down to 0: G·e with e = −x  # noqa: E731

    def change(s, state):
        x = -1 + s
        h, dh, g = 1 + 0.8 * x**2, 1.6 * x, -slope(x)
        return [(2 * ratio - 2 * h * state[0]) / g - state[0] ** 2 * dh, state[0] * dh / 2]

    found = integrate.solve_ivp(change, (1e-6, 1 - 1e-6), [ratio / 1.8, 0.0], method="LSODA", rtol=1e-9, atol=1e-11)
    return found.y[1, -1]


@pytest.mark.filterwarnings("ignore:Exit from a box")  # an exponent of 3, at next to no time between steps
def test_boxes_are_quadratures_and_do_not_depend_on_sharpness():
    bowl, centre = toys.quadratic(np.diag([1.0, 3.0]))
    found = esc.box_exit_time(bowl, centre, [0.8, 0.6], esc.sgld(0.1), 1e-9)
    rates = []
    for h, r in ((1.0, 0.8), (3.0, 0.6)):
        inner = lambda y, h=h: integrate.quad(lambda z: np.exp(-h * z**2 / 0.2), 0, y)[0]  # noqa: E731
        rates.append(0.1 / integrate.quad(lambda y, h=h, inner=inner: np.exp(h * y**2 / 0.2) * inner(y), 0, r)[0])
    # The overshoot of steps of η = 1e-9 is 1e-5.
    assert found.time[0] == pytest.approx(1 / sum(rates), rel=1e-3)
    exponents = []
    for h in (1.0, 9.0):
        sharp, centre = toys.quadratic([[h]], covariance=[[h]])
        exponents.append(esc.box_exit_time(sharp, centre, 1.0, esc.sgd(4), 0.05).exponent[0])
    assert exponents == pytest.approx([80.0, 80.0])
    tilted, centre = toys.quadratic([[1.0, 0.5], [0.5, 1.0]])
    with pytest.raises(LandscapeError, match="not independent"):
        esc.box_exit_time(tilted, centre, 1.0, esc.sgld(0.1), 0.01)


def test_rates_have_the_given_numbers_and_bounds():
    """D4 of the specification; censored runs, and none that escapes."""
    runs = esc.Escapes(np.full((1, 100), 505), np.ones((1, 100), bool))
    assert runs.rate[0] == pytest.approx(0.00196039604, abs=1e-11)
    assert runs.least_squares_rate[0] == pytest.approx(0.00194059406, abs=1e-11)
    assert np.ravel(runs.interval()) == pytest.approx([0.00161116814, 0.00238671184], abs=1e-11)
    none = esc.Escapes(np.full((1, 10), 1000), np.zeros((1, 10), bool))
    assert np.isnan(none.rate[0])
    assert np.ravel(none.interval(0.95)) == pytest.approx([0.0, -np.log(0.05) / 10_000])
    cut = esc.Escapes(np.full((1, 100), 505), np.arange(100)[None] < 60)
    assert cut.interval()[1][0] > esc.Escapes(np.full((1, 60), 505 / 0.6), np.ones((1, 60), bool)).interval()[1][0]


def test_intervals_cover_as_often_as_they_say():
    """200 repeats of 50 exponential times, whole and cut off at their mean."""
    rng = np.random.default_rng(1)
    steps = rng.geometric(1e-3, size=(2000, 50))
    lower, upper = esc.Escapes(steps, np.ones(steps.shape, bool)).interval()
    assert 0.93 <= np.mean((lower <= 1e-3) & (upper >= 1e-3)) <= 0.97
    lower, upper = esc.Escapes(np.minimum(steps, 1000), steps <= 1000).interval()
    assert 0.93 <= np.mean((lower <= 1e-3) & (upper >= 1e-3)) <= 0.98
    values = esc.Escapes(rng.exponential(1e4, (400, 30)), np.ones((400, 30), bool)).exponential
    assert 0.02 <= np.mean(values < 0.05) <= 0.08


@pytest.mark.parametrize(
    "noise",
    [
        pytest.param(esc.sgd(2), marks=pytest.mark.slow),
        pytest.param(esc.sgd(2, sampling="without-replacement"), marks=pytest.mark.slow),
        esc.sgd(4) + esc.sgld(0.06),
        esc.sgld(0.12),
    ],
    ids=["B2", "B2-without", "both", "sgld"],
)
def test_simulated_rates_are_those_of_exact_steps(noise, tmp_path):
    normal = jnp.asarray(np.random.default_rng(0).permutation(np.tile(toys.normal_population(), 2)))
    well, start = toys.double_well(0.1, 1.3, x=normal)
    rate = 0.3
    options = {"until": esc.Halfspace(0.9456492739, 1.0), "runs": 150, "max_steps": 200_000, "key": jax.random.key(3)}
    runs = esc.simulate(well, -1.0466805318, noise, rate, **options)
    assert runs.count[0] == 150
    lower, upper = runs.interval(0.997)
    exact = 1 / esc.exact_steps(well, -1.0466805318, 0.9456492739, noise, rate)[0]
    # Noise of batches is not normal: with B = 2 the exact chain is close, not the same.
    assert lower[0] / 1.05 <= exact <= 1.05 * upper[0]
    assert start.shape == ()


def test_simulations_go_on_from_a_file_and_do_not_depend_on_chunks(tmp_path):
    well, _ = toys.double_well()
    file = tmp_path / "runs.npz"
    options = {"until": esc.Box(-1.0, 0.5), "runs": 12, "max_steps": 3000, "key": KEY}
    first = esc.simulate(well, -1.0, esc.sgd(1), [0.3, 0.2], checkpoint=file, chunk_size=5, **options)
    again = esc.simulate(well, -1.0, esc.sgd(1), [0.3, 0.2], chunk_size=64, **options)
    assert np.array_equal(first.steps, again.steps)
    resumed = esc.simulate(well, -1.0, esc.sgd(1), [0.3, 0.2], checkpoint=file, **options)
    assert np.array_equal(first.steps, resumed.steps)
    with pytest.raises(ArgumentError, match=r"other|another"):
        esc.simulate(well, -1.0, esc.sgd(2), [0.3, 0.2], checkpoint=file, **options)
    for until, rate, match in [
        (esc.Box(1.0, 0.5), 0.1, "outside already"),
        (esc.Box(-1.0, -0.5), 0.1, "positive"),
        (esc.Halfspace(0.0, 0.0), 0.1, "not 0"),
        (3, 0.1, "until is"),
        (lambda x: x, 0.1, "truth value"),
        (esc.Box(-1.0, 0.5), 1.2, "stable below"),
    ]:
        with pytest.raises(ArgumentError, match=match):
            esc.simulate(well, -1.0, esc.sgd(1), rate, **(options | {"until": until}))
    reshuffled = esc.sgd(30, sampling="reshuffled")  # one batch an epoch: full gradients, which never leave
    assert not esc.simulate(well, -1.0, reshuffled, 0.1, **options).escaped.any()


def test_a_squeezed_landscape_takes_the_same_steps():
    """F14: SGD on f(√k θ) at η is SGD on f at kη, step by step."""
    well, start = toys.double_well()
    squeezed, small = esc.rescale(well, start, 4.0)
    options = {"runs": 6, "max_steps": 2000, "key": KEY}
    found = esc.simulate(squeezed, small, esc.sgd(1), 0.05, until=lambda x: 2 * x > 0.0, **options)
    plain = esc.simulate(well, start, esc.sgd(1), 0.2, until=lambda x: x > 0.0, **options)
    assert np.array_equal(found.steps, plain.steps)


def test_noise_against_a_hessian_is_its_definition():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 5))
    hessian, covariance = a @ a.T, b @ b.T
    landscape, at = toys.quadratic(hessian, covariance)
    values, vectors = np.linalg.eigh(hessian)
    rotated = vectors.T @ covariance @ vectors
    variances = np.diag(rotated)
    found = esc.noise_against_hessian(landscape, at)
    assert found.slope == pytest.approx(variances @ values / (values @ values), rel=1e-5)
    assert found.pearson == pytest.approx(np.corrcoef(values, variances)[0, 1], abs=1e-5)
    off = np.linalg.norm(rotated - np.diag(variances)) / np.linalg.norm(rotated)
    assert found.misalignment == pytest.approx(off, abs=1e-5)
    top = esc.noise_against_hessian(landscape, at, top=2, key=KEY)
    assert top.curvatures == pytest.approx(values[::-1][:2], rel=1e-5)
    coordinates = esc.noise_against_hessian(landscape, at, basis="coordinates", window=(0.0, 100.0))
    assert coordinates.variances == pytest.approx(np.diag(covariance), rel=1e-5)


def test_the_shape_of_noise_is_that_of_its_population():
    """Kurtosis is κ₄/(κ₂²B); across batches noise is nearly normal, whatever it is across parameters."""
    rng = np.random.default_rng(0)
    scales = 10.0 ** np.arange(-2, 2, 0.1)
    x = rng.exponential(size=(4000, 40)) * scales
    landscape = fd.Landscape(lambda theta, x: 0.5 * jnp.dot(theta - x, theta - x), x - x.mean(axis=0))
    found = esc.noise_shape(landscape, jnp.zeros(40), 20, batches=400, key=KEY)
    second, fourth = (np.mean((x - x.mean(axis=0)) ** power, axis=0) for power in (2, 4))
    assert found.kurtosis == pytest.approx((fourth / second**2 - 3) / 20, rel=1e-3)
    assert 1.8 < found.index_across_batches < 2.2
    assert found.index_across_parameters < 1.6
    assert found.norms.mean() == pytest.approx(found.gaussian_norms.mean(), rel=0.05)


@pytest.fixture(scope="module")
def unit():
    landscape, start = toys.digits_unit()
    return landscape, esc.find_path(landscape, start, -start, images=15, key=KEY).legs[0]


@pytest.mark.slow
def test_a_saddle_between_digits_is_refined_from_three_starts(unit):
    """49 parameters: index 1 and ‖G‖ ≤ 1e-8 rms, from images beside the saddle and from a random start."""
    landscape, leg = unit
    assert leg.minimum.params.shape == (49,)
    guesses = [leg.profile.images[leg.at_saddle + shift] for shift in (-2, 1)]
    guesses.append(0.1 * np.asarray(jax.random.normal(KEY, (49,))))
    for guess in guesses:
        found = esc.find_saddle(landscape, jnp.asarray(guess, dtype=float), direction=leg.saddle.direction, key=KEY)
        assert found.index == 1
        assert found.gradient_norm <= 1e-8 * leg.minimum.gradient_scale
        assert found.loss == pytest.approx(0.5, abs=1e-12)


@pytest.mark.slow
def test_the_escape_between_digits_takes_as_long_as_simulated(unit):
    landscape, leg = unit
    noise = esc.sgld(leg.barrier / 6)
    found = esc.escape_time(landscape, leg, noise, 0.3, num_samples=256, key=KEY)
    halfway = esc.Halfspace(leg.far.params / 2, leg.far.params)
    runs = esc.simulate(landscape, leg.minimum.params, noise, 0.3, until=halfway, runs=20, max_steps=10**6, key=KEY)
    assert runs.count[0] == 20
    lower, upper = runs.interval(0.954)
    assert lower[0] <= found.rate[0] <= upper[0]


@pytest.mark.parametrize("names", [("in", "b", "out", "c"), ("w2", "b", "w1", "a")], ids=["in order", "by name"])
def test_units_are_matched_by_permutation(names):
    """Two layers with a permutation of the hidden units are one network, in whatever order the leaves stand.

    By name the matrices fit one another in both orders, and the vectors both layers.
    """
    first, own, second, last = names
    x = np.random.default_rng(0).normal(size=(20, 3))

    def loss(params, example):
        hidden = jnp.tanh(example @ params[first] + params[own])
        size = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        out = jnp.sum(hidden @ params[second] + params[last] * jnp.arange(1.0, 4.0))
        return 0.5 * (out - jnp.tanh(2 * example[0])) ** 2 + 0.02 * size

    shapes = {first: (3, 3), own: (3,), second: (3, 3), last: (3,)}
    start = {name: jax.random.normal(jax.random.key(i), shape) for i, (name, shape) in enumerate(shapes.items())}
    landscape, order = fd.Landscape(loss, x), np.array([2, 0, 1])
    end = {**start, first: start[first][:, order], own: start[own][order], second: start[second][order]}
    with pytest.raises(ArgumentError, match="same"):
        esc.find_path(landscape, start, end, align="permutation", key=KEY)
    with pytest.raises(ArgumentError, match="Unknown align"):
        esc.find_path(landscape, start, end, align="rotation", key=KEY)
    tied = fd.Landscape(lambda params, example: loss(params, example) + params[own][0], x)
    with pytest.raises(ArgumentError, match="Permuting hidden units changes the loss"):
        esc.find_path(tied, start, end, align="permutation", key=KEY)


@pytest.mark.slow
def test_a_matrix_free_saddle_is_the_dense_one(layers, monkeypatch):
    """The same code without matrices: Krylov spaces, MINRES, quadrature of log|det| and sampled diagrams."""
    from feyngd.companions.escape import _next_order, _surface

    landscape, leg = layers
    exact = esc.escape_time(landscape, leg, esc.sgld(0.02), 0.01)
    monkeypatch.setattr(_surface, "DENSE", 0)
    monkeypatch.setattr(_next_order, "DENSE", 0)
    monkeypatch.setattr(_next_order, "EXACT_TENSORS", 0)
    found = esc.find_saddle(landscape, jnp.array([0.1, 0.05]), key=KEY)
    assert found.index == 1
    assert found.loss == pytest.approx(leg.saddle.loss, abs=1e-12)
    assert abs(found.log_det.value - np.log(0.96)) < 4 * found.log_det.stderr
    sampled = esc.escape_time(landscape, leg, esc.sgld(0.02), 0.01, num_samples=400, key=KEY)
    assert abs(sampled.log_time[0] - exact.log_time[0]) < 4 * sampled.stderr[0]
    assert sampled.stderr[0] < 0.1


def test_slopes_of_a_softmax_layer_that_cancel_have_a_stable_index():
    """Ten classes, in blocks of ten: in the order of the layer every block's sum would be rounding."""

    def loss(params, example):
        logits = example[0] @ params
        return jax.nn.logsumexp(logits) - logits[example[1]]

    rng = np.random.default_rng(0)
    landscape = fd.Landscape(loss, (rng.normal(size=(60, 8)), rng.integers(0, 10, 60)))
    found = esc.noise_shape(landscape, jnp.zeros((8, 10)), 1, batches=100, key=KEY)
    assert 1 < found.gaussian_index_across_parameters < 4
    assert np.isfinite(found.index_across_parameters)
