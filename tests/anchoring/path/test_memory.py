"""How draws share the memory, and that no two of them are the same."""

import jax
import numpy as np
import pytest

import feyngd as fd
from feyngd.anchoring import anchor
from feyngd.anchoring.path import _memory


def test_memory_is_shared_by_what_each_run_takes(monkeypatch):
    """96 runs of 16 copies in half of the memory. A pair of higher draws takes four runs for every equivalence."""
    theta = np.zeros(1000, np.float32)
    monkeypatch.setattr(_memory, "available_memory", lambda: 96 * 2 * 16 * 4000)
    sizes = {"steps": 3, "directions": 16, "pilots": 128}
    assert _memory.runs_together(1000, 4, 8) == 96
    assert _memory.plan_memory(theta, columns=8, num_ties=3, **sizes) == _memory.MemoryPlan(12, 8, 16)
    assert _memory.plan_memory(theta, columns=9, num_ties=5, **sizes) == _memory.MemoryPlan(10, 4, 16)
    assert _memory.plan_memory(theta, columns=96, num_ties=40, **sizes) == _memory.MemoryPlan(1, 1, 16)
    # Pilots take a quarter of what runs take.
    assert _memory.plan_memory(theta, 8, 3, 3, 16, pilots=384).directions == 16
    assert _memory.plan_memory(theta, 8, 3, 3, 16, pilots=385).directions == 0


@pytest.mark.parametrize("samples", [3, 7])
def test_every_draw_is_its_own(samples, monkeypatch):
    """In groups of three, where the last group is not whole."""
    monkeypatch.setattr(_memory, "available_memory", lambda: 3 * 8 * 4 * 16 * 2)
    landscape = fd.Landscape(lambda theta, x: (theta - x) ** 2 / 2 + x * theta**3, np.linspace(-1, 1.5, 20))
    options = {"num_samples": samples, "truncation_samples": 0, "control_directions": 0}
    made = anchor(landscape, np.float32(0.5), steps=3, learning_rate=0.1, **options, key=jax.random.key(0))
    for rows in (made.influence, *made.second.values()):
        assert rows.shape == (samples, 4)
        assert len(np.unique(rows[:, -1])) == samples
