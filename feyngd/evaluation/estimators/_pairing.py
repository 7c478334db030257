"""Random pairing: nothing is computed beforehand, and every replicate pairs the examples of all positions at random.

Every row of a random pairing is uniform over the tuples of examples, so the mean over the rows is unbiased.
"""

from collections.abc import Callable, Sequence

import jax

from ..engine import Engine
from ..planning import Number
from ._estimator import Cost, Estimator, Setting, Split


class Pairing(Estimator):
    """Takes every number, at the cost of one pass for a replicate."""

    name = "pairing"

    def takes(self, number: Number, setting: Setting) -> bool:
        """Whether it can average a number: always."""
        return True

    def cost(self, numbers: Sequence[Number], setting: Setting) -> Cost:
        """Return what it takes to average numbers together."""
        return Cost(once=0, each=1)

    def split(
        self,
        numbers: Sequence[Number],
        setting: Setting,
        engine: Engine,
        key: jax.Array | None,
        advance: Callable[[], None],
    ) -> dict[Number, Split]:
        """Leave everything to the random rows."""
        return {number: Split(rest=number) for number in numbers}
