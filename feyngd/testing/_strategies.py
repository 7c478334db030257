"""Hypothesis strategies: small landscapes, starting points, spacetimes, optimizers and diagrams.

They need the package hypothesis, which `pip install feyngd[tests]` installs.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING, Any

from .._arguments import check_integer
from ..diagrams import CellDiagram, Diagram
from ..diagrams import cell_diagrams as all_cell_diagrams
from ..diagrams import diagrams as all_diagrams
from ..optimizers import PLAIN, Optimizer, averaged, momentum, schedule
from ..spacetimes import Spacetime
from ._polynomials import NoisyLandscape, PolynomialLandscape

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

ALL_SAMPLINGS = ("fixed", "reshuffled", "with-replacement", "full-batch")


def landscapes(
    *,
    dimensions: Sequence[int] = (1, 2, 3),
    kinds: Sequence[int] = (2, 3, 4),
    degree: int = 4,
    monomials: int = 4,
    updates: bool = False,
) -> "SearchStrategy[PolynomialLandscape]":
    """Draw polynomial landscapes with small rational coefficients.

    Args:
        dimensions: the numbers of coordinates of θ to draw from.
        kinds: the numbers of kinds of datapoints to draw from.
        degree: the largest total degree of a loss.
        monomials: the largest number of monomials of a loss.
        updates: whether steps follow fields of their own, drawn like the losses, instead of the gradients.
    """
    from hypothesis import strategies as st

    @st.composite
    def build(draw: Any) -> PolynomialLandscape:
        size, count = draw(st.sampled_from(list(dimensions))), draw(st.sampled_from(list(kinds)))
        loss = _polynomials(size, degree, monomials)
        losses = [{(0,) * size: Fraction(1), **draw(loss)} for _ in range(count)]
        shares = [draw(st.integers(1, 3)) for _ in range(count)]
        component = _polynomials(size, degree, monomials, least=0)
        fields = [[draw(component) for _ in range(size)] for _ in range(count)] if updates else None
        return PolynomialLandscape(losses, [Fraction(share, sum(shares)) for share in shares], fields)

    return build()


def measurements(
    landscape: PolynomialLandscape | NoisyLandscape, *, degree: int = 4, monomials: int = 4
) -> "SearchStrategy[PolynomialLandscape]":
    """Draw polynomials to measure on a landscape in place of its loss: `exact_series(test=)`, `ExactValues(measured=)`.

    Args:
        landscape: where they are measured, for the number of coordinates.
        degree: the largest total degree.
        monomials: the largest number of monomials.
    """
    drawn = _polynomials(landscape.dimensions, degree, monomials, least=0)
    return drawn.map(lambda polynomial: PolynomialLandscape([polynomial]))


def _polynomials(size: int, degree: int, monomials: int, least: int = 1) -> Any:
    """Return the strategy of polynomials whose monomials have at least some degree."""
    from hypothesis import strategies as st

    powers = [p for p in product(range(degree + 1), repeat=size) if least <= sum(p) <= degree]
    coefficients = st.fractions(min_value=-2, max_value=2, max_denominator=3).filter(bool)
    return st.dictionaries(st.sampled_from(powers), coefficients, min_size=1, max_size=monomials)


def noisy_landscapes(
    *, dimensions: Sequence[int] = (1, 2), kinds: Sequence[int] = (1, 2), uses: int = 2, degree: int = 3
) -> "SearchStrategy[NoisyLandscape]":
    """Draw polynomial landscapes that draw noise at every use.

    Args:
        dimensions: the numbers of coordinates of θ to draw from.
        kinds: the numbers of kinds of datapoints to draw from.
        uses: the largest number of losses of a kind, of which every use takes one.
        degree: the largest total degree of a loss.
    """
    from hypothesis import strategies as st

    @st.composite
    def build(draw: Any) -> NoisyLandscape:
        count = draw(st.sampled_from(list(kinds)))
        sizes = [draw(st.integers(1, uses)) for _ in range(count)]
        all_losses = landscapes(dimensions=dimensions, kinds=[sum(sizes)], degree=degree, monomials=3)
        losses = iter(draw(all_losses).losses)
        shares = [draw(st.integers(1, 2)) for _ in range(count)]
        of_kinds = [[next(losses) for _ in range(size)] for size in sizes]
        return NoisyLandscape(of_kinds, [Fraction(share, sum(shares)) for share in shares])

    return build()


def points(landscape: PolynomialLandscape | NoisyLandscape) -> "SearchStrategy[tuple[Fraction, ...]]":
    """Draw starting points θ of a landscape, small rational coordinates."""
    from hypothesis import strategies as st

    coordinate = st.fractions(min_value=-2, max_value=2, max_denominator=2)
    return st.tuples(*([coordinate] * landscape.dimensions))


def spacetimes(
    *,
    samplings: Sequence[str] = ALL_SAMPLINGS,
    max_points: int = 4,
    max_steps: int = 6,
    uneven: bool = False,
) -> "SearchStrategy[Spacetime]":
    """Draw concrete spacetimes small enough for `exact_series`.

    Args:
        samplings: the schemes to draw from: "fixed", "reshuffled", "with-replacement", "full-batch", "explicit".
        max_points: the largest N.
        max_steps: the largest T; with replacement T·B stays at most 4 and N at most 3.
        uneven: whether some epochs, fixed or reshuffled, also have a rest, dropped or kept, and some runs end inside an
            epoch.
    """
    from hypothesis import strategies as st

    @st.composite
    def build(draw: Any) -> Spacetime:
        sampling = draw(st.sampled_from(list(samplings)))
        if sampling == "with-replacement":
            N, B = draw(st.integers(1, min(3, max_points))), draw(st.integers(1, 2))
            return Spacetime.sgd(N, B, T=draw(st.integers(1, min(4 // B, max_steps))), sampling=sampling)
        N = draw(st.integers(1, max_points))
        if sampling == "full-batch":
            return Spacetime.gd(N, draw(st.integers(1, max_steps)))
        if sampling == "explicit":
            batch = st.lists(st.integers(0, N - 1), min_size=1, max_size=3)
            return Spacetime.from_batches(draw(st.lists(batch, min_size=1, max_size=min(4, max_steps))), N)
        if uneven and draw(st.booleans()):
            B = draw(st.integers(1, N))
            drop_last = draw(st.booleans()) if N % B else None
            length = N // B + (drop_last is False)
            most = min(max_steps, 2 * length if sampling == "reshuffled" else max_steps)
            return Spacetime.sgd(N, B, T=draw(st.integers(1, most)), sampling=sampling, drop_last=drop_last)
        B = draw(st.sampled_from([b for b in range(1, N + 1) if N % b == 0 and N // b <= max_steps]))
        most = max_steps // (N // B) if sampling == "fixed" else 2
        return Spacetime.sgd(N, B, draw(st.integers(1, max(1, most))), sampling=sampling)

    return build()


def optimizers(
    steps: int, *, velocities: bool = True, schedules: bool = True, averages: bool = True
) -> "SearchStrategy[Optimizer]":
    """Draw optimizers with exact parameters: momentum in all conventions, schedules and averages of iterates.

    Args:
        steps: the number of steps T of the run, which schedules and averages suit.
        velocities: whether to draw momentum, heavy-ball or Nesterov's, as in PyTorch or classical, and dampening.
        schedules: whether to draw multipliers of the learning rate.
        averages: whether to draw averages: exponential ones, those of a tail, and weighted ones.

    Raises:
        ArgumentError: the number of steps is not an integer ≥ 0.
    """
    from hypothesis import strategies as st

    steps = check_integer("steps", steps, least=0)
    shares = st.fractions(min_value=0, max_value=Fraction(9, 10), max_denominator=10)

    @st.composite
    def build(draw: Any) -> Optimizer:
        optimizer = PLAIN
        if velocities and draw(st.booleans()):
            nesterov, classical = draw(st.booleans()), draw(st.booleans())
            dampening = 0 if nesterov else draw(st.one_of(st.just(Fraction(0)), shares))
            optimizer = momentum(draw(shares), nesterov=nesterov, dampening=dampening, classical=classical)
        if schedules and draw(st.booleans()):
            multiplier = st.fractions(min_value=0, max_value=2, max_denominator=4)
            multipliers = draw(st.lists(multiplier, min_size=steps, max_size=steps))
            optimizer = schedule(multipliers, optimizer) if any(multipliers) else optimizer
        kind = draw(st.sampled_from([None, "ema", "tail", "weights"])) if averages else None
        if kind == "ema":
            return averaged(optimizer, ema=draw(shares))
        if kind == "tail":
            return averaged(optimizer, tail=draw(st.sampled_from(["all", *range(1, steps + 1)])))
        if kind == "weights":
            size = draw(st.integers(max(steps, 1), steps + 1))  # those of θ_1 … θ_T, or of θ_0 … θ_T
            sizes = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size).filter(any))
            return averaged(optimizer, weights=[Fraction(one, sum(sizes)) for one in sizes])
        return optimizer

    return build()


def cell_diagrams(*, min_order: int = 0, max_order: int = 3, root_tied: bool = True) -> "SearchStrategy[CellDiagram]":
    """Draw diagrams with cells of bounded order, those of each order equally likely; arguments of `diagrams`."""
    from hypothesis import strategies as st

    orders = st.integers(min_order, max_order)
    return orders.flatmap(lambda order: st.sampled_from(all_cell_diagrams(order, root_tied=root_tied)))


def diagrams(*, min_order: int = 0, max_order: int = 4, root_tied: bool = True) -> "SearchStrategy[Diagram]":
    """Draw diagrams of bounded order, those of each order equally likely.

    Args:
        min_order: the lowest order.
        max_order: the highest order.
        root_tied: whether diagrams with a tied root are drawn as well.
    """
    from hypothesis import strategies as st

    orders = st.integers(min_order, max_order)
    return orders.flatmap(lambda order: st.sampled_from(all_diagrams(order, root_tied=root_tied)))
