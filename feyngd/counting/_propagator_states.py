"""What single steps do in a sum over embeddings of products of re-summed propagators, for any optimizer.

A gradient that a step is given moves the iterate and the optimizer's memory, and all later steps carry both on. Along
an eigenvector of the Hessian with the eigenvalue h, in units of −η, the step t does to what was moved

    x ← (1 − ηh direct_t) x + readout_t u,    u ← decay_t u − ηh gain_t x,

and a gradient at s starts it, with x = direct_s and u = gain_s. The propagator K(t, s) is the x before step t. It
solves K(t, s) = κ(t, s) − ηh Σ_{s<v<t} κ(t, v) K(v, s).

The state is the set of the nodes placed so far; of every edge that is open, from a node to a parent not placed yet,
whether it is in x or in u; and in reshuffled epochs which parts were met. Edges to the root may also be in the
exponential average w ← ρ w + (1 − ρ) x that a loss is measured at, with the new x.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import perm
from typing import Any, NamedTuple

from ..diagrams import Diagram
from ..optimizers import Recurrence
from ..spacetimes import Spacetime
from ._kernel_sums import subsets
from ._propagator_sums import Labels
from ._slots import spread_over_slots


class State(NamedTuple):
    """Where a sum over embeddings stands between two steps.

    Attributes:
        placed: the set of the nodes placed so far.
        remembered: the open edges that are in the memory u.
        averaged: the edges to the root that are in the average w; all other open edges are in the iterate x.
        met: the parts with nodes to come that the present epoch has met.
        met_before: how many parts the present epoch has met, if any node is to come.
    """

    placed: int
    remembered: int
    averaged: int
    met: int
    met_before: int


START = State(0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Move:
    """One thing that a step may do to a state.

    Attributes:
        after: the state it leads to, within an epoch.
        becomes: for every edge that is open or opened, its lower node and what it becomes, a name in `Step.factors`.
        block: the nodes that are placed.
        met_before: how many parts the epoch had met before.
    """

    after: State
    becomes: tuple[tuple[int, str], ...]
    block: int
    met_before: int


class Moves:
    """All that steps may do, by state.

    Args:
        diagram: the diagram.
        labels: the part of every non-root node; node v is bit v − 1 of a set of nodes.
        sampling: how batches are drawn; "known" if a part may be met in any of them.
        has_memory: whether the optimizer has a memory.
        root_open: whether edges to the root stay open. If not, the step that places their lower node closes them.
        has_average: whether edges to the root that stay open end in an exponential average.
    """

    def __init__(
        self,
        diagram: Diagram,
        labels: Labels,
        *,
        sampling: str,
        has_memory: bool,
        root_open: bool,
        has_average: bool = False,
    ) -> None:
        self.labels, self.size = labels, diagram.order
        self.full = (1 << self.size) - 1
        self.parts = max(labels, default=-1) + 1
        self._children = [sum(1 << (c - 1) for c in diagram.children[v]) for v in range(1, self.size + 1)]
        self._parents = [diagram.parents[v] - 1 for v in range(1, self.size + 1)]
        self._meets_once, self._has_memory, self._root_open = sampling == "reshuffled", has_memory, root_open
        self._to_average = sum(1 << (c - 1) for c in diagram.children[0]) if has_average else 0
        self.by_state: dict[State, list[Move]] = {}
        waiting = [START]
        while waiting:
            state = waiting.pop()
            if state not in self.by_state:
                self.by_state[state] = list(self._from(state))
                for move in self.by_state[state]:
                    waiting += [move.after, at_new_epoch(move.after)]

    @property
    def end(self) -> State:
        """The state in which all nodes are placed, and open edges to the root are where the loss is measured."""
        return State(self.full, 0, self._to_average, 0, 0)

    def nodes_by_part(self, block: int) -> Counter[int]:
        """Count the nodes of a block by part."""
        return Counter(self.labels[v] for v in range(self.size) if block >> v & 1)

    def _from(self, state: State) -> Iterator[Move]:
        for block in subsets(self._ready(state)):
            met, count = state.met, state.met_before
            if block and self._meets_once:
                parts = self.nodes_by_part(block)
                if any(met >> part & 1 for part in parts):
                    continue  # an epoch has each point in one batch
                met, count = met | sum(1 << part for part in parts), count + len(parts)
            placed = state.placed | block
            waiting = {self.labels[v] for v in range(self.size) if not placed >> v & 1}
            met, count = sum(1 << part for part in waiting if met >> part & 1), count if waiting else 0
            stay = [v for v in range(self.size) if self._is_open(state.placed, placed, v)]
            opened = [v for v in range(self.size) if block >> v & 1 and self._is_open(placed, placed, v)]
            closed = tuple((v, "to_end") for v in range(self.size) if block >> v & 1 and v not in opened)
            for remembered, averaged in self._places(sum(1 << v for v in (*stay, *opened))):
                after = State(placed, remembered, averaged, met, count)
                names = [(v, _BECOMES.get((_place(state, v), _place(after, v)))) for v in stay]
                names += [(v, _BECOMES["new", _place(after, v)]) for v in opened]
                becomes = tuple((v, name) for v, name in names if name is not None)
                if len(becomes) == len(names):
                    yield Move(after, closed + becomes, block, state.met_before)

    def _places(self, edges: int) -> Iterator[tuple[int, int]]:
        """Iterate over where open edges may be: those in the memory, and those in the average."""
        for remembered in subsets(edges if self._has_memory else 0):
            for averaged in subsets(edges & self._to_average & ~remembered):
                yield remembered, averaged

    def _ready(self, state: State) -> int:
        """Return the nodes that may be placed: all their children are, with edges that are in the iterate."""
        below = state.placed & ~state.remembered
        return sum(1 << v for v in range(self.size) if not state.placed >> v & 1 and not self._children[v] & ~below)

    def _is_open(self, before: int, after: int, v: int) -> bool:
        """Whether the edge above a node is open before a step and after it."""
        parent = self._parents[v]
        return bool(before >> v & 1) and (self._root_open if parent < 0 else not after >> parent & 1)


def _place(state: State, v: int) -> str:
    """Return where the open edge above a node is."""
    return "memory" if state.remembered >> v & 1 else "average" if state.averaged >> v & 1 else "iterate"


_BECOMES = {  # where an edge was, or that it is new, and where it is; an average is not passed on
    ("iterate", "iterate"): "stays",
    ("iterate", "memory"): "enters",
    ("iterate", "average"): "stays_averaged",
    ("memory", "iterate"): "readout",
    ("memory", "memory"): "decay",
    ("memory", "average"): "readout_averaged",
    ("average", "average"): "averaging",
    ("new", "iterate"): "direct",
    ("new", "memory"): "gain",
    ("new", "average"): "direct_averaged",
}


def at_new_epoch(state: State) -> State:
    """Return the state at the start of the next epoch, where all parts may be met again."""
    return State(state.placed, state.remembered, state.averaged, 0, 0)


class Cells:
    """The chance that the nodes of a block have their points in a batch, drawn at random, times their cells' weights.

    Args:
        moves: the moves.
        spacetime: the spacetime.
        number: turns fractions into numbers of the sum's kind.
    """

    def __init__(self, moves: Moves, spacetime: Spacetime, number: Callable[[Any], Any]) -> None:
        self._moves, self._sampling, self._number = moves, spacetime.sampling, number
        self._N, self._B = int(spacetime.N), int(spacetime.B)
        self._known: dict[tuple[int, int, int], Any] = {}

    def weight(self, move: Move, size: int) -> Any:
        """Return the weight of a move's block in a batch of some size."""
        key = (move.block, move.met_before, size)
        if key not in self._known:
            self._known[key] = self._number(self._weight(*key))
        return self._known[key]

    def _weight(self, block: int, met_before: int, size: int) -> Fraction:
        if not block or self._sampling == "full-batch":
            return Fraction(1)
        nodes = self._moves.nodes_by_part(block)
        if self._sampling == "with-replacement":
            ways = spread_over_slots(nodes.values())
            return sum((Fraction(w * perm(size, slots), self._N**slots) for slots, w in ways.items()), Fraction(0))
        if self._sampling != "reshuffled":
            raise KeyError(self._sampling)
        if met_before + len(nodes) > self._N:
            return Fraction(0)
        chance = Fraction(perm(size, len(nodes)), perm(self._N - met_before, len(nodes)))
        return chance * Fraction(self._B, size) ** block.bit_count()


