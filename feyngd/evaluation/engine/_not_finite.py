"""What is said where a derivative is not finite."""

from ...diagrams import Diagram
from ...errors import LandscapeError
from ..planning import Dot, Mean, Number, Vector, vectors_in


class NotFiniteError(Exception):
    """A vector or number is not finite; holds which, and the examples of the first row where it is not."""

    def __init__(self, item: Mean | Number, examples: tuple[int, ...] | None) -> None:
        super().__init__(item.text)
        self.item, self.examples = item, examples

    def explain(self, diagram: Diagram) -> LandscapeError:
        """Return the error to show, naming the diagram."""
        where = f"The value of diagram {diagram} is not finite"
        if self.examples is None:
            return LandscapeError(
                f"{where}: {self.item} is at every example, but the sum over examples is too large. Use 64-bit floats, "
                "or scale the loss."
            )
        item = self.item.of if isinstance(self.item, Mean) else self.item
        rank = max(
            [len(v.inputs) + 1 for v in vectors_in(item)]
            + ([0] if isinstance(item, (Vector, Dot)) else [len(item.inputs)])
        )
        return LandscapeError(
            f"{where} at example {', '.join(map(str, self.examples))}: in {item}, a derivative of the loss, of order "
            f"up to {rank}, is infinite, not a number or too large there. Check that the loss is smooth at these "
            "parameters, or use 64-bit floats."
        )
