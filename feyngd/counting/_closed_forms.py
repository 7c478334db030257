"""Closed forms of embedding counts for every sampling scheme.

A diagram enters with its root taken out: a forest of items, nodes or cells, each placed at a gradient step, with a
partition into P parts. The count is a sum over weak orders, of items by time or epoch and of parts by batch, and each
sum is a down-set
recursion over exact polynomials. Sizes that are numbers cut the recursion short; the others stay symbols. All forms
hold for N ≥ P.

References:
    Tenka, "A Space-Time Approach to Analyzing SGD", Definition 3; the sums over weak orders are the project's own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from sympy.polys.rings import PolyElement

from ..diagrams import CellDiagram, Diagram
from . import _ratio
from ._falling_sum import FallingSum, Numbers, Products, WeightTable
from ._items import Items
from ._ratio import RING, Ratio, binomial, falling, ring_size, scaled_binomial
from ._slots import spread_over_slots
from ._uneven_epochs import Uneven, uneven_form
from ._weak_orders import weak_order_sums


@dataclass(frozen=True)
class Scheme:
    """A sampling scheme and the sizes that are numbers; `None` where a size is a symbol.

    Attributes:
        sampling: the scheme.
        N, B, E, T: the sizes.
        in_steps: whether the length is given by the number of steps T and not by that of epochs E.
        uneven: epochs that have a smaller last batch, leave points out or are cut, in batches of numbers; `None` where
            every epoch goes once through all points in batches of B.
    """

    sampling: str
    N: int | None
    B: int | None
    E: int | None
    T: int | None
    in_steps: bool
    uneven: Uneven | None = None


def closed_form(diagram: Diagram, scheme: Scheme) -> Ratio:
    """Return the expected number of embeddings of a diagram, whatever its root is tied to."""
    alone = diagram.untie_root() if diagram.is_root_tied else diagram
    if alone.order == 0:
        return _ratio.ONE
    if scheme.N is not None and len(alone.parts) - 1 > scheme.N:
        return _ratio.ZERO
    if isinstance(alone, CellDiagram) and not alone.can_be_placed:
        return _ratio.ZERO
    return _closed_form(alone, scheme)


@lru_cache(maxsize=1 << 15)
def _closed_form(diagram: Diagram, scheme: Scheme) -> Ratio:
    items = Items.of(diagram)
    if scheme.uneven is not None:
        return uneven_form(items, scheme.sampling, scheme.uneven)
    return _FORMS[scheme.sampling](items, scheme)


def _choose(
    length: PolyElement, before: Sequence[int], weight: Callable[[int], int], max_blocks: int | None
) -> PolyElement:
    """Count the strictly order-preserving maps to `length` times: Σ over strict weak orders of C(length, blocks)."""
    sums = weak_order_sums(before, weight, 1, max_blocks=max_blocks)
    return sum((binomial(length, k) * ways for k, ways in sums.items()), RING.zero)


def _full_batch(items: Items, scheme: Scheme) -> Ratio:
    """N^(P) Σ_w C(T, |w|) over strict weak orders w of the items by time."""
    times = _choose(ring_size(scheme.T, _ratio.T), items.before, items.may_share, scheme.T)
    return Ratio.make(falling(ring_size(scheme.N, _ratio.N), items.num_parts) * times)


def _fixed(items: Items, scheme: Scheme) -> Ratio:
    """Σ over the set of edges whose two ends share an epoch of (epoch maps) × (batch assignments of the parts).

    Ends in one epoch need the child's batch to be strictly earlier; ends in different epochs leave the batches free.
    """
    epochs = ring_size(scheme.E, _ratio.E)
    total = RING.zero
    for groups in items.each_grouping():
        batches = _batch_assignments(items.num_parts, groups.arcs, scheme.N, scheme.B)
        if batches:
            total += batches * _choose(epochs, groups.before, groups.weight, scheme.E)
    return Ratio.make(total)


@lru_cache(maxsize=1 << 16)
def _batch_assignments(parts: int, arcs: frozenset[tuple[int, int]], N: int | None, B: int | None) -> PolyElement:
    """Σ over weak orders of the parts by batch of C(N/B, k) Π B^(block size); each arc's first part comes first."""
    before = [0] * parts
    for child, parent in arcs:
        if child == parent:
            return RING.zero
        before[parent] |= 1 << child
    points, batch = ring_size(N, _ratio.N), ring_size(B, _ratio.B)
    # One factor of B from every block makes C(N/B, k) B^k a polynomial; falling(B − 1, b − 1) is what is left of B^(b).
    weights = [RING.one] + [falling(batch - 1, size - 1) for size in range(1, parts + 1)]
    sums = weak_order_sums(before, lambda block: weights[block.bit_count()], RING.one)
    return sum((scaled_binomial(points, batch, k) * value for k, value in sums.items()), RING.zero)


def _reshuffled(items: Items, scheme: Scheme) -> Ratio:
    """N^(P) Σ over weak orders of the items by epoch of C(E, k) Π_epochs (batch assignments of its Q parts) / N^(Q)."""
    table = _weights(scheme)

    def epoch(block: int) -> Numbers | None:
        if not items.may_share(block):
            return None
        sizes, arcs = items.parts_in(block)
        parts = len(sizes)
        return table.named(
            (parts, arcs), lambda: FallingSum({(parts,): _batch_assignments(parts, arcs, scheme.N, scheme.B)})
        )

    sums = weak_order_sums(items.before, epoch, _ONE, strict=False, max_blocks=scheme.E)
    return table.total(sums.values(), items.num_parts)


@lru_cache(maxsize=64)
def _weights(scheme: Scheme) -> WeightTable:
    """Return the table of the weights of epochs or, with replacement, of steps."""
    points, batch = ring_size(scheme.N, _ratio.N), ring_size(scheme.B, _ratio.B)
    epochs, steps = ring_size(scheme.E, _ratio.E), ring_size(scheme.T, _ratio.T)
    if scheme.sampling == "reshuffled":
        return WeightTable(partial(binomial, epochs), scheme.N)
    if scheme.in_steps:
        return WeightTable(partial(binomial, steps), scheme.N)
    return WeightTable(partial(scaled_binomial, epochs * points, batch), scheme.N)


def _with_replacement(items: Items, scheme: Scheme) -> Ratio:
    """N^(P) Σ over strict weak orders of the items by time of C(T, k) Π_steps Σ_j (ways to use j slots) B^(j) / N^j."""
    table = _weights(scheme)

    def step(block: int) -> Numbers:
        groups = items.groups_in(block)
        return table.named(groups, lambda: _step_weight(groups, scheme))

    sums = weak_order_sums(items.before, step, _ONE, max_blocks=scheme.T)
    return table.total(sums.values(), items.num_parts)


def _step_weight(groups: tuple[int, ...], scheme: Scheme) -> FallingSum:
    batch = ring_size(scheme.B, _ratio.B)
    # Where the length is in epochs, one factor of B from every step makes C(E N/B, k) B^k a polynomial.
    return FallingSum(
        {
            (1,) * slots: (falling(batch, slots) if scheme.in_steps else falling(batch - 1, slots - 1)) * count
            for slots, count in spread_over_slots(groups).items()
        }
    )


_ONE = Products({(): 1})
_FORMS = {
    "full-batch": _full_batch,
    "fixed": _fixed,
    "reshuffled": _reshuffled,
    "with-replacement": _with_replacement,
}
