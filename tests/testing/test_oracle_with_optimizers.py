"""The oracle with optimizers, epochs with a rest and runs that end inside an epoch, against hand computation."""

from fractions import Fraction as F

import numpy as np
import optax
import pytest
import sympy
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

import feyngd as fd
from feyngd import Spacetime
from feyngd.testing import PolynomialLandscape, check_identity, exact_displacement, exact_series
from feyngd.testing._enumerated_runs import _runs

HALF = F(1, 2)
SLOPE = PolynomialLandscape([{(1,): 1}])  # every gradient is 1
BOWL = PolynomialLandscape([{(2,): HALF}])  # the gradient is θ
NOISE = PolynomialLandscape([{(2,): HALF, (1,): 1}, {(2,): HALF, (1,): -1}])  # the gradient is θ ± 1
ETA, BETA = sympy.symbols("eta beta")
N, B, T = sympy.symbols("N B T", integer=True, positive=True)


def fractions(expression, order):
    """The coefficients of a polynomial in η."""
    polynomial = sympy.Poly(sympy.expand(expression), ETA)
    values = [polynomial.coeff_monomial(ETA**k) for k in range(order + 1)]
    return tuple(F(int(value.p), int(value.q)) for value in values)


def moved(optimizer, steps, *, landscape=SLOPE, start=0, order=1):
    """How far one coordinate moves in full-batch steps on one point."""
    (coordinate,) = exact_displacement(landscape, [start], Spacetime.gd(1, steps), order, optimizer=optimizer)
    return coordinate


# --- velocities and schedules, by hand ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "distance"),
    [
        # u = 1, 3/2, 7/4; multipliers 1, 2, 4
        ({}, 1 + 2 * F(3, 2) + 4 * F(7, 4)),
        # u = 1, 1/2 + 2/3, 7/12 + 2/3: the first gradient is not damped
        ({"dampening": F(1, 3)}, 1 + 2 * F(7, 6) + 4 * F(5, 4)),
        # 1 + u/2 = 3/2, 7/4, 15/8
        ({"nesterov": True}, F(3, 2) + 2 * F(7, 4) + 4 * F(15, 8)),
        # u = 1, 1/2 + 2, 5/4 + 4
        ({"classical": True}, 1 + F(5, 2) + F(21, 4)),
        # u = 2/3, 1/3 + 4/3, 5/6 + 8/3: the first gradient is damped too
        ({"classical": True, "dampening": F(1, 3)}, F(2, 3) + F(5, 3) + F(7, 2)),
        # multiplier + u/2 = 3/2, 2 + 5/4, 4 + 21/8
        ({"classical": True, "nesterov": True}, F(3, 2) + F(13, 4) + F(53, 8)),
    ],
)
def test_three_scheduled_steps_down_a_slope(options, distance):
    optimizer = fd.schedule([1, 2, 4], fd.momentum(HALF, **options))
    assert moved(optimizer, 3) == (0, -distance)


def test_two_and_three_heavy_ball_steps_in_a_bowl():
    """θ: 1, 1 − η, then u = 1/2 + 1 − η, then u = 3/4 − η/2 + 1 − 5η/2 + η²."""
    heavy = fd.momentum(HALF)
    assert moved(heavy, 2, landscape=BOWL, start=1, order=3) == (0, F(-5, 2), 1, 0)
    assert moved(heavy, 3, landscape=BOWL, start=1, order=3) == (0, F(-17, 4), 4, -1)
    end = 1 - 5 * ETA / 2 + ETA**2
    loss = exact_series("test_loss", BOWL, [1], Spacetime.gd(1, 2), 4, optimizer=heavy)
    assert loss == fractions(end**2 / 2, 4)


