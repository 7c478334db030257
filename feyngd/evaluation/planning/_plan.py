"""The plan of an evaluation: which terms, which numbers in a row of examples, which averages before them.

The ways to compute the terms are chosen so that together they cost little: terms share the vectors they have in common.
Costs are counted in gradients of the mean loss over the whole population.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ...diagrams import Diagram
from ._contractions import Tree
from ._costs import ARITHMETIC_BOUND, CostModel, Piece, gradients, pieces
from ._expressions import Dot, Mean, Number, means_below, positions_of
from ._search import choose_ways
from ._terms import Term, Weights

Combination = tuple[tuple[Number, Fraction], ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """How a set of diagrams is evaluated.

    Attributes:
        values: for every diagram its terms with their weights.
        numbers: for every term the numbers whose averages over rows make it, with weights.
        ways: for every number the other ways to compute it, itself among them.
        basis: "moment" or "cumulant".
        reading: "population", "unbiased" or "conditional".
        model: what single derivatives cost.
    """

    values: Mapping[Diagram, Weights]
    numbers: Mapping[Term, Combination]
    ways: Mapping[Number, Sequence[Number]]
    basis: str
    reading: str
    model: CostModel

    @property
    def means(self) -> tuple[Mean, ...]:
        """The vectors that are averaged before the numbers, those that others are made from first."""
        found: dict[Mean, None] = {}
        for number in self.all_numbers:
            late = number.inputs if isinstance(number, Dot) and number.is_late else ()
            found |= dict.fromkeys(mean for mean in means_below(number) if mean not in late)
        return tuple(sorted(found, key=lambda mean: (mean.level, mean.text)))

    @property
    def all_numbers(self) -> tuple[Number, ...]:
        """The distinct numbers of all terms."""
        return tuple(dict.fromkeys(number for terms in self.numbers.values() for number, _ in terms))

    @property
    def exact(self) -> tuple[Number, ...]:
        """The numbers that depend on one example at most: their averages are exact."""
        return tuple(number for number in self.all_numbers if len(number.positions) < 2)

    @property
    def paired(self) -> tuple[Number, ...]:
        """The numbers whose parts are interleaved: examples have to be paired."""
        return tuple(number for number in self.all_numbers if len(number.positions) > 1)

    @property
    def exact_cost(self) -> float:
        """The expected cost of everything exact, in gradients."""
        return gradients(piece for piece in self._pieces if not piece[0].startswith("pass"))

    @property
    def pass_cost(self) -> float:
        """The expected cost of one pass over all interleaved numbers, in gradients."""
        return self.pass_cost_of(self.paired)

    @property
    def _pieces(self) -> set[Piece]:
        return {piece for number in self.all_numbers for piece in pieces(number, self.model)}

    @property
    def positions(self) -> tuple[int, ...]:
        """The positions of a row of the interleaved numbers."""
        return positions_of(self.paired)

    @property
    def all_positions(self) -> tuple[int, ...]:
        """The positions of all numbers, and of the averages that they are made from."""
        below = (mean.of for number in self.all_numbers for mean in means_below(number))
        return positions_of((*self.all_numbers, *below))

    def combine(self, numbers: Mapping[Number, np.ndarray]) -> dict[Diagram, np.ndarray]:
        """Return the value of every diagram from the averages of the numbers, arrays of replicates."""
        terms = {
            term: sum((float(weight) * numbers[number] for number, weight in parts), np.zeros(1))
            for term, parts in self.numbers.items()
        }
        return {
            diagram: sum((float(weight) * terms[term] for term, weight in weights.items()), np.zeros(1))
            for diagram, weights in self.values.items()
        }

    def by_number(self, weights: Mapping[Diagram, float]) -> dict[Number, float]:
        """Return a combination of values as one of the averages of the numbers."""
        found: dict[Number, float] = {}
        for diagram, weight in weights.items():
            for term, share in self.values[diagram].items():
                for number, part in self.numbers[term]:
                    found[number] = found.get(number, 0.0) + weight * float(share * part)
        return found

    def pass_cost_of(self, numbers: Iterable[Number]) -> float:
        """The expected cost of one pass over some interleaved numbers, in gradients."""
        found = {piece for number in numbers for piece in pieces(number, self.model)}
        return gradients(piece for piece in found if piece[0].startswith("pass"))

    def kinds(self, kinds: Mapping[Number, str], ranks: Sequence[str] = ("exact", "pairing")) -> dict[Diagram, str]:
        """Return how every diagram is estimated, by how its numbers are.

        Args:
            kinds: how the numbers are estimated.
            ranks: all kinds from the most exact to the least, which decides for a diagram.
        """
        return {
            diagram: max(
                (kinds[number] for term in weights for number, _ in self.numbers[term]),
                key=ranks.index,
                default="exact",
            )
            for diagram, weights in self.values.items()
        }

    def asked_for(self, item: Number | Mean) -> Diagram:
        """Return the first diagram that needs a number or an averaged vector."""
        return next(
            diagram
            for diagram, weights in self.values.items()
            for term in weights
            for number, _ in self.numbers[term]
            if item == number or item in means_below(number)
        )

    def __repr__(self) -> str:
        return f"<Plan of {len(self.values)} diagrams, {len(self.numbers)} distinct values>"

    def __str__(self) -> str:
        paired = {term for term, parts in self.numbers.items() if any(len(n.positions) > 1 for n, _ in parts)}
        names: dict[Term, list[str]] = {}
        for diagram, terms in self.values.items():
            for term in terms:
                names.setdefault(term, []).append(str(diagram))
        lines = [
            f"{len(self.values)} diagrams, {len(self.numbers)} distinct values: "
            f"{len(self.numbers) - len(paired)} exact, {len(paired)} paired "
            f"({self.basis} basis, {self.reading} reading)",
            f"averaged first ({len(self.means)}): {', '.join(mean.text for mean in self.means) or 'nothing'}",
            f"expected cost: {self.exact_cost:.0f} gradients, and {self.pass_cost:.0f} for every pairing",
        ]
        width = max((len(str(term.diagram)) for term in self.numbers), default=0)
        for term, parts in self.numbers.items():
            written = " ".join(f"{_sign(weight, first)}{number}" for first, (number, weight) in _first(parts)) or "0"
            how = "paired" if term in paired else "exact"
            lines.append(f"  {str(term.diagram).ljust(width)}   {how}   {written}")
        return "\n".join(lines)


def make_plan(values: Mapping[Diagram, Weights], basis: str, reading: str, model: CostModel = ARITHMETIC_BOUND) -> Plan:
    """Choose how to compute every term of the values."""
    terms = sorted({term for weights in values.values() for term in weights})
    trees = {term: _parts(Tree.of_term(term)) for term in terms}
    chosen, ways = choose_ways(list(dict.fromkeys(tree for parts in trees.values() for tree, _ in parts)), model)
    numbers = {term: tuple((chosen[tree], weight) for tree, weight in parts) for term, parts in trees.items()}
    return Plan(values, {term: _collected(parts) for term, parts in numbers.items()}, ways, basis, reading, model)


def _parts(tree: Tree) -> list[tuple[Tree, Fraction]]:
    """Write a tree as a sum of trees that have a way with every node centred at once."""
    if tree.vanishes:
        return []
    fewest = min(tree.ways(), key=lambda way: (len(way.uncentred), max(1, len(way.number.positions)), way.number.text))
    if not fewest.uncentred:
        return [(tree, Fraction(1))]
    plain, alone = tree.centre_apart(fewest.uncentred[0])
    return _parts(plain) + [(other, -weight) for other, weight in (_parts(alone) if alone else [])]


def _collected(parts: Iterable[tuple[Number, Fraction]]) -> Combination:
    weights: dict[Number, Fraction] = {}
    for number, weight in parts:
        weights[number] = weights.get(number, Fraction(0)) + weight
    return tuple((number, weight) for number, weight in weights.items() if weight)


def _first(parts: Combination) -> list[tuple[bool, tuple[Number, Fraction]]]:
    return [(index == 0, part) for index, part in enumerate(parts)]


def _sign(weight: Fraction, first: bool) -> str:
    size = "" if abs(weight) == 1 else f"{abs(weight)}·"
    return ("−" if weight < 0 else "" if first else "+ ") + ("" if first or weight > 0 else " ") + size
