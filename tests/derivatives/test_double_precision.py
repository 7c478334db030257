"""Losses in double precision: the same function, with wider numbers and the same random draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feyngd.derivatives._double_precision import LiftingError, is_double_throughout, lifted, lifted_array

P = np.array([0.3, 0.5, -0.7], np.float32)
X = np.array([0.2, -1.3, 0.9], np.float32)
W = np.array([[0.1, -0.4, 0.7], [1.2, 0.3, -0.5], [-0.2, 0.9, 0.6]], np.float32)
KEY = jax.random.key(3)
F32, F64, BF16 = jnp.float32, jnp.float64, jnp.bfloat16


def derivatives(loss, params, example):
    """Value, slope along a direction, and curvature along it."""

    def along(f):
        return lambda p: jax.jvp(f, (p,), (jnp.cos(p),))[1]

    def value(p):
        return loss(p, example)

    return jnp.stack([value(params), along(value)(params), along(along(value))(params)])


def in_double(loss, params=P, example=X):
    """The derivatives of the lifted loss."""
    double = lifted(loss, params, example)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: lifted_array(jnp.asarray(leaf)), (params, example))
        found = jax.jit(lambda p, e: derivatives(double, p, e))(*wide)
    assert found.dtype == jnp.float64
    return np.asarray(found)


def plain(loss, params=P, example=X):
    """The derivatives of a loss that is written for double precision."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: lifted_array(jnp.asarray(leaf)), (params, example))
        return np.asarray(derivatives(loss, *wide))


def scan(dtype):
    return lambda p, x: jnp.sum(jax.lax.scan(lambda h, z: (jnp.tanh(p * h + z), None), jnp.zeros(3, dtype), x)[0] ** 2)


def fori(dtype):
    return lambda p, x: jnp.sum(jax.lax.fori_loop(0, 3, lambda i, h: jnp.tanh(p * h + x), jnp.ones(3, dtype)))


def loop(dtype):
    def steps(p, x):
        start = jnp.zeros((), dtype), jnp.ones(3, dtype)
        return jnp.sum(jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.tanh(p * c[1] + x)), start)[1])

    return steps


def branch(dtype):
    return lambda p, x: jnp.sum(jax.lax.cond(x[0] < 0, lambda: jnp.zeros(3, dtype), lambda: p * p * x))


def network(dtype):
    def loss(p, x):
        w = jnp.asarray(W).astype(dtype)
        return (jnp.tanh(w @ p.astype(dtype)) @ x.astype(dtype)).astype(p.dtype)

    return loss


def linear_algebra(dtype):
    def loss(p, x):
        a = jnp.outer(p, p) + 2 * jnp.eye(3, dtype=dtype)
        return jnp.linalg.solve(a, x) @ x + jnp.sum(jnp.linalg.cholesky(a)) + jnp.linalg.slogdet(a)[1]

    return loss


PAIRS = {
    "scan": scan,
    "fori_loop": fori,
    "while_loop": loop,
    "cond": branch,
    "matrices": linear_algebra,
    "remat": lambda dtype: jax.checkpoint(lambda p, x: jnp.sum(jnp.tanh(p) * jnp.ones(3, dtype) * x)),
    "fft": lambda dtype: lambda p, x: jnp.sum(jnp.abs(jnp.fft.fft(p.astype(dtype)) * jnp.fft.fft(x)) ** 2),
    "sort": lambda dtype: (
        lambda p, x: (
            jnp.sum(jnp.sort(p * p).astype(dtype) * x) + jax.lax.top_k(p**3, 2)[0] @ x[:2] + jnp.sum(jnp.cumsum(p) ** 2)
        )
    ),
    "scatter": lambda dtype: lambda p, x: jnp.sum(jnp.zeros(4, dtype).at[jnp.array([0, 2, 2])].add(p * p) ** 2),
    "windows": lambda dtype: (
        lambda p, x: jnp.sum(jax.lax.reduce_window(p * p * x, dtype(-jnp.inf), jax.lax.max, (2,), (1,), "VALID") ** 2)
    ),
    "convolution": lambda dtype: lambda p, x: jnp.sum(jnp.convolve(p.astype(dtype), x) ** 2),
}


