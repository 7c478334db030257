"""Where the limits meet the diagrams: propagators, stationary and finite covariances, the gap."""

from fractions import Fraction

import numpy as np
import pytest

import feyngd as fd
from feyngd.companions import limiting as co
from feyngd.companions.limiting._epochs import Fixed, Reshuffled
from feyngd.companions.limiting._linear_step import linear_step
from feyngd.companions.limiting._white import White

PAIR = fd.Diagram.parse("[a a]")
OPTIMIZERS = [fd.sgd(), fd.momentum(0.5), fd.momentum(0.5, nesterov=True)]
H = np.array([1.3, 0.4])


@pytest.mark.parametrize("nesterov", [False, True])
def test_hessians_alone_sum_the_kernel_up_to_the_propagator(nesterov):
    """K(t, s) = κ(t, s) − h Σ κ(t, u) K(u, s), in exact fractions, is θ's answer to a push."""
    optimizer = fd.momentum(Fraction(1, 2), nesterov=nesterov)
    eta, h, steps = Fraction(1, 4), Fraction(1), 8
    k = {}
    for t in range(1, steps + 1):
        for s in reversed(range(t)):
            inner = sum(optimizer.kernel(t, u) * k[u, s] for u in range(s + 1, t))
            k[t, s] = eta * optimizer.kernel(t, s) - eta * h * inner
    step = linear_step(optimizer, float(eta))
    answers = [step.power(np.array(1.0), d - 1) @ step.entry for d in range(1, steps + 1)]
    np.testing.assert_allclose([float(k[t, 0]) for t in range(1, steps + 1)], [a[0] for a in answers], rtol=1e-14)
    assert all(k[t, s] == k[t - s, 0] for t, s in k)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_stationary_pair_is_the_variance(optimizer):
    noise = np.array([[1.0, 0.3], [0.3, 0.5]])
    d = co.Basin.from_matrices(np.diag(H), noise).limit(0.05, 1, optimizer=optimizer)
    endless = fd.ResummedSeries("test_loss", 2, fd.Spacetime.sgd(10**6), optimizer=optimizer)
    pair = 2 * np.asarray(endless.coefficient(PAIR, [H[:, None], H[None, :]], 0.05))
    np.testing.assert_allclose(d.covariance()[:2, :2], pair * noise, rtol=1e-9)
    if optimizer.beta == 0:
        assert pair[0, 1] / 2 == pytest.approx(0.0149342891278, abs=5e-14)
    assert d.excess_loss().value == pytest.approx(0.5 * np.diag(pair * noise) @ H, rel=1e-9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("sampling", ["reshuffled", "fixed"])
def test_finite_times_are_those_of_the_series(optimizer, sampling):
    """The series averages over training sets too: the mean of a set is a push that never changes."""
    count, batch, epochs, eta = 6, 2, 3, 0.2
    space = fd.Spacetime.sgd(count, batch, epochs, sampling=sampling)
    series = fd.ResummedSeries("test_loss", 2, space, optimizer=optimizer)
    step = linear_step(optimizer, eta)
    response = (Reshuffled if sampling == "reshuffled" else Fixed)(step, count, batch)
    steps = epochs * count // batch
    left, right = H[:, None], H[None]
    of_set = step.pulse(left, steps)[..., 0] * step.pulse(right, steps)[..., 0] / count
    ours = (count - 1) / count * response.after(left, right, steps)[..., 0, 0] + of_set
    pair = 2 * np.asarray(series.coefficient(PAIR, [left, right], eta))
    np.testing.assert_allclose(ours, pair, rtol=1e-11)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_pass_is_white(optimizer):
    series = fd.ResummedSeries("test_loss", 2, fd.Spacetime.sgd(24, 2), optimizer=optimizer)
    response = White(linear_step(optimizer, 0.2), 0.5)
    pair = 2 * np.asarray(series.coefficient(PAIR, [H[:, None], H[None]], 0.2))
    np.testing.assert_allclose(response.after(H[:, None], H[None], 12)[..., 0, 0], pair, rtol=1e-11)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_gap_is_a_sum_of_propagators_and_ends_at_tic(optimizer):
    count, eta = 5, 0.2
    step = linear_step(optimizer, eta)
    for steps in (1, 4, 4000):
        series = fd.ResummedSeries("gap", 2, fd.Spacetime.gd(count, steps), optimizer=optimizer)
        tied = float(series.coefficient(fd.Diagram.parse("a[a]"), [0.7], eta))  # of tr C, the root being measured too
        assert tied == pytest.approx(step.pulse(np.array(0.7), steps)[0] / count, rel=1e-12)
    assert tied == pytest.approx(1 / (0.7 * count))  # TIC
