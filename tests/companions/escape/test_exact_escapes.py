"""Escapes of one parameter: the numbers of the specification, exact times, and what is refused."""

import warnings

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
LEFT, TOP, RIGHT = -1.0466805318, 0.1010312579, 0.9456492739
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)


def uneven_noise(theta):
    """∫₀^θ √(1 + ½ tanh 1.5x) dx, whose gradient noise has C = 1 + ½ tanh 1.5θ."""
    at = theta / 2 * (1 + _NODES)
    return theta / 2 * jnp.sum(_WEIGHTS * jnp.sqrt(1 + 0.5 * jnp.tanh(1.5 * at)))


@pytest.fixture(scope="module")
def well():
    landscape, start = toys.double_well(0.1, 1.0)
    return landscape, esc.find_path(landscape, start, -start, key=KEY).legs[0]


@pytest.fixture(scope="module")
def uneven():
    landscape = fd.Landscape(
        lambda theta, x: theta**4 / 4 - theta**2 / 2 + 0.1 * theta + x * uneven_noise(theta), jnp.array([-1.0, 1.0])
    )
    return landscape, esc.find_path(landscape, -1.0, 0.9, key=KEY).legs[0]


def test_the_wells_are_where_they_should_be(well):
    _, leg = well
    assert [float(p.params) for p in (leg.minimum, leg.saddle, leg.far)] == pytest.approx([LEFT, TOP, RIGHT], abs=1e-10)
    assert leg.minimum.highest == pytest.approx(2.2866204070, abs=1e-9)
    assert leg.saddle.lowest[0] == pytest.approx(-0.9693780548, abs=1e-9)
    assert leg.barrier == pytest.approx(0.3574115894, abs=1e-10)


def test_injected_noise_has_the_given_numbers(well):
    """D1 of the specification."""
    landscape, leg = well
    noise = esc.sgld(0.03)
    times = [esc.escape_time(landscape, leg, noise, 0.01, order=order).time[0] for order in (1, 2)]
    assert times == pytest.approx([630084.709, 657039.185], abs=1e-3)
    exact = [esc.exact_time(landscape, LEFT, stop, noise, 0.01)[0] for stop in (RIGHT, TOP)]
    assert exact == pytest.approx([663485.209, 319178.193], abs=2e-3)


def test_uneven_noise_has_the_given_numbers(uneven):
    """D2 of the specification."""
    landscape, leg = uneven
    found = esc.escape_time(landscape, leg, esc.sgd(1), 0.1)
    assert 0.1 * found.exponent[0] == pytest.approx(1.0491619654, abs=1e-9)
    assert found.split[0] == pytest.approx(0.5865116701, abs=1e-8)
    assert found.time[0] == pytest.approx(214160.668, abs=1e-2)
    assert found.time_steps[0] == pytest.approx(0.0592191634, abs=1e-8)
    assert esc.exact_time(landscape, LEFT, RIGHT, esc.sgd(1), 0.1)[0] == pytest.approx(232918.008, abs=1e-2)


def test_styblinski_and_tang_have_the_given_numbers():
    """D3 of the specification: of the function itself, and of its mean over shifts."""
    landscape, start = toys.styblinski_tang(1, x=[0.0])
    leg = esc.find_path(landscape, start, jnp.array([2.7]), key=KEY).legs[0]
    places = [float(point.params[0]) for point in (leg.minimum, leg.saddle, leg.far)]
    assert places == pytest.approx([-2.9035340278, 0.1567312568, 2.7468027710], abs=1e-9)
    assert [leg.barrier, leg.minimum.highest] == pytest.approx([39.3617780628, 34.5830591026], abs=1e-8)
    assert leg.saddle.lowest[0] == pytest.approx(6 * 0.1567312568**2 - 16, abs=1e-8)
    averaged, _ = toys.styblinski_tang(1)
    found = esc.noise_against_hessian(averaged, jnp.array([-2.351910]))
    assert found.variances[0] == pytest.approx(959.9917, rel=1e-5)
    assert found.slope == pytest.approx(41, abs=0.5)


def test_the_figure_for_time_steps_is_what_steps_of_normal_noise_add(uneven):
    """Extrapolated to small steps, exact steps are longer than exact times by the figure."""
    landscape, leg = uneven
    rates = np.array([0.06, 0.075, 0.1])
    steps = esc.exact_steps(landscape, LEFT, RIGHT, esc.sgd(1), rates) * rates
    longer = np.log(steps / esc.exact_time(landscape, LEFT, RIGHT, esc.sgd(1), rates))
    limit = np.polynomial.Polynomial.fit(rates, longer, 2)(0.0)
    assert esc.escape_time(landscape, leg, esc.sgd(1), 0.06).time_steps[0] == pytest.approx(limit, abs=0.01)


