"""Counting the placements of a diagram in a spacetime."""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from math import comb

import sympy

from .._arguments import check_basis
from ..diagrams import STEPS, CellDiagram, Diagram, check_cost, check_one_root
from ..errors import ArgumentError, SpacetimeError
from ..optimizers import PLAIN, Optimizer, check_optimizer
from ..spacetimes import Spacetime, check_spacetime, one_run
from . import _ratio
from ._closed_forms import Scheme, closed_form
from ._kernel_count import kernel_count
from ._listing import count_on_batches, list_cell_embeddings, list_embeddings
from ._ratio import Ratio, constant
from ._uneven_epochs import Uneven

_COUNTED_PARTS = 100  # with more parts the cost is a lower bound, far above any limit


def count_embeddings(
    diagram: Diagram,
    spacetime: Spacetime,
    *,
    basis: str = "moment",
    optimizer: Optimizer = PLAIN,
    limit: int | None = STEPS,
) -> sympy.Expr:
    """Count the placements of a diagram in a spacetime.

    An *embedding* maps the non-root nodes to cells (n, t), datapoint n in the batch of step t, such that every child is
    strictly earlier than its parent, and two nodes share the datapoint if and only if they are in the same part. The
    root comes after all steps and is not placed, so what it is tied to does not matter here. In the cumulant basis
    different parts may share a datapoint too. Nodes are labelled, and a point listed twice in a batch is two cells. For
    random batches the result is the expected number.

    With an optimizer every placement counts Π_edges κ(t, s), from the step s of the child to the step t of the parent;
    edges to the root go to the point of measurement: κ(T, s), or Σ_t w_t κ(t, s) for an average.

    Args:
        diagram: the diagram.
        spacetime: where to place it; sizes may be symbols.
        basis: "moment" or "cumulant".
        optimizer: plain SGD by default, for which all kernels are 1. A metric does not change counts.
        limit: the largest number of steps, of some microseconds each, that the sum over weak orders of the nodes may
            take; `None` for any. Their number grows exponentially with the order.

    Returns:
        On a concrete spacetime an exact integer or rational number; in the moment basis it is 0 if there are fewer
        points than non-root parts. On a symbolic spacetime an exact rational function of its symbols, valid for N ≥ the
        number of non-root parts. With an optimizer a polynomial in its symbols, on a symbolic spacetime a rational
        function of N, B, E, T, β, β^(N/B) and β^T; a float if a parameter is one.

    Raises:
        ArgumentError: the basis is unknown, counting takes more than `limit` steps, or the optimizer does not fit the
            spacetime: it has another number of steps, or no closed form with symbolic sizes.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Definition 3 and Theorem 1.

    Examples:
        >>> import feyngd as fd
        >>> from sympy import symbols
        >>> N, E = symbols("N E", integer=True, positive=True)
        >>> fd.count_embeddings(fd.Diagram.parse("[a[a]]"), fd.Spacetime.sgd(N=N, E=E, sampling="fixed")).factor()
        E*N*(E - 1)/2
        >>> fd.count_embeddings(fd.Diagram.parse("[a b]"), fd.Spacetime.sgd(N=3))
        6
        >>> fd.count_embeddings(fd.Diagram.parse("[a]"), fd.Spacetime.sgd(N=3), optimizer=fd.momentum(symbols("beta")))
        beta**2 + 2*beta + 3
    """
    check_basis(basis)
    check_optimizer(optimizer)
    _check_types(diagram, spacetime)
    _check_cells(diagram, basis, optimizer, spacetime)
    what = f"steps to count this diagram of order {diagram.order} with {len(diagram.parts)} parts"
    check_cost(what, _steps(diagram, spacetime, basis), limit, instead="take a smaller diagram")
    if not optimizer.is_plain:
        return kernel_count(diagram, spacetime, optimizer, basis=basis)
    return count_ratio(diagram, spacetime, basis=basis).as_expr(symbol_sizes(spacetime))


def _check_cells(diagram: Diagram, basis: str, optimizer: Optimizer, spacetime: Spacetime) -> None:
    if not isinstance(diagram, CellDiagram):
        return
    if basis == "cumulant":
        raise ArgumentError(f"{diagram} has cells, which are counted in moments: leave basis out.")
    if not optimizer.is_plain and not spacetime.is_concrete:
        raise ArgumentError(
            f"With an optimizer diagrams with cells are counted on concrete spacetimes, and {spacetime} has symbols: "
            "give numbers."
        )


def _check_types(diagram: Diagram, spacetime: Spacetime) -> None:
    if not isinstance(diagram, Diagram):
        raise ArgumentError(f"A Diagram is placed, such as Diagram.parse('[a b]'); got {diagram!r}.")
    check_one_root(diagram, "placed")
    check_spacetime(spacetime)


