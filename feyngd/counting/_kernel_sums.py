"""Sums over embeddings of products of kernels κ(t, s), on a concrete spacetime, by dynamic programming.

Nothing is listed: time goes step by step, for all steps at once. The state is the set of the nodes placed so far, a
down-set; which of the edges that are open, from a node to a parent not placed yet, are still in the optimizer's memory
and have not moved the iterate; and which parts were met in the present epoch. What leads from one state to another is a
number for every step, and the states are a graph without circles, so that each state's number at every step follows
from those of the states before it by one linear recurrence.

The edges to the root carry what a step does to the point of measurement, which holds averages of the iterates. Where
the number is wanted after every step, they stay open instead, and the last states are read at every step.

Points of a reshuffled epoch are met once, so that the nodes of a part within an epoch share its step. In batches that
are fixed, sums over cumulant embeddings come first, in which every part has its point for itself: the point of a part
with one node is summed at once, and others are an axis of the arrays. Moments follow by Möbius inversion.

References:
    The kernels of linear optimizers in place of η: the project's own, checked against enumeration.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import factorial, perm
from typing import Any

import numpy as np

from ..diagrams import CellDiagram, Diagram
from ..errors import ArgumentError
from ..optimizers import Recurrence
from ..spacetimes import Spacetime
from ._propagator_sums import Labels, coarser, parts_of_nodes
from ._slots import spread_over_slots
from ._time_series import Arithmetic

_MOST_NUMBERS = 100_000_000  # of one array, over points and steps: 800 MB of floats


@dataclass(frozen=True)
class Weights:
    """A spacetime and an optimizer as numbers for every step.

    Attributes:
        spacetime: the spacetime.
        recurrence: the kernel.
        to_end: what a step does to the point of measurement; `None` to read the iterate after every step.
        averaging: whether cells are weighted by B / (size of their batch).
        arithmetic: of the numbers.
    """

    spacetime: Spacetime
    recurrence: Recurrence
    to_end: tuple[Any, ...] | None
    averaging: bool
    arithmetic: Arithmetic

    @cached_property
    def steps(self) -> int:
        """The number of steps."""
        return int(self.spacetime.T)

    @cached_property
    def of_steps(self) -> dict[str, np.ndarray]:
        """The kernel's numbers for every step, by name."""
        parts = {name: getattr(self.recurrence, name) for name in ("direct", "gain", "decay", "readout")}
        if self.to_end is not None:
            parts["to_end"] = self.to_end
        return {name: self.arithmetic.array(values) for name, values in parts.items()}

    @cached_property
    def _sizes(self) -> tuple[list[int], np.ndarray]:
        """The different sizes of batches, and which of them every step has."""
        sizes, which = np.unique(np.array(self.spacetime.batch_sizes(), dtype=int), return_inverse=True)
        return sizes.tolist(), which

    def by_size(self, value: Callable[[int], Fraction]) -> np.ndarray:
        """Return a number of every step's batch, from a function of its size; one number where all sizes are equal."""
        sizes, which = self._sizes
        numbers = self.arithmetic.array([value(size) for size in sizes])
        return numbers if len(sizes) == 1 else numbers[which]

    @cached_property
    def shares(self) -> np.ndarray:
        """The weight of a cell of every step."""
        B = int(self.spacetime.B)
        return self.by_size(lambda size: Fraction(B, size) if self.averaging else Fraction(1))


def kernel_sum(diagram: Diagram, weights: Weights, *, basis: str) -> Any:
    """Return the expected sum over embeddings of Π_edges κ, or one such sum after every number of steps.

    Args:
        diagram: the diagram; whatever its root is tied to does not matter.
        weights: the spacetime and the optimizer.
        basis: "moment" or "cumulant".

    Returns:
        A number, or an array of T + 1 of them where the weights have no `to_end`.

    Raises:
        ArgumentError: known batches hold too many kinds of points for the steps there are.
    """
    labels = parts_of_nodes(diagram)
    if isinstance(diagram, CellDiagram) and not diagram.can_be_placed:
        return _zero(weights)
    if weights.spacetime.sampling in ("explicit", "fixed"):
        return _on_known_batches(diagram, labels, weights, basis)
    total = _zero(weights)
    for own in coarser(labels) if basis == "cumulant" else [labels]:
        if max(own, default=-1) < weights.spacetime.N:
            points = perm(int(weights.spacetime.N), max(own, default=-1) + 1)
            total = total + _Sums(diagram, own, weights).total() * weights.arithmetic.number(points)
    return total


