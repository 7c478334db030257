"""Which programs and traces are kept, and for how long; and by what arrays and rules are distinguished."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from changing_losses import squared

from feyngd.derivatives import per_loss
from feyngd.derivatives._fingerprint import digest_of_arrays, fingerprint
from feyngd.derivatives._frozen_loss import _PROGRAMS
from feyngd.errors import ArgumentError
from feyngd.landscapes import Landscape, Origin

DATA = (np.arange(18.0, dtype=np.float32).reshape(6, 3), np.ones(6, np.float32))
PARAMS = jnp.array([0.2, -0.1, 0.4])


@pytest.fixture
def counted():
    """A frozen loss of its own, a maker of programs, and what it has made."""
    made = []

    @per_loss
    def make(loss, size, *, width=1):
        made.append((size, width))
        return lambda: (size, width)

    return Landscape(lambda p, e: squared(p, e), DATA).frozen(PARAMS).loss, make, made


def test_options_by_name_count(counted):
    loss, make, made = counted
    assert [make(loss, 1, width=width)() for width in (1, 2, 1)] == [(1, 1), (1, 2), (1, 1)]
    assert made == [(1, 1), (1, 2)]


def test_what_was_not_used_for_longest_is_let_go(counted):
    loss, make, made = counted
    for size in range(_PROGRAMS):
        make(loss, size)
    make(loss, 0)  # used again: the next to go is the second
    assert make(loss, _PROGRAMS)() == (_PROGRAMS, 1)
    assert len(loss.programs) == _PROGRAMS
    made.clear()
    assert [make(loss, size)() for size in (0, _PROGRAMS, 2)] == [(0, 1), (_PROGRAMS, 1), (2, 1)]
    assert made == []
    make(loss, 1)
    assert made == [(1, 1)]


def test_arrays_of_two_kinds_keep_a_trace_each():
    def loss(params, example):
        return jnp.sum(params * example)

    def frozen(width):
        return Landscape(loss, np.ones((4, width), np.float32)).frozen(jnp.ones(width)).loss

    first, second = frozen(2), frozen(3)
    assert frozen(2) is first
    assert frozen(3) is second


def test_a_method_looked_up_again_keeps_its_trace():
    class Trainer:
        def loss(self, params, example):
            return squared(params, example)

        def other(self, params, example):
            return 2 * squared(params, example)

    trainer = Trainer()
    first = Landscape(trainer.loss, DATA).frozen(PARAMS).loss
    other = Landscape(trainer.other, DATA).frozen(PARAMS).loss
    assert Landscape(trainer.loss, DATA).frozen(PARAMS).loss is first
    assert Landscape(trainer.other, DATA).frozen(PARAMS).loss is other
    assert first is not other


ROWS = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    "other",
    [ROWS.reshape(3, 2), ROWS.ravel(), ROWS + 1e-15, ROWS.view(np.int64), (ROWS,), [ROWS], {"a": ROWS}, (ROWS, ROWS)],
    ids=["shape", "flat", "value", "dtype", "tuple", "list", "dict", "two"],
)
def test_digests_tell_arrays_apart(other):
    assert digest_of_arrays(ROWS) == digest_of_arrays(np.asfortranarray(ROWS.copy()))
    assert digest_of_arrays(other) != digest_of_arrays(ROWS)
    assert digest_of_arrays({"a": ROWS}) != digest_of_arrays({"b": ROWS})


@pytest.mark.parametrize(
    "both",
    [
        lambda p: (jnp.sin(p[0]), jnp.cos(p[0])),
        lambda p: (p[0], p[1]),
        lambda p: jax.lax.cond(p[2] > 0, lambda: (p[0], p[1]), lambda: (p[1], p[0])),
    ],
)
def test_the_same_equations_may_return_something_else(both):
    first, second, again = (fingerprint(jax.make_jaxpr(lambda p, i=i: both(p)[i])(PARAMS)) for i in (0, 1, 0))
    assert not first.proves(second)
    assert first.proves(again)


def test_rules_that_may_depend_on_what_is_differentiated_prove_nothing():
    """A rule with symbolic zeros is traced for one choice of them, and may do something else for another."""

    def through(slope):
        @jax.custom_jvp
        def twisted(x, y):
            return x * y

        def rule(primals, tangents):
            (x, y), (t, u) = primals, tangents
            if type(u) is jax.custom_derivatives.SymbolicZero:
                return x * y, slope * t
            return x * y, y * t + x * u

        twisted.defjvp(rule, symbolic_zeros=True)
        return lambda p: twisted(p[0], p[1])

    one, other, again = (fingerprint(jax.make_jaxpr(through(slope))(PARAMS)) for slope in (1.0, 2.0, 1.0))
    assert not one.proves(other)
    assert not one.proves(again)


@pytest.mark.parametrize("name", ["loss", "data", "params"])
def test_what_is_not_known_of_an_origin_differs_from_nothing(name):
    known = Origin("one", "two", "three")
    other, unknown = replace(known, **{name: "another"}), replace(known, **{name: ""})
    for one, now in ((known, known), (known, unknown), (unknown, other)):
        one.check(now, "These values", "Give others.")
    with pytest.raises(ArgumentError, match=f"belong to (another loss|other {name[:5]}).*Give others"):
        known.check(other, "These values", "Give others.")
