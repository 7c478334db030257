"""The assumptions behind the formulas of escape times, measured on a leg."""

import numpy as np
from numpy.typing import ArrayLike

from ..._learning_rates import check_learning_rates
from ...landscapes import Landscape
from .._assumptions import Assumptions
from ._along_track import Track
from ._escape_path import Leg
from ._escape_time import check_leg
from ._judgements import judged
from ._noise import Noise, check_noise
from ._surface import Surface
from ._transverse import MOST, STRAIGHT


def assumptions(landscape: Landscape, leg: Leg, noise: Noise, learning_rates: ArrayLike) -> Assumptions:
    """Measure what escape times take for granted: appendix B of the paper, and what it leaves out.

    - "rare escapes": the exponent, at the largest noise; runs have to settle before they leave.
    - "strict minimum", "saddle of index 1": curvatures at the ends of the way up.
    - "noise at the ends": SGD has none at symmetric or interpolating points.
    - "small steps": ηh, for continuous time.
    - "noise along the path": ‖De − D_ee e‖/‖De‖; otherwise the likeliest path is not the path of least climb.
    - "straight path", "factor across the path": whether the directions across are accounted for.
    - "smooth loss": no kinks.

    Nothing is refused here: what `escape_time` refuses fails in this list.

    Args:
        landscape: the loss and its data.
        leg: one of a path's `legs`.
        noise: made by `sgd`, `sgld` or their sum.
        learning_rates: η, one or more; the worst counts.

    Raises:
        ArgumentError: an argument is not allowed.

    Examples:
        >>> import jax
        >>> from feyngd.companions import escape as esc
        >>> from feyngd.landscapes import toys
        >>> net, start = toys.two_layer()
        >>> path = esc.find_path(net, start, -start, key=jax.random.key(0))
        >>> print(esc.assumptions(net, path.legs[0], esc.sgd(1), 0.01)["noise at the ends"])
        noise at the ends: fails (measured 0, allowed at least 1e-06)
    """
    check_leg(leg)
    check_noise(noise)
    rates = check_learning_rates(learning_rates)
    surface = Surface(landscape, leg.minimum.params)
    shares = noise.share(rates, surface.count)
    track = Track(surface, leg)
    _, nodes = track.diffusions(noise, shares)
    with np.errstate(divide="ignore"):
        exponent = np.sum(track.weights * track.slope / nodes, axis=1)
    known = track.is_isotropic(noise) or surface.size == 1 or (track.turn <= STRAIGHT and surface.size <= MOST)
    return judged(track, noise, rates, shares, exponent, known, len(track.kinks()))