def test_two_nesterov_steps_in_a_bowl():
    """θ_1 = 1 − 3η/2, u_2 = 1/2 + θ_1, and the step goes by θ_1 + u_2/2 = 1/4 + 3θ_1/2."""
    nesterov = fd.momentum(HALF, nesterov=True)
    assert moved(nesterov, 2, landscape=BOWL, start=1, order=2) == (0, F(-3, 2) - F(7, 4), F(9, 4))


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("multipliers", [[1.0, 1.0, 1.0, 1.0], [0.5, 0.0, 2.0, 1.5]])
def test_steps_are_those_of_optax(nesterov, multipliers):
    """Four steps on a quadratic are a polynomial of degree four in η."""
    rate, start = 0.3, np.array([1.0, -0.5])
    landscape = PolynomialLandscape([{(2, 0): 1, (1, 1): HALF, (0, 1): 1}])
    optimizer = fd.schedule(multipliers, fd.momentum(0.75, nesterov=nesterov))
    exact = exact_displacement(landscape, start.tolist(), Spacetime.gd(1, 4), 4, optimizer=optimizer)
    tx = optax.sgd(lambda step: rate * np.array(multipliers)[step], momentum=0.75, nesterov=nesterov)
    theta, state = start.copy(), tx.init(start)
    for _ in range(4):
        gradient = np.array([2 * theta[0] + theta[1] / 2, theta[0] / 2 + 1])
        update, state = tx.update(gradient, state)
        theta = theta + np.asarray(update)
    got = start + [sum(float(c) * rate**k for k, c in enumerate(coordinate)) for coordinate in exact]
    np.testing.assert_allclose(got, theta, rtol=1e-5)


@settings(max_examples=40)
@given(st.data())
def test_literal_steps_are_those_of_the_kernel(data):
    """θ_t = θ_0 − η Σ κ(t, s) g_s with the kernel of `Optimizer`, in SymPy expressions."""
    steps = data.draw(st.integers(1, 3))
    optimizer = data.draw(fd.testing.optimizers(steps))
    x, y = variables = sympy.symbols("x y")
    loss = x**2 * y / 2 - x * y + 3 * y**2 / 2 + x
    start = sympy.Matrix([1, -1])
    slopes = []
    for t in range(steps):
        point = start
        for s in range(t):
            point = point - ETA * sympy.sympify(optimizer.kernel(t, s)) * slopes[s]
        at = dict(zip(variables, point, strict=True))
        slopes.append(sympy.Matrix([loss.diff(v).subs(at, simultaneous=True) for v in variables]).expand())
    end = start
    for weight, slope in zip(optimizer.to_end(steps), slopes, strict=True):
        end = end - ETA * sympy.sympify(weight) * slope
    landscape = PolynomialLandscape.from_expressions([loss], variables)
    spacetime = Spacetime.gd(1, steps)
    got = exact_displacement(landscape, [1, -1], spacetime, 3, optimizer=optimizer)
    assert got == tuple(fractions(moved - first, 3) for moved, first in zip(end, start, strict=True))
    tested = loss.subs(dict(zip(variables, end, strict=True)), simultaneous=True)
    assert exact_series("test_loss", landscape, [1, -1], spacetime, 3, optimizer=optimizer) == fractions(tested, 3)


def test_the_velocity_carries_noise_from_point_to_point():
    """θ_2 = −η (1 − η + β) x_0 − η x_1 for the two points of an epoch, β = 1/2."""
    heavy = fd.momentum(HALF)
    first = sympy.Rational(3, 2) - ETA
    for sampling in ("fixed", "reshuffled"):
        spacetime = Spacetime.sgd(2, sampling=sampling)
        loss = exact_series("test_loss", NOISE, [0], spacetime, 4, optimizer=heavy)
        assert loss == fractions(ETA**2 * (first**2 + 1) / 2, 4)
        gap = exact_series("gap", NOISE, [0], spacetime, 3, optimizer=heavy)
        assert gap == fractions(ETA * (first + 1) / 2, 3)


