"""GDC against SGD, exactly in rational arithmetic; and the JAX code against exact polynomials."""

import sys
from fractions import Fraction
from functools import cache, partial, reduce
from itertools import permutations, product
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import feyngd as fd
from feyngd.testing import PolynomialLandscape, exact_series, landscapes, points
from feyngd.training import GDCState, gdc, gdc_gradient, gdc_loss

# --- descent on GDC's loss in rational arithmetic, as truncated power series in η ---------------------------------


def derivative(polynomial, coordinate):
    """Differentiate a polynomial, a mapping from exponents to coefficients."""
    return {
        (*powers[:coordinate], powers[coordinate] - 1, *powers[coordinate + 1 :]): value * powers[coordinate]
        for powers, value in polynomial.items()
        if powers[coordinate]
    }


def multiplied(a, b):
    found = {}
    for (p, x), (q, y) in product(a.items(), b.items()):
        powers = tuple(i + j for i, j in zip(p, q, strict=True))
        found[powers] = found.get(powers, 0) + x * y
    return found


def added(*terms):
    """Add up polynomials, given as pairs of a factor and a polynomial."""
    found = {}
    for factor, polynomial in terms:
        for powers, value in polynomial.items():
            found[powers] = found.get(powers, 0) + factor * value
    return found


def average(polynomials):
    return added(*((Fraction(1, len(polynomials)), polynomial) for polynomial in polynomials))


def covariance_trace(losses, dimensions):
    """Return the polynomial tr Ĉ, unbiased, from its definition."""
    terms = []
    for c in range(dimensions):
        slopes = [derivative(loss, c) for loss in losses]
        for slope in slopes:
            noise = added((1, slope), (-1, average(slopes)))
            terms.append((Fraction(1, len(losses) - 1), multiplied(noise, noise)))
    return added(*terms)


def at(polynomial, point):
    """Evaluate a polynomial where every coordinate is a power series, an array of fractions."""
    one = 0 * point[0]
    one[0] = Fraction(1)
    ladders = []
    for c, coordinate in enumerate(point):
        ladder = [one]
        for _ in range(max((powers[c] for powers in polynomial), default=0)):
            ladder.append(times(ladder[-1], coordinate))
        ladders.append(ladder)
    total = 0 * one
    for powers, value in polynomial.items():
        terms = [ladder[power] for ladder, power in zip(ladders, powers, strict=True)]
        total = total + Fraction(value) * reduce(times, terms)
    return total


def times(a, b):
    return np.convolve(a, b)[: len(a)]


def shifted(series, by=1):
    """Multiply a power series with a power of η."""
    return np.concatenate([np.full(by, Fraction(0)), series[:-by]])


def slopes(polynomial, dimensions):
    return [derivative(polynomial, c) for c in range(dimensions)]


def descended(theta, steps, order=2):
    """Return the end of θ ← θ − r η (∇f + r η ∇h); a step is the pair of ∇f and ∇h, and its multiple r of η."""
    point = [np.array([Fraction(x)] + [Fraction(0)] * order) for x in theta]
    for f_slopes, h_slopes, r in steps:
        pushes = [at(f, point) + r * shifted(at(h, point)) for f, h in zip(f_slopes, h_slopes, strict=True)]
        point = [x - r * shifted(push) for x, push in zip(point, pushes, strict=True)]
    return point


def plain_step(losses, dimensions, r=Fraction(1)):
    """Return the step of gradient descent on a mean of losses."""
    return slopes(average(losses), dimensions), [{}] * dimensions, r


def gdc_step(losses, b, dimensions, r=Fraction(1)):
    """Return the step of GDC on a batch of losses that emulates batches of b."""
    factor = (Fraction(1, b) - Fraction(1, len(losses))) / 4
    penalty = added((factor, covariance_trace(losses, dimensions)))
    return slopes(average(losses), dimensions), slopes(penalty, dimensions), r


def expected_test_loss(landscape, theta, N, steps_on, order=2):
    """Average the test loss after the steps that a function of a training set gives; a set is a tuple of kinds."""
    total = 0
    for kinds in product(range(len(landscape.losses)), repeat=N):
        chance = prod(landscape.weights[kind] for kind in kinds)
        total = total + chance * at(landscape.mean, descended(theta, steps_on(kinds), order))
    return tuple(total)


