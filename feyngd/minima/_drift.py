"""Where the noise of SGD carries parameters from a minimum: the re-summed displacement with dense tensors.

Every edge of a diagram has an index, that of an eigenvector of the Hessian H. The value of a diagram is kept as an
array with one axis for every edge, and is summed over them only after multiplication with the coefficient, which
depends on the eigenvalues of all edges.
"""

from functools import cache
from typing import Any

import numpy as np

from .._arguments import check_integer
from .._learning_rates import check_learning_rate
from ..derivatives import num_params
from ..diagrams import Diagram
from ..errors import ArgumentError, LandscapeError
from ..landscapes import Landscape, check_landscape, enter
from ..optimizers import PLAIN, Optimizer
from ..series import ResummedSeries
from ..spacetimes import Spacetime, check_spacetime
from ._dense import Derivatives, cumulant, edges_at
from ._noise_orders import displacement_coefficient, displacement_diagrams
from ._optimizers import check_stable, optimizer_in_numbers

_MOST_NUMBERS = 2_000_000  # in the array of a diagram, p^edges
_SMALL_GRADIENT = 0.01  # of the mean loss at a minimum, over the root mean square of the examples' gradients


class DenseMinimum:
    """A minimum of the mean loss and the effects of noise there: values of diagrams, computed once and kept.

    Args:
        landscape: the loss and the population, in the population reading; its data of M examples.
        params: a minimum of the mean loss, a pytree of p floating-point numbers in all. Valleys are welcome: the
            Hessian may have eigenvalues of zero.

    Raises:
        ArgumentError: the landscape is not one in the population reading.
        LandscapeError: loss or gradient are not finite, or the parameters are not at a minimum.
    """

    def __init__(self, landscape: Landscape, params: Any) -> None:
        check_landscape(landscape)
        if landscape.reading != "population":
            raise ArgumentError(
                f"The drift is that of independent training sets, reading='population'; this landscape has the "
                f"{landscape.reading} reading."
            )
        landscape, params = enter(landscape, params)
        landscape.validate(params)
        unrotated = Derivatives(landscape, params, np.eye(num_params(params)))
        _check_gradient(unrotated)
        hessian = unrotated.mean_product([(0, 1)])
        self.eigenvalues, self.axes = np.linalg.eigh((hessian + hessian.T) / 2)
        self._derivatives = Derivatives(landscape, params, self.axes)
        self.value = cache(self._value)

    def displacement(
        self, spacetime: Spacetime, learning_rate: float, *, noises: int = 2, optimizer: Optimizer = PLAIN
    ) -> np.ndarray:
        """Return E[θ_T − θ_0], an array of shape (p,) in the unit of the parameters; see `entropic_drift`."""
        rate, size = check_learning_rate(learning_rate), len(self.eigenvalues)
        _check_size(size, 2 * check_integer("noises", noises, least=2) - 1)
        check_spacetime(spacetime, concrete="A drift is computed")
        optimizer = self._checked(optimizer, rate, spacetime)
        total = np.zeros(size)
        for diagram in (diagram for k in range(2, noises + 1) for diagram in displacement_diagrams(k)):
            value = self.value(diagram, open_root=True)
            if np.any(value):
                terms = value * displacement_coefficient(
                    diagram, spacetime, self._along_edges(diagram), rate, optimizer
                )
                total += terms.sum(axis=tuple(range(1, diagram.order)))  # the first edge is the root's
        return self.axes @ total

    def expected(
        self,
        quantity: str,
        spacetime: Spacetime,
        learning_rate: float,
        *,
        order: int = 2,
        optimizer: Optimizer = PLAIN,
    ) -> float:
        """Return an expected loss after SGD from the minimum, by the re-summed series up to a number of edges.

        Args:
            quantity: "test_loss", "train_loss" or "gap".
            spacetime: a concrete spacetime.
            learning_rate: η.
            order: the highest number of edges.
            optimizer: plain SGD by default.
        """
        rate = check_learning_rate(learning_rate)
        _check_size(len(self.eigenvalues), check_integer("order", order, least=0))
        check_spacetime(spacetime, concrete="A drift is computed")
        optimizer = self._checked(optimizer, rate, spacetime)
        series = ResummedSeries(quantity, order, spacetime, optimizer=optimizer, at_minimum=True)
        total = 0.0
        for diagram in series:
            weights = series.coefficient(diagram, self._along_edges(diagram), rate)
            total += float(np.sum(weights * self.value(diagram, open_root=False)))
        return total

    def _checked(self, optimizer: Optimizer, rate: float, spacetime: Spacetime) -> Optimizer:
        """Return an optimizer with floats for parameters that is stable at the minimum; plain SGD is not checked."""
        steps = int(spacetime.T)
        numbers = optimizer_in_numbers(optimizer, steps)
        if not numbers.is_plain:
            check_stable(numbers, np.array([rate]), float(self.eigenvalues.max()), steps)
        return numbers

    def _along_edges(self, diagram: Diagram) -> list[np.ndarray]:
        """Return the eigenvalues for every edge, each on the edge's axis."""
        edges = range(diagram.order)
        return [np.expand_dims(self.eigenvalues, tuple(other for other in edges if other != edge)) for edge in edges]

    def _value(self, diagram: Diagram, *, open_root: bool) -> np.ndarray:
        """Return the value of a diagram with one axis for every edge, before any is summed over."""
        product: Any = np.float64(1)
        for part in diagram.parts[1:] if open_root else diagram.parts:
            nodes = [edges_at(diagram, node) for node in sorted(part)]
            product = product * cumulant(nodes, self._derivatives, diagram.order)
        return product