# --- averages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("average", "place"),
    [
        ({"tail": 1}, 3),
        ({"tail": 2}, F(5, 2)),
        ({"tail": "all"}, 2),
        ({"ema": HALF}, F(17, 8)),  # 1/2, 1/4 + 1, 5/8 + 3/2
        ({"ema": 0}, 3),
        ({"weights": [F(1, 4), F(1, 4), HALF]}, F(9, 4)),
        ({"weights": [HALF, 0, 0, HALF]}, F(3, 2)),  # those of θ_0 … θ_3
    ],
)
def test_averages_of_three_steps_down_a_slope(average, place):
    assert moved(fd.averaged(fd.sgd(), **average), 3) == (0, -place)


def test_the_loss_of_an_average_is_no_average_of_losses():
    """θ_1 = 1 − η and θ_2 = (1 − η)², so their mean is 1 − 3η/2 + η²/2."""
    polyak = fd.averaged(fd.sgd(), tail="all")
    loss = exact_series("test_loss", BOWL, [1], Spacetime.gd(1, 2), 4, optimizer=polyak)
    assert loss == fractions((1 - 3 * ETA / 2 + ETA**2 / 2) ** 2 / 2, 4)


def test_an_exponential_average_remembers_the_start():
    """w_1 = 1/3 + 2/3 (1 − η)."""
    loss = exact_series("test_loss", BOWL, [1], Spacetime.gd(1, 1), 2, optimizer=fd.averaged(fd.sgd(), ema=F(1, 3)))
    assert loss == fractions((1 - 2 * ETA / 3) ** 2 / 2, 2)


@pytest.mark.parametrize("average", [{"ema": HALF}, {"tail": "all"}, {"weights": [1]}])
def test_without_steps_the_average_is_the_start(average):
    optimizer = fd.averaged(fd.momentum(HALF), **average)
    assert exact_series("test_loss", BOWL, [2], Spacetime.gd(1, 0), 1, optimizer=optimizer) == (2, 0)


# --- learning rates of single parameters ----------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [[4, 0.25], (4, 0.25), np.array([4, 0.25]), [np.array([4, 0.25])]])
def test_a_metric_is_a_change_of_coordinates(metric):
    """θ = M^½ φ: with M = (4, 1/4), θ_0 = 2φ_0 and θ_1 = φ_1/2."""
    x, y = sympy.symbols("x y")
    losses = [x**2 * y + y**2 / 2 - x, x * y**2 - x**2 + 3 * y]
    landscape = PolynomialLandscape.from_expressions(losses, [x, y])
    scaled = [loss.subs({x: 2 * x, y: y / 2}, simultaneous=True) for loss in losses]
    spacetime, base = Spacetime.sgd(2, 1, 1), fd.schedule([1, HALF], fd.momentum(F(1, 3)))
    optimizer = fd.preconditioned(base, metric)
    for quantity in ("test_loss", "gap"):
        truth = exact_series(
            quantity,
            PolynomialLandscape.from_expressions(scaled, [x, y]),
            [HALF, 2],
            spacetime,
            3,
            optimizer=base,
        )
        assert exact_series(quantity, landscape, [1, 1], spacetime, 3, optimizer=optimizer) == truth


def test_one_number_is_the_metric_of_all_coordinates_and_zero_freezes():
    two = PolynomialLandscape([{(1, 0): 1, (0, 1): 1}])
    for metric, expected in ((3, (3, 3)), ([0, 2], (0, 2))):
        optimizer = fd.preconditioned(fd.sgd(), metric)
        got = exact_displacement(two, [0, 0], Spacetime.gd(1, 2), 1, optimizer=optimizer)
        assert got == tuple((0, -2 * scale) for scale in expected)


# --- epochs with a rest, and runs that end inside an epoch ----------------------------------------------------------