@pytest.mark.parametrize("family", PAIRS.values(), ids=PAIRS.keys())
def test_it_is_the_same_loss_in_double_precision(family):
    np.testing.assert_allclose(in_double(family(F32)), plain(family(F64)), rtol=1e-13, atol=1e-14)


def test_lower_precision_inside_is_lifted():
    np.testing.assert_allclose(in_double(network(BF16)), plain(network(F64)), rtol=1e-13)
    np.testing.assert_allclose(in_double(network(jnp.float16)), plain(network(F64)), rtol=1e-13)
    rounded = in_double(lambda p, x: jnp.sum(jax.lax.reduce_precision(p * p * x, 5, 4)))
    np.testing.assert_allclose(rounded, plain(lambda p, x: jnp.sum(p * p * x)), rtol=1e-13)
    product = jax.lax.DotAlgorithmPreset.BF16_BF16_F32
    found = in_double(lambda p, x: jnp.dot(jnp.asarray(W), p, precision=product) @ x)
    np.testing.assert_allclose(found, plain(lambda p, x: (jnp.asarray(W, F64) @ p) @ x), rtol=1e-13)


@jax.custom_jvp
def twice_as_steep(z):
    return jnp.logaddexp(z, 0).astype(F32)


@twice_as_steep.defjvp
def _(arguments, slopes):
    # Calls itself, and is not the derivative of the formula.
    (z,), (slope,) = arguments, slopes
    return twice_as_steep(z), (2 * twice_as_steep(z) * slope).astype(F32)


def test_rules_of_custom_jvp_are_kept():
    value, slope, curvature = in_double(lambda p, x: twice_as_steep(p[0] * x[2]))
    z, z1 = float(P[0]) * float(X[2]), np.cos(float(P[0])) * float(X[2])
    z2 = -np.sin(float(P[0])) * np.cos(float(P[0])) * float(X[2])
    y = np.logaddexp(z, 0)
    np.testing.assert_allclose([value, slope, curvature], [y, 2 * y * z1, 4 * y * z1**2 + 2 * y * z2], rtol=1e-12)


def test_rules_with_integers():
    @jax.custom_jvp
    def power(z, n):
        return z**2, n + 1

    @power.defjvp
    def _(arguments, slopes):
        return power(*arguments), (2.5 * arguments[0] * slopes[0], np.zeros((), jax.dtypes.float0))

    found = in_double(lambda p, x: power(p[0], 3)[0] * power(p, 3)[1])
    np.testing.assert_allclose(found[:2], [4 * float(P[0]) ** 2, 10 * float(P[0]) * np.cos(float(P[0]))], rtol=1e-12)


def test_rules_of_custom_vjp_are_not_replaced_by_the_derivative_of_the_formula():
    @jax.custom_vjp
    def clipped(z):
        return z**2

    clipped.defvjp(lambda z: (z**2, z), lambda z, slope: (jnp.clip(slope, -1, 1) * z,))

    def loss(p, x):
        return jnp.sum(clipped(p) * x)

    double = lifted(loss, P, X)
    with jax.enable_x64(True):
        wide = jnp.asarray(P, F64), jnp.asarray(X, F64)
        np.testing.assert_allclose(double(*wide), np.sum(np.float64(P) ** 2 * np.float64(X)), rtol=1e-14)
        with pytest.raises(LiftingError, match="custom_vjp"):
            jax.grad(double)(*wide)


DRAWS = {
    "bernoulli": lambda key: jax.random.bernoulli(key, 0.3, (50,)),
    "uniform": lambda key: jax.random.uniform(key, (50,), minval=-0.3, maxval=0.9),
    "normal": lambda key: jax.random.normal(key, (50,)),
    "poisson": lambda key: jax.random.poisson(key, 3.0, (50,)),
    "permutation": lambda key: jax.random.permutation(key, 50),
    "split": lambda key: jax.random.normal(jax.random.fold_in(jax.random.split(key)[1], 3), (50,), dtype=BF16),
    "gamma": lambda key: jax.random.gamma(key, jnp.full(50, 0.7)),
    "truncated": lambda key: jax.random.truncated_normal(key, -1, 1, (50,)),
}