@dataclass(frozen=True)
class Step:
    """The numbers of one step: what becomes of an edge, by name; `to_end` and what depends on h by edge.

    Attributes:
        direct, gain, decay, readout: the optimizer's.
        stays: 1 − ηh direct, for every edge.
        enters: −ηh gain, for every edge.
        to_end: by how much a gradient moves the point of measurement, for every edge; empty if edges to the root are
            open.
        averaging: ρ of the exponential average.
    """

    direct: Any
    gain: Any
    decay: Any
    readout: Any
    stays: tuple[Any, ...]
    enters: tuple[Any, ...]
    to_end: tuple[Any, ...] = ()
    averaging: Any = 0

    @property
    def stays_averaged(self) -> tuple[Any, ...]:
        """What the average gets of what stays in the iterate, for every edge."""
        return tuple((1 - self.averaging) * stays for stays in self.stays)

    @property
    def readout_averaged(self) -> Any:
        """What the average gets of the memory."""
        return (1 - self.averaging) * self.readout

    @property
    def direct_averaged(self) -> Any:
        """What the average gets of a gradient in its own step."""
        return (1 - self.averaging) * self.direct

    @classmethod
    def of(cls, recurrence: Recurrence, t: int, damping: Sequence[Any], number: Callable[[Any], Any]) -> "Step":
        """Return a step of an optimizer, with ηh, the damping, of every edge."""
        parts = (recurrence.direct, recurrence.gain, recurrence.decay, recurrence.readout)
        direct, gain, decay, readout = (number(part[t]) for part in parts)
        stays, enters = tuple(1 - c * direct for c in damping), tuple(-c * gain for c in damping)
        return cls(direct, gain, decay, readout, stays, enters)

    def products(self) -> Callable[[tuple[tuple[int, str], ...]], Any]:
        """Return a function that multiplies what becomes of some edges, and keeps all products."""
        known: dict[tuple[tuple[int, str], ...], Any] = {}
        factors: dict[str, Any] = {}

        def product(becomes: tuple[tuple[int, str], ...]) -> Any:
            if becomes not in known:
                (v, name), rest = becomes[0], becomes[1:]
                if name not in factors:
                    factors[name] = getattr(self, name)
                factor = factors[name][v] if isinstance(factors[name], tuple) else factors[name]
                known[becomes] = factor * product(rest) if rest else factor
            return known[becomes]

        return product