def _zero(weights: Weights) -> Any:
    """Return the sum over nothing."""
    if weights.to_end is not None:
        return weights.arithmetic.number(0)
    return weights.arithmetic.full((weights.steps + 1,), 0)


def _on_known_batches(diagram: Diagram, labels: Labels, weights: Weights, basis: str) -> Any:
    """Sum over cumulant embeddings in known batches; for moments over coarser partitions with their Möbius signs."""
    partitions = list(coarser(labels)) if basis == "moment" else [labels]
    shared = max(sum(count > 1 for count in Counter(own).values()) for own in partitions)
    points, counts = kinds_of_points(weights.spacetime, shared, weights.steps + 1)
    total = _zero(weights)
    for own in partitions:
        merged = Counter(own[labels.index(part)] for part in range(max(labels, default=-1) + 1))
        sign = 1
        for size in merged.values():
            sign *= (-1) ** (size - 1) * factorial(size - 1)
        total = total + _SumsOverPoints(diagram, own, weights, points, counts).total() * weights.arithmetic.number(sign)
    return total


def kinds_of_points(spacetime: Spacetime, axes: int, numbers_each: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how often every step's batch lists a point of each kind, shape (kinds, T), and their numbers of points.

    Args:
        spacetime: a spacetime with known batches.
        axes: how many parts have an axis of kinds.
        numbers_each: how many numbers are kept for every choice of their kinds.

    Raises:
        ArgumentError: arrays over kinds are too large.
    """
    steps = int(spacetime.T)
    if not axes:
        return np.zeros((0, steps), dtype=int), np.zeros(0, dtype=int)
    N, length = int(spacetime.N), int(spacetime.epoch_steps) if spacetime.sampling == "fixed" else 0
    kinds = length or min(N, len({n for batch in spacetime.explicit or () for n in batch}))
    if (numbers := float(kinds) ** axes * numbers_each) > _MOST_NUMBERS:
        raise ArgumentError(
            f"These batches have about {kinds:,} kinds of points. For diagrams with {axes} parts of several nodes, "
            f"sums with an optimizer take arrays of {numbers:.1g} numbers, the limit is {_MOST_NUMBERS:.0e}: use "
            "reshuffled batches, fewer steps or a lower order."
        )
    if length:
        visits = np.arange(steps) % length == np.arange(length)[:, None]
        sizes = np.full(length, int(spacetime.B))
        if spacetime.last_batch:
            sizes[-1] = spacetime.last_batch
        return visits.astype(int), sizes
    seen = np.zeros((N, steps), dtype=int)
    for step, batch in enumerate(spacetime.explicit or ()):
        np.add.at(seen[:, step], list(batch), 1)
    return np.unique(seen[seen.any(axis=1)], axis=0, return_counts=True)


State = tuple[int, int, int, int]  # nodes placed, open edges in the memory, parts met in the epoch, how many of them


class _Sums:
    """The sum for one partition of the nodes; batches are drawn at random.

    Args:
        diagram: the diagram.
        labels: the part of every non-root node.
        weights: the spacetime and the optimizer.
    """

    def __init__(self, diagram: Diagram, labels: Labels, weights: Weights) -> None:
        self._labels, self._weights, self._arithmetic = labels, weights, weights.arithmetic
        self._size = diagram.order
        self._full = (1 << self._size) - 1
        self._children = [sum(1 << (c - 1) for c in diagram.children[v]) for v in range(1, diagram.order + 1)]
        self._below_root = sum(1 << (c - 1) for c in diagram.children[0])
        self._of_part = [sum(1 << v for v in range(self._size) if labels[v] == p) for p in range(self._parts)]
        self._products: dict[tuple[int, ...], Any] = {}
        self._cell_of = diagram.cells[1:] if isinstance(diagram, CellDiagram) else None
        spacetime = weights.spacetime
        self._epoch = int(spacetime.epoch_steps) if spacetime.sampling == "reshuffled" else None
        self._inside = np.ones(weights.steps, dtype=bool)  # steps that do not end an epoch
        if self._epoch:
            self._inside[self._epoch - 1 :: self._epoch] = False

    @property
    def _parts(self) -> int:
        return max(self._labels, default=-1) + 1

    @property
    def _shape(self) -> tuple[int, ...]:
        """The axes before that of steps."""
        return ()

    def total(self) -> Any:
        """Return the sum without the ways to choose points."""
        inputs: dict[State, Any] = {}
        found: dict[State, np.ndarray] = {}
        start: State = (0, 0, 0, 0)
        queue = {start}
        while queue:
            state = min(queue, key=_rank)
            queue.remove(state)
            amplitude = self._amplitude(state, inputs.pop(state, None), first=int(state == start))
            if state[0] == self._full:
                found[state] = amplitude
            for after, numbers in self._leading_on(state):
                term = amplitude[..., :-1] * numbers
                inputs[after] = inputs[after] + term if after in inputs else term
                queue.add(after)
        ends = [amplitude for (_, memory, _, _), amplitude in found.items() if not memory & self._below_root]
        result = sum(ends[1:], ends[0]) if ends else self._arithmetic.full((*self._shape, self._weights.steps + 1), 0)
        return self._read(result)

    def _read(self, amplitude: np.ndarray) -> Any:
        return amplitude if self._weights.to_end is None else amplitude[..., -1]

    def _amplitude(self, state: State, inputs: Any, *, first: int) -> np.ndarray:
        """Return the number of a state before every step and after the last."""
        _, memory, _, count = state
        steps = self._weights.steps
        given = self._arithmetic.full((*self._shape, steps), 0) if inputs is None else inputs
        factors = self._power("decay", memory.bit_count()) if memory else None
        return self._arithmetic.accumulated(given, factors, first, self._epoch if count else None)

    def _leading_on(self, state: State) -> Iterator[tuple[State, np.ndarray]]:
        """Iterate over the other states that a step may lead to, with the numbers of every step."""
        placed, memory, _, count_before = state
        for block in self._next_blocks(placed, memory):
            cells = self._cells(block, state)
            if cells is None:
                continue
            weight, met, count = cells
            new = block if self._weights.to_end is None else block & ~self._below_root  # whose edges stay open
            ended = (block & self._below_root).bit_count() if self._weights.to_end is not None else 0
            has_memory = self._weights.recurrence.has_memory
            for keeps in subsets(memory):
                for enters in subsets(new) if has_memory else [0]:
                    if not block and keeps == memory and not count_before:
                        continue  # the state itself
                    numbers = self._moves(memory, keeps, new, enters, ended) * weight
                    after = (placed | block, keeps | enters, *self._still_met(placed | block, met, count))
                    yield from self._at_ends_of_epochs(state, after, numbers)

    def _at_ends_of_epochs(self, state: State, after: State, numbers: Any) -> Iterator[tuple[State, np.ndarray]]:
        """Split what a step leads to: at the end of an epoch all parts may be met anew."""
        zero = self._arithmetic.number(0)
        if not self._epoch or not after[3]:
            if after != state:
                yield after, numbers
            return
        everywhere = np.broadcast_to(numbers, (*self._shape, self._weights.steps))
        if after != state:
            yield after, np.where(self._inside, everywhere, zero)
        yield (*after[:2], 0, 0), np.where(self._inside, zero, everywhere)

    def _still_met(self, placed: int, met: int, count: int) -> tuple[int, int]:
        """Return which of the parts met matter: those with nodes to come; and how many were met, if any node is."""
        if placed == self._full:
            return 0, 0
        waiting = sum(1 << p for p in range(self._parts) if self._of_part[p] & ~placed)
        return met & waiting, count

    def _moves(self, memory: int, keeps: int, new: int, enters: int, ended: int) -> Any:
        """Return what a step does to the open edges and the new ones, for every step."""
        counts = {
            "decay": keeps.bit_count(),
            "readout": (memory & ~keeps).bit_count(),
            "gain": enters.bit_count(),
            "direct": (new & ~enters).bit_count(),
            "to_end": ended,
        }
        key = tuple(counts.values())
        if key not in self._products:
            product = self._arithmetic.full((self._weights.steps,), 1)
            for name, count in counts.items():
                if count:
                    product = product * self._power(name, count)
            self._products[key] = product
        return self._products[key]

    def _power(self, name: str, exponent: int) -> np.ndarray:
        return self._weights.of_steps[name] ** exponent

    def _next_blocks(self, placed: int, memory: int) -> Iterator[int]:
        """Iterate over the sets of nodes, possibly empty, that one step may place; no edge below is in the memory."""
        ready = 0
        for v in range(self._size):
            below = self._children[v]
            if not placed >> v & 1 and not below & ~placed and not below & memory:
                ready |= 1 << v
        return subsets(ready)

    def _cells(self, block: int, state: State) -> tuple[Any, int, int] | None:
        """Return the weight of a block's cells at every step and the parts met after it; `None` if it has no place."""
        _, _, met, count = state
        one = self._arithmetic.number(1)
        if not block:
            return one, met, count
        nodes_by_part = Counter(self._labels[v] for v in range(self._size) if block >> v & 1)
        cells = self._cells_by_part(block, self._labels)
        if cells is None:
            return None
        share = self._weights.shares ** block.bit_count()
        sampling, N = self._weights.spacetime.sampling, int(self._weights.spacetime.N)
        if sampling == "with-replacement":
            groups = nodes_by_part.values() if self._cell_of is None else [1] * sum(cells.values())
            B, ways = int(self._weights.spacetime.B), spread_over_slots(groups)
            chance = sum((Fraction(w * perm(B, slots), N**slots) for slots, w in ways.items()), Fraction(0))
            return share * self._arithmetic.number(chance), met, count
        if any(number > 1 for number in cells.values()):  # of one part: other uses of its point are at other steps
            return None
        if sampling == "full-batch":
            return share, met, count
        if any(met >> part & 1 for part in nodes_by_part):
            return None
        parts = len(nodes_by_part)
        chance = Fraction(1, perm(N - count, parts)) if count + parts <= N else Fraction(0)
        slots = self._weights.by_size(lambda size: perm(size, parts) * chance)
        return share * slots, met | sum(1 << part for part in nodes_by_part), count + parts

    def _cells_by_part(self, block: int, labels: Labels) -> dict[int, int] | None:
        """Return how many cells of every part a block holds; `None` if it cuts one. Without cells it counts parts."""
        cell_of = self._cell_of
        inside = [v for v in range(self._size) if block >> v & 1]
        if cell_of is None:
            return dict.fromkeys((labels[v] for v in inside), 1)
        held = {cell_of[v] for v in inside}
        if any(cell_of[v] in held and not block >> v & 1 for v in range(self._size)):
            return None
        return dict(Counter({cell_of[v]: labels[v] for v in inside}.values()))


class _SumsOverPoints(_Sums):
    """The sum over cumulant embeddings for one partition of the nodes; batches are known.

    Args:
        diagram: the diagram.
        labels: the part of every non-root node.
        weights: the spacetime and the optimizer.
        points: how often every step's batch lists a point of each kind, shape (kinds, T).
        counts: how many points of each kind there are.
    """

    def __init__(
        self, diagram: Diagram, labels: Labels, weights: Weights, points: np.ndarray, counts: np.ndarray
    ) -> None:
        super().__init__(diagram, labels, weights)
        self._own = parts_of_nodes(diagram)  # before parts were merged
        self._counts = counts
        self._shared = [part for part in range(self._parts) if labels.count(part) > 1]  # parts with an axis
        self._visits = weights.arithmetic.full(points.shape, 0)
        for index, times in np.ndenumerate(points):
            if times:
                self._visits[index] = weights.arithmetic.number(int(times))
        self._sizes = weights.by_size(Fraction)

    @property
    def _shape(self) -> tuple[int, ...]:
        return (len(self._counts),) * len(self._shared)

    def _cells(self, block: int, state: State) -> tuple[Any, int, int] | None:
        total: Any = self._weights.shares ** block.bit_count()
        if self._cell_of is not None:
            # Different uses take different slots; nodes of one use share a slot.
            cells = self._cells_by_part(block, self._own)
            if cells is None:
                return None
            for part, number in cells.items():
                of_point = self._of_node(self._own.index(part))
                for taken in range(number):
                    total = total * (of_point - self._weights.arithmetic.number(taken))
            return total, 0, 0
        for v in range(self._size):
            if block >> v & 1:
                total = total * self._of_node(v)
        return total, 0, 0

    def _of_node(self, v: int) -> np.ndarray:
        """Return the cells of a node's point at every step: those of each kind, or of all points together."""
        part = self._labels[v]
        if part not in self._shared:
            return self._sizes
        axis, shape = self._shared.index(part), [1] * len(self._shared)
        shape[axis] = len(self._counts)
        return self._visits.reshape(*shape, self._weights.steps)

    def _read(self, amplitude: np.ndarray) -> Any:
        found = np.broadcast_to(amplitude, (*self._shape, amplitude.shape[-1]))
        found = found if self._weights.to_end is None else found[..., -1:]
        numbers = np.array([self._arithmetic.number(int(count)) for count in self._counts])
        for _ in self._shared:
            found = np.tensordot(numbers, found, axes=(0, 0))
        return found if self._weights.to_end is None else found[0]


def _rank(state: State) -> tuple[int, int, int]:
    """Sort states so that what leads to a state comes before it."""
    placed, memory, _, count = state
    return placed.bit_count(), -memory.bit_count(), -count


def subsets(mask: int) -> Iterator[int]:
    """Iterate over the subsets of a set, the empty one last."""
    subset = mask
    while subset:
        yield subset
        subset = (subset - 1) & mask
    yield 0
