"""Property-testing a derivation: whether a formula holds on random landscapes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import sympy

from .._arguments import check_order
from ..diagrams import Diagram
from ..errors import ArgumentError, MismatchError
from ..optimizers import PLAIN, Optimizer
from ..quantities import QUANTITIES
from ..series import ETA, Series, expand
from ..spacetimes import Spacetime
from ._diagnosis import Weights, describe_diagrams, describe_sizes, fitted_weights, may_be_fitted, weights_of
from ._formulas import Coefficients, coefficients_of
from ._oracle import exact_series
from ._polynomials import PolynomialLandscape
from ._settings import Setting, optimizer_of, settings
from ._values import ExactValues

_GRIDS, _LANDSCAPES = 10, 2  # how many the sides of a false identity are compared on


@dataclass(frozen=True)
class Statistics:
    """What a hand-derived formula receives: exact statistics of one landscape at one point, and the sizes.

    Attributes:
        l, G, H, J: the mean loss and its first, second and third derivative, as NumPy arrays of fractions.
        C, S: the second and third joint cumulant of the per-example gradient.
        N, B, E, T: the sizes as SymPy numbers; E is `None` where the spacetime has no epochs.
        eta: the symbol of the learning rate, in which the formula is a power series.
        values: the exact values of any diagram.
        optimizer: what takes the steps, with numbers for its symbols, as in `s.optimizer.beta`.
    """

    l: Fraction  # noqa: E741
    G: np.ndarray
    H: np.ndarray
    J: np.ndarray
    C: np.ndarray
    S: np.ndarray
    N: sympy.Expr
    B: sympy.Expr
    E: sympy.Expr | None
    T: sympy.Expr
    eta: sympy.Symbol
    values: ExactValues
    optimizer: Optimizer = PLAIN

    def value(self, diagram: Diagram | str, *, basis: str = "cumulant") -> Fraction:
        """Return the exact value of a diagram, given as such or as text."""
        return self.values.value(Diagram.parse(diagram) if isinstance(diagram, str) else diagram, basis)


Formula = Callable[[Statistics], Any]
Side = Series | str | Formula


def check_identity(
    lhs: Side,
    rhs: Side,
    *,
    spacetime: Spacetime | None = None,
    optimizer: Optimizer | None = None,
    order: int | None = None,
    examples: int = 30,
    dimensions: Sequence[int] = (1, 2, 3),
    max_size: int = 4,
    seed: int = 0,
) -> int:
    """Check that two series agree exactly, power by power of η, on random polynomial landscapes.

    Each side is one of three things. A `Series`. The name of a quantity, which is then computed by enumerating SGD,
    without diagrams. A formula: a function of `Statistics` that returns a SymPy expression that is a power series in
    `eta`, such as `exp(-s.eta)` or `1/(1 + s.eta)`, or the list of its coefficients.

    Symbols of the optimizer become rational numbers such as 1/2 and 9/10, in it and, found by name, in a series and in
    what a formula returns.

    Args:
        lhs: the left side.
        rhs: the right side.
        spacetime: where to compare; numbers up to `max_size` take the place of symbols. By default that of a series.
        optimizer: what takes the steps, with exact parameters or symbols. By default that of a series, or plain SGD.
        order: the highest power of η to compare. By default the lowest order of the series.
        examples: the number of random landscapes with a point and a spacetime.
        dimensions: the numbers of coordinates of θ to draw from.
        max_size: the largest number in place of a symbol; enumeration becomes slow above 4.
        seed: the seed of the random landscapes, so that a failure can be repeated.

    Returns:
        The number of examples that agreed, which is `examples`.

    Raises:
        MismatchError: the sides differ. The message gives the sizes, the losses, θ, the power and both numbers, then
            the diagrams in which the sides differ, with a factor if they share one, and other sizes at which they agree
            or differ.
        ArgumentError: no spacetime or order is known, a name is unknown, or a formula's result is not a power series:
            it has a pole or a root in η, is not analytic, not exact, an array, or has symbols other than η and the
            optimizer's. Or the optimizer was measured by `from_optax`, has a metric, or suits none of the spacetimes;
            or a series in the conditional reading is compared with the name of a quantity.

    Examples:
        >>> import feyngd as fd
        >>> S = fd.Spacetime.sgd(N=3)
        >>> fd.testing.check_identity("gap", lambda s: s.eta * s.T / s.N * s.C.trace(), spacetime=S, order=1)
        30

        The first gradient moves the last iterate by 1 + β + …, the last one by 1.

        >>> from sympy import symbols
        >>> beta, T = symbols("beta"), symbols("T", integer=True, positive=True)
        >>> weight = lambda s: (s.T - beta * (1 - beta**s.T) / (1 - beta)) / (1 - beta)
        >>> first = lambda s: s.l - s.eta * weight(s) * (s.G @ s.G)
        >>> S = fd.Spacetime.gd(N=2, T=T)
        >>> fd.testing.check_identity("test_loss", first, spacetime=S, optimizer=fd.momentum(beta), order=1)
        30
    """
    series = [side for side in (lhs, rhs) if isinstance(side, Series)]
    for side in (lhs, rhs):
        if not isinstance(side, Series) and not callable(side) and side not in QUANTITIES:
            raise ArgumentError(
                f"Each side is a Series, a function of Statistics or one of {', '.join(map(repr, QUANTITIES))}; "
                f"got {side!r}."
            )
    readings = {side.reading for side in series} - {"population"}
    if readings and len(series) == 1 and not (callable(lhs) or callable(rhs)):
        reading = readings.pop()
        raise ArgumentError(
            f"The name of a quantity stands for training sets drawn from a population, and the series is in the "
            f"{reading} reading: compare it with a series or a formula, or with exact_series(…, reading={reading!r}, "
            "test=…)."
        )
    if spacetime is None:
        spacetime = next((side.spacetime for side in series if side.spacetime is not None), None)
    if spacetime is None:
        raise ArgumentError("Neither side knows its spacetime: give spacetime=Spacetime.sgd(…).")
    if order is None:
        if not series:
            raise ArgumentError("Neither side is a Series, so the order to compare is unknown: give order=….")
        order = min(side.order for side in series)
    order = check_order(order)
    if examples < 1 or not dimensions:
        raise ArgumentError(
            f"Nothing would be checked with examples={examples}, dimensions={dimensions}: give at least 1."
        )
    tried = settings(spacetime, optimizer_of(optimizer, series), series, max_size)
    random, sizes = Random(seed), list(dimensions)
    for _ in range(examples):
        setting = random.choice(tried)
        landscape = _random_landscape(random, random.choice(sizes))
        theta = _random_point(random, landscape)
        sides = [_coefficients(side, landscape, theta, setting, order) for side in (lhs, rhs)]
        for power, (left, right) in enumerate(zip(*sides, strict=True)):
            if left != right:
                losses = "; ".join(
                    f"{w}: {{{', '.join(f'{p}: {c}' for p, c in loss.items())}}}"
                    for w, loss in zip(landscape.weights, landscape.losses, strict=True)
                )
                where = (
                    f"The sides differ at η^{power}: {left} on the left, {right} on the right, on {setting} at "
                    f"θ = ({', '.join(map(str, theta))}) of the losses {losses}."
                )
                raise MismatchError(" ".join([where, *_explanations(lhs, rhs, power, setting, tried, order)]))
    return examples


def _explanations(
    lhs: Side, rhs: Side, power: int, failed: Setting, tried: Sequence[Setting], order: int
) -> Iterator[str]:
    """Say in which diagrams the sides differ, and at which sizes."""
    weights: list[Weights] = []
    for name, side in (("left", lhs), ("right", rhs)):
        if callable(side) and not may_be_fitted(power):
            break
        of_side = _weights(side, power, failed)
        if of_side is None:
            yield (
                f"What the formula on the {name} gives at η^{power} is not a sum of values of diagrams with {power} "
                "edges whose coefficients depend on the sizes alone."
            )
        else:
            weights.append(of_side)
    if len(weights) == 2:
        yield describe_diagrams(*weights)
    random = Random(0)
    samples = [_random_landscape(random, 2) for _ in range(_LANDSCAPES)]
    points = [_random_point(random, landscape) for landscape in samples]

    def agrees(at: Setting) -> bool | None:
        try:
            return all(
                _coefficients(lhs, landscape, theta, at, order) == _coefficients(rhs, landscape, theta, at, order)
                for landscape, theta in zip(samples, points, strict=True)
            )
        except (ArgumentError, ArithmeticError, TypeError):  # the formula has no value there
            return None

    def size(at: Setting) -> tuple[sympy.Expr, ...]:
        grid = at.spacetime
        return grid.N * grid.T, grid.N, grid.B

    alike = [setting for setting in tried if setting.parameters == failed.parameters]
    by_grid = {at.spacetime: at for at in sorted(alike, key=size)[:_GRIDS]}
    yield describe_sizes(by_grid, lambda grid: grid != failed.spacetime and agrees(by_grid[grid]))


def _weights(side: Side, power: int, setting: Setting) -> Weights | None:
    """Return a side's coefficients of one power of η in a setting, by value."""
    if isinstance(side, str):
        grid, optimizer = setting.spacetime, setting.optimizer
        series = expand(side, order=power, spacetime=grid, basis="cumulant", limit=None, optimizer=optimizer)
        return weights_of(series, power)
    if isinstance(side, Series):
        return weights_of(setting.series[id(side)], power)
    random = Random(1)

    def draw() -> ExactValues:
        landscape = _random_landscape(random, 2, degree=power + 1, monomials=6)
        return ExactValues(landscape, _random_point(random, landscape))

    def coefficient(values: ExactValues) -> Fraction:
        return coefficients_of(side(_statistics(values, setting)), power, setting.parameters)[power]

    return fitted_weights(coefficient, power, draw)