@pytest.mark.parametrize(("calculus", "alpha"), [("ito", 0.0), ("stratonovich", 0.5), ("anti-ito", 1.0)])
def test_exact_times_over_a_jump_of_the_noise_are_a_double_integral(calculus, alpha):
    """C jumps from 1 to 4 at −0.5, with a wall at −2, in each calculus."""
    landscape = fd.Landscape(
        lambda theta, x: (
            theta**4 / 4 - theta**2 / 2 + 0.1 * theta + x * (theta + 0.5) * jnp.where(theta < -0.5, 1.0, 2.0)
        ),
        jnp.array([-1.0, 1.0]),
    )
    found = esc.exact_time(landscape, -1.0, 0.9, esc.sgd(1), 0.1, reflect=-2.0, calculus=calculus)[0]
    grid = np.concatenate([np.linspace(-2, -0.5, 200_001), np.linspace(-0.5, 0.9, 200_001)])
    noise = np.repeat([0.05, 0.2], 200_001)
    height = integrate.cumulative_trapezoid((grid**3 - grid + 0.1) / noise, grid, initial=0)
    inner = integrate.cumulative_trapezoid(np.exp(-height) * noise ** (alpha - 1), grid, initial=0)
    outer = np.exp(height) * noise**-alpha * inner
    assert found == pytest.approx(integrate.trapezoid(outer[grid >= -1], grid[grid >= -1]), rel=1e-5)


def test_long_times_are_logarithms():
    landscape, start = toys.styblinski_tang(1, x=[0.0])
    args = landscape, start, jnp.array([2.7468]), esc.sgld(0.01), 0.001
    with pytest.raises(LandscapeError, match="log=True"):
        esc.exact_time(*args)
    leg = esc.find_path(landscape, start, jnp.array([2.7]), key=KEY).legs[0]
    time = esc.escape_time(landscape, leg, esc.sgld(0.01), 0.001)
    assert esc.exact_time(*args, log=True)[0] == pytest.approx(time.log_time[0], abs=1e-4)
    assert "never (10^1,712 steps)" in str(time)


def one_parameter_wells():
    """Three landscapes with two wells, and their start and end."""
    yield lambda theta: theta**4 / 4 - theta**2 / 2 + 0.1 * theta, -1.0, 0.95
    yield lambda theta: jnp.cosh(theta) - 1.1 * theta**2 + 0.05 * theta, -2.36, 2.33
    yield lambda theta: theta**6 / 6 - theta**3 / 3 - 0.55 * theta**2 + 0.02 * theta, -0.75, 1.25


@pytest.mark.slow
@pytest.mark.parametrize("which", range(3))
def test_the_next_order_is_close_to_exact_times(which):
    """Injected noise, and two temperatures: within 2 % of the exact time at ΔL/D ≥ 12, and 5 % at ≥ 8."""
    mean, start, end = list(one_parameter_wells())[which]
    landscape = fd.Landscape(lambda theta, x: mean(theta) + x * theta, jnp.array([-1.0, 1.0]))
    leg = esc.find_path(landscape, start, end, key=KEY).legs[0]
    ends = leg.minimum.params, leg.far.params
    middle = 0.5 * float(leg.minimum.params) + 0.5 * float(leg.saddle.params)
    low, high = sorted((float(leg.minimum.params), middle))

    def hot(theta):  # twice the noise beyond the middle of the way up
        return jnp.where((theta > low) & (theta < high) | ((theta - middle) * (leg_sign) < 0), 1.0, 2.0) ** 0.5

    leg_sign = 1.0 if float(leg.saddle.params) > float(leg.minimum.params) else -1.0
    two = fd.Landscape(
        lambda theta, x: mean(theta) + x * (theta - middle) * jax.lax.stop_gradient(hot(theta)), jnp.array([-1.0, 1.0])
    )
    heights = [leg.barrier, float(mean(jnp.array(middle, dtype=float))) - leg.minimum.loss]
    split = heights[1] / heights[0]
    leg_two = esc.find_path(two, start, end, key=KEY).legs[0]
    for size, allowed in ((8.0, 0.05), (12.0, 0.02)):
        diffusion = leg.barrier / size
        found = esc.escape_time(landscape, leg, esc.sgld(diffusion), 0.01).time[0]
        assert found == pytest.approx(esc.exact_time(landscape, *ends, esc.sgld(diffusion), 0.01)[0], rel=allowed)
        rate = 2 * leg.barrier / size * (split + (1 - split) / 2)  # so that the exponent is `size`
        time = esc.escape_time(two, leg_two, esc.sgd(1), rate, form="two-temperature", split=split)
        assert time.exponent[0] == pytest.approx(size, rel=1e-4)
        assert time.time[0] == pytest.approx(esc.exact_time(two, *ends, esc.sgd(1), rate)[0], rel=allowed)


