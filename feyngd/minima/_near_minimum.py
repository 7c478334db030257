"""Predictions near a minimum from the spectrum of the noise, where the plain series grows with the number of steps."""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from .._archive import keep_attributes, read, write
from .._arguments import check_integer
from .._keys import check_key
from .._learning_rates import check_learning_rates
from .._mesh import Devices, check_mesh
from ..derivatives import CHUNK, num_params
from ..diagrams import Diagram
from ..errors import ArgumentError
from ..estimates import TruncationWarning, mean_and_stderr
from ..kinks import Kink
from ..landscapes import Landscape, check_landscape, check_updates_kept, enter, kinks_at
from ..optimizers import PLAIN, Optimizer
from ..progress import Progress, check_progress
from ..quantities import Measurement, check_quantity
from ..series import ResummedSeries
from ..spacetimes import Spacetime, check_spacetime
from ..spectra import DENSE, Point, Response, check_num_examples
from ._measured import MeasuredMinimum
from ._optimizers import check_stable, optimizer_in_numbers
from ._resummed_prediction import ResummedPrediction

METHODS = ("auto", "dense", "lanczos")

# Units in the last place by which sums over examples and offsets may be off. On quadratic losses, whose truncation is
# exactly 0, it was up to 16 of them (tests/minima/test_near_minimum.py has the worst case, of 10 examples).
_ROUNDED = 32
_NEGLIGIBLE = 1e-3  # of what the noise adds, far below the fifth of it up to which a prediction has converged

# Irreducible diagrams that are sums over the eigenvectors v of H: of a weight times a power of the curvature h. The
# weight is v·Cv for the noise, and (v·G)² for the mean gradient.
_SPECTRAL = {"[a]": ("gradient", 0), "[a b]": ("gradient", 1), "[a a]": ("noise", 1), "a[a]": ("noise", 0)}
# Diagrams of third cumulants κ of the noise. The number says which of the values S·J, κ(g, ∇∇l, g)·H and κ(∇∇l; g, g),
# as `Point.third_cumulants` returns them, is the diagram's: g is the gradient and l the loss of one example.
_THIRD = {"[a a a]": 0, "[a a[a]]": 1, "a[a a]": 2, "a[a[a]]": 2}


@keep_attributes
@dataclass(frozen=True)
class _KeptSpectra:
    attributes: dict[str, Any]
    max_steps: int
    kinks: tuple[Kink, ...]