def entropic_drift(
    landscape: Landscape,
    params: Any,
    spacetime: Spacetime,
    learning_rate: float,
    *,
    noises: int = 2,
    optimizer: Optimizer = PLAIN,
) -> np.ndarray:
    """Return E[θ_T − θ_0] of SGD from a minimum, by the re-summed series of the displacement.

    At a minimum of the mean loss the mean gradient is zero, and what moves the parameters is noise. In one epoch and to
    leading order that is the diagram [a[b b]]: fluctuations of covariance C, kept up by the noise and damped by the
    Hessian H, feel the third derivative J and push towards where the Hessian is smaller. Over several epochs and in
    full batches points come back, and [a[a]] contributes too: a gradient that meets its own example's Hessian again.

    The series is one in powers of the noise, each example's loss less the mean loss, and `noises` is the power after
    which it is cut. Each power is exact in the learning rate and in T, the burn-in included. The series holds while
    noise does not carry the parameters beyond where derivatives at the minimum describe the loss.

    Args:
        landscape: the loss and the population, in the population reading; its data of M examples.
        params: a minimum of the mean loss, a pytree of p floating-point numbers in all. Valleys are welcome: the
            Hessian may have eigenvalues of zero.
        spacetime: a concrete spacetime.
        learning_rate: η.
        noises: the highest number of noises, at least 2. The work grows with p^(2 noises − 1): p may be about 100 with
            2 noises, and 7 with 4.
        optimizer: plain SGD by default; without a metric, and with numbers for parameters.

    Returns:
        The displacement, an array of shape (p,) in the unit of the parameters; divide by T for a drift per step.

    Raises:
        ArgumentError: the landscape is not one in the population reading, η is not positive and finite, the number of
            noises is not an integer ≥ 2, there are too many parameters for it, or the optimizer has symbols or a metric
            or does not fit the number of steps.
        SpacetimeError: the spacetime has symbols.
        LandscapeError: loss or gradient are not finite, the parameters are not at a minimum, or the optimizer, other
            than SGD, is not stable there.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", corollary 1 (corrected: there the factor −1/2 is missing) and
        theorem 2, in exact discrete time.

    Examples:
        >>> import feyngd as fd
        >>> landscape, valley = fd.landscapes.toys.cubic_valley()
        >>> moved = entropic_drift(landscape, valley, fd.Spacetime.sgd(1000), 0.1)
        >>> print(f"{moved[1] / 1000:.5f}")  # −η²/4 to leading order
        -0.00262
    """
    check_spacetime(spacetime, concrete="A drift is computed")
    optimizer = optimizer_in_numbers(optimizer, int(spacetime.T))  # before the derivatives
    minimum = DenseMinimum(landscape, params)
    return minimum.displacement(spacetime, learning_rate, noises=noises, optimizer=optimizer)


def _check_size(parameters: int, edges: int) -> None:
    if parameters**edges > _MOST_NUMBERS:
        raise ArgumentError(
            f"Diagrams of {edges} edges on {parameters} parameters take {float(parameters**edges):.0e} numbers, the "
            f"limit is {_MOST_NUMBERS:.0e}: take fewer noises or edges, or a loss of fewer parameters."
        )


def _check_gradient(derivatives: Derivatives) -> None:
    mean = float(np.linalg.norm(derivatives.mean_product([(0,)])))  # |G|
    single = float(derivatives.mean_product([(0,), (0,)]).sum()) ** 0.5  # root of the mean of |g|²
    if mean > _SMALL_GRADIENT * single:
        raise LandscapeError(
            f"The drift starts at a minimum, but the mean gradient has the norm {mean:.2g} where the examples' "
            f"gradients have {single:.2g}: descend on the mean loss first, or use feyngd.predict."
        )
