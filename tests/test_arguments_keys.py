"""A random key is a single JAX key, typed or raw; for a seed or a batch of keys the error says what to give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feyngd._keys import check_key
from feyngd.errors import ArgumentError


@pytest.mark.parametrize(
    "key",
    [
        jax.random.key(0),
        jax.random.key(0, impl="rbg"),
        jax.random.PRNGKey(0),
        np.array([0, 3], dtype=np.uint32),
        jax.random.split(jax.random.key(0), 3)[1],
    ],
)
def test_typed_and_raw_keys_are_keys(key):
    check_key(key, "Drawn at random")


@pytest.mark.parametrize(
    ("key", "cure"),
    [
        (7, r"give key=jax\.random\.key\(7\), not 7"),
        (np.int32(7), r"give key=jax\.random\.key\(7\)"),
        (jnp.asarray(7), r"give key=jax\.random\.key\(7\)"),
        (True, r"give key=jax\.random\.key\(seed\)"),
        (None, r"give key=jax\.random\.key\(seed\), not None"),
        ("seed", r"give key=jax\.random\.key\(seed\)"),
        (7.0, r"give key=jax\.random\.key\(seed\)"),
        (jax.random, r"give key=jax\.random\.key\(seed\)"),
        (np.array([0, 3]), r"give key=jax\.random\.key\(seed\)"),
        (np.zeros(3, np.uint32), r"give key=jax\.random\.key\(seed\)"),
        (jax.random.split(jax.random.key(0), 3), r"give one key, such as key\[0\]"),
        (jax.random.split(jax.random.key(0), (3, 2)), r"give one key, such as key\[0, 0\]"),
        (jax.random.split(jax.random.PRNGKey(0), 3), r"give one key, such as key\[0\]"),
    ],
)
def test_what_is_no_key_is_refused_with_what_to_give(key, cure):
    with pytest.raises(ArgumentError, match=rf"^Drawn at random: {cure}"):
        check_key(key, "Drawn at random")


def test_a_key_that_was_given_away_is_refused():
    key = jax.random.PRNGKey(0)
    key.delete()
    with pytest.raises(ArgumentError, match="Drawn at random"):
        check_key(key, "Drawn at random")