@pytest.mark.parametrize("sampling", ["fixed", "reshuffled"])
def test_a_rest_of_one_point_by_hand(sampling):
    """a is the mean of two points, x the third: θ_1 = ηa and, unless it is dropped, θ_2 = (1 − η) ηa + ηx."""
    kept = Spacetime.sgd(3, 2, drop_last=False, sampling=sampling)
    assert exact_series("test_loss", NOISE, [0], kept, 4) == (0, 0, F(3, 4), F(-1, 2), F(1, 4))
    assert exact_series("gap", NOISE, [0], kept, 3) == (0, F(2, 3), F(-1, 3), 0)
    dropped = Spacetime.sgd(3, 2, drop_last=True, sampling=sampling)
    assert exact_series("test_loss", NOISE, [0], dropped, 3) == (0, 0, F(1, 4), 0)
    assert exact_series("gap", NOISE, [0], dropped, 2) == (0, F(1, 3), 0)  # the third point is in the training set


def test_dropped_points_come_back_when_epochs_are_reshuffled():
    """θ_2 = (1 − η) ηa + ηb, where the pairs a and b are the same, or share one point: E[ab] is 1/2 or 1/3."""
    fixed = Spacetime.sgd(3, 2, 2, drop_last=True, sampling="fixed")
    assert exact_series("test_loss", NOISE, [0], fixed, 4) == (0, 0, 1, -1, F(1, 4))
    shuffled = Spacetime.sgd(3, 2, 2, drop_last=True)
    assert exact_series("test_loss", NOISE, [0], shuffled, 4) == (0, 0, F(5, 6), F(-5, 6), F(1, 4))
    for spacetime in (fixed, shuffled):
        assert exact_series("gap", NOISE, [0], spacetime, 2) == (0, F(2, 3), F(-1, 3))


def test_a_run_that_ends_inside_an_epoch_by_hand():
    """θ_3 = η (q² x_i + q x_j + x_k) with q = 1 − η, where k begins the second epoch: k = i, or one of the two."""
    q = 1 - ETA
    squares = q**4 + q**2 + 1
    for sampling, shared in (("fixed", 2 * q**2), ("reshuffled", q**2 + q)):
        spacetime = Spacetime.sgd(2, T=3, sampling=sampling)
        assert spacetime.is_cut
        loss = exact_series("test_loss", NOISE, [0], spacetime, 6)
        assert loss == fractions(ETA**2 * (squares + shared) / 2, 6)
        assert exact_series("gap", NOISE, [0], spacetime, 3) == fractions(ETA * (q**2 + q + 1) / 2, 3)


@settings(max_examples=40)
@given(fd.testing.spacetimes(samplings=["fixed", "reshuffled"], max_points=5, uneven=True))
def test_runs_are_those_of_the_spacetime(spacetime):
    """Two enumerations that share no code; here every datapoint is a kind of its own."""
    outcomes = {}
    for probability, run in spacetime.outcomes():
        batches = tuple(tuple(sorted(batch)) for batch in run)
        outcomes[batches] = outcomes.get(batches, 0) + probability
    assert _runs(tuple(range(int(spacetime.N))), spacetime) == outcomes


def test_readings_of_an_epoch_with_a_rest_and_with_a_velocity():
    """θ_2 = η (1 − η + β) a + ηx for a pair and the last of three points x_n, whose losses are (θ − x_n)²/2."""
    points = [1, 2, 6, 0]
    losses = [{(2,): HALF, (1,): -x, (0,): F(x * x, 2)} for x in points]
    spacetime = Spacetime.sgd(3, 2, drop_last=False)
    for beta in (0, HALF):
        heavy = fd.momentum(beta)
        pull = 1 - ETA + sympy.Rational(str(beta))
        last = exact_series(  # the mean point is 3, and the test loss is θ itself
            "test_loss",
            PolynomialLandscape(losses[:3]),
            [0],
            spacetime,
            2,
            reading="conditional",
            test=SLOPE,
            optimizer=heavy,
        )
        assert last == fractions(3 * ETA * (pull + 1), 2)
        square, other = sympy.Rational(41, 4), sympy.Rational(81 - 41, 12)  # E x², and E x x′ of two of the four points
        gap = exact_series("gap", PolynomialLandscape(losses), [0], spacetime, 2, reading="unbiased", optimizer=heavy)
        assert gap == fractions(ETA * (pull + 1) * (square - other) / 3, 2)


