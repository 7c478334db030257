"""Optimizers: kernels against literal steps, averages, schedules, and what is refused."""

from fractions import Fraction as F
from itertools import combinations, pairwise

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import feyngd as fd
from feyngd import optimizers as opt
from feyngd.testing import optimizers as any_optimizer

MULTIPLIERS = [1, F(1, 2), 0, 2, 3]


def literal_kernel(optimizer: fd.Optimizer, steps: int) -> list[list[F]]:
    """Return κ(t, s) for t = 0 … T, from steps with a unit gradient at s."""
    rates = list(optimizer.multipliers or [F(1)] * steps)
    beta, table = optimizer.beta, [[F(0)] * steps for _ in range(steps + 1)]
    for s in range(steps):
        moved, velocity = F(0), F(0)
        for t in range(steps):
            gradient = F(int(t == s))
            keep = 1 - optimizer.dampening if t or optimizer.classical else F(1)
            if optimizer.classical:
                velocity = beta * velocity + rates[t] * keep * gradient
                moved += rates[t] * gradient + beta * velocity if optimizer.nesterov else velocity
            else:
                velocity = beta * velocity + keep * gradient
                moved += rates[t] * (gradient + beta * velocity if optimizer.nesterov else velocity)
            table[t + 1][s] = moved
    return table


