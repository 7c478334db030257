"""Advice and figures of anchored runs."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.anchoring import Advice, anchored_for_advice
from feyngd.studies import anchor_study


@pytest.fixture(scope="module")
def anchored():
    with jax.enable_x64(True):
        landscape = fd.Landscape(lambda theta, x: (theta - x) ** 2 / 2, np.array([-1.0, 0.0, 1.0]))
        options = {"learning_rate": 0.1, "num_samples": 64, "truncation_samples": 2, "key": jax.random.key(0)}
        return fd.anchor(landscape, jnp.array(2.0), steps=16, epoch_lengths=[2, 4, 8], fixed_order=True, **options)


def test_advice_is_ranked_and_exact_on_quadratics(anchored):
    planned = fd.Spacetime.sgd(8, 2, 2)
    found, untold = fd.advise(anchored, planned)
    assert all(isinstance(one, Advice) for one in found)
    effects = [one.effect.value for one in found]
    assert effects == sorted(effects)
    assert untold == []
    for one in found:
        other, base = anchored.predict(one.spacetime), anchored.predict(planned)
        assert one.effect.value == pytest.approx(other.mean[-1] - base.mean[-1], rel=1e-9)
        assert one.change in str(one)
    by_change = {one.change: one for one in found}
    assert by_change["batches of 1 instead of 2"].spacetime == fd.Spacetime.sgd(8, 1, 2)
    # Far from the minimum more steps are worth more than less noise.
    assert effects[0] == by_change["batches of 1 instead of 2"].effect.value < 0


def test_advice_has_the_truncation_figures_of_both_runs(anchored):
    rng = np.random.default_rng(0)
    third, fourth = ({ties: rng.normal(size=(4, 17)) for ties in anchored.second} for _ in range(2))
    made, planned = replace(anchored, third=third, fourth=fourth), fd.Spacetime.sgd(8, 2, 2)
    found, _ = fd.advise(made, planned)
    ours = made.predict(planned).truncation[-1]
    assert ours > 0
    for one in found:
        assert one.truncation == pytest.approx(np.hypot(made.predict(one.spacetime).truncation[-1], ours))


def test_what_cannot_be_told_is_said(anchored):
    _, untold = fd.advise(anchored, fd.Spacetime.sgd(24, 3, 2), factor=3)
    assert any("batches of 1 instead of 3" in line and "16 were anchored" in line for line in untold)


def test_advice_refuses_full_batches(anchored):
    with pytest.raises(fd.ArgumentError, match="reshuffled"):
        fd.advise(anchored, fd.Spacetime.gd(4, 4))
    with pytest.raises(fd.ArgumentError, match="factor"):
        fd.advise(anchored, fd.Spacetime.sgd(8, 2, 2), factor=1)


def test_curves_and_contributions_are_drawn(anchored):
    curve = anchored.predict(N=8, B=2, E=4, quantity="train_loss")
    ax = curve.plot()
    assert ax.get_xlabel() == "step t"
    assert len(ax.lines) == 2
    parts = curve.plot_contributions()
    assert [line.get_label() for line in parts.lines[:3]] == ["minibatch noise", "finite data", "gap"]


@pytest.mark.slow
def test_a_study_writes_what_it_finds(tmp_path):
    landscape, params = fd.landscapes.toys.cosh()
    spacetimes = [fd.Spacetime.sgd(8, 2, 2), fd.Spacetime.sgd(4, 1, 2)]
    told = []
    curves = anchor_study(
        landscape, params + 1.0, spacetimes, 0.1, tmp_path, runs=400, report=told.append, key=jax.random.key(0)
    )
    assert [curve.agrees for curve in curves] == [True, True]
    assert len(told) == 2
    assert (tmp_path / "anchor.png").read_bytes().startswith(b"\x89PNG")
    assert '"complete": true' in (tmp_path / "anchor.json").read_text()
    with pytest.raises(fd.ArgumentError, match="one number of steps"):
        anchor_study(landscape, params, [*spacetimes, fd.Spacetime.sgd(4)], 0.1, tmp_path, key=jax.random.key(0))


@pytest.mark.slow
def test_what_advice_needs_is_anchored():
    landscape, params = fd.landscapes.toys.cosh()
    planned = fd.Spacetime.sgd(8, 2, 2)
    needed = anchored_for_advice(planned)
    assert needed == {"steps": 16, "epoch_lengths": [2, 4, 8], "fixed_order": True}
    made = fd.anchor(landscape, params, learning_rate=0.1, num_samples=4, key=jax.random.key(0), **needed)
    found, untold = fd.advise(made, planned)
    assert len(found) == 6
    assert untold == []
    assert anchored_for_advice(fd.Spacetime.sgd(9, 3, 1), factor=3)["epoch_lengths"] == [1, 3, 9]
    with pytest.raises(fd.ArgumentError, match="factor is an integer ≥ 2, got 0"):
        anchored_for_advice(planned, factor=0)
