"""Sums over embeddings of products of re-summed propagators, for any optimizer, on any concrete spacetime.

Time goes step by step, as for plain SGD. Where all steps are alike, the sum is an entry of a power of the transfer
matrix, which takes about log T squarings; edges to the root are open until the end. Elsewhere time goes backwards, so
that what a step does to the point of measurement, an average of iterates too, is known for each edge to the root: these
are never open. Exponential averages in long runs are a state of edges to the root, and go by powers too.

References:
    Tenka, "A Space-Time Approach to Analyzing SGD", Theorem 2 (in exact discrete time); optimizers are the project's
    own, checked against enumeration.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import product
from math import perm, prod
from typing import Any

import numpy as np

from ..diagrams import Diagram
from ..optimizers import Optimizer
from ..spacetimes import Spacetime
from ._kernel_sums import kinds_of_points
from ._propagator_states import START, Cells, Move, Moves, State, Step, at_new_epoch
from ._propagator_sums import Labels, coarser, parts_of_nodes, propagated_count, row_times

Matrix = dict[State, dict[State, Any]]
Weight = Callable[[Move], Any]  # the chance of a move's points, times the weights of their cells

# Up to this many steps, or epochs, a row vector is multiplied step by step; beyond, the matrix is squared. For [a a],
# [a a a] and [a[b b]] with momentum at 650 curvatures, 16 took 0.01 to 0.2 s for 10³ to 10⁵ steps, 256 up to 1.6 s.
_FEW_STEPS = 16
_FEW_EPOCHS = 16
# Beyond so many steps exponential averages are worth a place of their own for edges, as powers take no longer for more
# steps: at 2,000 steps they took 0.1 and 1.5 s for [a a] and [a a a], going backwards 0.4 and 0.7 s.
_LONG = 1000


def resummed_count(
    diagram: Diagram,
    spacetime: Spacetime,
    optimizer: Optimizer,
    damping: Sequence[Any],
    number: Callable[[Any], Any] = Fraction,
) -> Any:
    """Return the expected sum over cumulant embeddings of Π_edges K, every cell weighted by B / (its batch).

    Args:
        diagram: the diagram; whatever its root is tied to does not matter.
        spacetime: a concrete spacetime.
        optimizer: the optimizer, without symbols; K, its propagator, is in units of η.
        damping: ηh of the edge above every non-root node, in order: numbers, or arrays that broadcast.
        number: turns exact numbers, and those of the optimizer, into such that add to and multiply the damping.

    Raises:
        ArgumentError: the optimizer does not fit the number of steps, or known batches hold too many kinds of points.
    """
    if optimizer.is_plain and (spacetime.is_even or spacetime.explicit is not None):
        return propagated_count(diagram, spacetime, [1 - c for c in damping], number)
    labels = parts_of_nodes(diagram)
    if spacetime.sampling in ("explicit", "fixed"):
        return _on_known_batches(diagram, labels, spacetime, optimizer, damping, number)
    total = number(Fraction(0))
    for own in coarser(labels):
        parts = max(own, default=-1) + 1
        if parts <= spacetime.N:
            found = _on_random_batches(diagram, own, spacetime, optimizer, damping, number)
            total = total + found * number(Fraction(perm(int(spacetime.N), parts)))
    return total


def _on_random_batches(
    diagram: Diagram,
    labels: Labels,
    spacetime: Spacetime,
    optimizer: Optimizer,
    damping: Sequence[Any],
    number: Callable[[Any], Any],
) -> Any:
    """Return the sum for one partition of the nodes, without the ways to choose points."""
    steps, epoch = int(spacetime.T), int(spacetime.epoch_steps) if spacetime.sampling == "reshuffled" else 0
    average = optimizer.average
    by_powers = steps > 0 and optimizer.is_constant and (average is None or (average.ema is not None and steps > _LONG))
    recurrence = optimizer.recurrence(1 if by_powers else steps)
    moves = Moves(
        diagram,
        labels,
        sampling=spacetime.sampling,
        has_memory=recurrence.has_memory,
        root_open=by_powers,
        has_average=by_powers and average is not None,
    )
    cells = Cells(moves, spacetime, number)
    unit, zero = number(Fraction(1)), number(Fraction(0))
    if not by_powers:
        sizes = spacetime.batch_sizes()
        column: Mapping[State, Any] = {moves.end: unit}
        for t, step in _from_the_last(diagram, optimizer, steps, damping, number):
            ends = bool(epoch) and (t + 1) % epoch == 0
            column = _before(column, moves, step, ends, partial(cells.weight, size=sizes[t]))
        return column.get(START, zero)
    step, B = Step.of(recurrence, 0, damping, number), int(spacetime.B)
    if average is not None:
        step = replace(step, averaging=number(average.ema))
    inside = Powers(_matrix(moves, step, False, partial(cells.weight, size=B)))
    row: Mapping[State, Any] = {START: unit}
    if epoch:
        last = _matrix(moves, step, True, partial(cells.weight, size=spacetime.last_batch or B))
        row = _after_epochs(row, inside, last, epoch, steps // epoch)
        steps %= epoch
    return inside.after(row, steps).get(moves.end, zero)


def _after_epochs(
    row: Mapping[State, Any], inside: "Powers", last: Matrix, length: int, epochs: int
) -> Mapping[State, Any]:
    """Multiply a row vector with the matrices of whole epochs, in each of which the last step has its own."""
    if epochs <= _FEW_EPOCHS:
        for _ in range(epochs):
            row = row_times(inside.after(row, length - 1), last)
        return row
    unit = row[START]
    starts = [state for state in last if state == at_new_epoch(state)]
    return Powers({one: row_times(inside.after({one: unit}, length - 1), last) for one in starts}).after(row, epochs)


class Powers:
    """The powers of a transfer matrix, of which the squares are kept."""

    def __init__(self, matrix: Matrix) -> None:
        self._squares = [matrix]

    def after(self, row: Mapping[State, Any], power: int) -> Mapping[State, Any]:
        """Multiply a row vector with a power of the matrix."""
        if power <= _FEW_STEPS:
            for _ in range(power):
                row = row_times(row, self._squares[0])
            return row
        for level in range(power.bit_length()):
            if level == len(self._squares):
                last = self._squares[-1]
                self._squares.append({state: row_times(entries, last) for state, entries in last.items()})
            if power >> level & 1:
                row = row_times(row, self._squares[level])
        return row


def _matrix(moves: Moves, step: Step, ends: bool, weight: Weight) -> Matrix:
    """Return the transfer matrix of one step; `ends` says whether it ends an epoch."""
    product_ = step.products()
    matrix: Matrix = {}
    for state, possible in moves.by_state.items():
        row = matrix.setdefault(state, {})
        for move in possible:
            after = at_new_epoch(move.after) if ends else move.after
            term = product_(move.becomes) * weight(move) if move.becomes else weight(move)
            row[after] = row[after] + term if after in row else term
    return matrix


def _before(column: Mapping[State, Any], moves: Moves, step: Step, ends: bool, weight: Weight) -> dict[State, Any]:
    """Multiply the transfer matrix of one step with a column vector, by state."""
    product_ = step.products()
    found: dict[State, Any] = {}
    for state, possible in moves.by_state.items():
        for move in possible:
            after = at_new_epoch(move.after) if ends else move.after
            if after in column:
                term = column[after] * weight(move)
                term = term * product_(move.becomes) if move.becomes else term
                found[state] = found[state] + term if state in found else term
    return found


def _from_the_last(
    diagram: Diagram, optimizer: Optimizer, steps: int, damping: Sequence[Any], number: Callable[[Any], Any]
) -> Iterator[tuple[int, Step]]:
    """Iterate over the steps, the last one first, with what each does to the point of measurement.

    Of every edge to the root, `position` is what that point gets of a unit of the iterate, `memory` of a unit of the
    memory, after the step.
    """
    recurrence = optimizer.recurrence(steps)
    weights = [0] * (steps - 1) + [1] if optimizer.average is None else optimizer.average.over_steps(steps)
    zero = number(Fraction(0))
    of_root = {v for v in range(diagram.order) if diagram.parents[v + 1] == 0}
    position, memory = [zero] * diagram.order, [zero] * diagram.order
    for t in reversed(range(steps)):
        step = Step.of(recurrence, t, damping, number)
        for v in of_root:
            position[v] = position[v] + number(weights[t])
        yield (
            t,
            replace(step, to_end=tuple(step.direct * p + step.gain * m for p, m in zip(position, memory, strict=True))),
        )
        for v in of_root:
            of_iterate, of_memory = position[v], memory[v]
            position[v] = step.stays[v] * of_iterate + step.enters[v] * of_memory
            memory[v] = step.readout * of_iterate + step.decay * of_memory


def _on_known_batches(
    diagram: Diagram,
    labels: Labels,
    spacetime: Spacetime,
    optimizer: Optimizer,
    damping: Sequence[Any],
    number: Callable[[Any], Any],
) -> Any:
    """Return the sum where batches are known: all points of a part with one node at once, others by their kinds.

    Kinds are an axis of floats; of exact numbers all choices are gone through.
    """
    shared = [part for part in range(max(labels, default=-1) + 1) if labels.count(part) > 1]
    shape = np.broadcast_shapes(*(np.shape(c) for c in damping))
    points, counts = kinds_of_points(spacetime, len(shared), prod(shape))
    moves = Moves(diagram, labels, sampling="known", has_memory=True, root_open=False)
    shares = [number(Fraction(int(spacetime.B), size)) for size in spacetime.batch_sizes()]

    def summed(seen: Mapping[int, Any]) -> Any:
        """Sum over all times, from how often every step's batch lists the point of a shared part, steps last."""

        def weight(move: Move, t: int) -> Any:
            total = number(Fraction(1))
            for part, nodes in moves.nodes_by_part(move.block).items():
                listed = seen[part][..., t] * shares[t] if part in seen else number(Fraction(int(spacetime.B)))
                total = total * listed**nodes
            return total

        column: Mapping[State, Any] = {moves.end: number(Fraction(1))}
        for t, step in _from_the_last(diagram, optimizer, int(spacetime.T), damping, number):
            column = _before(column, moves, step, False, partial(weight, t=t))
        return column.get(START, number(Fraction(0)))

    if number is not float:
        total = number(Fraction(0))
        for chosen in product(range(len(counts)), repeat=len(shared)):
            ways = number(Fraction(prod(int(counts[kind]) for kind in chosen)))
            seen = {part: _objects(points[kind], number) for part, kind in zip(shared, chosen, strict=True)}
            total = total + summed(seen) * ways
        return total
    axes = {part: (len(counts), *(1,) * (len(shared) - axis - 1 + len(shape))) for axis, part in enumerate(shared)}
    found = summed({part: points.reshape(*axes[part], points.shape[-1]).astype(float) for part in shared})
    found = np.broadcast_to(found, (len(counts),) * len(shared) + shape)
    for _ in shared:
        found = np.tensordot(counts.astype(float), found, axes=(0, 0))
    return found[()]


def _objects(values: np.ndarray, number: Callable[[Any], Any]) -> np.ndarray:
    """Return integers as an array of numbers of the sum's kind."""
    found = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        found[index] = number(Fraction(int(value)))
    return found
