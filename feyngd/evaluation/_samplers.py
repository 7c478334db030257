"""Which sampler an evaluation has: where every use of an example draws noise anew, one of its own."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..landscapes import Landscape, check_landscape
from .estimators import Aim, AimedSampler, Effort, FreshNoiseSampler, Sampler, Setting, relative_error
from .planning import Number, Plan

MakeSampler = Callable[[Plan, Setting], Sampler | AimedSampler | FreshNoiseSampler]


def sampler_for(landscape: Any, estimator: str, effort: Effort) -> MakeSampler:
    """Return what makes the sampler of `evaluate`."""
    check_landscape(landscape)
    if not landscape.per_use_noise:
        return lambda plan, setting: Sampler(plan, setting, estimator, effort)
    if estimator != "auto":
        raise ArgumentError(
            "Where every use draws noise anew, every replicate draws all of it and pairs examples at random: leave "
            f"estimator out; got {estimator!r}."
        )

    def make(plan: Plan, setting: Setting) -> FreshNoiseSampler:
        def excess(numbers: Mapping[Number, np.ndarray]) -> float:
            if effort.rtol is None:  # the budget alone says when to stop
                return math.inf
            rows = [row for row in plan.combine(numbers).values() if len(row) > 1]
            return max((relative_error(row.tolist()) / effort.rtol for row in rows), default=0.0) ** 2

        asked = None if effort.rtol is None and effort.budget is None else excess
        options: dict[str, Any] = {"least": effort.replicates, "budget": effort.budget}
        return FreshNoiseSampler(plan, asked, **options, warns=effort.rtol is not None)

    return make


def aimed_sampler_for(landscape: Landscape, aim: Aim) -> MakeSampler:
    """Return what makes the sampler of `evaluate_for`."""
    if not landscape.per_use_noise:
        return lambda plan, setting: AimedSampler(plan, setting, aim)

    def make(plan: Plan, setting: Setting) -> FreshNoiseSampler:
        def excess(numbers: Mapping[Number, np.ndarray]) -> float:
            values = plan.combine(numbers)
            return max((goal.excess(values) for goal in aim.goals(values)), default=0.0)

        return FreshNoiseSampler(plan, excess, least=2 * aim.least, budget=aim.budget, warns=aim.warns)

    return make
