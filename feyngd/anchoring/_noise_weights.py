"""What sampling does to second order in the noise: expected products of a datapoint's shares in two steps, exactly.

A step's batch loss is l + Σ_n c_n (l_n − l), where c_n is a datapoint's share of the batch. To second order in the
noise all that matters of the sampling is W(s, t), the expected sum over datapoints of their shares in steps s and t. It
is the same for all pairs of steps that stand alike: within a step, within an epoch, at the same place in their epochs,
or at all. So W is a sum of few terms, each a number times an equivalence of steps. The smaller batches at the ends of
epochs are noisier: they add a term of theirs, an equivalence of the last steps of epochs alone.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .._archive import keep_attributes
from ..errors import SpacetimeError
from ..spacetimes import Spacetime


@keep_attributes
@dataclass(frozen=True, order=True)
class Ties:
    """An equivalence of steps, all of them or some.

    Attributes:
        kind: "step", every step for itself; "epoch", steps of one epoch; "place", steps at the same place in their
            epochs; "run", all steps; "last", the last step of every epoch for itself; "last place", the last steps of
            all epochs.
        length: the number of steps of an epoch; 0 where it does not matter.
    """

    kind: str
    length: int = 0

    def labels(self, steps: int) -> np.ndarray:
        """Return a number for every step, the same for those that are tied, −1 for those left out, shape (steps,)."""
        times = np.arange(steps)
        if self.kind in ("last", "last place"):
            is_last = times % self.length == self.length - 1
            return np.where(is_last, times // self.length if self.kind == "last" else 0, -1)
        if self.kind == "epoch":
            return times // self.length
        if self.kind == "place":
            return times % self.length
        return times if self.kind == "step" else np.zeros_like(times)

    @property
    def refined(self) -> "Ties | None":
        """The equivalence of all steps that this one is part of, for some steps; `None` if it is of all itself."""
        return {"last": STEP, "last place": Ties("place", self.length)}.get(self.kind)

    def __str__(self) -> str:
        return self.kind if not self.length else f"{self.kind} of {self.length} steps"


STEP, RUN = Ties("step"), Ties("run")


def noise_weights(spacetime: Spacetime, reading: str = "population") -> dict[Ties, Fraction]:
    """Return W as a sum: for every equivalence of steps, what it adds to W(s, t) where s and t are tied.

    Args:
        spacetime: a concrete spacetime.
        reading: "population", where training sets are random; or "conditional", where the data are the training set and
            only their order is random, so that the noise of a full batch is zero.

    Raises:
        SpacetimeError: the spacetime has symbols, or its batches are listed, or fixed in the conditional reading.

    References:
        theory: "Anchored on the noiseless path"; the decomposition is the project's own.

    Examples:
        >>> import feyngd as fd
        >>> [str(weight) for weight in noise_weights(fd.Spacetime.sgd(N=400, B=10, E=5)).values()]
        ['1/10', '1/400', '-1/400']
    """
    spacetime.require_concrete("The weights of the noise are numbers")
    N, B, sampling = int(spacetime.N), int(spacetime.B), spacetime.sampling
    length, rest = int(spacetime.epoch_steps), spacetime.last_batch
    if sampling == "explicit" or (sampling == "fixed" and reading == "conditional"):
        raise SpacetimeError(
            f"{sampling} batches in the {reading} reading have weights of their own, which no functional of the path "
            "serves: use reshuffled, with-replacement or full batches."
        )
    epoch, last, last_place = Ties("epoch", length), Ties("last", length), Ties("last place", length)
    more = Fraction(1, rest) - Fraction(1, B) if rest else Fraction(0)  # in the smaller batch at the end of an epoch
    if reading == "conditional":
        weights = {
            "reshuffled": {
                STEP: Fraction(N, B * (N - 1)) if N > 1 else Fraction(0),
                epoch: -Fraction(1, max(N - 1, 1)),
                last: more * Fraction(N, max(N - 1, 1)),
            },
            "with-replacement": {STEP: Fraction(1, B)},
            "full-batch": {},
        }[sampling]
        weights = {} if B == N and sampling == "reshuffled" else weights
    else:
        weights = {
            "reshuffled": {STEP: Fraction(1, B), RUN: Fraction(1, N), epoch: -Fraction(1, N), last: more},
            "fixed": {Ties("place", length): Fraction(1, B), last_place: more},
            "with-replacement": {STEP: Fraction(N - 1, N * B), RUN: Fraction(1, N)},
            "full-batch": {RUN: Fraction(1, N)},
        }[sampling]
    return {ties: weight for ties, weight in weights.items() if rest or ties not in (last, last_place)}


def served(spacetime: Spacetime, reading: str, steps: int) -> dict[Ties, Fraction]:
    """Return the weights up to a step, with equivalences that are the same up to there put together."""
    merged: dict[Ties, Fraction] = {}
    for ties, weight in noise_weights(spacetime, reading).items():
        if steps and (ties.labels(steps) < 0).all():
            continue  # no epoch ends within these steps
        same = next((t for t in (STEP, RUN) if np.array_equal(t.labels(steps), ties.labels(steps))), ties)
        merged[same] = merged.get(same, Fraction(0)) + weight
    return {ties: weight for ties, weight in merged.items() if weight}
