"""Making a series of a quantity: in powers of the learning rate, and re-summed."""

from typing import Any, Literal, overload

import sympy

from .._arguments import check_basis, check_order
from ..counting import count_ratio, kernel_count, symbol_sizes
from ..diagrams import EXPANDED, Diagram, check_cell_number, check_number
from ..errors import ArgumentError
from ..optimizers import PLAIN, Optimizer, check_optimizer
from ..quantities import SERIES, SPREADS, Measurement, check_quantity, is_spread
from ..spacetimes import Spacetime, check_spacetime
from ._conditional import READINGS, check_exchangeable, given_training_set
from ._measurements import measured_diagrams, measurements
from ._resummed import ResummedSeries
from ._series import Series
from ._spreads import spread_terms


@overload
def expand(
    quantity: str,
    *,
    order: int,
    spacetime: Spacetime,
    basis: str = "moment",
    optimizer: Optimizer = PLAIN,
    reading: str = "population",
    resummed: Literal[False] = False,
    per_use_noise: bool = False,
    limit: int | None = EXPANDED,
) -> Series: ...
@overload
def expand(
    quantity: str,
    *,
    order: int,
    spacetime: Spacetime,
    basis: str = "moment",
    optimizer: Optimizer = PLAIN,
    reading: str = "population",
    resummed: Literal[True],
    per_use_noise: bool = False,
    limit: int | None = EXPANDED,
) -> ResummedSeries: ...
def expand(
    quantity: str,
    *,
    order: int,
    spacetime: Spacetime,
    basis: str = "moment",
    optimizer: Optimizer = PLAIN,
    reading: str = "population",
    resummed: bool = False,
    per_use_noise: bool = False,
    limit: int | None = EXPANDED,
) -> Series | ResummedSeries:
    """Expand an expected loss after SGD in powers of the learning rate η, exactly.

    The expectation is over training sets of N i.i.d. points and over the order in which SGD visits them. "test_loss" is
    the expected loss on a fresh point, "train_loss" the average loss over the training set, "gap" test minus train;
    "displacement" is E[θ_T − θ_0], a vector: in its diagrams the root has one edge, and that edge is a free index.

    The test loss is `Σ_D (#embeddings(D) / |Aut D|) (−η/B)^order value(D)` over diagrams with the root alone. For the
    train loss the root joins each of the other parts with weight 1/N. With an optimizer every embedding counts the
    product of the kernels κ of its edges, see `count_embeddings`.

    In the conditional reading the training set is given, and the expectation is over the order alone. Values are then
    those of the training set: plain averages over independent draws from its N points. The root is a derivative of the
    loss that is measured: the mean over the test data, over the training set for the train loss, or the difference of
    the two for the gap. So its three series have the same coefficients.

    Args:
        quantity: "test_loss", "train_loss", "gap" or "displacement", or a `measurement`. Of how far runs spread:
            "test_loss_variance", "train_loss_variance", "test_loss_second_moment", "covariance" of the iterates, its
            trace "covariance_trace", or the `variance` of a measurement; each diagram is a `Forest`.
        order: the highest power of η to keep.
        spacetime: N, B, E, T, numbers or symbols, and the sampling.
        basis: "moment": values are expectations over one independent datapoint for each part; "cumulant": values are
            joint cumulants, so that lone nodes are derivatives of the mean loss.
        optimizer: plain SGD by default; its parameters may be symbols. A metric changes values, not coefficients.
        reading: "population": training sets are drawn from a population, whose values the series has; "conditional":
            the training set is given, for samplings that treat all points alike.
        resummed: return the `ResummedSeries` instead, in cumulants: see `resum`.
        per_use_noise: whether every use of a datapoint draws noise of its own, as dropout and augmentation do. Diagrams
            are then instances of `CellDiagram`, and values those of a landscape with such noise. In moments; with an
            optimizer on concrete spacetimes.
        limit: the largest number of diagrams, with their roots alone, to visit; `None` for any. There are 6,685 up to
            order 6 and 62,503 up to order 7.

    Returns:
        A `Series`: for each diagram the exact coefficient of `η^order · value(D)`.

    Raises:
        ArgumentError: the quantity, basis or reading is unknown, the order is not an integer ≥ 0, there are more than
            `limit` diagrams, the optimizer does not fit the spacetime, or the reading does not fit the sampling; or
            noise at every use is asked for in cumulants, re-summed, or with an optimizer and symbolic sizes.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Theorem 1 and the generalization-gap rule. Optimizers and the
        conditional reading are the project's own.

    Examples:
        >>> import feyngd as fd
        >>> from sympy import symbols
        >>> N, B, E = symbols("N B E", integer=True, positive=True)
        >>> print(fd.expand("gap", order=1, spacetime=fd.Spacetime.sgd(N, B, E), basis="cumulant"))
        gap to order η^1, cumulant basis, reshuffled, N, B, E
          η^1   E/B   a[a]   tr(C)
    """
    check_quantity(quantity, (*SERIES, *SPREADS), measured=True, spreads=True)
    order = check_order(order)
    check_basis(basis)
    check_spacetime(spacetime)
    check_optimizer(optimizer)
    if reading not in READINGS:
        raise ArgumentError(f"Unknown reading {reading!r}. A series has one of {', '.join(map(repr, READINGS))}.")
    if resummed:
        check_quantity(quantity, SERIES)
        if per_use_noise:
            raise ArgumentError("Series with noise drawn anew at every use are not re-summed: leave resummed= out.")
        if reading != "population":
            raise ArgumentError("Re-summed series are those of the population reading: leave reading= out.")
        return ResummedSeries(quantity, order, spacetime, optimizer=optimizer, limit=limit)
    if per_use_noise:
        _check_noise(basis, optimizer, spacetime)
        check_cell_number(order, False, limit, up_to=True)
    else:
        check_number(order, False, limit, up_to=True)
    made_of: dict[str, Any] = {
        "quantity": quantity,
        "order": order,
        "spacetime": spacetime,
        "optimizer": optimizer,
        "reading": reading,
    }
    if is_spread(quantity):
        return _spread(made_of, basis, per_use_noise)
    if reading == "conditional":
        check_exchangeable(spacetime)
        name = quantity if quantity == "displacement" or isinstance(quantity, Measurement) else "test_loss"
        found = given_training_set(_terms(name, order, spacetime, "moment", optimizer, per_use_noise), spacetime.N)
        return Series(found, basis="moment", **made_of).in_basis(basis)
    return Series(_terms(quantity, order, spacetime, basis, optimizer, per_use_noise), basis=basis, **made_of)


