"""The search for the cheapest way to evaluate many trees together."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations

from ...errors import ArgumentError
from ._contractions import Tree
from ._costs import CostModel, Piece, gradients, pieces, row_pieces
from ._expressions import CELLS, OTHER_TEST, TEST, Number, vectors_in

_MOST_ASSIGNMENTS = 24  # of positions to the parts of a number: all of them up to four parts
_ROUNDS = 6  # of local search, if it does not settle before
_WORK = 400_000  # how many pieces the search may go through: many kicks for few trees
_REPEATS = 8  # how much a pass counts, which is repeated, against an average, which is computed once


def choose_ways(trees: Sequence[Tree], model: CostModel) -> tuple[dict[Tree, Number], dict[Number, Sequence[Number]]]:
    """Choose a way for every tree, so that together they cost little: a local search with kicks.

    Every tree takes the way that adds least to what the others need, until nothing changes. Then one vector after the
    other counts as free for a while, so that numbers move to it, and the search goes on from there.
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
    ways = [number for number in ways if OTHER_TEST not in number.positions]
    if not ways:
        raise ArgumentError(
            "Both roots of a diagram have two or more edges, and are measured on test data or are a measurement: such "
            "values are known up to order 3, where one root has one edge. Ask for order=3."
        )
    least = min(max(1, len(number.positions)) for number in ways)
    placements = {placed for number in ways if max(1, len(number.positions)) == least for placed in _placed(number)}
    return sorted(placements, key=lambda number: (gradients(pieces(number, model)), number.text))


class _Search:
    """Chooses one option for every tree; pieces are numbered, so that sums over them are fast."""

    def __init__(self, choices: Mapping[Tree, Sequence[Number]], model: CostModel) -> None:
        self._index: dict[Piece, int] = {}
        self._costs: list[int] = []
        self._options = [[self._numbered(pieces(number, model)) for number in options] for options in choices.values()]
        self.size = sum(len(option) for options in self._options for option in options)

    def settle(self, start: Sequence[int], free: Iterable[Piece]) -> list[int]:
        """Improve a choice until nothing changes, with some pieces free."""
        held, chosen = self._numbered(list(free)), list(start)
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


def _placed(number: Number) -> Iterable[Number]:
    """Iterate over the number with its positions numbered from 0, in every order unless there are too many."""
    labels = sorted(number.positions - {TEST})
    if not labels or labels[-1] >= CELLS:  # the positions of cells say which of them share an example
        yield number
        return
    for count, order in enumerate(permutations(range(len(labels)))):
        if count == _MOST_ASSIGNMENTS:
            return
        yield number.place(dict(zip(labels, order, strict=True)))
