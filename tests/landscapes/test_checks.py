"""What people hand over as data and parameters is taken without loss, or refused with what to do."""

import equinox as eqx
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from flax import nnx
from jax.experimental import sparse

from feyngd.errors import LandscapeError
from feyngd.landscapes.checks import check_same_examples, example_arrays, param_arrays

ROWS = np.array([[1.0, -2.0], [0.5, 4.0], [3.0, 0.0]])
EXTENDED = pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="long double is double here")


class Tensor:
    """Stands for a torch tensor, which is not installed where the tests run."""

    def __init__(self, values, requires_grad=False, device="cpu"):
        self.values, self.requires_grad = values, requires_grad
        self.device = type("device", (), {"type": device, "__str__": lambda self: f"{device}:0"})()
        self.shape, self.dtype = values.shape, "torch.float32"

    def detach(self):
        return Tensor(self.values)

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad or self.device.type != "cpu":
            raise RuntimeError("Can't call numpy() on this Tensor.")
        return self.values


class Column:
    """Stands for a pandas column with a type of its own, whose missing entries become NaN or objects in NumPy."""

    def __init__(self, values, dtype):
        self.values, self.dtype = np.array(values), dtype

    def isna(self):
        return np.array([value is None or value != value for value in self.values])

    def __array__(self, dtype=None, copy=None):
        return self.values


class Table:
    """Stands for a pandas table."""

    def __init__(self, **columns):
        self.columns = list(columns)
        self.dtypes = [column.dtype for column in columns.values()]
        self.values = np.stack(list(columns.values()), axis=1)

    def isna(self):
        return np.isnan(self.values)

    def __array__(self, dtype=None, copy=None):
        return self.values


class Quantity(np.ndarray):
    """Stands for an array of astropy."""

    unit = "km"

    @property
    def value(self):
        return self.view(np.ndarray)


class Unreadable:
    shape = (3,)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion is not allowed.\nUse .get().")


# --- accepted without loss -----------------------------------------------------------------------


@pytest.mark.parametrize("convert", [example_arrays, param_arrays])
@pytest.mark.parametrize(
    "given",
    [
        ROWS,
        ROWS.astype(">f4"),
        ROWS.astype(">f8"),
        ROWS.astype("<f4"),
        ROWS.astype(np.longdouble),
        np.asfortranarray(ROWS)[::-1][::-1],
        np.ma.masked_array(ROWS, np.zeros_like(ROWS)),
        np.ma.masked_array(ROWS),
        np.asmatrix(ROWS),
        Tensor(ROWS),
        Table(a=ROWS[:, 0], b=ROWS[:, 1]),
        jnp.asarray(ROWS),
    ],
)
def test_arrays_of_every_make_keep_their_values(convert, given):
    array = convert({"x": given})["x"]
    assert isinstance(array, jax.Array)
    assert array.dtype == jnp.float32
    np.testing.assert_array_equal(array, ROWS)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["i2", "i8", "u4", "c8"])
def test_data_of_every_byte_order_keep_their_values(order, kind):
    given = np.array([1, 2, 300]).astype(order + kind)
    np.testing.assert_array_equal(example_arrays(given), [1, 2, 300])


def test_data_may_be_complex_or_boolean_or_of_half_precision():
    data = {"z": np.array([1j, 2.0]), "b": np.array([True, False]), "h": jnp.ones(2, jnp.bfloat16)}
    dtypes = {name: array.dtype for name, array in example_arrays(data).items()}
    assert dtypes == {"z": jnp.complex64, "b": jnp.bool_, "h": jnp.bfloat16}


def test_random_keys_are_data():
    keys = jax.random.split(jax.random.key(0), 3)
    assert example_arrays((ROWS, keys))[1] is keys
    raw = jax.random.split(jax.random.PRNGKey(0), 3)
    np.testing.assert_array_equal(example_arrays((ROWS, raw))[1], raw)


def test_a_leaf_of_no_features_may_be_in_the_data():
    assert example_arrays((ROWS, np.zeros((3, 0))))[1].shape == (3, 0)


def test_missing_entries_that_numpy_knows_stay():
    kept = example_arrays(Column([1.0, np.nan], np.dtype(float)))
    np.testing.assert_array_equal(kept, [1.0, np.nan])


