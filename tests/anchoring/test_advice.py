"""Advice and figures of anchored runs."""

import json
from dataclasses import replace
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.anchoring import Advice, anchored_for_advice
from feyngd.anchoring._advise import _changes
from feyngd.progress import Progress
from feyngd.studies import anchor_study


class Noted(Progress):
    """Progress that keeps what is noted."""

    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


def square(theta, x):
    return (theta - x) ** 2 / 2


@pytest.fixture(scope="module")
def anchored():
    with jax.enable_x64(True):
        landscape = fd.Landscape(square, np.array([-1.0, 0.0, 1.0]))
        options = {"learning_rate": 0.1, "num_samples": 64, "truncation_samples": 2, "key": jax.random.key(0)}
        return fd.anchor(landscape, jnp.array(2.0), steps=16, epoch_lengths=[2, 4, 8], fixed_order=True, **options)


def test_advice_is_ranked_and_exact_on_quadratics(anchored):
    planned = fd.Spacetime.sgd(8, 2, 2)
    found = fd.advise(anchored, planned)
    assert all(isinstance(one, Advice) for one in found)
    effects = [one.effect.value for one in found]
    assert effects == sorted(effects)
    assert found.unpredicted == {}
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
    found = fd.advise(made, planned)
    ours = made.predict(planned).truncation[-1]
    assert ours > 0
    for one in found:
        assert one.truncation == pytest.approx(np.hypot(made.predict(one.spacetime).truncation[-1], ours))


def test_what_cannot_be_told_is_said(anchored):
    found = fd.advise(anchored, fd.Spacetime.sgd(24, 3, 2), factor=3)
    assert "16 were anchored" in found.unpredicted["batches of 1 instead of 3"]
    assert "cannot be predicted: batches of 1 instead of 3: " in str(found)


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


def test_a_table_is_printed_drawn_and_kept(anchored, tmp_path):
    found = fd.advise(anchored, fd.Spacetime.sgd(8, 2, 2))
    assert (len(found), found[0], found.evaluations) == (6, next(iter(found)), 16)
    lines = str(found).splitlines()
    assert lines[0] == f"planned: {str(found.planned).splitlines()[0]}"
    (best,) = (line for line in lines if "batches of 1 instead of 2" in line)
    assert f"{found[0].effect.value:+.3g}" in best
    assert best.split()[-3:-1] == ["16", "8"] or best.split()[-2:] == ["16", "8"]
    assert "<td>batches of 1 instead of 2</td>" in found._repr_html_()
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert record["changes"][0]["steps"] == 16
    assert {change["evaluations"] for change in record["changes"]} == {16}
    found.save(tmp_path / "advice.npz")
    again = fd.AdviceTable.load(tmp_path / "advice.npz")
    assert str(again) == str(found)
    ax = found.plot()
    assert [text.get_text() for text in ax.texts][::2] == [one.change for one in found]


def test_effects_are_unclear_within_their_errors(anchored):
    row = fd.advise(anchored, fd.Spacetime.sgd(8, 2, 2))[0]
    size, error = abs(row.effect.value), row.effect.stderr
    assert replace(row, truncation=size - 2 * error - 1e-9).is_clear
    assert not replace(row, truncation=size - 2 * error + 1e-9).is_clear
    unknown = replace(row, truncation=float("nan"))
    assert not unknown.is_clear
    assert unknown.to_dict()["truncation"] is None


SMALL = {"num_samples": 4, "truncation_samples": 0, "control_directions": 0, "key": jax.random.key(0)}


@pytest.mark.slow
def test_advice_anchors_what_it_needs_and_says_how_long_it_takes():
    landscape, params = fd.landscapes.toys.cosh()
    noted = Noted()
    found = fd.advise(landscape, params, fd.Spacetime.sgd(8, 2, 2), 0.1, progress=noted, **SMALL)
    assert len(found) == 6
    assert found.unpredicted == {}
    (line,) = noted.lines
    assert line.startswith("advice on reshuffled, N=8, B=2, E=2: about ")


def test_the_number_of_points_does_not_change_where_they_are_the_data():
    landscape = fd.Landscape(square, np.arange(4.0), np.arange(3.0), reading="conditional")
    found = fd.advise(landscape, jnp.array(2.0), fd.Spacetime.sgd(4, 2, 2), 0.1, **SMALL)
    assert {row.change for row in found} == {
        "batches of 4 instead of 2",
        "batches of 1 instead of 2",
        "with-replacement batches",
    }
    assert "fixed batches in the conditional reading" in found.unpredicted["fixed batches"]


@pytest.mark.slow
def test_a_schedule_has_a_learning_rate_for_every_step():
    landscape, params = fd.landscapes.toys.cosh()
    rates = np.linspace(0.2, 0.05, 8)
    found = fd.advise(landscape, params, fd.Spacetime.sgd(8, 2, 2), rates, **SMALL)
    assert found.planned.times[-1] == 8
    assert list(found.unpredicted) == ["batches of 1 instead of 2"]
    assert "it makes 16 steps, and there are 8 learning rates" in found.unpredicted["batches of 1 instead of 2"]