def test_anchored_series_have_epochs_with_a_rest():
    """At ε = 1 the noise is all of SGD's: orders add up to the exact loss at η = 1/2, a polynomial of degree 2 in ε."""
    spacetime, rate = Spacetime.sgd(3, 2, drop_last=False), HALF
    orders = fd.testing.exact_anchored_series("test_loss", NOISE, [1], spacetime, rate, order=2)
    exact = exact_series("test_loss", NOISE, [1], spacetime, 4)
    assert sum(orders) == sum(value * rate**k for k, value in enumerate(exact))


def test_long_runs_do_not_recurse():
    assert exact_series("test_loss", SLOPE, [0], Spacetime.gd(1, 1500), 1) == (0, -1500)


@pytest.mark.parametrize(
    "spacetime",
    [
        Spacetime.sgd(31, 2, drop_last=True),
        Spacetime.sgd(9, 2, 2, drop_last=False),
        Spacetime.sgd(12, 1, T=8),
        Spacetime.sgd(3, 2, T=3000, sampling="with-replacement"),
    ],
)
def test_too_much_to_enumerate_is_refused_at_once(spacetime):
    with pytest.raises(fd.ArgumentError, match=r"takes about \d\.\de\+\d+ runs, the limit is .* use fewer points"):
        exact_series("gap", NOISE, [1], spacetime, order=1)


def test_what_is_not_visited_is_not_counted_as_work():
    """There are 8 · 7 orders of the first two of eight points, and 8! of all."""
    (loss,) = exact_series("test_loss", NOISE, [2], Spacetime.sgd(8, T=2), order=0)
    assert loss == 2
    with pytest.raises(fd.ArgumentError, match="the limit is"):
        exact_series("test_loss", NOISE, [2], Spacetime.sgd(8), order=0)


# --- what is refused ------------------------------------------------------------------------------------------------


def test_floats_are_taken_as_they_are():
    assert moved(fd.momentum(0.1), 2) == (0, -(2 + F(0.1)))
    assert moved(fd.schedule(lambda step: 0.1 * (step + 1)), 2) == (0, -(F(0.1) + F(0.2)))


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (fd.momentum(BETA), r"beta is beta.*replace beta by numbers, with optimizer\.subs\(\{'beta': …\}\)"),
        (fd.schedule([1, BETA]), r"multiplier of step 1 is beta.*replace beta"),
        (fd.averaged(fd.sgd(), ema=BETA), r"ema is beta.*replace beta"),
        (fd.averaged(fd.sgd(), weights=[BETA, 1 - BETA]), r"weight 0 is beta.*replace beta"),
        (fd.schedule([1, 2, 3]), r"schedule has 3 multipliers, and the run has T=2 steps: give one for every step"),
        (fd.schedule(lambda step: -step), r"multiplier of step 1 is -1: a learning rate is at least 0"),
        (fd.schedule(lambda step: "fast"), r"multiplier of step 0 is a finite number.*got 'fast'"),
        (fd.schedule(lambda step: float("nan")), r"multiplier of step 0 is a finite number.*got nan"),
        (fd.averaged(fd.sgd(), tail=3), r"last 3 iterates needs as many steps, and the run has T=2: take a shorter"),
        (fd.averaged(fd.sgd(), weights=[1]), r"1 weights, and the run has T=2 steps: give those of θ_1 … θ_T"),
        (fd.averaged(fd.sgd(), weights=[0.1, 0.2, 0.7]), r"sum to 1; these 3 are exactly .*use fractions\.Fraction"),
        (fd.preconditioned(fd.sgd(), [1, 2, 3]), r"here 2, and so is the metric.*a list of 2, to preconditioned"),
        (fd.preconditioned(fd.sgd(), {"w": 1}), r"here 2, and so is the metric.*got \{'w'"),
        (fd.preconditioned(fd.sgd(), np.eye(2)), r"here 2, and so is the metric"),
        (optax.sgd(0.1), r"An optimizer is made by sgd, momentum.*from_optax\(tx, steps=T\)"),
        ("momentum", r"An optimizer is made by sgd, momentum"),
    ],
)
def test_the_oracle_names_the_optimizers_it_cannot_run(optimizer, message):
    landscape, spacetime = PolynomialLandscape([{(2, 0): 1, (0, 2): 1}]), Spacetime.gd(1, 2)
    with pytest.raises(fd.ArgumentError, match=message):
        exact_series("test_loss", landscape, [1, 1], spacetime, 1, optimizer=optimizer)
    with pytest.raises(fd.ArgumentError, match=message):
        exact_displacement(landscape, [1, 1], spacetime, 1, optimizer=optimizer)


