"""The steady state with one parameter: numbers, literal integrals, identities, temperatures, refusals."""

from itertools import combinations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

import feyngd as fd
from feyngd.companions.data_averaging import steady_state

POOL = [2.0, 1.0, 0.5, -1.0]
RIDGE = {"weight_decay": 1.0, "noise": 1.0, "domain": (-6.0, 6.0), "panels": 40}


def logistic(theta, m):
    return jnp.log1p(jnp.exp(-m * theta))


def make(n=12, pool=POOL, reading="population", **changed):
    landscape = fd.Landscape(logistic, jnp.array(pool), reading=reading)
    return steady_state(landscape, jnp.array(0.0), n, **{**RIDGE, **changed})


@pytest.fixture(scope="module")
def full():
    return make()


@pytest.fixture(scope="module")
def small():
    return make(5)


def signs(n, alpha=0.2, potential="sgd", domain=(-6.0, 6.0), lowered=0.0):
    landscape = fd.Landscape(lambda theta, x: (theta - x) ** 2 / 2 - lowered, jnp.array([-1.0, 1.0]))
    options = {"weight_decay": alpha, "noise": 0.5, "domain": domain, "potential": potential}
    return steady_state(landscape, jnp.array(0.1), n, **options)


def test_numbers(full):
    losses, slopes = full.averages(0.5), full.slopes(0.5)
    found = [losses.train, losses.test, losses.gap, full.linear_gap(0.5), slopes.train, slopes.test]
    expected = [0.659223827, 0.675167308, 0.015943482, 0.016223627, 0.076668309, 0.078495488]
    assert [each.value for each in found] == pytest.approx(expected, abs=6e-10)
    assert full.bound(0.5).value == pytest.approx(0.01667922, abs=6e-9)
    assert all(each.stderr is None and each.kind == "quadrature" for each in found)
    assert full.interpolated_gap(0.5).value == pytest.approx(losses.gap.value, rel=1e-12)
    residuals = full.residuals(0.5)
    assert max(vars(residuals).values()) < 1e-12


@pytest.mark.parametrize(
    ("reading", "potential"),
    [("unbiased", "sgd"), *(pytest.param("population", name, marks=pytest.mark.slow) for name in ("sgd", "loss"))],
)
def test_against_literal_integrals(reading, potential):
    """Every ordered training set, each integral by SciPy, potentials by integrals within integrals."""
    n, T, alpha, beta = 2, 0.6, 1.0, 1.0
    pool = POOL[1:] if reading == "population" else POOL
    sets = list(product(pool, repeat=n)) if reading == "population" else list(combinations(pool, n))

    def slope(m, x):
        return -m / (1 + np.exp(m * x))

    def noise(x, chosen):
        return np.var([slope(m, x) for m in chosen]) + beta**2

    def g(x, chosen):
        if potential == "loss":
            return 2 / T * (np.mean([np.log1p(np.exp(-m * x)) for m in chosen]) + alpha * x**2 / 2)

        def push(y):
            return (np.mean([slope(m, y) for m in chosen]) + alpha * y) / noise(y, chosen)

        return 2 / T * integrate.quad(push, 0, x, epsabs=1e-11)[0] + np.log(noise(x, chosen))

    train, test = [], []
    for chosen in sets:
        grid, weights = np.polynomial.legendre.leggauss(60)
        places, weights = 5 * grid, 5 * weights
        density = np.exp([-g(x, chosen) for x in places]) * weights
        density /= density.sum()
        unseen = pool if reading == "population" else [m for m in pool if m not in chosen]
        for losses, examples in ((train, chosen), (test, unseen)):
            losses.append(sum(density[k] * np.mean(np.log1p(np.exp(-np.array(examples) * x)))
                              for k, x in enumerate(places)))  # fmt: skip
    state = make(n, pool, reading, potential=potential)
    found = state.averages(T)
    assert found.train.value == pytest.approx(np.mean(train), abs=1e-8)
    assert found.test.value == pytest.approx(np.mean(test), abs=1e-8)
    assert state.interpolated_gap(T).value == pytest.approx(found.gap.value, rel=1e-11)
    assert state.bound(T).value > found.gap.value
    assert state.bound(T, baseline=0.3).value > found.gap.value


def test_slopes_are_derivatives_and_identities_hold_on_all_datasets(small):
    T, step = 0.7, 1e-3
    above, below = small.averages(T + step), small.averages(T - step)
    for name in ("train", "test", "gap"):
        difference = (getattr(above, name).value - getattr(below, name).value) / (2 * step)
        assert getattr(small.slopes(T), name).value == pytest.approx(difference, abs=1e-6)
    for T in (0.3, 0.7):
        gap = small.averages(T).gap.value
        assert small.interpolated_gap(T).value == pytest.approx(gap, rel=1e-12)
        assert small.potential_gap(T).value > 0
        assert abs(gap) < small.bound(T, baseline=0.0).value < small.bound(T).value + 1e-3
    density = small.density(0.7)
    assert density.mean @ density.weights == pytest.approx(1, rel=1e-12)
    assert density.values @ density.weights == pytest.approx(np.ones(len(density.values)), rel=1e-12)