@pytest.mark.parametrize("key", [KEY, jax.random.key_data(KEY)], ids=["typed", "uint32"])
def test_draws_are_the_same(key):
    def loss(p, e):
        return jnp.stack([jnp.sum(p * draw(e[1]) * e[0]) for draw in DRAWS.values()])

    weights = np.linspace(1, 2, 50, dtype=np.float32)
    drawn = np.array([np.asarray(draw(key)).astype(np.float64) for draw in DRAWS.values()])
    double = lifted(loss, P[:1], (weights, key))
    with jax.enable_x64(True):
        found = np.asarray(jax.jit(double)(jnp.asarray(P[:1], F64), (jnp.asarray(weights, F64), key)))
    expected = float(P[0]) * drawn @ np.float64(weights)
    # To the last bit, but for the last two, where XLA may fuse operations of single precision in one of two ways.
    np.testing.assert_allclose(found[:-2], expected[:-2], rtol=1e-14)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_draws_in_loops_are_the_same():
    def loss(p, e):
        def step(carry, z):
            h, key = carry
            key, one = jax.random.split(key)
            return (jnp.tanh(p * h + z * jax.random.bernoulli(one, 0.5, (3,))), key), None

        return jnp.sum(jax.lax.scan(step, (jnp.ones(3), e[1]), e[0])[0][0])

    np.testing.assert_allclose(in_double(loss, P, (X, KEY)), derivatives(loss, P, (X, KEY)), rtol=3e-6)


def test_draws_from_a_distribution_of_the_parameters():
    def loss(p, key):
        sizes = jax.random.gamma(key, jnp.exp(p))
        return jnp.sum(sizes) + p[jax.random.categorical(key, p)]

    np.testing.assert_allclose(in_double(loss, P, KEY), derivatives(loss, P, KEY), rtol=2e-4)


def test_calls_that_take_a_key_and_parameters_are_no_draws():
    """Inside of them the draw is made in its own precision, and the parameters are in double."""

    @jax.jit
    def noisy(key, p):
        return jnp.sum(p**2 * jax.random.uniform(key, (3,)))

    double = lifted(lambda p, key: noisy(key, p), P, KEY)
    wide, drawn = P.astype(np.float64) + 1e-9, np.float64(np.asarray(jax.random.uniform(KEY, (3,))))
    with jax.enable_x64(True):
        found = float(double(jnp.asarray(wide), KEY))
    assert found == pytest.approx(wide**2 @ drawn, rel=1e-13)


def test_callbacks_see_what_they_were_declared_for():
    seen = []

    def sine(z):
        seen.append(z.dtype)
        return np.asarray(np.sin(z), np.float32)

    @jax.custom_jvp
    def call(z):
        return jax.pure_callback(sine, jax.ShapeDtypeStruct(z.shape, F32), z, vmap_method="broadcast_all")

    call.defjvp(lambda z, slope: (call(z[0]), jnp.cos(z[0]) * slope[0]))
    found = in_double(lambda p, x: jnp.sum(call(p) * x))
    np.testing.assert_allclose(found, plain(lambda p, x: jnp.sum(jnp.sin(p) * x)), rtol=1e-6)
    assert set(seen) == {np.dtype(np.float32)}


def test_bits_are_those_of_the_traced_precision():
    def loss(p, x):
        return jnp.sum(p * jnp.frexp(x)[0]) + jnp.sum(p * (jax.lax.bitcast_convert_type(x, jnp.uint32) >> 23))

    mantissas = np.frexp(X)[0].astype(np.float64)
    exponents = (X.view(np.uint32) >> 23).astype(np.float64)
    np.testing.assert_allclose(in_double(loss)[0], np.sum(np.float64(P) * (mantissas + exponents)), rtol=1e-14)


def test_prints_are_not_repeated(capfd):
    in_double(lambda p, x: (jax.debug.print("here"), jnp.sum(p * x))[1])
    jax.effects_barrier()
    assert "here" not in capfd.readouterr().out


def test_what_is_double_throughout():
    with jax.enable_x64(True):
        shape = jax.ShapeDtypeStruct((3,), F64)
        assert is_double_throughout(jax.make_jaxpr(lambda p: jnp.sum(jax.nn.relu(p)))(shape).jaxpr)
        for dtype in (F32, BF16):
            inside = jax.make_jaxpr(jax.jit(lambda p, d=dtype: jnp.sum(jnp.sin(p.astype(d)).astype(F64))))(shape)
            assert not is_double_throughout(inside.jaxpr)
