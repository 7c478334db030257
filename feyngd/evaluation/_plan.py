"""The plan of an evaluation: which terms, which numbers in a row of examples, which averages before them.

The ways are chosen so that together the terms need little: they share the vectors they have in common. Costs count in
gradients of the mean loss over the whole population.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations

import numpy as np

from ..diagrams import Diagram
from ._costs import CONVOLUTIONAL, CostModel, Piece, gradients, pieces, row_pieces
from ._expressions import TEST, Dot, Mean, Number, means_below, vectors_in
from ._readings import Term, Weights
from ._trees import Tree

_MOST_ASSIGNMENTS = 24
_ROUNDS = 6
_WORK = 400_000  # how many pieces the search may go through: many kicks for few trees
_REPEATS = 8  # what a pass counts against an average, which is computed once

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
        model: what the costs are reckoned by.
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
        return gradients(piece for piece in self._pieces if piece[0].startswith("pass"))

    @property
    def _pieces(self) -> set[Piece]:
        return {piece for number in self.all_numbers for piece in pieces(number, self.model)}

    @property
    def positions(self) -> tuple[int, ...]:
        """The positions of a row of the interleaved numbers."""
        return tuple(sorted(frozenset().union(*(number.positions for number in self.paired)), key=lambda p: (p < 0, p)))

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

    def kinds(self, kinds: Mapping[Number, str]) -> dict[Diagram, str]:
        """Return how every diagram is estimated: the least exact way among its numbers."""
        ranks = ("exact", "double sum", "deflation", "strata", "pairing")
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


def make_plan(values: Mapping[Diagram, Weights], basis: str, reading: str, model: CostModel = CONVOLUTIONAL) -> Plan:
    """Choose how to compute every term of the values."""
    terms = sorted({term for weights in values.values() for term in weights})
    trees = {term: _parts(Tree.of_term(term)) for term in terms}
    chosen, ways = _choose(list(dict.fromkeys(tree for parts in trees.values() for tree, _ in parts)), model)
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


def _choose(trees: Sequence[Tree], model: CostModel) -> tuple[dict[Tree, Number], dict[Number, Sequence[Number]]]:
    """Choose a way for every tree, so that together they need little: a local search with kicks.

    Every tree takes the way that adds least to what the others need, until nothing changes. Then one vector after the
    other is held to be known for a while, so that numbers move to it, and the search goes on from there.
    """
    choices = {tree: _fewest_positions(tree, model) for tree in trees}
    search = _Search(choices, model)
    best = search.settle([0] * len(choices), ())
    vectors = {vector for options in choices.values() for option in options for vector in vectors_in(option)}
    kicks = sorted((v for v in vectors if len(v.positions) > 1 or v.inputs), key=lambda v: (len(v.text), v.text))
    for vector in kicks[: max(4, _WORK // max(1, search.size))]:
        kicked = search.settle(best, row_pieces("pass", vector, model))
        best = min(best, search.settle(kicked, ()), key=search.cost)
    chosen = {tree: options[choice] for (tree, options), choice in zip(choices.items(), best, strict=True)}
    return chosen, {chosen[tree]: options for tree, options in choices.items()}


def _fewest_positions(tree: Tree, model: CostModel) -> list[Number]:
    """Return the ways with the fewest positions, in every assignment of them, the cheapest first."""
    ways = [way.number for way in tree.ways() if not way.uncentred]
    least = min(max(1, len(number.positions)) for number in ways)
    fit = {placed for number in ways if max(1, len(number.positions)) == least for placed in _placed(number)}
    return sorted(fit, key=lambda number: (gradients(pieces(number, model)), number.text))


class _Search:
    """Chooses one option for every tree; pieces are numbered, so that sums over them are fast."""

    def __init__(self, choices: Mapping[Tree, Sequence[Number]], model: CostModel) -> None:
        self._index: dict[Piece, int] = {}
        self._costs: list[int] = []
        self._options = [[self._numbered(pieces(number, model)) for number in options] for options in choices.values()]
        self.size = sum(len(option) for options in self._options for option in options)

    def settle(self, start: Sequence[int], known: Iterable[Piece]) -> list[int]:
        """Improve a choice until nothing changes, with some pieces held to be known."""
        held, chosen = self._numbered(list(known)), list(start)
        needed = [0] * len(self._costs)
        for index in held:
            needed[index] += 1
        for options, choice in zip(self._options, chosen, strict=True):
            for index in options[choice]:
                needed[index] += 1
        for _ in range(_ROUNDS):
            before = list(chosen)
            for at, options in enumerate(self._options):
                for index in options[chosen[at]]:
                    needed[index] -= 1
                added = [sum(self._costs[i] for i in option if not needed[i]) for option in options]
                chosen[at] = added.index(min(added))
                for index in options[chosen[at]]:
                    needed[index] += 1
            if chosen == before:
                break
        return chosen

    def cost(self, chosen: Sequence[int]) -> int:
        """Return what a choice costs in all."""
        needed = {index for options, choice in zip(self._options, chosen, strict=True) for index in options[choice]}
        return sum(self._costs[index] for index in needed)

    def _numbered(self, found: Iterable[Piece]) -> list[int]:
        for piece in found:
            if piece not in self._index:
                self._index[piece] = len(self._costs)
                self._costs.append(piece[3] * (_REPEATS if piece[0].startswith("pass") else 1))
        return [self._index[piece] for piece in found]


def _collected(parts: Iterable[tuple[Number, Fraction]]) -> Combination:
    weights: dict[Number, Fraction] = {}
    for number, weight in parts:
        weights[number] = weights.get(number, Fraction(0)) + weight
    return tuple((number, weight) for number, weight in weights.items() if weight)


def _placed(number: Number) -> Iterable[Number]:
    """Iterate over the number with its positions numbered from 0, in every order unless there are too many."""
    labels = sorted(number.positions - {TEST})
    if not labels:
        yield number
        return
    for count, order in enumerate(permutations(range(len(labels)))):
        if count == _MOST_ASSIGNMENTS:
            return
        yield number.place(dict(zip(labels, order, strict=True)))


def _first(parts: Combination) -> list[tuple[bool, tuple[Number, Fraction]]]:
    return [(index == 0, part) for index, part in enumerate(parts)]


def _sign(weight: Fraction, first: bool) -> str:
    size = "" if abs(weight) == 1 else f"{abs(weight)}·"
    return ("−" if weight < 0 else "" if first else "+ ") + ("" if first or weight > 0 else " ") + size
