"""Shapes and types in annotations are checked at run time in this suite, and cost nothing outside of it."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from feyngd.derivatives import Sums, gradient_sizes, num_examples
from feyngd.derivatives._chunks import full_blocks, sum_over

DATA = jnp.arange(12.0).reshape(4, 3)


def loss(theta, x):
    return (x @ theta) ** 2 / 2


def test_a_wrong_shape_is_refused():
    sums = Sums(loss, jnp.ones(3), 2)
    assert sums.product(sums.start, DATA, sums.equal(DATA), jnp.ones(3)).shape == (3,)
    with pytest.raises(TypeCheckError, match="vector"):
        sums.product(sums.start, DATA, sums.equal(DATA), jnp.ones(2))


def test_a_wrong_shape_is_refused_under_jit():
    def products(vectors):
        sums = Sums(loss, jnp.ones(3), 2)
        return sums.products(sums.start, DATA, sums.equal(DATA), vectors)

    assert jax.jit(products)(jnp.ones((5, 3))).shape == (5, 3)
    with pytest.raises(TypeCheckError, match="vectors"):
        jax.jit(products)(jnp.ones(3))


def test_a_wrong_type_is_refused():
    with pytest.raises(TypeCheckError, match="chunk_size"):
        Sums(loss, jnp.ones(3), "two")


def test_importing_the_library_imports_no_checker():
    code = "import sys, feyngd; print([name for name in ('jaxtyping', 'beartype', 'jax') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    code = "import sys, feyngd.derivatives; print('beartype' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 4, 7])
def test_sums_over_chunks(chunk_size):
    total = sum_over(lambda chunk: {"sum": chunk.sum(axis=0), "count": num_examples(chunk)}, DATA, chunk_size)
    np.testing.assert_array_equal(total["sum"], DATA.sum(axis=0))
    assert total["count"] == 4


@pytest.mark.parametrize(("count", "size"), [(4, 2), (5, 2), (1, 3)])
def test_full_blocks_have_one_size_and_all_numbers(count, size):
    blocks = list(full_blocks(count, size))
    assert {len(block) for block in blocks} == {size}
    assert list(np.unique(np.concatenate(blocks))) == list(range(count))
    assert list(np.concatenate(blocks)[:count]) == list(range(count))


def test_sizes_of_gradients():
    gradients = np.array([np.asarray(jax.grad(loss)(jnp.ones(3), x)) for x in DATA])
    mean = gradients.mean(axis=0)
    sizes = gradient_sizes(lambda x: jax.grad(loss)(jnp.ones(3), x), jnp.asarray(mean), DATA, 3)
    np.testing.assert_allclose(sizes, ((gradients - mean) ** 2).sum(axis=1), rtol=1e-5)
