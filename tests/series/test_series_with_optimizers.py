"""Series with optimizers and in the conditional reading, against the oracle."""

from fractions import Fraction as F

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import feyngd as fd
from feyngd.series import expand_curve
from feyngd.testing import ExactValues, PolynomialLandscape, exact_series, landscapes, optimizers, points, spacetimes

N, B, E, T = sp.symbols("N B E T", integer=True, positive=True)
BETA = sp.Symbol("beta")
TRAIN = PolynomialLandscape(
    [
        {(2,): 1, (1,): 1, (3,): F(1, 2)},
        {(2,): F(1, 2), (1,): -1},
        {(3,): -1, (2,): 1},
        {(1,): 2, (2,): 2, (4,): F(1, 3)},
    ]
)
TEST = PolynomialLandscape([{(3,): F(1, 3), (2,): 1, (1,): F(-1, 2)}, {(2,): 3}])


@pytest.mark.slow
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_series_are_those_of_the_oracle(data) -> None:
    """Any spacetime, uneven and cut ones too, and any optimizer, to order 3."""
    spacetime = data.draw(spacetimes(uneven=True))
    optimizer = data.draw(optimizers(int(spacetime.T)))
    landscape = data.draw(landscapes())
    quantity = data.draw(st.sampled_from(["test_loss", "train_loss", "gap"]))
    theta = data.draw(points(landscape))
    order = 3 if spacetime.T <= 4 else 2
    expected = exact_series(quantity, landscape, theta, spacetime, order, optimizer=optimizer)
    series = fd.expand(quantity, order=order, spacetime=spacetime, optimizer=optimizer)
    assert ExactValues(landscape, theta).sum(series) == expected


def conditional_values(series: fd.Series, theta: list[F], measured: PolynomialLandscape) -> tuple[F, ...]:
    """Return Σ coefficient · value by order, the root a derivative of another landscape's mean loss.

    The root's loss is added to the training losses as one more kind, to which only the root may be assigned.
    """
    losses = [*TRAIN.losses, _mean(measured)]
    both = ExactValues(PolynomialLandscape(losses, [F(1, len(losses))] * len(losses)), theta)
    total = [F(0)] * (series.order + 1)
    for diagram, coefficient in series.items():
        parts = len(diagram.parts) - 1
        kinds = [range(len(TRAIN.losses))] * parts
        value = F(0)
        for chosen in np.ndindex(*map(len, kinds)):
            assigned = (len(losses) - 1, *chosen)
            value += both._contract(diagram, 0, [assigned[label] for label in diagram.labels]).item()
        weight = F(int(coefficient.p), int(coefficient.q))
        total[diagram.order] += weight * value / len(TRAIN.losses) ** parts
    return tuple(total)


def _mean(landscape: PolynomialLandscape) -> dict:
    mean: dict = {}
    for weight, loss in zip(landscape.weights, landscape.losses, strict=True):
        for exponents, value in loss.items():
            mean[exponents] = mean.get(exponents, F(0)) + weight * value
    return mean


SCHEMES = [
    (fd.Spacetime.sgd(N, B, 1), fd.Spacetime.sgd(4, 2)),
    (fd.Spacetime.sgd(N, 1, E), fd.Spacetime.sgd(4, 4)),
    (fd.Spacetime.gd(N, T), fd.Spacetime.gd(4, 3)),
    (
        fd.Spacetime.sgd(N, 1, T=T, sampling="with-replacement"),
        fd.Spacetime.sgd(4, 1, T=3, sampling="with-replacement"),
    ),
]


@pytest.mark.parametrize(("scheme", "concrete"), SCHEMES, ids=str)
@pytest.mark.parametrize("optimizer", [fd.sgd(), fd.momentum(F(1, 2))], ids=str)
def test_the_conditional_reading_is_that_of_the_oracle(scheme, concrete, optimizer) -> None:
    theta = [F(1, 2)]
    for quantity, measured in (("test_loss", TEST), ("train_loss", TRAIN)):
        series = fd.expand(
            quantity, order=3, spacetime=concrete, basis="moment", reading="conditional", optimizer=optimizer
        )
        expected = exact_series(
            quantity, TRAIN, theta, concrete, 3, reading="conditional", test=TEST, optimizer=optimizer
        )
        assert conditional_values(series, theta, measured) == expected
    if optimizer.is_plain and concrete.B != concrete.N:
        closed = fd.expand("test_loss", order=2, spacetime=scheme, reading="conditional")
        numbers = {str(symbol): getattr(concrete, str(symbol)) for symbol in scheme.symbols}
        assert closed.subs(numbers) == fd.expand("test_loss", order=2, spacetime=concrete, reading="conditional")