@pytest.mark.parametrize("convert", [example_arrays, param_arrays])
def test_weak_types_become_strong(convert):
    weak = jnp.full((3,), 1.0)
    assert weak.weak_type
    assert not convert(weak).weak_type


def test_python_numbers_are_parameters_with_the_default_type():
    params = param_arrays({"a": 0.5, "b": [np.float64(2.0), np.float32(3.0)], "none": None})
    assert params == {"a": 0.5, "b": [2.0, 3.0], "none": None}
    assert all(leaf.dtype == jnp.float32 and not leaf.weak_type for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("convert", [example_arrays, param_arrays])
def test_numpy_arrays_are_copied(convert):
    given = np.ones(64, dtype=np.float32)
    kept = convert(given)
    given[:] = 7
    np.testing.assert_array_equal(kept, 1.0)


def test_numbers_in_double_precision_follow_the_setting_of_jax():
    given = {"double": np.array([0.1]), "jax": jnp.ones(1)}
    with jax.enable_x64(True):
        kept = param_arrays(given)
        wide = jnp.array([0.1, 1e-3])
        assert param_arrays(wide) is wide
    assert kept["double"].dtype == jnp.float64
    assert np.asarray(kept["double"])[0] == 0.1
    assert kept["jax"].dtype == jnp.float32
    assert param_arrays(wide).dtype == jnp.float32


def test_traced_parameters_pass():
    def loss(params):
        return jnp.sum(param_arrays(params)["w"] ** 2)

    np.testing.assert_allclose(jax.jit(jax.grad(loss))({"w": jnp.arange(3.0)})["w"], [0.0, 2.0, 4.0])
    assert jax.jit(lambda x: x + param_arrays({"w": jnp.ones(3)})["w"])(1.0).shape == (3,)
    with pytest.raises(LandscapeError, match="not finite"):
        jax.jit(lambda x: x * param_arrays(np.array([np.nan])))(1.0)


def test_the_arrays_of_an_equinox_and_of_an_nnx_model_are_parameters():
    mlp = eqx.nn.MLP(2, "scalar", 4, 1, key=jax.random.key(0))
    params, static = eqx.partition(mlp, eqx.is_inexact_array)
    model = eqx.combine(param_arrays(params), static)
    np.testing.assert_array_equal(model(jnp.ones(2)), mlp(jnp.ones(2)))
    linear = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    graph, state = nnx.split(linear)
    again = nnx.merge(graph, param_arrays(state))
    np.testing.assert_array_equal(again(jnp.ones(2)), linear(jnp.ones(2)))


# --- refused, in data and in parameters ----------------------------------------------------------


@pytest.mark.parametrize("convert", [example_arrays, param_arrays])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.ma.masked_array(ROWS, ROWS < 0), r"masked entries.*\.filled"),
        (scipy.sparse.csr_matrix(ROWS), r"sparse matrix \(csr_matrix\).*todense"),
        (scipy.sparse.coo_array(ROWS), r"sparse matrix \(coo_array\).*todense"),
        (sparse.BCOO.fromdense(ROWS, n_batch=1), r"sparse matrix \(BCOO\).*todense"),
        (sparse.BCSR.fromdense(ROWS), r"sparse matrix \(BCSR\).*todense"),
        (np.array([1.0, None]), r"Python objects \(NoneType, float\).*astype\(float\)"),
        (np.array(["a", "b"]), r"text \(<U1\).*np.unique"),
        (np.array([b"a", b"b"]), r"text \(\|S1\).*np.unique"),
        (np.array(["a"], dtype=np.dtypes.StringDType()), "text"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "dates or times.*timedelta64"),
        (np.array([3], dtype="m8[s]"), "dates or times"),
        (np.zeros(2, [("a", float), ("b", int)]), "structured array with the fields a, b; give its fields"),
        (np.zeros(2, jax.dtypes.float0), "float0"),
        (np.zeros(2, "V2"), "its dtype is"),
        (Tensor(ROWS, requires_grad=True), r"records gradients; give \.detach\(\)"),
        (Tensor(ROWS, device="cuda"), r"on the device cuda:0; give \.cpu\(\)"),
        (Column([1.0, np.nan], "Int64"), "missing entries.*fillna"),
        (Table(a=np.ones(2), b=np.ones(2, np.int32)), r"several types \(float64, int32\).*to_numpy"),
        (ROWS.view(Quantity), r"units of km.*\.value"),
        (Unreadable(), r"Unreadable, which NumPy cannot read \(Implicit conversion is not allowed\.\)"),
        (object(), "not a numeric array but object"),
        (jax.ShapeDtypeStruct((3,), jnp.float32), "ShapeDtypeStruct"),
        (np.array([1.0, 1e300]), "jax_enable_x64"),
        (np.array([0.0, 1e-300]), "jax_enable_x64"),
        pytest.param(np.array([1, 3], np.longdouble) / 3, r"extended precision.*astype\(np.float64\)", marks=EXTENDED),
    ],
)
def test_what_would_change_meaning_is_refused_with_its_place(convert, given, message):
    name = "data" if convert is example_arrays else "params"
    with pytest.raises(LandscapeError, match=rf"(?s)^{name}\['x'\] .*{message}"):
        convert({"x": given})