def test_a_measured_kernel_has_no_literal_steps():
    optimizer = fd.from_optax(optax.sgd(1.0, momentum=0.5), steps=2)
    with pytest.raises(fd.ArgumentError, match=r"literal steps.*\(from_optax\) is known by its kernel alone: name its"):
        exact_series("test_loss", BOWL, [1], Spacetime.gd(1, 2), 1, optimizer=optimizer)


QUICKLY = settings(max_examples=1000, phases=[Phase.generate], derandomize=True, database=None)


# --- strategies -----------------------------------------------------------------------------------------------------


@given(st.data(), st.integers(0, 4))
def test_drawn_optimizers_suit_the_number_of_steps(data, steps):
    optimizer = data.draw(fd.testing.optimizers(steps))
    assert not optimizer.symbols
    assert all(isinstance(weight, F) for weight in map(F, optimizer.to_end(steps)))
    assert moved(optimizer, steps) == (0, -sum(map(F, optimizer.to_end(steps))))


@pytest.mark.parametrize(
    "feature",
    [
        lambda optimizer: optimizer.nesterov and optimizer.classical,
        lambda optimizer: optimizer.beta and optimizer.dampening and not optimizer.classical,
        lambda optimizer: optimizer.classical and optimizer.multipliers and optimizer.average,
        lambda optimizer: optimizer.average and optimizer.average.ema is not None,
        lambda optimizer: optimizer.average and optimizer.average.tail == 2,
        lambda optimizer: optimizer.average and len(optimizer.average.weights or ()) == 4,
        lambda optimizer: optimizer == fd.sgd(),
    ],
)
def test_all_kinds_of_optimizers_are_drawn(feature):
    assert find(fd.testing.optimizers(3), lambda optimizer: bool(feature(optimizer)), settings=QUICKLY)


@given(st.data())
def test_kinds_of_optimizers_can_be_left_out(data):
    some = data.draw(fd.testing.optimizers(3, velocities=False, averages=False))
    assert some == (fd.sgd() if some.multipliers is None else fd.schedule(some.multipliers))
    assert data.draw(fd.testing.optimizers(3, velocities=False, schedules=False, averages=False)) == fd.sgd()


@pytest.mark.parametrize("sampling", ["fixed", "reshuffled"])
@pytest.mark.parametrize(
    "feature",
    [
        lambda spacetime: spacetime.drop_last is True,
        lambda spacetime: spacetime.drop_last is False and not spacetime.is_cut,
        lambda spacetime: spacetime.drop_last is None and spacetime.is_cut,
        lambda spacetime: spacetime.is_even,
    ],
)
def test_uneven_spacetimes_are_drawn(sampling, feature):
    assert find(fd.testing.spacetimes(samplings=[sampling], uneven=True), feature, settings=QUICKLY)


