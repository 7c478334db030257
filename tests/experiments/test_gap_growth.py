"""Figure 4's right half: its verdict, which must be able to fail, and the experiment quickly."""

import jax
import numpy as np
import pytest

from feyngd.drawing import drawn
from feyngd.experiments import Setting
from feyngd.experiments import _gap_growth as gap_growth
from feyngd.landscapes import digits

TIMES = np.array([0.1, 0.3, 0.5])
ERRORS = np.full(3, 1e-3)


@pytest.mark.parametrize(
    ("off", "holds", "reached"),
    [([0, 0, 0], True, 0.5), ([0, 0, 0.2], False, 0.3), ([0, 0.2, 0], False, 0.1), ([0.5, 0, 0], False, 0.0)],
)
def test_the_verdict_says_how_far_order_2_reaches(off, holds, reached):
    simulated = np.array([0.1, 0.25, 0.35])
    found = gap_growth.verdict("a start", TIMES, simulated * (1 + np.array(off)), simulated, ERRORS)
    assert found.holds is holds
    assert found.numbers["agrees through"] == reached


@pytest.mark.slow
def test_a_quick_run_has_one_start():
    found = gap_growth.EXPERIMENT.run(Setting(jax.random.key(0), digits(40), quick=True))
    (start,) = found.to_dict()["data"]["starts"]
    assert len(start["simulated"]) == len(start["predicted"]) == 3
    assert abs(start["simulated"][0] - start["predicted"][0]) < 3 * start["stderr"][0]
    assert drawn(found.figure, "png").startswith(b"\x89PNG")
