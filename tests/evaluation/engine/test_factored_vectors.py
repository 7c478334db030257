"""Gradients of weight matrices as products: found where they are, and equal to the matrices they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.derivatives import TracedLoss
from feyngd.evaluation.engine._factored_vectors import TangentSpace

WIDTHS = {"a": (24, 20), "c": (20,), "b": (18, 20), "d": (22, 18), "e": (16, 22)}


def loss(params, example):
    """Three rows of activations, then one; weights on either side of the product, plain and transposed."""
    x, y = example
    h = jnp.tanh(x @ params["a"] + params["c"])
    h = jnp.tanh(jnp.einsum("oi,pi->po", params["b"], h))
    z = jnp.tanh(params["d"] @ h.mean(0))
    return jnp.sum((z @ params["e"].T - y) ** 2)


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(0)
    params = {name: rng.normal(size=shape) / shape[-1] ** 0.5 for name, shape in WIDTHS.items()}
    data = rng.normal(size=(30, 3, 24)), rng.normal(size=(30, 16))
    with jax.enable_x64(True):
        return fd.Landscape(loss, data), params


def test_every_matrix_is_a_site(made):
    landscape, params = made
    with jax.enable_x64(True):
        sites = TracedLoss(loss, params, landscape.example(0)).sites
    assert [(s.leaf, s.side, s.transposed, s.rows, s.inputs, s.outputs, s.is_fixed) for s in sites] == [
        (0, 1, False, 3, 24, 20, True),
        (1, 1, True, 3, 20, 18, False),
        (3, 0, True, 1, 18, 22, False),
        (4, 1, True, 1, 22, 16, False),
    ]


@pytest.mark.parametrize(
    "other",
    [
        lambda w, x: jnp.sum((x @ w) ** 2 + jnp.sum(w**2)),  # used twice
        lambda w, x: jnp.sum((x @ jnp.sin(w)) ** 2),  # not as it is
        lambda w, x: jnp.sum(jax.lax.scan(lambda c, _: (c @ w, None), x, None, length=2)[0]),  # in a loop
        lambda w, x: jnp.sum(jnp.outer(x, x) @ w),  # as many rows as inputs
    ],
)
def test_other_uses_are_left_alone(other):
    assert TracedLoss(other, jnp.ones((12, 12)), jnp.ones(12)).sites == ()


def along(function, direction):
    return lambda params: jax.jvp(function, (params,), (direction,))[1]


@pytest.mark.slow
def test_derivatives_are_those_of_the_loss(made):
    landscape, params = made
    with jax.enable_x64(True):
        one, two = landscape.example(0), landscape.example(1)
        space = TangentSpace(TracedLoss(loss, params, one), params)
        g = space.vector(two, [])
        h = space.vector(one, [g])
        gradient = jax.grad(loss)(params, two)
        along_gradient = along(lambda q: loss(q, one), gradient)
        curved = along(jax.grad(lambda q: loss(q, one)), gradient)(params)
        pairs = [
            (space.dense(g), gradient),
            (space.dense(h), curved),
            (
                space.dense(space.vector(one, [g, h])),
                along(along(jax.grad(lambda q: loss(q, one)), gradient), curved)(params),
            ),
            (space.number(one, [g]), along_gradient(params)),
            (space.number(one, [g, g]), along(along_gradient, gradient)(params)),
            (space.number(one, [g, h, g]), along(along(along_gradient, curved), gradient)(params)),
            (space.dot(g, h), sum(jnp.vdot(gradient[name], curved[name]) for name in params)),
        ]
        for ours, theirs in pairs:
            for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("basis", "estimator"), [("moment", "pairing"), ("cumulant", "deflation")])
@pytest.mark.slow
def test_values_are_the_same_as_with_matrices(made, basis, estimator, monkeypatch):
    landscape, params = made
    diagrams = [*fd.diagrams(2), *map(fd.Diagram.parse, ("[a b[a]]", "[a a[a]]", "[a b b]"))]

    def values(name):
        # Another function, so that no compiled program is used again.
        again = fd.Landscape(lambda params, example: loss(params, example), landscape.data)
        with jax.enable_x64(True):
            return fd.evaluate(
                diagrams, again, params, basis=basis, estimator=estimator, replicates=2, key=jax.random.key(1)
            )

    with_products = values("products")
    monkeypatch.setattr("feyngd.derivatives._traced_loss._GAIN", 1e9)
    with_matrices = values("matrices")
    for diagram in diagrams:
        np.testing.assert_allclose(
            with_products.replicates(diagram),
            with_matrices.replicates(diagram),
            rtol=1e-7,
            atol=1e-9,
            err_msg=str(diagram),
        )
