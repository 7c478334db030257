"""Control variates beside every draw, whose means are known: subtracting them takes much of the spread away.

The coordinates y = D_t δ of the first derivative by ε, and u, what an adjoint λ reads off the second,

    y_{t+1} = R_{t+1} y_t − η D_{t+1} ∇F_t
    u_{t+1} = u_t − η λ_{t+1}·(D³_t[y_t E_t, y_t E_t] + 2 ∇²F_t y_t E_t)

move by a draw's own noise F. The means of y yᵀ, of u and of y·E ∇F follow from the covariance of the noise over all
examples, whatever D, E, R, λ and D³ are. So y·My, u times a factor and y·E ∇F, less their means, are control variates:
subtracting them leaves means as they are, however well y and u stand for the derivatives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from ..._mesh import ALONE, Devices
from ...derivatives import Loss, Sums, num_examples, per_loss, sum_over
from ._adjoints import Adjoints
from ._importance import gradients_together
from ._noise_directions import Directions

_LEAST = 1e-3  # of the spread of what is measured: a control that spreads less is rounding, or of no use
_FITTED = 64  # draws from which on the controls' factors are fitted; with fewer, errors of the fit would count


@dataclass(frozen=True)
class ControlVariates:
    """The directions and adjoints of the path, and the means of the control variates that they make.

    Attributes:
        directions: those of the path.
        adjoints: those of the path.
        train: the means of `Draws.train_controls` for every equivalence of steps; NaN where they are not known.
        test: those of `Draws.test_controls`.
        influence: those of `Draws.influence_controls`.
    """

    directions: Directions
    adjoints: Adjoints
    train: Float[np.ndarray, "ties points 2"]
    test: Float[np.ndarray, "ties points 2"]
    influence: Float[np.ndarray, "ties points 1"]


class ControlMeans(NamedTuple):
    """Means over all noise.

    Attributes:
        squares: E y yᵀ.
        reads: E u by the adjoints' factors.
        influences: the mean of y·E ∇F.
    """

    squares: Float[Array, "*points directions directions"]
    reads: Float[Array, "*points adjoints"]
    influences: Float[Array, "*points"]


def control_variates(
    directions: Directions, adjoints: Adjoints, means: ControlMeans, known: Bool[np.ndarray, " ties"]
) -> ControlVariates:
    """Return control variates with their means, given those of `compiled_control_means`, where these are known."""
    squares, reads, influences = (
        np.where(known.reshape(-1, *[1] * (array.ndim - 1)), np.asarray(array, dtype=float), np.nan) for array in means
    )

    def of(
        curvature: Float[Array, "points directions directions"], adjoint: Int[Array, " points"]
    ) -> Float[np.ndarray, "ties points 2"]:
        """Return the means of y·My and of the u that is read."""
        quadratic = np.einsum("tij,stij->st", np.asarray(curvature, dtype=float), squares)
        return np.stack([quadratic, reads[:, np.arange(len(adjoint)), np.asarray(adjoint)]], axis=2)

    train, test = of(directions.train, adjoints.train), of(directions.test, adjoints.test)
    return ControlVariates(directions, adjoints, train, test, influences[..., None])


def controlled(
    rows: Float[np.ndarray, "draws ties points"],
    controls: Float[np.ndarray, "draws ties points controls"],
    means: Float[np.ndarray, "ties points controls"],
) -> Float[np.ndarray, "draws ties points"]:
    """Return draws less their control variates of known means; as they are where means are NaN."""
    centred = np.where(np.isfinite(means), controls - means, 0)
    return rows - np.einsum("rstj,rstj->rst", _factors(rows, centred), centred)


def _factors(
    rows: Float[np.ndarray, "draws ties points"], controls: Float[np.ndarray, "draws ties points controls"]
) -> Float[np.ndarray, "draws ties points controls"]:
    """Return how much of each control to subtract: fitted to the other half of the draws, which keeps it unbiased."""
    if len(rows) < _FITTED:
        return np.ones_like(controls)
    factors = np.empty_like(controls)
    halves = slice(0, None, 2), slice(1, None, 2)
    for own, other in (halves, halves[::-1]):
        x, z = rows[other] - rows[other].mean(axis=0), controls[other] - controls[other].mean(axis=0)
        scale = np.sqrt(np.sum(z * z, axis=0))
        useful = scale > _LEAST * np.sqrt(np.sum(x * x, axis=0))[..., None]
        z = np.divide(z, scale, out=np.zeros_like(z), where=useful)
        inverse = np.linalg.pinv(np.einsum("rsti,rstj->stij", z, z), rcond=1e-9, hermitian=True)
        fitted = np.einsum("stij,rstj,rst->sti", inverse, z, x, optimize=True)
        factors[own] = np.divide(fitted, scale, out=np.zeros_like(fitted), where=useful)
    return factors


class _Moments(NamedTuple):
    """What the means carry from step to step, for S equivalences of steps.

    The noise is a sum over examples x with independent signs, the same within a class of tied steps. So y is a sum over
    classes that have ended, and over examples within the class that the step belongs to.

    Attributes:
        own: the y that F = l_x − l in the steps of the current class makes, for every example x.
        past: E y yᵀ of all classes that have ended.
        reads: E u.
    """

    own: Float[Array, "ties examples directions"]
    past: Float[Array, "ties directions directions"]
    reads: Float[Array, "ties adjoints"]


@per_loss
def compiled_control_means(loss: Loss, chunk_size: int, devices: Devices = ALONE) -> Callable[..., ControlMeans]:
    """Compile the means of y yᵀ, u and y·E ∇F, for noise that is independent between classes of successive steps.

    Args:
        loss: `loss(params, example)`.
        chunk_size: how many examples are differentiated together, if their gradients fit into the memory.
        devices: those that share the examples.

    Returns:
        A function of the parameters, the data, the path, directions, adjoints, the learning rates, and whether a new
        class begins in steps 0 to T. It returns the means with axes for the equivalences and for the steps.
    """

    def means(
        params: PyTree,
        data: PyTree,
        path: Float[Array, "points params"],
        directions: Directions,
        adjoints: Adjoints,
        rates: Float[Array, " steps"],
        begins: Bool[Array, "points ties"],
    ) -> ControlMeans:
        sums = Sums(loss, params, 1)
        count, data = num_examples(data), devices.own(data)
        real = devices.own_weights(jnp.ones(count, sums.start.dtype))[:, None]  # 0 for examples that fill up a share
        together = min(chunk_size, gradients_together(len(sums.start) * begins.shape[1]), num_examples(data))

        def centred(rows: Float[Array, "examples directions"]) -> Float[Array, "examples directions"]:
            return real * (rows - devices.total(jnp.sum(real * rows, axis=0)) / count)

        def squares_of(own: Float[Array, "ties examples directions"]) -> Float[Array, "ties directions directions"]:
            """Return E y yᵀ of one class."""
            return devices.total(jnp.einsum("sxi,sxj->sij", own, own)) / count

        def step(carry: _Moments, given: Any) -> Any:
            own, past, reads = carry
            time, rate, begins = given
            point, now, following, ahead = path[time], directions.at(time), directions.at(time + 1), adjoints.at(time)

            def read(example: PyTree) -> Float[Array, "2 directions"]:
                """Return D_{t+1} ∇l_x and E_t ∇l_x."""
                gradient = sums.example_gradient(point, example)
                return jnp.stack([following.readings @ gradient, now.vectors @ gradient])

            # D_{t+1} ∇(l_x − l) and E_t ∇(l_x − l) for every example.
            moving, seen = map(centred, jnp.moveaxis(jax.lax.map(read, data, batch_size=together), 1, 0))
            # Where a class begins, the one before it has ended: it keeps its E y yᵀ, and has no noise any more.
            past = jnp.where(begins[:, None, None], past + squares_of(own), past)
            own = jnp.where(begins[:, None, None], 0, own)
            squares = past + squares_of(own)
            influences = devices.total(jnp.einsum("xi,sxi->s", seen, own)) / count
            measured = ControlMeans(squares, reads * ahead.factors, influences)

            def products(chunk: tuple[PyTree, Float[Array, "chunk ties directions"]]) -> Float[Array, "ties params"]:
                """Return Σ_x ∇²l_x y E over a chunk, for the y of every example and equivalence."""
                examples, y = chunk
                return jax.vmap(lambda y: sums.own_products(point, examples, y @ now.vectors), in_axes=1)(y)

            noisy = devices.total(sum_over(products, (data, jnp.moveaxis(own, 0, 1)), together)) / count  # E ∇²F y E
            bent = jnp.einsum("jkl,skl->sj", ahead.bends, squares)  # E λ·D³[y E, y E]
            after = _Moments(
                own=own @ following.moves.T - rate * moving,
                past=following.moves @ past @ following.moves.T,
                reads=reads - rate * (bent + 2 * noisy @ ahead.vectors.T),
            )
            return after, measured

        ties, size, kind = begins.shape[1], directions.vectors.shape[1], sums.start.dtype
        start = _Moments(
            own=jnp.zeros((ties, num_examples(data), size), kind),
            past=jnp.zeros((ties, size, size), kind),
            reads=adjoints.nothing_read(ties),
        )
        measured = jax.lax.scan(step, start, (jnp.arange(len(begins)), jnp.append(rates, 0), begins))[1]
        return ControlMeans(*(jnp.moveaxis(array, 0, 1) for array in measured))

    return devices.compiled(means)
