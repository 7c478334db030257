"""Convolutions written as matrix products are the same convolutions."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feyngd.derivatives._traced_loss import TracedLoss

LAYOUTS = [("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW"), ("NHWC", "OIHW", "NCHW")]
PADDINGS = ["SAME", "VALID", ((2, -1), (0, 3))]


@pytest.mark.parametrize(("layout", "padding"), list(product(LAYOUTS, PADDINGS)), ids=str)
@pytest.mark.parametrize(("strides", "holes"), [((1, 1), (1, 1)), ((2, 3), (1, 1)), ((2, 1), (2, 1))])
def test_plain_convolutions(layout, padding, strides, holes):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 8, 3) if layout[0] == "NHWC" else (2, 3, 9, 8)).astype(np.float32)
    kernel = rng.normal(size=(3, 2, 3, 4) if layout[1] == "HWIO" else (4, 3, 3, 2)).astype(np.float32)

    @jax.jit
    def loss(kernel, x):
        y = jax.lax.conv_general_dilated(x, kernel, strides, padding, rhs_dilation=holes, dimension_numbers=layout)
        return jnp.sum(jnp.sin(y))

    traced = TracedLoss(loss, kernel, x)
    assert "conv_general_dilated" not in str(jax.make_jaxpr(lambda k: traced([k], x)[0])(kernel))
    np.testing.assert_allclose(traced([kernel], x)[0], loss(kernel, x), rtol=2e-4, atol=2e-4)
    ours, theirs = jax.grad(lambda k: traced([k], x)[0])(kernel), jax.grad(loss)(kernel, x)
    np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-3)


def test_convolutions_in_groups_are_left_alone():
    def loss(kernel, x):
        y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUTS[0], feature_group_count=2)
        return jnp.sum(y**2)

    kernel, x = jnp.ones((3, 3, 1, 4)), jnp.ones((1, 5, 5, 2))
    traced = TracedLoss(loss, kernel, x)
    assert "conv_general_dilated" in str(jax.make_jaxpr(lambda k: traced([k], x)[0])(kernel))
    np.testing.assert_allclose(traced([kernel], x)[0], loss(kernel, x), rtol=1e-5)
