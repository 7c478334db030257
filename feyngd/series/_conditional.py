"""The conditional reading: the series for a given training set, in averages over that set."""

from collections import Counter
from collections.abc import Mapping
from math import factorial

import sympy

from ..diagrams import Diagram, growth_strings
from ..errors import ArgumentError
from ..spacetimes import Spacetime

READINGS = ("population", "conditional")


def check_exchangeable(spacetime: Spacetime) -> None:
    """Raise `ArgumentError` unless the sampling treats all points of the training set alike."""
    if spacetime.sampling in ("fixed", "explicit"):
        raise ArgumentError(
            f"In the conditional reading all points are alike, and with {spacetime.sampling} batches a given training "
            "set has an order: use sampling='reshuffled', 'with-replacement', or full batch."
        )


def given_training_set(terms: Mapping[Diagram, sympy.Expr], N: sympy.Expr) -> dict[Diagram, sympy.Expr]:
    """Return the coefficients in averages over independent draws from the N points of a training set.

    Embeddings give different points to different parts. Such an average over different points is
    1/N^(P) Σ_σ μ(σ) N^|σ| times those over independent draws, σ running over all ways to merge the P parts into |σ|,
    with μ(σ) = Π (−1)^(m−1) (m−1)! over the parts of σ, each of m parts.

    Args:
        terms: the coefficients, in moments, of diagrams with their roots alone.
        N: the number of points.
    """
    found: dict[Diagram, sympy.Expr] = {}
    for diagram, coefficient in terms.items():
        if coefficient == 0:
            continue
        parts = len(diagram.parts) - 1
        different = sympy.Mul(*(N - k for k in range(parts)))
        for merged in growth_strings(parts):
            sign = 1
            for size in Counter(merged).values():
                sign *= (-1) ** (size - 1) * factorial(size - 1)
            coarse = diagram.relabel((-1, *(merged[label - 1] for label in diagram.labels[1:])))
            share = sympy.Integer(sign) * N ** (max(merged, default=-1) + 1) / different
            found[coarse] = found.get(coarse, sympy.Integer(0)) + coefficient * share
    return {diagram: sympy.cancel(coefficient) for diagram, coefficient in found.items()}
