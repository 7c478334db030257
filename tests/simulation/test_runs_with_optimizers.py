"""Simulated runs with every kind of optimizer against textbook loops on the same training sets and batches."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sympy

import feyngd as fd
from feyngd.simulation import simulate_sde
from feyngd.simulation._sgd import _draw

KEY = jax.random.key(7)
POPULATION = np.array([-1.0, 0.5, 2.0, 1.2])
START, RATES = np.array([0.6, -0.3]), (0.05, 0.2)
SHAPES = np.array([[1.0, 0.3], [0.3, 0.5]])
STEPS = 6
SCHEDULE = (1.0, 0.5, 0.0, 2.0, 1.5, 0.25)
WEIGHTS = (0.1, 0.0, 0.3, 0.2, 0.15, 0.25)
SPACETIMES = {
    "reshuffled": fd.Spacetime.sgd(4, 2, 3),
    "ragged": fd.Spacetime.sgd(5, 2, 2, drop_last=False),
    "ragged and cut": fd.Spacetime.sgd(7, 2, T=6, drop_last=False),
    "dropped and cut": fd.Spacetime.sgd(9, 2, T=6, drop_last=True),
    "fixed and ragged": fd.Spacetime.sgd(5, 2, 2, sampling="fixed", drop_last=False),
    "explicit": fd.Spacetime.from_batches([[0], [2, 1, 2], [0, 2], [1], [1, 0], [2]], N=3),
}


@pytest.fixture(autouse=True)
def _in_double_precision():
    with jax.enable_x64(True):
        yield


def loss(theta, x):
    return theta @ SHAPES @ theta / 2 - x * theta[0] + x * theta[0] ** 2 * theta[1] / 6 + theta[1] ** 4 / 24


def gradient(theta, x):
    slope = theta @ SHAPES
    return slope + np.array([-x + x * theta[0] * theta[1] / 3, x * theta[0] ** 2 / 6 + theta[1] ** 3 / 6])


# --- textbook loops: from the gradients as they come to the iterates θ_0 … θ_T -------------------------------------


def plain(rate, step, gradient, state):
    return -rate * gradient, state


def scheduled(rate, step, gradient, state):
    return -rate * SCHEDULE[step] * gradient, state


def torch(beta, *, nesterov=False, dampening=0.0, multipliers=(1.0,) * STEPS):
    """PyTorch's SGD: the buffer begins as the first gradient, and is damped from the second on."""

    def update(rate, step, gradient, state):
        buffer = gradient if state is None else beta * state + (1 - dampening) * gradient
        push = gradient + beta * buffer if nesterov else buffer
        return -rate * multipliers[step] * push, buffer

    return update


def classical(beta, multipliers):
    """Sutskever's: the velocity is a step."""

    def update(rate, step, gradient, state):
        velocity = (0 if state is None else beta * state) - rate * multipliers[step] * gradient
        return velocity, velocity

    return update


def scaled(update, metric):
    def scaled_update(rate, step, gradient, state):
        move, state = update(rate, step, gradient, state)
        return metric * move, state

    return scaled_update


def last(iterates):
    return iterates[-1]


def ema(kept):
    def measured(iterates):
        average = iterates[0]
        for theta in iterates[1:]:
            average = kept * average + (1 - kept) * theta
        return average

    return measured


def tail(length):
    return lambda iterates: np.mean(iterates[-length:], axis=0)


def weighted(iterates):
    return np.tensordot(WEIGHTS, iterates[1:], axes=1)


def mean_of_all(iterates):
    return np.mean(iterates[1:], axis=0) if len(iterates) > 1 else iterates[0]