def _steps(diagram: Diagram, spacetime: Spacetime, basis: str) -> int:
    """Estimate how many steps of some microseconds counting takes, summed over the ways to merge parts.

    Sums over weak orders visit the subsets of down-sets of nodes, and the weak orders of the parts in an epoch.
    """
    order, parts = diagram.order, len(diagram.untie_root().parts) - 1
    is_sum = basis == "cumulant"
    if spacetime.explicit is not None:
        seen = {n for batch in spacetime.explicit for n in batch}
        kinds = {tuple(batch.count(n) for batch in spacetime.explicit) for n in seen}
        return _over_partitions(parts, len(kinds) + int(len(seen) < int(spacetime.N)), is_sum) * (order + 1)
    by_batch = _over_partitions(parts, 3, is_sum)
    if spacetime.sampling == "fixed":
        return 2 ** sum(parent > 0 for parent in diagram.parents) * by_batch + order
    below, size = [1] * (order + 1), [1] * (order + 1)
    for node in range(order, 0, -1):
        size[diagram.parents[node]] += size[node]
        below[diagram.parents[node]] *= below[node] + 2 ** size[node]
    subsets = _over_partitions(parts, 1, is_sum) * (2**order + below[0])
    if spacetime.sampling == "full-batch":
        return subsets
    if spacetime.sampling == "with-replacement":
        return subsets * max(1, order**2)
    return subsets * max(1, order) + by_batch * order**2 // 2


def _over_partitions(parts: int, base: int, is_sum: bool) -> int:
    """Return base^parts, or the sum of base^blocks over the partitions of the parts into blocks."""
    if not is_sum or parts > _COUNTED_PARTS:
        return base**parts
    sums = [1]
    for n in range(parts):
        sums.append(base * sum(comb(n, k) * sums[k] for k in range(n + 1)))
    return sums[parts]


def symbol_sizes(spacetime: Spacetime) -> dict[str, sympy.Expr]:
    """Return the expressions that stand for the generators N, B, E, T of the ring of counts."""
    epochs = spacetime.T if spacetime.E is None else spacetime.E
    return {"N": spacetime.N, "B": spacetime.B, "E": epochs, "T": spacetime.T}


def count_ratio(diagram: Diagram, spacetime: Spacetime, *, basis: str = "moment", averaging: bool = False) -> Ratio:
    """Return the count as a `Ratio`.

    With `averaging` every cell is weighted by B / (size of its batch), which differs from 1 only for batches of
    different sizes: each step averages over its own batch, while the series divides by B.
    """
    if basis == "cumulant":
        total = _ratio.ZERO
        for coarse, times in Counter(diagram.untie_root().each_coarsening()).items():
            total += count_ratio(coarse, spacetime, averaging=averaging).scale(times)
        return total
    if spacetime.explicit is not None:
        weights = [Fraction(int(spacetime.B), len(batch)) for batch in spacetime.explicit] if averaging else None
        return constant(count_on_batches(diagram, spacetime.explicit, int(spacetime.N), weights))
    return closed_form(diagram, _scheme(spacetime, averaging))


def _scheme(spacetime: Spacetime, averaging: bool) -> Scheme:
    def number(size: sympy.Expr | None) -> int | None:
        return int(size) if size is not None and size.is_Integer else None

    in_steps = spacetime.E is None or spacetime.sampling == "full-batch" or bool(spacetime.T.is_Integer)
    N, B, E, T = (number(size) for size in (spacetime.N, spacetime.B, spacetime.E, spacetime.T))
    return Scheme(spacetime.sampling, N, B, E, T, in_steps, _uneven(spacetime, averaging))


def _uneven(spacetime: Spacetime, averaging: bool) -> Uneven | None:
    if spacetime.is_even:
        return None
    N, B, R, length = int(spacetime.N), int(spacetime.B), spacetime.last_batch, int(spacetime.epoch_steps)
    epochs, cut = (None, 0) if not spacetime.is_concrete else divmod(int(spacetime.T), length)
    share = Fraction(B, R) if R and averaging else Fraction(1)
    return Uneven(N, B, N // B, R, epochs, cut, share)


def embeddings(
    diagram: Diagram, spacetime: Spacetime, *, basis: str = "moment"
) -> Iterator[dict[int, tuple[int, int]]]:
    """Iterate over the embeddings of a diagram in a concrete spacetime.

    Args:
        diagram: the diagram.
        spacetime: a concrete spacetime whose batches are not random. One reshuffled epoch is allowed too: all its
            orders have equally many embeddings, and those of the order 0, 1, 2, … are listed.
        basis: "moment": nodes share a datapoint if and only if they share a part. "cumulant": nodes of different parts
            may share one too.

    Yields:
        Maps from the non-root nodes to cells (datapoint, step). A cell that a batch lists twice appears twice.

    Raises:
        ArgumentError: the basis is unknown.
        SpacetimeError: the spacetime has symbols or random batches.

    Examples:
        >>> import feyngd as fd
        >>> list(fd.embeddings(fd.Diagram.parse("[a[b]]"), fd.Spacetime.sgd(N=2)))
        [{1: (1, 1), 2: (0, 0)}]
    """
    check_basis(basis)
    _check_types(diagram, spacetime)
    spacetime.require_concrete("Embeddings are listed")
    if spacetime.is_random:
        raise SpacetimeError(
            f"The batches are random ({spacetime}), so there is no single list of embeddings. List those of one run, "
            "Spacetime.from_batches(spacetime.batches(rng), N), or count the expected number with count_embeddings."
        )
    if isinstance(diagram, CellDiagram):
        _check_cells(diagram, basis, PLAIN, spacetime)
        return list_cell_embeddings(diagram, one_run(spacetime))
    return list_embeddings(diagram, one_run(spacetime), shared=basis == "cumulant")
