"""Counts in epochs with a rest and in runs that end inside an epoch, against all outcomes."""

from fractions import Fraction

import pytest
import sympy as sp

import feyngd as fd
from feyngd.counting import count_ratio
from feyngd.counting._listing import count_on_batches

CASES = [(3, 2, 3, False), (3, 2, 2, True), (5, 2, 4, False), (4, 2, 3, None), (4, 3, 3, False), (3, 1, 4, None)]


def by_outcomes(diagram: fd.Diagram, spacetime: fd.Spacetime, *, averaging: bool) -> Fraction:
    total = Fraction(0)
    for probability, batches in spacetime.outcomes():
        weights = [Fraction(int(spacetime.B), len(batch)) for batch in batches] if averaging else None
        total += probability * count_on_batches(diagram, batches, int(spacetime.N), weights)
    return total


@pytest.mark.parametrize("sampling", ["reshuffled", "fixed"])
@pytest.mark.parametrize(("N", "B", "T", "drop_last"), CASES)
def test_counts_are_means_over_all_outcomes(sampling: str, N: int, B: int, T: int, drop_last: bool | None) -> None:
    spacetime = fd.Spacetime.sgd(N, B, T=T, sampling=sampling, drop_last=drop_last)
    assert not spacetime.is_even
    outcomes = list(spacetime.outcomes())
    assert sum(probability for probability, _ in outcomes) == 1
    for order in range(4 if len(outcomes) <= 36 else 3):
        for diagram in fd.diagrams(order):
            for averaging in (False, True):
                found = count_ratio(diagram, spacetime, averaging=averaging).as_expr(dict.fromkeys("NBET", 0))
                assert found == by_outcomes(diagram, spacetime, averaging=averaging)


def test_the_number_of_epochs_may_be_a_symbol() -> None:
    E = sp.Symbol("E", integer=True, positive=True)
    diagram = fd.Diagram.parse("[a b[a]]")
    for sampling in ("reshuffled", "fixed"):
        for drop_last in (True, False):
            form = fd.count_embeddings(diagram, fd.Spacetime.sgd(5, 2, E, sampling=sampling, drop_last=drop_last))
            for epochs in (1, 2, 7):
                spacetime = fd.Spacetime.sgd(5, 2, epochs, sampling=sampling, drop_last=drop_last)
                assert form.subs(E, epochs) == fd.count_embeddings(diagram, spacetime)


def test_dropping_the_last_batch_leaves_its_points_in_the_training_set() -> None:
    """With N = 3, B = 2 one step sees two of three points: a pair of tied nodes of two epochs meets 2/3 of the time."""
    spacetime = fd.Spacetime.sgd(3, 2, 2, drop_last=True)
    assert spacetime.T == 2
    assert fd.count_embeddings(fd.Diagram.parse("[a[a]]"), spacetime) == sp.Rational(4, 3)