def _random_point(random: Random, landscape: PolynomialLandscape) -> list[Fraction]:
    return [Fraction(random.randint(-4, 4), 2) for _ in range(landscape.dimensions)]


def _random_landscape(random: Random, dimensions: int, *, degree: int = 4, monomials: int = 4) -> PolynomialLandscape:
    kinds = random.randint(2, 3)
    losses = []
    for _ in range(kinds):
        loss: dict[tuple[int, ...], Fraction] = {}
        for _ in range(random.randint(2, monomials)):
            powers = [0] * dimensions
            for _ in range(random.randint(1, degree)):
                powers[random.randrange(dimensions)] += 1
            loss[tuple(powers)] = Fraction(random.choice([-3, -2, -1, 1, 2, 3]), random.randint(1, 2))
        losses.append(loss)
    shares = [random.randint(1, 3) for _ in range(kinds)]
    return PolynomialLandscape(losses, [Fraction(share, sum(shares)) for share in shares])


def _coefficients(
    side: Side, landscape: PolynomialLandscape, theta: Sequence[Fraction], setting: Setting, order: int
) -> Coefficients:
    if isinstance(side, str):
        return exact_series(side, landscape, theta, setting.spacetime, order, optimizer=setting.optimizer)
    values = ExactValues(landscape, theta)
    if isinstance(side, Series):
        return values.sum(setting.series[id(side)].truncate(order))
    return coefficients_of(side(_statistics(values, setting)), order, setting.parameters)


def _statistics(values: ExactValues, setting: Setting) -> Statistics:
    tensor, grid = values.tensor, setting.spacetime
    means = (tensor(1), tensor(2), tensor(3))
    sizes = (grid.N, grid.B, grid.E, grid.T)
    return Statistics(tensor(0).item(), *means, tensor(1, 1), tensor(1, 1, 1), *sizes, ETA, values, setting.optimizer)
