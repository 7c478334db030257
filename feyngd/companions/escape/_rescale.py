"""The sweep over sharpness: a landscape squeezed by √k, in which all curvatures are k times as large."""

from typing import Any

import jax
import jax.numpy as jnp

from ...landscapes import Landscape, enter
from .._numbers import check_number


def rescale(landscape: Landscape, params: Any, k: float) -> tuple[Landscape, Any]:
    """Return the landscape f(√k θ) and the parameters θ/√k, where it is what it was.

    SGD on f(√k θ) at η is SGD on f at kη, step by step. So a sweep over k repeats the sweep over η, and injected noise
    of equal D has τ(k) = τ(1)/k: neither tests whether flat minima are favoured.

    Args:
        landscape: f and its data.
        params: the parameters.
        k: by how much curvatures grow, positive.

    Raises:
        ArgumentError: k is not positive and finite, or not a landscape.

    References:
        Xie, Sato and Sugiyama, section 4 and figures 4a, 5a, 6, 10, 14, 16 and 17.
    """
    root = check_number("k", k, above=0) ** 0.5
    _, params = enter(landscape, params)
    loss = landscape.loss

    def squeezed(theta: Any, example: Any) -> Any:
        return loss(jax.tree.map(lambda leaf: leaf * root, theta), example)

    shrunk = jax.tree.map(lambda leaf: jnp.asarray(leaf / root, leaf.dtype), params)
    if landscape.test_data is None:
        return Landscape(squeezed, landscape.data, reading=landscape.reading), shrunk
    return Landscape(squeezed, landscape.data, landscape.test_data, reading=landscape.reading), shrunk