KINDS = {
    "SGD": fd.sgd(),
    "momentum": fd.momentum(F(9, 10)),
    "Nesterov": fd.momentum(F(1, 2), nesterov=True),
    "damped": fd.momentum(F(1, 2), dampening=F(1, 3)),
    "classical": fd.momentum(F(1, 2), dampening=F(1, 3), classical=True),
    "damped alone": fd.momentum(0, dampening=F(1, 2), classical=True),
    "scheduled": fd.schedule(MULTIPLIERS, fd.momentum(F(1, 2))),
    "scheduled, classical": fd.schedule(MULTIPLIERS, fd.momentum(F(1, 2), classical=True)),
    "scheduled, classical Nesterov": fd.schedule(MULTIPLIERS, fd.momentum(F(1, 2), classical=True, nesterov=True)),
    "scheduled Nesterov": fd.schedule(MULTIPLIERS, fd.momentum(F(1, 2), nesterov=True)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_are_those_of_literal_steps(kind: str) -> None:
    optimizer, expected = KINDS[kind], literal_kernel(KINDS[kind], 5)
    for t in range(6):
        assert [optimizer.kernel(t, s) for s in range(5)] == expected[t]
    assert optimizer.to_end(5) == expected[5]
    assert optimizer.in_floats().to_end(5) == pytest.approx([float(x) for x in expected[5]], rel=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_that_are_alike_have_exponential_kernels(kind: str) -> None:
    optimizer = KINDS[kind]
    exponentials = optimizer.exponentials()
    assert (exponentials is None) == (optimizer.multipliers is not None or kind == "damped")
    for t, s in combinations(range(5, -1, -1), 2):
        if exponentials is not None:
            assert sum(c * x ** (t - s - 1) for c, x in exponentials) == optimizer.kernel(t, s)


def test_kernels_are_polynomials_in_symbols() -> None:
    beta, rate = sp.symbols("beta r")
    optimizer = fd.schedule([1, rate, rate], fd.momentum(beta))
    assert optimizer.symbols == {beta, rate}
    assert sp.expand(optimizer.kernel(3, 0) - (1 + beta * rate + beta**2 * rate)) == 0
    half = optimizer.subs({"beta": F(1, 2), rate: 0.25})
    assert half.kernel(3, 0) == pytest.approx(1 + 0.125 + 0.0625)
    with pytest.raises(fd.ArgumentError, match="has the symbols beta, r"):
        optimizer.in_floats()


@pytest.mark.parametrize(
    ("average", "weights"),
    [
        ({"ema": F(1, 3)}, [F(2, 27), F(2, 9), F(2, 3)]),
        ({"tail": 2}, [0, F(1, 2), F(1, 2)]),
        ({"tail": "all"}, [F(1, 3)] * 3),
        ({"weights": [F(1, 4), F(1, 4), F(1, 4), F(1, 4)]}, [F(1, 4)] * 3),
        ({"weights": [0, F(1, 2), F(1, 2)]}, [0, F(1, 2), F(1, 2)]),
    ],
)
def test_averages_weigh_the_kernels_of_their_iterates(average, weights) -> None:
    base = fd.momentum(F(1, 2))
    optimizer = fd.averaged(base, **average)
    assert list(optimizer.average.over_steps(3)) == weights
    assert optimizer.to_end(3) == [sum(w * base.kernel(t, s) for t, w in enumerate(weights, 1)) for s in range(3)]
    assert optimizer.kernel(3, 0) == base.kernel(3, 0)  # the path is what it was


def test_optimizers_are_values() -> None:
    assert fd.momentum(0) == fd.sgd()
    assert fd.momentum(0.5) == fd.momentum(F(1, 2)) != fd.momentum(F(1, 3))
    metric = {"w": np.array([1.0, 0.0]), "b": 2.0}
    one, other = (fd.preconditioned(fd.sgd(), metric) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    metric["w"][0] = 7.0
    assert one == other != fd.preconditioned(fd.sgd(), metric)
    assert one.is_plain
    assert not fd.schedule([1, 1]).is_plain
    assert str(fd.averaged(fd.schedule([1, 2], fd.momentum(F(1, 2), nesterov=True)), ema=F(9, 10))) == (
        "Nesterov β=1/2, schedule of 2 steps, exponential average, ρ=9/10"
    )


def test_schedules_in_common_use() -> None:
    up_and_down = opt.cosine(12, warmup=4, final=0.1)
    assert len(up_and_down) == 12
    assert up_and_down[:5] == (0, 0.25, 0.5, 0.75, 1)
    assert all(a > b for a, b in pairwise(up_and_down[4:]))
    assert min(up_and_down[4:]) > 0.1
    assert opt.warm_restarts([3, 3]) == opt.cosine(3) * 2
    assert opt.linear(4, final=F(1, 2)) == (1, F(7, 8), F(3, 4), F(5, 8))
    assert fd.schedule(lambda step: F(1, step + 1)).kernel(3, 2) == F(1, 3)


@given(st.integers(1, 6).flatmap(lambda steps: st.tuples(st.just(steps), any_optimizer(steps))))
@settings(max_examples=60, deadline=None)
def test_what_reaches_the_end_is_the_weighted_sum_of_kernels(drawn) -> None:
    steps, optimizer = drawn
    weights = [0] * (steps - 1) + [1] if optimizer.average is None else optimizer.average.over_steps(steps)
    kernel = optimizer.recurrence(steps).kernel
    assert optimizer.to_end(steps) == [sum(w * kernel(t, s) for t, w in enumerate(weights, 1)) for s in range(steps)]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: fd.momentum(1), r"0 ≤ β < 1; got 1"),
        (lambda: fd.momentum(-0.1), r"got -0.1"),
        (lambda: fd.momentum("a lot"), r"beta is a finite number.*got 'a lot'"),
        (lambda: fd.momentum(float("nan")), r"finite"),
        (lambda: fd.momentum(True), r"finite number"),
        (lambda: fd.momentum(0.5, dampening=1), r"0 ≤ d < 1; got 1"),
        (lambda: fd.momentum(0.5, nesterov=True, dampening=0.1), r"no dampening"),
        (lambda: fd.momentum(0.5, classical="sutskever"), r"classical is True or False; got 'sutskever'"),
        (lambda: fd.schedule([1, -1]), r"multiplier of step 1 is -1"),
        (lambda: fd.schedule([0, 0]), r"All 2 multipliers are zero"),
        (lambda: fd.schedule([1, float("inf")]), r"step 1 is a finite number"),
        (lambda: fd.schedule(0.5), r"one for every step, or a function"),
        (lambda: fd.schedule([1], fd.schedule([1])), r"has a schedule already"),
        (lambda: fd.schedule([1], "sgd"), r"made by sgd, momentum"),
        (lambda: fd.averaged(fd.sgd()), r"one of ema=ρ, tail=n and weights"),
        (lambda: fd.averaged(fd.sgd(), ema=0.5, tail=2), r"got ema and tail"),
        (lambda: fd.averaged(fd.sgd(), ema=1), r"0 ≤ ρ < 1"),
        (lambda: fd.averaged(fd.sgd(), tail=0), r"tail is an integer ≥ 1"),
        (lambda: fd.averaged(fd.sgd(), weights=[F(1, 2), F(1, 3)]), r"sum to 5/6"),
        (lambda: fd.averaged(fd.averaged(fd.sgd(), tail=1), tail=1), r"averages already"),
        (lambda: fd.preconditioned(fd.sgd(), {"w": [1.0, -1.0]}), r"at least 0"),
        (lambda: fd.preconditioned(fd.sgd(), {"w": [0.0, 0.0]}), r"freezes all"),
        (lambda: fd.preconditioned(fd.sgd(), {"w": "fast"}), r"numbers or arrays"),
        (lambda: fd.preconditioned(fd.preconditioned(fd.sgd(), 1.0), 1.0), r"has a metric already"),
        (lambda: fd.schedule([1, 2]).recurrence(3), r"2 multipliers, and the run has T=3"),
        (lambda: fd.schedule([1, 2]).kernel(3, 0), r"known up to t=2"),
        (lambda: fd.averaged(fd.sgd(), tail=4).to_end(3), r"as many steps; the run has T=3"),
        (lambda: fd.averaged(fd.sgd(), weights=[1]).to_end(3), r"1 weights, and the run has T=3"),
        (lambda: opt.cosine(3, warmup=3), r"leaves none of 3"),
        (lambda: opt.piecewise([1], [1, 2]), r"1 lengths, 2 of them"),
    ],
)
def test_bad_input_says_what_is_allowed(make, says: str) -> None:
    with pytest.raises(fd.ArgumentError, match=says):
        make()