METRIC = np.array([0.5, 2.0])
KINDS = {
    "plain": (fd.sgd(), plain, last),
    "momentum": (fd.momentum(0.8), torch(0.8), last),
    "Nesterov": (fd.momentum(0.8, nesterov=True), torch(0.8, nesterov=True), last),
    "dampening": (fd.momentum(0.8, dampening=0.3), torch(0.8, dampening=0.3), last),
    "schedule": (fd.schedule(SCHEDULE), scheduled, last),
    "schedule of momentum": (fd.schedule(SCHEDULE, fd.momentum(0.5)), torch(0.5, multipliers=SCHEDULE), last),
    "schedule of Nesterov": (
        fd.schedule(lambda step: SCHEDULE[step], fd.momentum(0.5, nesterov=True)),
        torch(0.5, nesterov=True, multipliers=SCHEDULE),
        last,
    ),
    "classical": (fd.schedule(SCHEDULE, fd.momentum(0.5, classical=True)), classical(0.5, SCHEDULE), last),
    "metric": (fd.preconditioned(fd.sgd(), METRIC), scaled(plain, METRIC), last),
    "metric of momentum": (fd.preconditioned(fd.momentum(0.8), METRIC), scaled(torch(0.8), METRIC), last),
    "exponential average": (fd.averaged(fd.sgd(), ema=0.7), plain, ema(0.7)),
    "tail": (fd.averaged(fd.momentum(0.8), tail=3), torch(0.8), tail(3)),
    "mean of all": (fd.averaged(fd.sgd(), tail="all"), plain, mean_of_all),
    "weights": (fd.averaged(fd.schedule(SCHEDULE), weights=WEIGHTS), scheduled, weighted),
    "everything": (
        fd.averaged(fd.preconditioned(fd.schedule(SCHEDULE, fd.momentum(0.5)), METRIC), ema=0.7),
        scaled(torch(0.5, multipliers=SCHEDULE), METRIC),
        ema(0.7),
    ),
}
ON_THE_WAY = [name for name in KINDS if name != "weights"]


def paths(spacetime, update, runs):
    """The iterates of every run at every learning rate, shape (rates, runs, T + 1, 2)."""
    _, batches = _draw(fd.Landscape(loss, POPULATION), spacetime, runs, KEY)
    found = np.empty((len(RATES), runs, STEPS + 1, 2))
    for row, run in np.ndindex(len(RATES), runs):
        theta, state = START, None
        found[row, run, 0] = theta
        for step, size in enumerate(spacetime.batch_sizes()):
            points = POPULATION[batches[run, step, :size]]
            mean = np.mean([gradient(theta, x) for x in points], axis=0)
            move, state = update(RATES[row], step, mean, state)
            theta = theta + move
            found[row, run, step + 1] = theta
    return found


def mean_loss(theta):
    return np.mean([loss(theta, x) for x in POPULATION])


def expected(spacetime, update, measured, runs, steps=STEPS):
    """The loss of every run at every learning rate after a number of steps, shape (rates, runs)."""
    iterates = paths(spacetime, update, runs)[:, :, : steps + 1]
    return np.array([[mean_loss(measured(run)) for run in row] for row in iterates])


@pytest.mark.parametrize("name", SPACETIMES)
@pytest.mark.parametrize("kind", KINDS)
def test_runs_are_those_of_textbook_loops(kind, name):
    optimizer, update, measured = KINDS[kind]
    landscape = fd.Landscape(loss, POPULATION)
    done = fd.simulate(landscape, START, SPACETIMES[name], RATES, optimizer=optimizer, runs=3, key=KEY)
    np.testing.assert_allclose(done.samples, expected(SPACETIMES[name], update, measured, 3), rtol=1e-12)


@pytest.mark.parametrize("kind", ON_THE_WAY)
def test_curves_are_those_of_textbook_loops(kind):
    optimizer, update, measured = KINDS[kind]
    spacetime, times = SPACETIMES["ragged"], [4, 6] if kind == "tail" else [0, 1, 4, 6]
    landscape = fd.Landscape(loss, POPULATION)
    done = fd.simulate(landscape, START, spacetime, RATES, optimizer=optimizer, times=times, runs=3, key=KEY)
    for place, time in enumerate(times):
        found = expected(spacetime, update, measured, 3, time)
        np.testing.assert_allclose(done.samples[:, place], found, rtol=1e-12, err_msg=str(time))


@pytest.mark.parametrize("length", range(1, 7))
def test_tails_of_a_curve_overlap_as_they_may(length):
    """Windows of one look, or of many at once."""
    landscape, spacetime = fd.Landscape(loss, POPULATION), SPACETIMES["reshuffled"]
    for times in ([t for t in range(STEPS + 1) if t >= length], sorted({length, STEPS})):
        optimizer = fd.averaged(fd.sgd(), tail=length)
        done = fd.simulate(landscape, START, spacetime, RATES, optimizer=optimizer, times=times, runs=2, key=KEY)
        found = [expected(spacetime, plain, tail(length), 2, time) for time in times]
        np.testing.assert_allclose(done.samples, np.swapaxes(found, 0, 1), rtol=1e-12)


