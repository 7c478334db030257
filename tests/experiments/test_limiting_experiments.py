"""The experiments on limiting dynamics: each quickly, with verdicts that do not depend on luck, and wrong numbers."""

import json
from functools import cache

import jax
import numpy as np
import pytest

from feyngd.drawing import drawn
from feyngd.experiments import Setting
from feyngd.experiments import _limiting_displacement as displacement
from feyngd.experiments import _limiting_isotropy as isotropy
from feyngd.experiments import _limiting_oscillations as oscillations
from feyngd.experiments import _limiting_phase as phase
from feyngd.experiments import _limiting_potentials as potentials
from feyngd.experiments import _limiting_sweep as sweep
from feyngd.landscapes import digits

# The others take minutes of CI: `feyngd reproduce limiting-sweep --quick` and so on run them.
MODULES = (phase, oscillations)


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
    assert not [claim for claim in failed if "predicted" in claim or "exact" in claim], failed


def test_potentials_need_no_network():
    found = outcome(potentials)
    assert found.holds
    assert found.findings[0].numbers["Q_12"] == pytest.approx(0.9)
    assert drawn(found.figure, "png").startswith(b"\x89PNG")


def test_wrong_numbers_are_found_out():
    """An exponent that is off, and speeds that do not go as η²/(B(1 − β²))."""

    class Fit:
        value, stderr = 0.5, 0.02

    assert displacement._exponent("claim", 0.53, Fit).holds
    assert not displacement._exponent("claim", 0.57, Fit).holds
    columns = {"speed": np.array([1.0, 2.0, 4.0]), "leading order": np.array([0.9, 1.8, 3.7])}
    assert sweep._transfer("batch size", columns).holds
    assert not sweep._transfer("batch size", {**columns, "speed": np.array([1.0, 2.0, 6.0])}).holds
    h = np.geomspace(0.1, 1, 10)
    rng = np.random.default_rng(0)
    slope, stderr = isotropy._power(h, 1 / h * (1 + 0.01 * rng.normal(size=(30, 10))))
    assert abs(slope + 1) < 4 * stderr < 0.1