@given(fd.testing.spacetimes(samplings=["fixed", "reshuffled"]))
def test_spacetimes_are_even_unless_asked_for(spacetime):
    assert spacetime.is_even


# --- identities -----------------------------------------------------------------------------------------------------


def heavy_weight(steps, beta):
    """How far the gradients of all steps move the last iterate: Σ_s (1 + β + … + β^(T−s−1))."""
    return sum(sum(beta**k for k in range(steps - s)) for s in range(steps))


def test_formulas_hold_with_symbols_of_the_optimizer():
    heavy = fd.momentum(BETA)
    spacetime = Spacetime.sgd(N)
    closed = (T - BETA * (1 - BETA**T) / (1 - BETA)) / (1 - BETA)

    def formula(s):
        return s.l - s.eta * closed.subs(T, s.T) * (s.G @ s.G)

    def in_numbers(s):
        assert s.optimizer.beta in (HALF, F(1, 3), F(9, 10))
        return [s.l, -heavy_weight(int(s.T), s.optimizer.beta) * (s.G @ s.G)]

    assert check_identity("test_loss", formula, spacetime=spacetime, optimizer=heavy, order=1, examples=9) == 9
    assert check_identity(formula, in_numbers, spacetime=spacetime, optimizer=heavy, order=1, examples=9) == 9


def test_symbols_of_schedules_and_averages_are_found_by_name():
    rate, share = sympy.symbols("m rho", positive=True)
    scheduled = fd.averaged(fd.schedule([1, rate]), ema=share)

    def formula(s):
        m, rho = sympy.symbols("m rho")
        return s.l - s.eta * (1 - rho**2 + (1 - rho) * m) * (s.G @ s.G)

    numbers = {"spacetime": Spacetime.sgd(2), "optimizer": scheduled, "order": 1, "examples": 9}
    assert check_identity("test_loss", formula, **numbers) == 9
    with pytest.raises(fd.ArgumentError, match=r"the symbol\(s\) rate, whose values are unknown.*optimizer are those"):
        check_identity("test_loss", lambda s: sympy.Symbol("rate"), **numbers)


def test_a_series_with_symbols_of_the_optimizer():
    chain = fd.Diagram.parse("[a]")
    (point,) = fd.diagrams(0)
    coefficients = {point: 1, chain: -heavy_weight(3, BETA)}
    series = fd.Series(coefficients, quantity="mine", order=1, basis="cumulant", spacetime=Spacetime.gd(2, 3))
    assert check_identity(series, "test_loss", optimizer=fd.momentum(sympy.Symbol("beta", real=True)), examples=9) == 9


def test_sizes_may_be_symbols_of_the_optimizer_too():
    """β = 1 − 1/N, and a schedule for as many steps as there are points to choose from."""
    heavy = fd.momentum(1 - 1 / N)
    weight = {1: 1, 2: F(1, 2) + 2}

    def formula(s):
        return [s.l, -weight[int(s.N)] * (s.G @ s.G)]

    assert check_identity("test_loss", formula, spacetime=Spacetime.sgd(N), optimizer=heavy, order=1, max_size=2) == 30
    scheduled = fd.schedule([1, 2, 3])

    def three(s):
        assert s.T == 3
        return [s.l, -6 * (s.G @ s.G)]

    assert check_identity("test_loss", three, spacetime=Spacetime.gd(N, T), optimizer=scheduled, order=1) == 30


def test_a_refuted_formula_names_the_optimizer():
    with pytest.raises(fd.MismatchError, match=r"on full batch, N=2, T=2 with momentum β=\d+/\d+ at θ"):
        check_identity(
            lambda s: [s.l, -2 * (s.G @ s.G)],
            lambda s: [s.l, -(2 + s.optimizer.beta) * (s.G @ s.G)],
            spacetime=Spacetime.gd(2, 2),
            optimizer=fd.momentum(BETA),
            order=1,
        )


