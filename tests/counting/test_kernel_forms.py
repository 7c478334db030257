"""Closed forms with optimizers, against sums over steps."""

from fractions import Fraction as F

import pytest
import sympy as sp

import feyngd as fd
from feyngd.counting import kernel_count

N, B, E, T = sp.symbols("N B E T", integer=True, positive=True)
BETA, RHO = sp.symbols("b r")
SCHEMES = [
    (fd.Spacetime.sgd(N, B, 1), {N: 4, B: 2}),
    (fd.Spacetime.sgd(N, B, 2), {N: 4, B: 2}),
    (fd.Spacetime.sgd(N, B, E), {N: 4, B: 2, E: 3}),
    (fd.Spacetime.sgd(N, B, E, sampling="fixed"), {N: 4, B: 2, E: 3}),
    (fd.Spacetime.gd(N, T), {N: 3, T: 4}),
    (fd.Spacetime.sgd(N, B, T=T, sampling="with-replacement"), {N: 3, B: 2, T: 4}),
    (fd.Spacetime.sgd(N, B, E, sampling="with-replacement"), {N: 4, B: 2, E: 2}),
]
OPTIMIZERS = {
    "momentum": lambda beta, rho: fd.momentum(beta),
    "Nesterov": lambda beta, rho: fd.momentum(beta, nesterov=True),
    "damped": lambda beta, rho: fd.momentum(beta, dampening=F(1, 3), classical=True),
    "averaged": lambda beta, rho: fd.averaged(fd.sgd(), ema=rho),
    "averaged momentum": lambda beta, rho: fd.averaged(fd.momentum(beta), ema=rho),
}


@pytest.mark.parametrize(("scheme", "sizes"), SCHEMES, ids=lambda one: str(one))
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_closed_forms_are_sums_over_steps(kind: str, scheme: fd.Spacetime, sizes: dict) -> None:
    symbolic, exact = OPTIMIZERS[kind](BETA, RHO), OPTIMIZERS[kind](F(1, 2), F(1, 3))
    # Two memories over any number of epochs take minutes where two edges have a time each.
    is_long = kind == "averaged momentum" and E in scheme.symbols and scheme.sampling != "with-replacement"
    for diagram in ("[]", "[a]", "[a[a]]") if is_long else ("[]", "[a]", "[a a]", "[a[b]]", "[a[a]]"):
        for basis in ("moment", "cumulant"):
            _agree(fd.Diagram.parse(diagram), scheme, sizes, symbolic, exact, basis)


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "sizes"), SCHEMES[:1] + SCHEMES[4:6], ids=lambda one: str(one))
@pytest.mark.parametrize("kind", ["momentum", "Nesterov"])
def test_closed_forms_of_order_3_are_sums_over_steps(kind: str, scheme: fd.Spacetime, sizes: dict) -> None:
    symbolic, exact = OPTIMIZERS[kind](BETA, RHO), OPTIMIZERS[kind](F(1, 2), F(1, 3))
    for diagram in fd.diagrams(3):
        _agree(diagram, scheme, sizes, symbolic, exact, "moment")


def _agree(diagram, scheme, sizes, symbolic, exact, basis) -> None:
    form = kernel_count(diagram, scheme, symbolic, basis=basis)
    numbers = {BETA: sp.Rational(1, 2), RHO: sp.Rational(1, 3)}
    at_sizes = form.subs({size: value for size, value in sizes.items() if size in scheme.symbols})
    expected = kernel_count(diagram, scheme.subs(sizes), exact, basis=basis)
    assert sp.cancel(at_sizes.subs(numbers) - expected) == 0, (diagram, basis)


def test_what_has_no_closed_form_asks_for_numbers() -> None:
    diagram, scheme = fd.Diagram.parse("[a]"), fd.Spacetime.sgd(N)
    for optimizer in (fd.schedule([1, 2]), fd.momentum(BETA, dampening=F(1, 2)), fd.averaged(fd.sgd(), tail=2)):
        with pytest.raises(fd.ArgumentError, match=r"steps that are all alike.*Give numbers for N"):
            fd.count_embeddings(diagram, scheme, optimizer=optimizer)
    with pytest.raises(fd.ArgumentError, match=r"equals the momentum's β = 1/2, where the closed form is 0/0"):
        fd.count_embeddings(diagram, scheme, optimizer=fd.averaged(fd.momentum(F(1, 2)), ema=F(1, 2)))
