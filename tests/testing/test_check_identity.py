"""Property-testing a formula derived by hand."""

import pytest
import sympy

import feyngd as fd
from feyngd import Spacetime
from feyngd.testing import check_identity

N, B, E, T = sympy.symbols("N B E T", integer=True, positive=True)


def test_true_formulas_hold():
    """First-order test loss and gap, and the second-order noise term against the oracle."""
    one_epoch = Spacetime.sgd(N)
    assert check_identity("test_loss", lambda s: [s.l, -s.T * (s.G @ s.G)], spacetime=one_epoch, order=1) == 30
    assert check_identity("gap", lambda s: s.eta * s.T / s.N * s.C.trace(), spacetime=one_epoch, order=1) == 30

    def second_order(s):
        noiseless = s.T**2 - sympy.Rational(s.T, 2)
        GHG = s.G @ s.H @ s.G
        tied = sympy.Rational(s.T * s.E, 2) * (s.C * s.H).sum() + s.N * s.E * (s.E - 1) / 2 * s.value("[a[a]]")
        return [s.l, -s.T * (s.G @ s.G), noiseless * GHG + tied]

    fixed = Spacetime.sgd(N, 1, E, sampling="fixed")
    assert check_identity("test_loss", second_order, spacetime=fixed, order=2, max_size=3) == 30


def test_a_series_equals_the_oracle_and_another_basis():
    spacetime = Spacetime.sgd(N, B, E)
    moments = fd.expand("train_loss", order=2, spacetime=spacetime)
    cumulants = fd.expand("train_loss", order=2, spacetime=spacetime, basis="cumulant")
    assert check_identity(moments, "train_loss", examples=7) == 7
    assert check_identity(moments, cumulants, examples=7) == 7


def test_a_wrong_formula_is_refuted_with_numbers():
    with pytest.raises(
        fd.MismatchError, match=r"differ at η\^1: .* on the left, .* on the right, on .*θ = .*losses"
    ) as e:
        check_identity("gap", lambda s: [0, s.T * s.C.trace()], spacetime=Spacetime.sgd(N), order=1)
    assert isinstance(e.value, AssertionError)
    wrong = fd.expand("gap", order=2, spacetime=Spacetime.sgd(N)) * 2
    with pytest.raises(fd.MismatchError):
        check_identity(wrong, "gap")


def test_the_seed_repeats_a_failure():
    messages = set()
    for _ in range(2):
        with pytest.raises(fd.MismatchError) as caught:
            check_identity("gap", lambda s: [0, 0], spacetime=Spacetime.sgd(2), order=1, seed=5)
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_arguments_are_checked():
    here = Spacetime.sgd(2)
    with pytest.raises(fd.ArgumentError, match=r"'test_loss', 'train_loss', 'gap'; got 'tets_loss'"):
        check_identity("tets_loss", "gap", spacetime=here, order=1)
    with pytest.raises(fd.ArgumentError, match="spacetime="):
        check_identity("gap", "gap", order=1)
    with pytest.raises(fd.ArgumentError, match="order="):
        check_identity("gap", "gap", spacetime=here)
    with pytest.raises(fd.ArgumentError, match=r"returned 1 coefficients"):
        check_identity("gap", lambda s: [0], spacetime=here, order=1)
    with pytest.raises(fd.ArgumentError, match="not an exact rational"):
        check_identity("test_loss", lambda s: [0.5], spacetime=here, order=0)
    with pytest.raises(fd.ArgumentError, match="No sizes up to 2"):
        check_identity(fd.expand("gap", order=3, spacetime=Spacetime.sgd(N)), "gap", max_size=2)
