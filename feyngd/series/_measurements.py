"""Which diagrams a quantity sums, and with which weights."""

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from ..counting import Ratio, constant, inverse_size
from ..diagrams import Diagram, cell_diagrams, diagrams
from ..spacetimes import Spacetime


def measured_diagrams(order: int, *, cells: bool = False) -> Iterator[Diagram]:
    """Iterate over the diagrams up to an order whose root is alone; with cells those that can be placed."""
    if cells:
        found = (diagram for edges in range(order + 1) for diagram in cell_diagrams(edges, limit=None))
        return (diagram for diagram in found if diagram.can_be_placed)
    return (diagram for edges in range(order + 1) for diagram in diagrams(edges, limit=None))


def measurements(quantity: str, diagram: Diagram, spacetime: Spacetime, basis: str) -> Iterator[tuple[Diagram, Ratio]]:
    """Iterate over a diagram and those with its root tied, with the factor of the embedding count in a quantity.

    Args:
        quantity: one of `SERIES`, or a `Measurement`.
        diagram: a diagram whose root is alone.
        spacetime: N and B, and whether batches are full.
        basis: "moment" or "cumulant".
    """
    one_over_n = inverse_size(spacetime.N, "N")
    step = one_over_n if spacetime.sampling == "full-batch" else inverse_size(spacetime.B, "B")
    factor = _power(step.scale(-1), diagram.order)
    if quantity == "displacement":
        if len(diagram.children[0]) == 1:
            yield diagram, factor.scale(Fraction(1, diagram.automorphisms))
        return
    # In cumulants all terms with the root alone belong to the test loss, whatever the root may join.
    joined = len(diagram.parts) - 1 if basis == "moment" else 0
    share = one_over_n.scale(joined)  # P/N, the weight of all ways to join the root to a part
    alone = {"train_loss": constant(1) + share.scale(-1), "gap": share}.get(quantity, constant(1))
    if alone.numerator:
        yield diagram, (factor * alone).scale(Fraction(1, diagram.automorphisms))
    if quantity in ("train_loss", "gap"):
        sign = 1 if quantity == "train_loss" else -1
        for joint in diagram.root_ties():
            yield joint, (factor * one_over_n).scale(Fraction(sign, joint.automorphisms))


def vanishes_at_minimum(diagram: Diagram, quantity: str) -> bool:
    """Whether a diagram has the mean gradient as a factor: an untied node of degree one."""
    for node in range(diagram.order + 1):
        degree = len(diagram.children[node]) + (node > 0)
        is_measurement = node == 0 and quantity == "displacement"
        if degree == 1 and not is_measurement and diagram.labels.count(diagram.labels[node]) == 1:
            return True
    return False


@lru_cache(maxsize=256)
def _power(base: Ratio, exponent: int) -> Ratio:
    return _power(base, exponent - 1) * base if exponent else constant(1)
