"""The central property: the diagram series equals exact SGD, coefficient by coefficient, on random landscapes."""

from functools import cache
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sympy import Expr, symbols

import feyngd as fd
from feyngd import Series, Spacetime

QUANTITIES = ("test_loss", "train_loss", "gap")
BASES = ("moment", "cumulant")
N, B, E, T = symbols("N B E T", integer=True, positive=True)

# Each scheme with symbols for its sizes; with replacement counts in steps as well as in epochs.
SYMBOLIC = {
    "fixed": (Spacetime.sgd(N, B, E, sampling="fixed"),),
    "reshuffled": (Spacetime.sgd(N, B, E, sampling="reshuffled"),),
    "with-replacement": (
        Spacetime.sgd(N, B, T=T, sampling="with-replacement"),
        Spacetime.sgd(N, B, E, sampling="with-replacement"),
    ),
    "full-batch": (Spacetime.gd(N, T),),
    "explicit": (),
}


@cache
def expanded(quantity: str, order: int, spacetime: Spacetime, basis: str) -> Series:
    return fd.expand(quantity, order=order, spacetime=spacetime, basis=basis)


@cache
def filled_in(
    quantity: str, order: int, symbolic: Spacetime, basis: str, sizes: tuple[tuple[Expr, int], ...]
) -> Series:
    return expanded(quantity, order, symbolic, basis).subs(dict(sizes))


def sizes_on(symbolic: Spacetime, concrete: Spacetime) -> tuple[tuple[Expr, int], ...] | None:
    """The numbers that turn a symbolic spacetime into a concrete one; `None` if its epochs are not whole."""
    sizes = {N: int(concrete.N)}
    if B in symbolic.symbols:
        sizes[B] = int(concrete.B)
    if E in symbolic.symbols:
        epochs, rest = divmod(int(concrete.T * concrete.B), int(concrete.N))
        if rest:
            return None
        sizes[E] = epochs
    else:
        sizes[T] = int(concrete.T)
    return tuple(sizes.items())


# Four points or more are enough for every closed form of order four; feyngd.testing draws the smaller spacetimes.
ROOMY = {
    "fixed": [Spacetime.sgd(n, b, e, sampling="fixed") for n, b, e in [(4, 1, 1), (4, 2, 2), (4, 4, 3), (6, 3, 2)]],
    "reshuffled": [Spacetime.sgd(n, b, e) for n, b, e in [(4, 1, 1), (4, 2, 2), (4, 4, 3), (5, 1, 1)]],
    "with-replacement": [
        Spacetime.sgd(n, b, T=t, sampling="with-replacement")
        for n, b, t in [(4, 1, 4), (4, 2, 2), (4, 3, 1), (5, 1, 3), (4, 1, 3)]
    ],
    "full-batch": [Spacetime.gd(4, 4), Spacetime.gd(5, 3), Spacetime.gd(6, 2)],
    "explicit": [
        Spacetime.from_batches([[0, 0, 1], [2, 3], [1]], N=4),
        Spacetime.from_batches([[0, 1], [3], [0, 1, 3, 3], [0]], N=5),
    ],
}


def compare(data, sampling: str, order: int) -> None:
    """Draw a spacetime, a landscape and a point, and compare everything in exact arithmetic."""
    small = fd.testing.spacetimes(samplings=[sampling], max_points=4, max_steps=5)
    spacetime = data.draw(st.one_of(st.sampled_from(ROOMY[sampling]), small))
    landscape = data.draw(fd.testing.landscapes(kinds=(2, 3) if order > 2 else (2, 3, 4)))
    theta = data.draw(fd.testing.points(landscape))
    values = fd.testing.ExactValues(landscape, theta)
    truth = {q: fd.testing.exact_series(q, landscape, theta, spacetime, order) for q in QUANTITIES}
    for quantity, basis in product(QUANTITIES, BASES):
        assert values.sum(expanded(quantity, order, spacetime, basis)) == truth[quantity], (quantity, basis)
        # At order 4 closed forms take long; those in epochs are those in steps at T = E·N/B, as lower orders show.
        for symbolic in SYMBOLIC[sampling][: 1 if order > 3 else None]:
            sizes = sizes_on(symbolic, spacetime)
            if sizes is None:
                continue
            valid = min(order, int(spacetime.N))  # closed forms hold for at least as many points as parts
            series = filled_in(quantity, valid, symbolic, basis, sizes)
            assert values.sum(series) == truth[quantity][: valid + 1], (quantity, basis, symbolic)
            if valid < order:
                with pytest.raises(fd.ArgumentError, match="hold for N ≥"):
                    filled_in(quantity, order, symbolic, basis, sizes)


SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.parametrize("sampling", SYMBOLIC)
@settings(max_examples=20, suppress_health_check=SLOW)
@given(data=st.data(), order=st.integers(0, 2))
def test_series_equal_exact_sgd_to_second_order(sampling, data, order):
    """All quantities, both bases, numbers and symbols for the sizes."""
    compare(data, sampling, order)


@pytest.mark.parametrize("sampling", SYMBOLIC)
@settings(max_examples=16, suppress_health_check=SLOW)
@given(data=st.data())
def test_series_equal_exact_sgd_to_third_order(sampling, data):
    """All quantities, both bases, numbers and symbols for the sizes."""
    compare(data, sampling, order=3)


@pytest.mark.parametrize("sampling", SYMBOLIC)
@settings(max_examples=5, suppress_health_check=SLOW)
@given(data=st.data())
@pytest.mark.slow
def test_series_equal_exact_sgd_to_fourth_order(sampling, data):
    """All quantities, both bases, numbers and symbols for the sizes."""
    compare(data, sampling, order=4)
