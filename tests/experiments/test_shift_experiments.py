"""The experiments on shift-curvature: each quickly, with the verdicts that do not depend on luck, and wrong numbers."""

import json
from dataclasses import replace
from functools import cache

import jax
import numpy as np
import pytest

from feyngd.drawing import drawn
from feyngd.experiments import Setting
from feyngd.experiments import _shift_basins as basins
from feyngd.experiments import _shift_sampling as sampling
from feyngd.experiments import _shift_temperature as temperature
from feyngd.landscapes import digits

# Curves along lines through networks take minutes of CI: `feyngd reproduce shift-curvature-line --quick` runs them.
MODULES = (basins, temperature, sampling)


@cache
def outcome(module):
    return module.EXPERIMENT.run(Setting(jax.random.key(0), digits(500), quick=True))


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.EXPERIMENT.name)
def test_quick_runs(module):
    found = outcome(module)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["findings"]
    assert drawn(found.figure, "png").startswith(b"\x89PNG")
    failed = [finding.claim for finding in found.findings if finding.holds is False]
    if module is basins:
        assert failed == []
    if module is sampling:
        assert failed[0] == "the split in the file's order is from one distribution, as the paper finds for CIFAR10"
    if module is temperature:
        assert not any("local steady state" in claim for claim in failed)


def test_wrong_numbers_are_found_out():
    """Predictions without the fluctuations, and splits with a shift four times too large."""
    rows = [
        temperature.Settled(rate, batch, (1 + rate, 2 + rate), (1 + rate, 2 + rate), (1e-4, 1e-4))
        for rate in (0.01, 0.02)
        for batch in temperature.BATCHES
    ]
    assert [finding.holds for finding in temperature._claims(rows, (1.0, 2.0))] == [True, True, True, False]
    still = [replace(row, predicted=(1.0 + row.temperature, 2.0)) for row in rows]
    assert [finding.holds for finding in temperature._claims(still, (1.0, 2.0))][:2] == [True, False]
    rng = np.random.default_rng(0)
    own, *random = (sampling.Split(x, 0.1, 0.03, 0.5 + x / 10) for x in 0.1 + 0.03 * rng.normal(size=26))
    assert all(finding.holds for finding in sampling._of_shuffles(own, random))
    moved = [replace(one, observed=4 * one.observed) for one in (own, *random)]
    assert [finding.holds for finding in sampling._of_shuffles(moved[0], moved[1:])][:3] == [False, False, False]
