"""W(s, t) against its definition, an expectation over all runs that is computed by listing them, in whole numbers."""

from fractions import Fraction
from math import lcm

import numpy as np
import pytest
from hypothesis import assume, given, settings

import feyngd as fd
from feyngd import Spacetime
from feyngd.anchoring import noise_weights
from feyngd.anchoring._noise_weights import served

WITH_REPLACEMENT = [(1, 1, 2), (1, 2, 2), (2, 1, 4), (2, 3, 2), (3, 2, 2), (4, 1, 3), (4, 2, 2)]
SPACETIMES = [
    *(
        Spacetime.sgd(N, B, E, sampling=sampling)
        for sampling in ("reshuffled", "fixed")
        for N, B in [(1, 1), (2, 1), (2, 2), (3, 1), (3, 3), (4, 1), (4, 2), (4, 4)]
        for E in (1, 2)
    ),
    *(Spacetime.sgd(N, 1, 3, sampling=sampling) for N in (2, 3) for sampling in ("reshuffled", "fixed")),
    *(Spacetime.sgd(N, B, T=T, sampling="with-replacement") for N, B, T in WITH_REPLACEMENT),
    *(Spacetime.gd(N, T) for N in (1, 2, 3, 4) for T in (1, 3)),
    *(
        Spacetime.sgd(N, B, T=T, sampling=sampling, drop_last=drop_last)
        for sampling in ("reshuffled", "fixed")
        for N, B, T in [
            (3, 2, 1),
            (3, 2, 2),
            (3, 2, 3),
            (3, 2, 4),
            (4, 3, 3),
            (4, 3, 4),
            (5, 2, 2),
            (5, 2, 3),
        ]
        for drop_last in (True, False)
    ),
    *(Spacetime.sgd(4, 1, T=T, sampling=sampling) for T in (3, 5) for sampling in ("reshuffled", "fixed")),
]


def has_conditional_weights(spacetime):
    """Fields of a single datapoint that sum to zero are zero, so that any weight would do; fixed orders have none."""
    return spacetime.sampling != "fixed" and spacetime.N > 1


def shares_in_pairs(spacetime):
    """E[c_ns c_mt] for all datapoints n, m and steps s, t, in units of one over a number, and that number."""
    outcomes = list(spacetime.outcomes())
    assert {probability for probability, _ in outcomes} == {Fraction(1, len(outcomes))}
    common = lcm(*spacetime.batch_sizes())
    shares = [
        [[common // len(batch) * batch.count(n) for n in range(int(spacetime.N))] for batch in run]
        for _, run in outcomes
    ]
    every = np.array(shares).reshape(len(outcomes), int(spacetime.T), int(spacetime.N))
    return np.einsum("rsn,rtm->snmt", every, every), len(outcomes) * common**2


def exact(weights, steps):
    """The matrix of W that a sum over equivalences stands for, as fractions."""
    total = np.full((steps, steps), Fraction(0))
    for ties, weight in weights.items():
        labels = ties.labels(steps)
        total = total + weight * ((labels[:, None] == labels) & (labels >= 0)).astype(int)
    return total


def expected(spacetime, reading):
    """W by its definition: fields of independent datapoints, or fields whose sum over the datapoints is zero."""
    pairs, unit = shares_in_pairs(spacetime)
    N, steps = int(spacetime.N), int(spacetime.T)
    if reading == "population":
        return np.array([[Fraction(int(x), unit) for x in row] for row in np.einsum("snnt->st", pairs)])
    centre = N * np.eye(N, dtype=int) - 1  # N times the projection on fields that sum to zero
    found = np.empty((steps, steps), dtype=object)
    for s, t in np.ndindex(steps, steps):
        covariance = centre @ pairs[s, :, :, t] @ centre
        # fᵀ Cov g is W (1/N) fᵀg for all such fields f, g only if the centred covariance is W/N times the projection.
        found[s, t] = Fraction(int(covariance[0, 0]), (N - 1) * unit)
        assert (covariance == found[s, t] * unit * centre).all()
    return found


@pytest.mark.parametrize("spacetime", SPACETIMES, ids=repr)
def test_weights_of_independent_datapoints(spacetime):
    assert (exact(noise_weights(spacetime), int(spacetime.T)) == expected(spacetime, "population")).all()


@pytest.mark.parametrize("spacetime", [one for one in SPACETIMES if has_conditional_weights(one)], ids=repr)
def test_weights_of_given_data(spacetime):
    found = exact(noise_weights(spacetime, "conditional"), int(spacetime.T))
    assert (found == expected(spacetime, "conditional")).all()


@pytest.mark.parametrize("reading", ["population", "conditional"])
@settings(max_examples=60)
@given(fd.testing.spacetimes(max_points=4, max_steps=6, uneven=True))
def test_weights_up_to_every_step(reading, spacetime):
    """What serves the first steps of a run is W there, and no two terms are the same equivalence of these steps."""
    assume(reading == "population" or has_conditional_weights(spacetime))
    whole = expected(spacetime, reading)
    for steps in range(int(spacetime.T) + 1):
        weights = served(spacetime, reading, steps)
        assert (exact(weights, steps) == whole[:steps, :steps]).all()
        if steps:
            assert len({tuple(exact({ties: 1}, steps).ravel()) for ties in weights}) == len(weights)
            assert all(weights.values())
