"""How far the slope of the potential is from a gradient, at one point and without matrices of its size."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ...derivatives import CHUNK, lifted, lifted_array
from ...estimates import Estimate
from ...landscapes import Landscape
from ..shift_curvature._at_a_point import Noise
from ._jackknife import from_left_out

_TOLERANCE = 1e-10  # relative, of conjugate gradients
_MOST_STEPS = 1000
_UNSOLVED = 1e-6  # relative: what they may leave


def sampled_curl(
    landscape: Landscape, params: Any, weight_decay: float, noise: float, *, num_samples: int = 12, key: jax.Array
) -> Estimate | None:
    """Return the curl of ∇v = (D + β²)⁻¹(∇U + αθ), the part of the potential's slope that counts at low temperature.

    With A_ij = ∂_j ∇v_i and D + β² = LLᵀ it is |Lᵀ(A − Aᵀ)L|/|Lᵀ(A + Aᵀ)L|, as of `Diffusion.curl`. For independent
    vectors v and w of covariance D + β², |LᵀOL|² is the mean of (vᵀOw)².

    Args:
        landscape: frozen, as `feyngd.landscapes.enter` returns it.
        params: the point.
        weight_decay: α.
        noise: β.
        num_samples: of vectors, at least 3.
        key: a JAX random key.

    Returns:
        The curl with a jackknife's standard error; `None` where conjugate gradients do not solve for D + β².
    """
    vectors = Noise(landscape, params, noise).samples(num_samples, key)
    loss = lifted(landscape.loss, params, landscape.example_shapes)
    with jax.enable_x64(True):
        theta, unravel = ravel_pytree(jax.tree.map(lifted_array, params))
        data = jax.tree.map(lifted_array, landscape.data)

        def losses(theta: jax.Array) -> jax.Array:
            return jax.lax.map(partial(loss, unravel(theta)), data, batch_size=CHUNK)

        def force(theta: jax.Array) -> jax.Array:
            return jax.grad(lambda at: jnp.mean(losses(at)))(theta) + weight_decay * theta

        def spread(theta: jax.Array, y: jax.Array) -> jax.Array:
            """Return (D + β²) y."""
            along = jax.jvp(losses, (theta,), (y,))[1]
            (back,) = jax.vjp(losses, theta)[1]((along - along.mean()) / len(along))
            return back + noise**2 * y

        def solved(right: jax.Array) -> jax.Array:
            product = partial(spread, theta)
            return jax.scipy.sparse.linalg.cg(product, right, tol=_TOLERANCE, maxiter=_MOST_STEPS)[0]

        @jax.jit
        def images(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
            """Return A v for vectors v, and by how much the equations behind them are missed."""
            pull = force(theta)
            slope = solved(pull)

            def image(v: jax.Array) -> tuple[jax.Array, jax.Array]:
                bent = jax.jvp(force, (theta,), (v,))[1]
                right = bent - jax.jvp(lambda at: spread(at, slope), (theta,), (v,))[1]
                found = solved(right)
                return found, _missed(spread(theta, found), right)

            found, missed = jax.lax.map(image, rows)
            return found, jnp.maximum(missed.max(), _missed(spread(theta, slope), pull))

        found, missed = (np.asarray(part) for part in images(jnp.asarray(vectors)))
    if not missed < _UNSOLVED:
        return None
    return _ratio(vectors @ found.T)


def _missed(given: jax.Array, wanted: jax.Array) -> jax.Array:
    size = jnp.linalg.norm(wanted)
    return jnp.where(size > 0, jnp.linalg.norm(given - wanted) / size, 0.0)


def _ratio(forms: np.ndarray) -> Estimate:
    """Return the curl from the forms vᵀAw of all pairs of vectors."""
    odd, even = (forms - forms.T) ** 2, (forms + forms.T) ** 2
    np.fill_diagonal(even, 0.0)

    def of(kept: np.ndarray) -> float:
        above, below = odd[np.ix_(kept, kept)].sum(), even[np.ix_(kept, kept)].sum()
        return float(np.sqrt(above / below)) if below else (float("inf") if above else 0.0)

    everyone = np.arange(len(forms))
    return from_left_out(of(everyone), np.array([of(np.delete(everyone, k)) for k in everyone]))
