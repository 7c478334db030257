"""Integers of Python, NumPy, JAX and SymPy are accepted; for anything else the error says what to write."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import feyngd as fd
from feyngd._arguments import check_integer
from feyngd.errors import ArgumentError, SpacetimeError
from feyngd.quantities import QUANTITIES, SERIES, check_quantity
from feyngd.spacetimes import check_spacetime

INTEGERS = [
    12,
    np.int8(12),
    np.uint64(12),
    np.array(12),
    jnp.asarray(12),
    jnp.uint8(12),
    sympy.Integer(12),
]


@pytest.mark.parametrize("value", INTEGERS)
def test_integers_of_every_library_become_plain_ones(value):
    number = check_integer("runs", value, least=12)
    assert type(number) is int
    assert number == 12


@pytest.mark.parametrize("value", INTEGERS)
def test_sizes_may_be_integers_of_every_library(value):
    spacetime = fd.Spacetime.sgd(N=value, B=value, T=value)
    assert spacetime == fd.Spacetime.sgd(N=12, B=12, T=12)
    assert fd.Spacetime.gd(value, value) == fd.Spacetime.gd(12, 12)
    assert fd.Spacetime.from_batches([[np.int32(3), jnp.asarray(4)]], N=value).explicit == ((3, 4),)


@pytest.mark.parametrize(
    ("value", "cure"),
    [
        (12.0, r"got 12\.0\. Write 12\.$"),
        (np.float32(12), r"Write 12\.$"),
        (jnp.asarray(12.0), r"Write 12\.$"),
        (Fraction(12), r"Write 12\.$"),
        (12.5, r"got 12\.5\.$"),
        (float("nan"), r"got nan\.$"),
        (float("inf"), r"got inf\.$"),
        (True, r"got True\. Give a number\.$"),
        (np.True_, r"Give a number\.$"),
        (jnp.asarray(True), r"Give a number\.$"),
        ("12", r"got '12'\. Give a number\.$"),
        (None, r"got None\.$"),
        ([12], r"got \[12\]\.$"),
        (np.array([12]), r"Give one number, not an array\.$"),
        (jnp.array([12]), r"Give one number, not an array\.$"),
        (1, r"runs is an integer ≥ 2, got 1\.$"),
        (np.int32(-3), r"got np\.int32\(-3\)\.$"),
    ],
)
def test_what_is_no_integer_is_refused_with_what_to_write(value, cure):
    with pytest.raises(ArgumentError, match=cure):
        check_integer("runs", value, least=2)


def test_a_traced_integer_cannot_be_a_size():
    with pytest.raises(ArgumentError, match=r"jax\.jit"):
        jax.jit(lambda n: check_integer("runs", n, least=2))(3)


@pytest.mark.parametrize(
    "value",
    [np.float32(4), jnp.asarray(4.0), jnp.array([4]), np.array([4]), np.True_, jnp.asarray(True), np.array(4.0)],
)
def test_sizes_are_no_other_arrays(value):
    with pytest.raises(SpacetimeError, match="N is an integer ≥ 1, or a SymPy symbol"):
        fd.Spacetime.sgd(value)


def test_a_quantity_is_one_of_those_allowed():
    for quantity in QUANTITIES:
        check_quantity(quantity)
    check_quantity("displacement", SERIES)
    with pytest.raises(
        ArgumentError, match=r"^Unknown quantity 'displacement'\. Known: 'test_loss', 'train_loss', 'gap'\.$"
    ):
        check_quantity("displacement")
    with pytest.raises(ArgumentError, match="Unknown quantity None"):
        check_quantity(None)


def test_a_spacetime_is_one_and_concrete_where_that_is_asked_for():
    symbolic = fd.Spacetime.sgd(sympy.Symbol("N", integer=True, positive=True))
    check_spacetime(symbolic)
    check_spacetime(fd.Spacetime.sgd(3), concrete="SGD is simulated")
    with pytest.raises(SpacetimeError, match=r"^SGD is simulated only on a concrete spacetime; replace N with numbers"):
        check_spacetime(symbolic, concrete="SGD is simulated")
    with pytest.raises(ArgumentError, match=r"^spacetime is made by Spacetime.sgd, .gd or .from_batches; got 12"):
        check_spacetime(12)