@pytest.mark.parametrize(
    "transformation",
    [
        optax.sgd(0.7),
        optax.sgd(optax.linear_schedule(1.0, 0.1, STEPS), momentum=0.9),
        optax.sgd(0.5, momentum=0.6, nesterov=True),
        optax.trace(0.5),
    ],
    ids=["sgd", "schedule of momentum", "nesterov", "trace that climbs"],
)
def test_transformations_of_optax(transformation):
    """Run by optax itself, on the same batches; updates of `trace` alone have the other sign."""
    landscape, spacetime = fd.Landscape(loss, POPULATION), SPACETIMES["ragged"]
    optimizer = fd.from_optax(transformation, steps=STEPS)

    def update(rate, step, gradient, state):
        state = transformation.init(jnp.asarray(START)) if state is None else state
        move, state = transformation.update(jnp.asarray(gradient), state, jnp.asarray(START))
        return rate * np.asarray(move), state

    done = fd.simulate(landscape, START, spacetime, RATES, optimizer=optimizer, runs=2, key=KEY)
    np.testing.assert_allclose(done.samples, expected(spacetime, update, last, 2), rtol=1e-7)


@pytest.mark.parametrize("quantity", ["train_loss", "gap"])
def test_other_quantities_are_measured_at_the_average(quantity):
    landscape, spacetime = fd.Landscape(loss, POPULATION), SPACETIMES["ragged"]
    options = {"optimizer": fd.averaged(fd.momentum(0.8), ema=0.7), "quantity": quantity, "runs": 3, "key": KEY}
    done = fd.simulate(landscape, START, spacetime, RATES, **options)
    training_sets = POPULATION[_draw(landscape, spacetime, 3, KEY)[0]]
    ends = [[ema(0.7)(run) for run in row] for row in paths(spacetime, torch(0.8), 3)]
    for row, run in np.ndindex(len(RATES), 3):
        luck = np.mean([loss(START, x) for x in training_sets[run]]) - mean_loss(START)
        train = np.mean([loss(ends[row][run], x) for x in training_sets[run]]) - luck
        found = train if quantity == "train_loss" else mean_loss(ends[row][run]) - train
        assert done.samples[row, run] == pytest.approx(found, rel=1e-11)


# --- single parameters ---------------------------------------------------------------------------------------------


def nested(params, x):
    return loss(jnp.stack([params["layer"]["w"][0], params["b"]]), x) + params["layer"]["w"][1] * x


def test_a_metric_of_nested_parameters_freezes():
    """A frozen parameter is a constant: the runs are those of the others alone."""
    params = {"b": START[1], "layer": {"w": np.array([START[0], 0.4])}}
    metric = {"layer": {"w": np.array([1.5, 0.0])}, "b": 0}
    options = {"runs": 3, "key": KEY}
    spacetime = SPACETIMES["reshuffled"]
    optimizer = fd.preconditioned(fd.momentum(0.8), metric)
    done = fd.simulate(fd.Landscape(nested, POPULATION), params, spacetime, RATES, optimizer=optimizer, **options)

    def alone(w, x):
        return loss(jnp.stack([w, START[1]]), x) + 0.4 * x

    rates = 1.5 * np.array(RATES)
    landscape = fd.Landscape(alone, POPULATION)
    only = fd.simulate(landscape, START[0], spacetime, rates, optimizer=fd.momentum(0.8), **options)
    np.testing.assert_allclose(done.samples, only.samples, rtol=1e-12)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (2.0, "gives multipliers of params"),
        ({"b": 1.0}, r"\['layer'\]\['w'\].*gives multipliers of params\['b'\]"),
        ({"b": 1.0, "layer": {"w": np.ones(3)}}, r"params\['layer'\]\['w'\] has shape \(3,\)"),
        ({"b": np.ones(1), "layer": {"w": 1.0}}, r"params\['b'\] has shape \(1,\)"),
    ],
)
def test_metrics_that_do_not_suit_the_parameters(metric, message):
    params = {"b": START[1], "layer": {"w": np.array([START[0], 0.4])}}
    at = fd.Landscape(nested, POPULATION), params, SPACETIMES["reshuffled"], RATES
    with pytest.raises(fd.ArgumentError, match=message):
        fd.simulate(*at, optimizer=fd.preconditioned(fd.sgd(), metric), runs=2, key=KEY)


# --- controls ------------------------------------------------------------------------------------------------------


def linear(theta, x):
    return jnp.dot(theta, x)


