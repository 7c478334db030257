"""Sums over many rows in single precision lose no more than one rounding, whatever the number of chunks."""

import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.evaluation.engine._passes import Compensated, Sums, _add

COUNT = 4096
TENTH = np.float32(0.1)  # added to itself 4,096 times, it is off by 2e-5


def test_the_test_would_notice():
    total = np.float32(0)
    for _ in range(COUNT):
        total += TENTH
    assert abs(float(total) / (COUNT * float(TENTH)) - 1) > 1e-5


@pytest.mark.parametrize("notation", ["[a]", "a[a]", "[a[b]]"])
def test_averages_of_equal_rows_are_a_row(notation):
    """Of averaged vectors, and of numbers: the gradient is 0.1 at every example, and the curvature 1."""
    diagram = fd.Diagram.parse(notation)
    landscape = fd.Landscape(lambda theta, x: x * theta + theta**2 / 2, np.full(COUNT, TENTH))
    value = fd.evaluate(diagram, landscape, jnp.float32(0), chunk_size=1, check_dtype=False)[diagram].value
    assert value == pytest.approx(float(TENTH) ** 2, rel=3e-7)


def test_what_rounding_takes_is_carried_exactly():
    scales = 10.0 ** np.arange(-4, 4).repeat(25)
    rows = (np.random.default_rng(0).normal(size=200) * scales).astype(np.float32)
    zero = Sums([], [jnp.zeros(1, jnp.float32)], [])
    carry = Compensated(zero, zero)
    for row in rows:
        carry = _add(carry, Sums([], [jnp.array([row])], []))
    total, lost = (float(part.means[0][0]) for part in carry)
    exact = rows.astype(np.float64).sum()
    assert abs(total - exact) > 1e-8 * abs(exact)
    assert abs(total + lost - exact) < 0.01 * abs(total - exact)