def emulation(landscape, theta, N, b, passes, B=None, order=2):
    """Return the expected test loss of GDC on batches of B, all N by default, for as many steps as SGD takes."""
    B = B or N

    @cache
    def step(kinds):
        return gdc_step([landscape.losses[kind] for kind in kinds], b, landscape.dimensions)

    def steps_on(kinds):
        epoch = [step(kinds[i : i + B]) for i in range(0, N, B)]
        return epoch * (passes * B // b)

    return expected_test_loss(landscape, theta, N, steps_on, order)


SMALL = landscapes(dimensions=(1, 2), kinds=(2, 3), degree=4, monomials=4)


@pytest.mark.parametrize("sampling", ["reshuffled", "fixed"])
@pytest.mark.parametrize(("N", "b", "passes"), [(2, 1, 1), (2, 1, 3), (3, 1, 2), (4, 2, 2)])
@settings(max_examples=4)
@given(data=st.data())
def test_descent_on_the_penalised_loss_is_sgd_to_order_2(sampling, N, b, passes, data):
    landscape = data.draw(SMALL)
    theta = data.draw(points(landscape))
    spacetime = fd.Spacetime.sgd(N, b, passes, sampling=sampling)
    sgd = exact_series("test_loss", landscape, theta, spacetime, order=2)
    assert emulation(landscape, theta, N, b, passes) == sgd


@pytest.mark.parametrize(("N", "B", "b", "passes"), [(4, 2, 1, 2), (6, 3, 1, 1), (6, 6, 3, 2)])
@settings(max_examples=4)
@given(data=st.data())
def test_batches_act_like_smaller_batches(N, B, b, passes, data):
    """Only the two batch sizes enter the factor; a pass in batches of b takes as many steps as B/b in those of B."""
    landscape = data.draw(landscapes(dimensions=(1, 2), kinds=(2,), degree=4, monomials=3))
    theta = data.draw(points(landscape))
    sgd = exact_series("test_loss", landscape, theta, fd.Spacetime.sgd(N, b, passes, sampling="fixed"), order=2)
    assert emulation(landscape, theta, N, b, passes, B) == sgd


def shuffled_epochs(N, size, epochs):
    """Every equally likely sequence of batches, each a sorted tuple of points."""
    epoch = {tuple(tuple(sorted(order[i : i + size])) for i in range(0, N, size)) for order in permutations(range(N))}
    return [sum(run, ()) for run in product(sorted(epoch), repeat=epochs)]


@pytest.mark.parametrize(("N", "B", "b"), [(3, 3, 1), (4, 4, 2), (4, 2, 1)])
@settings(max_examples=4)
@given(data=st.data())
def test_one_training_set_and_what_is_measured(N, B, b, data):
    """For a given training set and any smooth measurement, reshuffled: here its own loss and a coordinate."""
    landscape = data.draw(landscapes(dimensions=(1, 2), kinds=(N,), degree=4))
    theta, size = data.draw(points(landscape)), landscape.dimensions

    def mean_after(step, runs, measured):
        ends = [at(measured, descended(theta, [step(batch) for batch in run])) for run in runs]
        return tuple(sum(ends) / len(ends))

    sgd = cache(lambda batch: plain_step([landscape.losses[n] for n in batch], size))
    ours = cache(lambda batch: gdc_step([landscape.losses[n] for n in batch], b, size))
    for measured in (average(landscape.losses), {(1, *[0] * (size - 1)): Fraction(1)}):
        expected = mean_after(sgd, shuffled_epochs(N, b, 1), measured)
        assert mean_after(ours, shuffled_epochs(N, B, B // b), measured) == expected


@settings(max_examples=4)
@given(data=st.data())
def test_schedules_that_are_constant_within_epochs(data):
    N, rates = 2, (Fraction(1), Fraction(1, 3), Fraction(2))
    landscape = data.draw(SMALL)
    theta, size = data.draw(points(landscape)), landscape.dimensions

    def sgd_steps(orders, kinds):
        epochs = zip(orders, rates, strict=True)
        return [plain_step([landscape.losses[kinds[n]]], size, rate) for order, rate in epochs for n in order]

    def our_steps(kinds):
        losses = [landscape.losses[kind] for kind in kinds]
        return [gdc_step(losses, 1, size, rate) for rate in rates for _ in range(N)]

    runs = list(product(permutations(range(N)), repeat=len(rates)))
    ends = [expected_test_loss(landscape, theta, N, partial(sgd_steps, orders)) for orders in runs]
    assert tuple(sum(terms) / len(runs) for terms in zip(*ends, strict=True)) == expected_test_loss(
        landscape, theta, N, our_steps
    )


# Two losses whose gradients, Hessians and third derivatives all differ.
UNEVEN = PolynomialLandscape([{(2,): 1, (1,): 1, (3,): 1}, {(2,): 2, (1,): -1}])


def test_orders_beyond_are_others():
    sgd = exact_series("test_loss", UNEVEN, [1], fd.Spacetime.sgd(2, 1, 2), order=3)
    ours = emulation(UNEVEN, [1], 2, 1, 2, order=3)
    assert (ours[:3], ours[3] == sgd[3]) == (sgd[:3], False)


def test_sampling_with_replacement_is_another_matter():
    """It adds (η²T/2b)(1 − 1/N) tr(HC) to gradient descent, which has no penalty in it."""
    N, b, T = 3, 1, 3
    sgd = exact_series("test_loss", UNEVEN, [1], fd.Spacetime.sgd(N, b, T=T, sampling="with-replacement"), order=2)
    descent = exact_series("test_loss", UNEVEN, [1], fd.Spacetime.gd(N, T), order=2)
    values = fd.testing.ExactValues(UNEVEN, [1])
    trace = values.tensor(2).item() * values.tensor(1, 1).item()
    assert sgd[2] - descent[2] == Fraction(T, 2 * b) * (1 - Fraction(1, N)) * trace
    assert emulation(UNEVEN, [1], N, b, 1)[2] != sgd[2]


# --- the JAX code -------------------------------------------------------------------------------------------------


def polynomial_loss(theta, example):
    """A sum of monomials: an example is their exponents, (monomials, coordinates) and at most 4, and coefficients."""
    powers, values = example
    ladder = jnp.stack([theta**k for k in range(5)])  # theta**powers has no derivative at 0
    return jnp.sum(values * jnp.prod(ladder[powers, jnp.arange(len(theta))], axis=1))


def as_arrays(losses, most=5):
    """Return polynomial losses of few monomials as examples for `polynomial_loss`."""
    size = len(next(iter(losses[0])))
    powers = np.zeros((len(losses), most, size), int)
    values = np.zeros((len(losses), most))
    for n, loss in enumerate(losses):
        for m, (exponents, value) in enumerate(loss.items()):
            powers[n, m], values[n, m] = exponents, float(value)
    return powers, values


def as_numbers(polynomials, theta):
    start = [np.array([Fraction(x)]) for x in theta]
    return [float(at(polynomial, start)[0]) for polynomial in polynomials]


@jax.jit
def both(params, batch, rate):
    """Return the loss, its gradient by JAX, and ours."""
    options = {"learning_rate": rate, "chunk_size": 2}
    loss, gradient = jax.value_and_grad(lambda p: gdc_loss(polynomial_loss, p, batch, **options))(params)
    return loss, gradient, gdc_gradient(polynomial_loss, params, batch, **options)


@settings(max_examples=15)
@given(data=st.data())
def test_gradient_and_loss_are_those_of_the_polynomials(data):
    landscape = data.draw(landscapes(dimensions=(2,), kinds=(3,)))
    theta = data.draw(points(landscape))
    losses, size = list(landscape.losses), landscape.dimensions
    eta = data.draw(st.fractions(0, 2, max_denominator=7))
    penalty = covariance_trace(losses, size)
    whole = added((1, average(losses)), (eta / 4 * (1 - Fraction(1, 3)), penalty))
    start = [np.array([x]) for x in theta]
    value, *gradient = (float(at(polynomial, start)[0]) for polynomial in (whole, *slopes(whole, size)))
    with jax.enable_x64(True):
        params, batch = jnp.array([float(x) for x in theta]), as_arrays(losses)
        loss, by_jax, ours = both(params, batch, float(eta))
    np.testing.assert_allclose(loss, value, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours, gradient, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(by_jax, gradient, rtol=1e-12, atol=1e-11)


def network_loss(params, example):
    x, label = example
    hidden = jnp.tanh(x @ params["in"]["weights"] + params["in"]["bias"])
    return jnp.square(hidden @ params["out"][0] - label) / 2


def network(size=7):
    draw = np.random.default_rng(3).standard_normal
    params = {"in": {"weights": draw((3, 4)), "bias": draw(4)}, "out": (draw(4), None)}
    return jax.tree.map(jnp.float32, (params, (draw((size, 3)), draw(size))))


@jax.jit
def mean_gradient(params, batch):
    return jax.grad(lambda p: jnp.mean(jax.vmap(partial(network_loss, p))(batch)))(params)


@partial(jax.jit, static_argnums=(3, 4))
def penalised(params, batch, rate, b=2, chunk_size=32):
    options = {"learning_rate": rate, "emulate_batch_size": b, "chunk_size": chunk_size}
    return gdc_loss(network_loss, params, batch, **options), gdc_gradient(network_loss, params, batch, **options)


def assert_close(ours, theirs, **options):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **{"rtol": 2e-5, "atol": 1e-6, **options}), ours, theirs)


def test_trees_of_parameters_and_chunks():
    params, batch = network()

    def plainly(params):
        gradients = jax.vmap(partial(jax.grad(network_loss), params))(batch)
        noise = sum(jnp.sum(jnp.var(leaf, axis=0, ddof=1)) for leaf in jax.tree.leaves(gradients))
        return jnp.mean(jax.vmap(partial(network_loss, params))(batch)) + 0.7 / 4 * (1 / 2 - 1 / 7) * noise

    expected = jax.jit(jax.value_and_grad(plainly))(params)
    for chunk_size in (3, 7):
        assert_close(penalised(params, batch, 0.7, 2, chunk_size), expected)


def test_the_batch_size_itself_is_the_plain_gradient():
    params, batch = network()
    loss, gradient = penalised(params, batch, 0.7, 7)
    assert_close(gradient, mean_gradient(params, batch))
    np.testing.assert_allclose(loss, jnp.mean(jax.vmap(partial(network_loss, params))(batch)), rtol=1e-6)


def test_outside_jit_and_with_numpy_data_closed_over():
    params, batch = network()
    expected = penalised(params, batch, 0.7)[1]
    assert_close(gdc_gradient(network_loss, params, batch, learning_rate=0.7, emulate_batch_size=2), expected)
    wide = jax.tree.map(lambda leaf: np.asarray(leaf, dtype=np.float64), batch)
    compiled = jax.jit(partial(gdc_gradient, network_loss, batch=wide, learning_rate=0.7, emulate_batch_size=2))
    assert_close(compiled(params), expected)


def test_half_precision_stays_half_precision():
    params, batch = jax.tree.map(jnp.bfloat16, network())
    assert {leaf.dtype for leaf in jax.tree.leaves(penalised(params, batch, 0.7)[1])} == {jnp.dtype("bfloat16")}


# --- with optax ---------------------------------------------------------------------------------------------------


def test_a_chain_takes_the_steps_of_the_plain_function():
    (params, batch), rate = network(), 0.3
    optimizer = optax.chain(gdc(network_loss, rate, emulate_batch_size=2, chunk_size=4), optax.sgd(rate))
    state, by_hand = optimizer.init(params), params

    @jax.jit
    def step(params, state, batch):
        updates, state = optimizer.update(mean_gradient(params, batch), state, params, batch=batch)
        return optax.apply_updates(params, updates), state

    for _ in range(3):
        params, state = step(params, state, batch)
        by_hand = jax.tree.map(lambda p, g: p - rate * g, by_hand, penalised(by_hand, batch, rate)[1])
    assert_close(params, by_hand, rtol=1e-4)
    assert isinstance(state[0], GDCState)
    assert int(state[0].step) == 3


def test_a_schedule_is_that_of_the_step():
    params, batch = network()
    schedule = optax.exponential_decay(0.5, transition_steps=1, decay_rate=0.5)
    transformation = gdc(network_loss, schedule, emulate_batch_size=2)
    state, update = transformation.init(params), jax.jit(transformation.update)
    for rate in (0.5, 0.25, 0.125):
        updates, state = update(mean_gradient(params, batch), state, params, batch=batch)
        assert_close(updates, penalised(params, batch, rate)[1])


def test_a_common_regulariser_need_not_be_in_the_loss():
    params, batch = network()

    def regularised(params, example):
        return network_loss(params, example) + sum(jnp.sum(leaf**4) / 100 for leaf in jax.tree.leaves(params))

    gradients, updates = mean_gradient(params, batch), []
    for loss in (network_loss, regularised):
        transformation = gdc(loss, 0.4)
        update = jax.jit(transformation.update)
        updates.append(update(gradients, transformation.init(params), params, batch=batch)[0])
    assert_close(*updates)


def test_hyperparameters_can_be_injected():
    params, batch = network()
    static = ("loss", "emulate_batch_size", "chunk_size")
    with_rate = optax.inject_hyperparams(gdc, static_args=static)
    transformation = with_rate(network_loss, learning_rate=0.4, emulate_batch_size=2)
    state = transformation.init(params)
    updates, state = jax.jit(transformation.update)(mean_gradient(params, batch), state, params, batch=batch)
    assert_close(updates, penalised(params, batch, 0.4)[1])
    assert float(state.hyperparams["learning_rate"]) == pytest.approx(0.4)


def test_the_batch_itself_takes_plain_steps():
    params, batch = network()
    transformation, gradients = gdc(network_loss, 0.4, emulate_batch_size=7), mean_gradient(params, batch)
    updates, state = transformation.update(gradients, transformation.init(params), params, batch=batch)
    assert updates is gradients
    assert int(state.step) == 1


# --- in other libraries' training loops ---------------------------------------------------------------------------


def squared_error(predicted, label):
    return jnp.mean(jnp.square(predicted - label)) / 2


def step_by_hand(loss, params, batch, rate=0.3):
    return jax.tree.map(lambda p, g: p - rate * g, params, gdc_gradient(loss, params, batch, learning_rate=rate))


def test_in_flax_nnx():
    nnx = pytest.importorskip("flax.nnx")
    model, batch = nnx.Linear(3, 1, rngs=nnx.Rngs(0)), network()[1]
    graph, start = nnx.split(model)

    def loss(params, example):
        return squared_error(nnx.merge(graph, params)(example[0]), example[1])

    expected = step_by_hand(loss, nnx.as_pure(start), batch)
    optimizer = nnx.Optimizer(model, optax.chain(gdc(loss, 0.3), optax.sgd(0.3)), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, batch):
        gradients = nnx.grad(lambda model: squared_error(model(batch[0])[:, 0], batch[1]))(model)
        optimizer.update(model, gradients, batch=batch)

    step(model, optimizer, batch)
    assert_close(nnx.as_pure(nnx.state(model)), expected)


def test_in_flax_linen():
    linen, train_state = pytest.importorskip("flax.linen"), pytest.importorskip("flax.training.train_state")
    model, batch = linen.Dense(1), network()[1]
    params = model.init(jax.random.key(0), batch[0])

    def loss(params, example):
        return squared_error(model.apply(params, example[0]), example[1])

    optimizer = optax.chain(gdc(loss, 0.3), optax.sgd(0.3))
    state = train_state.TrainState.create(apply_fn=model.apply, params=params, tx=optimizer)

    @jax.jit
    def step(state, batch):
        gradients = jax.grad(lambda p: squared_error(state.apply_fn(p, batch[0])[:, 0], batch[1]))(state.params)
        updates, opt_state = state.tx.update(gradients, state.opt_state, state.params, batch=batch)
        return state.replace(
            step=state.step + 1, params=optax.apply_updates(state.params, updates), opt_state=opt_state
        )

    assert_close(step(state, batch).params, step_by_hand(loss, params, batch))


def test_in_equinox():
    eqx = pytest.importorskip("equinox")
    batch = network()[1]
    params, static = eqx.partition(eqx.nn.MLP(3, "scalar", 4, 1, jnp.tanh, key=jax.random.key(0)), eqx.is_inexact_array)

    def loss(params, example):
        return squared_error(eqx.combine(params, static)(example[0]), example[1])

    optimizer = optax.chain(gdc(loss, 0.3), optax.sgd(0.3))

    @eqx.filter_jit
    def step(model, state, batch):
        gradients = eqx.filter_grad(lambda m: squared_error(jax.vmap(m)(batch[0]), batch[1]))(model)
        params = eqx.filter(model, eqx.is_inexact_array)
        updates, state = optimizer.update(gradients, state, params, batch=batch)
        return eqx.apply_updates(model, updates), state

    model, _ = step(eqx.combine(params, static), optimizer.init(params), batch)
    assert_close(eqx.filter(model, eqx.is_inexact_array), step_by_hand(loss, params, batch))


# --- what it refuses ----------------------------------------------------------------------------------------------


def quadratic(theta, x):
    return x * theta**2 / 2


THREE = np.array([1.0, 2.0, 4.0])


def by_optax(loss, params, batch, *, learning_rate, **options):
    transformation = gdc(loss, learning_rate, **options)
    transformation.update(params, transformation.init(params), params, batch=batch)


def messages(loss, batch, **options):
    """Return the messages of everything that takes a batch."""
    for function in (gdc_loss, gdc_gradient, by_optax):
        with pytest.raises(fd.ArgumentError) as caught:
            function(loss, jnp.array(1.0), batch, **{"learning_rate": 0.1, **options})
        yield str(caught.value)


@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf"), "0.1", None, np.ones(2)])
def test_bad_learning_rates(rate):
    for message in messages(quadratic, THREE, learning_rate=rate):
        assert "A learning rate is a finite number ≥ 0" in message


@pytest.mark.parametrize("size", [0, -1, 1.0, True, None])
@pytest.mark.parametrize("name", ["emulate_batch_size", "chunk_size"])
def test_bad_sizes(name, size):
    for message in messages(quadratic, THREE, **{name: size}):
        assert f"{name} is an integer ≥ 1" in message


def test_a_batch_acts_like_smaller_ones_only():
    for message in messages(quadratic, THREE, emulate_batch_size=4):
        assert "from 1 to 3, got 4" in message


def test_one_example_has_no_covariance():
    for message in messages(quadratic, THREE[:1]):
        assert "no covariance" in message


def test_the_loss_is_a_function_of_one_example():
    for message in messages(0.5, THREE):
        assert "function loss(params, example)" in message


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (lambda theta, x: (x * theta, x), r"float32\[\] and float32\[\]"),
        (lambda theta, x: jnp.stack([theta, x]), r"float32\[2\]"),
        (lambda theta, x: 1, r"int32\[\]"),
        (lambda theta, x: None, "nothing"),
    ],
)
def test_the_loss_is_one_real_number(loss, found):
    with pytest.raises(fd.LandscapeError, match=found):
        gdc_gradient(loss, jnp.array(1.0), THREE, learning_rate=0.1)


@pytest.mark.parametrize(
    ("batch", "problem"), [((THREE, THREE[:2]), "disagree"), (2.0, "leading axis"), (THREE[:0], "0 examples")]
)
def test_the_batch_is_arrays_with_one_leading_axis(batch, problem):
    with pytest.raises(fd.LandscapeError, match=problem):
        gdc_loss(lambda theta, example: theta, jnp.array(1.0), batch, learning_rate=0.1)


def test_update_needs_parameters_and_the_batch():
    transformation = gdc(quadratic, 0.1)
    state, theta = transformation.init(1.0), jnp.array(1.0)
    with pytest.raises(fd.ArgumentError, match="batch=batch"):
        transformation.update(theta, state, theta)
    with pytest.raises(fd.ArgumentError, match="params"):
        transformation.update(theta, state, batch=THREE)


def test_without_optax(monkeypatch):
    monkeypatch.setitem(sys.modules, "optax", None)
    with pytest.raises(fd.FeynGDError, match=r"pip install 'feyngd\[optax\]'"):
        gdc(quadratic, 0.1)
