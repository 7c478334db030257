"""Running experiments: verdicts, what is left on disk, and what is refused before anything runs."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import feyngd as fd
from feyngd.drawing import new_figure
from feyngd.experiments import EXPERIMENTS, Experiment, Finding, Outcome, Setting, reproduce
from feyngd.experiments._verdicts import agreement

NAMES = {
    "basic-predictions",
    "multi-epoch",
    "batch-size",
    "emulated-batches",
    "gap-growth",
    "linear-screw",
    "cubic-valley",
    "gauss-fit",
    "sharp-and-flat",
    "stic-selection",
    "curved-space",
    "averaging-gap-law",
    "averaging-loss-spread",
    "averaging-spikes",
    "averaging-drawings",
    "shift-curvature-line",
    "shift-curvature-temperature",
    "shift-basins",
    "shift-temperature",
    "shift-sampling",
    "limiting-displacement",
    "limiting-phase",
    "limiting-isotropy",
    "limiting-oscillations",
    "limiting-sweep",
    "limiting-window",
    "limiting-potentials",
    "noise-shape",
    "noise-against-hessian",
    "escape-styblinski-tang",
    "escape-sgld",
    "escape-logistic",
    "escape-mlp",
}
IMAGES = (np.zeros((3, 4, 4), np.float32), np.array([0, 1, 2]))


def outcome(holds: bool = True) -> Outcome:
    figure, axes = new_figure()
    axes[0, 0].plot([0, 1], [0, 1])
    finding = agreement("one is one", 1.0, 1.0 if holds else 2.0, stderr=0.1)
    return Outcome([finding], {"curve": np.array([1.0, math.inf]), "spacetime": "reshuffled"}, figure)


@pytest.fixture
def fakes() -> Iterator[dict[str, Setting]]:
    """Three experiments that compute nothing instead of the real ones; settings they ran with are returned by name."""
    seen: dict[str, Setting] = {}

    def fake(name: str, holds: bool) -> Experiment:
        def run(setting: Setting) -> Outcome:
            seen[name] = setting
            if name == "stopped":
                raise KeyboardInterrupt
            return outcome(holds)

        return Experiment(name, f"what {name} shows", "a paper, section 1", run)

    known = {name: fake(name, holds) for name, holds in (("right", True), ("wrong", False), ("stopped", True))}
    with mock.patch.dict(EXPERIMENTS, known, clear=True):  # which puts them back in their order
        yield seen


def test_all_experiments_are_there() -> None:
    assert {*EXPERIMENTS} == NAMES
    for name, one in EXPERIMENTS.items():
        assert one.name == name
        assert one.title
        assert "section" in one.source or "appendix" in one.source


@pytest.mark.parametrize(
    ("prediction", "simulation", "options", "holds"),
    [
        (1.0, 1.29, {"stderr": 0.1}, True),
        (1.0, 1.31, {"stderr": 0.1}, False),
        (1.0, 1.31, {"stderr": 0.1, "within": 0.02}, True),
        (1.0, 1.31, {"stderr": 0.0, "relative": 0.25}, True),
        (1.0, 0.6, {"stderr": 0.1}, False),
        (math.nan, 1.0, {"stderr": 0.1}, False),
        (1.0, math.inf, {"stderr": math.inf}, False),
    ],
)
def test_agreement_allows_three_standard_errors_and_the_truncation(prediction, simulation, options, holds) -> None:
    found = agreement("close", prediction, simulation, **options)
    assert found.holds is holds
    assert str(found).startswith("holds " if holds else "DOES NOT HOLD ")


def test_files_say_what_came_out(fakes, tmp_path: Path) -> None:
    told: list[str] = []
    outcomes = reproduce(["right", "wrong", "right"], tmp_path / "new", images=IMAGES, report=told.append, seed=7)
    assert {name: one.holds for name, one in outcomes.items()} == {"right": True, "wrong": False}
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        *("right.json", "right.png", "wrong.json", "wrong.png")
    ]
    assert (tmp_path / "new" / "wrong.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((tmp_path / "new" / "wrong.json").read_text())
    (finding,) = record.pop("findings")
    assert finding["claim"] == "one is one"
    assert finding["holds"] is False
    assert finding["numbers"]["simulation"] == 2
    assert record == {
        "experiment": "wrong",
        "title": "what wrong shows",
        "source": "a paper, section 1",
        "quick": False,
        "seed": 7,
        "version": fd.__version__,
        "verdict": False,
        "data": {"curve": [1.0, None], "spacetime": "reshuffled"},
    }
    assert len(told) == 2
    assert "holds          one is one" in told[0]
    assert "DOES NOT HOLD  one is one: prediction 1, simulation 2" in told[1]
    assert str(tmp_path / "new" / "wrong") in told[1]


def test_settings_reach_the_experiment(fakes, tmp_path: Path) -> None:
    reproduce("right", tmp_path, images=IMAGES, quick=True)
    assert fakes["right"].quick
    assert fakes["right"].images[0].shape == (3, 4, 4)
    reproduce("right", tmp_path)
    assert fakes["right"].images[0].shape == (500, 8, 8)


def test_an_interruption_leaves_what_was_finished(fakes, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        reproduce("all", tmp_path, images=IMAGES)
    assert [*fakes] == ["right", "wrong", "stopped"]
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["right.json", "wrong.json"]
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"names": ["right", "left"]}, "Unknown experiment 'left'; there are right, wrong, stopped"),
        ({"names": ["all", "left"]}, "Unknown experiment 'left'"),
        ({"seed": -1}, "The seed is an integer"),
        ({"seed": 2**32}, "The seed is an integer"),
        ({"seed": True}, "The seed is an integer"),
        ({"images": (np.zeros((3, 4)), np.zeros(3, int))}, "(M, height, width)"),
        ({"images": (np.zeros((3, 4, 4)), np.zeros(2, int))}, "(M, height, width)"),
        ({"images": (np.zeros((3, 4, 4)), np.zeros(3))}, "labels of dtype float64"),
        ({"images": (np.zeros((1, 4, 4)), np.array([10]))}, "labels are from 0 to 9"),
        ({"images": (np.zeros((0, 4, 4)), np.zeros(0, int))}, "at least one image"),
        ({"out": "file/below"}, "Cannot write to"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(fakes, tmp_path: Path, arguments, says) -> None:
    (tmp_path / "file").write_text("in the way")
    given = {"names": ["right"], "out": "out", "images": IMAGES, **arguments}
    with pytest.raises(fd.ArgumentError) as caught:
        reproduce(given.pop("names"), tmp_path / given.pop("out"), **given)
    assert says in str(caught.value)
    assert not fakes


def test_an_outcome_holds_if_all_its_findings_do() -> None:
    good, bad = Finding("good", True, {}), Finding("bad", False, {"x": math.nan})
    figure, _ = new_figure()
    assert Outcome([good, good], {}, figure).holds
    both = Outcome([good, bad], {}, figure)
    assert not both.holds
    assert both.to_dict()["findings"][1] == {"claim": "bad", "holds": False, "numbers": {"x": None}}