@pytest.mark.parametrize("name", SPACETIMES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_control_leaves_no_spread_in_a_linear_landscape(kind, name):
    optimizer = KINDS[kind][0]
    data = np.random.default_rng(0).normal(size=(5, 2))
    landscape = fd.Landscape(linear, data)
    options = {"optimizer": optimizer, "control": True, "runs": 20, "key": KEY}
    done = fd.simulate(landscape, START, SPACETIMES[name], RATES, **options)
    slope, metric = data.mean(axis=0), METRIC if optimizer.metric is not None else np.ones(2)
    moved = float(sum(optimizer.to_end(STEPS))) * slope @ (metric * slope)
    truth = slope @ START - np.array(RATES) * moved
    np.testing.assert_allclose(done.samples, np.broadcast_to(truth[:, None], (2, 20)), rtol=1e-12)


@pytest.mark.parametrize("kind", ON_THE_WAY)
def test_a_control_of_a_curve_leaves_no_spread_in_a_linear_landscape(kind):
    times = [3, 4, 6] if kind == "tail" else [0, 1, 4, 6]
    landscape = fd.Landscape(linear, np.random.default_rng(0).normal(size=(5, 2)))
    options = {"optimizer": KINDS[kind][0], "times": times, "control": True, "runs": 20, "key": KEY}
    done = fd.simulate(landscape, START, SPACETIMES["ragged"], RATES, **options)
    assert np.ptp(done.samples, axis=2).max() < 1e-12
    assert np.ptp(done.mean, axis=1).min() > 1e-3


# --- what it refuses ----------------------------------------------------------------------------------------------


def refused(message, **options):
    at = fd.Landscape(loss, POPULATION), START, SPACETIMES["reshuffled"], RATES
    with pytest.raises(fd.ArgumentError, match=message):
        fd.simulate(*at, runs=2, key=KEY, **options)


def test_optimizers_that_are_refused():
    beta = sympy.Symbol("beta")
    refused("made by sgd", optimizer="adam")
    refused("from_optax", optimizer=optax.sgd(0.1))
    refused("beta.*numbers", optimizer=fd.momentum(beta))
    refused("measured over 3 steps.*T=6", optimizer=fd.from_optax(optax.sgd(0.1), steps=3))
    refused("6", optimizer=fd.schedule([1, 2, 3]))
    refused("last 7 iterates.*t=6", optimizer=fd.averaged(fd.sgd(), tail=7))
    refused("weights", optimizer=fd.averaged(fd.sgd(), weights=[0.5, 0.5]))


def test_symbols_can_be_replaced():
    optimizer = fd.momentum(sympy.Symbol("beta")).subs({"beta": 0.8})
    at = fd.Landscape(loss, POPULATION), START, SPACETIMES["reshuffled"], RATES
    one, other = (fd.simulate(*at, optimizer=o, runs=2, key=KEY).samples for o in (optimizer, fd.momentum(0.8)))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "optimizer",
    [fd.momentum(0.5), fd.schedule([1] * 6), fd.averaged(fd.sgd(), tail=2), fd.preconditioned(fd.sgd(), METRIC)],
    ids=str,
)
def test_the_sde_is_that_of_plain_sgd(optimizer):
    at = fd.Landscape(loss, POPULATION), START, SPACETIMES["reshuffled"], RATES
    with pytest.raises(fd.ArgumentError, match="simulate"):
        simulate_sde(*at, optimizer=optimizer, runs=2, key=KEY)


def test_the_sde_has_one_batch_size():
    landscape = fd.Landscape(loss, POPULATION)
    with pytest.raises(fd.SpacetimeError, match="drop_last=True"):
        simulate_sde(landscape, START, fd.Spacetime.sgd(5, 2, drop_last=False), 0.1, runs=2, key=KEY)
    with pytest.raises(fd.SpacetimeError, match="batches of one size"):
        simulate_sde(landscape, START, fd.Spacetime.from_batches([[0], [1, 1]], 2), 0.1, runs=2, key=KEY)
    cut, dropped = fd.Spacetime.sgd(9, 2, T=3, drop_last=True), fd.Spacetime.sgd(7, 2, drop_last=True)
    one, other = (
        simulate_sde(landscape, START, s, 0.1, optimizer=fd.sgd(), runs=2, key=KEY).samples for s in (cut, dropped)
    )
    np.testing.assert_array_equal(one, other)  # T = 3 and B = 2 in both
