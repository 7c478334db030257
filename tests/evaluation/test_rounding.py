"""What rounding does to values: measured where it can be, said to be unknown elsewhere, and never in the way."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.evaluation import _rounding

KEY = jax.random.key(0)
X, Y = np.linspace(-1, 1, 12), np.sin(np.linspace(-3, 3, 12))
LOSS, SQUARED_GRADIENT = fd.diagrams(0)[0], fd.Diagram.parse("[a]")


def linear(p, e):
    return 0.5 * (p * e[0] - e[1]) ** 2


def test_the_sign_is_that_of_the_given_precision_less_double():
    # bfloat16 rounds 1 + 2⁻¹⁰ to 1: what is computed is too small by 2⁻¹⁰.
    landscape = fd.Landscape(lambda p, x: jnp.sum(p.astype(jnp.bfloat16).astype(jnp.float32)) + x, np.zeros(8))
    values = fd.evaluate([LOSS], landscape, jnp.array(1 + 2**-10))
    np.testing.assert_array_equal(values.rounding(LOSS), np.full(2, -(2**-10)))
    assert values[LOSS].dtype_error == 2**-10
    assert values.not_measured is None


def test_carries_of_single_precision():
    start = jnp.zeros(())

    def loss(p, e):
        h, _ = jax.lax.scan(lambda h, z: (jnp.tanh(p * h + z), None), start, jnp.stack([e[0], e[1]]))
        return 0.5 * (jax.lax.cond(h > 0, lambda: h, lambda: jnp.zeros((), jnp.float32)) - e[1]) ** 2

    values = fd.evaluate(fd.diagrams(2), fd.Landscape(loss, (X, Y)), jnp.array(0.3), key=KEY)
    assert all(0 < estimate.dtype_error < 1e-5 for estimate in values.values())


def test_draws_are_the_same_whatever_the_kind_of_key():
    keys = jax.random.split(jax.random.key(7), 12)
    masks = jax.vmap(jax.random.bernoulli)(keys).astype(jnp.float32)

    def dropout(p, e):
        return 0.5 * (p * e[0] * 2.0 * jax.random.bernoulli(e[2]) - e[1]) ** 2

    def masked(p, e):
        return 0.5 * (p * e[0] * 2.0 * e[2] - e[1]) ** 2

    losses = {"typed": (dropout, keys), "uint32": (dropout, jax.random.key_data(keys)), "masks": (masked, masks)}
    found = {
        name: fd.evaluate([LOSS, SQUARED_GRADIENT], fd.Landscape(loss, (X, Y, extra)), jnp.array(0.3))
        for name, (loss, extra) in losses.items()
    }
    for diagram in (LOSS, SQUARED_GRADIENT):
        for name in ("typed", "uint32"):
            np.testing.assert_array_equal(found[name].rounding(diagram), found["masks"].rounding(diagram))
        assert 0 < found["masks"][diagram].dtype_error < 1e-7


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_what_a_model_computes_in_lower_precision_shows(dtype):
    x = np.asarray(jax.random.normal(KEY, (64, 4)))
    y = np.sin(x.sum(axis=1))
    w = 0.5 * jax.random.normal(jax.random.key(1), (4,))

    def loss_in(dtype):
        return lambda w, e: 0.5 * (jnp.tanh(e[0].astype(dtype) @ w.astype(dtype)).astype(e[1].dtype) - e[1]) ** 2

    values = fd.evaluate([LOSS, SQUARED_GRADIENT], fd.Landscape(loss_in(dtype), (x, y)), w)
    differences = []
    with jax.enable_x64(True):
        for k in range(4):
            narrow, exact = (
                float(jnp.mean(jax.vmap(loss_in(inside), (None, 0))(*jax.tree.map(jnp.asarray, arrays))))
                for inside, arrays in (
                    (dtype, (w, (x[k::4], y[k::4]))),
                    (jnp.float64, (np.float64(w), (np.float64(x[k::4]), np.float64(y[k::4])))),
                )
            )
            differences.append(narrow - exact)
    # Not the same to the digit: compiled, XLA leaves out some roundings to the lower precision.
    size = np.sqrt(np.mean(np.square(differences)))
    assert size / 3 < values[LOSS].dtype_error < 3 * size
    assert values[SQUARED_GRADIENT].dtype_error > 1e3 * np.finfo(np.float32).eps * values[SQUARED_GRADIENT].value


def test_lower_precision_inside_is_measured_though_parameters_are_double():
    with jax.enable_x64(True):
        inside = fd.Landscape(lambda p, x: jnp.sum(p.astype(jnp.bfloat16) ** 2).astype(x.dtype) * x, np.ones(4))
        assert fd.evaluate([LOSS], inside, jnp.full(3, 1 / 3))[LOSS].dtype_error > 1e-4
        throughout = fd.Landscape(lambda p, x: p * x, np.ones(4))
        assert fd.evaluate([LOSS], throughout, jnp.array(1 / 3))[LOSS].dtype_error is None


def only_finite_in_single_precision(p, e):
    return linear(p, e) + jnp.where(p * 1e-9 + 1 == 1, 0.0, jnp.inf)


def test_what_cannot_be_measured_is_said_once_and_harms_nothing():
    landscape = fd.Landscape(only_finite_in_single_precision, (X, Y))
    with pytest.warns(fd.evaluation.PrecisionWarning, match=r"not measured.*not finite") as shown:
        values = fd.evaluate([LOSS, SQUARED_GRADIENT], landscape, jnp.array(0.3))
    assert len(shown) == 1
    assert "not finite" in values.not_measured
    expected = fd.evaluate([LOSS, SQUARED_GRADIENT], fd.Landscape(linear, (X, Y)), jnp.array(0.3), check_dtype=False)
    for diagram in (LOSS, SQUARED_GRADIENT):
        assert values[diagram].dtype_error is None
        assert values[diagram].value == pytest.approx(expected[diagram].value, rel=1e-6)
    assert expected.not_measured is None
    assert not jax.config.read("jax_enable_x64")


@pytest.mark.parametrize("error", [RuntimeError("no double precision here"), MemoryError(), KeyError("x")])
def test_failures_of_any_kind_count_as_not_measured(error, monkeypatch):
    def fails(*_):
        assert jax.config.read("jax_enable_x64")
        raise error

    monkeypatch.setattr(_rounding, "_double", fails)
    with pytest.warns(fd.evaluation.PrecisionWarning, match=type(error).__name__):
        values = fd.evaluate([SQUARED_GRADIENT], fd.Landscape(linear, (X, Y)), jnp.array(0.3))
    assert values[SQUARED_GRADIENT].dtype_error is None
    assert type(error).__name__ in values.not_measured
    assert not jax.config.read("jax_enable_x64")


def test_programs_in_double_precision_are_used_again():
    landscape, start = fd.Landscape(linear, (X, Y)), jnp.asarray(np.float32(0.3))
    first = fd.evaluate([SQUARED_GRADIENT], landscape, start)
    before = landscape.frozen(start).loss.notes["in double precision"]
    programs = dict(before.programs)
    second = fd.evaluate([SQUARED_GRADIENT], landscape, start + 0.4)
    after = landscape.frozen(start).loss.notes["in double precision"]
    assert after is before
    assert dict(after.programs) == programs
    assert first[SQUARED_GRADIENT].dtype_error > 0
    assert second[SQUARED_GRADIENT].dtype_error > 0


def test_nothing_is_said_where_all_is_well():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fd.evaluate([SQUARED_GRADIENT], fd.Landscape(linear, (X, Y)), jnp.array(0.3))
