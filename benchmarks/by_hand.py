"""What a careful user would write with JAX alone for all values of order ≤ 3: nested derivatives, chunks, pairings."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from feyngd.landscapes import Landscape

CHUNK = 64


def along(function: Callable, direction: Any) -> Callable:
    """Differentiate a function of the parameters along a direction, forward mode."""
    return lambda params: jax.jvp(function, (params,), (direction,))[1]


def dot(u: Any, v: Any) -> jax.Array:
    """Return the inner product of two pytrees."""
    return sum(jnp.sum(a * b) for a, b in zip(jax.tree.leaves(u), jax.tree.leaves(v), strict=True))


def exact_values(landscape: Landscape) -> Callable[..., Any]:
    """Return a function of the parameters: the values of order ≤ 3 that need no pairs of examples."""

    def averages(params: Any, chunks: Any) -> Any:
        def total_gradient(total: Any, chunk: Any) -> tuple[Any, None]:
            slope = jax.grad(lambda p: jnp.sum(jax.vmap(partial(landscape.loss, p))(chunk)))(params)
            return jax.tree.map(jnp.add, total, slope), None

        count = jax.tree.leaves(chunks)[0].shape[0] * CHUNK
        zeros = jax.tree.map(jnp.zeros_like, params)
        G = jax.tree.map(lambda leaf: leaf / count, jax.lax.scan(total_gradient, zeros, chunks)[0])

        def one(example: Any) -> Any:
            def slope(p: Any) -> Any:
                return jax.grad(landscape.loss)(p, example)

            g, hG, jGG = slope(params), along(slope, G)(params), along(along(slope, G), G)(params)
            hg, jgg = along(slope, g)(params), along(along(slope, g), g)(params)
            numbers = [landscape.loss(params, example), dot(g, jGG), dot(hg, hG), dot(hG, hG)]
            return [hG, jGG, hg, jgg], jnp.stack(numbers)

        def add(total: Any, chunk: Any) -> tuple[Any, None]:
            sums = jax.tree.map(lambda rows: jnp.sum(rows, axis=0), jax.vmap(one)(chunk))
            return jax.tree.map(jnp.add, total, sums), None

        start = [zeros] * 4, jnp.zeros(4)
        return G, jax.tree.map(lambda leaf: leaf / count, jax.lax.scan(add, start, chunks)[0])

    return jax.jit(averages)


def paired_values(landscape: Landscape) -> Callable[..., jax.Array]:
    """Return a function of parameters, mean gradient and rows: the values of order ≤ 3 that need pairs of examples."""

    def averages(params: Any, G: Any, chunks: Any) -> jax.Array:
        def one(x: Any, y: Any, z: Any) -> jax.Array:
            gradient = jax.grad(landscape.loss)
            at_x, at_y = (lambda p: gradient(p, x)), (lambda p: gradient(p, y))
            g = at_y(params)
            hg, jgg = along(at_x, g)(params), along(along(at_x, g), g)(params)
            hhg = along(at_y, hg)(params)
            last = along(along(lambda p: landscape.loss(p, z), g), hg)(params)
            return jnp.stack([dot(g, hg), dot(g, jgg), dot(jgg, G), dot(g, hhg), dot(hhg, G), last])

        def add(total: jax.Array, chunk: Any) -> tuple[jax.Array, None]:
            return total + jnp.sum(jax.vmap(one)(*chunk), axis=0), None

        count = jax.tree.leaves(chunks)[0].shape[0] * CHUNK
        return jax.lax.scan(add, jnp.zeros(6), chunks)[0] / count

    return jax.jit(averages)


def chunked(landscape: Landscape, indices: np.ndarray) -> Any:
    """Return examples in chunks, without the last few that do not fill one."""
    full = len(indices) // CHUNK * CHUNK
    rows = indices[:full].reshape(-1, CHUNK)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[rows], landscape.data)


def runs(landscape: Landscape, params: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return what computes the exact values, and what computes one pairing of the others."""
    exact, paired = exact_values(landscape), paired_values(landscape)
    order = np.random.default_rng(0)
    count = landscape.num_examples
    data = chunked(landscape, np.arange(count))
    rows = data, *(chunked(landscape, order.permutation(count)) for _ in range(2))
    G, _ = exact(params, data)
    return (
        lambda: jax.block_until_ready(exact(params, data)),
        lambda: jax.block_until_ready(paired(params, G, rows)),
    )