def test_batches_without_replacement_are_anticorrelated_given_the_training_set() -> None:
    """Of W = (1/B)(N − B)/(N − 1) at one step and −1/(N − 1) across an epoch, the tied chain has the latter."""
    series = fd.expand("test_loss", order=2, spacetime=fd.Spacetime.sgd(N, B), basis="cumulant", reading="conditional")
    tied = series[fd.Diagram.parse("[a[a]]")]
    assert sp.cancel(tied + (N / B) * (N / B - 1) / 2 / (N - 1)) == 0
    assert series[fd.Diagram.parse("[a a]")] == 0  # one epoch: all batches together are the training set


def test_conditional_series_need_points_that_are_alike() -> None:
    with pytest.raises(fd.ArgumentError, match=r"with fixed batches.*use sampling='reshuffled'"):
        fd.expand("test_loss", order=1, spacetime=fd.Spacetime.sgd(4, sampling="fixed"), reading="conditional")
    with pytest.raises(fd.ArgumentError, match=r"'population', 'conditional'"):
        fd.expand("test_loss", order=1, spacetime=fd.Spacetime.sgd(4), reading="unbiased")


def test_momentum_acts_as_a_larger_rate_at_leading_order() -> None:
    """At β the coefficient of η^k is (1 − β)^−k times that of plain SGD, to leading order in T."""
    plain = fd.expand("test_loss", order=2, spacetime=fd.Spacetime.gd(N, T), basis="cumulant")
    heavy = fd.expand(
        "test_loss", order=2, spacetime=fd.Spacetime.gd(N, T), basis="cumulant", optimizer=fd.momentum(BETA)
    )
    for diagram in plain:
        ratio = (heavy[diagram] / plain[diagram]).subs(BETA, sp.Rational(9, 10)) * sp.Rational(1, 10) ** diagram.order
        assert abs(float(ratio.subs({T: 10**5, N: 7})) - 1) < 1e-3


def test_series_say_their_optimizer_and_keep_it() -> None:
    series = fd.expand("gap", order=1, spacetime=fd.Spacetime.sgd(10), optimizer=fd.momentum(BETA))
    assert str(series).startswith("gap to order η^1, moment basis, reshuffled, N=10, B=1, E=1, momentum β=beta")
    half = series.subs({"beta": F(1, 2)})
    assert half.optimizer == fd.momentum(F(1, 2))
    assert half == fd.expand("gap", order=1, spacetime=fd.Spacetime.sgd(10), optimizer=fd.momentum(F(1, 2)))
    again = fd.Series.from_json(series.to_json())
    assert (dict(again), again.optimizer) == (dict(series), series.optimizer)
    assert fd.resum(series).subs({"beta": F(1, 2)}) == fd.resum(half)
    assert fd.resum(half).optimizer == half.optimizer
    with pytest.raises(fd.ArgumentError, match="has the symbols beta"):
        fd.resum(series).coefficient(fd.Diagram.parse("a[a]"), [1], 0.1)
    with pytest.raises(fd.ArgumentError, match="The integral form is that of plain SGD"):
        fd.resum(half, form="integral")
    with pytest.raises(fd.ArgumentError, match="An optimizer is made by"):
        fd.expand("gap", order=1, spacetime=fd.Spacetime.sgd(10), optimizer="momentum")


def test_uneven_series_are_kept_as_text() -> None:
    series = fd.expand("test_loss", order=2, spacetime=fd.Spacetime.sgd(5, 2, T=4, drop_last=False))
    again = fd.Series.from_json(series.to_json())
    assert again == series
    assert again.spacetime == series.spacetime


@pytest.mark.parametrize("quantity", ["test_loss", "train_loss", "gap"])
def test_curves_end_as_series_do(quantity: str) -> None:
    spacetime, optimizer = fd.Spacetime.sgd(7, 3, T=5, drop_last=False), fd.momentum(0.9, nesterov=True)
    curve = expand_curve(quantity, order=3, spacetime=spacetime, optimizer=optimizer)
    series = fd.expand(quantity, order=3, spacetime=spacetime, optimizer=optimizer)
    assert set(series) <= set(curve)
    for diagram, coefficients in curve.items():
        assert coefficients[-1] == pytest.approx(float(series[diagram]), rel=1e-12, abs=1e-14)
        assert coefficients[0] == (1.0 if diagram.order == 0 and quantity != "gap" else 0.0) or diagram.order == 0
    with pytest.raises(fd.ArgumentError, match="measured at the iterates"):
        expand_curve(quantity, order=1, spacetime=spacetime, optimizer=fd.averaged(optimizer, ema=0.5))