@pytest.mark.parametrize(
    ("given", "options", "match"),
    [
        ((fd.Spacetime.sgd(8, 2, 2), 0.1), {"within": 0}, "within is a share of the effect"),
        ((fd.Spacetime.sgd(8, 2, 2), 0.1), {"within": True}, "within is a share of the effect"),
        ((fd.Spacetime.sgd(8, 2, 2), 0.1), {"num_samples": 1}, "num_samples is an integer ≥ 2"),
        ((fd.Spacetime.sgd(8, 2, 2), 0.1), {"key": None}, "give key="),
        ((fd.Spacetime.sgd(8, 2, 2), None), {}, "Give the learning rate"),
        ((fd.Spacetime.sgd(8, 2, 2), [0.1, 0.2]), {}, "one for each of"),
        ((None, 0.1), {}, "Advice is on runs of"),
    ],
    ids=str,
)
def test_what_advice_refuses_before_it_works(given, options, match):
    landscape, params = fd.landscapes.toys.cosh()
    with pytest.raises(fd.ArgumentError, match=match):
        fd.advise(landscape, params, *given, **(SMALL | options))


def test_a_dropped_batch_stays_dropped(anchored):
    """Epochs of 9 points in batches of 2 have the steps of 8 points, and other training sets."""
    planned = fd.Spacetime.sgd(9, 2, 2, drop_last=True)
    found = fd.advise(anchored, planned)
    assert found.planned.spacetime == planned
    (larger,) = (row for row in found if row.change == "batches of 4 instead of 2")
    assert larger.spacetime == fd.Spacetime.sgd(9, 4, T=4, drop_last=True)
    (drawn,) = (row for row in found if row.change == "with-replacement batches")
    assert drawn.spacetime == fd.Spacetime.sgd(9, 2, T=8, sampling="with-replacement")


def test_epochs_that_end_with_a_smaller_batch():
    """Every change takes the same number of evaluations; its epochs end with a smaller batch where there is a rest."""
    planned = fd.Spacetime.sgd(7, 2, 2, drop_last=False)
    found = {change.text: change.run for change in _changes("population", planned, 2)}
    assert found == {
        "batches of 4 instead of 2": fd.Spacetime.sgd(7, 4, T=4, drop_last=False),
        "batches of 1 instead of 2": fd.Spacetime.sgd(7, 1, T=14),
        "14 training points instead of 7, fewer epochs": fd.Spacetime.sgd(14, 2, T=7),
        "with-replacement batches": fd.Spacetime.sgd(7, 2, T=7, sampling="with-replacement"),
        "fixed batches": fd.Spacetime.sgd(7, 2, T=8, sampling="fixed", drop_last=False),
    }
    assert {sum(run.batch_sizes()) for run in found.values()} == {14}
    cut = {c.text: c.run for c in _changes("population", fd.Spacetime.sgd(7, 2, T=5, drop_last=False), 2)}
    assert cut["fixed batches"].batch_sizes() == (2, 2, 2, 1, 2)  # 9 evaluations
    assert str(cut["batches of 4 instead of 2"]) == "9 evaluations are not a whole number of its batches of 4."
    with pytest.warns(DeprecationWarning, match="advise"), pytest.raises(fd.ArgumentError, match="leave them out"):
        anchored_for_advice(planned)


@pytest.mark.slow
def test_advice_on_smaller_last_batches():
    """Without noise in the path, on a quadratic, all that a change does is what its noise adds at the end."""
    planned, rate, steps = fd.Spacetime.sgd(3, 2, 2, drop_last=False), 0.1, 4
    with jax.enable_x64(True):
        landscape = fd.Landscape(square, np.array([-1.0, 0.0, 1.0]))
        found = fd.advise(landscape, jnp.array(0.0), planned, rate, **{**SMALL, "num_samples": 4096})
        (fixed,) = (row for row in found if row.change == "fixed batches")
        effect = 0.0
        for sampling, sign in (("fixed", 1), ("reshuffled", -1)):
            run = fd.Spacetime.sgd(3, 2, 2, sampling=sampling, drop_last=False)
            # θ_T = η Σ_t (1 − η)^(T−1−t) x̄_t, whose square is summed over all orders; the test loss is half of it.
            effect += sign * _mean_square(run, rate, steps) / 2
    assert found.evaluations == fixed.evaluations == 6
    assert fixed.effect.stderr < effect / 2
    assert abs(fixed.effect.value - effect) < 4 * fixed.effect.stderr


def _mean_square(run, rate, steps):
    """Return E θ_T², by adding up the shares of every training point in all orders; E x² = 2/3, E x = 0."""
    orders = list(permutations(range(3)))
    total = 0.0
    for first in orders:
        for second in [first] if run.sampling == "fixed" else orders:
            shares = np.zeros(3)
            batches = [first[:2], first[2:], second[:2], second[2:]]
            for step, batch in enumerate(batches):
                shares[list(batch)] += rate * (1 - rate) ** (steps - 1 - step) / len(batch)
            total += 2 / 3 * (shares**2).sum() / len(orders) / (1 if run.sampling == "fixed" else len(orders))
    return total


def test_functionals_take_no_start(anchored):
    with pytest.raises(fd.ArgumentError, match=r"give advise\(anchored, spacetime\) no more"):
        fd.advise(anchored, fd.Spacetime.sgd(8, 2, 2), key=jax.random.key(0))


def test_the_old_way_to_anchor_for_advice_still_works():
    planned = fd.Spacetime.sgd(8, 2, 2)
    with pytest.warns(DeprecationWarning, match="use feyngd.advise instead"):
        needed = anchored_for_advice(planned)
    assert needed == {"steps": 16, "epoch_lengths": [2, 4, 8], "fixed_order": True}
    with (
        pytest.warns(DeprecationWarning, match="anchored_for_advice"),
        pytest.raises(fd.ArgumentError, match="factor is an integer ≥ 2, got 0"),
    ):
        anchored_for_advice(planned, factor=0)
