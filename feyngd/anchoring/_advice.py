"""Advice on a training run, as a table: changes, and what each is predicted to do to the test loss at the end."""

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._archive import Kept
from ..estimates import Estimate, finite_or_none
from ..kinks import kinks_note
from ..spacetimes import Spacetime
from ._prediction import AnchoredPrediction

_UNCLEAR = "two sampling errors and the truncation figure together are larger than the effect"


@dataclass(frozen=True)
class Advice(Kept):
    """One change of a run, and what it is predicted to do to the test loss at the end.

    Attributes:
        change: the change, in words.
        spacetime: the changed run.
        effect: the predicted change of the final test loss, with its standard error; negative is better.
        truncation: the size of the next order in the noise of both runs together; NaN if it is not known.
    """

    change: str
    spacetime: Spacetime
    effect: Estimate
    truncation: float

    @property
    def steps(self) -> int:
        """The number of steps of the changed run."""
        return int(self.spacetime.T)

    @property
    def evaluations(self) -> int:
        """The number of gradients of single examples that the changed run takes."""
        return sum(self.spacetime.batch_sizes())

    @property
    def is_clear(self) -> bool:
        """Whether the effect is larger than two sampling errors and the truncation figure together."""
        return bool(abs(self.effect.value) > 2 * (self.effect.stderr or 0) + self.truncation)

    def to_dict(self) -> dict[str, Any]:
        """Return the change as plain numbers and text, for JSON; what is not finite is `None`."""
        value, stderr, truncation = finite_or_none(
            np.array([self.effect.value, self.effect.stderr or 0.0, self.truncation])
        )
        return {
            "change": self.change,
            "spacetime": str(self.spacetime),
            "effect": value,
            "stderr": stderr,
            "truncation": truncation,
            "clear": self.is_clear,
            "steps": self.steps,
            "evaluations": self.evaluations,
        }

    def __str__(self) -> str:
        errors = f"± {self.effect.stderr or 0:.1g} (sampling) ± {self.truncation:.1g} (truncation)"
        return f"{self.effect.value:+.4g} {errors}  {self.change}"


@dataclass(frozen=True, eq=False, repr=False)
class AdviceTable(Kept):
    """What changes of a run are predicted to do to the test loss at the end: printed, a table. Made by `feyngd.advise`.

    It iterates over its rows, those that lower the test loss most first.

    Attributes:
        planned: the prediction of the run as planned.
        rows: the changes, in rising order of their effects.
        unpredicted: changes that cannot be predicted, each with the reason.
    """

    planned: AnchoredPrediction
    rows: tuple[Advice, ...]
    unpredicted: dict[str, str]

    def __iter__(self) -> Iterator[Advice]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Advice:
        return self.rows[index]

    @property
    def evaluations(self) -> int:
        """The number of gradients of single examples that every one of the runs takes."""
        return sum(self.planned.spacetime.batch_sizes())

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain lists, numbers and text, for JSON; what is not finite is `None`."""
        return {
            "planned": self.planned.to_dict(),
            "evaluations": self.evaluations,
            "changes": [row.to_dict() for row in self.rows],
            "unpredicted": dict(self.unpredicted),
        }

    def plot(self, ax: Any = None) -> Any:
        """Draw the effects with two standard errors, and with the truncation figure added as thin bars.

        Args:
            ax: matplotlib axes; new ones if there are none.

        Returns:
            The matplotlib axes.

        Raises:
            FeynGDError: matplotlib is missing.
        """
        from ..drawing import plot_advice

        return plot_advice(self, ax)

    def _cells(self) -> list[list[str]]:
        """Return the table's cells, with its head, row by row."""
        head = ["change", "effect", "± sampling", "± truncation", "steps", "N", ""]
        return [head] + [
            [
                row.change,
                f"{row.effect.value:+.3g}",
                f"{row.effect.stderr or 0:.1g}",
                f"{row.truncation:.1g}",
                str(row.steps),
                str(row.spacetime.N),
                "" if row.is_clear else "unclear",
            ]
            for row in self.rows
        ]

    @property
    def _title(self) -> str:
        return (
            f"Changes of the test loss at the end, each run at {self.evaluations:,} gradients of single examples "
            "(negative is better):"
        )

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [f"planned: {self.planned}", "", self._title]
        for first, *others in cells:
            numbers = [text.rjust(width) for text, width in zip(others[:-1], widths[1:-1], strict=True)]
            lines.append("  ".join([f"  {first.ljust(widths[0])}", *numbers, others[-1]]).rstrip())
        if not all(row.is_clear for row in self.rows):
            lines.append(f"  unclear: {_UNCLEAR}")
        lines += [f"  cannot be predicted: {change}: {reason}" for change, reason in self.unpredicted.items()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        best = f", the best {self.rows[0].effect.value:+.3g}: {self.rows[0].change}" if self.rows else ""
        return f"<AdviceTable on {self.planned.spacetime}: {len(self.rows)} changes{best}>"

    def _repr_html_(self) -> str:
        """Return the table as HTML, which notebooks show."""

        def row(tag: str, cells: list[str]) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        head, *rows = self._cells()
        body = "".join(row("td", cells) for cells in rows)
        untold = [f"{change} cannot be predicted: {reason}" for change, reason in self.unpredicted.items()]
        about = "".join(
            f"<p>{html.escape(line)}</p>"
            for line in (f"Planned: {self.planned.spacetime}. {self._title}{kinks_note(self.planned.kinks)}", *untold)
        )
        return f"{about}<table><thead>{row('th', head)}</thead><tbody>{body}</tbody></table>"
