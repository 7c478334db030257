"""What one computation along the noiseless path knows: SGD for every N, B, E and sampling."""

import math
import os
from dataclasses import dataclass, fields
from typing import Any

import jax
import numpy as np

from .._archive import keep_attributes, read, write
from .._arguments import check_integer
from .._keys import check_key
from ..derivatives import CHUNK
from ..errors import ArgumentError, SpacetimeError
from ..estimates import mean_and_stderr
from ..kinks import Kink
from ..landscapes import Landscape, Origin, check_reading, enter
from ..progress import Progress, check_progress
from ..quantities import check_quantity
from ..spacetimes import Spacetime, check_spacetime
from ._noise_weights import RUN, STEP, Ties, served
from ._prediction import AnchoredPrediction
from .path import NoiselessPath

NOISE = CURVATURE = 64  # examples, as measured in benchmarks/anchoring.py
CONTROL = 48  # directions
_GIVEN_AGAIN = ("landscape", "params", "frozen")  # what is not kept in a file
_TOGETHER = 16  # draws of real batches that run side by side


@keep_attributes
@dataclass(frozen=True)
class _KeptFunctionals:
    attributes: dict[str, Any]


@dataclass(frozen=True, eq=False, repr=False)
class Anchored:
    """The noiseless path from a start, and what noise does along it to second order. Made by `feyngd.anchor`.

    Attributes:
        landscape: the loss and the data.
        params: the start.
        rates: the learning rate of every step, shape (T,).
        train_loss: the mean loss over the data on the noiseless path at steps 0 to T, shape (T + 1,).
        test_loss: the test loss there; the same in the population reading.
        second: for every equivalence of steps, replicates of Σ_{s~t} E_x D_st of the test loss, shape (m, T + 1).
        train_second: the same of the mean loss over the data.
        influence: replicates of E_x ∂(l_x − l)(θ_t)/∂ε for a field that stays the same, shape (m, T + 1).
        third: for every equivalence, replicates of about Σ_{s~t~u} E_x D_stu of the test loss, shape (k, T + 1).
        fourth: for every equivalence, replicates of about the fourth derivative of the test loss for noise without
            skewness.
        chunk_size: how many examples are differentiated together.
        noise_examples: how many examples made the noise of a step.
        curvature_examples: how many examples stood for all in Hessians.
        kinks: where the loss is not smooth within reach of the start.
        origin: the loss, the data and the parameters that this was computed from; `None` if it was made by hand.
        frozen: the landscape with its loss as it was then, which `orders` goes on with; `None` after unpickling.
    """

    landscape: Landscape
    params: Any
    rates: np.ndarray
    train_loss: np.ndarray
    test_loss: np.ndarray
    second: dict[Ties, np.ndarray]
    train_second: dict[Ties, np.ndarray]
    influence: np.ndarray
    third: dict[Ties, np.ndarray]
    fourth: dict[Ties, np.ndarray]
    chunk_size: int = CHUNK
    noise_examples: int = NOISE
    curvature_examples: int = CURVATURE
    kinks: tuple[Kink, ...] = ()
    origin: Origin | None = None
    frozen: Landscape | None = None

    def __getstate__(self) -> dict[str, Any]:
        # What a loss computes cannot be pickled: it is traced again where it is needed, and has to be the same.
        return self.__dict__ | {"frozen": None}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the functionals to a file, without the landscape and the start: an NPZ with JSON in it, no pickle.

        Args:
            path: the file, which is written as it is named; one that exists is replaced.

        Raises:
            ArgumentError: the file cannot be written.
        """
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _GIVEN_AGAIN}
        write(path, _KeptFunctionals(own))

    @classmethod
    def load(cls, path: str | os.PathLike[str], landscape: Landscape, params: Any) -> "Anchored":
        """Read what `save` has written.

        Args:
            path: the file.
            landscape: the landscape that was anchored; loss and data are compared by their content.
            params: the start.

        Raises:
            ArgumentError: there is no such file, or it belongs to another loss, other data or parameters.
        """
        own = read(path, _KeptFunctionals).attributes
        frozen, params = enter(landscape, params)
        if own["origin"] is not None:
            own["origin"].check(Origin.of(frozen, params), "These functionals", "Give those anchor was called with.")
        return cls(landscape, params, **own, frozen=frozen)

    @property
    def steps(self) -> int:
        """The number of steps T."""
        return len(self.rates)

    def predict(
        self,
        spacetime: Spacetime | None = None,
        *,
        N: int | None = None,
        B: int | None = None,
        E: int | None = None,
        T: int | None = None,
        sampling: str | None = None,
        drop_last: bool | None = None,
        quantity: str = "test_loss",
    ) -> AnchoredPrediction:
        """Predict a learning curve of SGD from the functionals of the path: arithmetic, no more runs.

        Args:
            spacetime: the concrete spacetime; or give its sizes.
            N: the number of training points; in the conditional reading the number of examples, which is the default.
            B: the batch size, 1 by default.
            E: the number of epochs; with T steps at most. All of the anchored steps if neither E nor T is given.
            T: the number of steps.
            sampling: "reshuffled", which is the default, "fixed", "with-replacement" or "full-batch".
            drop_last: what an epoch does with the points that are left after its full batches, as in `Spacetime.sgd`.
            quantity: "test_loss", "train_loss" or "gap".

        Raises:
            ArgumentError: the quantity is unknown, N is missing, or sizes are given beside a spacetime.
            SpacetimeError: there are more steps than were anchored, or epochs have a length that was not anchored.
        """
        check_quantity(quantity)
        spacetime = self._spacetime(spacetime, N, B, E, T, sampling, drop_last)
        steps = self._check(spacetime)
        weights = served(spacetime, self.landscape.reading, steps)
        if missing := [ties for ties in weights if ties not in self.second]:
            known = sorted({ties.length for ties in self.second if ties.kind == "epoch"})
            raise SpacetimeError(
                f"{spacetime} has epochs of {spacetime.epoch_steps} steps ({missing[0]}), and anchored "
                f"are {known or 'none'}: give epoch_lengths{' and fixed_order' * (missing[0].kind == 'place')} to "
                "anchor, or take N/B of an anchored length, one epoch, with-replacement or full batches."
                if missing[0].refined is None
                else f"{spacetime} has smaller batches at the ends of its epochs, whose noise is not anchored: give "
                "anchor spacetimes=[...] with this one among them, or leave the last batch out, drop_last=True."
            )
        return self._prediction(quantity, spacetime, weights, steps)

    def orders(
        self,
        spacetime: Spacetime | None = None,
        *,
        N: int | None = None,
        B: int | None = None,
        E: int | None = None,
        T: int | None = None,
        sampling: str | None = None,
        drop_last: bool | None = None,
        order: int = 4,
        num_samples: int = 32,
        progress: Progress | None = None,
        key: jax.Array,
    ) -> AnchoredPrediction:
        """Predict the test loss of one spacetime to a higher order in the noise, from the noise of real batches.

        Small batches need orders ε³ and ε⁴. They depend on more of the sampling than pairs of steps, so that every
        spacetime takes a computation of its own. The first order is zero on average and is left out.

        Args:
            spacetime: as in `predict`.
            N: as in `predict`.
            B: as in `predict`.
            E: as in `predict`.
            T: as in `predict`.
            sampling: as in `predict`.
            drop_last: as in `predict`.
            order: the highest order in the noise, 2 or more; the time grows like 2 to this power.
            num_samples: the number of draws of training sets and batches, at least 2.
            progress: shows progress; silent by default.
            key: a JAX random key.

        Returns:
            An `AnchoredPrediction` whose parts are "order 2", "order 3", …; its truncation figure is the last of
            them, or two of its standard errors.

        Raises:
            ArgumentError: an option is invalid.
            SpacetimeError: there are more steps than were anchored, or the spacetime does not suit the reading.
        """
        check_integer("order", order, least=2)
        check_integer("num_samples", num_samples, least=2)
        check_key(key, "Training sets and batches are drawn at random")
        spacetime = self._spacetime(spacetime, N, B, E, T, sampling, drop_last)
        steps = self._check(spacetime)
        sizes = self.noise_examples, self.curvature_examples
        path = NoiselessPath(self._landscape_then, self.params, self.rates[:steps], self.chunk_size, *sizes)
        groups = []
        with check_progress(progress).task(num_samples, f"noise to order {order}") as task:
            for first in range(0, num_samples, _TOGETHER):
                count = min(_TOGETHER, num_samples - first)
                groups.append(path.real_batches(spacetime, count, order, jax.random.fold_in(key, first)))
                task.advance(count)
        derivatives = np.concatenate(groups)
        parts = {f"order {k}": derivatives[:, :, k] / math.factorial(k) for k in range(2, order + 1)}
        mean, stderr = mean_and_stderr(parts[f"order {order}"])
        truncation = np.maximum(np.abs(mean), 2 * stderr)
        times, noiseless = np.arange(steps + 1), self.test_loss[: steps + 1]
        return AnchoredPrediction("test_loss", spacetime, times, noiseless, parts, truncation, self.kinks)

    @property
    def _landscape_then(self) -> Landscape:
        if self.frozen is not None:
            return self.frozen
        frozen, _ = enter(self.landscape, self.params)
        if self.origin is not None:
            self.origin.check(Origin.of(frozen, self.params), "These functionals", "Call anchor again.")
        return frozen

    def _check(self, spacetime: Spacetime) -> int:
        """Return the number of steps, if they are anchored and suit the reading."""
        spacetime.require_concrete("Learning curves are predicted")
        check_reading(self.landscape, spacetime)
        steps = int(spacetime.T)
        if steps > self.steps:
            raise SpacetimeError(
                f"{spacetime} makes {steps} steps, and {self.steps} were anchored: E·N/B is at most {self.steps}. "
                f"Anchor more steps, or take E ≤ {self.steps // int(spacetime.epoch_steps)}."
            )
        return steps

    def _spacetime(
        self,
        spacetime: Spacetime | None,
        N: int | None,
        B: int | None,
        E: int | None,
        T: int | None,
        sampling: str | None,
        drop_last: bool | None,
    ) -> Spacetime:
        if spacetime is not None:
            check_spacetime(spacetime)
            sizes = {"N": N, "B": B, "E": E, "T": T, "sampling": sampling, "drop_last": drop_last}
            if twice := ", ".join(f"{name}={size!r}" for name, size in sizes.items() if size is not None):
                raise ArgumentError(f"Give a spacetime or its sizes, not both; got {spacetime} and {twice}.")
            return spacetime
        B, sampling = 1 if B is None else B, "reshuffled" if sampling is None else sampling
        if N is None:
            if self.landscape.reading != "conditional":
                raise ArgumentError("Give N, the number of training points, or a Spacetime.")
            N = self.landscape.num_examples
        if sampling == "full-batch":
            if E is not None:
                raise ArgumentError(f"Full batches count steps: give T, not E; got E={E}.")
            return Spacetime.gd(N, self.steps if T is None else T)
        steps = self.steps if E is None and T is None else T
        return Spacetime.sgd(N, B, E, T=steps, sampling=sampling, drop_last=drop_last)

    def _prediction(
        self, quantity: str, spacetime: Spacetime, weights: dict[Ties, Any], steps: int
    ) -> AnchoredPrediction:
        until = slice(0, steps + 1)
        zero = np.zeros_like(next(iter(self.second.values()))[:, until])

        def added(second: dict[Ties, np.ndarray]) -> np.ndarray:
            """Return ½ Σ W(s, t) D_st, what the noise adds to a loss."""
            return sum((float(weight) / 2 * second[ties][:, until] for ties, weight in weights.items()), start=zero)

        second = self.train_second if quantity == "train_loss" else self.second
        total, parts = added(second), {}
        if self.landscape.reading == "conditional":
            noiseless = {"test_loss": self.test_loss, "train_loss": self.train_loss}.get(quantity)
            if quantity == "gap":
                noiseless = self.test_loss - self.train_loss
                total = total - added(self.train_second)
            parts["minibatch noise"] = total
        else:
            noiseless = np.zeros(self.steps + 1) if quantity == "gap" else self.test_loss
            if quantity != "gap":
                data = second[RUN][:, until] / (2 * int(spacetime.N))
                parts = {"minibatch noise": total - data, "finite data": data}
            if quantity != "test_loss":
                gap = -self.influence[:, until] / int(spacetime.N)
                parts["gap"] = gap if quantity == "gap" else -gap
        assert noiseless is not None
        truncation = self._truncation(weights)[until]
        times = np.arange(steps + 1)
        return AnchoredPrediction(quantity, spacetime, times, noiseless[until], parts, truncation, self.kinks)

    def _truncation(self, weights: dict[Ties, Any]) -> np.ndarray:
        """Return the sizes of orders ε³ and ε⁴ together, both of which fall like the square of the weights.

        Few draws of a heavy-tailed quantity miss much of it: two standard errors are part of the figure. Without draws
        it is not known, except where there is no noise.
        """
        third, fourth = np.zeros((2, 1, self.steps + 1))
        if any(ties not in self.fourth for ties in weights):
            return np.full(self.steps + 1, np.nan)
        for ties, weight in ((ties, float(weight)) for ties, weight in weights.items()):
            # The square of a weight that is one of two for the same steps: (v + w)² − v².
            other = 0.0 if ties.refined is None else 2 * float(weights.get(ties.refined, weights.get(STEP, 0)))
            third = third + weight * (abs(weight) + other) * self.third[ties] / 6
            fourth = fourth + weight * (weight + other) * self.fourth[ties] / 24
        (third, third_error), (fourth, fourth_error) = mean_and_stderr(third), mean_and_stderr(fourth)
        return np.abs(third) + np.abs(fourth) + 2 * np.hypot(third_error, fourth_error)

    def __repr__(self) -> str:
        drop = f"{self.train_loss[0]:.3g} to {self.train_loss[-1]:.3g}"
        ties = ", ".join(str(each) for each in self.second)
        return (
            f"<Anchored on {self.steps} noiseless steps, mean loss {drop}; ties: {ties}; {len(self.influence)} draws>"
        )
