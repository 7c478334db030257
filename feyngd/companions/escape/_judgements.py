"""The assumptions behind an escape time, each with its number and limit."""

import numpy as np

from .._assumptions import Assumption, Assumptions
from ._along_track import Track
from ._noise import Noise

STABLE = 2.0


def judged(
    track: Track,
    noise: Noise,
    rates: np.ndarray,
    shares: np.ndarray,
    exponent: np.ndarray,
    transverse_is_known: bool,
    kinks: int,
) -> Assumptions:
    """Judge the assumptions at the worst of several learning rates."""
    leg = track.leg
    flattest = float(leg.minimum.lowest[0] / leg.minimum.highest)
    share = float(shares.max())
    silent = float(track.end_noise.min() / max(track.noise.max(), 1e-300)) if noise.batch_size is not None else 1.0
    if noise.isotropic:
        silent = 1.0
    return Assumptions(
        [
            Assumption.judged(
                "rare escapes",
                float(exponent.min()),
                least=6.0,
                meaning="the exponent: below 6 runs do not settle before they leave, and formulas are not asymptotic",
            ),
            Assumption.judged(
                "strict minimum",
                flattest,
                least=1e-9,
                meaning="lowest over highest curvature at the minimum; flat directions have no determinant",
            ),
            Assumption.judged(
                "saddle of index 1",
                float(np.sum(leg.saddle.lowest < 0)),
                most=1.0,
                meaning="negative curvatures at the saddle",
            ),
            Assumption.judged(
                "noise at the ends",
                silent,
                least=1e-6,
                meaning="C_e at minimum or saddle over the largest on the way; SGD stops where it vanishes",
            ),
            Assumption.judged(
                "small steps",
                float(rates.max()) * max(leg.minimum.highest, leg.saddle.highest),
                most=STABLE / 10,
                meaning="ηh for the largest curvature: continuous time stands for steps; from 2 on nothing is stable",
            ),
            Assumption.judged(
                "noise along the path",
                track.misalignment(noise, share),
                most=0.1,
                meaning="‖De − D_ee e‖/‖De‖: noise across that is correlated with noise along bends the likeliest path",
            ),
            Assumption.judged(
                "straight path",
                track.turn,
                most=0.1,
                meaning="radians by which the tangent turns: beyond, anisotropic noise has no known factor across",
            ),
            Assumption.judged(
                "factor across the path",
                0.0 if transverse_is_known else 1.0,
                most=0.5,
                meaning="1 where the factor of the directions across is left out",
            ),
            Assumption.judged(
                "smooth loss", float(kinks), most=0.0, meaning="kinks in the loss, which curvatures do not describe"
            ),
        ]
    )