def test_functions_of_the_training_set_may_be_added_to_the_potential():
    """A potential that a user writes; it is the loss's, with a constant for each training set that changes nothing."""

    def written(theta, chosen, T):
        energy = jnp.mean(logistic(theta, chosen)) + theta**2 / 2
        return 2 / T * energy + 3 * jnp.sum(chosen) - T

    one, other = make(3, potential="loss"), make(3, potential=written)
    for T in (0.5, 0.7):
        assert other.averages(T).gap.value == pytest.approx(one.averages(T).gap.value, rel=1e-10)
        assert other.linear_gap(T).value == pytest.approx(one.linear_gap(T).value, rel=1e-10)
        assert other.interpolated_gap(T).value == pytest.approx(one.interpolated_gap(T).value, rel=1e-10)
        assert other.slopes(T).test.value == pytest.approx(one.slopes(T).test.value, rel=1e-9)
        ours, theirs = one.lognormal(T), other.lognormal(T)
        assert (theirs.gap, theirs.defect) == pytest.approx((ours.gap, ours.defect), rel=1e-9)
    with pytest.raises(fd.ArgumentError, match="returns one finite real number"):
        make(2, potential=lambda theta, chosen, T: jnp.log(theta)).averages(0.5)


def test_a_negative_gap_stays_negative():
    """Parameters drawn to where their own training set does badly: the potential's gap is positive, the loss's not."""
    state = make(3, potential=lambda theta, chosen, T: (2 * theta**2 - jnp.mean(logistic(theta, chosen))) / T)
    assert state.averages(0.5).gap.value < -1e-3
    assert state.interpolated_gap(0.5).value < 0 < state.potential_gap(0.5).value
    assert state.linear_gap(0.5).value < 0


@pytest.mark.parametrize("T", [0.15, 0.3, 0.6])
def test_mean_estimation_has_one_gap_at_every_temperature(T):
    """Its gap s²/(nH) needs nothing but the mean of θ, x̄/H, for every training set."""
    state = signs(10)
    assert state.averages(T).gap.value == pytest.approx(1 / (10 * 1.2), rel=1e-11)
    assert state.slopes(T).gap.value == pytest.approx(0, abs=1e-11)
    assert state.slopes(T).test.value > 0


def test_the_printed_optimum_is_no_optimum():
    """(26) says 4/n where the exact test loss rises at all temperatures; footnote 2 with the term that it lacks."""
    state = signs(16, alpha=0.0, potential="loss", domain=(-7.0, 7.0))
    found = state.lognormal(0.4, 0.0)
    assert found.optimum == pytest.approx(4 / 16, rel=1e-9)
    assert state.stationary_temperatures(0.1, 0.7, points=6) == ()

    def log_normalizer(b):
        return state.lognormal(2 / b, 0.0).log_normalizer

    b, step = 2 / 0.4, 0.01
    second = (log_normalizer(b + step) - 2 * log_normalizer(b) + log_normalizer(b - step)) / step**2
    assert found.curvature == pytest.approx(-second, rel=1e-4)


def test_log_normal_is_exact_where_potentials_are_normal_and_depends_on_the_gauge_elsewhere(full):
    T = 0.5
    exact, found, printed = full.averages(T), full.lognormal(T), full.lognormal(T, 0.0)
    assert found.gap == pytest.approx(exact.gap.value, rel=0.1)
    assert found.test == pytest.approx(exact.test.value, abs=2e-3)
    assert found.train == pytest.approx(found.test - found.gap)
    assert 0 < found.defect < 0.01
    assert printed.defect is None
    assert found.optimum is None
    assert printed.gap > 1.1 * found.gap
    assert found.bound > found.gap
    # Potentials of many examples are nearly normal: what the forms miss of the gap falls as 1/n.
    misses = []
    for n in (100, 1000):
        many = signs(n, domain=(-4.0, 4.0)).lognormal(0.3)
        misses.append(abs(many.gap * n * 1.2 - 1))
        assert many.normal_gap == pytest.approx(many.gap, rel=1 / n**0.5)
    assert misses[1] == pytest.approx(misses[0] / 10, rel=0.2)


def test_a_temperature_with_the_best_test_loss():
    """A double well in the loss: low temperatures stay where few examples agree, high ones lose everything."""
    landscape = fd.Landscape(lambda t, x: (t - x) ** 2 / 2, jnp.array([-1.0, -1.0, -1.0, 4.0]))
    state = steady_state(
        landscape,
        jnp.array(0.0),
        3,
        domain=(-14.0, 14.0),
        potential=lambda t, x, T: ((t - jnp.mean(x)) ** 2 + 6 * jnp.tanh(T) * (t - 0.5) ** 2) / (1 + T),
        panels=50,
    )
    found = state.stationary_temperatures(0.2, 3.0, points=8)
    assert len(found) == 1
    best = found[0]
    assert best.kind == "minimum"
    assert state.slopes(best.temperature).test.value == pytest.approx(0, abs=1e-9)
    for other in (0.9, 1.1):
        assert state.averages(other * best.temperature).test.value > best.test_loss.value


