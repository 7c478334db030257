"""Measuring a basin of a landscape: curvature, noise and how both change around, once for all limits."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import linalg

from ..._arguments import check_integer
from ..._keys import check_key
from ...derivatives import CHUNK, Loss, flat_loss, num_params, per_loss
from ...errors import ArgumentError
from ...landscapes import Landscape, enter, kinks_at
from ...minima import MeanLoss
from ...progress import Progress, check_progress
from ...spectra import DENSE, Point, check_num_examples, compiled_matrices
from .._numbers import check_choice
from ._basin import Basin, dense_basin
from ._eigenpairs import Eigenpairs, finished
from ._growth import growth
from ._noise import Noise

METHODS = ("auto", "dense", "lanczos")

_LEAST = 4
_TOLERANCE = 1e-4  # of ARPACK, relative


def basin(
    landscape: Landscape,
    params: Any,
    *,
    directions: int = 0,
    method: str = "auto",
    num_samples: int = 16,
    max_steps: int = 128,
    chunk_size: int = CHUNK,
    progress: Progress | bool | None = None,
    key: Any,
) -> Basin:
    """Measure curvature and noise at a minimum, once; `Basin.limit` is arithmetic.

    In the conditional reading the training set is the data, and any sampling is allowed. In the population reading
    every batch is a fresh draw.

    Args:
        landscape: the loss and its data, in the population or the conditional reading.
        params: the minimum, a pytree of p numbers in all.
        directions: how many of the sharpest directions vector-valued results have where matrices are not written out.
        method: "dense", with matrices, up to 1,500 parameters; "lanczos", random combinations of gradients and their
            Krylov spaces; "auto" takes matrices where it may.
        num_samples: how many combinations.
        max_steps: the most Hessian-vector products for each.
        chunk_size: how many examples are differentiated together.
        progress: shows progress.
        key: a JAX random key.

    Returns:
        A `Basin`.

    Raises:
        ArgumentError: an argument is not allowed, or the reading is "unbiased".
        LandscapeError: the landscape is invalid, or a Hessian-vector product is not finite.

    Warns:
        SmoothnessWarning: the loss has kinks near the minimum.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> import feyngd as fd
        >>> landscape = fd.Landscape(lambda theta, x: 0.5 * (theta - x) ** 2, jnp.array([-1.0, 1.0]))
        >>> measured = basin(landscape, jnp.array(0.0), key=jax.random.key(0))
        >>> print(f"{measured.limit(0.1, 1, optimizer=fd.momentum(0.5)).position_variance().value:.6f}")
        0.103448
    """
    count = check_integer("directions", directions, least=0)
    check_choice("method", method, METHODS)
    samples = check_integer("num_samples", num_samples, least=2)
    steps = check_integer("max_steps", max_steps, least=_LEAST)
    chunk = check_integer("chunk_size", chunk_size, least=1)
    bars = check_progress(progress)
    check_key(key, "Combinations of gradients are drawn at random")
    frozen, params = enter(landscape, params)
    size = num_params(params)
    if frozen.reading == "unbiased":
        raise ArgumentError(
            "In the unbiased reading data are a sample from an unknown distribution, and nothing is known of the "
            "batches that SGD draws from it: use reading='conditional' (the training set is the data) or 'population'."
        )
    if count > size:
        raise ArgumentError(f"directions={count} is more than the {size} parameters: give at most that many.")
    if method == "dense" and size > DENSE:
        raise ArgumentError(f"method='dense' is for up to {DENSE:,} parameters; there are {size:,}: give 'lanczos'.")
    check_num_examples(frozen.num_examples)
    frozen.validate(params)
    kinks_at(frozen, params, stacklevel=3)
    is_dense = method == "dense" or (method == "auto" and size <= DENSE)
    chunk = min(chunk, frozen.num_examples)
    point = Point(
        landscape,
        frozen,
        params,
        dense=is_dense,
        num_samples=samples,
        max_steps=steps,
        chunk_size=chunk,
        progress=bars,
        key=key,
    )
    surface = MeanLoss(frozen, params)
    slope = surface(surface.start)[1]
    make = _dense if is_dense else _sampled
    return make(point, surface, slope, count, chunk)


def _dense(point: Point, surface: MeanLoss, slope: np.ndarray, directions: int, chunk: int) -> Basin:
    frozen = point.frozen
    compiled = compiled_matrices(frozen.loss, chunk)
    noise, hessian = (np.asarray(m, dtype=float) for m in compiled(point.params, point.landscape.data))
    count = frozen.num_examples
    found = dense_basin(
        hessian,
        noise * (count - 1) / count,
        surface.start,
        slope,
        num_examples=count,
        eps=surface.eps,
        reading=frozen.reading,
        shaped=surface.shaped,
        structure=jax.tree.map(jnp.shape, point.params),
        growth=growth(point, float(np.trace(noise)) * (count - 1) / count),
    )
    return _with_projections(found, point)


def _sampled(point: Point, surface: MeanLoss, slope: np.ndarray, directions: int, chunk: int) -> Basin:
    product = partial(surface.products, surface.start)
    size = len(surface.start)
    trace = float(point.moments(np.zeros((1, size)))[2][0])
    pairs = _top(product, directions, size, surface.shaped)
    along = slopes(point, pairs.vectors)
    centred = along - along.mean(axis=1, keepdims=True)
    matrix = centred @ centred.T / along.shape[1]
    top = max(point.curvatures[1], float(pairs.values.max(initial=0.0)))
    return _with_projections(
        Basin(
            pairs.values,
            pairs.vectors,
            Noise(point.noise.groups, trace, False, matrix),
            surface.start,
            slope,
            False,
            point.frozen.num_examples,
            point.frozen.reading,
            size**0.5 * surface.eps * top,
            pairs,
            growth=growth(point, trace),
            structure=jax.tree.map(jnp.shape, point.params),
        ),
        point,
    )


def _top(
    product: Callable[[np.ndarray], np.ndarray], count: int, size: int, shaped: Callable[[np.ndarray], Any]
) -> Eigenpairs:
    if not count:
        return Eigenpairs(np.zeros(0), np.zeros((0, size)), np.zeros(0), 0, shaped)
    if count >= size - 1:
        raise ArgumentError(f"directions={count} of {size} parameters are nearly all of them: give method='dense'.")
    operator = linalg.LinearOperator((size, size), matvec=lambda x: product(np.reshape(x, (1, -1)))[0], dtype=float)
    start = np.random.default_rng(0).normal(size=size)  # any start: what is found does not depend on it
    vectors = linalg.eigsh(operator, count, which="LA", v0=start, tol=_TOLERANCE)[1].T
    return finished(product, vectors, 10 * _TOLERANCE, shaped, 0)


def _with_projections(found: Basin, point: Point) -> Basin:
    if not len(found.curvatures):
        return found
    along = slopes(point, found.vectors[:1])[0]
    object.__setattr__(found, "projections", along - along.mean())
    return found


def slopes(point: Point, vectors: np.ndarray) -> np.ndarray:
    """Return the slope of every example's loss along vectors in rows, shape (n, M)."""
    compiled = _compiled_slopes(point.frozen.loss)
    return np.asarray(compiled(point.params, point.landscape.data, vectors), dtype=float)


@per_loss
def _compiled_slopes(loss: Loss) -> Callable[..., jax.Array]:
    """Compile the slope of every example's loss along vectors, shape (n, M)."""

    @jax.jit
    def found(params: Any, data: Any, vectors: Any) -> jax.Array:
        theta, example_loss = flat_loss(loss, params)
        rows = jnp.asarray(vectors, theta.dtype)
        each = jax.lax.map(lambda example: rows @ jax.grad(example_loss)(theta, example), data, batch_size=CHUNK)
        return each.T

    return found
