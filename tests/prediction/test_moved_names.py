"""Public names at their old places, which give the same objects."""

from importlib import import_module

import pytest

import feyngd as fd
from feyngd import evaluation, kinks, landscapes, studies


@pytest.mark.parametrize(
    "name",
    [
        "ResummedPrediction",
        "SDESimulation",
        "Simulation",
        "TruncationWarning",
        "simulate",
        "simulate_sde",
        "study",
        "sweep",
    ],
)
def test_what_was_in_prediction(name):
    with pytest.warns(DeprecationWarning, match=rf"feyngd\.prediction\.{name} is deprecated .* use feyngd\.{name} "):
        assert getattr(import_module("feyngd.prediction"), name) is getattr(fd, name)


def test_the_check_of_the_highest_order():
    prediction = import_module("feyngd.prediction")
    with pytest.warns(DeprecationWarning, match="check_highest_order"):
        assert prediction.check_order is prediction.check_highest_order


@pytest.mark.parametrize("name", ["Curve", "anchor_study"])
def test_what_was_in_anchoring(name):
    with pytest.warns(DeprecationWarning, match=rf"use feyngd\.studies\.{name} "):
        assert getattr(import_module("feyngd.anchoring"), name) is getattr(studies, name)


def test_what_stays_where_it_was():
    assert evaluation.Estimate is fd.Estimate
    assert evaluation.PrecisionWarning is fd.PrecisionWarning
    assert landscapes.Kink is kinks.Kink
    assert landscapes.SmoothnessWarning is fd.SmoothnessWarning
