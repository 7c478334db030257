"""Programs belong to a trace of the loss: nothing changes unseen, nothing is compiled twice, all is let go."""

import copy
import gc
import pickle
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from changing_losses import MAKERS, reference, squared

import feyngd as fd
from feyngd.derivatives import FrozenLoss, per_loss
from feyngd.derivatives._fingerprint import fingerprint
from feyngd.landscapes import Landscape

KEY = jax.random.key(0)
DATA = (jax.random.normal(KEY, (6, 3)), jnp.linspace(-1, 1, 6))
PARAMS = jnp.array([0.2, -0.1, 0.4])


@pytest.fixture(params=MAKERS, ids=lambda make: make.__name__)
def changeable(request):
    return request.param()


def derivatives(loss):
    """Return value, gradient and curvature of the mean loss along a direction, in plain JAX."""
    mean = lambda params: jnp.mean(jax.vmap(lambda example: loss(params, example))(DATA))  # noqa: E731
    return mean(PARAMS), *jax.jvp(jax.grad(mean), (PARAMS,), (PARAMS,))


def frozen_derivatives(landscape):
    frozen = landscape.frozen(PARAMS)
    return derivatives(frozen.loss)


def test_a_frozen_loss_is_the_loss_of_now(changeable):
    loss, change = changeable
    landscape = Landscape(loss, DATA)
    for decay in (0.0, 0.5, 3.0):
        change(decay)
        for one in (landscape, Landscape(loss, DATA)):
            value, slope, curved = frozen_derivatives(one)
            _, expected_slope, expected_curved = derivatives(reference(decay))
            np.testing.assert_allclose(value, derivatives(loss)[0], rtol=1e-6)
            np.testing.assert_allclose(slope, expected_slope, rtol=2e-6)
            np.testing.assert_allclose(curved, expected_curved, rtol=2e-6)


def test_results_are_those_of_now(changeable):
    loss, change = changeable
    landscape = Landscape(loss, DATA)
    found = []
    for decay in (0.0, 3.0):
        change(decay)
        found.append(
            fd.evaluate(fd.diagrams(1), landscape, PARAMS, key=KEY, check_dtype=False)[fd.diagrams(1)[0]].value
        )
        slope = derivatives(reference(decay))[1]
        assert found[-1] == pytest.approx(float(slope @ slope), rel=1e-5)
    assert found[0] != pytest.approx(found[1], rel=0.1)


def test_an_unchanged_loss_keeps_its_programs(changeable):
    loss, change = changeable
    first = Landscape(loss, DATA).frozen(PARAMS).loss
    assert Landscape(loss, DATA).frozen(2 * PARAMS).loss is first
    change(3.0)
    assert Landscape(loss, DATA).frozen(PARAMS).loss is not first


def test_the_users_own_jit_is_left_alone():
    class Trainer:
        decay = 0.0

        def loss(self, params, example):
            return squared(params, example) + 0.5 * self.decay * params @ params

    trainer = Trainer()
    fd.simulate(Landscape(trainer.loss, DATA), PARAMS, fd.Spacetime.sgd(2), 0.1, runs=2, key=KEY)
    example = jax.tree.map(lambda leaf: leaf[0], DATA)
    before = jax.jit(trainer.loss)(PARAMS, example)
    trainer.decay = 3.0
    after = jax.jit(trainer.loss)(PARAMS, example)
    assert float(after - before) == pytest.approx(1.5 * float(PARAMS @ PARAMS), rel=1e-5)


def test_other_constants_of_the_same_size_are_another_loss():
    prints = [
        fingerprint(jax.make_jaxpr(lambda p, constant=constant: jnp.sum(constant * p))(PARAMS))
        for constant in (np.ones(3, np.float32), np.full(3, 2, np.float32), np.ones(3, np.float32))
    ]
    assert not prints[0].proves(prints[1])
    assert prints[0].proves(prints[2])


def branches(first, second):
    return lambda p: jax.lax.cond(p[0] > 0, first, second, p[0])


def scanned(body):
    return lambda p: jnp.sum(jax.lax.scan(body, 0.0, p)[1])


@pytest.mark.parametrize(
    "pair",
    [
        (lambda p: jnp.sum(p[:2]), lambda p: jnp.sum(p[1:])),
        (lambda p: p[0] - p[1], lambda p: p[1] - p[0]),
        (branches(jnp.sin, jnp.cos), branches(jnp.cos, jnp.sin)),
        (scanned(lambda c, x: (c + x, c)), scanned(lambda c, x: (c + x, x))),
        (lambda p: jnp.dot(p, p, precision="highest"), lambda p: jnp.dot(p, p)),
        (lambda p: jnp.sum(p.astype(jnp.bfloat16)).astype(jnp.float32), lambda p: jnp.sum(p)),
    ],
)
def test_other_equations_are_another_loss(pair):
    a, b = (fingerprint(jax.make_jaxpr(function)(PARAMS)) for function in pair)
    again = fingerprint(jax.make_jaxpr(lambda p: pair[0](p))(PARAMS))
    assert not a.proves(b)
    assert a.proves(again)


def test_rules_that_use_their_own_function_are_told_apart():
    def growing(rate):
        @jax.custom_jvp
        def grow(x):
            return jnp.exp(x)

        grow.defjvp(lambda x, t: (grow(*x), rate * grow(*x) * t[0]))
        return lambda p: grow(p[0])

    prints = [fingerprint(jax.make_jaxpr(growing(rate))(PARAMS)) for rate in (1.0, 2.0, 1.0)]
    assert prints[0].proves(prints[2])
    assert not prints[0].proves(prints[1])


