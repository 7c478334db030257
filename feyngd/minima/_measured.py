"""Measurements of your own near a minimum: what two noises add to a smooth function of the parameters."""

from fractions import Fraction
from functools import partial
from typing import Any

import jax
import numpy as np

from ..counting import resummed_count, symbol_sizes
from ..derivatives import flat_loss
from ..diagrams import Diagram
from ..errors import ArgumentError
from ..landscapes import Landscape
from ..optimizers import Optimizer
from ..quantities import Measurement
from ..series import measurements
from ..spacetimes import Spacetime
from ._dense import Derivatives, edges_at
from ._drift import DenseMinimum

MOST_PARAMS = 100  # of which arrays with three axes are kept
# At a minimum a noise has a fellow, and a node alone in its part two children at least. The first has the covariance of
# the parameters and the curvature of what is measured, the others the mean displacement and its slope.
_TWO_NOISES = ("[a a]", "[a[b b]]", "[a[a]]")
_THREE_NOISES = ("[a a a]", "[a a[a]]", "[a[a a]]", "[a[a[a]]]")


class MeasuredMinimum:
    """A minimum and a measurement there.

    Args:
        landscape: the loss and the population.
        params: the minimum.
        measurement: what is measured, with a function.

    Attributes:
        start: the measurement at the minimum.

    Raises:
        ArgumentError: there are more than 100 parameters.
        LandscapeError: the parameters are not at a minimum.
    """

    def __init__(self, landscape: Landscape, params: Any, measurement: Measurement) -> None:
        count = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))
        if count > MOST_PARAMS:
            raise ArgumentError(
                f"Near a minimum a measurement takes arrays with three axes of parameters, up to {MOST_PARAMS}; these "
                f"are {count}. Test loss, train loss and gap take any number; far from a minimum use feyngd.predict."
            )
        self._minimum = DenseMinimum(landscape, params)
        frozen = landscape.measuring(measurement).frozen(params)
        assert frozen.measured is not None
        measured = Landscape(frozen.measured, frozen.test_data)
        self._slopes = Derivatives(measured, params, self._minimum.axes)
        self._theta, flat = flat_loss(frozen.measured, params)
        self._values = jax.jit(jax.vmap(lambda theta: jax.numpy.mean(jax.vmap(partial(flat, theta))(frozen.test_data))))
        self.start = float(self.at(np.zeros((1, count)))[0])

    def at(self, offsets: np.ndarray) -> np.ndarray:
        """Return the measurement at offsets from the minimum, shape (m,) for offsets of shape (m, p)."""
        points = np.asarray(self._theta) + offsets
        return np.asarray(self._values(points.astype(self._theta.dtype)), dtype=float)

    def drift(self, spacetime: Spacetime, rate: float, optimizer: Optimizer) -> np.ndarray:
        """Return where noise carries the parameters on average, shape (p,); see `entropic_drift`."""
        return self._minimum.displacement(spacetime, rate, optimizer=optimizer)

    def by_noise(self, spacetime: Spacetime, rate: float, optimizer: Optimizer) -> float:
        """Return what two noises add to the measurement, exactly in the learning rate and in T."""
        return sum(self._term(Diagram.parse(text), spacetime, rate, optimizer) for text in _TWO_NOISES)

    def change_of_curvature(self, cloud: np.ndarray, gradients: np.ndarray) -> float:
        """Return by how much the curvature that damps the noise changes over a cloud, in units of itself.

        Differences of gradients at opposite offsets ±ξ are 2Hξ for a quadratic loss, and their mean does not depend
        on ξ. What they are more is the fourth derivative, and what the mean varies the square of the third.

        Args:
            cloud: the offsets ξ, shape (m, p).
            gradients: of the mean loss at all offsets and then at their opposites, shape (2m, p).
        """
        one, other = np.split(gradients, 2)
        odd, even = (one - other) / 2, (one + other) / 2
        inside = cloud @ self._minimum.axes
        damped = float(np.sum(self._minimum.eigenvalues * inside**2))
        if damped <= 0:
            return 0.0
        fourth = abs(float(np.sum(cloud * odd)) / damped - 1)
        return fourth + float(np.sum((even - even.mean(axis=0)) ** 2) / np.sum(odd**2))

    def next_order(self, spacetime: Spacetime, rate: float, optimizer: Optimizer, cloud: np.ndarray) -> float:
        """Return the size of what is left out: three noises at one datapoint, and what is no parabola over the cloud.

        Args:
            spacetime, rate, optimizer: as in `by_noise`.
            cloud: offsets with the covariance of the parameters after the run, shape (m, p).
        """
        skewed = sum(abs(self._term(Diagram.parse(text), spacetime, rate, optimizer)) for text in _THREE_NOISES)
        drift = self.drift(spacetime, rate, optimizer)
        inside, moved = cloud @ self._minimum.axes, drift @ self._minimum.axes
        curvature, slope = self._slopes.mean_product([(0, 1)]), self._slopes.mean_product([(0,)])
        parabola = float(slope @ moved) + 0.5 * float(np.mean(np.einsum("mi,ij,mj->m", inside, curvature, inside)))
        found = np.concatenate([self.at(drift + cloud), self.at(drift - cloud)]) - self.start
        return skewed + abs(float(np.mean(found)) - parabola)

    def _term(self, diagram: Diagram, spacetime: Spacetime, rate: float, optimizer: Optimizer) -> float:
        """Return a diagram's value, with the measurement at its root, times its re-summed coefficient."""
        ((_, factor),) = measurements("test_loss", diagram, spacetime, "cumulant")
        exact = factor.as_expr(symbol_sizes(spacetime))  # (−1/B)^order / |Aut|
        h = [
            np.expand_dims(self._minimum.eigenvalues, tuple(k for k in range(diagram.order) if k != edge))
            for edge in range(diagram.order)
        ]
        placements = resummed_count(diagram, spacetime, optimizer, [rate * each for each in h], float)
        at_root = edges_at(diagram, 0)
        others = tuple(edge for edge in range(diagram.order) if edge not in at_root)
        root = np.expand_dims(self._slopes.mean_product([at_root]), others)
        value = float(np.sum(root * self._minimum.value(diagram, open_root=True) * placements))
        return value * float(Fraction(int(exact.p), int(exact.q))) * rate**diagram.order