def test_stopping_at_the_saddle_is_close_to_exact_steps(well):
    landscape, leg = well
    for diffusion, rate in ((0.03, 0.02), (0.04, 0.1)):
        found = esc.escape_time(landscape, leg, esc.sgld(diffusion), rate, stop="saddle").steps[0]
        exact = esc.exact_steps(landscape, LEFT, TOP, esc.sgld(diffusion), rate)[0]
        plain = esc.escape_time(landscape, leg, esc.sgld(diffusion), rate).steps[0] / 2
        assert found == pytest.approx(exact, rel=0.06)
        assert abs(found - exact) < 0.7 * abs(plain - exact)


@pytest.mark.slow
def test_cumulants_are_the_diffusion_for_normal_noise_and_not_for_skewed(well):
    """Skewed noise, twice: the exponent of the chain itself, by exact steps of its own law, against both."""
    skewed = jnp.array([-0.5] * 16 + [2.0] * 4)  # mean 0, variance 1, skewness 1.5
    landscape = fd.Landscape(lambda theta, x: theta**4 / 4 - theta**2 / 2 + 0.1 * theta + x * theta, skewed)
    leg = esc.find_path(landscape, -1.0, 0.9, key=KEY).legs[0]
    rates = np.array([0.12, 0.16])
    whole = esc.escape_time(landscape, leg, esc.sgd(1, model="cumulants"), rates)
    plain = esc.escape_time(landscape, leg, esc.sgd(1), rates)
    assert plain.exponent == pytest.approx(2 * leg.barrier / rates)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exact = np.log(steps_of_two_values(rates, leg))
    slope = np.diff(exact + np.log(rates)) / np.diff(1 / rates)
    slopes = [np.diff(found.log_time) / np.diff(1 / rates) for found in (whole, plain)]
    assert abs(slopes[0] - slope) < 0.03 * slope
    assert abs(slopes[1] - slope) > 0.2 * slope


def steps_of_two_values(rates, leg):
    """Mean steps of SGD with B = 1 whose noise is −½ in four cases of five, and 2 in one, by a linear system."""
    found = []
    for rate in rates:
        grid = np.linspace(-2.2, float(leg.far.params), 3001)
        step = grid[1] - grid[0]
        slope = grid**3 - grid + 0.1
        transition = np.zeros((len(grid), len(grid)))
        for noise, chance in ((-0.5, 0.8), (2.0, 0.2)):
            place = (np.clip(grid - rate * (slope + noise), grid[0], None) - grid[0]) / step
            left = np.floor(place).astype(int)
            for at, share in ((left, 1 - (place - left)), (left + 1, place - left)):
                inside = at < len(grid) - 1
                transition[np.flatnonzero(inside), at[inside]] += chance * share[inside]
        times = np.linalg.solve(np.eye(len(grid)) - transition, np.ones(len(grid)))
        found.append(times[np.argmin(np.abs(grid - float(leg.minimum.params)))])
    return np.array(found)


def test_stable_indices_have_the_given_numbers():
    """D5 of the specification."""
    rng = np.random.default_rng
    assert esc.tail_index(rng(0).standard_cauchy(10_000), 100) == pytest.approx(1.035888316, abs=1e-9)
    assert esc.tail_index(rng(0).standard_normal(10_000), 100) == pytest.approx(2.084840268, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: esc.sgld(-1.0), "above 0"),
        (lambda: esc.sgd(0), "integer"),
        (lambda: esc.sgd(4, rho=1.0), "model='hessian'"),
        (lambda: esc.sgd(4, model="hessian", rho=-1.0), "above 0"),
        (lambda: esc.sgd(4, sampling="fixed"), "Unknown sampling"),
        (lambda: esc.sgd(4) + esc.sgd(4), "one batch size"),
        (lambda: esc.tail_index([1.0, 2.0, 3.0], 2), "divide"),
        (lambda: esc.tail_index([1.0, 0.0, 3.0, 1.0], 2), "not 0"),
        (lambda: esc.occupation([[0, 1], [1, 0], [1, 1]]), "square"),
        (lambda: esc.occupation([[0, -1], [1, 0]]), "not negative"),
        (lambda: esc.occupation([[0, 1], [0, 0]]), "cannot be reached"),
        (lambda: esc.rescale(*toys.double_well(), 0.0), "above 0"),
        (lambda: esc.exact_time(*toys.quadratic(np.eye(2)), np.ones(2), esc.sgld(1), 0.1), "one parameter"),
        (lambda: esc.find_path(*toys.double_well(), -1.0, images=3, key=KEY), "images"),
        (lambda: esc.find_path(*toys.double_well(), -1.0, key=KEY), "same"),
        (lambda: esc.find_path(*toys.double_well(), 0.3, key=KEY), "end is not near a minimum"),
        (lambda: esc.find_path(*toys.double_well(), -0.9, key=KEY), "descend to the same minimum"),
        (lambda: esc.find_path(*toys.double_well(), np.nan, key=KEY), "finite"),
        (lambda: esc.find_path(*toys.double_well(), {"x": 1.0}, key=KEY), "structure"),
        (lambda: esc.find_path(*toys.double_well(), 0.9, key=None), "key"),
        (lambda: esc.noise_against_hessian(*toys.double_well(), window=(2.0, 1.0)), "lower first"),
        (lambda: esc.noise_shape(*toys.double_well(), 4, batches=33, key=KEY), "multiple"),
    ],
)
def test_bad_input_says_what_is_allowed(call, match):
    with pytest.raises(ArgumentError, match=match):
        call()