def test_a_callback_is_compared_by_the_function_it_calls():
    def through(host):
        return lambda p: jnp.sum(jax.pure_callback(host, jax.ShapeDtypeStruct((3,), jnp.float32), p))

    def twice(x):
        return 2 * x

    def thrice(x):
        return 3 * x

    prints = [fingerprint(jax.make_jaxpr(through(host))(PARAMS)) for host in (twice, thrice, twice)]
    assert prints[0].proves(prints[2])
    assert not prints[0].proves(prints[1])


def test_a_loss_over_what_is_differentiated_is_never_kept():
    def outer(scale):
        landscape = Landscape(lambda params, example: scale * squared(params, example), DATA)
        assert landscape.frozen(PARAMS).loss.fingerprint is None
        return landscape.mean_loss(PARAMS)

    plain = float(derivatives(squared)[0])
    assert float(jax.grad(outer)(2.0)) == pytest.approx(plain, rel=1e-6)
    assert float(jax.jit(outer)(3.0)) == pytest.approx(3 * plain, rel=1e-6)


@pytest.mark.parametrize("transform", [jax.jit, jax.grad, lambda function: jax.jit(jax.grad(function))])
def test_a_loss_first_met_inside_a_transformation_is_kept_whole(transform):
    constant = np.ones(3, np.float32)

    def loss(params, example):
        return squared(params, example) + constant @ params**2

    landscape = Landscape(loss, DATA)
    transform(landscape.mean_loss)(PARAMS)
    expected = derivatives(loss)
    np.testing.assert_allclose(landscape.mean_loss(PARAMS), expected[0], rtol=1e-6)
    np.testing.assert_allclose(
        transform(landscape.mean_loss)(2 * PARAMS), transform(lambda p: landscape.mean_loss(p))(2 * PARAMS)
    )


def test_what_a_frozen_array_was_stays():
    constant = np.ones(3, np.float32)
    frozen = Landscape(lambda params, example: squared(params, example) + constant @ params, DATA).frozen(PARAMS)
    before = float(frozen.mean_loss(PARAMS))
    constant.fill(100)
    jax.clear_caches()
    frozen.loss.programs.clear()
    assert float(frozen.mean_loss(PARAMS)) == pytest.approx(before, rel=1e-6)


def test_a_frozen_loss_lives_as_long_as_the_function():
    def make():
        weights = jnp.arange(3.0)
        return lambda params, example: squared(params, example) + weights @ params**2

    loss = make()
    Landscape(loss, DATA).mean_loss(PARAMS)
    first = weakref.ref(Landscape(loss, DATA).frozen(PARAMS).loss)
    gc.collect()
    assert first() is not None
    del loss
    gc.collect()
    assert first() is None


def test_an_older_version_of_a_loss_is_let_go():
    settings = {"weights": jnp.arange(3.0)}

    def loss(params, example):
        return squared(params, example) + settings["weights"] @ params**2

    landscape = Landscape(loss, DATA)
    first = weakref.ref(landscape.frozen(PARAMS).loss)
    settings["weights"] = jnp.ones(3)
    landscape.mean_loss(PARAMS)
    gc.collect()
    assert first() is None


def test_programs_are_made_once_for_every_question():
    made = []

    @per_loss
    def make(loss, size):
        made.append(size)
        return lambda: size

    frozen = Landscape(squared, DATA).frozen(PARAMS).loss
    assert isinstance(frozen, FrozenLoss)
    assert [make(frozen, size)() for size in (1, 2, 1)] == [1, 2, 1]
    assert made == [1, 2]
    assert [make(squared, 1)(), make(squared, 1)()] == [1, 1]
    assert made == [1, 2, 1, 1]


def test_used_landscapes_are_pickled_and_copied():
    landscape = Landscape(squared, DATA)
    before = landscape.mean_loss(PARAMS)
    for twin in (pickle.loads(pickle.dumps(landscape)), copy.deepcopy(landscape), copy.copy(landscape)):
        assert float(twin.mean_loss(PARAMS)) == float(before)
        assert twin.reading == "population"


def test_values_of_other_parameters_data_or_losses_are_refused():
    landscape, spacetime = Landscape(squared, DATA), fd.Spacetime.sgd(2)
    values = fd.evaluate(fd.expand("test_loss", order=1, spacetime=spacetime), landscape, PARAMS, key=KEY)

    def predicted(landscape, params):
        return fd.predict(landscape, params, spacetime, 0.01, order=1, values=values, key=KEY)

    predicted(landscape, np.array(PARAMS))
    predicted(Landscape(squared, DATA), PARAMS)
    with pytest.raises(fd.ArgumentError, match="other parameters"):
        predicted(landscape, 2 * PARAMS)
    with pytest.raises(fd.ArgumentError, match="other data"):
        predicted(Landscape(squared, jax.tree.map(lambda leaf: leaf[:5], DATA)), PARAMS)
    with pytest.raises(fd.ArgumentError, match="another loss"):
        predicted(Landscape(reference(1.0), DATA), PARAMS)
    with pytest.raises(fd.ArgumentError, match="other data or another reading"):
        predicted(Landscape(squared, DATA, reading="unbiased"), PARAMS)
