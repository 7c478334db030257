"""Making a series of a quantity: in powers of the learning rate, and re-summed."""

from collections.abc import Iterator
from typing import Literal, overload

from .._arguments import check_basis, check_order
from ..counting import Ratio, count_ratio, symbol_sizes
from ..diagrams import EXPANDED, Diagram, check_number
from ..errors import ArgumentError
from ..quantities import SERIES, check_quantity
from ..spacetimes import Spacetime, check_spacetime
from ._measurements import measured_diagrams, measurements
from ._resummed import ResummedSeries
from ._series import Series


@overload
def expand(
    quantity: str,
    *,
    order: int,
    spacetime: Spacetime,
    basis: str = "moment",
    resummed: Literal[False] = False,
    limit: int | None = EXPANDED,
) -> Series: ...
@overload
def expand(
    quantity: str,
    *,
    order: int,
    spacetime: Spacetime,
    basis: str = "moment",
    resummed: Literal[True],
    limit: int | None = EXPANDED,
) -> ResummedSeries: ...
def expand(
    quantity: str,
    *,
    order: int,
    spacetime: Spacetime,
    basis: str = "moment",
    resummed: bool = False,
    limit: int | None = EXPANDED,
) -> Series | ResummedSeries:
    """Expand an expected loss after SGD in powers of the learning rate η, exactly.

    The expectation is over training sets of N i.i.d. points and over the order in which SGD visits them. "test_loss" is
    the expected loss on a fresh point, "train_loss" the average loss over the training set, "gap" test minus train;
    "displacement" is E[θ_T − θ_0], a vector: in its diagrams the root has one edge, and that edge is a free index.

    The test loss is `Σ_D (#embeddings(D) / |Aut D|) (−η/B)^order value(D)` over diagrams with the root alone. For the
    train loss the root joins each of the other parts with weight 1/N.

    Args:
        quantity: "test_loss", "train_loss", "gap" or "displacement".
        order: the highest power of η to keep.
        spacetime: N, B, E, T, numbers or symbols, and the sampling.
        basis: "moment": values are expectations over one independent datapoint for each part; "cumulant": values are
            joint cumulants, so that lone nodes are derivatives of the mean loss.
        resummed: return the `ResummedSeries` instead, in cumulants: see `resum`.
        limit: the largest number of diagrams, with their roots alone, to visit; `None` for any. There are 6,685 up to
            order 6 and 62,503 up to order 7.

    Returns:
        A `Series`: for each diagram the exact coefficient of `η^order · value(D)`.

    Raises:
        ArgumentError: the quantity or basis is unknown, the order is not an integer ≥ 0, or there are more than `limit`
            diagrams.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Theorem 1 and the generalization-gap rule.

    Examples:
        >>> import feyngd as fd
        >>> from sympy import symbols
        >>> N, B, E = symbols("N B E", integer=True, positive=True)
        >>> print(fd.expand("gap", order=1, spacetime=fd.Spacetime.sgd(N, B, E), basis="cumulant"))
        gap to order η^1, cumulant basis, reshuffled, N, B, E
          η^1   E/B   a[a]   tr(C)
    """
    check_quantity(quantity, SERIES)
    order = check_order(order)
    check_basis(basis)
    check_spacetime(spacetime)
    if resummed:
        return ResummedSeries(quantity, order, spacetime, limit=limit)
    check_number(order, False, limit, up_to=True)
    terms, sizes = {}, symbol_sizes(spacetime)
    for diagram, coefficient in _coefficients(quantity, order, spacetime, basis):
        if coefficient.numerator:
            terms[diagram] = coefficient.as_expr(sizes)
    return Series(terms, quantity=quantity, order=order, basis=basis, spacetime=spacetime)


def resum(series: Series, *, form: str = "discrete") -> ResummedSeries:
    """Re-sum a series: replace every edge of its diagrams by the sum over all chains of untied Hessians.

    Args:
        series: a series made by `expand`, in either basis.
        form: "discrete", which is exact, or "integral", in which integrals take the place of sums over steps.

    Returns:
        A `ResummedSeries` with as many edges as the series has orders.

    Raises:
        ArgumentError: the series does not come from `expand`, so its spacetime is unknown; or the form is unknown.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Theorem 2 (corrected).

    Examples:
        >>> import feyngd as fd
        >>> from sympy import symbols
        >>> N, T = symbols("N T", integer=True, positive=True)
        >>> gap = fd.resum(fd.expand("gap", order=1, spacetime=fd.Spacetime.gd(N, T)))
        >>> print(gap.at_minimum())
        gap at a minimum, re-summed to 1 edges, discrete time, full batch, N, T; h: eigenvalues of H
          a[a]   C_ii   (1 - (1 - eta*h_i)**T)/(N*h_i)
    """
    if not isinstance(series, Series) or series.quantity not in SERIES or series.spacetime is None:
        raise ArgumentError(
            f"Only a series made by expand(...), with its quantity and spacetime, can be re-summed; got {series!r}."
        )
    return ResummedSeries(series.quantity, series.order, series.spacetime, form=form, limit=None)


def _coefficients(quantity: str, order: int, spacetime: Spacetime, basis: str) -> Iterator[tuple[Diagram, Ratio]]:
    for diagram in measured_diagrams(order):
        weight = count_ratio(diagram, spacetime, basis=basis, averaging=True)
        if weight.numerator:
            for joint, factor in measurements(quantity, diagram, spacetime, basis):
                yield joint, weight * factor