def test_refusals_of_escape_times(well):
    landscape, leg = well
    for noise, options, match in [
        (esc.sgd(1, model="hessian"), {}, "diverges"),
        (esc.sgd(1, sampling="reshuffled"), {}, "anticorrelated"),
        (esc.sgd(31, sampling="without-replacement"), {}, "at most M = 30"),
        (esc.sgd(1, model="cumulants"), {"form": "two-temperature"}, "form='path'"),
        (esc.sgld(0.01), {"split": 1.0}, "below 1"),
        (esc.sgld(0.01), {"form": "wkb"}, "Unknown form"),
        (esc.sgld(0.01), {"order": 3}, "order is 1, or 2"),
    ]:
        with pytest.raises(ArgumentError, match=match):
            esc.escape_time(landscape, leg, noise, 0.01, **options)
    with pytest.raises(ArgumentError, match=r"path\.legs"):
        esc.escape_time(landscape, esc.find_path(landscape, -1.0, 0.9, key=KEY), esc.sgld(0.1), 0.01)
    with pytest.warns(fd.TruncationWarning, match="exponent"):
        esc.escape_time(landscape, leg, esc.sgld(0.1), 0.01)


def test_horizons_and_inversions_agree_with_times(well):
    landscape, leg = well
    steps = esc.escape_time(landscape, leg, esc.sgd(1), 0.05).steps[0]
    assert esc.horizon(landscape, leg, esc.sgd(1), 0.05, fraction=0.01)[0] == pytest.approx(-np.log(0.99) * steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fd.TruncationWarning)
        assert esc.learning_rate_for(landscape, leg, esc.sgd(1), steps) == pytest.approx(0.05, rel=1e-6)
        batch = esc.batch_size_for(landscape, leg, 0.05, 10 * steps)
        around = [esc.escape_time(landscape, leg, esc.sgd(size), 0.05).steps[0] for size in (batch - 1, batch)]
    assert around[0] < 10 * steps <= around[1]


def test_occupations_are_those_of_the_chain():
    rates = np.random.default_rng(0).uniform(size=(4, 4)) * 10.0 ** np.arange(-3, 1)
    found = esc.occupation(rates)
    generator = rates - np.diag(np.diag(rates))
    generator -= np.diag(generator.sum(axis=1))
    assert found @ generator == pytest.approx(np.zeros(4), abs=1e-15)
    assert found.sum() == pytest.approx(1)


@pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")
@pytest.mark.parametrize(("split", "share"), [(0.5, 0.0), (0.2, 1.0)])
def test_what_is_left_out_is_said(split, share):
    """A well where much follows the next order; and temperatures that share the barrier other than the noise does."""

    def rippled(t, x):
        return -jnp.cos(t) - 0.35 * jnp.cos(2 * t + 0.6) + 0.05 * t**2 + share * x * t**2 / 9

    with jax.enable_x64(True):
        landscape = fd.Landscape(rippled, jnp.array([-1.0, 1.0]))
        leg = esc.find_path(landscape, jnp.array(-0.17), jnp.array(5.86), key=KEY).legs[0]
        noise = esc.sgd(1) + esc.sgld(0.3) if share else esc.sgld(0.3)
        found = esc.escape_time(landscape, leg, noise, [0.02], form="two-temperature", split=split)
        exact = esc.exact_time(landscape, leg.minimum.params, leg.far.params, noise, [0.02])
    assert abs(found.log_time[0] - np.log(exact[0])) < found.truncation[0] < 0.3
    assert found.truncation[0] > 0.01
