"""What would change the outcome of a training run most, at the same number of example evaluations."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy

from .._arguments import check_integer
from ..errors import ArgumentError, SpacetimeError
from ..estimates import Estimate
from ..spacetimes import Spacetime
from ._anchored import Anchored

SAMPLINGS = ("reshuffled", "with-replacement", "fixed")


@dataclass(frozen=True)
class Advice:
    """One change of a run, and what it is predicted to do to the test loss at the end.

    Attributes:
        change: the change, in words.
        spacetime: the changed run.
        effect: the predicted change of the final test loss, with its standard error; negative is better.
        truncation: the size of the next order in the noise of both runs together.
    """

    change: str
    spacetime: Spacetime
    effect: Estimate
    truncation: float

    def __str__(self) -> str:
        errors = f"± {self.effect.stderr or 0:.1g} (sampling) ± {self.truncation:.1g} (truncation)"
        return f"{self.effect.value:+.4g} {errors}  {self.change}"


def advise(anchored: Anchored, spacetime: Spacetime, *, factor: int = 2) -> tuple[list[Advice], list[str]]:
    """Rank changes of batch size, data, epochs and sampling by what they do to the test loss at the end.

    Every change keeps the number of example evaluations, E·N, and the learning rate of every step: smaller batches make
    more steps, more data fewer epochs. All are arithmetic on the same functionals, so that errors which they share
    cancel in the differences.

    Args:
        anchored: the functionals.
        spacetime: the run as planned: reshuffled, fixed or with replacement, of whole epochs.
        factor: by how much batch size and data are changed, 2 or more.

    Returns:
        The changes, those that lower the test loss most first; and those that cannot be predicted, with the reason.

    Raises:
        ArgumentError: the spacetime has no epochs, or the factor is not an integer ≥ 2.
        SpacetimeError: the planned run itself cannot be predicted.
    """
    _check(spacetime, factor)
    planned = anchored.predict(spacetime)
    ranked, unpredicted = [], []
    for change, sizes in _changes(anchored, spacetime, factor):
        try:
            changed = _made(*sizes)
            other = anchored.predict(changed)
        except SpacetimeError as error:
            unpredicted.append(f"{change}: {error}")
            continue
        base = planned.noiseless[-1] + planned.replicates[:, -1]
        effect = Estimate.from_replicates(other.noiseless[-1] + other.replicates[:, -1] - base, kind="path")
        ranked.append(Advice(change, changed, effect, float(np.hypot(other.truncation[-1], planned.truncation[-1]))))
    return sorted(ranked, key=lambda advice: advice.effect.value), unpredicted


def anchored_for_advice(spacetime: Spacetime, *, factor: int = 2) -> dict[str, Any]:
    """Return the options of `anchor` that serve all changes of a run: steps, epoch_lengths and fixed_order.

    Args:
        spacetime: the run as planned.
        factor: by how much batch size and data will be changed.

    Raises:
        ArgumentError: as in `advise`.
    """
    _check(spacetime, factor)
    length = sympy.Rational(int(spacetime.N), int(spacetime.B))
    lengths = [int(each) for each in (length / factor, length, length * factor) if each.is_Integer]
    return {"steps": int(spacetime.T) * factor, "epoch_lengths": lengths, "fixed_order": True}


def _check(spacetime: Spacetime, factor: int) -> None:
    check_integer("factor", factor, least=2)
    if not isinstance(spacetime, Spacetime) or spacetime.sampling not in SAMPLINGS:
        raise ArgumentError(f"Advice is on runs of {', '.join(map(repr, SAMPLINGS))} batches; got {spacetime!r}.")
    spacetime.require_concrete("Changes are compared")


def _changes(anchored: Anchored, spacetime: Spacetime, factor: int) -> list[tuple[str, tuple]]:
    """Return changes in words, with N, B, the number of evaluations and the sampling of the changed run."""
    N, B, sampling = int(spacetime.N), int(spacetime.B), spacetime.sampling
    budget = int(spacetime.T) * B
    changes = [(f"batches of {B * factor} instead of {B}", (N, B * factor, budget, sampling))]
    if B % factor == 0:
        changes.append((f"batches of {B // factor} instead of {B}", (N, B // factor, budget, sampling)))
    if anchored.landscape.reading == "population":
        changes.append(
            (f"{N * factor} training points instead of {N}, fewer epochs", (N * factor, B, budget, sampling))
        )
        if N % factor == 0:
            smaller = f"{N // factor} training points instead of {N}, more epochs"
            changes.append((smaller, (N // factor, B, budget, sampling)))
    return changes + [(f"{other} batches", (N, B, budget, other)) for other in SAMPLINGS if other != sampling]


def _made(N: int, B: int, budget: int, sampling: str) -> Spacetime:
    steps = sympy.Rational(budget, B)
    if not steps.is_Integer:
        raise SpacetimeError(f"{budget} evaluations are not a whole number of batches of {B}.")
    return Spacetime.sgd(N, B, T=int(steps), sampling=sampling)