def test_drawn_training_sets_agree_with_all_of_them(full):
    drawn = make(datasets=150, key=jax.random.key(1))
    losses, exact = drawn.averages(0.5), full.averages(0.5)
    pairs = [
        (losses.train, exact.train),
        (losses.test, exact.test),
        (losses.gap, exact.gap),
        (drawn.interpolated_gap(0.5), exact.gap),
        (drawn.bound(0.5), full.bound(0.5)),
        (drawn.slopes(0.5).test, full.slopes(0.5).test),
        (drawn.potential_gap(0.5), full.potential_gap(0.5)),
    ]
    for one, other in pairs:
        assert one.num_samples == 150
        assert abs(one.value - other.value) < 4 * one.stderr, one
    assert drawn.interpolated_gap(0.5).stderr < losses.gap.stderr
    again = make(datasets=150, key=jax.random.key(1))
    assert np.array_equal(again.counts, drawn.counts)
    distinct = make(2, reading="unbiased", datasets=40, key=jax.random.key(2))
    assert np.all(distinct.counts.sum(axis=1) == 2)
    assert distinct.counts.max() == 1


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"domain": (1.0, -1.0)}, fd.ArgumentError, "lo < hi"),
        ({"domain": (1.0, 2.0)}, fd.ArgumentError, "inside the domain"),
        ({"weight_decay": -1.0}, fd.ArgumentError, "weight_decay is one finite number at least 0; got -1"),
        ({"noise": np.inf}, fd.ArgumentError, "noise is one finite number"),
        ({"noise": 0.0}, fd.LandscapeError, "Give noise=β above 0"),
        ({"potential": "energy"}, fd.ArgumentError, "Known: 'sgd', 'loss'"),
        ({"n": 60}, fd.ArgumentError, "39,711 different training sets, and at most 20,000"),
        ({"n": 0}, fd.ArgumentError, "n is an integer ≥ 1"),
        ({"datasets": 1, "key": jax.random.key(0)}, fd.ArgumentError, "datasets is an integer ≥ 2"),
        ({"datasets": 5}, fd.ArgumentError, "key"),
        ({"datasets": "some"}, fd.ArgumentError, "'all' or a number"),
        ({"optimizer": fd.momentum(0.9)}, fd.ArgumentError, "known for plain SGD"),
        ({"optimizer": fd.schedule([1, 0.5])}, fd.ArgumentError, "known for plain SGD"),
        ({"sampling": "reshuffled"}, fd.ArgumentError, "drawn with replacement, not for 'reshuffled'"),
        ({"reading": "unbiased", "n": 4}, fd.ArgumentError, "n < 4"),
    ],
)
def test_refusals(changed, error, message):
    with pytest.raises(error, match=message):
        make(**changed)


def test_refusals_of_landscapes_and_temperatures(small):
    data = jnp.array(POOL)
    conditional = fd.Landscape(logistic, data, test_data=data, reading="conditional")
    with pytest.raises(fd.ArgumentError, match="nothing to average over"):
        steady_state(conditional, jnp.array(0.0), 4, **RIDGE)
    two = fd.Landscape(lambda theta, m: logistic(theta[0] + theta[1], m), data)
    with pytest.raises(fd.ArgumentError, match="closed form for one parameter; there are 2"):
        steady_state(two, jnp.zeros(2), 4, **RIDGE)
    for T in (0.0, -1.0, np.nan):
        with pytest.raises(fd.ArgumentError, match="above 0; got"):
            small.averages(T)
    with pytest.raises(fd.ArgumentError, match="not an array"):
        small.slopes(np.array([0.1, 0.2]))
    with pytest.raises(fd.LandscapeError, match="nats at the lower end of the domain"):
        small.averages(4.0)
    with pytest.raises(fd.LandscapeError, match="narrow against the domain"):
        small.averages(0.001)
    with pytest.raises(fd.ArgumentError, match="goes up"):
        small.stationary_temperatures(0.5, 0.2)
    with pytest.raises(fd.ArgumentError, match="Unknown gauge"):
        small.lognormal(0.5, "printed")
    with pytest.raises(fd.ArgumentError, match="The base point of a gauge"):
        small.lognormal(0.5, 8.0)
    with pytest.raises(fd.LandscapeError, match="takes the logarithm of the train loss"):
        signs(20, lowered=0.5).lognormal(0.5)
    with pytest.raises(fd.LandscapeError, match="The log-normal density"):
        make(3).lognormal(0.5)
