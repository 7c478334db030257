"""Strata of examples: those with the largest gradients exactly, the rest by pairing.

At trained points a few examples outweigh all others, more so the more vectors of one example a number multiplies. Where
a number meets three or more of them it cannot be deflated. Then the heaviest examples y are taken one by one, each with
every x, and only the others are paired:

    E f(x, y) = (1/M) Σ_{y heavy} E_x f(x, y) + (1 − k/M) E f(x, y), y among the M − k others.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import numpy as np
from jaxtyping import Bool

from ..engine import Engine, Rows
from ..planning import TEST, Number, vectors_in
from ._estimator import Cost, Estimator, Setting, Split

# Heavy examples, each of which costs a pass. At a trained MLP, in standard errors of pairing: 0.76 with 16, 0.37 with
# 32, 0.27 with 64, 0.17 with 128 (benchmarks/evaluation.py constants).
_MOST = 64
_FEW = 8  # examples that are not worth splitting


class Strata(Estimator):
    """Takes numbers of two examples."""

    name = "strata"

    def takes(self, number: Number, setting: Setting) -> bool:
        """Whether it can average a number."""
        is_large = setting.num_examples >= _FEW and not setting.directed
        return is_large and stratified_position(number) is not None

    def cost(self, numbers: Sequence[Number], setting: Setting) -> Cost:
        """Return what it takes to average numbers together: a pass for every heavy example, and one to find them."""
        return Cost(once=1 + _num_heavy(setting.num_examples), each=1)

    def split(
        self,
        numbers: Sequence[Number],
        setting: Setting,
        engine: Engine,
        key: jax.Array | None,
        advance: Callable[[], None],
    ) -> dict[Number, Split]:
        """Compute what the heavy examples contribute, and leave the light ones."""
        count, tests = engine.sizes
        heavy = np.argsort(-engine.gradient_norms(), kind="stable")[: _num_heavy(count)]
        is_light = np.ones(count, dtype=bool)
        is_light[heavy] = False
        fixed = dict.fromkeys(numbers, 0.0)
        for positions in {number.positions for number in numbers}:
            group = tuple(number for number in numbers if number.positions == positions)
            size = tests if TEST in positions else count
            for chosen in {stratified_position(number) for number in group}:
                some = tuple(number for number in group if stratified_position(number) == chosen)
                for example in heavy:
                    rows = {p: np.full(size, example) if p == chosen else np.arange(size) for p in sorted(positions)}
                    for number, value in engine.rows(some, rows).items():
                        fixed[number] += value / count
        share = float(is_light.mean())
        return {
            number: Split(fixed[number], number, share, partial(_light_rows, is_light, stratified_position(number)))
            for number in numbers
        }


def stratified_position(number: Number) -> int | None:
    """Return the position of a number of two examples whose gradients it has most of, if it is not a test example."""
    if len(number.positions) != 2:
        return None
    leaves = [vector.position for vector in vectors_in(number) if not vector.inputs]
    return max(sorted(number.positions - {TEST}), key=leaves.count, default=None)


def _num_heavy(num_examples: int) -> int:
    return min(_MOST, num_examples // 2)


def _light_rows(
    is_light: Bool[np.ndarray, " examples"], position: int | None, rows: Rows, filler: np.random.Generator
) -> tuple[Rows, ...]:
    """Take the heavy examples out of one position, and draw light ones for the last rows, which that leaves empty."""
    assert position is not None
    index = rows[position]
    light = index[is_light[index]]
    more = filler.choice(light, size=len(index) - len(light), replace=False)
    return ({**rows, position: np.concatenate([light, more])},)
