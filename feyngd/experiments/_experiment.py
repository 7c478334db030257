"""What an experiment is: predictions compared with simulations, with a verdict on each, a figure and the numbers."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax

from ..progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Setting:
    """How an experiment is run.

    Attributes:
        key: a JAX random key for everything random.
        quick: fewer runs and smaller problems, to see that all works; verdicts then allow for larger errors.
        images: images of shape (M, height, width) or (M, height, width, colours) and labels of shape (M,), for
            experiments on networks.
        progress: shows progress.
    """

    key: jax.Array
    images: tuple[Any, Any]
    quick: bool = False
    progress: Progress = field(default_factory=Progress)


@dataclass(frozen=True)
class Finding:
    """One claim, whether it holds, and the numbers that decide it.

    Attributes:
        claim: the claim, in words.
        holds: whether the numbers support it; `None` if they are too noisy to decide.
        numbers: the numbers, by name.

    Examples:
        >>> print(Finding("two and two make four", True, {"prediction": 4.0, "simulation": 4.0}))
        holds          two and two make four: prediction 4, simulation 4
    """

    claim: str
    holds: bool | None
    numbers: Mapping[str, float]

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value:.6g}" for name, value in self.numbers.items())
        verdict = {True: "holds", False: "DOES NOT HOLD", None: "undecided"}[self.holds]
        return f"{verdict:<14} {self.claim}: {numbers}"


@dataclass(frozen=True)
class Outcome:
    """The results of an experiment.

    Attributes:
        findings: the claims with their verdicts.
        data: everything that the figure shows, as plain lists and numbers, by name.
        figure: the figure, in matplotlib.
    """

    findings: Sequence[Finding]
    data: Mapping[str, Any]
    figure: "Figure"

    @property
    def holds(self) -> bool | None:
        """Whether all claims hold; `None` if none fails, and some are undecided."""
        verdicts = {finding.holds for finding in self.findings}
        return False if False in verdicts else None if None in verdicts else True

    def to_dict(self) -> dict[str, Any]:
        """Return findings and data as plain lists and numbers, for JSON; what is not finite is `None`."""
        findings = [{"claim": f.claim, "holds": f.holds, "numbers": dict(f.numbers)} for f in self.findings]
        return {"verdict": self.holds, "findings": _finite(findings), "data": _finite(dict(self.data))}


@dataclass(frozen=True)
class Experiment:
    """One experiment of a paper.

    Attributes:
        name: what it is called on the command line.
        title: what it shows, in a sentence.
        source: the paper and section.
        run: runs it.
    """

    name: str
    title: str
    source: str
    run: Callable[[Setting], Outcome]


def _finite(value: Any) -> Any:
    """Turn mappings, sequences, arrays and numbers into those of JSON."""
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, (str, bool)) or value is None:
        return value
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    if isinstance(value, Sequence):
        return [_finite(item) for item in value]
    return value if isinstance(value, int) or math.isfinite(value) else None
