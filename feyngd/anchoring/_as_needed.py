"""Control variates where they pay, and as many draws of noise as predictions need."""

import math
from collections.abc import Callable
from typing import Any

import jax

from ..progress import Progress
from ._anchored import Anchored
from ._goals import PILOT, WITHOUT_CONTROLS, Goal
from ._noise_weights import Ties
from .path import ControlVariates, DrawsAlongPath, NoiselessPath

Assemble = Callable[[list[DrawsAlongPath], ControlVariates], Anchored]


def plan_draws(
    path: NoiselessPath,
    ties: list[Ties],
    directions: int,
    num_samples: int,
    together: int,
    goal: Goal | None,
    assemble: Assemble,
    key: Any,
    progress: Progress,
) -> tuple[ControlVariates, int, int]:
    """Return control variates, the number of draws, and how many are made side by side.

    With a goal, a pilot without control variates shows whether few draws are enough: finding directions takes about as
    long as `WITHOUT_CONTROLS` draws, and more programs. Otherwise a second pilot, with control variates, shows how many
    draws it takes. The pilots are thrown away: see `_goals`.

    Args:
        path: the noiseless path.
        ties: the equivalences of steps.
        directions: how many directions control variates have; 0 for no control variates.
        num_samples: the largest number of draws.
        together: how many draws fit into the memory side by side.
        goal: what has to be known to which precision; `None` for `num_samples` draws.
        assemble: makes functionals of draws and the control variates beside them.
        key: a JAX random key.
        progress: shows progress.
    """
    none = path.no_control_variates(ties)

    def with_directions() -> ControlVariates:
        if not directions:
            return none
        with progress.task(1, "directions of the noise") as task:
            found = path.control_variates(ties, directions, key)
            task.advance()
        return found

    if goal is None or num_samples <= PILOT:
        return with_directions(), num_samples, min(num_samples, together)
    together = min(PILOT, together)

    def needed(controls: ControlVariates, own: Any, label: str) -> tuple[float, float]:
        """Return how many draws the goal takes, and the part of it that control variates serve."""
        groups = []
        with progress.task(PILOT, label) as task:
            for first in range(0, PILOT, together):
                keys = jax.random.split(jax.random.fold_in(own, first), together)
                groups.append(path.second_order(ties, keys, controls))
                task.advance(min(together, PILOT - first))
        return goal.draws(assemble(groups, controls))

    controls, pilots = none, jax.random.split(jax.random.fold_in(key, 1))
    number, served = needed(controls, pilots[0], "how much noise to draw")
    if directions and served > min(num_samples, WITHOUT_CONTROLS):
        controls = with_directions()
        number, _ = needed(controls, pilots[1], "how much noise to draw, with control variates")
    return controls, math.ceil(min(max(number, PILOT), num_samples)), together
