"""Strata of examples: those with the largest gradients exactly, the rest by pairing.

At trained points a few examples outweigh all others, more so the more vectors of one example a number multiplies. Where
a number meets three or more of them it cannot be deflated. Then the heaviest examples y are taken one by one, each with
every x, and only the others are paired:

    E f(x, y) = (1/M) Σ_{y heavy} E_x f(x, y) + (1 − k/M) E f(x, y), y among the M − k others.
"""

from collections.abc import Sequence

import numpy as np

from ..engine import Engine, Rows
from ..planning import TEST, Number, vectors_in

_MOST = 64


def stratified_position(number: Number) -> int | None:
    """Return the position of a number of two examples whose gradients it has most of, if it is not a test example."""
    if len(number.positions) != 2:
        return None
    leaves = [vector.position for vector in vectors_in(number) if not vector.inputs]
    return max(sorted(number.positions - {TEST}), key=leaves.count, default=None)


class Strata:
    """The exact parts of numbers, and the rows for the rest.

    Args:
        engine: the engine, with all averaged vectors of the numbers known.
        numbers: numbers with a `stratified_position`.

    Attributes:
        exact: what the heavy examples contribute to every number.
    """

    def __init__(self, engine: Engine, numbers: Sequence[Number]) -> None:
        count, tests = engine.sizes
        heavy = np.argsort(-engine.gradient_norms(), kind="stable")[: min(_MOST, count // 2)]
        self._is_light = np.ones(count, dtype=bool)
        self._is_light[heavy] = False
        self.exact = dict.fromkeys(numbers, 0.0)
        for positions in {number.positions for number in numbers}:
            group = tuple(number for number in numbers if number.positions == positions)
            size = tests if TEST in positions else count
            for chosen in {stratified_position(number) for number in group}:
                some = tuple(number for number in group if stratified_position(number) == chosen)
                for example in heavy:
                    rows = {p: np.full(size, example) if p == chosen else np.arange(size) for p in sorted(positions)}
                    for number, value in engine.rows(some, rows).items():
                        self.exact[number] += value / count

    @property
    def share(self) -> float:
        """The share of the examples that are not heavy."""
        return float(self._is_light.mean())

    def rest(self, number: Number, rows: Rows) -> Rows:
        """Return rows with the heavy examples taken out of the stratified position of a number."""
        position = stratified_position(number)
        assert position is not None
        light = rows[position][self._is_light[rows[position]]]
        return {p: np.resize(light, len(index)) if p == position else index for p, index in rows.items()}
