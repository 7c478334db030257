"""A chain in few dimensions beside every draw, whose means are known: it takes much of the spread away.

The coordinates y = D_t δ of the first derivative by ε, and what an adjoint λ reads off the second,

    y_{t+1} = R_{t+1} y_t − η D_{t+1} ∇F_t
    u_{t+1} = u_t − η λ_{t+1}·(D³_t[y_t E_t, y_t E_t] + 2 ∇²F_t y_t E_t)

are driven by a draw's own noise F. The means of y yᵀ, of u and of y·E ∇F follow from the covariance of the noise over
all examples, whatever D, E, R, λ and D³ are. So y·My, u times a factor and y·E ∇F less their means are control
variates: they leave means as they are, however well y and u stand for the derivatives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...derivatives import Loss, Sums, num_examples, per_loss, sum_over
from ._adjoints import Adjoints
from ._importance import gradients_together
from ._noise_directions import Directions

_LEAST = 1e-3  # of the spread of what is measured: controls spread less are rounding, or of no use
_FITTED = 64  # draws from which on the control's factors are fitted; with fewer, errors of the fit would count


@dataclass(frozen=True)
class Reduced:
    """The directions and adjoints of a reduced chain, and the means of control variates.

    Attributes:
        directions: those of the path.
        adjoints: those of the path.
        train: the means of `Draws.train_controls`, shape (S, T + 1, 2) for S equivalences of steps; NaN where they are
            not known.
        test: those of `Draws.test_controls`.
        field: those of `Draws.field_controls`, shape (S, T + 1, 1).
    """

    directions: Directions
    adjoints: Adjoints
    train: np.ndarray
    test: np.ndarray
    field: np.ndarray


def reduced_chain(directions: Directions, adjoints: Adjoints, means: Any, known: np.ndarray) -> Reduced:
    """Return the means of control variates from `compiled_means`, where they are known, shape (S,)."""
    squares, reads, fields = (
        np.where(known.reshape(-1, *[1] * (array.ndim - 1)), np.asarray(array, dtype=float), np.nan) for array in means
    )

    def of(square: jax.Array, read: jax.Array) -> np.ndarray:
        quadratic = np.einsum("tij,stij->st", np.asarray(square, dtype=float), squares)
        return np.stack([quadratic, reads[:, np.arange(len(read)), np.asarray(read)]], axis=2)

    train, test = of(directions.train, adjoints.train), of(directions.test, adjoints.test)
    return Reduced(directions, adjoints, train, test, fields[..., None])


def controlled(rows: np.ndarray, controls: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return draws, shape (R, S, T + 1), less their control variates, (R, S, T + 1, j), of known means, (S, T + 1, j).

    They are left as they are where means are NaN.
    """
    off = np.where(np.isfinite(means), controls - means, 0)
    return rows - np.einsum("rstj,rstj->rst", _factors(rows, off), off)


def _factors(rows: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Return how much of each control to take off: fitted to the other half of the draws, which keeps it unbiased."""
    if len(rows) < _FITTED:
        return np.ones_like(controls)
    found = np.empty_like(controls)
    halves = slice(0, None, 2), slice(1, None, 2)
    for own, other in (halves, halves[::-1]):
        x, z = rows[other] - rows[other].mean(axis=0), controls[other] - controls[other].mean(axis=0)
        scale = np.sqrt(np.sum(z * z, axis=0))
        useful = scale > _LEAST * np.sqrt(np.sum(x * x, axis=0))[..., None]
        z = np.divide(z, scale, out=np.zeros_like(z), where=useful)
        inverse = np.linalg.pinv(np.einsum("rsti,rstj->stij", z, z), rcond=1e-9, hermitian=True)
        fitted = np.einsum("stij,rstj,rst->sti", inverse, z, x, optimize=True)
        found[own] = np.divide(fitted, scale, out=np.zeros_like(fitted), where=useful)
    return found


@per_loss
def compiled_means(loss: Loss, chunk_size: int) -> Callable[..., tuple[jax.Array, ...]]:
    """Compile the means of the reduced chain, for noise that is independent between classes of successive steps.

    Args:
        loss: `loss(params, example)`.
        chunk_size: how many examples are differentiated together, if so many gradients of single ones fit.

    Returns:
        A function of the parameters, the data, the path, directions, J adjoints, the learning rates, and whether a new
        class begins in steps 0 to T, shape (T + 1, S). It returns E y yᵀ, shape (S, T + 1, k, k), E u by the adjoints'
        factors, shape (S, T + 1, J), and the mean of y·E ∇F, shape (S, T + 1).
    """

    @jax.jit
    def means(
        params: Any,
        data: Any,
        path: jax.Array,
        directions: Directions,
        adjoints: Adjoints,
        rates: jax.Array,
        begins: jax.Array,
    ) -> tuple[jax.Array, ...]:
        sums = Sums(loss, params, 1)
        count = num_examples(data)
        together = min(chunk_size, gradients_together(len(sums.start) * begins.shape[1]), count)

        def step(carry: tuple[jax.Array, ...], given: Any) -> Any:
            own, past, reads = carry
            time, rate, begins = given
            point, now, following, ahead = path[time], directions.at(time), directions.at(time + 1), adjoints.at(time)

            def read(example: Any) -> jax.Array:
                slope = sums.example_gradient(point, example)
                return jnp.stack([following.readings @ slope, now.vectors @ slope])

            pushes, fields = jnp.moveaxis(jax.lax.map(read, data, batch_size=together), 1, 0)
            pushes, fields = pushes - jnp.mean(pushes, axis=0), fields - jnp.mean(fields, axis=0)
            # The noise of one class: an example's share of it moves all coordinates of its own chain.
            past = jnp.where(begins[:, None, None], past + _squares(own), past)
            own = jnp.where(begins[:, None, None], 0, own)
            squares = past + _squares(own)
            found = squares, reads * ahead.factors, jnp.einsum("xi,sxi->s", fields, own) / count

            def turned(chunk: tuple[Any, jax.Array]) -> jax.Array:
                """Return sums over a chunk of Hessians times what moved there, for every equivalence of steps."""
                examples, y = chunk
                return jax.vmap(lambda y: sums.own_products(point, examples, y @ now.vectors), in_axes=1)(y)

            turns = sum_over(turned, (data, jnp.moveaxis(own, 0, 1)), together) / count
            own = own @ following.moves.T - rate * pushes
            past = following.moves @ past @ following.moves.T
            bent = jnp.einsum("jkl,skl->sj", ahead.bends, squares)
            return (own, past, reads - rate * (bent + 2 * turns @ ahead.vectors.T)), found

        ties, size, kind = begins.shape[1], directions.vectors.shape[1], sums.start.dtype
        shapes = (ties, count, size), (ties, size, size)
        start = *(jnp.zeros(shape, kind) for shape in shapes), adjoints.unread(ties)
        found = jax.lax.scan(step, start, (jnp.arange(len(begins)), jnp.append(rates, 0), begins))[1]
        return tuple(jnp.moveaxis(array, 0, 1) for array in found)

    return means


def _squares(rows: jax.Array) -> jax.Array:
    return jnp.einsum("sxi,sxj->sij", rows, rows) / rows.shape[1]