def test_uneven_spacetimes_in_identities():
    """Two steps of pairs and one of the rest: every step moves by G, and noise enters by its own batch."""
    for drop_last, steps in ((False, 3), (True, 2)):
        spacetime = Spacetime.sgd(5, 2, drop_last=drop_last)

        def formula(s, steps=steps):
            return s.eta * sympy.Rational(steps, 5) * s.C.trace()

        assert check_identity("gap", formula, spacetime=spacetime, order=1, examples=3) == 3


def test_identities_name_the_optimizers_they_are_not_checked_with():
    def check(optimizer, **options):
        check_identity("gap", "gap", spacetime=Spacetime.sgd(2), order=1, optimizer=optimizer, **options)

    with pytest.raises(fd.ArgumentError, match=r"a metric has one: leave out preconditioned, which changes the values"):
        check(fd.preconditioned(fd.sgd(), [1, 2]))
    with pytest.raises(fd.ArgumentError, match=r"The symbol eta is the learning rate: give another name"):
        check(fd.momentum(ETA))
    with pytest.raises(fd.ArgumentError, match=r"has 3 multipliers, and the run has T=2"):
        check(fd.schedule([1, 2, 3]))
    with pytest.raises(fd.ArgumentError, match=r"on which momentum β=beta \+ 2 runs and .*: beta is the share"):
        check(fd.momentum(BETA + 2))
    with pytest.raises(fd.ArgumentError, match=r"from_optax\) is known by its kernel alone"):
        check(fd.from_optax(optax.sgd(1.0, momentum=0.5), steps=2))
    with pytest.raises(fd.ArgumentError, match=r"An optimizer is made by"):
        check("adam")


# --- series of `expand` ---------------------------------------------------------------------------------------------


def test_series_of_expand_know_their_optimizer():
    heavy = fd.momentum(BETA)
    spacetime = Spacetime.sgd(3, 2, drop_last=False)
    series = fd.expand("test_loss", order=2, spacetime=spacetime, optimizer=heavy)
    assert check_identity(series, "test_loss", examples=9) == 9
    with pytest.raises(fd.MismatchError, match=r"Coefficients of cumulants there"):
        check_identity(series * 2, "test_loss", examples=9)


@settings(max_examples=25)
@given(st.data())
def test_series_of_expand_equal_the_oracle(data):
    spacetime = data.draw(fd.testing.spacetimes(max_points=3, max_steps=3, uneven=True))
    optimizer = data.draw(fd.testing.optimizers(int(spacetime.T)))
    landscape = data.draw(fd.testing.landscapes(dimensions=(1, 2), kinds=(2, 3)))
    theta = data.draw(fd.testing.points(landscape))
    values = fd.testing.ExactValues(landscape, theta)
    for quantity in ("test_loss", "gap"):
        series = fd.expand(quantity, order=3, spacetime=spacetime, optimizer=optimizer)
        truth = exact_series(quantity, landscape, theta, spacetime, 3, optimizer=optimizer)
        assert values.sum(series) == truth, quantity
    moments = fd.expand("displacement", order=3, spacetime=spacetime, optimizer=optimizer)
    total = [[F(0)] * 4 for _ in range(landscape.dimensions)]
    for diagram, coefficient in moments.items():
        for coordinate, value in zip(total, values.vector(diagram, "moment"), strict=True):
            coordinate[diagram.order] += F(int(coefficient.p), int(coefficient.q)) * value
    assert exact_displacement(landscape, theta, spacetime, 3, optimizer=optimizer) == tuple(map(tuple, total))


def test_a_series_of_a_given_training_set_is_no_quantity_of_a_population():
    series = fd.expand("test_loss", order=1, spacetime=Spacetime.sgd(3), reading="conditional")
    with pytest.raises(fd.ArgumentError, match=r"in the conditional reading: compare it with a series or a f"):
        check_identity(series, "test_loss")
    assert check_identity(series, series, examples=3) == 3