@dataclass(frozen=True, eq=False, repr=False)
class NearMinimum:
    """The noise and curvature at a point near a minimum: they predict SGD from there at any η, N, B, E and sampling.

    Made by `feyngd.near_minimum`.

    Attributes:
        point: the spectra at the point.
        max_steps: the highest number of Hessian-vector products for each random combination of gradients.
        kinks: where the loss is not smooth within reach of the point.
    """

    point: Point
    max_steps: int
    kinks: tuple[Kink, ...] = ()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the spectra to a file, without the landscape and the parameters: an NPZ with JSON in it, no pickle.

        Args:
            path: the file, which is written as it is named; one that exists is replaced.

        Raises:
            ArgumentError: the file cannot be written.
        """
        write(path, _KeptSpectra(self.point.without_landscape(), self.max_steps, self.kinks))

    @classmethod
    def load(cls, path: str | os.PathLike[str], landscape: Landscape, params: Any) -> "NearMinimum":
        """Read what `save` has written.

        Args:
            path: the file.
            landscape: the landscape that the spectra belong to; loss and data are compared by their content.
            params: the minimum.

        Raises:
            ArgumentError: there is no such file, or the spectra belong to another loss, other data or parameters.
        """
        kept = read(path, _KeptSpectra)
        return cls(Point.again(kept.attributes, landscape, params), kept.max_steps, kept.kinks)

    def predict(
        self,
        spacetime: Spacetime,
        learning_rates: ArrayLike,
        *,
        quantity: str = "test_loss",
        optimizer: Optimizer = PLAIN,
    ) -> ResummedPrediction:
        """Predict an expected loss after SGD from the point.

        Args:
            spacetime: the concrete N, B, E, T and sampling; T may be large.
            learning_rates: one or more learning rates, positive and finite. With the greatest curvature h they are
                below 2/h for SGD, 2(1 + β)/h for momentum and 2(1 + β)/((1 + 2β)h) for Nesterov's. A schedule may be
                above for a while, if in all it does not carry the parameters away.
            quantity: "test_loss", "train_loss" or "gap"; or a `measurement` with a function, for up to 100 parameters,
                to which two noises are kept: their covariance meets its curvature, and the drift its slope.
            optimizer: plain SGD by default; without a metric, and with numbers for parameters. At a constant rate,
                measured at the last iterate or an exponential average, the work hardly grows with T, else like T.

        Returns:
            A `ResummedPrediction`.

        Raises:
            ArgumentError: a learning rate is not positive and finite, the quantity is unknown, or the optimizer has
                symbols or a metric or does not fit the number of steps.
            SpacetimeError: the spacetime has symbols.
            LandscapeError: a learning rate is not stable, or the prediction overflows.

        Warns:
            TruncationWarning: higher orders of the noise are not small at a learning rate, or the mean gradient changes
                the loss by more than the noise does: the point is not near a minimum.
            PrecisionWarning: Krylov spaces are too small.
        """
        rates = check_learning_rates(learning_rates)
        check_quantity(quantity, measured=True)
        check_spacetime(spacetime, concrete="SGD is predicted")
        optimizer = optimizer_in_numbers(optimizer, int(spacetime.T))
        check_stable(optimizer, rates, self.point.curvatures[1], int(spacetime.T))
        if isinstance(quantity, Measurement):
            return self._measured(quantity, spacetime, rates, optimizer)
        series = ResummedSeries(quantity, 3, spacetime, optimizer=optimizer)
        columns = [self._at(series, float(rate)) for rate in rates]
        start = 0.0 if quantity == "gap" else self.start
        noiseless, replicates, truncation, blur = zip(*columns, strict=True)
        prediction = ResummedPrediction(
            quantity,
            spacetime,
            rates,
            start,
            np.array(noiseless),
            np.stack(replicates, axis=1),
            np.array(truncation),
            np.array(blur),
            self.kinks,
            optimizer=optimizer,
        )
        _warn(prediction)
        return prediction

    def _measured(
        self, measurement: Measurement, spacetime: Spacetime, rates: np.ndarray, optimizer: Optimizer
    ) -> ResummedPrediction:
        """Predict a measurement; its kinks count too."""
        point = self.point
        landscape, params = enter(point.landscape.measuring(measurement), point.params)
        found = MeasuredMinimum(point.landscape, point.params, measurement)
        noise = np.array([found.by_noise(spacetime, float(rate), optimizer) for rate in rates])
        cut = []
        *_, (at_start,) = point.moments(np.zeros((1, num_params(params))))  # tr C
        for rate, added in zip(rates, noise, strict=True):
            cloud = point.cloud.apply(_spread(spacetime, float(rate), optimizer))
            drift = found.drift(spacetime, float(rate), optimizer)
            _, gradients, traces = point.moments(np.concatenate([drift + cloud, drift - cloud]))
            change = abs(float(np.mean(traces)) / at_start - 1) if at_start > 0 else 0.0
            change += found.change_of_curvature(cloud, gradients)
            cut.append(found.next_order(spacetime, float(rate), optimizer, cloud) + abs(added) * change)
        point.check_value([*noise, *cut])
        prediction = ResummedPrediction(
            measurement,
            spacetime,
            rates,
            found.start,
            np.zeros(len(rates)),
            noise[None],
            np.array(cut),
            np.full(len(rates), np.nan),
            kinks_at(landscape, params, stacklevel=4),
            optimizer=optimizer,
        )
        _warn(prediction)
        return prediction

    @property
    def start(self) -> float:
        """The mean loss at the point."""
        return float(self.point.frozen.mean_loss(self.point.params))

    def _at(self, series: ResummedSeries, rate: float) -> tuple[float, np.ndarray, float, float]:
        """Return what the predicted change consists of at one learning rate.

        Returns:
            What the mean gradient changes; replicates of what the noise adds, shape (m,); the truncation figure; and
            the blur, by how much rounding of the Hessian changes what the noise adds.
        """
        point = self.point
        noise = _Spectral(series, rate, "noise")
        with np.errstate(over="ignore", invalid="ignore"):
            replicates = point.noise.replicates(noise)
            noiseless = float(point.gradient.replicates(_Spectral(series, rate, "gradient"))[0])
        point.check_value([*replicates, noiseless])
        mean, stderr = mean_and_stderr(replicates)
        point.check_settled(noise, float(stderr), self.max_steps)
        with np.errstate(over="ignore", invalid="ignore"):
            cut = self._next_orders(series, rate, abs(float(mean)))
        point.check_value(cut)
        return noiseless, replicates, cut, point.noise.blur(noise, point.rounding)

    def _next_orders(self, series: ResummedSeries, rate: float, added: float) -> float:
        """Return the size of third cumulants, and of what changes over the cloud of parameters.

        The cloud is sampled by θ_0 ± ξ, pairs of opposite offsets with the covariance that the noise gives to the
        parameters. Around the mean gradient there, descent drifts by δ: loss and noise are taken at θ_0 + δ ± ξ. An
        average of iterates has a cloud of its own, for the loss; gradients are taken at the iterates.
        """
        total = self._third_cumulants(series, rate)
        spread = _spread(series.spacetime, rate, series.optimizer)
        of_iterates = _spread(series.spacetime, rate, replace(series.optimizer, average=None))
        offsets = self.point.cloud.apply(of_iterates)  # ξ, shape (m, p)
        around = np.concatenate([offsets, -offsets, np.zeros_like(offsets[:1])])  # the last one is θ_0 itself
        (*_, start), gradients, (*_, noise) = self.point.moments(around)  # l, then ∇l everywhere, then tr C at θ_0
        push = gradients[:-1].mean(axis=0) - gradients[-1]  # ½J, contracted with the covariance of the cloud
        drift = -self.point.apply(_relaxation(series.spacetime, rate, series.optimizer), push)  # δ, shape (p,)
        losses, _, noises = self.point.moments(np.concatenate([drift + offsets, drift - offsets]))
        if series.optimizer.average is not None:
            averages = self.point.cloud.apply(spread)
            losses, *_ = self.point.moments(np.concatenate([drift + averages, drift - averages]))
        h, weights = self.point.cloud.quadrature()
        quadratic = float(np.mean(np.sum(weights * h * spread(h) ** 2, axis=1))) / 2  # E ξ·Hξ/2, which is no new order
        compared = 0.0
        if series.quantity != "gap":
            total += abs(float(losses.mean() - start) - quadratic)
            compared = float(np.abs(losses).mean()) + abs(float(start)) + abs(quadratic)
        if noise > 0:
            total += added * abs(float(noises.mean() / noise) - 1)
        return self._above_rounding(total, compared, added)

    def _above_rounding(self, figure: float, compared: float, added: float) -> float:
        """Return a truncation figure, or 0 if it is no more than the rounding of the differences that it is made of.

        Only where that rounding is negligible: elsewhere the figure says that convergence cannot be judged.

        Args:
            figure: the figure.
            compared: the size of the losses whose difference is part of it.
            added: what the noise adds.
        """
        eps = float(jnp.finfo(jnp.result_type(*jax.tree.leaves(self.point.params))).eps)
        rounding = _ROUNDED * eps * (compared + added)
        return 0.0 if figure <= rounding <= _NEGLIGIBLE * added else figure

    def _third_cumulants(self, series: ResummedSeries, rate: float) -> float:
        """Return the sizes of what third cumulants of the noise add, together.

        A diagram's coefficient depends on the curvature of every edge. On each edge it is replaced by the root, of the
        order of the diagram, of its size for equal curvatures, so that the diagram is a product over edges.
        """
        total = 0.0
        for diagram, kind in _parsed(_THIRD).items():
            if diagram in series:

                def along_edge(h: np.ndarray, diagram: Diagram = diagram) -> np.ndarray:
                    c = series.coefficient(diagram, [h] * diagram.order, rate)
                    return np.abs(c) ** (1 / diagram.order)

                total += abs(self.point.third_cumulants(along_edge)[kind])
        return total

    def __repr__(self) -> str:
        low, high = self.point.curvatures
        how = "dense" if self.point.is_dense else "Lanczos"
        return f"<NearMinimum of {num_params(self.point.params)} parameters, curvatures {low:.2g} to {high:.2g}, {how}>"


def near_minimum(
    landscape: Landscape,
    params: Any,
    *,
    method: str = "auto",
    num_samples: int = 16,
    max_steps: int = 128,
    chunk_size: int = CHUNK,
    mesh: jax.sharding.Mesh | None = None,
    progress: Progress | None = None,
    key: jax.Array,
) -> NearMinimum:
    """Measure noise and curvature at a minimum of the population's loss, to predict SGD from there for any T.

    There the parameters only fluctuate, while the plain series grows with ηT; the re-summed one stays finite. To second
    order in the noise it depends only on the Hessian H and on the covariance C of the gradients along the eigenvectors
    of H, so that one measurement serves every learning rate, N, B, E and sampling.

    Args:
        landscape: the loss and the population, in the population reading.
        params: the minimum, a pytree of p floating-point numbers in all. A small gradient there is accounted for.
        method: "dense" writes C and H out, p² numbers each, and is exact; "lanczos" needs Hessian-vector products only
            and has a standard error; "auto" is dense up to 1,500 parameters.
        num_samples: the number of random combinations of gradients, at least 2. The truncation figure comes from them,
            and with "lanczos" the standard error.
        max_steps: the highest number of Hessian-vector products for each of them, at least 4; "lanczos" only.
        chunk_size: how many examples are differentiated together.
        mesh: the devices that share the examples, a `jax.sharding.Mesh`; any number of examples is allowed. They also
            share those of `predict`, which all processes of the mesh have to call; what is loaded from a file has one.
        progress: shows progress; silent by default.
        key: a JAX random key.

    Returns:
        A `NearMinimum`; what its `predict(spacetime, learning_rates)` returns is compared and drawn like predictions by
        `feyngd.predict`.

    Raises:
        ArgumentError: an option is invalid, or the landscape's reading is not "population": in the others the point
            would have been fitted to the data whose noise is measured.
        LandscapeError: loss, gradient or Hessian are not finite, or there is one example only.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Theorem 2 and corollary 2, in exact discrete time.

    Examples:
        >>> import jax, feyngd as fd
        >>> from feyngd.landscapes import toys
        >>> landscape, params = toys.mean_estimation(hessian=2.0)
        >>> minimum = fd.near_minimum(landscape, params, key=jax.random.key(0))
        >>> print(minimum.predict(fd.Spacetime.sgd(1000), 0.1))
        test_loss predicted near a minimum, re-summed, reshuffled, N=1000, B=1, E=1; 0 at the start
          η = 0.1       0.0277778, of it 0.02778 by noise ± 0 (sampling) ± 0 (truncation)
    """
    check_landscape(landscape)
    if landscape.reading != "population":
        raise ArgumentError(
            f"near_minimum takes the population reading; got {landscape.reading!r}. There the start does not depend on "
            "the training set: give Landscape(loss, data) with the data as the population."
        )
    if method not in METHODS:
        raise ArgumentError(f"Unknown method {method!r}; the methods are {', '.join(map(repr, METHODS))}.")
    check_integer("num_samples", num_samples, least=2)
    check_integer("max_steps", max_steps, least=4)
    check_integer("chunk_size", chunk_size, least=1)
    check_mesh(mesh)
    check_key(key, "Combinations of gradients are drawn at random")
    shown = check_progress(progress)
    check_num_examples(landscape.num_examples)
    frozen, params = enter(landscape, params)
    check_updates_kept(params, "A prediction near a minimum")
    frozen.validate(params)
    kinks = kinks_at(frozen, params)
    point = Point(
        landscape,
        frozen,
        params,
        dense=method == "dense" or (method == "auto" and num_params(params) <= DENSE),
        num_samples=num_samples,
        max_steps=max_steps,
        chunk_size=chunk_size,
        devices=Devices(mesh),
        progress=shown,
        key=key,
    )
    return NearMinimum(point, max_steps, kinks)


class _Spectral:
    """The function f(h) = Σ_D c_D(h, …, h) h^power of curvatures, over the spectral diagrams D of noise or gradient."""

    def __init__(self, series: ResummedSeries, rate: float, of: str) -> None:
        self._series, self._rate = series, rate
        self._powers = {D: power for D, (kind, power) in _parsed(_SPECTRAL).items() if kind == of and D in series}

    def __call__(self, h: np.ndarray) -> np.ndarray:
        total = np.zeros(np.shape(h))
        for diagram, power in self._powers.items():
            total = total + self._series.coefficient(diagram, [h] * diagram.order, self._rate) * h**power
        return total


def _spread(spacetime: Spacetime, rate: float, optimizer: Optimizer = PLAIN) -> Response:
    """Return σ(h), the standard deviation of the parameters after SGD along an eigenvector of curvature h.

    It is per unit of noise: the variance is σ² v·Cv. The diagram [a a] is its loss ½h σ² v·Cv, with coefficient σ²/2.
    """
    series, pair = ResummedSeries("test_loss", 2, spacetime, optimizer=optimizer), Diagram.parse("[a a]")

    def phi(h: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(2 * series.coefficient(pair, [h, h], rate), 0))

    return phi


def _relaxation(spacetime: Spacetime, rate: float, optimizer: Optimizer = PLAIN) -> Response:
    """Return how far descent follows a constant push along an eigenvector of curvature h.

    For SGD that is (1 − (1 − ηh)^T)/h.
    """
    series, edge = ResummedSeries("test_loss", 1, spacetime, optimizer=optimizer), Diagram.parse("[a]")

    def phi(h: np.ndarray) -> np.ndarray:
        return np.asarray(-series.coefficient(edge, [h], rate))

    return phi


@cache
def _notations(names: tuple[str, ...]) -> tuple[Diagram, ...]:
    return tuple(Diagram.parse(name) for name in names)


def _parsed(table: Mapping[str, Any]) -> dict[Diagram, Any]:
    return dict(zip(_notations(tuple(table)), table.values(), strict=True))


def _warn(prediction: ResummedPrediction) -> None:
    far = prediction.learning_rates[~prediction.converged]
    if len(far):
        warnings.warn(
            f"Higher orders of the noise are not small at learning rate(s) from {far.min():.3g} on: there the "
            "prediction may be far off.",
            TruncationWarning,
            stacklevel=3,
        )
    if np.any(np.abs(prediction.noiseless) > np.abs(prediction.noise)):
        warnings.warn(
            "The mean gradient changes the loss by more than the noise does: these parameters are not near a minimum, "
            "and the joint effect of gradient and noise is left out. Train on without noise first.",
            TruncationWarning,
            stacklevel=3,
        )
