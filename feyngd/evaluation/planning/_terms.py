"""What a value is made of: plain averages over the population, with exact weights.

A value in either basis and in any of the three readings of a dataset is a rational combination of *terms*: plain
averages over one independent example for each part. All cancellations between moments happen here, in fractions.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, product
from math import factorial, perm

from ...diagrams import Diagram, Forest, set_partitions, value_representative
from ...errors import LandscapeError

JOINED = "joined"  # where the roots are loose ends that meet


@dataclass(frozen=True, order=True)
class Term:
    """An average over one independent example for each part.

    Attributes:
        diagram: the tree and its parts; if the root is not on test data, the representative of all roots.
        centred: whether every node in a part of several nodes has its mean subtracted.
        test_root: whether the root is measured on the separate test data.
        directed: whether edges point to the root, so that it stays where it is.
    """

    diagram: Diagram
    centred: bool = False
    test_root: bool = False
    directed: bool = False


Weights = dict[Term, Fraction]


def terms_of_value(
    diagram: Diagram, *, basis: str, reading: str, root: str, num_examples: int, directed: bool = False
) -> Weights:
    """Return the terms of a value with their weights.

    Args:
        diagram: the diagram.
        basis: "moment" or "cumulant"; cumulants are made from centred terms.
        reading: "population", "unbiased" or "conditional".
        root: in the conditional reading, whether an untied root is measured on "test" or on "train" data; in any, a
            root that is "measured" has examples of its own. Roots that are "joined" are loose ends, whose trace is
            taken.
        num_examples: M.
        directed: whether edges point to the root: steps follow an update that is no gradient.

    Raises:
        LandscapeError: the reading gives distinct parts distinct examples, and there are too few.

    References:
        "Three readings of a dataset" in the documentation.
    """
    given = reading == "conditional" and isinstance(diagram, Forest)
    if root == JOINED:
        assert isinstance(diagram, Forest)
        diagram = diagram.joined
    is_apart = root == "measured" or (reading == "conditional" and root == "test")
    centred, test_root = basis == "cumulant", is_apart and not diagram.is_root_tied
    moments = diagram.refinements() if basis == "cumulant" else iter([(diagram, 1)])
    found: Weights = {}
    for moment, weight in moments:
        # Refining a tied root would bring it back alone: it stays on the training data.
        # Diagrams with two roots have coefficients of their own in the conditional reading.
        is_plain = reading == "population" or given
        plain = [(moment, Fraction(1))] if is_plain else _distinct(moment, test_root, num_examples)
        for coarse, share in plain:
            for split in _pulled_out(coarse) if centred else (coarse,):
                stays = test_root or directed or isinstance(split, Forest)
                shape = split if stays else value_representative(split)
                term = Term(shape, centred, test_root, directed)
                found[term] = found.get(term, Fraction(0)) + weight * share
    return {term: weight for term, weight in found.items() if weight}


def _distinct(diagram: Diagram, test_root: bool, num_examples: int) -> Iterator[tuple[Diagram, Fraction]]:
    """Write an average over distinct examples as plain averages, by the Möbius function of the partitions' lattice."""
    apart = {diagram.labels[0]} if test_root or isinstance(diagram, Forest) else set()
    if test_root and isinstance(diagram, Forest):
        apart |= {diagram.labels[root] for root in diagram.roots}
    parts = [part for part in range(len(diagram.parts)) if part not in apart]
    tuples = perm(num_examples, len(parts))
    if not tuples:
        raise LandscapeError(
            f"The value of {diagram} needs {len(parts)} distinct examples, and the data has {num_examples}: give more "
            "data, or use reading='population'."
        )
    for blocks in set_partitions(parts):
        merged = {part: min(block) for block in blocks for part in block}
        coarse = diagram.relabel(merged.get(label, label) for label in diagram.labels)
        moebius = 1
        for block in blocks:
            moebius *= (-1) ** (len(block) - 1) * factorial(len(block) - 1)
        yield coarse, Fraction(moebius * num_examples ** len(blocks), tuples)


def _pulled_out(diagram: Diagram) -> Iterator[Diagram]:
    """Write every node as its mean plus the rest, and keep what does not vanish: parts with one centred node do."""
    choices = [list(_groups(sorted(part))) for part in diagram.parts]
    for kept in product(*choices):
        tied = {node: index for index, group in enumerate(kept) for node in group}
        yield diagram.relabel(tied.get(node, len(kept) + node) for node in range(len(diagram.parents)))


def _groups(nodes: list[int]) -> Iterable[tuple[int, ...]]:
    yield ()
    for size in range(2, len(nodes) + 1):
        yield from combinations(nodes, size)
