"""Series with noise drawn anew at every use equal exact SGD, coefficient by coefficient."""

from functools import cache

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sympy import symbols

import feyngd as fd
from feyngd import CellDiagram
from feyngd.errors import ArgumentError, LandscapeError

QUANTITIES = ("test_loss", "train_loss", "gap")
SAMPLINGS = ("fixed", "reshuffled", "with-replacement", "full-batch", "explicit")
SPACETIMES = fd.testing.spacetimes(samplings=SAMPLINGS, max_points=2, max_steps=3, uneven=True)


@cache
def expanded(quantity, order, spacetime):
    return fd.expand(quantity, order=order, spacetime=spacetime, per_use_noise=True)


@pytest.mark.parametrize("quantity", QUANTITIES)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(data=st.data(), landscape=fd.testing.noisy_landscapes(), spacetime=SPACETIMES, order=st.integers(0, 3))
def test_series_are_those_of_the_oracle(quantity, data, landscape, spacetime, order):
    assume(int(spacetime.B) * int(spacetime.T) <= 4)
    theta = data.draw(fd.testing.points(landscape))
    exact = fd.testing.exact_series(quantity, landscape, theta, spacetime, order)
    assert fd.testing.ExactValues(landscape, theta).sum(expanded(quantity, order, spacetime)) == exact


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(data=st.data(), landscape=fd.testing.noisy_landscapes(), spacetime=SPACETIMES, order=st.integers(1, 3))
def test_series_with_optimizers_are_those_of_the_oracle(data, landscape, spacetime, order):
    assume(int(spacetime.B) * int(spacetime.T) <= 4)
    theta, optimizer = data.draw(fd.testing.points(landscape)), data.draw(fd.testing.optimizers(int(spacetime.T)))
    quantity = data.draw(st.sampled_from(QUANTITIES))
    series = fd.expand(quantity, order=order, spacetime=spacetime, optimizer=optimizer, per_use_noise=True)
    exact = fd.testing.exact_series(quantity, landscape, theta, spacetime, order, optimizer=optimizer)
    assert fd.testing.ExactValues(landscape, theta).sum(series) == exact


@settings(max_examples=30, deadline=None)
@given(data=st.data(), landscape=fd.testing.noisy_landscapes(kinds=[2]), order=st.integers(1, 3))
def test_series_for_a_given_training_set_are_those_of_the_oracle(data, landscape, order):
    uniform = fd.testing.NoisyLandscape([[landscape.flat.losses[i] for i in part] for part in landscape.numbers])
    theta, spacetime = data.draw(fd.testing.points(uniform)), fd.Spacetime.sgd(2, 1, 2)
    series = fd.expand("test_loss", order=order, spacetime=spacetime, reading="conditional", per_use_noise=True)
    options = {"reading": "conditional", "test": uniform.means}
    exact = fd.testing.exact_series("test_loss", uniform, theta, spacetime, order, **options)
    assert fd.testing.ExactValues(uniform, theta).sum(series) == exact


@settings(max_examples=30, deadline=None)
@given(data=st.data(), landscape=fd.testing.noisy_landscapes(), order=st.integers(0, 3))
def test_in_one_epoch_a_point_and_its_noise_are_one_datapoint(data, landscape, order):
    theta, spacetime = data.draw(fd.testing.points(landscape)), fd.Spacetime.sgd(3, 1, 1)
    plain = fd.expand("test_loss", order=order, spacetime=spacetime)
    with_cells = expanded("test_loss", order, spacetime)
    assert {diagram.without_cells: value for diagram, value in with_cells.items()} == dict(plain)
    assert fd.testing.ExactValues(landscape.flat, theta).sum(plain) == fd.testing.ExactValues(landscape, theta).sum(
        with_cells
    )


def test_a_wrong_coefficient_is_seen():
    """With the masks of a point kept in all epochs, two epochs are another series."""
    landscape = fd.testing.NoisyLandscape([[{(2,): 1, (1,): 2}, {(2,): 2, (1,): -1}]])
    spacetime = fd.Spacetime.sgd(2, 1, 2)
    anew = fd.testing.exact_series("test_loss", landscape, [1], spacetime, 2)
    kept = fd.testing.exact_series("test_loss", landscape.flat, [1], spacetime, 2)
    assert anew[:2] == kept[:2]
    assert anew[2] != kept[2]


