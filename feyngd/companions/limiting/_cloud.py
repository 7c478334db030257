"""Noise averaged over the cloud of parameters that it sustains itself."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._arguments import check_integer
from ..._keys import check_key
from ...derivatives import CHUNK, Loss, flat_loss, num_examples, per_loss, sum_over
from ...errors import ArgumentError
from ...landscapes import enter
from ...minima import MeanLoss
from ...spectra import Krylov, compiled_combinations, signs
from . import _along
from ._noise import Noise
from ._settings import Part
from ._white import White

_ROUNDS = 2
_STEPS = 128  # most Hessian-vector products for a draw
_SMALL = 1e-9  # of the largest eigenvalue of a draw's covariance: smaller ones are left out


def over_cloud(limit: Any, landscape: Any, *, num_draws: int, key: Any) -> Any:
    """Return the limit with Σ̄, the mean of Σ(θ) over θ = μ ± draws from N(0, Cov θ), in two rounds.

    With replacement Σ̄ stands for Σ. Without, noise at the minimum keeps cancelling within epochs, and what the cloud
    adds, Σ̄ − Σ, does not: its response is that to independent batches. That is found by experiment, not derived.

    Args:
        limit: the limit.
        landscape: that of its basin.
        num_draws: pairs of parameters in a round.
        key: a JAX random key.

    Returns:
        A limit. Its `truncation` is the relative change of tr Σ̄ in the second round.

    Raises:
        ArgumentError: an argument is not allowed, the basin was made of matrices, or is of another landscape.
        LandscapeError: noise along flat directions leaves no cloud.
    """
    count = check_integer("num_draws", num_draws, least=2)
    check_key(key, "Parameters are drawn at random")
    if limit.basin.structure is None:
        raise ArgumentError("This basin was made of matrices, and its noise is the same everywhere.")
    if len(limit.parts) > 1 or limit.subspace is not None:
        raise ArgumentError("Average once, and over all directions: ask the limit as basin.limit(…) returns it.")
    limit._check_curved("over_cloud")
    params = jax.tree.map(lambda x: jnp.asarray(x), limit.basin.pairs.shaped(_along.center(limit)))
    frozen, params = enter(landscape, params)
    if frozen.num_examples != limit.basin.num_examples:
        raise ArgumentError(
            f"The basin was measured on {limit.basin.num_examples} examples; this landscape has {frozen.num_examples}."
        )
    find = _dense_cloud if limit.basin.is_dense else _sampled_cloud
    found, traces = limit, [limit.parts[0].noise.trace]
    for round_key in jax.random.split(key, _ROUNDS):
        noise = find(found, frozen, params, count, round_key)
        traces.append(noise.trace)
        found = replace(limit, parts=_parts(limit, noise))
    return replace(found, truncation=abs(traces[-1] / traces[-2] - 1) if traces[-2] else None)


def _parts(limit: Any, noise: Noise) -> list[Part]:
    before = limit.parts[0]
    if not hasattr(before.response, "tie"):
        return [Part(noise, before.response)]
    white = White(before.response.step, before.response.level)
    return [before, Part(noise, white, 1), Part(before.noise, white, 0, -1)]


def _dense_cloud(limit: Any, frozen: Any, params: Any, count: int, key: Any) -> Noise:
    """Return Σ̄ from draws of a normal cloud; every pair of draws is a replicate."""
    size = limit.basin.num_params
    width = limit.covariance()[:size, :size]
    sizes, directions = np.linalg.eigh(width)
    z = np.asarray(jax.random.normal(key, (count, size)), dtype=float)
    offsets = z * np.sqrt(np.maximum(sizes, 0)) @ directions.T
    surface = MeanLoss(frozen, params)
    compiled, middle = _compiled_covariance(frozen.loss), _along.center(limit)
    vectors, total = limit.basin.vectors, np.zeros((size, size))
    weights: list[np.ndarray] = []
    for offset in offsets:
        pair = [compiled(surface.shaped(middle + sign * offset), frozen.data) for sign in (1, -1)]
        matrix = vectors @ (np.asarray(pair, dtype=float).mean(axis=0)) @ vectors.T
        total, weights = total + matrix / count, [*weights, np.diag(matrix)]
    nodes = np.broadcast_to(limit.basin.curvatures, (count, size))
    return Noise([(nodes, np.array(weights))], float(np.trace(total)), False, total, is_centred=False)


def _sampled_cloud(limit: Any, frozen: Any, params: Any, count: int, key: Any) -> Noise:
    """Return Σ̄ along the Hessian at the minimum, by a random combination of gradients at every pair of draws."""
    surface = MeanLoss(frozen, params)
    middle = _along.center(limit)

    def product(rows: np.ndarray) -> np.ndarray:
        return surface.products(middle, rows)

    combine = compiled_combinations(frozen.loss, min(CHUNK, frozen.num_examples))
    share = ((frozen.num_examples - 1) / frozen.num_examples) ** 0.5

    def combined(points: np.ndarray, one_key: Any) -> np.ndarray:
        """Return a combination with E[v vᵀ] = Σ at every point."""
        weights = np.asarray(signs(one_key, np.arange(len(points)), frozen.num_examples)) * share
        rows = [
            combine(surface.shaped(point), frozen.data, jnp.asarray(row[None]))[0]
            for point, row in zip(points, weights, strict=True)
        ]
        return np.asarray(rows, dtype=float)

    for_cloud, for_normal, *for_noise = jax.random.split(key, 4)
    # Pairs of draws: a combination v with E[v vᵀ] = Σ spreads along its own Ritz vectors as Σ would.
    spaces = _grown(product, combined(np.broadcast_to(middle, (count, len(middle))), for_cloud))
    normal = np.asarray(jax.random.normal(for_normal, (count, spaces.steps)), dtype=float)
    offsets = np.array([_draw(limit, h, v, rows, z) for h, v, rows, z in zip(*spaces.ritz(), normal, strict=True)])
    groups = []
    for sign, one_key in zip((1, -1), for_noise, strict=True):
        around = combined(middle + sign * offsets, one_key)
        groups.append(_grown(product, around).quadrature())
    trace = float(np.mean([weights.sum(axis=1).mean() for _, weights in groups]))
    if not len(limit.basin.curvatures):
        matrix = np.zeros((0, 0))
    else:
        matrix = limit.parts[0].noise.matrix * trace / limit.parts[0].noise.trace
    return Noise(groups, trace, False, matrix, is_centred=False)


def _grown(product: Any, starts: np.ndarray) -> Krylov:
    spaces = Krylov(product, starts, _STEPS)
    while spaces.steps < spaces.most_steps and not spaces.is_complete:
        spaces.grow()
    return spaces


def _draw(limit: Any, nodes: np.ndarray, along: np.ndarray, rows: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return an offset with the covariance that v vᵀ sustains in its Krylov space."""
    held = nodes + limit.weight_decay > limit.flat
    h = (nodes + limit.weight_decay)[held]
    total: Any = 0
    for part in limit.parts:
        share = part.noise.trace / limit.parts[0].noise.trace
        total = total + part.sign * share * part.response.states(h[:, None], h[None])[..., 0, 0]
    inside = np.outer(along[held], along[held]) * total
    sizes, turns = np.linalg.eigh(inside)
    kept = sizes > _SMALL * sizes.max(initial=0.0)
    return (turns[:, kept] * np.sqrt(sizes[kept]) * normal[: len(sizes)][kept]).sum(axis=1) @ rows[held]


@per_loss
def _compiled_covariance(loss: Loss) -> Callable[[Any, Any], jax.Array]:
    """Compile the covariance of the examples' gradients, divided by M, shape (p, p)."""

    @jax.jit
    def covariance(params: Any, data: Any) -> jax.Array:
        theta, example_loss = flat_loss(loss, params)
        each, count = jax.vmap(jax.grad(example_loss), in_axes=(None, 0)), num_examples(data)
        chunk = min(CHUNK, count)
        mean = sum_over(lambda rows: jnp.sum(each(theta, rows), axis=0), data, chunk) / count

        def squares(rows: Any) -> jax.Array:
            away = each(theta, rows) - mean
            return jnp.matmul(away.T, away, precision="highest")

        return sum_over(squares, data, chunk) / count

    return covariance