def resum(series: Series, *, form: str = "discrete") -> ResummedSeries:
    """Re-sum a series: replace every edge of its diagrams by the sum over all chains of untied Hessians.

    Args:
        series: a series made by `expand`, in either basis.
        form: "discrete", which is exact, or "integral", in which integrals take the place of sums over steps.

    Returns:
        A `ResummedSeries` with as many edges as the series has orders.

    Raises:
        ArgumentError: the series does not come from `expand`, so its spacetime is unknown; the form is unknown, or does
            not fit the spacetime or the optimizer; or the reading is another than the population's.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Theorem 2 (corrected).

    Examples:
        >>> import feyngd as fd
        >>> from sympy import symbols
        >>> N, T = symbols("N T", integer=True, positive=True)
        >>> gap = fd.resum(fd.expand("gap", order=1, spacetime=fd.Spacetime.gd(N, T)))
        >>> print(gap.at_minimum())
        gap at a minimum, re-summed to 1 edges, discrete time, full batch, N, T; x = 1 - eta*h, h: eigenvalues of H
          a[a]   C_ii   eta*(1 - x_i**T)/(N*(1 - x_i))
    """
    if not isinstance(series, Series) or series.quantity not in SERIES or series.spacetime is None:
        raise ArgumentError(
            f"Only a series made by expand(...), with its quantity and spacetime, can be re-summed; got {series!r}."
        )
    if series.has_cells:
        raise ArgumentError(f"Series with noise drawn anew at every use are not re-summed; got {series}.")
    if series.reading != "population":
        raise ArgumentError(f"Only series in the population reading can be re-summed; got {series}.")
    made_of = (series.quantity, series.order, series.spacetime)
    return ResummedSeries(*made_of, form=form, optimizer=series.optimizer, limit=None)


def _spread(made_of: dict[str, Any], basis: str, per_use_noise: bool) -> Series:
    """Return the series of a variance or second moment, whose diagrams have two roots."""
    quantity, order, spacetime, optimizer = (made_of[name] for name in ("quantity", "order", "spacetime", "optimizer"))
    if per_use_noise:
        raise ArgumentError(
            f"There is no series of {str(quantity)!r} with noise drawn anew at every use: simulate the variance of a "
            "measurement, or 'covariance_trace'."
        )
    is_given = made_of["reading"] == "conditional"
    if is_given:
        check_exchangeable(spacetime)
    # In the conditional reading a train loss, too, is measured on data of its own: that of the given training set.
    name = "test_loss_variance" if is_given and quantity == "train_loss_variance" else quantity
    worked_in = "moment" if is_given or name == "train_loss_variance" else basis

    def mean_terms(of: str) -> dict[Diagram, sympy.Expr]:
        found = _terms(of, order, spacetime, worked_in, optimizer, False)
        return given_training_set(found, spacetime.N) if is_given else found

    terms = spread_terms(name, order, spacetime, mean_terms)
    return Series(terms, basis=worked_in, **made_of).in_basis(basis)


def _check_noise(basis: str, optimizer: Optimizer, spacetime: Spacetime) -> None:
    if basis != "moment":
        raise ArgumentError("Series with noise drawn anew at every use are in moments: leave basis out.")
    if not optimizer.is_plain and not spacetime.is_concrete:
        raise ArgumentError(
            "With an optimizer, series with noise drawn anew at every use are those of concrete spacetimes, and "
            f"{spacetime} has symbols: give numbers."
        )


def _terms(
    quantity: str, order: int, spacetime: Spacetime, basis: str, optimizer: Optimizer, per_use_noise: bool
) -> dict[Diagram, sympy.Expr]:
    """Return the coefficient of every diagram."""
    sizes, terms = symbol_sizes(spacetime), {}
    for diagram in measured_diagrams(order, cells=per_use_noise):
        weight = count_ratio(diagram, spacetime, basis=basis, averaging=True) if optimizer.is_plain else None
        if weight is not None and not weight.numerator:
            continue
        kernels = (
            None if weight is not None else kernel_count(diagram, spacetime, optimizer, basis=basis, averaging=True)
        )
        for joint, factor in measurements(quantity, diagram, spacetime, basis):
            if weight is not None:
                terms[joint] = (weight * factor).as_expr(sizes)
            else:
                terms[joint] = factor.as_expr(sizes) * kernels
    return terms