def test_series_with_cells_are_written_and_read_back():
    series = fd.expand("gap", order=2, spacetime=fd.Spacetime.sgd(4, 2, 3), per_use_noise=True)
    assert series.has_cells
    assert fd.Series.from_json(series.to_json()) == series
    assert (series - series).of_order(2) == {}
    assert "a[a.1 a.2]" in str(series)
    assert r"\langle" in series.latex()
    names = [series.value_symbol(diagram).name for diagram in series]
    assert series.value_symbol(CellDiagram.parse("[a a]")) != series.value_symbol(CellDiagram.parse("[a.1 a.2]"))
    assert names.count("E_wgi_wgj_Hij") == 2  # of [a.1 a.2] and a[b[a]], whose values are equal


def test_series_with_and_without_cells_are_kept_apart():
    spacetime = fd.Spacetime.sgd(4, 2, 3)
    noisy = fd.expand("test_loss", order=2, spacetime=spacetime, per_use_noise=True)
    plain = fd.expand("test_loss", order=2, spacetime=spacetime)
    assert noisy != plain
    with pytest.raises(ArgumentError, match="they have no sum"):
        noisy + plain
    with pytest.raises(KeyError, match=r"use CellDiagram\.parse"):
        noisy[fd.Diagram.parse("[a a]")]
    with pytest.raises(KeyError, match=r"use Diagram\.parse"):
        plain[CellDiagram.parse("[a a]")]
    with pytest.raises(ArgumentError, match="diagrams of one kind"):
        fd.Series({CellDiagram.parse("[a]"): 1, fd.Diagram.parse("[a b]"): 1}, quantity="mine", order=2)
    with pytest.raises(ArgumentError, match="not re-summed"):
        fd.resum(noisy)
    with pytest.raises(ValueError, match="moments and no cumulants"):
        noisy.in_basis("cumulant")


def test_what_has_no_series_is_refused():
    options = {"order": 2, "spacetime": fd.Spacetime.sgd(4), "per_use_noise": True}
    with pytest.raises(ArgumentError, match="in moments"):
        fd.expand("test_loss", basis="cumulant", **options)
    with pytest.raises(ArgumentError, match="those of concrete spacetimes"):
        fd.expand(
            "test_loss",
            optimizer=fd.momentum(0.9),
            **{**options, "spacetime": fd.Spacetime.sgd(symbols("N", integer=True, positive=True))},
        )
    with pytest.raises(ArgumentError, match="not re-summed"):
        fd.expand("test_loss", resummed=True, **options)
    with pytest.raises(ArgumentError, match="4,964 diagrams with cells up to order 5"):
        fd.expand("test_loss", order=5, spacetime=fd.Spacetime.sgd(4), per_use_noise=True, limit=4000)


def test_what_is_no_landscape_with_noise_is_refused():
    with pytest.raises(LandscapeError, match="at least one loss for a use"):
        fd.testing.NoisyLandscape([[{(1,): 1}], []])
    landscape = fd.testing.NoisyLandscape([[{(2,): 1}, {(1,): 2}]])
    with pytest.raises(ArgumentError, match="Diagrams with cells have values on a NoisyLandscape"):
        fd.testing.ExactValues(landscape, [1]).moment(fd.Diagram.parse("[a]"))
    with pytest.raises(ArgumentError, match="Diagrams with cells have values on a NoisyLandscape"):
        fd.testing.ExactValues(landscape.flat, [1]).moment(CellDiagram.parse("[a]"))
    many = fd.testing.NoisyLandscape([[{(2,): 1}, {(1,): 2}, {(2,): 3}]] * 3)
    with pytest.raises(ArgumentError, match="outcomes of noise"):
        fd.testing.exact_series("test_loss", many, [1], fd.Spacetime.gd(4, 6), 2)