@pytest.mark.parametrize("convert", [example_arrays, param_arrays])
def test_arrays_that_were_given_away_are_refused(convert):
    gone = jnp.ones(3)
    gone.delete()
    with pytest.raises(LandscapeError, match="deleted"):
        convert(gone)


def test_small_entries_beside_larger_ones_are_rounding():
    np.testing.assert_array_equal(example_arrays(np.array([1.0, 1e-300])), [1.0, 0.0])


def test_integers_are_kept_exactly_or_refused():
    np.testing.assert_array_equal(example_arrays(np.array([2**31 - 1])), [2**31 - 1])
    with pytest.raises(LandscapeError, match="int64 values that JAX's int32 cannot hold"):
        example_arrays(np.array([2**31]))


# --- refused as data -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (jax.random.key(0), r"single random key.*jax\.random\.split"),
        ({1, 2}, "set"),
        (ROWS.tolist, "builtin_function"),
        ({"x": np.zeros((3, 0)), "y": np.zeros(0)}, "disagree"),
    ],
)
def test_what_has_no_examples_is_refused(data, message):
    with pytest.raises(LandscapeError, match=message):
        example_arrays(data)


def test_messages_about_test_data_say_so():
    with pytest.raises(LandscapeError, match=r"leaves of the test_data disagree.*test_data\[0\]: \(3, 2\)"):
        example_arrays((ROWS, np.ones(2)), "test_data")
    with pytest.raises(LandscapeError, match=r"^test_data\[1\] is a single number"):
        example_arrays((ROWS, 1.0), "test_data")


def test_test_data_are_of_the_same_kind():
    data = example_arrays((ROWS, np.array([1, 2, 3])))
    check_same_examples(data, example_arrays((ROWS[:2], np.array([1, 2]))))
    with pytest.raises(LandscapeError, match="int32"):
        check_same_examples(data, example_arrays((ROWS, np.array([1.0, 2.0, 3.0]))))


# --- refused as parameters -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"w": np.zeros((0,))}, r"params\['w'\] has shape \(0,\) and so holds no numbers"),
        ({"w": ROWS, "b": jnp.zeros((3, 0))}, r"params\['b'\] has shape \(3, 0\)"),
        ({"w": None}, "no numbers"),
        ({"w": 1}, "int32"),
        ({"w": True}, "bool"),
        ({"w": 1j}, "complex64"),
        ({"w": b"x"}, "is bytes"),
        ({"w": jax.random.key(0)}, "random key, which is not trained"),
        ({"w": np.array([np.nan])}, "not finite"),
        ({"w": jnp.array([jnp.inf], jnp.bfloat16)}, "not finite"),
        ({"w": jnp.tanh}, r"params\['w'\] is a function \(tanh\).*eqx\.partition"),
        (eqx.nn.MLP(3, "scalar", 4, 1, activation=jnp.tanh, key=jax.random.key(0)), "activation.*eqx.partition"),
        (eqx.nn.Dropout(0.5), "inference has dtype bool.*eqx.partition"),
        (nnx.Dropout(0.5, rngs=nnx.Rngs(0)), r"uint32.*nnx\.split\(model, nnx\.Param, \.\.\.\)"),
        (flax.linen.Dense(3), r"a Dense, a model and not its parameters.*init\(key, example\)"),
    ],
)
def test_what_cannot_be_trained_is_refused(params, message):
    with pytest.raises(LandscapeError, match=message):
        param_arrays(params)
